#!/usr/bin/env bash
# check.sh [all|a|b] [--dry-run]: the GPU check; README.md next to it describes each step. Every step has a time
# limit of its own, writes what it found under $OUT as it ends, and doesn't stop those after it. `--dry-run` prints the
# steps: file, name, seconds, command. Exit status 1: a step failed, was late or was left out.
# In the environment: OUT (runs/gpu-check), LIMIT seconds in all (570), LOADER settings of every training, e.g.
# loader.device=cpu, PACKED a folder of pack.sh (that of this file where it lies in one), PYTHON.
set -u
WHAT=${1:-all}; DRY=${2:-}; LIMIT=${LIMIT:-570}; LOADER=${LOADER:-}; PYTHON=${PYTHON:-python3}; BEGIN=$(date +%s)
case $WHAT in all | a | b) ;; *) echo "check.sh: expected all, a or b; found $WHAT" >&2; exit 2 ;; esac
case $DRY in '' | --dry-run) ;; *) echo "check.sh: expected --dry-run or nothing more; found $DRY" >&2; exit 2 ;; esac
HERE=$(cd "$(dirname "$0")" && pwd); SCRATCH=$(mktemp -d /tmp/gpucheck.XXXX); FAILED=0
trap 'rm -rf "$SCRATCH"' EXIT
if [ -e "$HERE/project.tar.xz" ]; then
  PACKED=$HERE; PROJECT=$SCRATCH/project; mkdir "$PROJECT"
  "$PYTHON" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' \
    "$HERE/project.tar.xz" "$PROJECT" || exit 2
else
  PROJECT=$(cd "$HERE/../.." && pwd); PACKED=${PACKED:+$(realpath "$PACKED")}
fi
OUT=$(realpath -m "${OUT:-runs/gpu-check}"); SUMMARY=$OUT/summary.txt; DATA=$SCRATCH/data; RUNS=$SCRATCH/runs
cd "$PROJECT" || exit 2
export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1 PYTHONDONTWRITEBYTECODE=1 PIPELINE_TRACEBACK=1 SITE=$SCRATCH/site
export PYTHONPATH=$SITE:$PROJECT
say() { echo "$*" | tee -a "$SUMMARY"; }

# step FILE NAME SECONDS COMMAND...: its output goes to $OUT/FILE, its last lines ($SHOW) to the terminal
step() {
  local file=$1 name=$2 limit=$3 left begin status word; shift 3
  if [ -n "$DRY" ]; then printf '%s %s %s' "$file" "$name" "$limit"; printf ' %q' "$@"; echo; return; fi
  left=$((LIMIT - ($(date +%s) - BEGIN)))
  if [ "$left" -lt 12 ]; then say "--   $name: left out, no time"; FAILED=1; return; fi
  [ "$limit" -le "$left" ] || limit=$left
  begin=$(date +%s%3N)
  timeout -k 5 "$limit" "$@" >"$SCRATCH/log" 2>&1 </dev/null; status=$?
  { echo "=== $name (status $status)"; tail -c 400000 "$SCRATCH/log"; echo; } >>"$OUT/$file"
  case $status in 0) word=ok ;; 124 | 137) word=LATE ;; *) word=BAD ;; esac
  [ "$status" = 0 ] || FAILED=1
  say "$(printf '%-4s %-22s status %3d %5d s' $word "$name" $status $((($(date +%s%3N) - begin) / 1000)))"
  tail -n "${SHOW:-6}" "$SCRATCH/log" | cut -c1-240 | sed 's/^/     /'
}
run() { local file=$1 name=$2 limit=$3; shift 3; step "$file" "$name" "$limit" "$PYTHON" -m "$@"; }

DEMO=(configs/demo.yaml "data.root=$DATA" "output=$RUNS" $LOADER)
RESNET=("${DEMO[@]}" model.backbone=resnet50 model.stems=source augment.height=288 augment.width=144 augment.pad=10
  optimizer.name=sgd optimizer.lr=0.01)
STAGES=("derive.visible=[weighted_gray,gamma:0.5]" "derive.infrared=[clahe,spectrum]" derive.mixing=cutmix
  augment.random_erasing_prob=0.5)

prepare() {
  [ -z "$PACKED" ] || step summary.txt install 60 bash "$PACKED/install.sh" "$PACKED"
  run summary.txt facts 20 benchmarks.gpu.facts
  run train.txt data 60 pipeline.synthetic --layout sysu --root "$DATA" --identities 150
}

# Is it right? About four minutes.
part_a() {
  SHOW=60 run smoke.txt smoke 90 benchmarks.gpu.smoke
  SHOW=25 run tests.txt tests-dali-ops 150 pytest tests/dali_ops -n 8 -k "gpu or side_stream or feed_a_gpu" -rf --tb=line
  SHOW=12 run tests.txt tests-others 70 pytest -rf --tb=short tests/training/test_step.py tests/test_distributed.py \
    tests/evaluation/test_ranking.py tests/evaluation/test_scoring.py tests/evaluation/test_rerank.py \
    tests/loading/test_hardware.py
  run train.txt short-bf16 60 pipeline.train "${DEMO[@]}" name=short train.epochs=1 train.steps_per_epoch=60 \
    train.precision=bf16 train.log_steps=20 evaluation.trials=1 "${STAGES[@]}"
  run train.txt fp16 60 benchmarks.gpu.fp16 "${DEMO[@]}"
}

# the runs' tables, logs and settings, without weights
run_folders() {
  [ -n "$DRY" ] || tar -C "$SCRATCH" -czf "$OUT/runs.tar.gz" --exclude checkpoints --exclude '*.safetensors' runs
}

# How fast is it? About seven minutes.
part_b() {
  SHOW=24 run loader.txt loader-rates 120 benchmarks.gpu.loader_rates --seconds 2
  SHOW=8 run step.txt step-bf16 80 benchmarks.step "${RESNET[@]}" name=bf16 train.precision=bf16
  run loader.txt resident 40 benchmarks.gpu.resident
  SHOW=8 run scoring.txt scoring 50 benchmarks.gpu.scoring
  run train.txt demo-pixels 30 pipeline.evaluate "${DEMO[@]}" name=demo-pixels evaluation.extractor=pixels
  run train.txt demo-b1 50 pipeline.train "${DEMO[@]}" configs/ablation/b1.yaml name=demo-b1
  run train.txt demo 60 pipeline.train "${DEMO[@]}" name=demo
  SHOW=12 run train.txt table 20 pipeline.tables "$RUNS/demo-pixels" "$RUNS/demo-b1" "$RUNS/demo"
  run_folders
  SHOW=24 run loader.txt loader-peers 120 benchmarks.loader --batches 150
  SHOW=24 run loader.txt derivations 40 benchmarks.derivations
  SHOW=8 run step.txt step-fp32 60 benchmarks.step "${RESNET[@]}" name=fp32 train.precision=fp32
  SHOW=8 run step.txt step-bf16-compiled 170 benchmarks.step "${RESNET[@]}" name=compiled train.precision=bf16 \
    train.compile=true
}

[ -n "$DRY" ] || { mkdir -p "$OUT"; say "part $WHAT, $LIMIT s, $(date -u +%FT%TZ)"; }
prepare
[ "$WHAT" = b ] || part_a
[ "$WHAT" = a ] || part_b
[ -n "$DRY" ] || { say "ended after $(($(date +%s) - BEGIN)) s"; echo; cat "$SUMMARY"; }
exit $FAILED
