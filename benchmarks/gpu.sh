#!/usr/bin/env bash
# Everything that is measured on one GPU, in about ten minutes:
#
#   bash benchmarks/gpu.sh [--out DIR]            # on the first GPU
#   bash benchmarks/gpu.sh --device cpu --quick   # tiny, to try this script
#
# Steps of the published networks in float32, TF32 and bf16, with and without
# torch.compile, against the baseline; memory of the low-memory mode; time over
# the floor of the arithmetic; inference; the reference numbers of the
# published release; photographs per minute; a short training on drawn
# photographs. Each part is cut off when its time is over (not with --quick), so
# that the others still run. DIR (default: work_dirs/gpu) gets a file per part
# and summary.txt.
# Status: 1 if a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda out=work_dirs/gpu quick=
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) echo "gpu.sh: unknown option $1; see the top of the file" >&2; exit 2 ;;
  esac
done
python=${PYTHON:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"
: > "$out/summary.txt"
failed=0 names=()

part() {  # part NAME SECONDS COMMAND...
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  [ -z "$quick" ] || limit=3600  # tiny, but perhaps on a busy machine
  timeout --signal=INT --kill-after=20 "$limit" "$@" > "$out/$name.txt" 2>&1
  status=$?
  [ $status -eq 0 ] || failed=1
  names+=("$name")
  printf '%-22s status %-3s %4s s   %s\n' "$name" "$status" \
    $((SECONDS - start)) "$*" | tee -a "$out/summary.txt"
}

speed=("$python" -m benchmarks.speed --device "$device" --rounds 1 --steps 10 --warmup 3 --size 512)
predict=("$python" -m benchmarks.prediction --device "$device" --cores 8 --count 12)
train=("$python" -m quickstart --iters1 100 --iters2 60)
if [ -n "$quick" ]; then
  speed=("$python" -m benchmarks.speed --device "$device" --rounds 1
         --size 64 --inference-size 64 --width tiny --threads 1)
  predict=("$python" -m benchmarks.prediction --device "$device" --quick)
  train=("$python" -m quickstart --iters1 4 --iters2 2)
fi
train+=(--fresh --no-goals --out "$out/training")

part info 30 "$python" -m mbos info
part reference_numbers 120 env MBOS_TEST_DEVICE="$device" "$python" -m pytest -q \
  -p no:cacheprovider tests/test_golden.py -k 'plain or losses'
for case in stage1 stage2 inference; do
  part "float32_$case" 60 "${speed[@]}" --cases $case
  part "tf32_$case" 45 "${speed[@]}" --cases $case --tf32 --sides baseline ours
done
for case in stage1 stage2; do
  part "bf16_$case" 45 "${speed[@]}" --cases $case --precision bf16 --sides ours low_memory
done
if [ -z "$quick" ] || [ "$device" != cpu ]; then
  part compiled 120 "${speed[@]}" --cases stage2 --sides ours --compile
  part compiled_bf16 120 "${speed[@]}" --cases stage2 --sides ours --compile --precision bf16
fi
part prediction 120 "${predict[@]}"
part training 240 "${train[@]}"

for name in "${names[@]}"; do
  printf '\n== %s\n' "$name" && tail -n 60 "$out/$name.txt"
done >> "$out/summary.txt"
echo "All of it is in $out/summary.txt"
exit $failed
