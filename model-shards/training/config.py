"""Configs: one JSON file a model. `extends` names another config whose settings hold where this one has none; paths are relative to the
file that names them."""
import os

from files import load_json

PATHS = [("encoder",), ("sprites",), ("data", "sprites"), ("data", "pictures"), ("tokenizer", "teacher", "config"), ("tokenizer", "teacher", "model")]


def merged(base, over):
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}


def load_config(path):
    config, folder = load_json(path), os.path.dirname(os.path.abspath(path))
    for *way, last in PATHS:
        part = config
        for key in way:
            part = part.get(key, {})
        if last in part:
            part[last] = os.path.join(folder, part[last])
    base = config.pop("extends", "")
    return merged(load_config(os.path.join(folder, base)), config) if base else config
