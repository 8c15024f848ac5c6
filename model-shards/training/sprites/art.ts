/** What draws every GenEval object: an icon of Fluent Emoji (Microsoft, MIT), or a drawing made for this project. */

/**
 * Names of the icon set, by object, in the benchmark's order; null where it has nothing fitting and `DRAWINGS` does.
 */
export const ICONS: Record<string, string | null> = {
	person: "person-standing",
	bicycle: "bicycle",
	car: "automobile",
	motorcycle: "motorcycle",
	airplane: "airplane",
	bus: "bus",
	train: "locomotive",
	truck: "delivery-truck",
	boat: "sailboat",
	"traffic light": "vertical-traffic-light",
	"fire hydrant": null,
	"stop sign": "stop-sign",
	"parking meter": null,
	bench: null,
	bird: "bird",
	cat: "cat",
	dog: "dog",
	horse: "horse",
	sheep: "ewe",
	cow: "cow",
	elephant: "elephant",
	bear: "bear",
	zebra: "zebra",
	giraffe: "giraffe",
	backpack: "backpack",
	umbrella: "umbrella",
	handbag: "handbag",
	tie: "necktie",
	suitcase: "luggage",
	frisbee: "flying-disc",
	skis: "skis",
	snowboard: null,
	"sports ball": "soccer-ball",
	kite: "kite",
	"baseball bat": null,
	"baseball glove": null,
	skateboard: "skateboard",
	surfboard: null,
	"tennis racket": "tennis",
	bottle: null,
	"wine glass": "wine-glass",
	cup: "hot-beverage",
	fork: null,
	knife: "kitchen-knife",
	spoon: "spoon",
	bowl: "bowl-with-spoon",
	banana: "banana",
	apple: "red-apple",
	sandwich: "sandwich",
	orange: "tangerine",
	broccoli: "broccoli",
	carrot: "carrot",
	"hot dog": "hot-dog",
	pizza: "pizza",
	donut: "doughnut",
	cake: "birthday-cake",
	chair: "chair",
	couch: "couch-and-lamp",
	"potted plant": "potted-plant",
	bed: "bed",
	"dining table": null,
	toilet: "toilet",
	tv: "television",
	laptop: "laptop",
	"computer mouse": "computer-mouse",
	"tv remote": null,
	"computer keyboard": "keyboard",
	"cell phone": "mobile-phone",
	microwave: null,
	oven: null,
	toaster: null,
	sink: null,
	refrigerator: null,
	book: "closed-book",
	clock: "alarm-clock",
	vase: "amphora",
	scissors: "scissors",
	"teddy bear": "teddy-bear",
	"hair drier": null,
	toothbrush: "toothbrush",
};

/** A diagonal gradient from a light to a dark colour. */
const gradient = (id: string, light: string, dark: string): string =>
	`<linearGradient id="${id}" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="${light}"/><stop offset="1" stop-color="${dark}"/></linearGradient>`;

const svg = (gradients: [id: string, light: string, dark: string][], body: string): string =>
	`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><defs>${gradients.map((g) => gradient(...g)).join("")}</defs>${body}</svg>`;

