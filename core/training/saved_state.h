// `last.state.safetensors`: all that a resume needs, in one file, which makes writing it the commit point of
// a run.
#pragma once

#include <filesystem>

#include "core/model/checkpoint.h"
#include "core/training/trainer.h"

namespace vretnet::training {

// The arrays of the trainer (weights, moments, average) and its position, with whatever strings the caller
// keeps beside them (model, recipe, best metric, lengths of metric files). Between two steps only. Atomic.
void save_state(const std::filesystem::path& path, Backend& backend, const Trainer& trainer,
                const model::Metadata& extra);

// Puts everything back and returns the strings. Throws UsageError naming the file and what does not fit: not
// a state, other sizes, a moving average that is missing or not wanted, a position outside the run.
model::Metadata load_state(const std::filesystem::path& path, Backend& backend, Trainer& trainer);

// The strings alone, for whoever must know the model before there is a trainer.
model::Metadata read_state_metadata(const std::filesystem::path& path);

}  // namespace vretnet::training
