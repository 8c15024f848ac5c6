import { OutOfMemoryError } from "../gpu/errors.ts";
import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bound, boundWhole, rowStep, rowsBound } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";
import { IMAGE, type ImageShape, largest, pixelsOf } from "./images.ts";

/**
 * How PyTorch resizes: `bilinear` and `bicubic` (a = -0.75) with align_corners = false, no antialiasing and borders
 * clamped, also when shrinking; `area` is adaptive average pooling, also when enlarging; `nearest` takes floor(i * n /
 * m).
 */
export type Resize = "bilinear" | "bicubic" | "area" | "nearest";

const SAMPLE: Record<Resize, string> = {
	bilinear: `
fn sample(c: u32, s: Image, y: u32, x: u32, d: Image) -> vec4f {
	let fy = max((f32(y) + 0.5) * f32(s.height) / f32(d.height) - 0.5, 0.0);
	let fx = max((f32(x) + 0.5) * f32(s.width) / f32(d.width) - 0.5, 0.0);
	let y0 = min(u32(fy), s.height - 1u);
	let x0 = min(u32(fx), s.width - 1u);
	let y1 = min(y0 + 1u, s.height - 1u);
	let x1 = min(x0 + 1u, s.width - 1u);
	let ty = fy - f32(y0);
	let tx = fx - f32(x0);
	return (1.0 - ty) * ((1.0 - tx) * texel(c, s, y0, x0) + tx * texel(c, s, y0, x1))
		+ ty * ((1.0 - tx) * texel(c, s, y1, x0) + tx * texel(c, s, y1, x1));
}`,
	bicubic: `
fn cubic(t: f32) -> vec4f {
	let a = -0.75;
	let near = vec2f(t, 1.0 - t);
	let far = near + 1.0;
	let n = ((a + 2.0) * near - (a + 3.0)) * near * near + 1.0;
	let f = ((a * far - 5.0 * a) * far + 8.0 * a) * far - 4.0 * a;
	return vec4f(f.x, n.x, n.y, f.y);
}
fn sample(c: u32, s: Image, y: u32, x: u32, d: Image) -> vec4f {
	let fy = (f32(y) + 0.5) * f32(s.height) / f32(d.height) - 0.5;
	let fx = (f32(x) + 0.5) * f32(s.width) / f32(d.width) - 0.5;
	let wy = cubic(fy - floor(fy));
	let wx = cubic(fx - floor(fx));
	var sum = vec4f(0);
	for (var j = 0; j < 4; j++) {
		let sy = u32(clamp(i32(floor(fy)) + j - 1, 0, i32(s.height) - 1));
		for (var i = 0; i < 4; i++) {
			let sx = u32(clamp(i32(floor(fx)) + i - 1, 0, i32(s.width) - 1));
			sum += wy[j] * wx[i] * texel(c, s, sy, sx);
		}
	}
	return sum;
}`,
	area: `
fn sample(c: u32, s: Image, y: u32, x: u32, d: Image) -> vec4f {
	let y0 = y * s.height / d.height;
	let y1 = ((y + 1u) * s.height + d.height - 1u) / d.height;
	let x0 = x * s.width / d.width;
	let x1 = ((x + 1u) * s.width + d.width - 1u) / d.width;
	var sum = vec4f(0);
	for (var j = y0; j < y1; j++) { for (var i = x0; i < x1; i++) { sum += texel(c, s, j, i); } }
	return sum / f32((y1 - y0) * (x1 - x0));
}`,
	nearest: `
fn sample(c: u32, s: Image, y: u32, x: u32, d: Image) -> vec4f {
	return texel(c, s, y * s.height / d.height, x * s.width / d.width);
}`,
};

