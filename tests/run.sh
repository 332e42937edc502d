#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test that is not labelled slow. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/install_packages.sh
cmake --preset release >/dev/null
cmake --build build
ctest --preset release -j "$(nproc)"
