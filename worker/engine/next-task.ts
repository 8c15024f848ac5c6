/**
 * Settles once whatever can go on now has gone on: a task of its own, after the promises of this one. By a message,
 * which every runtime has and none delays as it does a timer.
 */
export function nextTask(): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	const { port1, port2 } = new MessageChannel();
	port1.onmessage = () => {
		// An open port keeps the process.
		port1.close();
		resolve();
	};
	port2.postMessage(null);
	return promise;
}
