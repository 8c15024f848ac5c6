import { expect, it } from "vitest";
import { readStartSettings } from "./settings.ts";

it.each<[settings: Record<string, string>, said: RegExp]>([
	[{ SLOTS: "x" }, /^SLOTS: must be a whole number from 1 to 64$/],
	[{ MODELS: "tiny,nope" }, /^There is no model "nope"\. Bundled models: /],
	[{ MODELS: "," }, /^MODELS: names no model$/],
	[{ PORT: "0" }, /^PORT: must be a whole number from 1 to 65535$/],
	[{ GPU_WORKERS: "many" }, /^GPU_WORKERS: must be a whole number from 0 to 16$/],
	[{ STRICT: "perhaps" }, /^STRICT: must be true or false$/],
	[{ QUEUE_LIMIT: "-1" }, /^QUEUE_LIMIT: must be a whole number from 0 to 10000$/],
	[{ STALL_SECONDS: "soon" }, /^STALL_SECONDS: must be a number from 0\.1 to 3600$/],
	[{ POOLS: "[" }, /^POOLS: must be JSON$/],
	[{ MODEL_ALIASES: "sdxl" }, /^MODEL_ALIASES: must be name=model, with commas between them$/],
	[{ PUBLIC_URL: "draw.example" }, /^PUBLIC_URL: must be an http or https address$/],
])("a wrong setting is refused before anything starts, in one line: %j", (settings, said) => {
	expect(() => readStartSettings(settings)).toThrow(said);
});

it("without any, everything has its default", () => {
	expect(readStartSettings({})).toMatchObject({ PORT: 8787, GPU_WORKERS: 1, READY_SECONDS: 180 });
});
