/** A worker's own metrics, by prom-client. The edge has those of all its workers together. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Made } from "../protocol/messages.ts";

/** What a worker shows of itself while it runs. */
export interface Look {
	/** Bytes of device memory in use; pictures in hand; whether it is admitted and takes more. */
	memory(): number;
	busy(): number;
	ready(): boolean;
}

export class Metrics {
	readonly registry = new Registry();
	readonly #pictures: Counter<"policy" | "outcome">;
	readonly #scales: Histogram<"scale">;
	/** Absent while the device and the models are opened. */
	look: Look | undefined;

	constructor() {
		const registers = [this.registry];
		const shown = (name: string, help: string, value: (look: Look) => number) =>
			new Gauge({
				name,
				help,
				registers,
				collect: () => {
					gauge[name]?.set(this.look ? value(this.look) : 0);
				},
			});
		const gauge: Record<string, Gauge> = {};
		for (const [name, help, value] of [
			["firstlight_gpu_device_bytes", "Device memory in use.", (look: Look) => look.memory()],
			["firstlight_gpu_busy", "Pictures in hand.", (look: Look) => look.busy()],
			["firstlight_gpu_ready", "Whether it is admitted and takes pictures.", (look: Look) => Number(look.ready())],
		] as const)
			gauge[name] = shown(name, help, value);
		this.#pictures = new Counter({
			name: "firstlight_gpu_pictures_total",
			help: "Leases by how they ended.",
			labelNames: ["policy", "outcome"],
			registers,
		});
		this.#scales = new Histogram({
			name: "firstlight_gpu_scale_seconds",
			help: "Of one scale.",
			labelNames: ["scale"],
			buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
			registers,
		});
	}

	ended(policy: string, outcome: string, made: Made | undefined): void {
		this.#pictures.inc({ policy, outcome });
		for (const [scale, milliseconds] of made?.scales ?? []) this.#scales.observe({ scale }, milliseconds / 1000);
	}
}
