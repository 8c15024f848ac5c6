import { isUrl } from "../../model-shards/open.ts";
import { DTYPES } from "../../worker/families/shared/weights.ts";
import { policies } from "../../worker/policies/index.ts";
import { picturesChart, shapeChart } from "../bench/charts.ts";
import { SHAPES } from "../bench/shape.ts";
import {
	compileText,
	decoderText,
	growthText,
	peersText,
	picturesText,
	precisionText,
	profileText,
	shapeText,
	togetherText,
} from "../bench/tables.ts";
import { type Chart, timeByScale } from "../bench/time-by-scale.ts";
import { openAdapter } from "./open-adapter.ts";
import { openFolder } from "./open-folder.ts";
import {
	choice,
	count,
	counts,
	given,
	givenOptions,
	limitsOption,
	modelOption,
	patternOption,
	policiesOption,
	positive,
	requireHeard,
} from "./options.ts";
import { OutputFile, outputFile } from "./output.ts";
import type { Define } from "./program.ts";
import { UsageError } from "./usage.ts";

const MANY = 100_000;
/** Of a shape. */
const BLOCKS = 2;

/** What measures by itself, with what it heeds. */
const ALONE = {
	profile: ["model", "shape", "blocks", "dtype", "policies", "pictures", "host"],
	decoder: ["limits"],
	growth: ["svg"],
	compile: ["model", "policies"],
	loading: ["model", "dtype"],
};
/** What says more of one of others. */
const BESIDE = {
	blocks: ["shape"],
	scales: ["shape"],
	dtype: ["shape", "profile", "loading"],
	rows: ["peers"],
	runtimes: ["peers"],
	maxSeconds: ["shape", "peers"],
	limits: ["decoder"],
	host: ["profile"],
};

