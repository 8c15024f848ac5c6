/**
 * Named counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A number depends on (seed, stream,
 * purpose, scale, index, lane) only, never on its place in a batch, so a picture is the same alone, batched, or resumed
 * elsewhere.
 */
export const PURPOSE = { bits: 1, projection: 2, positions: 3, codes: 4, noise: 5 } as const;

export const PHILOX = `
fn mulhi(a: u32, b: u32) -> u32 {
	let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
	let low = al * bl; let m1 = ah * bl + (low >> 16u); let m2 = al * bh + (m1 & 0xffffu);
	return ah * bh + (m1 >> 16u) + (m2 >> 16u);
}
fn philox(counter: vec4u, key: vec2u) -> vec4u {
	var c = counter;
	var k = key;
	for (var round = 0; round < 10; round++) {
		c = vec4u(
			mulhi(0xCD9E8D57u, c.z) ^ c.y ^ k.x, 0xCD9E8D57u * c.z,
			mulhi(0xD2511F53u, c.x) ^ c.w ^ k.y, 0xD2511F53u * c.x
		);
		k += vec2u(0x9E3779B9u, 0xBB67AE85u);
	}
	return c;
}
// Uniform in (0, 1), never an end: 23 bits and a half (with 24 the topmost would round to 1).
fn uniform4(bits: vec4u) -> vec4f { return (vec4f(bits >> vec4u(9u)) + 0.5) * 1.1920928955078125e-7; }`;

/** The same on the host, for tests and for sibling seeds. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
	let [a, b, c, d] = counter;
	let [k, l] = key;
	for (let round = 0; round < 10; round++) {
		const p = BigInt(a >>> 0) * 0xd2511f53n;
		const q = BigInt(c >>> 0) * 0xcd9e8d57n;
		[a, b, c, d] = [
			(Number(q >> 32n) ^ b ^ k) >>> 0,
			Number(q & 0xffffffffn),
			(Number(p >> 32n) ^ d ^ l) >>> 0,
			Number(p & 0xffffffffn),
		];
		k = (k + 0x9e3779b9) >>> 0;
		l = (l + 0xbb67ae85) >>> 0;
	}
	return [a, b, c, d];
}
