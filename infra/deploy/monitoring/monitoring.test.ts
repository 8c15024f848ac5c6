/**
 * Dashboard and alerts ask for nothing that the exporter does not give, and it for nothing that the edge does not say.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import { expect, it } from "vitest";
import { parse } from "yaml";

const here = import.meta.dirname;
const text = (name: string) => readFile(join(here, name), "utf8");

interface Exported {
	name: string;
	type: "value" | "object";
	path: string;
	labels?: Record<string, string>;
	values?: Record<string, string>;
}
const exported = async (): Promise<Exported[]> => parse(await text("json-exporter.yaml")).modules.default.metrics;
const names = async () =>
	(await exported()).flatMap(({ name, type, values }) =>
		type === "value" ? [name] : Object.keys(values ?? {}).map((value) => `${name}_${value}`),
	);

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

it("every expression is PromQL, of metrics and labels that are exported", async () => {
	const [known, labels] = [await names(), (await exported()).flatMap((metric) => Object.keys(metric.labels ?? {}))];
	const used = (await expressions()).map(namesIn);
	for (const { metrics } of used) expect(metrics.length).toBeGreaterThan(0);
	expect(used.flatMap(({ metrics }) => metrics).filter((name) => !known.includes(name))).toEqual([]);
	expect(used.flatMap((each) => each.labels).filter((name) => !labels.includes(name))).toEqual([]);
	// And nothing is exported that nobody looks at.
	expect(known.filter((name) => !used.some(({ metrics }) => metrics.includes(name)))).toEqual([]);
	expect(() => namesIn("sum(firstlight_queue")).toThrow();
});

it("what is exported is what the edge says of itself", async () => {
	const source = await readFile(join(here, "..", "..", "..", "worker", "edge", "routes", "catalog.ts"), "utf8");
	const answer = source.slice(source.indexOf("function health("));
	const fields = (await exported()).flatMap(({ path, labels = {}, values = {} }) =>
		[path, ...Object.values(labels), ...Object.values(values)].map((each) => /\.(\w+)/.exec(each)?.[1]),
	);
	for (const field of fields) expect(answer).toMatch(new RegExp(`\\b${field}[,:]`));
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
