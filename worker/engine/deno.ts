/** The engine on Deno: the same as on Node, with the device of the runtime itself. */
export * from "./node.ts";
