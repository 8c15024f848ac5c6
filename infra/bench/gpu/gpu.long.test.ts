import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../temporary.ts";

test("every part leaves a JSON document; one that fails is named, and the others go on", async () => {
	using out = await temporaryFolder("firstlight-gpu-");
	const script = join(import.meta.dirname, "..", "gpu.sh");
	const ran = await promisify(execFile)(script, [out.path, "--dry"], { env: { ...process.env, PYTHON: "false" } }).then(
		({ stdout }) => ({ code: 0, stdout }),
		({ code, stdout }: { code: number; stdout: string }) => ({ code, stdout }),
	);
	expect(ran.stdout).toMatch(/\nFailed: torch-infinity-125m \(their \.log files/);
	expect(ran.code).toBe(1);
	const read = async (name: string) => JSON.parse(await readFile(join(out.path, `${name}.json`), "utf8"));
	const { parts, verified, shapes } = await read("summary");
	expect(verified).toMatchObject([{ dtype: "f32", misses: 0 }, { dtype: "f16" }]);
	for (const { tensors } of verified) expect(tensors).toBeGreaterThan(0);
	for (const { part, result } of parts as { part: string; result: string }[]) {
		expect([part, result === "0"]).toEqual([part, !part.startsWith("torch")]);
		if (result === "0") await read(part);
	}
	const [{ scales, torch, operators, limits }] = shapes;
	expect(scales.map(({ scale }: { scale: number }) => scale)).toEqual([0, 1, 2]);
	for (const { firstlight_ms } of scales) expect(firstlight_ms).toBeGreaterThan(0);
	expect(torch).toEqual({ missing: "this part failed" });
	expect(limits.firstlight.copy_gigabytes_a_second).toBeGreaterThan(0);
	expect(operators.length).toBeGreaterThan(0);
	for (const { share } of operators) expect(share).toBeGreaterThan(0);
}, 1_500_000);
