#!/usr/bin/env bash
# The main job on real images, from a fresh Debian 12: installs packages, builds, trains a small Vision RetNet on
# Fashion-MNIST, evaluates it on the 10,000 test images, and classifies a few of them. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/install_packages.sh
cmake --preset release >/dev/null
cmake --build build --target vretnet
vretnet=build/tools/vretnet

run=runs/quickstart
if [ -f "$run/last.state.safetensors" ]; then
  "$vretnet" train --resume "$run"
else
  rm -rf "$run"
  "$vretnet" train -c configs/fashion_mnist_quickstart.toml -o "$run"
fi

echo
echo "== the 10,000 test images"
"$vretnet" eval -m "$run/last.safetensors" -d fashion-mnist -o "$run/test" --fail-under 0.9

echo
echo "== a few of them as PNG files"
if [ ! -d "$run/images" ]; then
  rm -rf "$run/images.partial"
  "$vretnet" data import idx fashion-mnist -o "$run/images.partial" --progress off
  mv "$run/images.partial" "$run/images"
fi
find "$run/images/val" -name '*.png' | sort | awk 'NR % 1100 == 1' | "$vretnet" predict -m "$run/last.safetensors" -k 3 -

echo
echo "run folder: $run  (metrics.csv, best.safetensors, test/confusion.svg, ...)"
echo "next:       $vretnet train -d YOUR_FOLDER -m vretnet_nano_patch4_32_local"
