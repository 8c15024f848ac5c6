import { families } from "../../model-shards/import/published.ts";

/** The published sizes of every family, a line each. */
export const sizesText = (): string =>
	Object.entries(families)
		.map(([name, { sizes }]) => `  ${name.padEnd(8)}  ${sizes.join(", ")}`)
		.join("\n");
