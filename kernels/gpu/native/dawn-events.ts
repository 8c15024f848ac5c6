/**
 * Dawn's Node binding polls its events by a `setImmediate` of its own for as long as any of its promises is pending
 * (dawn-gpu/node-webgpu #17), which burns a whole core. Where the adapter computes on the same cores, that core is
 * taken from the picture: there its polls come once a millisecond. On a GPU, whose answers may be nearer than that,
 * nothing changes. To be deleted once the binding waits without polling.
 */
const POLL_MS = 1;

/** Slows the binding's polls, and nothing else that asks for `setImmediate`. Once a process; later calls do nothing. */
export function slowDawnPolls(): void {
	const immediate = globalThis.setImmediate;
	if (slowed.has(immediate)) return;
	const patient = Object.assign(
		(callback: (...args: unknown[]) => void, ...args: unknown[]) =>
			isDawnPoll(callback) ? setTimeout(callback, POLL_MS) : immediate(callback, ...args),
		immediate,
	);
	slowed.add(patient);
	globalThis.setImmediate = patient as unknown as typeof setImmediate;
}

const slowed = new WeakSet<object>();

/**
 * The binding looks `setImmediate` up at each call and hands it a native function that has a prototype; a promise's
 * `resolve` has none.
 */
const isDawnPoll = (callback: (...args: never[]) => unknown): boolean =>
	callback.length === 0 && "prototype" in callback && /\{ \[native code\] \}$/.test(String(callback));
