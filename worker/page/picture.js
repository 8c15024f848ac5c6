// @ts-check

/** The print: each picture is laid over the one before, which fades away. */
export class Picture {
	/** @param {HTMLImageElement} image */
	constructor(image) {
		this.image = image;
	}

	/** @param {string} prompt */
	clear(prompt) {
		this.image.hidden = true;
		this.image.removeAttribute("src");
		delete this.image.dataset.scale;
		this.image.alt = prompt;
	}

	/**
	 * Resolves once it is on the screen.
	 * @param {string} base64 @param {string} mime @param {string} scale index of the scale, or `final`
	 * @returns {Promise<Blob>}
	 */
	async show(base64, mime, scale) {
		const blob = new Blob([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], { type: mime });
		const url = URL.createObjectURL(blob);
		const next = new Image();
		next.src = url;
		await next.decode();
		if (this.image.src) {
			const before = /** @type {HTMLImageElement} */ (this.image.cloneNode());
			before.removeAttribute("id");
			before.alt = "";
			before.className = "leaving";
			before.addEventListener("animationend", () => before.remove());
			this.image.after(before);
			URL.revokeObjectURL(this.image.src);
		}
		this.image.src = url;
		this.image.hidden = false;
		this.image.dataset.scale = scale;
		return blob;
	}
}
