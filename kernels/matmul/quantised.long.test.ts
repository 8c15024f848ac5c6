/** The other half of quantised.test.ts: the rest of its shapes in every variant. */
import { describe } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { FAST_GROUP, products, SHAPES } from "./testing-quantised.ts";

const gpu = await sharedGpu();

describe.each([8, 4] as const)("%i bits", (bits) => {
	products(
		gpu,
		bits,
		SHAPES.filter(([, , , group]) => group !== FAST_GROUP[bits]),
	);
});
