import { expect, it } from "vitest";
import { OperatorSettings } from "./operator-settings.ts";

it("a list may have spaces after its commas", () => {
	const lists = { PUBLIC_MODELS: " a, b,,c ,", MODEL_ALIASES: "x=a, y=b", CORS_ORIGINS: "https://a, https://b" };
	expect(OperatorSettings.parse(lists)).toMatchObject({
		PUBLIC_MODELS: ["a", "b", "c"],
		MODEL_ALIASES: new Map([
			["x", "a"],
			["y", "b"],
		]),
		CORS_ORIGINS: ["https://a", "https://b"],
	});
});
