/** With --json every command that reports writes one JSON document to stdout, and nothing else. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readMetadata } from "../../worker/gpu/encode.ts";
import { FaultyServer } from "../load/testing/faulty-server.ts";
import { COMMANDS } from "./program.ts";
import { firstlight } from "./testing.ts";
import { dir, documentOf, evaluation, picture, SLOW, tiny } from "./testing-json.ts";

// The slow ones are in json.long.test.ts.
documentOf(Object.keys(COMMANDS).filter((name) => !SLOW.includes(name)));

it("a profile of the host alone is a document too, and a file where one is named", async () => {
	const file = join(dir, "profile.json");
	const args = ["bench", ...tiny, "--profile", "--host", "--pictures", "1", "--policies", "exact", "--quiet"];
	const { stdout } = await firstlight([...args, "--json"]);
	const { profile } = JSON.parse(stdout);
	expect(profile).toMatchObject({ model: "tiny", clock: "none", policies: [{ policy: "exact" }] });
	expect(await firstlight([...args, "--json", file])).toMatchObject({ code: 0, stderr: "" });
	expect(JSON.parse(await readFile(file, "utf8")).profile.adapter).toEqual(profile.adapter);
});

it("what the commands wrote is whole", async () => {
	expect((await readFile(picture)).subarray(8, 12).toString()).toBe("WEBP");
	expect(
		(await readFile(evaluation, "utf8"))
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line).kind),
	).toEqual(["evaluation", "policy", "picture", "picture"]);
});

it("a picture whose plan was settled on the way says how, in its file as in the document", async () => {
	const out = join(dir, "settled.png");
	const args = ["generate", "a cat", ...tiny, "--policy", "skipvar", "--seed", "3", "--out", out, "--json", "--quiet"];
	const { plan } = JSON.parse((await firstlight(args)).stdout);
	expect(plan).not.toHaveProperty("decide");
	expect((await readMetadata(await readFile(out)))?.plan).toEqual(plan);
});

it("what a command finds wrong is its exit code too, by a pipe as well", async () => {
	await using liar = await FaultyServer.start({});
	const mix = join(dir, "lies.json");
	await writeFile(mix, JSON.stringify({ requests: [{ prompts: "lie about the hash", format: "png" }] }));
	const args = ["--concurrency", "2", "--duration", "1", "--warmup", "0", "--mix", mix, "--json", "--quiet"];
	const { code, stdout } = await firstlight(["load", liar.url, ...args]);
	expect(code).toBe(1);
	expect(JSON.parse(stdout).faults.hash_mismatch).toBeGreaterThan(0);
});

it("the version is the package's, the engine's and the kernels'", async () => {
	expect((await firstlight(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+ \(engine \d+, kernels \d+\)\n$/);
});

it("a wrong command line ends with 2 and says nothing on stdout", async () => {
	expect(await firstlight(["generate", "x", "--sede", "7"])).toEqual({
		code: 2,
		stdout: "",
		stderr: "Unknown option '--sede'.\nDid you mean --seed?\n",
	});
});

it("without a command, the commands are listed", async () => {
	const { code, stdout } = await firstlight([]);
	expect(code).toBe(0);
	for (const name of Object.keys(COMMANDS)) expect(stdout).toContain(`\n  ${name} `);
});
