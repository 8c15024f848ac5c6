/** Three bytes per pixel, rows top to bottom. */
export interface RgbImage {
	width: number;
	height: number;
	data: Uint8Array<ArrayBuffer>;
}
