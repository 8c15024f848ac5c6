import { SMALL, SMALLEST, verifyWithin } from "./limits.ts";
import { SETS } from "./sets.ts";

/** Two whose pictures are smallest, and one that runs on few tokens; limits.long.test.ts has all. */
verifyWithin(
	SMALL,
	SETS.filter(([name]) => /^(var|star)-tiny$/.test(name)),
);
verifyWithin(
	SMALLEST,
	SETS.filter(([name]) => /^(var|stagevar-star)-tiny$/.test(name)),
);
