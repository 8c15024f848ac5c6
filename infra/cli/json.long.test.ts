import { documentOf, SLOW } from "./testing-json.ts";

documentOf(SLOW);
