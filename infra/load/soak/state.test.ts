import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../temporary.ts";
import { StateWatch } from "./state.ts";

it("counts files, bytes and rows, also what is only written ahead, while others have the databases open", async () => {
	using folder = await temporaryFolder("firstlight-state-");
	await using watch = new StateWatch(folder.path);
	const jobs = join(folder.path, "v3", "do", "Job");
	mkdirSync(jobs, { recursive: true });
	writeFileSync(join(folder.path, "note.txt"), "12345");
	const open = ["a", "b"].map((name) => {
		const db = new DatabaseSync(join(jobs, `${name}.sqlite`));
		db.exec("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE event (json TEXT)");
		db.exec(`INSERT INTO event VALUES ('${"x".repeat(50_000)}'), ('short')`);
		return db;
	});
	new DatabaseSync(join(jobs, "metadata.sqlite")).close();

	const full = await watch.look();
	expect(full.rows).toEqual({ "Job event": 4 });
	expect(full.files).toBe(8);
	expect(full.logs).toBe(2);
	expect(full.bytes).toBeGreaterThan(2 * 50_000);
	expect(full.walBytes).toBeGreaterThan(2 * 50_000);
	expect(full.usedBytes).toBeGreaterThan(2 * 50_000);

	open[0].exec("DELETE FROM event");
	const less = await watch.look();
	expect(less.rows).toEqual({ "Job event": 2 });
	expect(less.freeBytes).toBeGreaterThan(40_000);
	expect(less.usedBytes).toBeLessThan(full.usedBytes - 40_000);

	open[1].exec("DROP TABLE event");
	expect((await watch.look()).rows).toEqual({ "Job event": 0 });
	for (const db of open) db.close();
	expect((await watch.look()).emptyDatabases).toBe(2);
});
