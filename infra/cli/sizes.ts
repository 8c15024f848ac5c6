import { families } from "../../worker/families/index.ts";

/** The published sizes of every family, a line each. */
export const sizesText = (): string =>
	Object.entries(families)
		.map(([name, { published }]) => `  ${name.padEnd(8)}  ${published.sizes.join(", ")}`)
		.join("\n");
