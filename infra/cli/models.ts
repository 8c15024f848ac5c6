import { bundledModels, findModel, openModelFolder } from "../../model-shards/open.ts";
import { jsonOption } from "./options.ts";
import type { Define } from "./program.ts";

/** The bundled models: what each draws, how large, and whether policies know it. */
export const define: Define = (command, terminal) =>
	command.addOption(jsonOption()).action(async () => {
		const models = await Promise.all(bundledModels().map(describe));
		for (const { name, family, draws, pictures, megabytes, calibrated } of models)
			terminal.print(
				`${name}: ${family}, draws ${draws} in ${pictures.join(", ")}; ${megabytes} MB; ` +
					(calibrated.length > 0 ? `calibrated for ${calibrated.join(", ")}` : "not calibrated"),
			);
		terminal.result(models);
	});

async function describe(name: string) {
	const { dir, manifest, digest, info } = await openModelFolder(findModel(name));
	const bytes = manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
	return {
		name,
		dir,
		digest,
		family: manifest.family,
		licence: manifest.licence,
		draws: info.classes === undefined ? "text" : `${info.classes} classes`,
		pictures: Object.entries(manifest.schedules).map(
			([schedule, { image, grids }]) => `${schedule} (${image.width}x${image.height}, ${grids.length} scales)`,
		),
		megabytes: Number((bytes / 1e6).toFixed(1)),
		calibrated: Object.keys(info.calibration),
	};
}
