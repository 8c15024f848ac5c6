import { SMALL, verifyWithin } from "./limits.ts";
import { SETS } from "./sets.ts";

/** The two whose pictures are smallest; limits.long.test.ts has all. */
verifyWithin(
	SMALL,
	SETS.filter(([name]) => /^(var|star)-tiny$/.test(name)),
);
