import { verifyInDeno } from "./deno.ts";
import { SETS } from "./sets.ts";

/** One of three families, whose kernels HART's are but for its diffusion; deno.long.test.ts has all. */
verifyInDeno(SETS.filter(([name]) => /^(infinity|var|star)-tiny$/.test(name)));
