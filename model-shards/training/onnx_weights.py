"""Convolutions of an ONNX file, in the order they run: the judge is kept as ONNX alone, with its batch norms folded in by the export."""
import numpy as np


def convolutions(path):
    """[(weight, bias)] of every Conv node."""
    with open(path, "rb") as file:
        model = fields(memoryview(file.read()))
    graph = fields(model[7][0])
    initial = {}
    for tensor in map(fields, graph[5]):
        dims = [d for packed in tensor[1] for d in (varints(packed) if isinstance(packed, memoryview) else [packed])]
        initial[bytes(tensor[8][0]).decode()] = np.frombuffer(tensor[9][0], np.float32).reshape(dims)
    nodes = [node for node in map(fields, graph[1]) if bytes(node[4][0]) == b"Conv"]
    return [tuple(initial[bytes(name).decode()] for name in node[1][1:3]) for node in nodes]


def fields(message):
    """Protocol buffer message -> {field: [values]}: memoryviews, or whole numbers."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(key & 7) or varint(message, at)
            value, at = message[at:at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def varints(packed):
    at = 0
    while at < len(packed):
        value, at = varint(packed, at)
        yield value


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
