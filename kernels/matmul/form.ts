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
}

/** What a program is written for beside its variant. */
export interface BuiltFor {
	/** vec4s of k that are staged at a time. */
	slab: number;
	/** Of the adapter, where it has such. */
	matrix: MatrixShape | undefined;
}

/** How a matmul is cut up: a program text around the same loads, sums and stores. */
export interface Form {
	enable?: readonly string[];
	/** Workgroups for m rows and n4 vec4s of columns. */
	groups(variant: MatmulVariant, m: number, n4: number): [number, number];
	code(variant: MatmulVariant, built: BuiltFor): string;
}
