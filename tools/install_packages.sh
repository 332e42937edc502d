#!/usr/bin/env bash
# Installs what the build, the tests and the quickstart need from Debian 12's archive, by name. Packages that are
# there already cost nothing; root or sudo is needed only when one is missing.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config
  libcli11-dev libtomlplusplus-dev libfmt-dev nlohmann-json3-dev libhwy-dev
  libdnnl-dev ocl-icd-opencl-dev   # oneDNN's CMake file asks for OpenCL
  libjpeg-dev libpng-dev zlib1g-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  libgtest-dev libboost-context-dev   # fibers of the emulated GPU; with it come the headers of Boost.Math and Boost.Random
  dataset-fashion-mnist
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "error: packages are missing and there is no sudo: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
