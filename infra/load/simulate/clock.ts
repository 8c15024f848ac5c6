/**
 * Virtual time for code that knows nothing of it: the process's own clock and timers are replaced, so this belongs into
 * a process of its own. Nothing waits: when all that can happen now has happened, time goes to the next timer.
 */
interface Timer {
	at: number;
	/** Timers of one moment run in the order they were set. */
	order: number;
	run(): void;
	every: number | null;
	live: boolean;
}

const real = {
	setImmediate: globalThis.setImmediate,
	setTimeout: globalThis.setTimeout,
	setInterval: globalThis.setInterval,
	clearTimeout: globalThis.clearTimeout,
	clearInterval: globalThis.clearInterval,
};
const [realDate, realNow] = [Date.now, performance.now];

export class VirtualClock implements Disposable {
	/** Milliseconds since the epoch. */
	now: number;
	readonly #heap: Timer[] = [];
	#order = 0;

	/** Takes over `Date.now`, `performance.now` and all timers of this process, until it is disposed of. */
	constructor(startsAt = Date.UTC(2026, 0, 1)) {
		this.now = startsAt;
		Date.now = () => this.now;
		performance.now = () => this.now - startsAt;
		const set =
			(every: boolean) =>
			(run: (...args: unknown[]) => void, delay?: number, ...args: unknown[]) => {
				const ms = Math.max(every ? 1 : 0, Number(delay) || 0);
				return this.#push(ms, () => run(...args), every ? ms : null);
			};
		const clear = (timer: unknown) => {
			if (timer && typeof timer === "object" && "live" in timer) timer.live = false;
		};
		Object.assign(globalThis, {
			setTimeout: set(false),
			setInterval: set(true),
			clearTimeout: clear,
			clearInterval: clear,
		});
	}

	/** Gives the process its own time back; what is set here never comes. */
	[Symbol.dispose](): void {
		Object.assign(globalThis, real);
		Date.now = realDate;
		performance.now = realNow;
	}

	/** Resolves so many virtual milliseconds later. */
	sleep(ms: number): Promise<void> {
		return new Promise((resolve) => this.#push(ms, resolve, null));
	}

	/** Runs what is to happen until then, and leaves the clock there. */
	async runTo(end: number): Promise<void> {
		await settled();
		for (let next = this.#heap[0]; next && next.at <= end; next = this.#heap[0]) {
			this.#pop();
			if (!next.live) continue;
			this.now = next.at;
			if (next.every === null) next.live = false;
			else this.#insert({ ...next, at: next.at + next.every, order: this.#order++ }, next);
			next.run();
			await settled();
		}
		this.now = Math.max(this.now, end);
	}

	#push(ms: number, run: () => void, every: number | null): Timer {
		const timer: Timer = { at: this.now + ms, order: this.#order++, run, every, live: true };
		this.#insert(timer);
		return timer;
	}

	/** A timer that comes again stays the one that `clearInterval` knows. */
	#insert(timer: Timer, again?: Timer): void {
		const kept = again ? Object.assign(again, timer) : timer;
		const heap = this.#heap;
		let i = heap.push(kept) - 1;
		for (let up = (i - 1) >> 1; i > 0 && before(kept, heap[up]); i = up, up = (i - 1) >> 1)
			[heap[i], heap[up]] = [heap[up], heap[i]];
	}

	#pop(): void {
		const heap = this.#heap;
		const last = heap.pop() as Timer;
		if (heap.length === 0) return;
		heap[0] = last;
		for (let i = 0; ; ) {
			const [left, right] = [2 * i + 1, 2 * i + 2];
			let least = i;
			if (left < heap.length && before(heap[left], heap[least])) least = left;
			if (right < heap.length && before(heap[right], heap[least])) least = right;
			if (least === i) return;
			[heap[i], heap[least]] = [heap[least], heap[i]];
			i = least;
		}
	}
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** Every promise that can go on has gone on. */
const settled = (): Promise<void> => new Promise((resolve) => void real.setImmediate(resolve));
