/** Dashboard and alerts ask for nothing that the edge does not count, and it counts nothing that nobody looks at. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { METRICS } from "../../../worker/edge/pool/tally.ts";

const here = import.meta.dirname;
const text = (name: string) => readFile(join(here, name), "utf8");

const expressions = async (): Promise<string[]> => {
	const { groups } = parse(await text("alerts.yaml"));
	const { panels } = JSON.parse(await text("dashboard.json"));
	return [
		...groups.flatMap(({ rules }: any) => rules.map(({ expr }: any) => expr)),
		...panels.flatMap(({ targets }: any) => targets.map(({ expr }: any) => expr)),
	];
};

/** Metrics and labels that an expression names; throws where PromQL has no such expression. */
function namesIn(expression: string): { metrics: string[]; labels: string[] } {
	const found = { metrics: [] as string[], labels: [] as string[] };
	parser.parse(expression).iterate({
		enter({ name, from, to, type }) {
			if (type.isError) throw new Error(`${expression}: wrong at ${from}`);
			const word = expression.slice(from, to);
			if (name === "Identifier" && word.startsWith("firstlight")) found.metrics.push(word);
			if (name === "LabelName") found.labels.push(word);
		},
	});
	return found;
}

type SyntaxNode = ReturnType<typeof parser.parse>["topNode"];

/** Operators between a vector whose labels are left and one without: they pair nothing with nothing. */
function unpaired(expression: string): string[] {
	const found: string[] = [];
	const bare = (node: SyntaxNode | null): boolean | null => {
		if (!node || ["NumberDurationLiteral", "StringLiteral"].includes(node.name)) return null;
		if (node.name === "ParenExpr") return bare(node.firstChild);
		if (node.name === "AggregateExpr") return !/\b(by|without)\b/.test(expression.slice(node.from, node.to));
		if (node.name === "FunctionCall") return /^(absent|vector)\(/.test(expression.slice(node.from, node.to));
		if (node.name === "BinaryExpr") return bare(node.firstChild) ?? bare(node.lastChild);
		return false;
	};
	parser.parse(expression).iterate({
		enter({ name, node, from, to }) {
			if (name !== "BinaryExpr") return;
			const [left, right] = [bare(node.firstChild), bare(node.lastChild)];
			if (left !== null && right !== null && left !== right) found.push(expression.slice(from, to));
		},
	});
	return found;
}

it("both sides of an operator have the same labels", async () => {
	expect((await expressions()).flatMap(unpaired)).toEqual([]);
	for (const wrong of [
		"firstlight_queue / sum(firstlight_worker_slots)",
		"firstlight_queue and absent(firstlight_worker_slots)",
		"rate(a_total[5m]) > 2 * sum(b)",
		"a > 0 and sum(b) < sum(c)",
	])
		expect(unpaired(wrong), wrong).toEqual([wrong]);
});

/** What a metric is asked for by: a histogram has three names. */
const namesOf = ([name, [kind]]: [string, readonly string[]]) =>
	kind === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => name + end) : [name];

it("every expression is PromQL, of metrics and labels that the edge has", async () => {
	const known = Object.entries(METRICS).flatMap(namesOf);
	const labels = ["le", ...Object.values(METRICS).flatMap(([, , ...labels]) => labels as string[])];
	const used = (await expressions()).map(namesIn);
	for (const { metrics } of used) expect(metrics.length).toBeGreaterThan(0);
	expect(used.flatMap(({ metrics }) => metrics).filter((name) => !known.includes(name))).toEqual([]);
	expect(used.flatMap((each) => each.labels).filter((name) => !labels.includes(name))).toEqual([]);
	// And nothing is counted that nobody looks at.
	const unseen = Object.entries(METRICS).filter(
		(metric) => !used.some(({ metrics }) => namesOf(metric).some((name) => metrics.includes(name))),
	);
	expect(unseen).toEqual([]);
	expect(() => namesIn("sum(firstlight_queue")).toThrow();
});

it("an alert says what it is, what to do, and whom it wakes", async () => {
	const operating = await readFile(join(here, "..", "..", "..", "docs", "operating.md"), "utf8");
	for (const { rules } of parse(await text("alerts.yaml")).groups)
		for (const { alert, labels, annotations, for: wait } of rules) {
			expect(alert).toMatch(/^Firstlight[A-Z]/);
			expect(["page", "ticket"]).toContain(labels.severity);
			expect(wait).toMatch(/^\d+m$/);
			const [, section] = /docs\/operating\.md, (.*)\.$/.exec(annotations.description) ?? [];
			if (section) expect(operating).toContain(`## ${section}`);
		}
});
