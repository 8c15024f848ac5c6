/**
 * An object detector that others trained, on photographs: the SSD MobileNetV2 over Open Images in
 * `@mediapipe/objectron`, run by `@litertjs/core`. Both are development dependencies.
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import sharp from "sharp";
import type { RgbImage } from "../../../worker/engine/types.ts";

/** What the thread is given. */
export interface Network {
	network: Uint8Array<ArrayBuffer>;
	side: number;
	classes: number;
}

const SIDE = 300;
/** Where the two parts of the package's archive lie, which its loader names: labels, then the network. */
const ARCHIVE = "@mediapipe/objectron/objectron_solution_packed_assets.data";
const LABELS_END = 184;

export class Detector {
	/** Its classes, in its own words. The first is what it has no name for. */
	readonly labels: readonly string[];
	#thread: Worker;
	/** Settles when the picture in hand is done. */
	#turn: Promise<unknown> = Promise.resolve();

	private constructor(labels: readonly string[], thread: Worker) {
		this.labels = labels;
		this.#thread = thread;
	}

	/** Throws where its packages are not installed. */
	static async open(): Promise<Detector> {
		const archive = await readArchive();
		const labels = archive.subarray(0, LABELS_END).toString("latin1").trimEnd().split("\n");
		const network = Uint8Array.from(archive.subarray(LABELS_END));
		const workerData: Network = { network, side: SIDE, classes: labels.length };
		const thread = new Worker(new URL("detector-thread.ts", import.meta.url), {
			workerData,
			stdout: true,
			stderr: true,
		});
		await once(thread, "message");
		return new Detector(labels, thread);
	}

	/** The best score in [0, 1] of every class in the picture, by label. */
	scores(picture: RgbImage): Promise<Map<string, number>> {
		const scores = this.#turn.then(() => this.#scores(picture));
		this.#turn = scores.catch(() => undefined);
		return scores;
	}

	async #scores(picture: RgbImage): Promise<Map<string, number>> {
		const pixels = await sharp(picture.data, { raw: { width: picture.width, height: picture.height, channels: 3 } })
			.resize(SIDE, SIDE, { fit: "fill" })
			.raw()
			.toBuffer();
		const answer = once(this.#thread, "message");
		this.#thread.postMessage(Float32Array.from(pixels, (value) => value / 127.5 - 1));
		const [scores] = (await answer) as [number[]];
		return new Map(this.labels.map((label, i) => [label, scores[i]]));
	}

	async close(): Promise<void> {
		await this.#thread.terminate();
	}
}

async function readArchive(): Promise<Buffer> {
	try {
		return await readFile(createRequire(import.meta.url).resolve(ARCHIVE));
	} catch (error) {
		throw new Error(
			`The second judge is of @mediapipe/objectron, which cannot be read (${(error as Error).message}). ` +
				"Install the development dependencies too: npm ci.",
			{ cause: error },
		);
	}
}
