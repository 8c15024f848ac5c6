import { verifyInDeno } from "./deno.ts";
import { SETS } from "./sets.ts";

/** One of each family; deno.long.test.ts has the others. */
verifyInDeno(SETS.filter(([name]) => /^(infinity|var|star|hart)-tiny$/.test(name)));
