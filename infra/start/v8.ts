/** How workerd's V8 is told to collect early. */

/** Where Miniflare looks for them. */
export const V8_FLAGS_VARIABLE = "MINIFLARE_WORKERD_V8_FLAGS";

/**
 * In MiB, for each of Miniflare's Workers. By itself V8 lets tens of MiB of garbage gather in each before it collects,
 * and what that holds beside V8's heap workerd's allocator keeps for good (docs/load.md).
 */
export const V8_FLAGS = "--max-semi-space-size=1 --initial-old-space-size=8";
