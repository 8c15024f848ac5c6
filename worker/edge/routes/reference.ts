/** What the API is: GET /openapi.json for programs, GET /docs for people. */
import type { Context } from "hono";
import { html } from "hono/html";
import { document, parametersOf } from "../reference/document.ts";
import { type Operation, operations } from "../reference/operations.ts";
import type { App } from "../settings.ts";

type C = Context<App>;

export function openApi(c: C): Response {
	return c.json(document(), 200, { "cache-control": "no-cache" });
}

/** One page without scripts, out of the same document. */
export function reference(c: C): Response | Promise<Response> {
	return c.html(html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Firstlight's API</title>
<style nonce="${c.get("secureHeadersNonce")}">
	:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
	body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
	section { border-top: 1px solid GrayText; margin-top: 2rem }
	code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
	table { border-collapse: collapse; width: 100% }
	th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }
</style>
<h1>Firstlight's API</h1>
<p>For programs: <a href="openapi.json">openapi.json</a>. Errors are OpenAI's object
	<code>{"error": {"message", "type", "param", "code"}}</code>, and every answer has an <code>x-request-id</code>.</p>
${operations.map(section)}
</html>`);
}

const section = (operation: Operation) => html`<section>
<h2><code>${operation.method.toUpperCase()} ${operation.path}</code></h2>
<p>${operation.summary}.</p>
${operation.description ? html`<p>${operation.description}</p>` : ""}
${table(fieldsOf(operation))}
${table(Object.entries(operation.answers).map(([status, { description, json }]) => [status, json ?? "", description]))}
</section>`;

const table = (rows: readonly (readonly string[])[]) =>
	rows.length === 0
		? ""
		: html`<table>${rows.map(
				([name, kind, text]) => html`<tr><td><code>${name}</code></td><td>${kind}</td><td>${text}</td></tr>`,
			)}</table>`;

/** Parameters, or the body's fields: name, where it goes, what it is. */
function fieldsOf(operation: Operation): string[][] {
	const parameters = parametersOf(operation).map(({ name, in: where, description }) => [name, where, description]);
	if (!operation.body) return parameters;
	const { properties = {} } = (document().components as { schemas: Record<string, Described> }).schemas[operation.body];
	const fields = Object.entries(properties).map(([name, { description = "" }]) => [name, "body", description]);
	return [...parameters, ...fields];
}

interface Described {
	description?: string;
	properties?: Record<string, Described>;
}
