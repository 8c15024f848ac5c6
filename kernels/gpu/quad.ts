/** WGSL of `name`_1 to `name`_3: what `name`_0 is in lanes l ^ 1, l ^ 2 and l ^ 3 of a quad. */
export const swapped = (name: string): string =>
	["X", "Y", "Diagonal"].map((across, i) => `let ${name}_${i + 1} = quadSwap${across}(${name}_0);`).join(" ");

/** A vec4 that is summed up: WGSL of its component `e` so far, and of what that of the n-th vector is multiplied by. */
export interface QuadSum {
	name: string;
	from?(e: string): string;
	by(n: number, e: string): string;
}

/** WGSL of each component of each sum, product by product: nested in one another, many are too deep for a parser. */
const totals = (
	sums: readonly QuadSum[],
	vectors: readonly string[],
	write: (name: string, e: string, total: string) => string,
): string[] =>
	[..."xyzw"].flatMap((e) =>
		sums.flatMap(({ name, from = () => `${name}.${e}`, by }) =>
			vectors.map((vector, n) => {
				const total = `fma(${by(n, e)}, ${vector}.${e}, ${n === 0 ? from(e) : `${name}${e}${n - 1}`})`;
				return n + 1 < vectors.length ? `let ${name}${e}${n} = ${total};` : write(name, e, total);
			}),
		),
	);

/**
 * WGSL that adds the product of each of the vectors to each of the sums, one fused multiply-add after the other. Number
 * by number, and a sum at once with all that there is for it, since SwiftShader, which quads are for, compiles what it
 * reads in that order: so a sum stays in a register and the vectors do over all sums, and else both go through memory.
 */
export const addProducts = (sums: readonly QuadSum[], vectors: readonly string[]): string =>
	totals(sums, vectors, (name, e, total) => `${name}.${e} = ${total};`).join("\n\t\t\t");

/** As `addProducts`, of sums that begin here, at 0: no variables, each store of which would be one under a mask. */
export const sumProducts = (sums: readonly Omit<QuadSum, "from">[], vectors: readonly string[]): string =>
	[
		...totals(
			sums.map((sum) => ({ ...sum, from: () => "0.0" })),
			vectors,
			(name, e, total) => `let ${name}${e} = ${total};`,
		),
		...sums.map(({ name }) => `let ${name} = vec4f(${[..."xyzw"].map((e) => name + e).join(", ")});`),
	].join("\n\t\t\t");
