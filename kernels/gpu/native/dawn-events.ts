/**
 * Dawn's Node binding polls its events by a `setImmediate` of its own for as long as any of its promises is pending,
 * and the promise of a device's loss always is: a core for nothing beside every device, and where the adapter computes
 * on the same cores, one taken from the picture (dawn-gpu/node-webgpu #17). So its polls are spread out here, as far as
 * what is waited for allows. To be deleted once the binding waits without polling.
 */

/** While somebody waits: polled without a pause at first, then late by at most this part of the wait. */
const NEAR_MS = 0.1;
const LATE = 1 / 8;
const LONGEST_MS = 1;
/** While nobody waits, until it is seen that a device was lost. */
const IDLE_MS = 100;

/** What the binding answers by its events: whoever calls one of these waits for it. */
const ASKING = {
	GPU: ["requestAdapter"],
	GPUAdapter: ["requestDevice"],
	GPUBuffer: ["mapAsync"],
	GPUDevice: ["createComputePipelineAsync", "createRenderPipelineAsync", "popErrorScope"],
	GPUQueue: ["onSubmittedWorkDone"],
	GPUShaderModule: ["getCompilationInfo"],
} as const;

type Poll = () => void;
type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Milliseconds to the next poll, so long after somebody began to wait or was answered last. */
export const pauseAfter = (passed: number): number => (passed < NEAR_MS ? 0 : Math.min(passed * LATE, LONGEST_MS));

/**
 * Spreads out the polls of the binding whose classes these are, and nothing else that asks for `setImmediate`. Once a
 * process.
 */
export function spreadDawnPolls(classes: object): void {
	const immediate = globalThis.setImmediate;
	const turn = new Int32Array(new SharedArrayBuffer(4));
	let waiting = 0;
	let since = 0;
	/** The next poll, while nobody waits for it. */
	let idle: { poll: Poll; timer: NodeJS.Timeout } | undefined;

	const hurry = () => {
		since = performance.now();
		if (!idle) return;
		clearTimeout(idle.timer);
		immediate(idle.poll);
		idle = undefined;
	};
	const later = (poll: Poll) => {
		if (waiting === 0 && !idle) {
			const timer = setTimeout(() => {
				idle = undefined;
				poll();
			}, IDLE_MS);
			idle = { poll, timer };
			return timer;
		}
		const pause = pauseAfter(performance.now() - since);
		if (pause >= LONGEST_MS) return setTimeout(poll, LONGEST_MS);
		// Timers know no less than a millisecond: this thread sleeps instead.
		if (pause > 0) Atomics.wait(turn, 0, 0, pause);
		return immediate(poll);
	};
	const answered = () => {
		waiting--;
		since = performance.now();
	};
	const asking = (method: Method): Method =>
		function (...args) {
			const answer = method.apply(this, args) as Promise<unknown>;
			waiting++;
			hurry();
			answer.then(answered, answered);
			return answer;
		};

	const prototypes = classes as Readonly<Record<string, { prototype: Record<string, Method> } | undefined>>;
	for (const [name, methods] of Object.entries(ASKING)) {
		const prototype = prototypes[name]?.prototype;
		for (const method of methods) if (prototype?.[method]) prototype[method] = asking(prototype[method]);
	}
	const device = prototypes.GPUDevice?.prototype;
	if (device?.destroy) {
		const { destroy } = device;
		device.destroy = function (...args) {
			hurry();
			return destroy.apply(this, args);
		};
	}
	const spread = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
		isDawnPoll(callback) ? later(callback) : immediate(callback, ...args);
	globalThis.setImmediate = Object.assign(spread, immediate) as unknown as typeof setImmediate;
}

/**
 * The binding looks `setImmediate` up at each call and hands it a native function that has a prototype; a promise's
 * `resolve` has none.
 */
const isDawnPoll = (callback: (...args: never[]) => unknown): boolean =>
	callback.length === 0 && "prototype" in callback && /\{ \[native code\] \}$/.test(String(callback));
