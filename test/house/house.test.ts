/** The house's rules that no compiler knows: which way imports go, that none goes round, that a line can be read. */
import { expect, it } from "vitest";
import { circles, importsOf, reached, read, sources } from "./imports.ts";

/**
 * Rooms from the ground up, the more special ones by their longer path. A file imports from its own floor and those
 * below.
 */
const STAIRS: readonly (readonly string[])[] = [
	["worker/protocol"],
	["kernels/gpu"],
	["kernels"],
	["kernels/gpu/native", "kernels/gpu/browser"],
	["model-shards/format"],
	["worker/families"],
	["model-shards"],
	["worker/policies"],
	["worker/engine/round"],
	["worker/engine"],
	["worker/gpu", "worker/edge", "worker/page"],
	["infra"],
	["test"],
];

const floors = new Map(STAIRS.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));
const floorOf = (file: string): number => {
	for (let room = file; room.includes("/"); ) {
		room = room.slice(0, room.lastIndexOf("/"));
		const floor = floors.get(room);
		if (floor !== undefined) return floor;
	}
	throw new Error(`${file} is in no room: add its folder to STAIRS.`);
};

/** Tests look at what they like. */
const isTest = (file: string) => /\.test\.ts$|^test\/|\/testing\b/.test(file);
const files = sources.filter((file) => file.includes("/"));
const code = files.filter((file) => !isTest(file));
const imports = files.flatMap(importsOf);

it("imports go down the stairs, types too", () => {
	const up = imports.filter(
		({ from, to }) => code.includes(from) && sources.includes(to) && floorOf(to) > floorOf(from),
	);
	expect(up.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
});

it("no import goes round at run time", () => {
	expect(circles(files, imports)).toEqual([]);
});

it("nothing that a browser loads asks for Node", () => {
	const loaded = [...reached("worker/engine/browser.ts", imports)];
	expect(loaded.filter((module) => /^node:|\/native\//.test(module))).toEqual([]);
	expect(loaded.filter((module) => !sources.includes(module)).sort()).toEqual(["@huggingface/tokenizers", "zod"]);
});

/** Recorded texts and drawings, which are as long as they are. */
const DATA = ["test/tokenizers/prompts.ts", "model-shards/training/sprites/art.ts"];

it("a line is at most 120 columns", () => {
	const columns = (line: string) => line.replaceAll("\t", "  ").length;
	const long = sources
		.filter((file) => !DATA.includes(file))
		.flatMap((file) =>
			read(file)
				.split("\n")
				.flatMap((line, i) => (columns(line) > 120 ? [`${file}:${i + 1}`] : [])),
		);
	expect(long).toEqual([]);
});
