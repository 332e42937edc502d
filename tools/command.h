// What all subcommands share: how they are declared and run, and the flags that mean the same everywhere.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/layers/pass.h"
#include "core/ops/backend.h"

namespace vretnet::tools {

// A subcommand: `declare` adds its flags to the parser and returns the function that does the work and gives
// the exit code. One file each.
using Work = std::function<int()>;
struct Command {
  const char* name;
  const char* summary;
  std::function<Work(CLI::App&)> declare;
};

Command train_command();
Command evaluate_command();
Command predict_command();
Command explain_command();
Command info_command();
Command quantize_command();
Command models_command();
Command data_command();
Command bench_command();
Command selfcheck_command();

// For check(): whole numbers least … most. (CLI::Range calls a word a number out of range.)
CLI::Validator count_range(std::int64_t least, std::int64_t most = std::int64_t{1} << 40);
constexpr std::int64_t kLargestSeed = std::numeric_limits<std::int64_t>::max();
// For check(): numbers low … high. (CLI::Range lets "nan" through, too.)
CLI::Validator number_range(double low, double high);

// Runs `body`; a mistake that it finds is one of this flag's value: "--data-dir: 'photo' does not exist".
template <class Body>
auto naming(const std::string& flag, const Body& body) {
  try {
    return body();
  } catch (const UsageError& error) {
    throw UsageError(flag + ": " + error.what());
  }
}

// -t, --device, --precision, --backend: which machine computes, and how.
struct MachineFlags {
  int threads = 0;  // 0: all processors
  std::string device = "auto";
  std::string precision = "auto";
  std::string backend = "onednn";
  std::string form = "auto";
  std::int64_t chunk_rows = 0;
  bool checkpoint_activations = false;  // training
};
void add_machine_flags(CLI::App& app, MachineFlags& flags);
// --device, --backend, --chunk-rows alone; and the others as lists.
void add_device_flags(CLI::App& app, MachineFlags& flags);
// --checkpoint-activations, for commands that train.
CLI::Option* add_checkpointing_flag(CLI::App& app, MachineFlags& flags);
struct MachineLists {
  std::vector<int> threads{0};
  std::vector<std::string> precisions{"auto"}, forms{"auto"};
};
void add_machine_lists(CLI::App& app, MachineLists& lists);
// Throws UsageError where this build or this machine has not what was asked for.
std::unique_ptr<Backend> make_machine(const MachineFlags& flags);
std::vector<std::unique_ptr<Backend>> make_machines(const MachineFlags& flags);  // to train on
// Throws UsageError where training is asked to run on integers.
layers::Pass::Options pass_options(const MachineFlags& flags, layers::Mode mode);
// Whether inference runs on the integers of `model`, which holds some or not: auto does where the backend
// gains by it. Throws UsageError where --precision asks for integers that the model does not hold.
bool runs_integers(const MachineFlags& flags, const Backend& backend, const std::string& model,
                   bool holds_integers);
int thread_count(const MachineFlags& flags);
// Of what runs on no integers: "f32", "bf16".
std::string precision_of(const MachineFlags& flags);

// -v -q --color --progress, the same for every subcommand; read by terminal.h.
void add_output_flags(CLI::App& app);

}  // namespace vretnet::tools
