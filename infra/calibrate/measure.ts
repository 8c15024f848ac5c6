/** Everything that policies need measured of one schedule. */
import type { Measurement, Seen, Tried } from "../../worker/policies/measurements/measurement.ts";
import type { Policy } from "../../worker/policies/policy.ts";
import type { Calibration } from "../../worker/protocol/model-info.ts";

/** By name, each once. Throws where two policies mean different things by one name. */
export function measurementsOf(policies: readonly Policy[]): ReadonlyMap<string, Measurement> {
	const found = new Map<string, { policy: string; measurement: Measurement }>();
	for (const { name: policy, needs = {} } of policies) {
		for (const [name, measurement] of Object.entries(needs)) {
			const before = found.get(name);
			if (before && before.measurement !== measurement)
				throw new Error(`Policies ${before.policy} and ${policy} need different things called ${name}. Rename one.`);
			found.set(name, { policy, measurement });
		}
	}
	return new Map([...found].map(([name, { measurement }]) => [name, measurement]));
}

/**
 * What was seen as policies.json has it. What `before` holds that no policy here knows is kept; the rest is measured
 * anew. `tryOut`: makes the pictures of a trial.
 */
export async function calibrationOf(
	policies: readonly Policy[],
	seen: Seen,
	before: Calibration | undefined,
	tryOut: (name: string, tried: Tried<unknown>) => Promise<unknown>,
): Promise<Calibration> {
	const { structureFrom, fidelityFrom } = seen;
	const measurements = measurementsOf(policies);
	const unknown = Object.entries(before?.measured ?? {}).filter(([name]) => !measurements.has(name));
	const measured: Calibration["measured"] = Object.fromEntries(unknown);
	for (const [name, measurement] of measurements) {
		const value = "trial" in measurement ? await tryOut(name, measurement) : measurement.measure(seen);
		if (value !== undefined) measured[name] = value;
	}
	return { structureFrom, fidelityFrom, measured };
}
