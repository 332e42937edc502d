#!/usr/bin/env bash
# One factor at a time around cifar10.toml's model, its corners and its ViT twins, each from the same seeds and images:
#   tools/ablation.sh TRAINING_IMAGES FOLDER [flags of vretnet train]
# TRAINING_IMAGES: an ImageFolder without val/, such as cifar10/train: a tenth of it is kept for validation, so that
# nothing is chosen on test images. FOLDER gets that division, a run a row and seed (SEEDS="1 2") and table.md. Stopped
# at any point, the same command goes on: finished runs stay, the one that was stopped is resumed.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,6s/^# //p' "$0" >&2
  exit 2
fi
data=$1 folder=$2
shift 2
root="$(cd "$(dirname "$0")/.." && pwd)"
vretnet="${VRETNET:-$root/build/tools/vretnet}"

# name | flags: what differs from the first row
rows='
winner           |
scan-causal      | --scan causal
scan-alternate   | --scan alternate
heads-4          | --heads 4
scan-cross       | --heads 4 --scan cross
decay-raster     | --decay raster
decay-manhattan  | --decay manhattan
speed-slow       | --decay-speed slow
learned-decay    | --learned-decay true
position-none    | --position none
position-raster  | --position raster
stem-patch       | --stem patch
no-cpe           | --cpe false
no-lepe          | --lepe false
no-gate          | --gate false
value-factor-2   | --value-factor 2
pool-sequence    | --pool sequence
layer-scale      | --layer-scale 0.1
classic          | -m vretnet_pico_patch4_32
classic-stem     | -m vretnet_pico_patch4_32 --stem conv
vit              | -m vit_pico_patch4_32
vit-local        | -m vit_pico_patch4_32_local
'

mkdir -p "$folder"
if [ ! -d "$folder/images" ]; then
  rm -rf "$folder/images.partial"
  "$vretnet" data split "$data" -o "$folder/images.partial" --val-split 0.1
  mv "$folder/images.partial" "$folder/images"
fi
for seed in ${SEEDS:-1 2}; do
  while IFS='|' read -r name flags; do
    name="${name//[[:space:]]/}"
    [ -n "$name" ] || continue
    run="$folder/$name-$seed"
    [ -f "$run/done" ] && continue
    echo "== $name, seed $seed"
    if [ -f "$run/last.state.safetensors" ]; then
      "$vretnet" train --resume "$run"
    else
      rm -rf "$run"
      # shellcheck disable=SC2086
      "$vretnet" train -c "$root/configs/cifar10.toml" -d "$folder/images" --epochs 4 $flags --seed "$seed" "$@" -o "$run"
    fi
    touch "$run/done"
  done <<< "$rows"
done
groups=()
while IFS='|' read -r name _; do
  name="${name//[[:space:]]/}"
  [ -n "$name" ] || continue
  runs=$(ls -d "$folder/$name"-[0-9]* | paste -sd,)
  groups+=(--group "$name=$runs")
done <<< "$rows"
"$vretnet" eval compare "${groups[@]}" --against winner -o "$folder/table.md"
cat "$folder/table.md"
