const PAUSE_MS = 2000;

/**
 * Logs how much of `total` bytes has come: at most every two seconds, and when all of it has. Counts what it is called
 * with.
 */
export function byteLog(
	what: string,
	total: number,
	log: (line: string) => void,
	now: () => number = () => performance.now(),
): (bytes: number) => void {
	const begun = now();
	let [done, said] = [0, begun];
	return (bytes) => {
		done += bytes;
		const time = now();
		if (done < total && time - said < PAUSE_MS) return;
		said = time;
		const [mega, seconds] = [done / 1e6, (time - begun) / 1000];
		const speed = seconds >= 1 ? `, ${(mega / seconds).toFixed(1)} MB/s` : "";
		log(`${what}: ${Math.floor((100 * done) / total)} % of ${(total / 1e6).toFixed(1)} MB${speed}`);
	};
}

const SLOW_MS = 5000;

/** Logs how many of how many are done, where that takes long: every five seconds. */
export function countLog(
	what: string,
	log: (line: string) => void,
	now: () => number = () => performance.now(),
): (count: number, total: number) => void {
	let said = now();
	return (count, total) => {
		const time = now();
		if (count === total || time - said < SLOW_MS) return;
		said = time;
		log(`${count} of ${total} ${what}`);
	};
}
