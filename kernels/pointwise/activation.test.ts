import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { type Activation, activate, silu } from "./activation.ts";

const gpu = await sharedGpu();

/** By its series, which converges everywhere; in f64 it is exact to 1e-12 up to 4, and 1 beyond. */
function erf(x: number): number {
	if (Math.abs(x) > 4) return Math.sign(x) * (1 - 1e-8);
	let term = x;
	let sum = x;
	for (let n = 1; Math.abs(term) > 1e-17; n++) {
		term *= (-x * x) / n;
		sum += term / (2 * n + 1);
	}
	return (2 / Math.sqrt(Math.PI)) * sum;
}

const REFERENCE: Record<Activation, (x: number) => number> = {
	gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
	"gelu-tanh": (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
	"quick-gelu": (x) => x / (1 + Math.exp(-1.702 * x)),
	silu: (x) => x / (1 + Math.exp(-x)),
};

test.each(Object.keys(REFERENCE) as Activation[])("%s, alone and as a gate", async (how) => {
	using bench = new Bench(gpu);
	// From one end to the other in small steps, then far out.
	const x = bench.put(
		Float32Array.from([...Array.from({ length: 1000 }, (_, i) => (i - 500) / 100), -60, -20, 20, 60]),
	);
	const by = bench.random(x.data.length);
	const expected = Array.from(x.data, REFERENCE[how]);
	const run = async (gated?: typeof by) => {
		const y = bench.put(x.data.slice());
		return (
			await bench.run(
				(pass) => activate(pass, { x: y.tensor, gated: gated?.tensor, count: x.data.length, how, label: how }),
				y.tensor,
			)
		)[0];
	};
	expect(maxError(await run(), expected)).toBeLessThan(2e-6);
	expect(
		maxError(
			await run(by),
			expected.map((v, i) => v * by.data[i]),
		),
	).toBeLessThan(3e-6);
});

test("silu, also of large inputs", async () => {
	using bench = new Bench(gpu);
	const x = bench.put(bench.random(260).data.map((v) => v * 12));
	x.data.set([-1e4, -90, 90, 1e4]);
	gpu.device.queue.writeBuffer(x.tensor.buffer, 0, x.data);
	const y = bench.empty(260);
	const [out] = await bench.run((pass) => silu(pass, { x: x.tensor, y, count: 260, label: "silu" }), y);
	expect(
		maxError(
			out,
			Array.from(x.data, (v) => v / (1 + Math.exp(-v))),
		),
	).toBeLessThan(1e-4);
});
