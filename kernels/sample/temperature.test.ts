import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench } from "../testing.ts";
import type { SampleRow } from "./row.ts";
import { seekTemperature, type Temperature } from "./temperature.ts";

const gpu = await sharedGpu();

const row = (more: Partial<SampleRow & { temperature: Temperature }>) => ({
	cond: 0,
	uncond: 0,
	tokens: 1,
	out: 0,
	guidance: 1,
	tau: 0.7,
	topK: 0,
	topP: 0,
	seed: 0,
	scale: 0,
	...more,
});

test.each([
	["bits", 16, 2],
	["a vocabulary", 1, 37],
])("%s: the temperature at which the mean largest probability is what was asked", async (_, choices, values) => {
	using bench = new Bench(gpu);
	const width = choices * values;
	const { tensor, data } = bench.random(30, width);
	for (let i = 0; i < data.length; i++) data[i] *= 20;
	gpu.device.queue.writeBuffer(tensor.buffer, 0, data);
	const [lower, target] = values === 2 ? [0.6, 0.62] : [0.3, 0.5];
	const rows = [
		row({ cond: 0, uncond: 9, tokens: 9, guidance: 3, temperature: { confidence: 0.8, between: [0.5, 200] } }),
		row({ cond: 18, uncond: 18, tokens: 5, temperature: { confidence: target, between: [0.5, 200] } }),
		// Already less sure than asked, asked for more than the bounds give, and fixed.
		row({ cond: 18, uncond: 18, tokens: 5, temperature: { confidence: 0.9999, between: [150, 200] } }),
		row({ cond: 18, uncond: 18, tokens: 5, temperature: { confidence: lower, between: [0.5, 0.6] } }),
		row({ cond: 23, uncond: 23, tokens: 7 }),
	];
	const taus = bench.empty(rows.length);
	const [out] = await bench.run(
		(pass) => seekTemperature(pass, { logits: tensor, taus, choices, values, rows, label: "temperature" }),
		taus,
	);

	const confidence = ({ cond, uncond, tokens, guidance }: SampleRow, tau: number) => {
		let sum = 0;
		for (let choice = 0; choice < tokens * choices; choice++) {
			const at = (first: number, v: number) =>
				data[(first + Math.floor(choice / choices)) * width + (choice % choices) * values + v];
			const mixed = Array.from({ length: values }, (_, v) =>
				cond === uncond ? at(uncond, v) : guidance * at(cond, v) + (1 - guidance) * at(uncond, v),
			);
			const most = Math.max(...mixed);
			sum += 1 / mixed.reduce((mass, value) => mass + Math.exp((value - most) / tau), 0);
		}
		return sum / (tokens * choices);
	};
	expect(confidence(rows[0], out[0])).toBeCloseTo(0.8, 4);
	expect(confidence(rows[1], out[1])).toBeCloseTo(target, 4);
	expect(out[2]).toBe(150);
	expect(out[3]).toBeCloseTo(0.6, 5);
	expect(out[4]).toBeCloseTo(0.7, 6);

	const alone = bench.empty(1);
	const [same] = await bench.run(
		(pass) =>
			seekTemperature(pass, {
				logits: tensor,
				taus: alone,
				choices,
				values,
				rows: [rows[1]],
				label: "temperature alone",
			}),
		alone,
	);
	expect(same[0]).toBe(out[1]);
});
