/** How workerd's V8 is told to collect early. */

/** Where Miniflare looks for them. */
export const V8_FLAGS_VARIABLE = "MINIFLARE_WORKERD_V8_FLAGS";

/**
 * What a request leaves in each of Miniflare's Workers is small to V8 and large beside its heap, in what workerd holds
 * for it: by itself V8 would let an hour of that gather. So the heap grows by little, and is small to begin with (MiB).
 */
export const V8_FLAGS = "--optimize-for-size --initial-old-space-size=2";
