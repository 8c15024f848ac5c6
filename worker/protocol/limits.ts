/** Size limits of everything that comes from outside, in one place. */
/** Code points: what people count as characters, whatever their script; many an emoji is two of `length`. */
export const MAX_PROMPT_CHARS = 2000;
export const fitsPrompt = (text: string): boolean =>
	text.length <= MAX_PROMPT_CHARS || [...text].length <= MAX_PROMPT_CHARS;
export const MAX_CLASSES = 1_000_000;
export const MAX_REQUEST_BYTES = 64 * 1024;
/** Of a body that nobody asked for: so much is read and thrown away, so that its sender gets the answer. */
export const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
/** Path and query, and all header lines together: more is refused before anything is read. */
export const MAX_URL_CHARS = 48 * 1024;
export const MAX_HEADER_CHARS = 16 * 1024;
/** JSON of a plan in a query: longer URLs are refused on the way. */
export const MAX_PLAN_QUERY_CHARS = 8 * 1024;
/** Largest encoded picture an event carries: a PNG of 1024x1024 twice over, or of 2048x2048 as far as it packs. */
export const MAX_IMAGE_BYTES = 8_000_000;
/** Its base64, as events carry it; and a whole event, with room for what stands beside the picture. */
export const MAX_IMAGE_CHARS = 4 * Math.ceil(MAX_IMAGE_BYTES / 3);
export const MAX_EVENT_CHARS = MAX_IMAGE_CHARS + 256 * 1024;
/** Base64 of one scale's codes; a Durable Object's row holds 2 MB. */
export const MAX_CODES_CHARS = 1_500_000;
/** What a worker says to its pool, and the other way: a lease brings the codes of all scales so far. */
export const MAX_WORKER_MESSAGE_BYTES = 256 * 1024;
export const MAX_POOL_MESSAGE_CHARS = 8 * 1024 * 1024;
/** A tokenizer of at most so many bytes travels in its model's info; what is larger the edge reads from the bucket. */
export const MAX_INFO_TOKENIZER_BYTES = 16 * 1024;
export const MAX_SEED = 0xffff_ffff;
export const MAX_PARTIAL_IMAGES = 16;
export const MAX_IMAGES_PER_REQUEST = 10;
/** Jobs that one request makes: a page of sketches. */
export const MAX_IMAGES_PER_BATCH = 9;
/** Of a picture that is asked for by its size: made at a size of the model's and resized. */
export const MAX_PICTURE_SIDE = 2048;
