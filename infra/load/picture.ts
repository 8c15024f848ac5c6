/** Whether bytes are a whole picture, by its frame alone: cheap enough for every event of a run. */

const PNG_HEAD = Buffer.from("89504e470d0a1a0a", "hex");
const PNG_TAIL = Buffer.from("0000000049454e44ae426082", "hex");

/** What is wrong with an encoded picture: its signature, its length, its end; null where nothing is. */
export function pictureProblem(bytes: Buffer, mime: string): string | null {
	if (bytes.length < 16) return `${bytes.length} bytes are no picture`;
	if (mime === "image/png") {
		if (!bytes.subarray(0, 8).equals(PNG_HEAD)) return "it does not begin as a PNG";
		return bytes.subarray(-12).equals(PNG_TAIL) ? null : "the PNG has no end";
	}
	if (mime === "image/jpeg") {
		if (bytes.readUInt16BE(0) !== 0xffd8) return "it does not begin as a JPEG";
		return bytes.readUInt16BE(bytes.length - 2) === 0xffd9 ? null : "the JPEG has no end";
	}
	if (mime === "image/webp") {
		if (bytes.toString("latin1", 0, 4) !== "RIFF" || bytes.toString("latin1", 8, 12) !== "WEBP")
			return "it does not begin as a WebP";
		const length = bytes.readUInt32LE(4) + 8;
		return length === bytes.length ? null : `the WebP says ${length} bytes and has ${bytes.length}`;
	}
	return `${mime.slice(0, 40)} is no kind of picture that was asked for`;
}

/** The bytes of strict base64; null for anything else, also where it was cut. */
export function base64Bytes(text: string): Buffer | null {
	if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
	return Buffer.from(text, "base64");
}
