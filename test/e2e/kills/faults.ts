/** What can go wrong with a worker while it makes its pictures, each as it happens to a real process. */
import type { Hand } from "./crew.ts";
import type { Answer, Delivery } from "./line.ts";

/** One picture of those that a worker has in hand when it fails, at one of its deliveries. */
export interface Case {
	victim: Hand;
	/** The next process of its name comes. */
	succeed(): Promise<void>;
	/** Resolves when all readers have their pictures. */
	done: Promise<unknown>;
	/** The picture's delivery before the faulty one, and the one after it. */
	before: Delivery | null;
	after: Promise<Delivery>;
	/** The one after it waits for this. */
	next?: Promise<void>;
	/** What came back for what should have been refused. */
	refused: Answer[];
	/** What came back for what came too late. */
	late: Answer[];
}

export interface Fault {
	/** What becomes of a picture's delivery; the answer to the worker, or null where it never hears. */
	at(of: Case, delivery: Delivery): Promise<Answer | null>;
	/** The exit code that the victim ends with. Absent: it lives, and works again. */
	ends?: number | null;
	/** A successor must be warm beforehand. */
	warm?: true;
}

const GO_ON: Answer = { status: 200, body: '{"go":"on"}' };

/** Of a worker that was told for good that it may not stay. */
const MISCONFIGURED = 2;

const GARBAGE = [
	"",
	"[",
	"\u0000\u0001\u0002",
	"null",
	"[]".repeat(1000),
	'{"type":"scale"}',
	'{"type":"scale","index":-1}',
	'{"type":"final","seed":1e99}',
	'{"type":"error","code":"In Words","message":"m"}',
	'{"type":"__proto__"}',
];

export const FAULTS: Readonly<Record<string, Fault>> = {
	"kill -9": {
		async at({ victim }) {
			victim.signal("SIGKILL");
			return null;
		},
		ends: null,
	},
	/** Stands still, and goes on when another has finished its picture. */
	hang: {
		async at({ victim, done, late }, delivery) {
			victim.signal("SIGSTOP");
			await done;
			victim.signal("SIGCONT");
			late.push(await delivery.pass());
			return null;
		},
	},
	"half-open": {
		async at({ victim }) {
			victim.line.swallow();
			return null;
		},
	},
	/** Heartbeats come, the delivery does not until the picture is finished. */
	late: {
		async at({ done, late }, delivery) {
			await done;
			const answer = await delivery.pass();
			late.push(answer);
			return answer;
		},
	},
	/** Deliveries of garbage under its token, then a frame of it. */
	garbage: {
		async at({ victim, refused }, delivery) {
			for (const garbage of GARBAGE) refused.push(await delivery.pass(garbage));
			const answer = await delivery.pass();
			victim.line.inject("garbage");
			return answer;
		},
		ends: MISCONFIGURED,
	},
	duplicate: {
		async at(_, delivery) {
			const [answer] = await Promise.all([delivery.pass(), delivery.pass()]);
			await delivery.pass();
			return answer;
		},
	},
	/** The next one overtakes it; the last one is followed by the one before it. */
	"out of order": {
		async at(of, delivery) {
			if (delivery.what === "final") {
				const answer = await delivery.pass();
				await of.before?.pass();
				return answer;
			}
			of.next = of.after.then(async (next) => {
				of.refused.push(await next.pass());
				await delivery.pass();
			});
			return GO_ON;
		},
	},
	/** A newer process of its name comes while it works. */
	"two of a name": {
		async at({ succeed }) {
			await succeed();
			return null;
		},
		ends: MISCONFIGURED,
		warm: true,
	},
};
