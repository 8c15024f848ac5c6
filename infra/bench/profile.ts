/**
 * Where the time of a picture goes: the device's by operator and by scale, and the host's own by what it does. The host
 * alone can be measured without a GPU, on Dawn's null backend, at the size of any model.
 */
import type { AdapterFacts } from "../../kernels/gpu/facts.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { clockOf, type DeviceClock, Profiler, type Run, type SubmissionTimes } from "../../kernels/gpu/profile.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import type { Dtype } from "../../worker/families/shared/weights.ts";
import { policies } from "../../worker/policies/index.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { median } from "../median.ts";
import { drawnBy, type Watch } from "./measure.ts";
import { emptyFolder, openNullGpu } from "./null-backend.ts";
import { randomFloats } from "./random-model.ts";

/**
 * Milliseconds of the host in one picture, or in one kind of submission of it: the least of the pictures, since what
 * else runs on the machine only adds.
 */
export interface HostTimes {
	/** Describing the work: the graph, its tables and parameters, the programs' texts. */
	record_ms: number;
	/** Programs, bind groups and commands. */
	encode_ms: number;
	submit_ms: number;
	/** Copying out what was read. */
	copy_ms: number;
}
export interface PictureTimes extends HostTimes {
	/** From the request to the finished picture, the least. */
	wall_ms: number;
	/** Of the whole process, the median: collecting garbage and a software adapter's own threads included. */
	cpu_ms: number;
	/** Reads waited for; those of submissions in flight together are counted each. */
	wait_ms: number;
	/** Of the wall clock, what is neither a wait nor one of the parts. */
	rest_ms: number;
}
export interface Operator {
	/** A dispatch's label, with # for numbers. */
	operator: string;
	/** In one picture. */
	dispatches: number;
	/** Null where the device was not timed. */
	device_ms: number | null;
}
/** All submissions of one label in a picture: a round of one scale, the pictures decoded at one size. */
export interface Scale extends HostTimes {
	submission: string;
	dispatches: number;
	device_ms: number | null;
	operators: Operator[];
}
export interface PolicyProfile {
	policy: string;
	submissions: number;
	dispatches: number;
	picture: PictureTimes;
	/** In the order of the picture. */
	scales: Scale[];
	/** Those that take longest first. */
	operators: Operator[];
}
export interface ProfileReport {
	model: string;
	adapter: AdapterFacts;
	/** How the device was timed. */
	clock: DeviceClock;
	/** Pictures a policy: the host's times are the least of theirs, the device's medians. */
	pictures: number;
	policies: PolicyProfile[];
}

export interface ProfileOptions extends Pick<Watch, "signal"> {
	/** By name. */
	policies: readonly string[];
	pictures: number;
	/** Default: the best that the device has. */
	clock?: DeviceClock;
	dtype?: Dtype;
}

/**
 * Makes `pictures` pictures a policy without previews for the host's times and, unless the clock is `none`, as many for
 * the device's, after one of each policy for compiling.
 */
export async function profile(
	gpu: Gpu,
	folder: ModelFolder,
	{ policies: names, pictures, clock = clockOf(gpu.device), dtype, signal }: ProfileOptions,
): Promise<ProfileReport> {
	const model = await openModel(gpu, folder, { dtype });
	const make = maker(gpu, folder, model, signal);
	const reports: PolicyProfile[] = [];
	try {
		for (const name of names) {
			const plan = policies[name].plan(model.info, {});
			await model.compile([plan]);
			await make(plan, "none");
			const host = await repeat(pictures, () => make(plan, "none"));
			const device = clock === "none" ? [] : await repeat(pictures, () => make(plan, clock));
			reports.push(policyProfile(name, host, device));
		}
	} finally {
		gpu.profiler = undefined;
		model.destroy();
	}
	return { model: folder.manifest.name, adapter: gpu.facts, clock, pictures, policies: reports };
}

/** The host's part alone: the model's graph on a device that runs nothing, without its weights. */
export async function profileHost(folder: ModelFolder, options: Omit<ProfileOptions, "clock">): Promise<ProfileReport> {
	const gpu = await openNullGpu();
	try {
		return await profile(gpu, emptyFolder(folder), { ...options, clock: "none" });
	} finally {
		gpu.destroy();
	}
}

interface Made {
	wall: number;
	cpu: number;
	submissions: SubmissionTimes[];
}

const TEXT_TOKENS = 24;

