import "vitest";

declare module "vitest" {
	export interface ProvidedContext {
		/** Where moderation-server.ts listens. */
		moderation: string;
	}
}
