/** Plans that a request brings itself. */
import { afterEach, describe, expect, it } from "vitest";
import { policies } from "../../worker/policies/index.ts";
import type { RunStep, Step } from "../../worker/protocol/plan.ts";
import { CLASS_MODEL, edge, MODEL, Peer } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const post = (body: object) =>
	edge("/v1/images/generations", {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ prompt: "x", ...body }),
	});
const get = (query: Record<string, string>) =>
	edge(`/v1/images/preview?${new URLSearchParams({ prompt: "x", ...query })}`);
const base = policies.stagevar.plan(MODEL, {});
/** The plan's steps, one of them changed. */
const steps = (changes: Record<number, object> = {}): Step[] =>
	base.steps.map((step, scale) => ({ ...step, ...changes[scale] }) as Step);
const span = (scale: number, changes: object = {}) => ({ ...(base.steps[scale] as RunStep).reduce[0], ...changes });
/** Text-free from the third scale on, the last one left out. */
const own = [...steps({ 2: { reduce: [] } }).slice(0, 3), { kind: "skip" as const }];

describe("a plan of one's own", () => {
	it.each<[string, unknown]>([
		["whole", { ...base, policy: "stagevar", steps: own }],
		["its steps alone", own],
		["steps and a schedule", { schedule: "1:1", steps: own }],
	])("is executed as given: %s", async (_, plan) => {
		const peer = await Peer.join();
		const answer = post({ plan });
		const lease = await peer.next("lease");
		const expected = { version: 1, policy: "custom", model: MODEL.digest, schedule: "1:1", steps: own };
		expect(lease.request.plan).toEqual(expected);
		await peer.finish(lease);
		expect(await (await answer).json()).toMatchObject({
			policy: "custom",
			quality: "low",
			usage: { output_tokens: 14 },
		});

		const reader = await Reader.open(
			`/v1/images/preview?${new URLSearchParams({ prompt: "x", plan: JSON.stringify(plan) })}`,
		);
		expect((await reader.next())!.data).toMatchObject({ policy: "custom", plan: expected });
		await peer.finish(await peer.next("lease"));
		expect((await reader.rest()).map(({ event }) => event)).toEqual(["scale", "scale", "scale", "final"]);
	});

	it("goes with a size and a class, and null is no plan", async () => {
		const peer = await Peer.join({ models: [CLASS_MODEL] });
		const plan = policies.exact.plan(CLASS_MODEL, { schedule: "2:1" }).steps;
		const answer = post({ prompt: null, class: 3, size: "32x64", plan });
		const lease = await peer.next("lease");
		expect(lease.request).toMatchObject({ label: 3, plan: { policy: "custom", schedule: "2:1", steps: plan } });
		await peer.finish(lease);
		await (await answer).text();
		const without = post({ prompt: null, class: 3, plan: null, policy: "exact" });
		const next = await peer.next("lease");
		expect(next.request.plan.policy).toBe("exact");
		await peer.finish(next);
		await (await without).text();
	});
});