function maker(gpu: Gpu, { tokenizer, facts }: ModelFolder, model: LoadedModel, signal?: AbortSignal) {
	const subject =
		model.info.classes !== undefined || tokenizer !== null
			? drawnBy(model.info)
			: { draws: new Map([["text.feats", randomFloats(TEXT_TOKENS * (facts.text?.channels ?? 0), 2)]]) };
	return async (plan: StagePlan, clock: DeviceClock): Promise<Made> => {
		const profiler = new Profiler(gpu.device, clock);
		gpu.profiler = profiler;
		const before = process.cpuUsage();
		const begun = performance.now();
		for await (const _ of model.generate({ plan, ...subject, seed: 1, previews: "none", signal }));
		const wall = performance.now() - begun;
		const { user, system } = process.cpuUsage(before);
		return { wall, cpu: (user + system) / 1000, submissions: await profiler.take() };
	};
}

async function repeat<T>(times: number, make: () => Promise<T>): Promise<T[]> {
	const made: T[] = [];
	for (let i = 0; i < times; i++) made.push(await make());
	return made;
}

function policyProfile(policy: string, host: readonly Made[], device: readonly Made[]): PolicyProfile {
	const [{ submissions }] = host;
	const timed = device.length > 0 ? device : host;
	const labels = [...new Set(submissions.map(({ label }) => label))];
	const scales = labels.map((label): Scale & { wait_ms: number } => {
		const of = (made: Made) => made.submissions.filter((times) => times.label === label);
		const least = (part: (times: SubmissionTimes) => number) =>
			Math.min(...host.map((made) => sum(of(made).map(part))));
		const runs = timed.map((made) => of(made).flatMap(({ runs }) => runs));
		return {
			submission: label,
			dispatches: dispatchesOf(runs[0]),
			record_ms: least(({ host }) => host.record),
			encode_ms: least(({ host }) => host.encode),
			submit_ms: least(({ host }) => host.submit),
			copy_ms: least(({ host }) => host.copy),
			wait_ms: least(({ wait }) => wait),
			device_ms: deviceTime(runs),
			operators: operatorsOf(runs),
		};
	});
	const total = (part: (scale: Scale & { wait_ms: number }) => number) => sum(scales.map(part));
	const parts = {
		record_ms: total(({ record_ms }) => record_ms),
		encode_ms: total(({ encode_ms }) => encode_ms),
		submit_ms: total(({ submit_ms }) => submit_ms),
		copy_ms: total(({ copy_ms }) => copy_ms),
		wait_ms: total(({ wait_ms }) => wait_ms),
	};
	const wall_ms = Math.min(...host.map(({ wall }) => wall));
	const known = ({ host, wait }: SubmissionTimes) => wait + host.record + host.encode + host.submit + host.copy;
	const rest_ms = Math.min(...host.map(({ wall, submissions }) => Math.max(0, wall - sum(submissions.map(known)))));
	return {
		policy,
		submissions: submissions.length,
		dispatches: dispatchesOf(submissions.flatMap(({ runs }) => runs)),
		picture: { wall_ms, cpu_ms: median(host.map(({ cpu }) => cpu)), ...parts, rest_ms },
		scales: scales.map(({ wait_ms: _, ...scale }) => scale),
		operators: operatorsOf(timed.map(({ submissions }) => submissions.flatMap(({ runs }) => runs))),
	};
}

const dispatchesOf = (runs: readonly Run[]) => sum(runs.map(({ dispatches }) => dispatches));

/** The median over pictures; null where the device was not timed. */
function deviceTime(pictures: readonly (readonly Run[])[]): number | null {
	const times = pictures.map((runs) => runs.flatMap(({ milliseconds }) => milliseconds ?? []));
	return times.every((of) => of.length === 0) ? null : median(times.map(sum));
}

/** Of each picture's runs, those of one operator together. */
function operatorsOf(pictures: readonly (readonly Run[])[]): Operator[] {
	const byPicture = pictures.map((runs) => Map.groupBy(runs, ({ label }) => operatorOf(label)));
	const names = [...new Set(byPicture.flatMap((operators) => [...operators.keys()]))];
	const operators = names.map((operator): Operator => {
		const runs = byPicture.map((operators) => operators.get(operator) ?? []);
		return { operator, dispatches: dispatchesOf(runs[0]), device_ms: deviceTime(runs) };
	});
	return operators.sort((a, b) => (b.device_ms ?? 0) - (a.device_ms ?? 0) || b.dispatches - a.dispatches);
}

const operatorOf = (label: string) => label.replaceAll(/\b\d+\b/g, "#");

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
