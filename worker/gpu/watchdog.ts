/** Thrown where a device gives no sign of life; what it holds cannot be waited for. */
export class HungError extends Error {
	override name = "HungError";
}

/**
 * Passes results on. Throws HungError when the next one, or the end of them, takes longer than `limit` says, leaving
 * `results` as they are. `waited`: when they last waited for something else than the device, by `performance.now`.
 */
export async function* watched<T>(
	results: AsyncGenerator<T, void, undefined>,
	limit: () => number,
	waited: () => number = () => Number.NEGATIVE_INFINITY,
): AsyncGenerator<T, void, undefined> {
	let hung = false;
	const inTime = async <R>(work: Promise<R>): Promise<R> => {
		const milliseconds = limit();
		let timer: ReturnType<typeof setTimeout> | undefined;
		const late = new Promise<never>((_, reject) => {
			const look = () => {
				const rest = milliseconds - (performance.now() - waited());
				if (rest > 0) return sleep(Math.min(rest, milliseconds));
				hung = true;
				reject(new HungError(`the GPU gave nothing for ${(milliseconds / 1000).toFixed(1)} s`));
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
		if (!hung) await inTime(results.return(undefined));
	}
}
