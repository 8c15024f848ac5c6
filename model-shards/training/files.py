"""Files without libraries: safetensors, PNG sheets, checkpoints that are never half written."""
import json
import os
import struct
import zlib

import numpy as np
import torch

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}
TORCH = {name: dtype for dtype, name in DTYPES.items()}


def save_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        raw = tensor.numpy().tobytes()
        header[name] = dict(dtype=DTYPES[tensor.dtype], shape=list(tensor.shape), data_offsets=[offset, offset + len(raw)])
        offset += len(raw)
        blobs.append(raw)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        f.writelines(blobs)


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def load_safetensors(path):
    data = read_bytes(path)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    out = {}
    for name, info in header.items():
        low, high = info["data_offsets"]
        dtype = TORCH[info["dtype"]]
        raw = bytearray(data[8 + length + low : 8 + length + high])
        out[name] = (torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)).view(info["shape"])
    return out


def save_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent="\t")
        f.write("\n")


def load_json(path):
    with open(path) as f:
        return json.load(f)


def save_checkpoint(path, state):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def write_png(path, image):
    """image: uint8, height x width x 3."""
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, width * 3)], 1).tobytes()

    def chunk(tag, body):
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def write_picture(path, image):
    """image in [-1, 1], 3 x H x W."""
    write_sheet(path, image[None], 1, gap=0)


def write_sheet(path, images, columns, gap=4):
    """images in [-1, 1], B x 3 x H x W, row by row on a white sheet."""
    images = ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=torch.uint8)
    for i in range(count):
        y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = images[i].permute(1, 2, 0)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    write_png(path, sheet.numpy())
