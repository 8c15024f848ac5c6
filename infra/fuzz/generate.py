"""
Makes reference sets of random small models: by this second implementation, in f64, with PyTorch (Debian's python3-torch).

    python3 infra/fuzz/generate.py --kind var --seed 7 --count 3 --out DIR
"""

import argparse
import os

import torch

import draws
import hart
import infinity
import record
import star
import var
from weights import Weights

FAMILIES = {
    "var": (var, draws.draw_var, 1e-3),
    "star": (star, draws.draw_star, 1e-3),
    "hart": (hart, draws.draw_hart, 1e-3),
    "infinity": (infinity, draws.draw_infinity, 2e-4),
}
# A seed's numbers are drawn again where the engine's f32 might decide otherwise.
TRIES = 40


def generate(kind: str, seed: int, out: str, few: bool) -> None:
    family, draw, least = FAMILIES[kind]
    config, vae_config, run = draw(draws.Draw(seed))
    for attempt in range(TRIES):
        own = (seed * TRIES + attempt) & 0xFFFFFFFF
        w, vae = Weights(own, "weights.safetensors"), Weights(own ^ 0x5EED, "vae.safetensors")
        recording = family.record(config, vae_config, run, w, vae)
        if recording.least > least:
            break
    else:
        raise SystemExit(f"{kind} {seed}: no decision in {TRIES} tries was clear enough.")
    if few:
        keep_few(recording, len(run["scale_schedule"]) - 1)
    drawn = [{**entry, "seed": source.seed} for source in (w, vae) for entry in source.list]
    name = f"{kind}-{seed}"
    record.save_set(os.path.join(out, name), family.KIND, config, vae_config, run, recording, drawn)
    print(name, flush=True)


def keep_few(recording: record.Recording, last: int) -> None:
    """What a wrong step anywhere still shows in, small enough to keep in a repository."""
    small = 6000
    recording.only(
        lambda name, values: values.size <= small
        and (
            name.startswith((f"s{last}.logits_post", "s1.logits_pre", "image", "diff.out", "dec.", "cond", "context."))
            or name in (f"s{last}.f_hat", "s1.f_hat", "s1.blk0.out", "summed_codes_final", "s1.summed_codes", "f_hat_final")
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=[*FAMILIES, "all"], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--few", action="store_true", help="record little, as the sets in the repository")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    for seed in range(args.seed, args.seed + args.count):
        for kind in FAMILIES if args.kind == "all" else [args.kind]:
            generate(kind, seed, args.out, args.few)


if __name__ == "__main__":
    main()
