#!/usr/bin/env node
/** `npx firstlight`: what its modules were compiled to is kept, which is a third of the time that they take to load. */
import { keepCompiled } from "./compile-cache.ts";

keepCompiled();
await import("./command.ts");
