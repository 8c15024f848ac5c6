/** Every family. A new one is a folder of its own and a line here. */
import type { Families, Family } from "./family.ts";
import { hart } from "./hart/index.ts";
import { infinity } from "./infinity/index.ts";
import { star } from "./star/index.ts";
import { var_ } from "./var/index.ts";

const list: readonly Family[] = [infinity, var_, star, hart];

/** By name. Whatever meets models takes them from here, or from a record that holds more. */
export const families: Families = Object.fromEntries(list.map((family) => [family.name, family]));
