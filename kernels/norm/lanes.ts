import type { Gpu } from "../gpu/gpu.ts";
import { FLAT_GROUP, flatGroups } from "../gpu/workgroups.ts";

/**
 * Invocations that share a token: 64 on a GPU, where there are more of them than tokens, 1 where a few lanes are all
 * there is. The order of the sum follows from it, so it hangs on the adapter alone.
 */
export type Lanes = 1 | 64;

export const lanesOf = ({ facts }: Gpu): Lanes => (facts.software ? 1 : 64);

/** The workgroups of 64 that share `tokens` so. */
export const laneGroups = (tokens: number, lanes: Lanes): [number, number] => flatGroups(tokens * lanes);

/** WGSL `total(part, lane)`: the sum over the lanes that share a token, in the order of a tree. */
export const total = (lanes: Lanes): string =>
	lanes === 1 ? "fn total(part: vec4f, lane: u32) -> f32 { return dot(part, vec4f(1)); }" : TREE;

const TREE = `
var<workgroup> parts: array<f32, 64>;
fn total(part: vec4f, lane: u32) -> f32 {
	parts[lane] = dot(part, vec4f(1));
	workgroupBarrier();
	for (var step = 32u; step > 0u; step >>= 1u) {
		if (lane < step) { parts[lane] += parts[lane + step]; }
		workgroupBarrier();
	}
	return workgroupUniformLoad(&parts[0]);
}`;

/** WGSL head of `main`, which names the token t and its lane. Needs `p.tokens`. */
export const main = (lanes: Lanes): string => `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
	let t = ${lanes === 1 ? `${FLAT_GROUP} * 64u + index` : FLAT_GROUP};
	let lane = ${lanes === 1 ? "0u" : "index"};
	if (t >= p.tokens) { return; }`;
