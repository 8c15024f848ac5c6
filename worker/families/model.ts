/** A model as its family understands it: a manifest, or a configuration alone, and all that follows from it. */
import { z } from "zod";
import { listed, ModelFormatError } from "../../model-shards/format/errors.ts";
import { formed } from "../../model-shards/format/json.ts";
import { MANIFEST_FILE, type Manifest } from "../../model-shards/format/manifest.ts";
import type { TensorShape } from "../../model-shards/format/tensor-shapes.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Described } from "./checkpoints.ts";
import type { Costs, Facts, Families, Family } from "./family.ts";
import { families as all } from "./index.ts";
import { pixelsPerCell, vaeProblems } from "./shared/vae.ts";
import { textEncoderProblems } from "./text/config.ts";

/** A family and a configuration of it. */
export interface ModelShape<Config extends object = object> {
	family: Family<Config>;
	config: Config;
	facts: Facts;
	costs: Costs;
	/** Everything that inference reads. */
	wanted: readonly TensorShape[];
}
export interface Model extends ModelShape {
	manifest: Manifest;
}

export const shapeOf = <Config extends object>(family: Family<Config>, config: Config): ModelShape<Config> => ({
	family,
	config,
	facts: family.facts(config),
	costs: family.costs(config),
	wanted: family.tensors(config),
});

/** Throws ModelFormatError for a name that is none of a family. */
export function familyOf(name: string, families: Families = all): Family {
	if (Object.hasOwn(families, name)) return families[name];
	throw new ModelFormatError(`There is no family ${name}. There are: ${Object.keys(families).join(", ")}.`);
}

/**
 * The model of a manifest. Throws ModelFormatError for a family or configuration that this version does not know, and
 * one that lists what contradicts itself. `where` names the manifest in errors.
 */
export function modelOf(
	manifest: Manifest,
	{ families = all, where = MANIFEST_FILE }: { families?: Families; where?: string } = {},
): Model {
	if (!Object.hasOwn(families, manifest.family))
		throw new ModelFormatError(
			`${where} is of the family ${manifest.family}, which this version does not know. Known are ` +
				`${Object.keys(families).join(", ")}.`,
		);
	const shape = checkedShape(families[manifest.family], manifest, where);
	return { ...shape, manifest };
}

/** The configuration of a head, checked by its family alone and against its schedules. Throws as `modelOf`. */
export function checkedShape<Config extends object>(
	family: Family<Config>,
	head: Described,
	where: string,
): ModelShape<Config> {
	const problem = `${where} does not describe a model of the family ${family.name} that this version reads`;
	const { config } = formed(z.object({ config: family.config }), head, problem);
	const facts = family.facts(config);
	const problems = [...commonProblems(facts, head), ...family.problems(config, head.schedules)];
	if (problems.length > 0) throw new ModelFormatError(`${where} contradicts itself:\n${listed(problems)}`);
	return shapeOf(family, config as Config);
}

/** What holds for every family. */
function commonProblems({ shape: { width, heads }, text, decoder, codes }: Facts, head: Described): string[] {
	const problems = vaeProblems(decoder.config);
	if (text && text.channels % 4 !== 0) problems.push(`text features of ${text.channels} are not a multiple of 4`);
	if (text?.encoder) problems.push(...textEncoderProblems(text.encoder, text.channels));
	if (width % heads !== 0 || (width / heads) % 4 !== 0)
		problems.push(`width ${width} over ${heads} heads (num_heads) does not give a head size that is a multiple of 4`);
	const patch = codes.patch * pixelsPerCell(decoder.config);
	for (const [name, { grids, image }] of Object.entries(head.schedules)) {
		const [height, width] = grids[grids.length - 1].map((side) => side * patch);
		if (image.height !== height || image.width !== width)
			problems.push(
				`schedule ${name}: last grid ${grids[grids.length - 1].join("x")} decodes to ${height}x${width} ` +
					`pixels, not ${image.height}x${image.width}`,
			);
	}
	return problems;
}

/** The configuration of a model that must be of this family. Throws ModelFormatError for one of another. */
export function configOf<Config extends object>(
	{ manifest, config }: Pick<Model, "manifest" | "config">,
	family: Family<Config>,
): Config {
	if (manifest.family !== family.name)
		throw new ModelFormatError(
			`${manifest.name} is a model of the family ${manifest.family}; one of ${family.name} is needed here.`,
		);
	return config as Config;
}

/** What the edge, the page and the policies may know of the model, as long as nothing was measured of it. */
export function modelInfo({ manifest, facts }: Pick<Model, "manifest" | "facts">, digest: string): ModelInfo {
	const { shape, chunkBlocks, codes, text, lowRank, guidesByText, classes } = facts;
	const { name, family, schedules, defaultSchedule, sampling } = manifest;
	return {
		id: name,
		digest,
		family,
		schedules,
		defaultSchedule,
		blocks: shape.depth,
		chunks: Array.from({ length: Math.ceil(shape.depth / chunkBlocks) }, (_, chunk) => [
			chunk * chunkBlocks,
			(chunk + 1) * chunkBlocks,
		]),
		bitsPerToken: codes.bits,
		maxPromptTokens: text ? Math.min(text.maxTokens, text.encoder?.maxTokens ?? Infinity) : 0,
		...(lowRank && { lowRank }),
		...(guidesByText && { guidesByText }),
		...(classes !== undefined && { classes }),
		sampling,
		calibration: {},
	};
}
