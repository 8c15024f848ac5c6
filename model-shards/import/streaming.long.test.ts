/** Imports over the full official lists that are not in streaming.test.ts. */
import { importsInPieces } from "./testing-streaming.ts";

importsInPieces([
	["var", "d16", 760e6, ""],
	["hart", "0.7b", 1.6e9, ""],
]);
