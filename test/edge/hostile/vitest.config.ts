/** Ten thousand hostile requests, now and then: `vitest run --config test/edge/hostile/vitest.config.ts`. */
import { mergeConfig } from "vitest/config";
import edge from "../vitest.config.ts";

const config = mergeConfig(edge, {});
config.test = { ...config.test, name: "edge-hostile", include: ["test/edge/hostile/*.test.ts"] };
export default config;
