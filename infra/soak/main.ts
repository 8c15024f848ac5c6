/**
 * `npm run soak -- [MODEL] [PICTURES]`: many pictures in one process; exit 1 when device memory did not stay the same.
 */
import { SingleBar } from "cli-progress";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { soak } from "./soak.ts";

const [name = "emoji-128", pictures = "200"] = process.argv.slice(2);
const gpu = await openGpu();
const model = await openModel(gpu, await openModelFolder(findModel(name)));
const bar = new SingleBar({ format: "{bar} {value}/{total} pictures, {eta_formatted} left", stream: process.stderr });
bar.start(Math.max(20, Number(pictures)), 0);
const report = await soak(gpu, model, Math.max(20, Number(pictures)), (done) => bar.update(done));
bar.stop();
console.log(`${report.pictures} pictures of ${name} on ${gpu.facts.name}`);
console.log(`GPU bytes after the tenth ${report.gpuBytes.tenth}, at the end ${report.gpuBytes.end}`);
console.log(`Resident memory grew by ${Math.round(report.residentSlope)} bytes a picture over the second half`);
process.exit(report.gpuBytes.tenth === report.gpuBytes.end ? 0 : 1);
