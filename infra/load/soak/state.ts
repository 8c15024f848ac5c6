/** What lies in the product's state folder now: files, bytes, and the rows of its databases. */
import { copyFileSync, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { temporaryFolder } from "../../temporary.ts";

export interface StateSample {
	files: number;
	bytes: number;
	/** Of these, logs that SQLite writes ahead, and its index of them: bounded, and used again. */
	walBytes: number;
	logs: number;
	/** Of databases themselves, which take in what is written ahead. */
	databaseBytes: number;
	/** Pages of databases that hold nothing, and that SQLite keeps for what comes. */
	freeBytes: number;
	/** Pages in use. */
	usedBytes: number;
	/** Databases without a table: of objects that have deleted all they had. */
	emptyDatabases: number;
	/** By folder and table, such as `firstlight-Job event`. */
	rows: Record<string, number>;
}

interface Database {
	rows: Record<string, number>;
	freeBytes: number;
	usedBytes: number;
	tables: number;
}

/** Looks at a folder again and again; a database that has not changed is not read again. */
export class StateWatch implements AsyncDisposable {
	readonly #folder: string;
	#known = new Map<string, { stamp: string; database: Database }>();
	#copies: Awaited<ReturnType<typeof temporaryFolder>> | undefined;

	constructor(folder: string) {
		this.#folder = folder;
	}

	async look(): Promise<StateSample> {
		this.#copies ??= await temporaryFolder("firstlight-soak-copy-");
		const sample: StateSample = {
			files: 0,
			bytes: 0,
			walBytes: 0,
			logs: 0,
			databaseBytes: 0,
			freeBytes: 0,
			usedBytes: 0,
			emptyDatabases: 0,
			rows: {},
		};
		const seen = new Map<string, { stamp: string; database: Database }>();
		for (const entry of readdirSync(this.#folder, { recursive: true, withFileTypes: true })) {
			if (!entry.isFile()) continue;
			const path = join(entry.parentPath, entry.name);
			const bytes = sizeOf(path);
			// It has gone since the folder was listed.
			if (bytes === null) continue;
			sample.files += 1;
			sample.bytes += bytes;
			if (/\.sqlite-(wal|shm)$/.test(path)) sample.walBytes += bytes;
			if (path.endsWith(".sqlite-wal")) sample.logs += 1;
			if (!path.endsWith(".sqlite")) continue;
			sample.databaseBytes += bytes;
			const stamp = [path, `${path}-wal`].map(stampOf).join();
			const known = this.#known.get(path);
			const database = known?.stamp === stamp ? known.database : this.#read(path, this.#copies.path);
			if (!database) continue;
			seen.set(path, { stamp, database });
			sample.freeBytes += database.freeBytes;
			sample.usedBytes += database.usedBytes;
			if (database.tables === 0) sample.emptyDatabases += 1;
			const place = placeOf(relative(this.#folder, path));
			for (const [table, rows] of Object.entries(database.rows))
				sample.rows[`${place} ${table}`] = (sample.rows[`${place} ${table}`] ?? 0) + rows;
		}
		this.#known = seen;
		return sample;
	}

	/** From a copy, since its owner may hold it and is not to be disturbed. Undefined where it was being written. */
	#read(path: string, copies: string): Database | undefined {
		const copy = join(copies, "copy.sqlite");
		try {
			for (const end of ["", "-wal", "-shm"]) rmSync(copy + end, { force: true });
			copyFileSync(path, copy);
			if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${copy}-wal`);
			using database = opened(copy);
			const value = (sql: string) => Number(Object.values(database.db.prepare(sql).get() ?? {})[0] ?? 0);
			const tables = database.db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
			const page = value("PRAGMA page_size");
			const free = value("PRAGMA freelist_count");
			const rows = tables.map(({ name }) => [
				String(name),
				value(`SELECT count(*) FROM "${String(name).replaceAll('"', '""')}"`),
			]);
			return {
				rows: Object.fromEntries(rows),
				freeBytes: free * page,
				usedBytes: (value("PRAGMA page_count") - free) * page,
				tables: tables.length,
			};
		} catch {
			return this.#known.get(path)?.database;
		}
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#copies?.[Symbol.dispose]();
	}
}

/** Not read-only: what was written ahead has to be taken in, and it is a copy. */
function opened(path: string): Disposable & { db: DatabaseSync } {
	const db = new DatabaseSync(path);
	return { db, [Symbol.dispose]: () => db.close() };
}

/** Objects of one class share a folder; the alarms of all of them are in a file of its own. */
const placeOf = (path: string): string => {
	const folder = dirname(path).split("/").at(-1) ?? "";
	return path.endsWith("metadata.sqlite") ? `${folder} alarms` : folder;
};

function sizeOf(path: string): number | null {
	return statSync(path, { throwIfNoEntry: false })?.size ?? null;
}

function stampOf(path: string): string {
	const stat = statSync(path, { throwIfNoEntry: false });
	return stat ? `${stat.size} ${stat.mtimeMs} ${stat.ino}` : "none";
}
