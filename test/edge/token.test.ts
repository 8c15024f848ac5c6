import { describe, expect, it } from "vitest";
import { bearer, sameSecret, signToken, verifyToken } from "../../worker/edge/auth/token.ts";

const secret = "0123456789abcdef";
const job = "ab".repeat(32);

describe("token", () => {
	it("is good for the job and attempt it was signed for", async () => {
		expect(await verifyToken(secret, job, await signToken(secret, job, 1))).toBe(1);
		expect(await verifyToken(secret, job, await signToken(secret, job, 12))).toBe(12);
	});

	it("is refused for another job, attempt or secret", async () => {
		const token = await signToken(secret, job, 1);
		expect(await verifyToken(secret, "cd".repeat(32), token)).toBeNull();
		expect(await verifyToken(secret, job, token.replace(/^1/, "2"))).toBeNull();
		expect(await verifyToken("another-secret-00", job, token)).toBeNull();
	});

	it.each([
		"",
		".",
		"1",
		"1.",
		"0.AAAA",
		"-1.AAAA",
		"1.!!!!",
		`1.${"A".repeat(42)}`,
		`1.${"A".repeat(43)}`,
		`1.${"A".repeat(100_000)}`,
		`9999999999.${"A".repeat(43)}`,
	])("is refused when it is garbage: %j", async (token) =>
		expect(await verifyToken(secret, job, token.slice(0, 200))).toBeNull(),
	);

	it("changes with one flipped character anywhere", async () => {
		const token = await signToken(secret, job, 1);
		for (const at of [2, 10, 30]) {
			const flipped = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
			expect(await verifyToken(secret, job, flipped)).toBeNull();
		}
	});
});

describe("secrets", () => {
	it("compare as equal only when they are", async () => {
		expect(await sameSecret(secret, secret)).toBe(true);
		expect(await sameSecret(secret, "")).toBe(false);
		expect(await sameSecret(secret, `${secret} `)).toBe(false);
	});

	it("come from the bearer header", () => {
		const of = (authorization: string) => bearer(new Request("http://localhost/", { headers: { authorization } }));
		expect(of("Bearer abc")).toBe("abc");
		expect(of("bearer abc")).toBe("abc");
		expect(of("Basic abc")).toBe("");
		expect(of("Bearer a b")).toBe("");
		expect(of(`Bearer ${"a".repeat(2000)}`)).toBe("");
		expect(bearer(new Request("http://localhost/"))).toBe("");
	});
});
