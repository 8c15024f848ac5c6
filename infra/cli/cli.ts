#!/usr/bin/env node
/** `npx firstlight COMMAND`: parses the command line and calls the command. */
import { families } from "../../worker/families/index.ts";
import { calibrateCommand } from "./calibrate.ts";
import { evalCommand } from "./eval.ts";
import { generateCommand } from "./generate.ts";
import { importCommand } from "./import.ts";
import { inspectCommand } from "./inspect.ts";
import { paperCommand } from "./paper.ts";
import { planCommand } from "./plan.ts";
import { publishCommand } from "./publish.ts";
import { tuneCommand } from "./tune.ts";
import { UsageError } from "./usage.ts";
import { verifyCommand } from "./verify.ts";

const commands: Record<string, (args: string[]) => Promise<number>> = {
	calibrate: calibrateCommand,
	eval: evalCommand,
	generate: generateCommand,
	import: importCommand,
	inspect: inspectCommand,
	paper: paperCommand,
	plan: planCommand,
	publish: publishCommand,
	tune: tuneCommand,
	verify: verifyCommand,
};

const HELP = `firstlight: text to image, scale by scale, on WebGPU

  firstlight generate "a photo of a red apple" [--out apple.png] [--seed 7] [--policy stagevar]
             [--model emoji-128] [--schedule 1:1] [--scales-dir DIR] [--quality 90]
             --class N in place of the prompt for a model that draws classes, --plan FILE.json in place of a policy
  firstlight plan [--model emoji-128] [--policy stagevar] [--schedule 1:1]   prints the plan as JSON
  firstlight verify DIR... [--model NAME] [--dtype f16] [--cache f16]
             check the engine against folders of the reference format, with their weights or a model folder's
  firstlight import CHECKPOINT... --family infinity --size 2b --out DIR [--text-encoder DIR] [--tokenizer FILE] [--name NAME]
             make a model folder of published checkpoints (.pth, .safetensors, or a folder with an index). Sizes of each family:
             ${Object.entries(families)
								.map(([name, { published }]) => `${name} ${published.sizes.join(", ")}`)
								.join("; ")}
  firstlight import DIR --out DIR   the same of a released model directory, or of a model, for another precision
             all take [--dtype f32|f16|int8|int4] [--group 32|64] [--licence TEXT], and [--check] to print every tensor's error
             (of a model also the engine's, against the original)
  firstlight calibrate [--model NAME] [--schedule 1:1] [--count N] [--judge] [--prompts FILE] [--out DIR]
             measure where stages begin and what late scales need, and write policies.json with plots of it
  firstlight eval [--model NAME] [--policies exact,stagevar,...] [--plan NAME=FILE.json] [--prompts N|all] [--seeds K] [--out FILE.jsonl]
             policies side by side by the GenEval protocol: scores, likeness to exact, times; an --out file is gone on with
             also [--diversity N] [--timings N] [--report FILE.md] [--plot FILE.svg] [--sheet FILE.png|.webp] [--write-trades],
             and --from FILE.jsonl in place of measuring
  firstlight paper                  what every policy costs on Infinity-2B, -8B, STAR and HART, from plans alone
  firstlight inspect DIR|URL        what a model is made of and what it needs on a device, in every precision
  firstlight inspect --family infinity --size 8b   the same of a published size, from its list of tensors
  firstlight publish DIR [--remote] [--bucket firstlight-models]
             puts a model folder into R2, from where the edge delivers it: that of npm start, or with --remote Cloudflare's
  firstlight tune [--model NAME] [--dtype f16] [--again]
             measure the kernels' variants at a model's shapes on this adapter and keep the choices for later starts
`;

const [name = "help", ...args] = process.argv.slice(2);
process.exit(await main());

/** 0 done, 1 failed, 2 wrong usage, 130 interrupted. The process exits here: Dawn keeps it alive otherwise. */
async function main(): Promise<number> {
	if (["help", "--help", "-h"].includes(name)) {
		console.log(HELP);
		return 0;
	}
	try {
		const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
		if (!command) throw new UsageError(`There is no command ${name}.`);
		return await command(args);
	} catch (error) {
		if (error instanceof UsageError) {
			console.error(`${error.message}\n\n${HELP}`);
			return 2;
		}
		if (error instanceof DOMException && error.name === "AbortError") return 130;
		console.error(process.env.DEBUG ? error : `${(error as Error).name}: ${(error as Error).message}`);
		return 1;
	}
}
