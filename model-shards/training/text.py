"""Captions: a whole-word tokenizer and the small text encoder that takes the place of T5."""
import re

import torch
import torch.nn as nn
import torch.nn.functional as F

PAD, UNKNOWN, END = 0, 1, 2
SPECIAL = ["<pad>", "<unk>", "</s>"]


def pieces(text):
    """Words and runs of punctuation, lower-cased: what tokenizer.json's Whitespace pre-tokenizer does."""
    return re.findall(r"\w+|[^\w\s]+", text.lower())


class Words:
    """words: the special ones first. A caption's ids end with </s>."""

    def __init__(self, words, max_tokens):
        self.words, self.max_tokens = words, max_tokens
        self.index = {word: i for i, word in enumerate(words)}

    def ids(self, text):
        return [self.index.get(piece, UNKNOWN) for piece in pieces(text)][: self.max_tokens - 1] + [END]

    def batch(self, texts):
        """-> ids B x T padded with 0, lengths B."""
        rows = [torch.tensor(self.ids(text)) for text in texts]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD), torch.tensor([len(row) for row in rows])

    def json(self):
        """The same in the format of Hugging Face's tokenizer.json."""
        special = [dict(id=i, content=word, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i, word in enumerate(SPECIAL)]
        end, first, second = dict(SpecialToken=dict(id="</s>", type_id=0)), dict(Sequence=dict(id="A", type_id=0)), dict(Sequence=dict(id="B", type_id=0))
        post = dict(type="TemplateProcessing", single=[first, end], pair=[first, end, second, end], special_tokens={"</s>": dict(id="</s>", ids=[END], tokens=["</s>"])})
        return dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=dict(type="Lowercase"), pre_tokenizer=dict(type="Whitespace"),
                    post_processor=post, decoder=None, model=dict(type="WordLevel", vocab=self.index, unk_token="<unk>"))


def padding(lengths, tokens):
    """Additive mask B x 1 x 1 x T: -inf beyond a row's length."""
    beyond = torch.arange(tokens, device=lengths.device).view(1, -1) >= lengths.view(-1, 1)
    return torch.zeros(beyond.shape, device=lengths.device).masked_fill_(beyond, float("-inf")).view(-1, 1, 1, tokens)


class TextEncoder(nn.Module):
    """Word and position embeddings, pre-norm transformer layers, a final norm."""

    def __init__(self, vocabulary, cfg):
        super().__init__()
        width, self.heads = cfg["width"], cfg["heads"]
        self.tok_embed, self.pos_embed = nn.Embedding(vocabulary, width), nn.Embedding(cfg["max_tokens"], width)
        self.layers = nn.ModuleList()
        for _ in range(cfg["layers"]):
            layer = nn.Module()
            layer.norm1, layer.qkv, layer.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
            layer.norm2, layer.fc1, layer.fc2 = nn.LayerNorm(width), nn.Linear(width, cfg["mlp"]), nn.Linear(cfg["mlp"], width)
            nn.init.zeros_(layer.proj.weight)
            nn.init.zeros_(layer.fc2.weight)
            self.layers.append(layer)
        self.final_norm = nn.LayerNorm(width)
        nn.init.normal_(self.tok_embed.weight, std=0.5)
        nn.init.normal_(self.pos_embed.weight, std=0.2)

    def forward(self, ids, lengths):
        rows, tokens = ids.shape
        x, mask = self.tok_embed(ids) + self.pos_embed.weight[:tokens], padding(lengths, tokens)
        for layer in self.layers:
            q, k, v = layer.qkv(layer.norm1(x)).view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask, -1).to(v.dtype)
            x = x + layer.proj((weights @ v).transpose(1, 2).reshape(rows, tokens, -1))
            x = x + layer.fc2(F.gelu(layer.fc1(layer.norm2(x)), approximate="tanh"))
        return self.final_norm(x).float()
