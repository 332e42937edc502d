#!/usr/bin/env bash
# Trains for real from image folders and shows accuracy, img/s and peak memory, as README's "What to expect" quotes them:
#   tests/real_images.sh CIFAR10 TRASHNET FOLDER        (ImageFolders with train/ and val/; about half an hour on two cores)
# Not part of ctest: it takes data that are not in the repository. Run it again after a stop, and it goes on.
set -euo pipefail
if [ $# -ne 3 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
cifar10=$1 trashnet=$2 folder=$3
root="$(cd "$(dirname "$0")/.." && pwd)"
vretnet="${VRETNET:-$root/build/tools/vretnet}"

# Trains NAME with the flags that follow, then evaluates the last weights; peak memory is that of the training process.
train() {
  local run="$folder/$1" data=$2
  shift 2
  [ -f "$run/last.state.safetensors" ] || rm -rf "$run"
  if [ -d "$run" ]; then set -- --resume "$run"; else set -- "$@" -d "$data" -o "$run"; fi
  python3 - "$vretnet" train "$@" <<'PYTHON'
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(f"peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
sys.exit(code)
PYTHON
  "$vretnet" eval -m "$run/last.safetensors" -d "$data" | tail -n 1
}

mkdir -p "$folder"
train cifar10 "$cifar10" -c "$root/configs/cifar10.toml" -b 64
# 248 steps of 32: the path for photographs at 224 pixels, not what the model can reach.
train trashnet "$trashnet" -c "$root/configs/photos_224.toml" -m vretnet_tiny_patch16_224 --epochs 4 --accumulate 1 \
  --warmup-epochs 1 --ema 0.99
