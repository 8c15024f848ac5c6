/** Opens a device in a page or a web worker. */
import { DeviceError } from "../errors.ts";
import { Gpu } from "../gpu.ts";
import { requestDevice } from "../request.ts";

const ADVICE =
	"Update the browser or the graphics driver, or turn on hardware acceleration in the browser's settings; " +
	"https://webgpureport.org says what the browser has.";

/**
 * Opens the browser's adapter. Nothing is measured or kept between pages: the operators' own choices run. Throws
 * DeviceError with what to do where there is no WebGPU.
 */
export async function openGpu(): Promise<Gpu> {
	if (!navigator.gpu)
		throw new DeviceError(`This browser has no WebGPU here (it is there on https and localhost alone). ${ADVICE}`);
	const version = navigator.userAgent;
	const platform = { runtime: "browser", implementation: "the browser", version } as const;
	const { device, facts } = await requestDevice(navigator.gpu, platform, ADVICE);
	return new Gpu(device, facts);
}
