import { expect, it } from "vitest";
import { byteLog } from "./progress-log.ts";
import { modelAt, modelHeaders } from "./registration.ts";
import { edgeUrl, readSettings, SettingsError } from "./settings.ts";

const WORKER_SECRET = "0123456789abcdef";

it.each<[string, string, boolean]>([
	["https://edge.example/v1/models/x/files", "https://edge.example", true],
	["https://edge.example/v1/models/x/files", "https://edge.example/", true],
	["http://edge.example/v1/models/x/files", "https://edge.example", false],
	["https://edge.example:8443/x", "https://edge.example", false],
	["https://other.example/edge.example", "https://edge.example", false],
	["https://edge.example@other.example/x", "https://edge.example", false],
	["https://edge.example/x", "nonsense", false],
	["https://edge.example/v1/models/x", "https://edge.example", false],
	["https://edge.example/v1/models/x/files/../../y", "https://edge.example", false],
	["https://edge.example/v1/models/a/x/files", "https://edge.example", false],
	["https://edge.example/firstlight/v1/models/x/files", "https://edge.example/firstlight", true],
	["https://edge.example/firstlight/v1/models/x/files", "https://edge.example/firstlight/", true],
	["https://edge.example/firstlights/v1/models/x/files", "https://edge.example/firstlight", false],
	["https://edge.example/v1/models/x/files", "https://edge.example/firstlight", false],
	["https://edge.example/firstlight/../other", "https://edge.example/firstlight", false],
])("the secret goes to the edge alone: %s of %s", async (where, EDGE_URL, goes) => {
	expect(modelAt(where, EDGE_URL)).toBe(goes ? "x" : undefined);
	expect(await modelHeaders(where, { EDGE_URL })).toEqual({});
	expect(await modelHeaders(where, { WORKER_SECRET })).toEqual({});
	if (!goes) expect(await modelHeaders(where, { EDGE_URL, WORKER_SECRET })).toEqual({});
});

it("a secret that would not arrive as it is is refused", () => {
	const said = "WORKER_SECRET: must be letters, digits and signs of ASCII, without spaces";
	for (const secret of ["a secret with spaces", "sch\u00f6n-gross-und-lang"])
		expect(() => readSettings({ WORKER_SECRET: secret })).toThrow(new SettingsError(said));
});

it("an edge may lie behind a path", () => {
	expect(edgeUrl("https://x", "/internal/y").href).toBe("https://x/internal/y");
	for (const edge of ["https://x/a/b", "https://x/a/b/"])
		expect(edgeUrl(edge, "/internal/y").href).toBe("https://x/a/b/internal/y");
});

it("names what is wrong with a setting, and not its value", () => {
	expect(readSettings({ WORKER_SECRET, MODELS: "tiny, https://edge.example/v1/models/x/files" }).MODELS).toEqual([
		"tiny",
		"https://edge.example/v1/models/x/files",
	]);
	expect(() => readSettings({ WORKER_SECRET: "short-secret" })).toThrow(/^WORKER_SECRET: (?!.*short-secret)/);
	expect(() => readSettings({ WORKER_SECRET, MODELS: " , " })).toThrow(/MODELS: names no model/);
	expect(() => readSettings({ WORKER_SECRET, EDGE_URL: "ftp://x" })).toThrow(/^EDGE_URL: must be an http or https/);
	for (const SLOTS of ["x", "0", "65", "1.5", "NaN"])
		expect(() => readSettings({ WORKER_SECRET, SLOTS })).toThrow(/^SLOTS: must be a whole number from 1 to 64$/);
	expect(readSettings({ WORKER_SECRET }).DTYPE).toBe("f32");
	expect(readSettings({ WORKER_SECRET, DTYPE: "f16" }).DTYPE).toBe("f16");
	expect(() => readSettings({ WORKER_SECRET, DTYPE: "fp16" })).toThrow(/^DTYPE: must be f32 or f16$/);
	expect(() => readSettings({ SLOTS: "x" })).toThrow(/^WORKER_SECRET: .*; SLOTS: .*$/);
	expect(readSettings({ WORKER_SECRET, SLOTS: "", EDGE_URL: "" })).toMatchObject({ EDGE_URL: "http://localhost:8787" });
});

it("logs bytes every two seconds and at the end, also when some come again", () => {
	const lines: string[] = [];
	let time = 0;
	const came = byteLog(
		"model x",
		10e6,
		(line) => lines.push(line),
		() => time,
	);
	for (const [at, bytes] of [
		[500, 1e6],
		[1900, 1e6],
		[2500, 1e6],
		[3000, -3e6],
		[5000, 2e6],
		[6000, 8e6],
	]) {
		time = at;
		came(bytes);
	}
	expect(lines).toEqual([
		"model x: 30 % of 10.0 MB, 1.2 MB/s",
		"model x: 20 % of 10.0 MB, 0.4 MB/s",
		"model x: 100 % of 10.0 MB, 1.7 MB/s",
	]);
});
