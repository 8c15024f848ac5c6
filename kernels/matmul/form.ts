import type { MatrixShape } from "../gpu/facts.ts";
import type { Variant } from "../gpu/variants.ts";

export interface MatmulVariant extends Variant {
	form: "tile" | "quad" | "shared" | "matrix";
	/**
	 * Outputs of one tile: rows and columns of an invocation (tile), of four lanes (quad) or of a workgroup (shared,
	 * matrix).
	 */
	rows: number;
	columns: number;
	/** vec4s of k a step of the loop takes, where k has such a multiple. */
	unroll: number;
}

/** How a matmul is cut up: a program text around the same loads, sums and stores. */
export interface Form {
	enable?: readonly string[];
	/** Workgroups for m rows and n4 vec4s of columns. */
	groups(variant: MatmulVariant, m: number, n4: number): [number, number];
	/** `steps`: vec4s of k a step of the loop takes; `matrix` where the adapter has such. */
	code(variant: MatmulVariant, steps: number, matrix?: MatrixShape): string;
}
