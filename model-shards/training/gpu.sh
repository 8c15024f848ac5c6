#!/usr/bin/env bash
# Trains the default model for ten minutes of one GPU, and brings back what came of it:
#
#   model-shards/training/gpu.sh OUT [--dry]
#
# It needs PyTorch in python3 (PYTHON names another one) and sprites of 256 pixels, which are drawn beforehand where npm
# is reached (docs/training.md). The tokenizer has two and a half minutes, the transformer six, from emoji-128's weights. OUT/release is
# imported like any other; OUT/*.pt are the checkpoints, and the same command goes on with them. `--dry` does all of it
# with smoke.json in half a minute of a CPU.
set -eu
usage() { sed -n '2,9p' "$0" | cut -c3- >&2; exit 2; }
[ $# -ge 1 ] || usage
case "${2:-}" in "" | --dry) ;; *) usage ;; esac
mkdir -p "$1" && out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
python=${PYTHON:-python3}
config=emoji-256-long.json from="--from ../models/emoji-128" tokenizer=150 transformer=360
[ "${2:-}" = --dry ] && config=smoke.json from= tokenizer=10 transformer=10
if [ $config != smoke.json ] && [ ! -e sprites/sprites-256.json ]; then
	echo "sprites/sprites-256 is not there: docs/training.md says how it is drawn." >&2
	exit 1
fi
"$python" train_tokenizer.py $config --work "$out" --slot $tokenizer
"$python" train_transformer.py $config $from --work "$out" --slot $transformer
"$python" export.py $config --work "$out" --out "$out/release"
echo "The release is in $out/release; npx firstlight import takes it."
