/** Thrown where a device gives no sign of life; what it holds cannot be waited for. */
export class HungError extends Error {
	override name = "HungError";
}

/**
 * Passes results on. Throws HungError when the next one takes longer than `limit` says, leaving `results` as they are.
 */
export async function* watched<T>(
	results: AsyncGenerator<T, void, undefined>,
	limit: () => number,
): AsyncGenerator<T, void, undefined> {
	let hung = false;
	try {
		for (;;) {
			const milliseconds = limit();
			let timer: ReturnType<typeof setTimeout> | undefined;
			const late = new Promise<never>((_, reject) => {
				timer = setTimeout(() => {
					hung = true;
					reject(new HungError(`the GPU gave nothing for ${(milliseconds / 1000).toFixed(1)} s`));
				}, milliseconds);
			});
			const next = await Promise.race([results.next(), late]).finally(() => clearTimeout(timer));
			if (next.done) return;
			yield next.value;
		}
	} finally {
		if (!hung) await results.return(undefined);
	}
}
