#!/usr/bin/env bash
# Does stage 2 earn its place? Networks of configs/ablation, which never see
# IDRiD's vessels and discs, all after as many iterations, scored on these and
# on what is labelled.
#
#     bash benchmarks/ablation.sh WORK [ITERATIONS] [SEEDS]
#
# WORK holds data/FOVCrop-padding with IDRiD, its vessel maps, DRIVE and
# Drishti-GS, training photographs, prepared with --max-side 1024. Runs that
# are finished are not repeated. One thread: some four hours for two seeds.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$1"
total=${2:-600} half=$((${2:-600} / 2)) seeds=${3:-0 1}
configs=$root/configs/ablation
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python=${PYTHON:-python}

train() { # NAME CONFIG ITERATIONS SEED [OPTION...]
  local work=work_dirs/$1 config=$configs/$2.py iterations=$3 seed=$4
  [ ! -e "$work/done" ] || return 0
  echo "$1: $2, $iterations iterations, seed $seed"
  mkdir -p "$work"
  $python "$root/tools/train.py" "$config" --auto-resume --no-validate \
    --seed "$seed" --work-dir "$work" --cfg-options \
    runner.max_iters="$iterations" checkpoint_config.interval=100 \
    checkpoint_config.max_keep_ckpts=1 data.train.cache_dir=cache "${@:5}" \
    >> "$work/stdout.log" 2>&1
  touch "$work/done"
}

newest() { # NAME
  find "work_dirs/$1" -name 'iter_*.pth' -printf '%T@ %p\n' | sort -n |
    tail -n 1 | cut -d ' ' -f 2
}

label() { # FOR NAME CONFIG MARGIN FLIP
  [ ! -e "work_dirs/$1/done" ] || return 0
  $python "$root/tools/generate_pseudo_labels.py" "$configs/$3.py" \
    "$(newest "$2")" --margin "$4" --overwrite --cfg-options \
    data.test.pipeline.1.flip="$5" >> "work_dirs/$2/labels.log" 2>&1
}

score() { # NAME CONFIG SET...
  [ ! -e "work_dirs/$1/scores/done" ] || return 0
  $python "$root/tools/test.py" "$configs/$2.py" "$(newest "$1")" --eval mIoU \
    --datasets "${@:3}" --report-images 0 --work-dir "work_dirs/$1/scores" \
    >> "work_dirs/$1/scores.log" 2>&1
  touch "work_dirs/$1/scores/done"
}

all="idrid_vessels idrid_discs idrid_lesions drive drishti_gs"
for seed in $seeds; do
  train "half_$seed" stage1 "$half" "$seed"
  start=load_from=$(newest "half_$seed")
  label "published_$seed" "half_$seed" stage2_published 0 False
  train "published_$seed" stage2_published "$half" "$seed"
  label "warm_$seed" "half_$seed" stage2_published 0 False
  train "warm_$seed" stage2_warm "$half" "$seed" "$start"
  label "labels_$seed" "half_$seed" stage2_labels 0.25 True
  train "labels_$seed" stage2_labels "$half" "$seed" "$start"
  train "stage1_$seed" stage1 "$total" "$seed"
  for task in vessel lesion odoc; do
    train "${task}_$seed" "stage1_$task" "$total" "$seed"
  done
  for name in stage1 published warm labels; do
    case $name in stage1) config=stage1 ;; *) config=stage2_$name ;; esac
    score "${name}_$seed" "$config" $all
  done
  score "vessel_$seed" stage1_vessel idrid_vessels drive
  score "lesion_$seed" stage1_lesion idrid_lesions
  score "odoc_$seed" stage1_odoc idrid_discs drishti_gs
done
$python -m benchmarks.ablation_table work_dirs
