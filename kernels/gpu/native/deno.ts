interface DenoNamespace {
	version: { deno: string };
	dlopen(path: string, symbols: object): unknown;
}

/** What is used of Deno's own; undefined on Node. */
export const deno = (globalThis as { Deno?: DenoNamespace }).Deno;