/**
 * Times of the model's policies (the default), of peers on the same adapter, of several pictures in one batch, of int8
 * and int4 copies of the model, of a published shape; or where the time of one picture goes (`--profile`). Tables on
 * stdout; `--json` has the same in full, `--svg` draws the times by scale.
 */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(
			policiesOption().default(
				[policies.exact, policies.stagevar, policies["stagevar-released"]],
				"exact,stagevar,stagevar-released; of --compile, all of the model",
			),
		)
		.option("--pictures <number>", "of each policy (default: 3, of --precision 5)", count("pictures", 1, MANY))
		.option("--together <numbers>", "so many pictures in one batch, such as 1,2,4,8", counts("together", 1, 64))
		.option("--precision", "int8 and int4 copies of the model beside it")
		.addOption(
			choice(
				"shape",
				"a published shape with random weights",
				SHAPES.map(({ name }) => name),
			),
		)
		.option(
			"--blocks <number>",
			"of the shape, to run, the rest extrapolated (default: 2; of --profile, all)",
			count("blocks", 1, 1000),
		)
		.addOption(choice("dtype", "of the weights of --shape, --profile and --loading", DTYPES).default("f32" as const))
		.option("--scales <first..last>", "of the shape, to time (default: 0..12, on a CPU 0..3)", scalesRange)
		.option("--peers", "operators and the transformer against other runtimes on this adapter")
		.addOption(patternOption("rows", "of the comparison with peers, by name"))
		.addOption(patternOption("runtimes", "to compare with, by name"))
		.option("--profile", "where the time of a picture of the model, or of the whole shape, goes: by operator and scale")
		.option("--compile", "kernels of the model's pictures and the time their compiling takes, by operator")
		.option("--loading", "what the host does to load the model, on a device that runs nothing: speed and memory")
		.option("--growth", "time and memory against tokens, pictures together and the prompt, on a narrow random model")
		.option(
			"--decoder <cells>",
			"Infinity's picture decoder with random weights, on a latent of so many cells a side (64: 1024 pixels)",
			count("decoder", 1, 256),
		)
		.addOption(limitsOption())
		.option("--host", "of the profile: the host's part alone, on a device that runs nothing")
		.option("--max-seconds <number>", "for --shape and --peers each", positive("max-seconds"), 100)
		.option("--json [file]", "print the results as one JSON document, or write them to the file")
		.option("--svg <file>", "draw the times by scale", given("svg"))
		.action(async (options) => {
			const { model, pictures, together, precision, peers, maxSeconds, dtype } = options;
			const names = options.policies.map(({ name }) => name);
			const wanted = SHAPES.find(({ name }) => name === options.shape);
			if (options.blocks !== undefined && wanted && options.blocks > wanted.depth)
				throw new UsageError(`--blocks ${options.blocks}: ${wanted.name} has ${wanted.depth}.`);
			if (options.scales !== undefined && wanted) {
				const { manifest, info } = wanted.folder(1);
				const last = manifest.schedules[info.defaultSchedule].grids.length - 1;
				if (options.scales[1] > last)
					throw new UsageError(`--scales ${options.scales.join("..")}: ${wanted.name} has 0..${last}.`);
			}
			requireHeard(command, { alone: ALONE, beside: BESIDE });
			const json = typeof options.json === "string" ? await outputFile("--json", options.json) : undefined;
			const finish = async (report: object) => {
				await json?.write(JSON.stringify(report, null, "\t"));
				terminal.result(report);
			};
			if (options.profile) {
				const { profile, profileHost } = await import("../bench/profile.ts");
				const folder = wanted ? wanted.folder(options.blocks ?? wanted.depth) : await openFolder(model, terminal);
				const asked = { policies: names, pictures: pictures ?? 3, dtype, signal: terminal.signal };
				const report = options.host
					? await profileHost(folder, asked)
					: await profile(await openAdapter(terminal), folder, asked);
				terminal.print(`${report.adapter.name} (${report.adapter.driver})\n\n${profileText(report)}`);
				return await finish({ profile: report });
			}
			if (options.decoder !== undefined) {
				const { benchDecoder } = await import("../bench/decoder.ts");
				const gpu = await openAdapter(terminal, options.limits);
				using bar = terminal.progress("{bar} {value}/{total} parts of the work, {eta_formatted} left");
				const report = await benchDecoder(gpu, options.decoder, { progress: bar.report });
				bar[Symbol.dispose]();
				terminal.print(`${gpu.facts.name} (${gpu.facts.driver})\n\n${decoderText(report)}`);
				return await finish({ adapter: gpu.facts, decoder: report });
			}
			if (options.loading) {
				const { benchLoading, loadingText } = await import("../bench/loading.ts");
				const folder = await openFolder(model, terminal);
				using bar = terminal.progress("{bar} {percentage} % read and loaded, {eta_formatted} left");
				const report = await benchLoading(folder, dtype, { signal: terminal.signal, progress: bar.report });
				bar[Symbol.dispose]();
				terminal.print(loadingText(report));
				return await finish({ loading: report });
			}
			if (options.growth) {
				const svg = options.svg === undefined ? undefined : await OutputFile.at("--svg", options.svg);
				const { benchGrowth } = await import("../bench/growth.ts");
				using bar = terminal.progress("{bar} {value}/{total} sizes");
				const { signal } = terminal;
				const report = await benchGrowth(await openAdapter(terminal), undefined, { signal, progress: bar.report });
				bar[Symbol.dispose]();
				const { growthChart } = await import("../bench/growth-chart.ts");
				terminal.print(`${report.adapter.name} (${report.adapter.driver})\n\n${growthText(report)}`);
				await svg?.write(await growthChart(report));
				return await finish({ growth: report });
			}
			if (options.compile) {
				const { benchCompile } = await import("../bench/compile.ts");
				using bar = terminal.progress("{bar} {value}/{total} kernels compiled");
				const asked = givenOptions(command).includes("policies") ? names : undefined;
				const report = await benchCompile(await openFolder(model, terminal), asked, { progress: bar.report });
				bar[Symbol.dispose]();
				terminal.print(`${report.adapter.name} (${report.adapter.driver})\n\n${compileText(report)}`);
				return await finish({ compile: report });
			}
			const alone = !peers && !options.shape && !together && !precision;
			const picturesToo = alone || (pictures !== undefined && !precision);
			const charts = Number(picturesToo) + Number(options.shape !== undefined);
			if (options.svg !== undefined && charts === 0)
				throw new UsageError("--svg draws times by scale: give --pictures N or --shape beside it.");
			const svgs: OutputFile[] = [];
			for (let i = 0; options.svg !== undefined && i < charts; i++)
				svgs.push(await OutputFile.at("--svg", i === 0 ? options.svg : numbered(options.svg, i + 1)));
			const onDisk = named(options, ["precision", "peers"])[0];
			if (onDisk && isUrl(model))
				throw new UsageError(`--${onDisk} takes a model of this machine, not ${model}.`, "Give its folder.");
			const folder = picturesToo || together || precision ? await openFolder(model, terminal) : undefined;

			const gpu = await openAdapter(terminal);
			const { name: adapter, driver, software } = gpu.facts;
			const report: Record<string, unknown> = { adapter: gpu.facts };
			const drawn: Chart[] = [];
			terminal.print(`${adapter} (${driver})\n`);
			const { signal } = terminal;
			using bar = terminal.progress("{bar} {value}/{total} pictures");
			const watch = { signal, progress: bar.report };
			if (picturesToo && folder) {
				const { benchPictures } = await import("../bench/pictures.ts");
				const made = await benchPictures(gpu, folder, pictures ?? 3, names, watch);
				bar[Symbol.dispose]();
				terminal.print(picturesText(made));
				report.pictures = made;
				drawn.push(picturesChart(made, adapter));
			}
			if (together && folder) {
				const { benchTogether } = await import("../bench/together.ts");
				const rows = await benchTogether(gpu, folder, together, names, watch);
				bar[Symbol.dispose]();
				terminal.print(togetherText(rows));
				report.together = rows;
			}
			if (precision) {
				const { benchPrecision } = await import("../bench/precision.ts");
				const rows = await benchPrecision(gpu, model, pictures ?? 5, watch);
				bar[Symbol.dispose]();
				terminal.print(precisionText(rows));
				report.precision = rows;
			}
			if (wanted) {
				const { benchShape } = await import("../bench/shape.ts");
				const scales = options.scales ?? [0, software ? 3 : 12];
				const blocks = options.blocks ?? BLOCKS;
				const shape = { shape: wanted, policies: names, blocks, scales, maxSeconds, dtype, signal };
				const made = await benchShape(gpu, shape);
				terminal.print(shapeText(made));
				report.shape = made;
				drawn.push(shapeChart(made, adapter));
			}
			if (peers) {
				const { comparePeers } = await import("../bench/peers/peers.ts");
				const { rows, runtimes } = options;
				const begun = performance.now();
				const progress = (text: string) => {
					signal.throwIfAborted();
					terminal.say(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${text}`);
				};
				const compared = await Array.fromAsync(comparePeers(gpu, { model, rows, runtimes, maxSeconds, progress }));
				terminal.print(peersText(compared));
				report.peers = compared;
			}
			for (const [i, svg] of svgs.entries()) await svg.write(await timeByScale(drawn[i]));
			await finish(report);
		});

const named = (options: { [name: string]: unknown }, names: readonly string[]): string[] =>
	names.filter((name) => options[name] !== undefined);

function scalesRange(text: string): [from: number, to: number] {
	const [, from, to] = /^(\d+)\.\.(\d+)$/.exec(text) ?? [];
	if (from === undefined || Number(from) > Number(to))
		throw new UsageError(`--scales ${text}: give the first and the last scale, as in 0..4.`);
	return [Number(from), Number(to)];
}

/** `times.svg` becomes `times-2.svg`. */
const numbered = (path: string, i: number) => path.replace(/(\.svg)?$/, `-${i}.svg`);
