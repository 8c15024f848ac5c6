import { copyFileSync, existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { temporaryFolder } from "../temporary.ts";
import { clearForgotten } from "./forgotten.ts";

it("clears away databases without a table, but none that is open, new, or has something written ahead", async () => {
	using folder = await temporaryFolder("firstlight-forgotten-");
	const path = (name: string) => join(folder.path, `${name}.sqlite`);
	const made = (name: string) => {
		const db = new DatabaseSync(path(name));
		db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1); DROP TABLE t; VACUUM");
		db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
		return db;
	};
	made("empty").close();
	made("new").close();
	const open = made("open");
	const ahead = made("ahead");
	ahead.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	const full = made("full");
	full.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	full.close();
	for (const name of ["empty", "open", "ahead", "full"]) utimesSync(path(name), 0, 0);

	expect(clearForgotten(folder.path)).toBe(1);
	const left = () => readdirSync(folder.path).filter((name) => !/-(wal|shm)$/.test(name));
	expect(left().sort()).toEqual(["ahead.sqlite", "full.sqlite", "new.sqlite", "open.sqlite"]);

	// Whoever had it open goes on with it.
	open.exec("CREATE TABLE t (x); INSERT INTO t VALUES (7)");
	open.close();
	using again = new DatabaseSync(path("open"));
	expect(again.prepare("SELECT x FROM t").get()).toEqual({ x: 7 });
	ahead.close();
	expect(existsSync(path("ahead"))).toBe(true);
	expect(clearForgotten(join(folder.path, "none"))).toBe(0);
});

it("clears away what a power cut left of a database's making, but no journal with something to give back", async () => {
	using folder = await temporaryFolder("firstlight-forgotten-");
	const path = (name: string) => join(folder.path, name);
	/** As the power cut finds it. */
	const cutOff = (name: string) => {
		for (const end of ["", "-journal"]) copyFileSync(path(`live.sqlite${end}`), path(`${name}.sqlite${end}`));
	};
	using live = new DatabaseSync(path("live.sqlite"));
	live.exec("BEGIN IMMEDIATE; CREATE TABLE t (x)");
	cutOff("begun");
	live.exec("COMMIT; BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
	cutOff("shortened");
	writeFileSync(path("shortened.sqlite"), "");
	for (const name of ["begun", "shortened", "live"]) utimesSync(path(`${name}.sqlite`), 0, 0);

	expect(clearForgotten(folder.path)).toBe(1);
	const stayed = ["live.sqlite", "live.sqlite-journal", "shortened.sqlite", "shortened.sqlite-journal"];
	expect(readdirSync(folder.path).sort()).toEqual(stayed);
});