describe("a plan that the model cannot run is refused, with what is allowed", () => {
	it.each<[string, unknown, RegExp[]]>([
		[
			"a count over the tokens",
			steps({ 3: { reduce: [span(3, { count: 17 })] } }),
			[/step 3, blocks 0 to 2: 17 tokens kept of 16; at most 16 are allowed/],
		],
		[
			"a skip that is not trailing",
			steps({ 2: { kind: "skip" } }).map((step) => (step.kind === "skip" ? { kind: "skip" } : step)),
			[/step 3 runs after step 2 is skipped; only trailing scales may be skipped/],
		],
		[
			"rows that widen",
			steps({ 3: { rows: "both" } }),
			[/step 3 has rows "both" after "uncond"; rows only narrow, so "uncond" is allowed/],
		],
		[
			"overlapping spans",
			steps({ 3: { reduce: [span(3, { blocks: [0, 3] }), span(3, { blocks: [2, 4] })] } }),
			[/step 3, blocks 2 to 4: spans must be disjoint and in order; this one may begin at 3/],
		],
		["an unknown kind", steps({ 1: { kind: "dream" } }), [/steps\[1\]\.kind: .*'run'.*'skip'/]],
		[
			"an unknown projection",
			steps({ 3: { reduce: [span(3, { take: { project: "magic" } })] } }),
			[/steps\[3\]\.reduce\[0\]\.take.*gaussian/],
		],
		["an unknown row", steps({ 0: { rows: "all" } }), [/steps\[0\]\.rows: .*both.*cond.*uncond/]],
		["an unknown field", { ...base, fast: true }, [/the plan: .*fast/]],
		["too few steps", steps().slice(1), [/it has 3 steps; schedule "1:1" has 4 scales and needs as many/]],
		["no steps", [], [/steps: /]],
		["65 steps", Array(65).fill(base.steps[0]), [/steps: .*64/]],
		["a plan of another model", { ...base, model: CLASS_MODEL.digest }, [/made for model sha256:c3c3/]],
		[
			"an unknown schedule",
			{ ...base, schedule: "constructor" },
			[/schedule "constructor" is unknown; allowed: 1:1, 2:1/],
		],
		[
			"a decision too late",
			{ ...base, decide: { after: 3, measure: "high-frequency", cases: [{ below: 0.5, steps: [base.steps[3]] }] } },
			[/it decides after scale 3; 0 to 2 are allowed/],
		],
		["a tau that is none", steps({ 0: { tau: "hot" } }), [/steps\[0\]\.tau: /]],
		["text", "stagevar", [/A plan is a JSON object with steps, or a list of steps/]],
		["a number", 5, [/A plan is a JSON object/]],
		[
			"several problems at once",
			steps({ 0: { guidance: -1, tau: 0 }, 1: { stage: "late" } }),
			[/steps\[0\]\.guidance/, /steps\[0\]\.tau/, /steps\[1\]\.stage: .*semantic.*structure.*fidelity/],
		],
		[
			"several misfits at once",
			steps({ 2: { reduce: [span(2, { count: 10 })] }, 3: { rows: "cond" } }),
			[/10 tokens kept of 9/, /rows "cond" after "uncond"/],
		],
	])("%s", async (_, plan, messages) => {
		const peer = await Peer.join();
		for (const response of [await post({ plan }), await get({ plan: JSON.stringify(plan) })]) {
			expect(response.status).toBe(400);
			const { error } = (await response.json()) as { error: { param: string; code: string; message: string } };
			expect(error).toMatchObject({ param: "plan", code: "invalid_plan" });
			for (const message of messages) expect(error.message).toMatch(message);
		}
		expect(peer.inbox).toEqual([]);
	});

	it("a thousand problems are cut short", async () => {
		await Peer.join();
		const response = await post({ plan: steps({ 3: { reduce: Array(250).fill({}) } }) });
		const { error } = (await response.json()) as { error: { message: string } };
		expect(error.message).toMatch(/and \d+ more$/);
		expect(error.message.split("\n")).toHaveLength(22);
	});
});

describe("beside other fields", () => {
	it.each<[string, object, string, RegExp]>([
		["a policy", { policy: "exact" }, "plan", /in place of a policy/],
		["a quality", { quality: "low" }, "quality", /stands in place of one/],
		["another size", { size: "32x64", plan: base }, "plan", /for schedule "1:1", and "2:1" was asked for/],
	])("%s is refused", async (_, fields, param, message) => {
		await Peer.join();
		const response = await post({ plan: base, ...fields });
		expect(response.status).toBe(400);
		expect(await response.json()).toMatchObject({ error: { param, message: expect.stringMatching(message) } });
	});

	it.each<[string, Record<string, string>, string, RegExp]>([
		["a policy", { plan: JSON.stringify(base), policy: "exact" }, "plan", /in place of a policy/],
		["another schedule", { plan: JSON.stringify(base), schedule: "2:1" }, "plan", /"2:1" was asked for/],
		["JSON that is broken", { plan: "[{" }, "plan", /not valid JSON/],
		["JSON without end", { plan: "[".repeat(9000) }, "plan", /longer than 8192 characters; send it to POST/],
	])("in a query: %s is refused", async (_, query, param, message) => {
		await Peer.join();
		const response = await get(query);
		expect(response.status).toBe(400);
		expect(await response.json()).toMatchObject({ error: { param, message: expect.stringMatching(message) } });
	});
});
