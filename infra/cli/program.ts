import { Command, CommanderError } from "@commander-js/extra-typings";
import type { Terminal } from "./terminal.ts";

/** Gives a command its options and what it does. Its file is read only when the command is called. */
export type Define = (command: Command, terminal: Terminal) => unknown;

interface Entry {
	/** Its heading in the help. */
	group: string;
	/** Its line there. */
	about: string;
	load(): Promise<{ define: Define }>;
}

const [PICTURES, MODELS, DEPLOYMENT, MEASUREMENTS] = ["Pictures:", "Models:", "Deployment:", "Measurements:"];

/** Every command by its name. A new one is a file of its own and an entry here. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
	generate: {
		group: PICTURES,
		about: "make a picture, without the edge",
		load: () => import("./generate.ts"),
	},
	plan: {
		group: PICTURES,
		about: "print a policy's plan as JSON, to read or to change",
		load: () => import("./plan.ts"),
	},
	models: {
		group: MODELS,
		about: "list the models that come with Firstlight",
		load: () => import("./models.ts"),
	},
	inspect: {
		group: MODELS,
		about: "what a model is made of and what it needs on a device",
		load: () => import("./inspect.ts"),
	},
	import: {
		group: MODELS,
		about: "make a model folder of checkpoints, of a release, or of another model",
		load: () => import("./import.ts"),
	},
	verify: {
		group: MODELS,
		about: "check the engine against folders of the reference format",
		load: () => import("./verify.ts"),
	},
	publish: {
		group: MODELS,
		about: "put a model folder into R2, from where the edge delivers it",
		load: () => import("./publish.ts"),
	},
	bundle: {
		group: DEPLOYMENT,
		about: "a GPU worker as a folder that needs nothing else",
		load: () => import("./bundle.ts"),
	},
	keys: {
		group: DEPLOYMENT,
		about: "mint, list and revoke an edge's API keys",
		load: () => import("./keys.ts"),
	},
	workers: {
		group: DEPLOYMENT,
		about: "list, revoke and admit an edge's GPU workers",
		load: () => import("./workers.ts"),
	},
	eval: {
		group: MEASUREMENTS,
		about: "policies side by side by the GenEval protocol",
		load: () => import("./eval.ts"),
	},
	calibrate: {
		group: MEASUREMENTS,
		about: "measure what policies plan by: a model's policies.json",
		load: () => import("./calibrate.ts"),
	},
	paper: {
		group: MEASUREMENTS,
		about: "what policies cost on the big models, from plans alone",
		load: () => import("./paper.ts"),
	},
	tune: {
		group: MEASUREMENTS,
		about: "measure the kernels' variants on this adapter, and keep the choices",
		load: () => import("./tune.ts"),
	},
	bench: {
		group: MEASUREMENTS,
		about: "times: of policies, peers, batches, precisions, published shapes",
		load: () => import("./bench.ts"),
	},
	load: {
		group: MEASUREMENTS,
		about: "load an edge as its readers would, and judge every stream",
		load: () => import("./load.ts"),
	},
	simulate: {
		group: MEASUREMENTS,
		about: "the edge's own pool and jobs in virtual time, with what may go wrong",
		load: () => import("./simulate.ts"),
	},
	"bench-import": {
		group: MEASUREMENTS,
		about: "what importing a published size takes, on random numbers",
		load: () => import("./bench-import.ts"),
	},
	soak: {
		group: MEASUREMENTS,
		about: "many pictures in one process: memory must stay flat",
		load: () => import("./soak.ts"),
	},
};

/** The code of what is thrown where the version is asked for, as commander's own. */
export const VERSION_ASKED = "commander.version";

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
	for (const [name, { group, about }] of Object.entries(COMMANDS))
		root.command(name).description(about).helpGroup(group);
	root.on("option:version", () => {
		throw new CommanderError(0, VERSION_ASKED, "");
	});
	root.hook("preSubcommand", async (_, command) => {
		(await COMMANDS[command.name()].load()).define(command as Command, terminal);
	});
	root.hook("preAction", (_, command) => {
		const { json } = command.opts() as { json?: unknown };
		terminal.quiet = root.opts().quiet === true;
		terminal.json = json === true;
	});
	return root;
}
