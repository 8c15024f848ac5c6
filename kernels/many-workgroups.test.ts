/** Dispatches of more than 65535 workgroups, as the largest pictures ask for: their last elements are right. */
import { expect, test } from "vitest";
import { sharedGpu } from "./gpu/native/testing.ts";
import type { Pass } from "./gpu/pass.ts";
import type { Tensor } from "./gpu/tensor.ts";
import { usable } from "./gpu/variants.ts";
import { type ConvShape, conv3x3, convTunable } from "./image/conv.ts";
import { resize } from "./image/interpolate.ts";
import { pixelShuffle, pixelUnshuffle } from "./image/pixel-shuffle.ts";
import { matmulTunable } from "./matmul/matmul.ts";
import { layerNorm } from "./norm/layer-norm.ts";
import { blend } from "./pointwise/blend.ts";
import { codeValues } from "./sample/bits.ts";
import { PURPOSE, philox } from "./sample/random.ts";
import { Bench } from "./testing.ts";
import { drawProjection, project } from "./tokens/project.ts";
import { gatherSelected } from "./tokens/selected.ts";

const gpu = await sharedGpu();

/** Elements that no 65535 workgroups of 64 threads cover, one a thread. */
const MANY = 65_536 * 64;
const ROW = { token: 0, tokens: 1, out: 0, count: 1, draw: 0, seed: 5, scale: 3, stream: 0, columns: 1 };

/** The last `count` floats of `y` after what was recorded. */
async function last(y: Tensor, count: number, record: (pass: Pass) => void): Promise<number[]> {
	const pass = gpu.pass("many");
	record(pass);
	pass.submit();
	const [tail] = await gpu.read([{ ...y, offset: y.bytes - 4 * count, bytes: 4 * count, shape: [count] }]);
	return [...new Float32Array(tail)];
}

test("blend", async () => {
	using bench = new Bench(gpu);
	const [a, b, y] = [3, 7, 0].map((value) => bench.put(new Float32Array(4 * MANY).fill(value)).tensor);
	const images = [{ pixel: 0, height: 1, width: MANY }];
	const tail = await last(y, 4, (pass) => blend(pass, { a, b, share: 0.25, y, images, channels: 4, label: "blend" }));
	expect(tail).toEqual([4, 4, 4, 4]);
});

test("resize", async () => {
	using bench = new Bench(gpu);
	const x = bench.put(Float32Array.from({ length: 16 }, (_, i) => i)).tensor;
	const y = bench.empty(4 * MANY);
	const [from, to] = [[{ pixel: 0, height: 2, width: 2 }], [{ pixel: 0, height: 2048, width: MANY / 2048 }]];
	const tail = await last(y, 4, (pass) =>
		resize(pass, { x, y, how: "nearest", from, to, channels: 4, label: "resize" }),
	);
	expect(tail).toEqual([12, 13, 14, 15]);
});

test("pixelShuffle and back", async () => {
	using bench = new Bench(gpu);
	const [x, y, back] = [
		bench.put(new Float32Array(MANY).map((_, i) => i % 1000)).tensor,
		bench.empty(MANY),
		bench.empty(MANY),
	];
	const images = [{ pixel: 0, height: 1024, width: 1024 }];
	const shape = { images, side: 2, channels: 1, stride: 1 };
	const tail = await last(back, 3, (pass) => {
		pixelShuffle(pass, { x, y, ...shape, label: "shuffle" });
		pixelUnshuffle(pass, { x: y, y: back, ...shape, label: "unshuffle" });
	});
	expect(tail).toEqual([-3, -2, -1].map((i) => (MANY + i) % 1000));
});

