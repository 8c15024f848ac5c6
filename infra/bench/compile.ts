/** What it takes to compile the kernels of pictures: how many there are and how long each takes, by operator. */
import type { AdapterFacts } from "../../kernels/gpu/facts.ts";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Program } from "../../kernels/gpu/kernel.ts";
import { openDevice } from "../../kernels/gpu/native/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { policies } from "../../worker/policies/index.ts";
import { canPlan } from "../../worker/policies/validate.ts";
import type { Watch } from "./measure.ts";

export interface CompiledOperator {
	operator: string;
	kernels: number;
	/** Characters of WGSL, of all of them. */
	characters: number;
	/** Of the process: the driver's threads included, and no other process. */
	cpu_ms: number;
	/** Of the kernel that takes longest. */
	longest_ms: number;
}
export interface CompileReport {
	model: string;
	adapter: AdapterFacts;
	policies: readonly string[];
	/** Those that take most first. */
	operators: CompiledOperator[];
}

interface Compiled {
	program: Program;
	cpu: number;
}

/** Compiles one program after the other, and takes the time of each. */
class OneByOne extends Gpu {
	readonly times: Compiled[] = [];
	progress: Watch["progress"];

	override async compile(programs: ReadonlyMap<Program, string>): Promise<void> {
		let done = 0;
		for (const [program, label] of programs) {
			const before = process.cpuUsage();
			await super.compile(new Map([[program, label]]));
			const { user, system } = process.cpuUsage(before);
			this.times.push({ program, cpu: (user + system) / 1000 });
			this.progress?.(++done, programs.size);
		}
	}
}

/**
 * Compiles what pictures by these policies need, all of their previews included, on the best adapter. What a driver has
 * in a cache of its own is read from there. No names: every policy that can plan, as a worker's start compiles.
 */
export async function benchCompile(
	folder: ModelFolder,
	names: readonly string[] | undefined,
	{ progress }: Watch = {},
): Promise<CompileReport> {
	const { device, facts } = await openDevice();
	const gpu = new OneByOne(device, facts);
	gpu.progress = progress;
	const model = await openModel(gpu, folder);
	const by =
		names?.map((name) => policies[name]) ?? Object.values(policies).filter((each) => canPlan(each, model.info));
	await model.compile(by.map((policy) => policy.plan(model.info, {})));
	model.destroy();
	gpu.destroy();
	const byOperator = Map.groupBy(gpu.times, ({ program }) => program.name);
	const operators = [...byOperator].map(
		([operator, of]): CompiledOperator => ({
			operator,
			kernels: of.length,
			characters: of.reduce((sum, { program }) => sum + program.code.length, 0),
			cpu_ms: of.reduce((sum, { cpu }) => sum + cpu, 0),
			longest_ms: Math.max(...of.map(({ cpu }) => cpu)),
		}),
	);
	operators.sort((a, b) => b.cpu_ms - a.cpu_ms);
	return { model: folder.manifest.name, adapter: facts, policies: by.map(({ name }) => name), operators };
}
