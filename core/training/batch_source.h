// Where training and evaluation take their batches from. The core knows tensors, not data sets: whoever owns
// the samples (datasets/loader.h) implements this.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vretnet::training {

// Samples side by side. The memory belongs to the source and is valid until its next call.
struct Batch {
  std::int64_t count =
      0;  // samples in here: 1 … batch_size (fewer at the end, and where some are unreadable)
  std::int64_t position = 0;  // of this batch in its epoch, from 0: a resumed run continues at position + 1
  const float* images = nullptr;          // [count, height, width, channels], normalised
  const std::int32_t* labels = nullptr;   // [count]
  const std::int64_t* indices = nullptr;  // [count]: which samples of the data set they are
  // Of a mixed batch (mixing.h): the labels of what was mixed in, and which part of each image is its own.
  const std::int32_t* other_labels = nullptr;  // [count], or null
  float own_share = 1;
};

// A sample that could not be read and was left out.
struct SkippedSample {
  std::int64_t index = 0;
  std::string name;    // the file
  std::string reason;  // in words for the user
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Samples of one epoch, those that turn out to be unreadable included.
  virtual std::int64_t size() const = 0;
  // Batches of one epoch. next() gives fewer only where a whole batch is unreadable.
  virtual std::int64_t batches() const = 0;
  virtual std::int64_t batch_size() const = 0;

  // Begins an epoch at its batch `first_batch` (0 … batches()). What the batches hold is a function of the
  // source's seed, `epoch` and their position only: starting at batch n gives the same bytes as reading up to
  // it. May be called at any time; the batch given out last is then invalid.
  virtual void start_epoch(std::int64_t epoch, std::int64_t first_batch) = 0;

  // The next batch, or null at the end of the epoch; valid until the next call of any function here but the
  // const ones. Throws DataError where more than the allowed share of the samples is unreadable.
  virtual const Batch* next() = 0;

  // All samples left out since the source was made, each once, in the order in which they were met.
  virtual const std::vector<SkippedSample>& skipped() const = 0;
};

}  // namespace vretnet::training
