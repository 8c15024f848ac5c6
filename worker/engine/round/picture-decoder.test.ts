import { expect, test } from "vitest";
import { dropAlpha } from "./picture-decoder.ts";

test("pixels lose their alpha and nothing else, however many there are", () => {
	for (let count = 0; count < 10; count++) {
		const rgba = Uint8Array.from({ length: 4 * count }, (_, i) => (i * 67 + 200) % 256);
		const rgb = rgba.filter((_, i) => i % 4 !== 3);
		expect(dropAlpha(new Uint32Array(rgba.buffer))).toEqual(rgb);
	}
});
