/** Whose the first scales of a picture are, where it began with those of another. */

/** First scales, so many: the last of them of this seed, and those of `before`, which are fewer, in front of them. */
export interface Trunk<Seed> {
	seed: Seed;
	scales: number;
	before?: Trunk<Seed>;
}

/** So many first scales of a picture, for another one to begin with. */
export function trunkOf<Seed>({ seed, trunk }: { seed: Seed; trunk?: Trunk<Seed> }, scales: number): Trunk<Seed> {
	if (!trunk) return { seed, scales };
	return trunk.scales >= scales
		? trunkOf({ seed: trunk.seed, trunk: trunk.before }, scales)
		: { seed, scales, before: trunk };
}

/** What a picture of seed `own` says of first scales that it begins with; nothing where they are its own. */
export function trunkFor<Seed>(first: Trunk<Seed>, own: Seed): Trunk<Seed> | undefined {
	return first.seed === own ? first.before : first;
}
