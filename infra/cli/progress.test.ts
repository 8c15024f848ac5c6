import { afterEach, expect, it, vi } from "vitest";
import { Progress } from "./progress.ts";

const { isTTY } = process.stderr;
afterEach(() => {
	vi.restoreAllMocks();
	process.stderr.isTTY = isTTY;
});

it("a bar that has ended is drawn anew for what comes after", () => {
	const written: string[] = [];
	vi.spyOn(process.stderr, "write").mockImplementation((text) => written.push(String(text)) > 0);
	process.stderr.isTTY = true;
	using bar = new Progress("{bar} {value}/{total} kernels", new AbortController().signal, false);
	for (const total of [2, 3]) {
		bar.report(0, total);
		bar[Symbol.dispose]();
	}
	expect(written.join("")).toMatch(/0\/2 kernels[\s\S]*0\/3 kernels/);
});
