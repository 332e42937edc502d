#!/bin/sh
# Runs nvcc (CMake's CUDA_COMPILER_LAUNCHER) and keeps what ptxas says of every kernel beside the object, in
# OBJECT.ptxas, where the test of registers and spills reads it; all else nvcc says is passed on.
object=
previous=
for argument in "$@"; do
  if [ "$previous" = -o ]; then object=$argument; fi
  previous=$argument
done
"$@" 2> "$object.ptxas"
status=$?
grep -v -E "^ptxas info|bytes stack frame|^$" "$object.ptxas" >&2
exit $status
