import { Gpu } from "./kernels/gpu.ts";
import { findModel, openModelFolder } from "./model-shards/folder.ts";
import { openModel } from "./worker/engine/open-model.ts";
import { policies } from "./worker/engine/plan/policies.ts";
const name = process.argv[2] ?? "tiny";
const t0 = performance.now();
const gpu = await Gpu.open();
const t1 = performance.now();
const model = await openModel(gpu, await openModelFolder(findModel(name)), { slots: 4 });
const t2 = performance.now();
console.log("open", t1 - t0, "load", t2 - t1);
for (const p of ["exact", "exact", "stagevar", "stagevar", "exact"]) {
  const plan = policies[p].plan(model.info, {});
  const b = performance.now();
  const s: string[] = [];
  for await (const r of model.generate({ plan, prompt: "a photo of a red apple", seed: 1, previews: "all" })) if (r.kind === "scale") s.push(`${r.milliseconds.transformer.toFixed(0)}+${r.milliseconds.preview.toFixed(0)}`);
  console.log(p, (performance.now() - b).toFixed(0), s.join(" "));
}
const plan = policies.exact.plan(model.info, {});
for (const n of [1, 2, 4]) {
  const b = performance.now();
  await Promise.all(Array.from({ length: n }, async (_, i) => { for await (const _ of model.generate({ plan, prompt: "a photo of a red apple", seed: i, previews: "none" })); }));
  console.log(n, "together", ((performance.now() - b) / n).toFixed(0), "ms each");
}
process.exit(0);
