#include <fmt/format.h>
#include <omp.h>

#include <sstream>

#include "core/backends/available.h"
#include "core/base/error.h"
#include "tools/command.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

constexpr int kMostThreads = 1024;
constexpr std::int64_t kPieceBytesOfThread = 6 << 20;  // its second cache and its share of the third
constexpr const char* kThreadsHelp = "compute threads (0: one a processor)";
constexpr const char* kPrecisionHelp =
    "auto (the fastest that the model file has), f32, bf16 (on a GPU), or int8 (vretnet quantize)";
const std::vector<std::string> kPrecisions{"auto", "f32", "bf16", "int8"};
const std::vector<std::string> kForms{"auto", "parallel", "chunkwise", "recurrent"};

CLI::Validator device_name() {
  const auto find_mistake = [](const std::string& text) -> std::string {
    if (text == "auto" || text == "cpu" || text == "cuda") return "";
    const bool numbered = text.starts_with("cuda:");
    std::istringstream numbers(numbered ? text.substr(5) + "," : "");
    bool right = numbered;
    for (std::string number; std::getline(numbers, number, ',');) {
      right &= !number.empty() && number.size() <= 3 &&
               number.find_first_not_of("0123456789") == std::string::npos;
    }
    return right ? "" : "'" + text + "' is no device: auto, cpu, cuda, cuda:N or (to train) cuda:N,M";
  };
  return {find_mistake, "DEVICE"};
}

const std::string& backend_name(const MachineFlags& flags) {
  const bool on_gpu = flags.device.starts_with("cuda");
  if (flags.precision == "bf16" && !on_gpu) {
    throw UsageError("--precision: 'bf16' needs --device cuda; the cpu computes in f32 or int8");
  }
  return on_gpu ? flags.device : flags.backend;
}

}  // namespace

void add_device_flags(CLI::App& app, MachineFlags& flags) {
  app.add_option("--device", flags.device,
                 "auto (the cpu), cpu, cuda, cuda:N (GPU number N); train: cuda:N,M")
      ->check(device_name());
  app.add_option("--backend", flags.backend, "onednn, or reference (slow, plain loops)")
      ->check(CLI::IsMember(available_backends()));
  app.add_option("--chunk-rows", flags.chunk_rows,
                 "patch rows of a chunk, chunkwise (0: as many as fill 32 tokens, at least one)")
      ->check(count_range(0, 4096));
}

CLI::Option* add_checkpointing_flag(CLI::App& app, MachineFlags& flags) {
  return app.add_flag(
      "--checkpoint-activations,--grad-checkpointing", flags.checkpoint_activations,
      "keep the inputs of blocks only and run them again in backward: less memory, same numbers");
}

void add_machine_flags(CLI::App& app, MachineFlags& flags) {
  app.add_option("-t,--threads", flags.threads, kThreadsHelp)->check(count_range(0, kMostThreads));
  app.add_option("--precision", flags.precision, kPrecisionHelp)->check(CLI::IsMember(kPrecisions));
  app.add_option("--form", flags.form, "how retention runs: auto, parallel, chunkwise, recurrent")
      ->check(CLI::IsMember(kForms));
  add_device_flags(app, flags);
}

void add_machine_lists(CLI::App& app, MachineLists& lists) {
  const auto add = [&](const char* flag, auto& list, const char* help) {
    return app.add_option(flag, list, help)->delimiter(',')->allow_extra_args(false);
  };
  add("-t,--threads", lists.threads, kThreadsHelp)->check(count_range(0, kMostThreads));
  add("--precision", lists.precisions, kPrecisionHelp)->check(CLI::IsMember(kPrecisions));
  add("--form", lists.forms, "how retention runs: auto, parallel, chunkwise, recurrent")
      ->check(CLI::IsMember(kForms));
}

int thread_count(const MachineFlags& flags) {
  return flags.threads > 0 ? flags.threads : omp_get_num_procs();
}

std::unique_ptr<Backend> make_machine(const MachineFlags& flags) {
  return make_backend(backend_name(flags), thread_count(flags));
}

std::vector<std::unique_ptr<Backend>> make_machines(const MachineFlags& flags) {
  return make_backends(backend_name(flags), thread_count(flags));
}

std::string precision_of(const MachineFlags& flags) {
  return flags.precision == "auto" ? "f32" : flags.precision;
}

layers::Pass::Options pass_options(const MachineFlags& flags, layers::Mode mode) {
  if (mode == layers::Mode::training && flags.precision == "int8") {
    throw UsageError("--precision: 'int8' is for inference; training runs in f32 or bf16");
  }
  layers::Pass::Options options;
  options.mode = mode;
  options.chunk_rows = flags.chunk_rows;
  options.piece_bytes = kPieceBytesOfThread * thread_count(flags);
  options.checkpoint_activations = flags.checkpoint_activations;
  if (flags.precision == "bf16") options.dtype = DType::bf16;
  if (flags.form == "parallel") options.form = layers::FormChoice::parallel;
  if (flags.form == "chunkwise") options.form = layers::FormChoice::chunkwise;
  if (flags.form == "recurrent") options.form = layers::FormChoice::recurrent;
  return options;
}

bool runs_integers(const MachineFlags& flags, const Backend& backend, const std::string& model,
                   bool holds_integers) {
  if (flags.precision == "int8" && !holds_integers) {
    throw UsageError(
        fmt::format("--precision: '{}' holds f32 weights; make an int8 file of it with vretnet "
                    "quantize -m {} -d FOLDER",
                    model, model));
  }
  if (flags.precision == "auto") return holds_integers && backend.favours_integers();
  return flags.precision == "int8";
}

void add_output_flags(CLI::App& app) {
  TerminalOptions& options = terminal_options();
  app.add_flag_callback(
      "-v,--verbose", [&options] { options.verbosity = 1; }, "say more");
  app.add_flag_callback(
      "-q,--quiet", [&options] { options.verbosity = -1; }, "say nothing but errors");
  app.add_option("--color", options.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_option("--progress", options.progress, "auto, bar, plain or off")
      ->check(CLI::IsMember({"auto", "bar", "plain", "off"}));
}

}  // namespace vretnet::tools
