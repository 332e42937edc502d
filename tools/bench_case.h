// One point of a benchmark: a model at an image size, batch, number of threads, precision and form, timed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/measure/limits.h"
#include "core/measure/repeat.h"
#include "tools/command.h"
#include "vision/model_config.h"

namespace vretnet::tools {

// The weights that `vretnet quantize` makes s8 where it makes all: those of the blocks' linear layers.
std::vector<std::string> quantizable_weights(const vision::ModelConfig& config);

struct BenchCase {
  std::string model;    // as the user named it
  std::string options;  // the model's keys that were overridden: "depth=6 heads=3"
  vision::ModelConfig config;
  std::vector<std::string> integers;  // the weights that run as s8
  MachineFlags machine;
  std::int64_t batch = 1;
  bool training = false;
};

enum class OpRows { none, kinds, shapes };
struct BenchSettings {
  measure::RepeatOptions repeats;
  OpRows ops = OpRows::none;
};

struct OpCost {  // core/ops/cost.h
  double flops, bytes;
  bool integers;  // a product of integers
};
// All calls of one kind (or shape) of op in one batch.
struct OpRow {
  std::string op;
  double seconds = 0;  // of all calls, the median over the repeats
  std::vector<OpCost> calls;
};

struct BenchResult {
  BenchCase point;
  std::string backend;          // its description
  std::string form_ran;         // parallel, chunkwise or recurrent; none in a model without retention
  std::vector<double> seconds;  // of each repeat
  bool own_clock = false;       // seconds are the machine's, not the host's
  std::vector<OpCost> costs;    // of every op of one batch (training: of one step)
  double flops = 0;             // their sum
  double products_rate = 0;     // FLOP/s of the model's own products alone, measure::products_rate
  measure::Limits limits;
  std::int64_t parameters = 0;
  double weights_bytes = 0, model_bytes = 0, process_bytes = 0, growth_bytes = 0;
  std::vector<OpRow> ops;
};

// Inference: from host pixels of `batch` images to host logits. Training: one optimizer step on a batch in
// memory. The weights are first weights: the time does not depend on them. Nothing where `stop` said true
// before all repeats were done.
// The limits are left to the caller.
std::optional<BenchResult> measure_case(const BenchCase& point, const BenchSettings& settings,
                                        const std::function<bool()>& stop);

}  // namespace vretnet::tools
