/** A model folder or a checkpoint that cannot be used. The message names the file or tensor and says what to do. */
export class ModelFormatError extends Error {
	override name = "ModelFormatError";
}

/** A file that is not there, where one may be. */
export class MissingFileError extends ModelFormatError {}

/** A file that a server does not give; where it lists nothing, that is its answer to what is not there, too. */
export class WithheldFileError extends ModelFormatError {}

/** The first of the problems, a line each, as they stand in an error. */
export function listed(problems: readonly string[], most = 20): string {
	const shown = problems.slice(0, most);
	if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
	return shown.map((problem) => `- ${problem}`).join("\n");
}