test("norms whose tokens have 64 lanes each", async () => {
	using bench = new Bench(gpu);
	const tokens = 65_536 + 2;
	const x = bench.put(new Float32Array(4 * tokens).map((_, i) => i % 4)).tensor;
	const y = bench.empty(tokens, 4);
	const [weight, bias] = [1, 0].map((value) => bench.put(new Float32Array(4).fill(value)).tensor);
	const tail = await last(y, 8, (pass) =>
		layerNorm(pass, { x, y, weight, bias, tokens, width: 4, eps: 0, lanes: 64, label: "norm" }),
	);
	const row = [-1.5, -0.5, 0.5, 1.5].map((value) => expect.closeTo(value / Math.sqrt(1.25), 5));
	expect(tail).toEqual([...row, ...row]);
});

test("codeValues", async () => {
	using bench = new Bench(gpu);
	const tokens = MANY / 32 + 1;
	const codes = bench.put(new Uint32Array(tokens).fill(0x8000_0001)).tensor;
	const values = bench.empty(tokens, 32);
	const tail = await last(values, 32, (pass) =>
		codeValues(pass, { codes, values, bits: 32, sphere: 1, tokens, label: "values" }),
	);
	expect(tail).toEqual([1, ...new Array(30).fill(-1), 1]);
});

test("gatherSelected", async () => {
	using bench = new Bench(gpu);
	const width = 2 ** 20;
	const x = bench.put(new Float32Array(2 * width).map((_, i) => i)).tensor;
	const y = bench.empty(17, width);
	const rows = [{ ...ROW, tokens: 2, count: 17 }];
	const tail = await last(y, 2, (pass) => {
		const positions = pass.table(Array.from({ length: 17 }, (_, k) => (k + 1) % 2));
		gatherSelected(pass, { x, positions, y, width, rows, label: "gather" });
	});
	expect(tail).toEqual([2 * width - 2, 2 * width - 1]);
});

test("drawProjection and project", async () => {
	using bench = new Bench(gpu);
	const [count, width] = [MANY / 2, 8];
	const matrices = bench.empty(2 * count);
	const rows = [{ ...ROW, tokens: 2, count }];
	const drawn = await last(matrices, 2, (pass) => drawProjection(pass, { matrices, rows, label: "draw" }));
	const named = [count - 2, count - 1].map((i) => {
		const bits = philox([1, i, ROW.scale, PURPOSE.projection], [ROW.seed, ROW.stream]);
		const [u, v] = bits.map((bits) => ((bits >>> 9) + 0.5) / 2 ** 23);
		return (Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)) / Math.sqrt(count);
	});
	for (const i of [0, 1]) expect(drawn[i]).toBeCloseTo(named[i], 6);
	const x = bench.put(new Float32Array(2 * width).fill(1)).tensor;
	const y = bench.empty(2 * count, width);
	const tail = await last(y, 1, (pass) =>
		project(pass, { x, matrices, y, width, rows: [{ ...ROW, count: 2 * count }], label: "project" }),
	);
	expect(tail[0]).toBe(drawn[1]);
});

test.each<[string, Pick<ConvShape, "inChannels" | "outChannels">]>([
	["few channels", { inChannels: 128, outChannels: 4 }],
	["channels as the last layers of a decoder have", { inChannels: 128, outChannels: 128 }],
	["many channels", { inChannels: 512, outChannels: 512 }],
])("every variant that may run can: %s", (_, channels) => {
	const image = { height: 1024, width: 1024 };
	const limit = gpu.device.limits.maxComputeWorkgroupsPerDimension;
	const convs = usable(gpu, convTunable, { ...image, ...channels });
	expect(convs.length).toBeGreaterThan(2);
	const groups: number[] = [];
	const pass = { rows: () => undefined, run: (_: unknown, call: { groups: number[] }) => groups.push(...call.groups) };
	const none = {} as Tensor;
	for (const variant of convs)
		conv3x3(pass as never, {
			x: none,
			y: none,
			weight: { ...none, shape: [channels.outChannels] },
			bias: none,
			images: [{ pixel: 0, ...image }],
			...channels,
			variant,
			label: "conv",
		});
	expect(Math.max(...groups)).toBeLessThanOrEqual(limit);
	expect(usable(gpu, matmulTunable, { m: 2 ** 20, k: 64, n: 64 }).map(({ name }) => name)).not.toContain("tile 1x4");
});
