"""Captioned scenes in the GenEval vocabulary: what stands where, in which colour, and the sentence that says so.

A scene is dict(caption, kind, objects, background); an object dict(name, color, x, y, size, turn, mirror) with the index of
its sprite and of its colour, and x, y, size as fractions of the picture's side.
"""
import colorsys

from sprites import COLOR_NAMES, OWN

KINDS = ["single_object", "colors", "two_object", "counting", "position", "color_attr"]
NUMBERS = {2: "two", 3: "three", 4: "four"}
RELATIONS = ["left of", "right of", "above", "below"]
# natural plurals where GenEval's own rule (append s, or es after s) is not English
ENGLISH_PLURALS = {"skis": "skis", "scissors": "scissors", "bench": "benches", "couch": "couches", "knife": "knives", "sandwich": "sandwiches",
                   "person": "people", "sheep": "sheep", "toothbrush": "toothbrushes", "computer mouse": "computer mice"}
NEAR, FAR = 34 / 128, 94 / 128
SIDE_BY_SIDE, STACKED = [(NEAR, 0.5), (FAR, 0.5)], [(0.5, NEAR), (0.5, FAR)]
# layouts of n equal objects, the usual one first, and their size
LAYOUTS = {
    1: ([[(0.5, 63 / 128)]], 0.70),
    2: ([SIDE_BY_SIDE, STACKED], 0.45),
    3: ([[(0.5, NEAR), (NEAR, 92 / 128), (FAR, 92 / 128)], [(NEAR, NEAR), (FAR, NEAR), (0.5, 92 / 128)]], 0.41),
    4: ([[(NEAR, NEAR), (FAR, NEAR), (NEAR, FAR), (FAR, FAR)]], 0.40),
}
# calm: one layout per sentence and little movement. The bits of a scale are sampled independently of each other, so a mixture of
# layouts behind one sentence comes out as a blend of them; a short training cannot afford it. wide: for the judge.
VARIETY = {
    "calm": dict(shift=0.4, spread=0.03, turn=0.02, mirror=0.0, layouts=False),
    "wide": dict(shift=1.0, spread=0.07, turn=0.045, mirror=0.25, layouts=True),
}


def with_article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def plural(noun):
    return noun + ("es" if noun[-1] == "s" else "s")


def place(rng, name, color, spot, size, variety):
    shift = variety["shift"] * (0.047 if size > 0.6 else 0.024)
    return dict(name=name, color=color, x=spot[0] + rng.uniform(-shift, shift), y=spot[1] + rng.uniform(-shift, shift),
                size=size * rng.uniform(1 - variety["spread"], 1 + variety["spread"]), turn=rng.gauss(0, variety["turn"]),
                mirror=rng.random() < variety["mirror"])


def background(rng, saturation=(0.05, 0.22), value=(0.92, 1.0)):
    """Colours at the top and at the bottom, in [0, 1]."""
    hue, s, v = rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    return colorsys.hsv_to_rgb(hue, s, v), colorsys.hsv_to_rgb(hue, s * 0.9, v * rng.uniform(0.88, 0.97))


def scene(rng, objects, spots, size, variety, caption="", kind=""):
    """objects: [(name, color)], one for each spot."""
    placed = [place(rng, name, color, spot, size, variety) for (name, color), spot in zip(objects, spots)]
    return dict(caption=caption, kind=kind, objects=placed, background=background(rng))


def arrangement(rng, count, variety):
    layouts, size = LAYOUTS[count]
    return (rng.choice(layouts) if variety["layouts"] else layouts[0]), size


def relation_spots(relation):
    """Spots of A and B in "A <relation> B"."""
    spots = SIDE_BY_SIDE if relation in ("left of", "right of") else STACKED
    return spots if relation in ("left of", "above") else spots[::-1]


def plan_scene(rng, names, kinds, variety):
    """kinds: weight of every kind."""
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    pick = rng.randrange
    if kind == "single_object":
        objects, phrase = [(pick(len(names)), OWN)], "{0}"
    elif kind == "colors":
        objects, phrase = [(pick(1, len(names)), pick(len(COLOR_NAMES)))], "{0}"            # no coloured persons, as in GenEval
    elif kind == "counting":
        count = rng.choice(list(NUMBERS))
        objects = [(pick(len(names)), OWN)] * count
        name = names[objects[0][0]]
        many = ENGLISH_PLURALS[name] if name in ENGLISH_PLURALS and rng.random() < 0.5 else plural(name)
        phrase = f"{NUMBERS[count]} {many}"
    else:
        first = 1 if kind == "color_attr" else 0
        colors = rng.sample(range(len(COLOR_NAMES)), 2) if kind == "color_attr" else [OWN, OWN]
        objects, phrase = list(zip(rng.sample(range(first, len(names)), 2), colors)), "{0} and {1}"
    spots, size = arrangement(rng, len(objects), variety)
    if kind in ("two_object", "color_attr") and variety["layouts"] and rng.random() < 0.5:
        spots = spots[::-1]
    if kind == "position":
        relation = rng.choice(RELATIONS)
        spots = relation_spots(relation)
        phrase = "{0} " + ("to the " if relation in RELATIONS[:2] and rng.random() < 0.2 else "") + relation + " {1}"
    described = [with_article((COLOR_NAMES[color] + " " if color != OWN else "") + names[name]) for name, color in objects]
    phrase = phrase.format(*described)
    caption = phrase if rng.random() < 0.15 else "a photo of " + phrase
    return scene(rng, objects, spots, size, variety, caption, kind)


def scene_words(names):
    """Every word that a caption can hold."""
    words = {"a", "an", "photo", "of", "and", "left", "right", "above", "below", "to", "the", "one", *COLOR_NAMES, *NUMBERS.values()}
    for name in names:
        for form in (name, plural(name), ENGLISH_PLURALS.get(name, name)):
            words |= set(form.split())
    return sorted(words)
