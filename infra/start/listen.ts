/** Where `npm start` listens: on this machine alone, unless it is told otherwise. */
import { lookup } from "node:dns/promises";
import { createServer, isIP } from "node:net";
import { SettingsError } from "../../worker/gpu/settings.ts";

/** Loopback of both kinds; a machine without IPv6 has no `::1`. */
const LOOPBACK = ["127.0.0.1", "::1"];
const ABSENT = ["EADDRNOTAVAIL", "EAFNOSUPPORT"];

/**
 * The addresses of `host`, all free at `port`; by default those of this machine alone. Throws SettingsError where one
 * cannot be had.
 */
export async function listenAddresses(port: number, host: string | undefined): Promise<string[]> {
	const addresses = host === undefined ? LOOPBACK : await addressesOf(host);
	const free: string[] = [];
	for (const address of addresses) {
		const problem = await tryListening(port, address);
		if (problem === undefined) free.push(address);
		else if (problem === "EADDRINUSE")
			throw new SettingsError(`PORT: ${port} is in use. Stop what uses it, or choose another: PORT=8788 npm start`);
		else if (problem === "EACCES")
			throw new SettingsError(`PORT: ${port} may not be used: permission denied. Choose one above 1023.`);
		else if (host !== undefined || !ABSENT.includes(problem))
			throw new SettingsError(`HOST: ${address} is no address of this machine (${problem}).`);
	}
	if (free.length === 0) throw new SettingsError("HOST: this machine has no loopback address. Name one of its own.");
	return free;
}

/** Throws SettingsError for a name that has none. */
export async function addressesOf(host: string): Promise<string[]> {
	const name = host.replace(/^\[(.*)\]$/, "$1");
	if (isIP(name)) return [name];
	const found = await lookup(name, { all: true }).catch((error: NodeJS.ErrnoException) => {
		throw new SettingsError(`HOST: ${name} has no address (${error.code}). Give a name or an address of this machine.`);
	});
	return [...new Set(found.map(({ address }) => address))];
}

/** Whether only this machine can connect there. */
export const isLoopback = (address: string): boolean => address === "::1" || /^127\./.test(address);

/** How this machine itself connects to what listens at `address`. */
export function urlOf(address: string, port: number): string {
	const own: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
	return `http://${bracketed(own[address] ?? address)}:${port}`;
}

/** As it stands in a URL. */
export const bracketed = (address: string): string => (isIP(address) === 6 ? `[${address}]` : address);

/** The code of what goes wrong. */
function tryListening(port: number, address: string): Promise<string | undefined> {
	return new Promise((resolve) => {
		const server = createServer();
		server.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "unknown"));
		server.listen({ port, host: address, ipv6Only: false }, () => server.close(() => resolve(undefined)));
	});
}
