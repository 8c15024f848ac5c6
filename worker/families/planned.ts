/** Models of published sizes as an import would write them, without their numbers: for tables and tests on paper. */
import { tensorBytes } from "../../model-shards/format/manifest.ts";
import type { Precision } from "../../model-shards/format/precision.ts";
import { plannedTensors } from "../../model-shards/format/stored.ts";
import type { Families } from "./family.ts";
import { families as all } from "./index.ts";
import { checkedShape, familyOf, type Model } from "./model.ts";
import type { TextEncoderConfig } from "./text/config.ts";

/** Of a model without files. */
export const NO_DIGEST: string = `sha256:${"0".repeat(64)}`;

export interface PlannedOptions {
	precision?: Precision;
	families?: Families;
	/** Left out: features are given, or it draws no text. */
	textEncoder?: TextEncoderConfig;
}

/** Throws ModelFormatError for a family or size that was not published. */
export function plannedModel(
	family: string,
	size: string,
	{ precision = "f32", families = all, textEncoder }: PlannedOptions = {},
): Model {
	const record = familyOf(family, families);
	const { head: bare } = record.published.describe(size);
	const head = textEncoder && record.withText ? { ...bare, config: record.withText(bare.config, textEncoder) } : bare;
	const shape = checkedShape(record, head, head.name);
	const tensors = plannedTensors(shape.wanted, precision).map((tensor) => ({
		...tensor,
		shard: 0,
		offset: 0,
		bytes: tensorBytes(tensor.dtype, tensor.shape) as number,
	}));
	const { config, ...rest } = head;
	return {
		...shape,
		manifest: {
			...rest,
			config: { ...config },
			format: "firstlight-model",
			version: 1,
			tokenizer: null,
			tensors,
			shards: [],
		},
	};
}
