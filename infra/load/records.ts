/** A line a request, with AIPerf's names where it has them (profile_export.jsonl), ours beside. */
import type { Run, Sample } from "./run.ts";

const measured = (value: number | null | undefined, unit: string) =>
	value == null || Number.isNaN(value) ? undefined : { value: Number(value.toFixed(3)), unit };
const values = (of: readonly number[], unit: string) =>
	of.length === 0 ? undefined : { value: of.map((value) => Number(value.toFixed(3))), unit };

export function recordOf({ trace, phase, judgement }: Sample, begunAt: Date): Record<string, unknown> {
	const ns = (at: number | null | undefined) =>
		at == null || Number.isNaN(at) ? null : Math.round((begunAt.getTime() + at) * 1e6);
	const { asked, connections, refused, left } = trace;
	const { fromIntended, fromSent, scales, outcome, faults } = judgement;
	const failed = trace.frames.find(({ error }) => error)?.error;
	const error = refused
		? { code: refused.status, type: refused.code, message: refused.message }
		: failed
			? { code: null, type: failed.code, message: failed.message }
			: outcome === "completed" || left
				? null
				: { code: null, type: outcome, message: trace.problem ?? faults[0]?.detail ?? "" };
	return {
		metadata: {
			session_num: asked.index,
			x_request_id: connections[0]?.requestId ?? null,
			request_intended_ns: ns(trace.intended),
			request_start_ns: ns(trace.sent),
			request_ack_ns: ns(connections[0]?.acknowledged),
			request_end_ns: ns(trace.ended),
			benchmark_phase: phase === "measured" ? "profiling" : "warmup",
			was_cancelled: left !== null,
			cancellation_time_ns: ns(left?.at),
			in_flight: trace.inFlight,
			job: judgement.job,
			transport: asked.transport,
			reader: asked.reader.kind,
			model: asked.model ?? null,
			policy: judgement.policy ?? asked.policy ?? null,
			seed: asked.seed,
			key: asked.key ?? null,
			outcome,
			reconnects: judgement.reconnects,
			sha256: judgement.sha256,
		},
		metrics: {
			request_latency: measured(fromIntended.final, "ms"),
			time_to_first_event: measured(fromIntended.first_event, "ms"),
			time_to_first_preview: measured(fromIntended.first_preview, "ms"),
			time_to_usable: measured(fromIntended.usable, "ms"),
			request_latency_from_start: measured(fromSent.final, "ms"),
			time_to_first_preview_from_start: measured(fromSent.first_preview, "ms"),
			inter_chunk_latency: values(judgement.gaps, "ms"),
			time_to_scale: values(
				scales.map(({ at }) => at),
				"ms",
			),
			scale_service: values(
				scales.map(({ milliseconds }) => milliseconds).filter((ms) => !Number.isNaN(ms)),
				"ms",
			),
			scale_bytes: values(
				scales.map(({ bytes }) => bytes ?? 0),
				"bytes",
			),
			service: measured(judgement.service, "ms"),
			queue_wait: measured(judgement.wait, "ms"),
			send_lag: measured(judgement.lag, "ms"),
			bytes_received: measured(judgement.bytes, "bytes"),
			retry_after: measured(refused?.retryAfter, "s"),
		},
		faults,
		error,
	};
}

/** Prompts are not in it: who reads a run need not know what was drawn. */
export const jsonLines = ({ samples, begunAt }: Run): string =>
	samples.map((sample) => `${JSON.stringify(recordOf(sample, begunAt))}\n`).join("");
