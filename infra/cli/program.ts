import { Command, CommanderError } from "@commander-js/extra-typings";
import type { Terminal } from "./terminal.ts";

/** Gives a command its options and what it does. Its file is read only when the command is called. */
export type Define = (command: Command, terminal: Terminal) => unknown;

/** Every command by its name, with its line of the help. A new one is a file of its own and a line here. */
const GROUPS: Record<string, Record<string, [about: string, load: () => Promise<{ define: Define }>]>> = {
	"Pictures:": {
		generate: ["make a picture, without the edge", () => import("./generate.ts")],
		plan: ["print a policy's plan as JSON, to read or to change", () => import("./plan.ts")],
	},
	"Models:": {
		models: ["list the models that come with Firstlight", () => import("./models.ts")],
		inspect: ["what a model is made of and what it needs on a device", () => import("./inspect.ts")],
		import: ["make a model folder of checkpoints, of a release, or of another model", () => import("./import.ts")],
		verify: ["check the engine against folders of the reference format", () => import("./verify.ts")],
		publish: ["put a model folder into R2, from where the edge delivers it", () => import("./publish.ts")],
	},
	"Measurements:": {
		eval: ["policies side by side by the GenEval protocol", () => import("./eval.ts")],
		calibrate: ["measure what policies plan by: a model's policies.json", () => import("./calibrate.ts")],
		paper: ["what policies cost on the big models, from plans alone", () => import("./paper.ts")],
		tune: ["measure the kernels' variants on this adapter, and keep the choices", () => import("./tune.ts")],
		bench: ["times: of policies, peers, batches, precisions, published shapes", () => import("./bench.ts")],
		soak: ["many pictures in one process: memory must stay flat", () => import("./soak.ts")],
	},
};

/** The code of what is thrown where the version is asked for, as commander's own. */
export const VERSION_ASKED = "commander.version";

export const commandNames = Object.values(GROUPS).flatMap(Object.keys);

/** The whole command line. What is wrong with it is thrown: a CommanderError or a UsageError. */
export function program(terminal: Terminal): Command {
	const root = new Command("firstlight")
		.description("Text to image, scale by scale, on WebGPU.")
		.usage("COMMAND [options]")
		.option("-q, --quiet", "results only: no progress, no chatter")
		.option("-V, --version", "print the version of the package, of the engine and of its kernels")
		.helpOption("-h, --help", "say what a command takes")
		.helpCommand(false)
		.configureHelp({ showGlobalOptions: true, subcommandTerm: (command) => command.name() })
		.configureOutput({ outputError: () => {} })
		.exitOverride();
	for (const [group, commands] of Object.entries(GROUPS)) {
		root.commandsGroup(group);
		for (const [name, [about]] of Object.entries(commands)) root.command(name).description(about);
	}
	root.on("option:version", () => {
		throw new CommanderError(0, VERSION_ASKED, "");
	});
	const all = Object.assign({}, ...Object.values(GROUPS)) as (typeof GROUPS)[string];
	root.hook("preSubcommand", async (_, command) => {
		const [, load] = all[command.name()];
		(await load()).define(command as Command, terminal);
	});
	root.hook("preAction", (_, command) => {
		const { json } = command.opts() as { json?: unknown };
		terminal.quiet = root.opts().quiet === true;
		terminal.json = json === true;
	});
	return root;
}
