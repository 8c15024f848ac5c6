import { expect, it } from "vitest";
import { attack } from "./hostile.ts";

it("a thousand hostile requests get nothing, and break nothing", async () => {
	const statuses = await attack(1000, 20);
	// Each kind of answer is there: what is drawn reaches further than the door.
	for (const status of [200, 400, 401, 403, 404, 405]) expect(statuses[status]).toBeGreaterThan(0);
}, 60_000);
