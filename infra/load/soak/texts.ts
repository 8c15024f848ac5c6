/** A soak in the terminal. */

import type { Live } from "../run.ts";
import { liveText } from "../texts.ts";
import type { Reading, Verdict } from "./judge.ts";

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

export function progressText(reading: Reading | undefined, live: Live | undefined, faults: number): string {
	const { at = 0, processes = [], state } = reading ?? {};
	const memory = processes.map(({ name, residentBytes }) => `${name} ${mib(residentBytes)}`).join(", ");
	const disk = state ? `${state.files} files, ${mib(state.bytes)} MiB` : "";
	return `${(at / 60).toFixed(1)} min: ${live ? liveText(live) : ""}, ${faults} faults; MiB: ${memory}; disk ${disk}`;
}

const COLUMNS = 10;

/** Some of the readings, evenly over time. */
export function tableText(readings: readonly Reading[]): string {
	const names = [...new Set(readings.flatMap(({ processes }) => processes.map(({ name }) => name)))];
	const step = Math.max(1, Math.ceil(readings.length / 30));
	const shown = readings.filter((_, i) => i % step === 0 || i === readings.length - 1);
	const row = (cells: readonly string[]) => cells.map((cell) => cell.padStart(COLUMNS)).join("");
	const head = ["minute", "phase", ...names, "sockets", "files", "rows", "on disk", "MiB"];
	const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
	return [
		"Resident MiB by process; open sockets and files of all; rows, files and MiB of the state",
		row(head),
		...shown.map(({ at, phase, processes, state }) =>
			row([
				(at / 60).toFixed(1),
				phase,
				...names.map((name) => {
					const found = processes.find((each) => each.name === name);
					return found ? mib(found.residentBytes) : "-";
				}),
				String(sum(processes.map(({ sockets }) => sockets))),
				String(sum(processes.map(({ files }) => files))),
				String(sum(Object.values(state.rows))),
				String(state.files),
				(state.bytes / 2 ** 20).toFixed(1),
			]),
		),
	].join("\n");
}

export const verdictText = ({ what, good, said }: Verdict): string =>
	`${good === null ? "not told" : good ? "good    " : "BAD     "} ${what}: ${said}`;
