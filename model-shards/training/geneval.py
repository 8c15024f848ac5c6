"""GenEval's rules (Ghosh, Hajishirzi, Schmidt 2023, arXiv 2310.11513): is a picture what its prompt asks for?

Detections are {name: [dict(score, x, y, size, color)]}, best first, as judge.detect gives them.
"""
import json

POSITION_SLACK = 0.1
# A count must not be reached by doubtful detections, so it is read at a higher threshold (GenEval: 0.9 beside 0.3 for its detector).
THRESHOLD, COUNTING_THRESHOLD = 0.3, 0.5


def read_prompts(path, each=0):
    """The prompts of GenEval's metadata file, or `each` of every category, evenly spaced."""
    with open(path) as f:
        prompts = [json.loads(line) for line in f]
    for seed, prompt in enumerate(prompts):
        prompt["seed"] = seed
    if not each:
        return prompts
    chosen = []
    for tag in dict.fromkeys(p["tag"] for p in prompts):
        of_tag = [p for p in prompts if p["tag"] == tag]
        count = min(each, len(of_tag))
        chosen += [of_tag[i * len(of_tag) // count] for i in range(count)]
    return chosen


def relations(a, b):
    """Where a is, seen from b."""
    dx, dy = a["x"] - b["x"], a["y"] - b["y"]
    distance = (dx * dx + dy * dy) ** 0.5
    if distance == 0:
        return set()
    slack = POSITION_SLACK * (a["size"] + b["size"])
    right, down = ((max(abs(d) - slack, 0) / distance) * (1 if d > 0 else -1) for d in (dx, dy))
    found = {"left of": right < -0.5, "right of": right > 0.5, "above": down < -0.5, "below": down > 0.5}
    return {name for name, true in found.items() if true}


def is_right(found, prompt):
    groups, right = [], True
    for wanted in prompt.get("include", []):
        group = found.get(wanted["class"], [])[: wanted["count"]]
        good = len(group) >= wanted["count"]
        if good and "color" in wanted:
            good = all(o["color"] == wanted["color"] for o in group)
        if good and "position" in wanted:
            relation, target = wanted["position"]
            good = groups[target] is not None and all(relation in relations(o, other) for o in group for other in groups[target])
        groups.append(group if good else None)
        right = right and good
    return right and all(len(found.get(other["class"], [])) < other["count"] for other in prompt.get("exclude", []))


def scores(results):
    """[(tag, right)] -> share of every category, and `overall`, the mean of the categories."""
    tags = list(dict.fromkeys(tag for tag, _ in results))
    share = {tag: sum(right for t, right in results if t == tag) / sum(t == tag for t, _ in results) for tag in tags}
    return dict(share, overall=sum(share.values()) / len(share))