/** In the flat, shaded style of the icons, on a canvas of 32 by 32. */
export const DRAWINGS: Record<string, string> = {
	"fire hydrant": svg(
		[
			["a", "#ff6a5c", "#c3202c"],
			["b", "#ffd667", "#e39a1e"],
		],
		`<path fill="url(#a)" d="M11 11h10v16H11z"/><path fill="url(#a)" d="M10 11a6 6.5 0 0 1 12 0z"/><rect x="14.5" y="2" width="3" height="3.5" rx="1" fill="url(#b)"/><rect x="9" y="10" width="14" height="2.4" rx="1.2" fill="#a5161f"/><rect x="5.5" y="14.5" width="6" height="5.5" rx="1.6" fill="url(#b)"/><rect x="20.5" y="14.5" width="6" height="5.5" rx="1.6" fill="url(#b)"/><circle cx="16" cy="17.5" r="3.6" fill="#a5161f"/><circle cx="16" cy="17.5" r="2.2" fill="url(#b)"/><rect x="8" y="26" width="16" height="4" rx="1.4" fill="#a5161f"/>`,
	),
	"parking meter": svg(
		[
			["a", "#a9b7c6", "#5d6c7d"],
			["b", "#dff1fb", "#8fc4e4"],
		],
		`<rect x="14.6" y="17" width="2.8" height="12" fill="#54616f"/><rect x="11" y="28" width="10" height="2.6" rx="1.3" fill="#3f4a56"/><path fill="url(#a)" d="M9 9a7 7 0 0 1 14 0v8a3 3 0 0 1-3 3h-8a3 3 0 0 1-3-3z"/><path fill="url(#b)" d="M11.5 9.5a4.5 4.5 0 0 1 9 0z"/><rect x="15.6" y="5.2" width="0.9" height="4.2" fill="#d4332f"/><rect x="12" y="12" width="8" height="1.5" rx=".7" fill="#3f4a56"/><circle cx="16" cy="16.6" r="1.7" fill="#f6c945"/>`,
	),
	bench: svg(
		[["a", "#d99a5b", "#93592a"]],
		`<rect x="5" y="9" width="2" height="18" rx="1" fill="#4d4d57"/><rect x="25" y="9" width="2" height="18" rx="1" fill="#4d4d57"/><rect x="2" y="8" width="28" height="3.4" rx="1.2" fill="url(#a)"/><rect x="2" y="12.4" width="28" height="3.4" rx="1.2" fill="url(#a)"/><path d="M3 18h26l1.6 3.6H1.4z" fill="url(#a)"/><rect x="1.4" y="21.2" width="29.2" height="1.7" rx=".8" fill="#7a461d"/><rect x="3.4" y="22.6" width="2.2" height="6.4" rx="1" fill="#3d3d46"/><rect x="26.4" y="22.6" width="2.2" height="6.4" rx="1" fill="#3d3d46"/>`,
	),
	snowboard: svg(
		[["a", "#63d2ff", "#2369d8"]],
		`<g transform="rotate(40 16 16)"><rect x="11" y="0.5" width="10" height="31" rx="5" fill="url(#a)"/><rect x="12.6" y="2.2" width="6.8" height="27.6" rx="3.4" fill="none" stroke="#ffffff" stroke-opacity=".5" stroke-width=".8"/><rect x="10" y="9" width="12" height="3.4" rx="1.2" fill="#2d2d36"/><rect x="10" y="19.6" width="12" height="3.4" rx="1.2" fill="#2d2d36"/><path d="M16 13l2 3-2 3-2-3z" fill="#ffd34d"/></g>`,
	),
	"baseball bat": svg(
		[["a", "#f2bd78", "#a9662b"]],
		`<g transform="rotate(45 16 16)"><path fill="url(#a)" d="M12.6 2.8a3.4 3.4 0 0 1 6.8 0c.4 7-1.6 11-2 17h-2.8c-.4-6-2.4-10-2-17z"/><rect x="14.4" y="19.5" width="3.2" height="11" rx=".8" fill="#3b3b45"/><rect x="13.4" y="30" width="5.2" height="2.6" rx="1.3" fill="#8d5222"/><path d="M14.4 22l3.2 1.2M14.4 24.6l3.2 1.2M14.4 27.2l3.2 1.2" stroke="#75757f" stroke-width=".6"/></g>`,
	),
	"baseball glove": svg(
		[["a", "#c97b3e", "#7c3f16"]],
		`<path fill="url(#a)" d="M6 14c-1-5 1.2-8.500 3-8 1.400-4 4.200-4.200 5-2 1-3 4.800-2.800 5 0 2-2.200 5-.8 4.800 2.200 2 .2 3.400 3 2.700 6.300C28.500 18 27 30 16 30 8 30 4 25 2.600 19.500 1.800 16 5 14.500 7.500 18z"/><path d="M10 6.500c-.6 3 0 6 .8 8M15 4.500c-.4 3.500 0 6.500.6 9M20 5c.2 3-.2 6-.6 8.500M24 8c0 3-.8 5-1.600 7" stroke="#5b2c0d" stroke-width="1" fill="none"/><path d="M8 20c4-4 12-4 17-1" stroke="#f0c48f" stroke-width="1" fill="none"/><circle cx="17" cy="21.500" r="5" fill="#f7f3ea"/><path d="M13.500 18.500c1.500 2 1.500 4 0 6M20.500 18.500c-1.500 2-1.500 4 0 6" stroke="#d2332e" stroke-width=".8" fill="none"/>`,
	),
	surfboard: svg(
		[["a", "#ffe27a", "#ff9a3d"]],
		`<g transform="rotate(25 16 16)"><path fill="url(#a)" d="M16 0.500c5 6 6.500 12 6 19-.4 6-3 10-6 11.500-3-1.500-5.600-5.500-6-11.500-.5-7 1-13 6-19z"/><path d="M16 1.500v29" stroke="#b5551c" stroke-width=".8"/><path d="M10.200 14.500h11.600l.3 4H9.900z" fill="#27a5b8"/><path d="M16 26l-2.200 4h4.400z" fill="#2b4a63"/></g>`,
	),
	bottle: svg(
		[["a", "#7fd8a0", "#1f7d4c"]],
		`<path fill="url(#a)" d="M13.200 6h5.600v5.500c0 2 3.700 3.500 3.700 7.500v9.500a2.500 2.500 0 0 1-2.500 2.500h-8a2.500 2.500 0 0 1-2.500-2.500V19c0-4 3.700-5.500 3.700-7.500z"/><rect x="12.600" y="1" width="6.800" height="4" rx="1.200" fill="#c9352e"/><rect x="12.800" y="5" width="6.400" height="1.800" rx=".9" fill="#e8eef0"/><rect x="9.500" y="19" width="13" height="7" fill="#fff6dc"/><rect x="11.500" y="21" width="9" height="1.200" fill="#c9352e"/><rect x="11.500" y="23.200" width="6" height="1" fill="#b9a98a"/>`,
	),
	fork: svg(
		[["a", "#eef2f6", "#8d98a6"]],
		`<path fill="url(#a)" d="M9.500 2.500a1 1 0 0 1 2 0v7h2v-7a1 1 0 0 1 2 0v7h1.500v-7a1 1 0 0 1 2 0v7h2v-7a1 1 0 0 1 2 0V11c0 3-1.800 4.800-4.300 5.400L18.500 29a2.200 2.200 0 0 1-4.500 0l-.3-12.600C11.300 15.800 9.500 14 9.500 11z" stroke="#6c7785" stroke-width=".5"/>`,
	),
	"dining table": svg(
		[["a", "#e0a466", "#9a5f2c"]],
		`<path d="M4.500 9h23l3.500 6H1z" fill="url(#a)"/><rect x="1" y="15" width="30" height="3" rx="1" fill="#7d4a1f"/><rect x="3" y="18" width="3" height="12" rx="1" fill="#8a5426"/><rect x="26" y="18" width="3" height="12" rx="1" fill="#8a5426"/><rect x="8.500" y="18" width="2.200" height="8" rx="1" fill="#6b3e18"/><rect x="21.300" y="18" width="2.200" height="8" rx="1" fill="#6b3e18"/><ellipse cx="16" cy="11.800" rx="5.500" ry="1.700" fill="#f7f4ee"/><ellipse cx="16" cy="11.600" rx="3.200" ry=".9" fill="#d9d4c8"/>`,
	),
	"tv remote": svg(
		[["a", "#5b6270", "#22262e"]],
		`<g transform="rotate(20 16 16)"><rect x="10.500" y="1" width="11" height="30" rx="3.500" fill="url(#a)"/><circle cx="13.700" cy="4.600" r="1.400" fill="#f0433a"/><circle cx="16" cy="10.500" r="3.600" fill="#cfd5de"/><circle cx="16" cy="10.500" r="1.600" fill="#4a515d"/><g fill="#cfd5de"><circle cx="13" cy="17" r="1.100"/><circle cx="16" cy="17" r="1.100"/><circle cx="19" cy="17" r="1.100"/><circle cx="13" cy="20.500" r="1.100"/><circle cx="16" cy="20.500" r="1.100"/><circle cx="19" cy="20.500" r="1.100"/><circle cx="13" cy="24" r="1.100"/><circle cx="16" cy="24" r="1.100"/><circle cx="19" cy="24" r="1.100"/></g><rect x="12.300" y="26.800" width="3" height="1.600" rx=".8" fill="#57b86b"/><rect x="16.700" y="26.800" width="3" height="1.600" rx=".8" fill="#4a8bea"/></g>`,
	),
	microwave: svg(
		[
			["a", "#dfe4ea", "#98a3b0"],
			["b", "#5a6675", "#232a33"],
		],
		`<rect x="1" y="7" width="30" height="19" rx="2.500" fill="url(#a)"/><rect x="3.500" y="9.500" width="18" height="14" rx="1.600" fill="url(#b)"/><ellipse cx="12.500" cy="20" rx="6" ry="1.300" fill="#e9a94a" opacity=".8"/><rect x="23.200" y="9.800" width="5.800" height="3" rx=".6" fill="#1e2a22"/><rect x="24" y="10.700" width="4.200" height="1.200" fill="#69e08b"/><g fill="#5b6674"><circle cx="24.500" cy="15.500" r=".9"/><circle cx="27.500" cy="15.500" r=".9"/><circle cx="24.500" cy="18.200" r=".9"/><circle cx="27.500" cy="18.200" r=".9"/></g><rect x="23.500" y="20.600" width="5.200" height="2.600" rx="1" fill="#d64a41"/><rect x="4" y="26" width="4" height="1.600" fill="#59626d"/><rect x="24" y="26" width="4" height="1.600" fill="#59626d"/>`,
	),
	oven: svg(
		[
			["a", "#eef1f4", "#a9b3be"],
			["b", "#6b4b3a", "#2b1a14"],
		],
		`<rect x="3" y="2" width="26" height="28" rx="2.200" fill="url(#a)"/><rect x="3" y="2" width="26" height="6" rx="2.200" fill="#4a5461"/><g fill="#f4f6f8"><circle cx="8" cy="5" r="1.500"/><circle cx="13" cy="5" r="1.500"/><circle cx="19" cy="5" r="1.500"/><circle cx="24" cy="5" r="1.500"/></g><rect x="6.500" y="9.800" width="19" height="1.800" rx=".9" fill="#6a7582"/><rect x="6" y="13" width="20" height="13" rx="1.500" fill="url(#b)"/><path d="M8 20h16M8 23h16" stroke="#a5755a" stroke-width=".8"/><path d="M8.500 24.500c2-4 5-2 7.500-2.500s6-1.500 7.500 2.500z" fill="#f39a38"/>`,
	),
	toaster: svg(
		[
			["a", "#f4f6f8", "#9aa5b1"],
			["b", "#f0c27d", "#c07f35"],
		],
		`<path fill="url(#b)" d="M7 12V6.500C7 4 15 4 15 6.500V12zM17 12V6.500c0-2.500 8-2.500 8 0V12z"/><path fill="url(#a)" d="M2.500 14a4 4 0 0 1 4-4h19a4 4 0 0 1 4 4v11a2.500 2.500 0 0 1-2.500 2.500H5A2.500 2.500 0 0 1 2.500 25z"/><rect x="5.500" y="10.600" width="21" height="1.900" rx=".9" fill="#434c57"/><rect x="28.400" y="15.500" width="3" height="3.200" rx="1" fill="#2e353d"/><circle cx="24" cy="22.500" r="2" fill="#d64a41"/><rect x="5" y="21.800" width="13" height="1.400" rx=".7" fill="#8793a0"/><rect x="5" y="27.500" width="4" height="2" rx=".8" fill="#2e353d"/><rect x="23" y="27.500" width="4" height="2" rx=".8" fill="#2e353d"/>`,
	),
	sink: svg(
		[
			["a", "#ffffff", "#b9cbd8"],
			["b", "#cfd8df", "#7a8894"],
		],
		`<path d="M14.500 14V6.500a4.500 4.500 0 0 1 9 0V9h-2.600V6.500a1.900 1.900 0 0 0-3.800 0V14z" fill="url(#b)"/><rect x="9.500" y="10.500" width="3.400" height="3.500" rx="1" fill="#d64a41"/><rect x="25" y="10.500" width="3.400" height="3.500" rx="1" fill="#3f7fe0"/><path d="M22 10.500c.9 1.600 1.300 2.200 1.300 2.900a1.300 1.300 0 0 1-2.600 0c0-.7.400-1.300 1.300-2.900z" fill="#5ab9f2"/><rect x="1" y="14" width="30" height="3.400" rx="1.500" fill="#e9f1f6"/><path d="M3 17.400h26c0 5.600-4 9.600-9 9.600h-8c-5 0-9-4-9-9.600z" fill="url(#a)"/><path d="M13 27h6l1 4h-8z" fill="#8fa2b0"/>`,
	),
	refrigerator: svg(
		[["a", "#e8f0f5", "#9fb2c1"]],
		`<rect x="7" y="1" width="18" height="29" rx="2.400" fill="url(#a)"/><rect x="7" y="11.500" width="18" height="1.200" fill="#6f8291"/><rect x="21" y="4" width="1.800" height="5" rx=".9" fill="#5d6f7d"/><rect x="21" y="15" width="1.800" height="8" rx=".9" fill="#5d6f7d"/><rect x="9.500" y="4" width="4.500" height="4" rx=".6" fill="#fff2a8"/><circle cx="11.200" cy="17.500" r="1.300" fill="#e5554b"/><circle cx="13.700" cy="19.800" r="1.100" fill="#4a9b5f"/><rect x="8.500" y="29.600" width="3" height="1.700" fill="#515f6b"/><rect x="20.500" y="29.600" width="3" height="1.700" fill="#515f6b"/>`,
	),
	"hair drier": svg(
		[["a", "#ff8fb8", "#d6357c"]],
		`<path fill="url(#a)" d="M13.500 15h7l-2 14a2 2 0 0 1-2 1.700h-2.600a2 2 0 0 1-2-2.300z"/><path fill="url(#a)" d="M9 5.500c2-1 6-1.500 10-1.500a7.500 7.500 0 0 1 0 15c-4 0-8-.5-10-1.500z"/><path d="M3.500 6.500L9 5v13.500l-5.500-1.500z" fill="#4a4a56"/><circle cx="19.500" cy="11.500" r="4.600" fill="#a61f5b"/><circle cx="19.500" cy="11.500" r="2.900" fill="#ffd2e3"/><rect x="14.600" y="20.500" width="2" height="4.500" rx="1" fill="#fff"/>`,
	),
};
