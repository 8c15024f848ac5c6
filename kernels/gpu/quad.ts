/** WGSL of `name`_1 to `name`_3: what `name`_0 is in lanes l ^ 1, l ^ 2 and l ^ 3 of a quad. */
export const swapped = (name: string): string =>
	["X", "Y", "Diagonal"].map((across, i) => `let ${name}_${i + 1} = quadSwap${across}(${name}_0);`).join(" ");
