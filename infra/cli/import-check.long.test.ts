/** What `import --check` says while it works: reading back, loading and drawing take long with a large model. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { program } from "./program.ts";
import { Terminal } from "./terminal.ts";

it("says how far each of its parts is", async () => {
	const terminal = new Terminal(new AbortController().signal);
	vi.spyOn(terminal, "print").mockReturnValue();
	const say = vi.spyOn(terminal, "say").mockReturnValue();
	const shown = new Map<string, [done: number, total: number]>();
	const progress = terminal.progress.bind(terminal);
	vi.spyOn(terminal, "progress").mockImplementation((format) => {
		const bar = progress(format);
		const update = bar.update.bind(bar);
		bar.update = (done, more) => {
			shown.set(format.replace(/^\{bar\} /, ""), [done, Number(more?.total)]);
			update(done, more);
		};
		return bar;
	});
	const out = await mkdtemp(join(tmpdir(), "import-check-"));
	onTestFinished(() => rm(out, { recursive: true }));
	const args = ["import", "tiny", "--dtype", "int8", "--out", out, "--check", "--quiet"];
	await program(terminal).parseAsync(args, { from: "user" });
	for (const format of [
		"{value}/{total} tensors read back and compared",
		"{percentage} % of the original model loaded, {eta_formatted} left",
		"{percentage} % of the new model loaded, {eta_formatted} left",
	]) {
		const [done, total] = shown.get(format) ?? [];
		expect(done, format).toBeGreaterThan(0);
		expect(done).toBe(total);
	}
	expect(say).toHaveBeenCalledWith(expect.stringMatching(/^Three pictures are drawn/));
});
