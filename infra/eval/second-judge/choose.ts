/**
 * Chooses what the second judge can tell, and from which score on, by clean drawings of GenEval's prompts:
 *
 *     npx node infra/eval/second-judge/choose.ts FOLDER        of model-shards/training/score.py --clean --write FOLDER
 *
 * Every other drawing chooses a threshold, those between say how good it is.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { readPrompts } from "../prompts.ts";
import { Detector } from "./detector.ts";
import { RECOGNISED_FILE, type Recognised } from "./second-judge.ts";

/** Objects whose Open Images class says the same, or what is always drawn for it. */
const LABELS: Readonly<Record<string, string>> = {
	person: "Person",
	bicycle: "Bicycle",
	car: "Car",
	bus: "Vehicle",
	truck: "Vehicle",
	cat: "Cat",
	dog: "Dog",
	cow: "Cattle",
	bottle: "Bottle",
	cup: "Coffee cup",
	chair: "Chair",
	"dining table": "Table",
	tv: "Computer monitor",
	laptop: "Laptop",
	"computer mouse": "Computer mouse",
	book: "Book",
	suitcase: "Box",
};
/** Of drawings without the object, so many may be taken for it; of those with it, so many must be found. */
const MOST_FALSE = 0.03;
const LEAST_RECALL = 0.75;

interface Drawing {
	objects: ReadonlySet<string>;
	scores: ReadonlyMap<string, number>;
}

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("Give the folder of clean drawings: see the head of this file.");
const detector = await Detector.open();
const drawings: Drawing[] = [];
for (const { place, include } of await readPrompts()) {
	const { data, info } = await sharp(join(folder, `${String(place).padStart(3, "0")}.png`))
		.removeAlpha()
		.raw()
		.toBuffer({ resolveWithObject: true });
	const scores = await detector.scores({ ...info, data: new Uint8Array(data) });
	drawings.push({ objects: new Set(include.map(({ class: name }) => name)), scores });
}
await detector.close();

const recognised = Object.entries(LABELS).flatMap(([object, label]): Recognised[] => {
	const score = ({ scores }: Drawing) => scores.get(label) as number;
	const holds = ({ objects }: Drawing) => objects.has(object);
	// Another object of the same class is no mistake of the detector.
	const lacks = ({ objects }: Drawing) => ![...objects].some((name) => LABELS[name] === label);
	const choosing = drawings.filter((_, i) => i % 2 === 0);
	const held = drawings.filter((_, i) => i % 2 === 1);
	const without = choosing
		.filter(lacks)
		.map(score)
		.sort((a, b) => a - b);
	const threshold = without[Math.ceil(without.length * (1 - MOST_FALSE)) - 1] + 0.001;
	const share = (of: readonly Drawing[]) => of.filter((drawing) => score(drawing) >= threshold).length / of.length;
	const [recall, falsePositives] = [share(held.filter(holds)), share(held.filter(lacks))];
	console.log(
		`${object}: ${held.filter(holds).length} drawings, threshold ${threshold.toFixed(3)}, ` +
			`found ${recall.toFixed(2)}, falsely ${falsePositives.toFixed(3)}`,
	);
	if (!(recall >= LEAST_RECALL)) return [];
	const rounded = (value: number) => Number(value.toFixed(3));
	return [
		{
			object,
			label,
			threshold: rounded(threshold),
			recall: rounded(recall),
			falsePositives: rounded(falsePositives),
			drawings: held.filter(holds).length,
		},
	];
});
writeFileSync(RECOGNISED_FILE, `${JSON.stringify(recognised, null, "\t")}\n`);
