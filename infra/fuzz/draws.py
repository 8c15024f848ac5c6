"""Random configurations within what the official classes take, by their own arguments, small enough to compute here."""

import numpy as np
import torch

# Of the official aspect ratios: the first grids, and the last one of a megapixel.
ASPECTS = {
    1.0: ([(1, 1), (2, 2), (4, 4), (6, 6), (8, 8)], (64, 64)),
    2.0: ([(1, 1), (2, 1), (4, 2), (6, 3), (10, 5)], (90, 45)),
    1.5: ([(1, 1), (2, 2), (3, 2), (6, 4), (9, 6)], (78, 52)),
    0.5: ([(1, 1), (1, 2), (2, 4), (3, 6), (5, 10)], (45, 90)),
}


class Draw:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def whole(self, low: int, high: int) -> int:
        """Both included."""
        return int(self.rng.integers(low, high + 1))

    def of(self, *values):
        return values[self.whole(0, len(values) - 1)]

    def flag(self) -> bool:
        return self.of(False, True)

    def real(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    def normal(self, *shape: int) -> torch.Tensor:
        """As exact in f32 as here."""
        return torch.from_numpy(self.rng.standard_normal(shape).astype(np.float32).astype(np.float64))

    def mask(self, tokens: int) -> torch.Tensor:
        """Padded on one side."""
        kept = torch.zeros(1, tokens, dtype=torch.int64)
        count = self.whole(1, tokens)
        kept[:, :count] = 1
        return kept.flip(1) if self.flag() else kept


def sides(d: Draw, most: int, from_one: bool) -> list[int]:
    count = d.whole(3, 5)
    first = 1 if from_one or d.whole(0, 3) else 2
    later = sorted(int(side) for side in d.rng.choice(np.arange(first + 1, most + 1), count - 1, replace=False))
    return [first, *later]


def shape(d: Draw, head_sizes: tuple[int, ...]) -> dict:
    heads = d.whole(1, 4)
    return {"depth": d.whole(1, 3), "embed_dim": heads * d.of(*head_sizes), "num_heads": heads}


def vq(d: Draw, patch_nums: list[int], quads: bool) -> dict:
    levels = d.whole(1, 3)
    return {
        "V": d.whole(5, 300),
        "Cvae": 4 * d.whole(1, 6) if quads else d.whole(3, 24),
        "ch": 32,
        "dec_ch_mult": [d.whole(1, 2) for _ in range(levels)],
        "num_res_blocks": d.whole(1, 2),
        "share_quant_resi": d.of(0, 1, 2, 3, 4, 5),
        "default_qresi_counts": d.of(0, 0, 3),
        "quant_resi": d.of(0.5, 0.5, -0.3, 0.8, 0.0),
        "quant_conv_ks": d.of(3, 3, 1),
        "using_znorm": d.flag(),
        "v_patch_nums": patch_nums,
    }


def schedule(patch_nums: list[int]) -> list[list[int]]:
    return [[1, side, side] for side in patch_nums]


def latent(d: Draw, v: dict, patch_nums: list[int]) -> torch.Tensor:
    side = patch_nums[-1]
    return d.normal(1, v["Cvae"], d.whole(2, side), d.whole(1, side))


def draw_var(d: Draw) -> tuple[dict, dict, dict]:
    patch_nums = sides(d, 7, False)
    config = {
        **shape(d, (4, 8, 12, 16, 20, 32)),
        "num_classes": d.whole(1, 9),
        "mlp_ratio": d.real(0.5, 4.5),
        "norm_eps": d.of(1e-6, 1e-6, 1e-5, 1e-3),
        "shared_aln": d.flag(),
        "attn_l2_norm": d.flag(),
        "cond_drop_rate": 0.1,
        "patch_nums": patch_nums,
    }
    v = vq(d, patch_nums, False)
    labels = [d.whole(0, config["num_classes"]) for _ in range(d.whole(1, 2))]
    labels = [min(label, config["num_classes"] - 1) for label in labels]
    run = {"cfg": d.real(0.5, 5), "scale_schedule": schedule(patch_nums), "labels": labels}
    return config, v, {**run, "latent": latent(d, v, patch_nums)}


def draw_star(d: Draw) -> tuple[dict, dict, dict]:
    patch_nums = sides(d, 7, False)
    config = {
        **shape(d, (4, 8, 12, 16, 20, 32)),
        "num_classes": d.whole(1, 4),
        "mlp_ratio": d.real(0.5, 4.5),
        "norm_eps": d.of(1e-6, 1e-6, 1e-5, 1e-3),
        "in_dim_cross": 4 * d.whole(2, 16),
        "patch_nums": patch_nums,
        "rope_theta": d.of(100.0, 10000.0, d.real(2, 500)),
        "rope_norm": d.of(32, 64.0, d.real(1, 100), -1),
        "shared_aln": False,
        "attn_l2_norm": d.of(True, True, False),
        "enable_cross": d.of(True, True, True, False),
        "rotary_pos_emb": True,
        "absolute_lvl_emb": True,
        "enable_logit_norm": d.of(True, True, False),
        "enable_adaptive_norm": False,
    }
    tokens = d.whole(1, 12)
    draws = {
        "text.feats": d.normal(2, tokens, config["in_dim_cross"]),
        "text.mask": torch.cat([d.mask(tokens), d.mask(tokens)]),
        "text.pool": d.normal(2, config["in_dim_cross"]),
    }
    run = {"cfg": d.real(0.5, 5), "scale_schedule": schedule(patch_nums), "draws": draws}
    return config, vq(d, patch_nums, False), run


def draw_hart(d: Draw) -> tuple[dict, dict, dict]:
    patch_nums = sides(d, 6, True)
    config = {
        **shape(d, (8, 16, 24, 32)),
        "context_token": d.whole(2, 10),
        "context_dim": 4 * d.whole(2, 16),
        "mlp_ratio": d.real(1, 4.5),
        "norm_eps": d.of(1e-6, 1e-6, 1e-5, 1e-3),
        "patch_nums": patch_nums,
        "attn_l2_norm": d.flag(),
        "attn_type": "llama",
        "mlp_type": d.of("llama", "gpt2"),
        "disable_aln": d.flag(),
        "shared_aln": d.flag(),
        "sep_aln_pooling_mode": d.of("max", "avg"),
        "use_timestep_embed": d.flag(),
        "use_context_norm": d.flag(),
        "use_cross_attn": False,
        "diff_width": 4 * d.whole(3, 16),
        "diff_depth": d.whole(1, 3),
        "num_sampling_steps": str(d.whole(2, 10)),
        "sampler": "iddpm",
    }
    v = vq(d, patch_nums, True)
    tokens, n = config["context_token"], patch_nums[-1] ** 2
    draws = {
        "context": d.normal(1, tokens, config["context_dim"]),
        "context.mask": d.mask(tokens),
        "diff.noise_init": d.normal(n, v["Cvae"]),
    }
    for k in range(int(config["num_sampling_steps"])):
        draws[f"diff.step{k}.noise"] = d.normal(2 * n, v["Cvae"])
    return config, v, {"cfg": d.real(0.5, 5), "scale_schedule": schedule(patch_nums), "draws": draws}


def draw_infinity(d: Draw) -> tuple[dict, dict, dict]:
    own = shape(d, (8, 16, 24, 32))
    own["depth"] = d.of(2, 3, 4)
    aspect = d.of(*ASPECTS)
    grids, reach = ASPECTS[aspect]
    patch = d.flag()
    config = {
        **own,
        "block_chunks": d.of(*(n for n in (1, 2, 3, 4) if own["depth"] % n == 0)),
        "text_channels": 128 * (2 if own["embed_dim"] % 2 == 0 and d.flag() else 1),
        "text_maxlen": d.whole(8, 20),
        # The official width is a multiple of 256 next to this.
        "mlp_ratio": max(d.real(2, 5), 1 + 128 // own["embed_dim"]),
        "norm_eps": d.of(1e-6, 1e-6, 1e-5, 1e-3),
        "rms_norm": d.of(False, False, True),
        "shared_aln": d.of(True, True, False),
        "head_aln": d.of(True, True, False),
        "head_depth": d.of(1, 1, 2),
        "cos_attn": d.of(True, True, False),
        "tau": d.of(1, d.real(0.5, 2)),
        "swiglu": d.of(False, False, True),
        "cross_attn_layer_scale": d.of(-1.0, -1.0, 0.1),
        "add_lvl_embeding_only_first_block": d.of(1, 1, 0),
        "use_bit_label": 1,
        "rope2d_each_sa_layer": 1,
        "rope2d_normalized_by_hw": d.of(2, 2, 1, 0),
        "apply_spatial_patchify": int(patch),
    }
    # Groups of 32 channels and of 24.
    base = d.of(32, 48, 24)
    v = {
        "codebook_dim": d.whole(3, 20),
        "base_ch": base,
        "num_res_blocks": d.whole(1, 2),
        "decoder_ch_mult": [d.of(1, 2, 4) if base != 32 else d.whole(1, 2) for _ in range(d.whole(1, 3))],
    }
    tokens = d.whole(1, config["text_maxlen"])
    run = {
        "cfg": d.real(1.5, 5),
        "tau": d.real(0.3, 1.5),
        "scale_schedule": [[1, h, w] for h, w in grids[: d.whole(3, 4 if patch else 5)]],
        "h_div_w_template": aspect,
        "reach": reach,
        "draws": {"text.feats": d.normal(tokens, config["text_channels"])},
    }
    return config, v, run
