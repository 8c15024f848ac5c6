"""Tests of the recipe's Python: `python3 tests.py`; the smoke run starts with them."""
import gzip
import os
import random
import tempfile
import unittest

import torch

from config import load_config
from export import described, write_release
from exported import read_tensors, read_weights
from files import load_json, load_safetensors, save_json, save_safetensors
from geneval import is_right, read_prompts, relations, scores
from judge import Judge, detect
from muon import orthogonal
from painter import Painter
from scenes import KINDS, VARIETY, plan_scene
from sources import open_source
from text import SPECIAL
from tokenizer import Tokenizer
from train_judge import targets
from train_tokenizer import Teacher
from train_transformer import Pool

HERE = os.path.dirname(os.path.abspath(__file__))
SMOKE = load_config(os.path.join(HERE, "smoke.json"))


def seen(name, x=0.5, y=0.5, size=0.2, color="red"):
    return name, dict(score=1, x=x, y=y, size=size, color=color)


def found(*objects):
    out = {}
    for name, o in objects:
        out.setdefault(name, []).append(o)
    return out


class Rules(unittest.TestCase):
    def test_count_must_be_met_and_not_passed(self):
        prompt = dict(include=[{"class": "cat", "count": 2}], exclude=[{"class": "cat", "count": 3}])
        for cats, right in ((1, False), (2, True), (3, False)):
            self.assertEqual(is_right(found(*[seen("cat")] * cats), prompt), right)

    def test_colour_belongs_to_its_object(self):
        prompt = dict(include=[{"class": "cat", "count": 1, "color": "red"}, {"class": "cup", "count": 1, "color": "blue"}])
        self.assertTrue(is_right(found(seen("cat", color="red"), seen("cup", color="blue")), prompt))
        self.assertFalse(is_right(found(seen("cat", color="blue"), seen("cup", color="red")), prompt))

    def test_position_is_of_the_second_to_the_first(self):
        prompt = dict(include=[{"class": "cat", "count": 1}, {"class": "cup", "count": 1, "position": ["left of", 0]}])
        self.assertTrue(is_right(found(seen("cat", x=0.8), seen("cup", x=0.2)), prompt))
        self.assertFalse(is_right(found(seen("cat", x=0.2), seen("cup", x=0.8)), prompt))
        self.assertFalse(is_right(found(seen("cup", x=0.2)), prompt))

    def test_relations_need_distance(self):
        at = lambda x, y: dict(x=x, y=y, size=0.5)
        self.assertEqual(relations(at(0.5, 0.5), at(0.45, 0.5)), set())
        self.assertEqual(relations(at(0.2, 0.5), at(0.8, 0.5)), {"left of"})
        self.assertEqual(relations(at(0.5, 0.9), at(0.5, 0.1)), {"below"})
        self.assertEqual(relations(at(0.5, 0.5), at(0.5, 0.5)), set())

    def test_overall_is_the_mean_of_categories(self):
        self.assertEqual(scores([("a", True), ("a", True), ("a", True), ("b", False)])["overall"], 0.5)

    def test_prompts_are_spread_over_the_categories(self):
        path = os.path.join(HERE, "..", "..", "infra", "eval", "geneval", "evaluation_metadata.jsonl")
        everything, some = read_prompts(path), read_prompts(path, 10)
        self.assertEqual(len(everything), 553)
        self.assertEqual({p["tag"] for p in some}, set(KINDS))
        self.assertEqual(len(some), 60)
        self.assertTrue(all(everything[p["seed"]]["prompt"] == p["prompt"] for p in some))