const resizing = kernel({
	name: "resize",
	params: { channels4: "u32", line: "u32?", lines: "u32" },
	bindings: { x: read("vec4f"), y: write("vec4f"), sources: read(IMAGE), targets: read(IMAGE) },
	code: ({ how, add }: { how: Resize; add: boolean }) => `
fn texel(c: u32, s: Image, y: u32, i: u32) -> vec4f { return x[(s.pixel + y * s.width + i) * p.channels4 + c]; }
${SAMPLE[how]}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let d = targets[id.z];
	let i = ${FLAT};
	let cell = p.line * d.width + i / p.channels4;
	if (cell >= min(d.height, p.line + p.lines) * d.width) { return; }
	let c = i % p.channels4;
	let to = (d.pixel + cell) * p.channels4 + c;
	y[to] ${add ? "+=" : "="} sample(c, sources[id.z], cell / d.width, cell % d.width, d);
}`,
});

interface Resizing {
	/** Of any length. */
	x: Tensor;
	y: Tensor;
	how: Resize;
	from: readonly ImageShape[];
	to: readonly ImageShape[];
	channels: number;
	add?: boolean;
	label: string;
}

/** Resizes channels-last images; `from[i]` in x becomes `to[i]` in y. `add` adds to y. Channels are a multiple of 4. */
export function resize(pass: Pass, op: Resizing): void {
	const { x, y, from, to } = op;
	if (boundWhole(pass.gpu, x, y)) resizeLines(pass, op, 0, Math.max(...to.map(({ height }) => height)));
	else for (const [i, target] of to.entries()) resizeByWindows(pass, op, from[i], target);
}

/** Lines `line` to `line + lines` of every target. */
function resizeLines(pass: Pass, op: Resizing, line: number, lines: number): void {
	const { x, y, how, from, to, channels, add = false, label } = op;
	const most = largest(to.map(({ width, height }) => ({ pixel: 0, width, height: Math.min(height, lines) })));
	pass.run(resizing, {
		label,
		options: { how, add },
		params: { channels4: channels / 4, line, lines },
		bindings: { x, y, sources: pass.rows(IMAGE, from), targets: pass.rows(IMAGE, to) },
		groups: [...flatGroups((pixelsOf(most) * channels) / 4), to.length],
	});
}

/** One image, as many lines at a time as bindings hold of both tensors. */
function resizeByWindows(pass: Pass, op: Resizing, from: ImageShape, to: ImageShape): void {
	const { x, y, channels, label } = op;
	const rows = [
		[x, channels],
		[y, channels],
	] as const;
	const most = rowsBound(pass.gpu, rows, label);
	const step = rowStep(rows);
	/** Of a tensor: an image's lines, bound, and where the whole image would begin: before the binding, maybe. */
	const part = (tensor: Tensor, image: ImageShape, first: number, end: number) => {
		const begin = image.pixel + first * image.width;
		const at = begin - (begin % step);
		return {
			tensor: bound(tensor, channels, at, image.pixel + end * image.width),
			image: { ...image, pixel: image.pixel - at },
		};
	};
	for (let line = 0; line < to.height; ) {
		let lines = to.height - line;
		const source = () => sourceLines(op.how, from.height, to.height, line, line + lines);
		const fits = () => {
			const [first, end] = source();
			return lines * to.width <= most && (end - first) * from.width <= most;
		};
		while (lines > 1 && !fits()) lines = Math.ceil(lines / 2);
		if (!fits())
			throw new OutOfMemoryError(`${label}: a line of an image is more than this adapter binds. Use another GPU.`);
		const [first, end] = source();
		const [own, next] = [part(x, from, first, end), part(y, to, line, line + lines)];
		resizeLines(pass, { ...op, x: own.tensor, y: next.tensor, from: [own.image], to: [next.image] }, line, lines);
		line += lines;
	}
}

/** Lines of the source that lines `first` to `end` of the target are made of, or some more. */
function sourceLines(how: Resize, from: number, to: number, first: number, end: number): [first: number, end: number] {
	const around = how === "bicubic" ? 2 : 1;
	return [Math.max(0, Math.floor((first * from) / to) - around), Math.min(from, Math.ceil((end * from) / to) + around)];
}
