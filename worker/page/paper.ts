/** The paper: each picture is laid over the one before, which fades away. */
import { el } from "./dom.ts";

export class Paper {
	readonly image: HTMLImageElement;
	/** Pictures are shown in the order they came, however long each takes to decode. */
	#turn: Promise<void> = Promise.resolve();
	#epoch = 0;

	constructor(image: HTMLImageElement) {
		this.image = image;
	}

	clear(subject: string): void {
		this.#epoch++;
		this.image.hidden = true;
		this.#revoke();
		this.image.removeAttribute("src");
		delete this.image.dataset.scale;
		this.image.alt = subject;
	}

	/** Resolves once it is on the screen, or the paper was cleared. `scale`: its index, or `final`. */
	show(blob: Blob, scale: string, fade = true): Promise<void> {
		const epoch = this.#epoch;
		const url = URL.createObjectURL(blob);
		const next = new Image();
		next.src = url;
		const decoded = next.decode();
		this.#turn = this.#turn
			.then(() => decoded)
			.then(
				() => {
					if (epoch !== this.#epoch) return URL.revokeObjectURL(url);
					if (fade && this.image.src) this.#leave();
					else this.#revoke();
					this.image.src = url;
					this.image.hidden = false;
					this.image.dataset.scale = scale;
				},
				() => URL.revokeObjectURL(url),
			);
		return this.#turn;
	}

	#leave(): void {
		const before = el("img", { src: this.image.src, alt: "", class: "leaving" });
		const { src } = before;
		const gone = () => {
			before.remove();
			URL.revokeObjectURL(src);
		};
		before.addEventListener("animationend", gone);
		setTimeout(gone, 1000);
		this.image.after(before);
	}

	#revoke(): void {
		if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
	}
}
