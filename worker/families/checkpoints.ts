/** How the official code and its published files describe a family's models. */
import type { z } from "zod";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import type { TensorShape } from "../../model-shards/format/tensor-shapes.ts";
import type { KeptRope } from "../protocol/reductions/kind.ts";

/** How the official code's files describe its models. */
export interface Official<Config> {
	/** Throws ModelFormatError for fields that cannot be read and for variants that the graph does not compute. */
	config(given: OfficialConfig): Config;
	/** Kinds of reference sets that are recorded of this family, by name. */
	kinds: Readonly<Record<string, ReferenceKind>>;
}
export interface OfficialConfig {
	/** Official fields of the transformer and of the picture tokenizer. */
	config: unknown;
	vae: unknown;
	/** Of the transformer's checkpoint, by official name. */
	shapes: ReadonlyMap<string, readonly number[]>;
	/** By schedule: the last grid of its aspect ratio. */
	reach: Readonly<Record<string, [height: number, width: number]>>;
}
export interface ReferenceKind {
	/** Guidance is t in (1 + t) c - t u, growing from 0 at the first scale; else w in u + w (c - u) at every one. */
	ramp: boolean;
	/** Last scales at which it grows no further. */
	held?: number;
	/** Rotary positions of kept tokens. */
	rope: z.infer<typeof KeptRope>;
	/** What the engine calls inputs that it knows by other names. */
	inputs?: Readonly<Record<string, string>>;
}

/** Checkpoints that were published, by size. */
export interface Published<Config = object> {
	sizes: readonly string[];
	/** Throws ModelFormatError for a size that was not published. */
	describe(size: string): PublishedModel<Config>;
}
export interface PublishedModel<Config = object> {
	head: Described<Config>;
	/** Names that files of this size hold beside those that the family leaves unread. */
	unused?: RegExp;
	/** Those of all unread ones that every official transformer of this size holds, beside the constant key biases. */
	unread?: readonly TensorShape[];
}
/** A model without its files. */
export type Described<Config = object> = Pick<
	Manifest,
	"name" | "family" | "schedules" | "defaultSchedule" | "sampling" | "licence"
> & { config: Config };
