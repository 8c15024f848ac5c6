import type { Pass } from "../../../../kernels/gpu/pass.ts";
import { Scope } from "../../../../kernels/gpu/scope.ts";
import type { BlockContext, Graph, GraphInput } from "../../family.ts";
import { adaLnHead, type ConditionTables, conditionTables } from "../../shared/ada-ln.ts";
import { blockOps, GAMMA } from "../../shared/block-ops.ts";
import { classConditioning } from "../../shared/class.ts";
import { positionEmbedding } from "../../shared/embedding.ts";
import { graphOf } from "../../shared/graph.ts";
import { latentCells } from "../../shared/schedules.ts";
import { vectorQuantiser } from "../../shared/vector-quantiser.ts";
import type { FifthConfig } from "./config.ts";

export function fifthGraph(input: GraphInput<FifthConfig>): Graph {
	const { gpu, config, facts, schedules, weights, slots } = input;
	using scope = new Scope(gpu);
	const tables = conditionTables(scope, facts, slots);
	const norm = { eps: config.normEps, centred: false, weight: weights.get("transformer.head_norm.weight") };
	return graphOf(scope, facts, {
		codes: vectorQuantiser(scope, weights, config.codebook, slots * latentCells(schedules)),
		start: tables.start,
		embedding: positionEmbedding(scope, input),
		contextKeys: () => [0, 0],
		ropeAt: () => 0,
		opened() {},
		begin: classConditioning(scope, { ...input, config: { ...config, adaln: "block" } }, tables),
		sublayers: [
			{ name: "attn", run: (pass, context) => selfAttention(pass, input, tables, context) },
			{ name: "ffn", run: (pass, context) => feedForward(pass, input, tables, context) },
		],
		head: (pass, op) => adaLnHead(pass, weights, facts, tables.head, norm, op),
	});
}

type Input = GraphInput<FifthConfig>;
const moduleOf = ({ weights }: Input, { index }: BlockContext) => weights.module(`transformer.blocks.${index}`);
const opsOf = (pass: Pass, input: Input, context: BlockContext) =>
	blockOps(pass, { gpu: input.gpu, shape: input.facts.shape }, moduleOf(input, context), context);
const normOf = (input: Input, context: BlockContext, half: 0 | 1) => ({
	half,
	eps: input.config.normEps,
	centred: false,
	weight: moduleOf(input, context).get(`norm${half + 1}.weight`),
});

function selfAttention(pass: Pass, input: Input, { modulation }: ConditionTables, context: BlockContext): void {
	const { width, heads } = input.config;
	const { work, index } = context;
	const ops = opsOf(pass, input, context);
	ops.modulated(modulation[index], normOf(input, context, 0));
	ops.selfAttention("attn.mat_qkv", {}, { scaleMul: undefined, scale: 0.25 / Math.sqrt(width / heads) }, "attn");
	ops.addLinear("attn.proj", work.attended, width, { table: modulation[index], vector: GAMMA[0] });
}

function feedForward(pass: Pass, input: Input, { modulation }: ConditionTables, context: BlockContext): void {
	const { index } = context;
	const ops = opsOf(pass, input, context);
	ops.modulated(modulation[index], normOf(input, context, 1));
	ops.feedForward({ up: "ffn.fc1", down: "ffn.fc2" }, { table: modulation[index], vector: GAMMA[1] });
}
