/** Models that draw classes in place of text. */
import { afterEach, expect, it } from "vitest";
import { CLASS_MODEL, edge, MODEL, Peer } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const post = (body: object) =>
	edge("/v1/images/generations", {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(body),
	});

it("the preview route draws a class", async () => {
	const peer = await Peer.join({ models: [CLASS_MODEL] });
	const reader = await Reader.open("/v1/images/preview?class=9&seed=7");
	expect((await reader.next())!.event).toBe("plan");
	const lease = await peer.next("lease");
	expect(lease.request).toMatchObject({ model: CLASS_MODEL.id, label: 9, seed: 7 });
	expect(lease.request).not.toHaveProperty("prompt");
	expect(lease.request.plan.steps.map((step) => step.kind === "run" && step.guidance)).toEqual([1, 1.5, 2, 2.5]);
	await peer.finish(lease);
	expect((await reader.rest()).at(-1)).toMatchObject({ event: "final" });
});

it("the generations route draws a class, and counts no text", async () => {
	const peer = await Peer.join({ models: [MODEL, CLASS_MODEL] });
	const answer = post({ class: 0, model: CLASS_MODEL.id });
	const lease = await peer.next("lease");
	expect(lease.request).toMatchObject({ model: CLASS_MODEL.id, label: 0 });
	await peer.finish(lease);
	expect(await (await answer).json()).toMatchObject({
		model: CLASS_MODEL.id,
		usage: { input_tokens: 0, output_tokens: 30, total_tokens: 30 },
	});
});

it("the catalog says how many classes there are", async () => {
	await Peer.join({ models: [MODEL, CLASS_MODEL] });
	expect(await (await edge(`/v1/models/${CLASS_MODEL.id}`)).json()).toMatchObject({ classes: 10 });
	expect(await (await edge(`/v1/models/${MODEL.id}`)).json()).not.toHaveProperty("classes");
});

it("the catalog says what policies were measured to cost and gain", async () => {
	const trades = { stagevar: { score: 0.61, delta: -0.31, speedup: 1.5 } };
	await Peer.join({ models: [{ ...MODEL, trades }] });
	expect(await (await edge(`/v1/models/${MODEL.id}`)).json()).toMatchObject({ trades });
});

it.each<[string, object, string, RegExp]>([
	["neither", {}, "prompt", /is missing/],
	["both", { prompt: "x", class: 1, model: CLASS_MODEL.id }, "class", /one of them/],
	[
		"text for a model of classes",
		{ prompt: "x", model: CLASS_MODEL.id },
		"prompt",
		/draws classes, not text: give class, 0 to 9/,
	],
	["a class for a model of text", { class: 1 }, "class", /draws text/],
	["a class beyond the last", { class: 10, model: CLASS_MODEL.id }, "class", /classes 0 to 9/],
	["a class beyond any", { class: 1e12, model: CLASS_MODEL.id }, "class", /classes 0 to 9/],
	["a negative class", { class: -1, model: CLASS_MODEL.id }, "class", /./],
	["half a class", { class: 1.5, model: CLASS_MODEL.id }, "class", /whole number/],
])("%s is refused by name", async (_, ask, param, message) => {
	const peer = await Peer.join({ models: [MODEL, CLASS_MODEL] });
	const query = new URLSearchParams(Object.entries(ask).map(([key, value]) => [key, String(value)]));
	for (const response of [await post(ask), await edge(`/v1/images/preview?${query}`)]) {
		expect(response.status).toBe(400);
		expect(await response.json()).toMatchObject({ error: { param, message: expect.stringMatching(message) } });
	}
	expect(peer.inbox).toEqual([]);
});
