// @ts-check
// Draws the charts of a run's page. Runs in a browser; uPlot stands before it in the page.
/** @import uPlot from "uplot" */

/**
 * @typedef {{ title: string, note: string, x: { label: string, values: number[], ticks?: string[] },
 * y: { label: string, log: boolean }, series: { label: string, values: (number | null)[], drawn: string }[] }} Chart
 */

// Okabe and Ito's palette, told apart without red and green too.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/** @param {Chart} chart @param {HTMLElement} place @param {typeof uPlot} Plot */
function draw(chart, place, Plot) {
	const style = getComputedStyle(document.documentElement);
	const [ink, grid] = ["--quiet", "--line"].map((name) => style.getPropertyValue(name));
	const order = chart.x.values.map((_, i) => i).sort((a, b) => chart.x.values[a] - chart.x.values[b]);
	const sorted = (/** @type {(number | null)[]} */ values) => order.map((i) => values[i]);
	let colour = -1;
	const series = chart.series.map(({ label, drawn }, i) => {
		// The same time told in another way has the same colour.
		if (i === 0 || !label.startsWith(chart.series[i - 1].label)) colour += 1;
		const stroke = COLOURS[colour % COLOURS.length];
		return drawn === "points"
			? { label, stroke, width: 1.5, paths: () => null, points: { show: true, size: 4, fill: stroke, width: 0 } }
			: {
					label,
					stroke,
					width: 1.5,
					dash: drawn === "dashed" ? [5, 4] : [],
					points: { show: chart.x.values.length < 40, size: 4 },
				};
	});
	const { ticks } = chart.x;
	const width = () => Math.max(280, place.clientWidth);
	const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
	const plot = new Plot(
		{
			width: width(),
			height: 300,
			scales: {
				x: { time: false },
				y: chart.y.log ? { distr: 3, log: 10 } : { range: (_, __, most) => [0, Math.max(1, most * 1.08)] },
			},
			axes: [
				{
					...axis,
					label: chart.x.label,
					...(chart.x.values.every(Number.isInteger) && { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }),
					...(ticks && {
						splits: () => ticks.map((_, i) => i).filter((i) => i <= Math.max(...chart.x.values)),
						values: (/** @type {unknown} */ _, /** @type {number[]} */ at) => at.map((i) => ticks[i]),
					}),
				},
				{
					...axis,
					label: chart.y.label,
					size: 64,
					values: (/** @type {unknown} */ _, /** @type {(number | null)[]} */ at) =>
						at.map((value) => (value === null ? "" : String(Number(value.toPrecision(6))))),
				},
			],
			series: [
				{
					label: chart.x.label,
					value: (/** @type {unknown} */ _, /** @type {number | null} */ value) =>
						value === null
							? ""
							: ticks
								? String(Number((100 * (1 - 10 ** -value)).toPrecision(6)))
								: String(Number(value.toFixed(3))),
				},
				...series,
			],
		},
		/** @type {uPlot.AlignedData} */ ([
			/** @type {number[]} */ (sorted(chart.x.values)),
			...chart.series.map(({ values }) => sorted(values)),
		]),
		place,
	);
	addEventListener("resize", () => plot.setSize({ width: width(), height: 300 }));
}

/** @type {Chart[]} */
const charts = JSON.parse(document.getElementById("charts")?.textContent ?? "[]");
for (const [i, chart] of charts.entries()) {
	const place = document.getElementById(`chart-${i}`);
	if (place) draw(chart, place, /** @type {{ uPlot: typeof uPlot }} */ (/** @type {unknown} */ (globalThis)).uPlot);
}
document.body.dataset.drawn = String(charts.length);
