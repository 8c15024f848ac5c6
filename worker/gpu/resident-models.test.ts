import { expect, test } from "vitest";
import { ResidentModels } from "./resident-models.ts";
import { SettingsError } from "./settings.ts";
import { picture, takeTurns, twoModels } from "./testing/turns.ts";

test("two models take turns where there is room for one, and nothing stays behind", async () => {
	await using two = await twoModels();
	const { device, ids, memory } = two;
	expect(device.models.offers.map(({ info }) => info.id)).toEqual(ids);
	const { bytes, different, most } = await takeTurns(two, 8);
	expect(different).toBe(0);
	for (const id of ids) expect(bytes[id].size, id).toBe(1);
	// The engine's own arena beside the models.
	expect(most).toBeLessThan(memory + 2 ** 24);

	// One that makes a picture stays; whoever asks for it after the other has its turn after the other.
	const order: string[] = [];
	const begun = Promise.withResolvers<void>();
	const { promise: held, resolve: release } = Promise.withResolvers<void>();
	const use = (id: string, name: string) =>
		device.models.use(id, async (model) => {
			order.push(name);
			begun.resolve();
			if (name === "first") await held;
			await picture(model, 0);
		});
	const first = use(ids[0], "first");
	const rest = [use(ids[1], "other"), use(ids[0], "again")];
	const left = new AbortController();
	const gone = expect(device.models.use(ids[1], async () => order.push("gone"), left.signal)).rejects.toBe(
		"nobody waits",
	);
	left.abort("nobody waits");
	await begun.promise;
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(order).toEqual(["first"]);
	release();
	await Promise.all([first, ...rest]);
	await gone;
	expect(order).toEqual(["first", "other", "again"]);

	await expect(device.models.use("none", async () => {})).rejects.toThrow(/There is no model none\. There are: /);
	device.models.destroy();
	expect(device.gpu.bytes).toBe(8 << 20);
});

test("a budget that holds one of the models by no means is refused with what would", async () => {
	await expect(twoModels(0.05)).rejects.toThrow(SettingsError);
	await expect(twoModels(0.05)).rejects.toThrow(/^MEMORY: The \d+ bytes that are given do not do\. .*takes about/);
	const loadable = { id: "large", bytes: 2, load: () => Promise.reject(new Error("not asked for")) };
	await expect(new ResidentModels(1).add(loadable)).rejects.toThrow("large takes 2 bytes; all models together have 1.");
});
