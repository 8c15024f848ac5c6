/** Thrown where a device gives no sign of life; what it holds cannot be waited for. */
export class HungError extends Error {
	override name = "HungError";
}

/** What waits for longer waits for a device that hangs: for pictures of others, or in the midst of a text. */
const LONGEST_WAIT_MS = 600_000;

export interface Watch {
	/** Milliseconds that the next result may take. */
	limit(): number;
	/** When they last waited for something else than the device, by `performance.now`; Infinity while they do. */
	waited?(): number;
	/** Told of a hang before it is thrown: what a loop's body throws hides what the end of the results does. */
	hung?(error: HungError): void;
	/** Milliseconds of waiting at most. */
	longestWait?: number;
}

/**
 * Passes results on. Throws HungError when the next one, or the end of them, takes longer than `limit` says, leaving
 * `results` as they are.
 */
export async function* watched<T>(
	results: AsyncGenerator<T, void, undefined>,
	{ limit, waited = () => Number.NEGATIVE_INFINITY, hung, longestWait = LONGEST_WAIT_MS }: Watch,
): AsyncGenerator<T, void, undefined> {
	let over = false;
	const inTime = async <R>(work: Promise<R>): Promise<R> => {
		const milliseconds = limit();
		const latest = performance.now() + longestWait + milliseconds;
		let timer: ReturnType<typeof setTimeout> | undefined;
		const late = new Promise<never>((_, reject) => {
			const look = () => {
				const now = performance.now();
				const rest = Math.min(waited() + milliseconds, latest) - now;
				if (rest > 0) return sleep(Math.min(rest, milliseconds));
				over = true;
				const error = new HungError(`the GPU gave nothing for ${(milliseconds / 1000).toFixed(1)} s`);
				hung?.(error);
				reject(error);
			};
			const sleep = (rest: number) => {
				timer = setTimeout(look, rest);
			};
			sleep(milliseconds);
		});
		return await Promise.race([work, late]).finally(() => clearTimeout(timer));
	};
	try {
		for (;;) {
			const next = await inTime(results.next());
			if (next.done) return;
			yield next.value;
		}
	} finally {
		// What runs ahead on the device is waited for.
		if (!over) await inTime(results.return(undefined));
	}
}
