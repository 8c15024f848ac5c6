import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterEach, expect, it, vi } from "vitest";
import { V8_FLAGS, V8_FLAGS_VARIABLE } from "./v8.ts";

afterEach(() => {
	vi.unstubAllEnvs();
});

/** What a Worker answers where workerd was started with these flags. */
async function answer(flags: string): Promise<string> {
	vi.stubEnv(V8_FLAGS_VARIABLE, flags);
	const script = "export default { fetch: () => new Response(typeof globalThis.gc) };";
	const running = new Miniflare(convertV4MiniflareOptions({ modules: true, script, cf: false }));
	try {
		return await (await running.dispatchFetch("http://localhost/")).text();
	} finally {
		await running.dispose();
	}
}

it("V8 in workerd has our flags, and knows them", async () => {
	expect(await answer(V8_FLAGS)).toBe("undefined");
	expect(await answer(`${V8_FLAGS} --expose-gc`)).toBe("function");
});
