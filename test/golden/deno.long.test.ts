import { verifyInDeno } from "./deno.ts";
import { SETS } from "./sets.ts";

verifyInDeno(SETS);
