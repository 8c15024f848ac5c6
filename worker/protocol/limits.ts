/** Size limits of everything that comes from outside, in one place. */
export const MAX_PROMPT_CHARS = 2000;
export const MAX_CLASSES = 1_000_000;
export const MAX_REQUEST_BYTES = 64 * 1024;
/** JSON of a plan in a query: longer URLs are refused on the way. */
export const MAX_PLAN_QUERY_CHARS = 8 * 1024;
/** Largest encoded picture an event carries; an event row must stay under a Durable Object's 2 MB. */
export const MAX_IMAGE_BYTES = 1_200_000;
export const MAX_WORKER_MESSAGE_BYTES = 256 * 1024;
export const MAX_SEED = 0xffff_ffff;
export const MAX_PARTIAL_IMAGES = 16;
export const MAX_IMAGES_PER_REQUEST = 4;
