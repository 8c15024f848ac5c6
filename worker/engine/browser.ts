/** The engine in a page or a web worker: with the browser's own device, and models by their URLs. */
import { httpSource } from "../../model-shards/format/source/http.ts";
import { type FolderOptions, type ModelFolder, openModelSource } from "../families/folder.ts";

export { openGpu } from "../../kernels/gpu/browser/open.ts";
export * from "./index.ts";

/**
 * The model at the http(s) URL of its folder; `headers` go with every request. Its shards are read when it is opened on
 * a device. Throws ModelFormatError for what is no model, and what `fetch` throws.
 */
export async function openModelAt(
	where: string,
	{ headers, ...options }: FolderOptions & { headers?: Record<string, string> } = {},
): Promise<ModelFolder> {
	return await openModelSource(httpSource(where, { headers }), options);
}
