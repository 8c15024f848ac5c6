/** The paper: each picture is laid under the one before, which fades away. */

export class Paper {
	/** The picture that lies there now. */
	image: HTMLImageElement;
	/** Pictures are shown in the order they came, however long each takes to decode. */
	#turn: Promise<void> = Promise.resolve();
	#epoch = 0;

	/** `image`: the empty one, whose place and name every picture takes. */
	constructor(image: HTMLImageElement) {
		this.image = image;
	}

	clear(subject: string): void {
		this.#epoch++;
		const empty = this.#like(new Image());
		empty.hidden = true;
		empty.alt = subject;
		for (const leaving of this.image.parentElement?.querySelectorAll(".leaving") ?? []) leaving.remove();
		this.image.replaceWith(empty);
		revoke(this.image);
		this.image = empty;
	}

	/** Resolves once it is on the screen, or the paper was cleared. `scale`: its index, or `final`. */
	show(blob: Blob, scale: string, fade = true): Promise<void> {
		const epoch = this.#epoch;
		const next = new Image();
		next.src = URL.createObjectURL(blob);
		const decoded = next.decode();
		this.#turn = this.#turn
			.then(() => decoded)
			.then(
				() => {
					if (epoch !== this.#epoch) return revoke(next);
					const before = this.image;
					this.#like(next);
					next.dataset.scale = scale;
					// What was decoded is what is shown: the element itself takes the place.
					before.before(next);
					this.image = next;
					if (fade && before.src) leave(before);
					else {
						before.remove();
						revoke(before);
					}
				},
				() => revoke(next),
			);
		return this.#turn;
	}

	#like(next: HTMLImageElement): HTMLImageElement {
		next.id = this.image.id;
		next.alt = this.image.alt;
		next.draggable = false;
		return next;
	}
}

function leave(image: HTMLImageElement): void {
	image.removeAttribute("id");
	image.alt = "";
	image.className = "leaving";
	const gone = () => {
		image.remove();
		revoke(image);
	};
	image.addEventListener("animationend", gone);
	setTimeout(gone, 1000);
}

function revoke(image: HTMLImageElement): void {
	if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
}
