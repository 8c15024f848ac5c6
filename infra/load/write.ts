/** A run's files in one folder. */
import { join } from "node:path";
import { writeWhole } from "../cli/output.ts";
import { hdrLog } from "./distribution.ts";
import { jsonLines } from "./records.ts";
import { chartsOf } from "./report/charts.ts";
import { reportPage } from "./report/page.ts";
import type { Run } from "./run.ts";
import { metricsOf, type Summary, vllmNames } from "./summary.ts";

export const FILES = {
	requests: "requests.jsonl",
	summary: "summary.json",
	hdr: "times.hlog",
	page: "report.html",
} as const;

/** `summary` without the whole distributions is not comparable: it is written as it is. */
export async function writeRun(folder: string, run: Run, summary: Summary): Promise<void> {
	const measured = run.samples.filter(({ phase }) => phase === "measured");
	const document = { ...summary, vllm: vllmNames(summary) };
	await writeWhole(join(folder, FILES.requests), jsonLines(run));
	await writeWhole(join(folder, FILES.summary), `${JSON.stringify(document, null, "\t")}\n`);
	await writeWhole(
		join(folder, FILES.hdr),
		hdrLog(metricsOf(measured), run.begunAt, `firstlight load of ${summary.target.url}`),
	);
	await writeWhole(join(folder, FILES.page), await reportPage("Load test", summary, chartsOf(run, summary.goodput)));
}