class Data(unittest.TestCase):
    def test_picture_k_is_always_the_same(self):
        source = open_source(SMOKE, 5, "cpu")
        images, captions = source.pictures([3, 900])
        again, same = source.pictures([900])
        self.assertEqual(captions[1:], same)
        self.assertTrue(torch.equal(images[1:], again))
        self.assertEqual(images.shape, (2, 3, 32, 32))

    def test_captions_use_known_words_only(self):
        source = open_source(SMOKE, 5, "cpu")
        words, names = set(source.words()), source.bank.names
        for k in range(500):
            made = plan_scene(random.Random(k), names, {kind: 1 for kind in KINDS}, VARIETY["wide"])
            self.assertLessEqual(set(made["caption"].split()), words)

    def test_own_pictures_come_with_their_captions_and_words(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mine")
            save_json(path + ".json", dict(side=2, captions=["A red boat,", "a hut"]))
            with gzip.open(path + ".rgb.gz", "wb") as f:
                f.write(bytes([255, 0, 0] * 4 + [0, 0, 255] * 4))
            source = open_source(dict(side=2, data=dict(pictures=path)), 1, "cpu")
            self.assertEqual(source.words(), SPECIAL + [",", "a", "boat", "hut", "red"])
            images, captions = source.pictures(range(20))
            for image, caption in zip(images, captions):
                self.assertEqual(image[:, 0, 0].tolist(), [1, -1, -1] if "boat" in caption else [-1, -1, 1])
            self.assertEqual(set(captions), {"A red boat,", "a hut"})
            with self.assertRaises(SystemExit):
                open_source(dict(side=4, data=dict(pictures=path)), 1, "cpu")

    def test_a_resumed_pool_holds_what_it_held(self):
        train, source = SMOKE["transformer"]["train"], open_source(SMOKE, 5, "cpu")
        encode = lambda images: images.mean((2, 3), keepdim=True)
        pool = Pool(source, encode, train, 0)
        for step in range(0, 24):
            pool.grow(step)
        resumed = Pool(source, encode, train, 20)
        self.assertEqual(pool.next, resumed.next)
        self.assertEqual(pool.captions, resumed.captions)


class Arithmetic(unittest.TestCase):
    def test_later_scales_correct_flipped_bits(self):
        torch.manual_seed(0)
        tokenizer = Tokenizer(SMOKE["tokenizer"], [(s, s) for s in (1, 2, 4, 4, 4)])
        h = torch.nn.functional.normalize(torch.randn(4, 16, 4, 4), dim=1)
        latent, labels, inputs = tokenizer.quantize(h)
        self.assertEqual([tuple(l.shape[-2:]) for l in labels], [(1, 1), (2, 2), (4, 4), (4, 4), (4, 4)])
        self.assertTrue(torch.equal(latent, sum(torch.nn.functional.interpolate(tokenizer.codes(l), size=(4, 4), mode="bilinear", align_corners=False) for l in labels)))
        flipped = tokenizer.quantize(h, flip=torch.full((4, 1, 1, 1), 0.3))[1]
        self.assertFalse(torch.equal(flipped[-1], labels[-1]))

    def test_muon_makes_singular_values_alike(self):
        torch.manual_seed(0)
        values = torch.linalg.svdvals(orthogonal([torch.randn(24, 48)])[0])
        self.assertGreater(values.min().item(), 0.5)
        self.assertLess(values.max().item(), 1.5)

    def test_sampling_with_a_cache_gives_the_logits_of_teacher_forcing(self):
        torch.manual_seed(0)
        painter = Painter(SMOKE, open_source(SMOKE, 5, "cpu").words()).eval()
        torch.nn.init.normal_(painter.model.head.weight)
        for block in painter.model.blocks():
            torch.nn.init.normal_(block.sa.proj.weight, std=0.1)
        raw, inputs = [], []
        tap = lambda name, value: (raw if name.endswith("logits_pre") else inputs if name.endswith("word_embed_in") else []).append(value)
        painter.latents(["a photo of a red car"], [1], 3.0, 1.0, tap)
        with torch.no_grad():
            text = painter.condition(["a photo of a red car"], torch.tensor([False]))
            forced = painter.model(text, torch.cat(inputs, 1), 4)
        self.assertLess((torch.cat([r[:1] for r in raw], 1) - forced).abs().max().item(), 1e-4)

    def test_a_picture_does_not_depend_on_its_neighbours(self):
        painter = Painter(SMOKE, open_source(SMOKE, 5, "cpu").words()).eval()
        together, alone = painter.paint(["a cat", "a red car"], [4, 5]), painter.paint(["a red car"], [5])
        self.assertLess((together[1:] - alone).abs().max().item(), 1e-4)

    def test_judge_reads_its_own_targets(self):
        names = ["cat", "cup"]
        heat, color, size = targets([dict(objects=[dict(name=1, color=2, x=0.3, y=0.7, size=0.4)])], 2)
        judge = Judge(names, ["red", "orange", "yellow"], 1)
        one_hot = torch.nn.functional.one_hot(color.clamp(min=0), 4).permute(0, 3, 1, 2).float()
        judge.forward = lambda images: (torch.where(heat == 1, 5.0, -5.0), one_hot, size)
        (read,) = detect(judge, torch.zeros(1, 3, 128, 128), 0.3)
        self.assertEqual(list(read), ["cup"])
        self.assertEqual(read["cup"][0]["color"], "yellow")
        self.assertAlmostEqual(read["cup"][0]["x"], 0.3, delta=0.03)
        self.assertAlmostEqual(read["cup"][0]["size"], 0.4, places=5)


class Configs(unittest.TestCase):
    def test_every_model_of_a_config_paints_what_its_description_says(self):
        for name in ("emoji-128", "emoji-128-more", "emoji-256", "emoji-256-gpu"):
            config = load_config(os.path.join(HERE, name + ".json"))
            painter = Painter(config, SPECIAL + ["a", "cat"]).eval()
            seen = described(config, painter.words.words, {})
            self.assertEqual(seen["image_size"], [config["side"]] * 2)
            with torch.no_grad():
                image = painter.tokenizer.decoder(torch.zeros(1, seen["vae"]["codebook_dim"], *seen["vae"]["scale_schedule"][-1]))
                self.assertEqual(image.shape, (1, 3, config["side"], config["side"]))
                few = painter.model(painter.condition(["a cat"], torch.tensor([False])), torch.zeros(1, 4, painter.model.bits), 2)
            self.assertEqual(few.shape, (1, 5, 2 * painter.model.bits))


class WarmStarts(unittest.TestCase):
    def test_new_scales_begin_as_the_last_known_one(self):
        config = dict(SMOKE, scales=SMOKE["scales"] + [6, 8])
        with tempfile.TemporaryDirectory() as folder:
            small = Painter(SMOKE, open_source(SMOKE, 5, "cpu").words())
            write_release(SMOKE, small, folder, {})
            large = Painter(config, small.words.words)
            read_weights(large, folder)
        old, new = small.model.lvl_embed.weight.half().float(), large.model.lvl_embed.weight
        self.assertTrue(torch.equal(new[:4], old[:4]))
        self.assertTrue(torch.equal(new[4:6], old[3:4].expand(2, -1)))

    def test_a_teacher_s_own_latents_are_at_no_distance(self):
        config = load_config(os.path.join(HERE, "emoji-256.json"))
        teacher = Teacher(config["tokenizer"]["teacher"], "cpu")
        tokenizer = Tokenizer(config["tokenizer"], [(32, 32)])
        teacher.start(tokenizer)
        flat = torch.full((1, 3, 256, 256), 0.3)
        with torch.no_grad():
            h = teacher.tokenizer.encoder(torch.nn.functional.avg_pool2d(flat, 2)).float()
            same = teacher.distance(torch.nn.functional.interpolate(h, scale_factor=2.0), flat)
            other = teacher.distance(torch.nn.functional.interpolate(h + 1, scale_factor=2.0), flat)
        self.assertLess(same.item(), 0.01)
        self.assertGreater(other.item(), 0.5)
        self.assertTrue(all(torch.equal(a, b) for a, b in zip(tokenizer.state_dict().values(), teacher.tokenizer.state_dict().values())))


class Files(unittest.TestCase):
    def test_safetensors_come_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path, tensors = os.path.join(folder, "a"), {"b": torch.randn(2, 3).half(), "a": torch.arange(5)}
            save_safetensors(path, tensors)
            again = load_safetensors(path)
            self.assertTrue(all(torch.equal(again[name], tensors[name]) for name in tensors))

    def test_extends_keeps_what_is_not_said_and_paths_are_relative(self):
        with tempfile.TemporaryDirectory() as folder:
            save_json(os.path.join(folder, "a.json"), dict(name="a", data=dict(sprites="s/x"), tokenizer=dict(bits=3, base=2)))
            save_json(os.path.join(folder, "b.json"), dict(extends="a.json", name="b", tokenizer=dict(bits=4)))
            config = load_config(os.path.join(folder, "b.json"))
            self.assertEqual(config, dict(name="b", data=dict(sprites=os.path.join(folder, "s/x")), tokenizer=dict(bits=4, base=2)))

    def test_a_model_folder_is_read_like_its_manifest_says(self):
        folder = os.path.join(HERE, "..", "models", "emoji-128")
        state = read_tensors(folder)
        entries = load_json(os.path.join(folder, "manifest.json"))["tensors"]
        self.assertEqual(len(state), len(entries))
        self.assertEqual(state["model.pos_start"].shape, (1, 1, 192))
        self.assertTrue(all(torch.isfinite(t).all() for t in state.values()))


if __name__ == "__main__":
    unittest.main()
