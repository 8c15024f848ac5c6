#!/usr/bin/env node
/** `npx firstlight COMMAND`: parses the command line and calls the command. */
import { generateCommand } from "./generate.ts";
import { importCommand } from "./import.ts";
import { UsageError } from "./usage.ts";
import { verifyCommand } from "./verify.ts";

const commands: Record<string, (args: string[]) => Promise<number>> = {
	generate: generateCommand,
	import: importCommand,
	verify: verifyCommand,
};

const HELP = `firstlight: text to image, scale by scale, on WebGPU

  firstlight generate "a photo of a red apple" [--out apple.png] [--seed 7] [--policy stagevar]
             [--model emoji-128] [--schedule 1:1] [--scales-dir DIR] [--quality 90]
             --class N in place of the prompt for a model that draws classes
  firstlight verify DIR... [--model NAME]
             check the engine against folders of the reference format, with their weights or a model folder's
  firstlight import DIR --out DIR   make a model folder of a released model directory
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
