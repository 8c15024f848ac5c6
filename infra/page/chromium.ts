/** The Chromium that comes with the project, as people run theirs: with a process for each page. */
import chromium from "@sparticuz/chromium";
import { type Browser, chromium as browserType } from "playwright-core";

/** `gpu`: with WebGPU on SwiftShader. */
export async function launch({ gpu = false } = {}): Promise<Browser> {
	return await browserType.launch({
		executablePath: await chromium.executablePath(),
		args: ["--no-sandbox", ...(gpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : [])],
		headless: true,
	});
}
