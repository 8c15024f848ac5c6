"""Trains the small SentencePiece model of the tests with T5's options, and records SentencePiece's own ids.

    node -e 'import("./prompts.ts").then((m) => console.log(JSON.stringify(m.prompts())))' > prompts.json
    python3 record.py prompts.json OUT      # then: brotli OUT/spiece.model OUT/sentencepiece.json
"""
import json
import os
import sys

import sentencepiece

prompts, out = json.load(open(sys.argv[1])), sys.argv[2]
corpus = os.path.join(out, "corpus.txt")
with open(corpus, "w") as file:
    for prompt in prompts * 2:
        if prompt.strip():
            file.write("".join(" " if char in "\n\r\0" else char for char in prompt) + "\n")
sentencepiece.SentencePieceTrainer.train(
    input=corpus, model_prefix=os.path.join(out, "spiece"), model_type="unigram", vocab_size=2400, hard_vocab_limit=False, character_coverage=0.985, num_threads=1,
    normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>")
model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(out, "spiece.model"))
json.dump([model.encode(prompt) + [model.eos_id()] for prompt in prompts], open(os.path.join(out, "sentencepiece.json"), "w"))
