import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Facts, Graph } from "../family.ts";

/** What a family's graph is beside its facts and its tensors. */
export type GraphParts = Omit<Graph, "shape" | "picture" | "names" | "startTokens" | "destroy">;

/** A graph of these parts, which owns the scope's tensors from now on. */
export function graphOf(scope: Scope, { shape, decoder, names, startTokens }: Facts, parts: GraphParts): Graph {
	const owned = scope.move();
	return { ...parts, shape, picture: decoder, names, startTokens, destroy: () => owned[Symbol.dispose]() };
}
