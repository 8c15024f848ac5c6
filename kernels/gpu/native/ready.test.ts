/** Adapters whose drivers take long over our kernels: compiled in order, said how far, and given up for another. */
import { expect, test } from "vitest";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { openModel } from "../../../worker/engine/open.ts";
import { policies } from "../../../worker/policies/index.ts";
import { Gpu } from "../gpu.ts";
import { kernel, write } from "../kernel.ts";
import { openDevice, openReady } from "./open.ts";

const adding = (name: string, text = "y[id.x] += p.by") =>
	kernel({
		name,
		params: { by: "u32" },
		bindings: { y: write("u32") },
		code: () => `@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) { ${text}; }`,
	});

test("a driver that compiles late is made to before the first use, kernel by kernel; nothing is computed", async () => {
	const { device, facts } = await openDevice();
	const gpu = new Gpu(device, { ...facts, late: true });
	const y = gpu.upload("y", [4], new Uint32Array([1, 2, 3, 4]));
	const kernels = ["first", "second", "third"].map((name) => adding(name));
	const record = () => {
		const pass = gpu.pass("adding");
		for (const [i, kernel] of kernels.entries())
			pass.run(kernel, { label: kernel.name, params: { by: 10 ** (i + 1) }, bindings: { y }, groups: [1] });
		return pass.submit([y]);
	};
	const said: [number, number][] = [];
	gpu.compiling = (done, total) => said.push([done, total]);
	const programs = gpu.rehearse(() => void record());
	expect([...programs.values()]).toEqual(["first", "second", "third"]);
	await gpu.compile(programs);
	expect(said).toEqual([0, 1, 2, 3].map((done) => [done, 3]));
	expect([...new Uint32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
	expect([...new Uint32Array((await record())[0])]).toEqual([1111, 1112, 1113, 1114]);
	gpu.destroy();
});

test("what progress throws ends the compiling", async () => {
	const { device, facts } = await openDevice();
	const gpu = new Gpu(device, facts);
	const y = gpu.tensor("y", [4]);
	gpu.compiling = () => {
		throw new Error("enough");
	};
	const programs = gpu.rehearse(() => {
		const pass = gpu.pass("adding");
		pass.run(adding("any"), { label: "any", params: { by: 1 }, bindings: { y }, groups: [1] });
		pass.submit();
	});
	await expect(gpu.compile(programs)).rejects.toThrow("enough");
	gpu.destroy();
});

test("an adapter that is not ready in time gives way to another, which makes the picture, and it is said", async () => {
	const folder = await openModelFolder(findModel("tiny"));
	const tried: Gpu[] = [];
	const lines: string[] = [];
	const prepare = async (gpu: Gpu) => {
		tried.push(gpu);
		const model = await openModel(gpu, folder);
		await model.compile([policies.exact.plan(model.info, {})]);
		return model;
	};
	// No driver compiles a model's kernels in a millisecond.
	const model = await openReady(prepare, (line) => lines.push(line), 1);
	expect(tried).toHaveLength(2);
	expect(await tried[0].lost).toMatch(/^destroyed/);
	expect(lines).toEqual([
		expect.stringMatching(
			/ compiled \d+ of \d+ kernels in \d+\.\d s\. .*SwiftShader.* computes in its place this time/,
		),
	]);
	const plan = policies.exact.plan(model.info, {});
	const results = await Array.fromAsync(model.generate({ plan, prompt: "a cat", seed: 1, previews: "none" }));
	expect(results.at(-1)?.kind).toBe("final");
	model.destroy();
	tried[1].destroy();
});

test("what else goes wrong is nobody's slowness: it is thrown, and no other adapter is tried", async () => {
	let tried = 0;
	const prepare = async () => {
		tried++;
		throw new RangeError("a fault");
	};
	await expect(openReady(prepare, () => {})).rejects.toThrow("a fault");
	expect(tried).toBe(1);
});
