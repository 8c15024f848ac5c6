/** A ragged batch of channels-last images: image i has [height * width, channels] at pixel `pixel` of its tensor. */
import { struct, type Values } from "../gpu/kernel.ts";

export const IMAGE = struct("Image", { pixel: "u32", height: "u32", width: "u32" });
export type ImageShape = Values<typeof IMAGE.fields>;

export const pixelsOf = ({ height, width }: ImageShape): number => height * width;

/** The one of the most pixels. */
export const largest = (images: readonly ImageShape[]): ImageShape =>
	images.reduce((most, next) => (pixelsOf(next) > pixelsOf(most) ? next : most));
