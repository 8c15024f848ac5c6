import { expect, it } from "vitest";
import { BearerSecret, WebhookSecret, webhookKey } from "./secret.ts";

const base64 = (bytes: number) => btoa("x".repeat(bytes));

it.each([24, 32, 64])("a webhook's secret of %i bytes is one, with its padding or without", (bytes) => {
	for (const text of [base64(bytes), base64(bytes).replace(/=+$/, "")])
		expect(webhookKey(WebhookSecret.parse(`whsec_${text}`))).toHaveLength(bytes);
});

it.each([
	["too few bytes", base64(23)],
	["more than there may be", base64(65)],
	["letters that are no whole bytes", "A".repeat(33)],
	["padding where none belongs", `${"A".repeat(34)}=`],
	["other letters", `${base64(24).slice(1)}-`],
])("and one of %s is none", (_, text) => {
	expect(WebhookSecret.safeParse(`whsec_${text}`).error?.issues.map(({ message }) => message)).toEqual([
		"must be whsec_ and base64 of 24 to 64 bytes",
	]);
});

it.each(["with spaces in between", "sch\u00f6n-gross-und-lang", "line\nafter-line-0123456"])(
	"what no header carries as it is is no secret to send: %j",
	(secret) => {
		expect(BearerSecret.safeParse(secret).error?.issues[0].message).toMatch(/ASCII, without spaces/);
		expect(BearerSecret.safeParse(secret.replace(/[^\x21-\x7e]/g, "~")).success).toBe(true);
	},
);
