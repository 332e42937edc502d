// `vretnet bench loading`: how fast a folder's images become batches, and whether a training step waits for
// them.
#pragma once

#include <cstdint>
#include <string>

#include "tools/command.h"

namespace vretnet::tools {

struct LoadingFlags {
  std::string data_dir, model, image_size, interpolation = "bicubic", cache = "off", format = "text";
  std::int64_t batch_size = 64, repeats = 5, steps = 10;
  int workers = 1;
  bool reduced_decoding = false;
  MachineFlags machine;
};

void declare_loading(CLI::App& app, LoadingFlags& flags);

// Prints images a second of the loader alone, augmented as in training, an epoch a repeat; with a model also
// of a training step that is fed from the folder and of the same step fed from memory, in turns. Gives the
// exit code.
int measure_loading(const LoadingFlags& flags);

}  // namespace vretnet::tools
