/**
 * Waits until whatever can go on now has gone on: for a task of its own, after the promises of this one. By a message
 * to itself, which every runtime has and none delays as it does a timer. It keeps the process until it is disposed of.
 */
export class TaskChannel implements Disposable {
	#channel = new MessageChannel();
	#waiting: (() => void)[] = [];

	constructor() {
		this.#channel.port1.onmessage = () => this.#waiting.shift()?.();
	}

	next(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#waiting.push(resolve);
		this.#channel.port2.postMessage(null);
		return promise;
	}

	[Symbol.dispose](): void {
		this.#channel.port1.close();
	}
}
