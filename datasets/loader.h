// Batches of decoded, augmented and normalised pictures, prepared ahead by worker threads.
#pragma once

#include <memory>
#include <optional>

#include "core/training/batch_source.h"
#include "datasets/cache.h"
#include "datasets/dataset.h"
#include "vision/image/augment.h"
#include "vision/image/disturbance.h"
#include "vision/image/transforms.h"

namespace vretnet::datasets {

struct LoaderOptions {
  std::int64_t batch_size = 64;
  int workers = 1;   // threads, at lower priority than the caller; 0: the caller's thread does the work
  int prefetch = 2;  // batches prepared ahead of the one given out, ≥ 1
  std::uint64_t seed = 42;
  bool shuffle = false;
  bool balanced = false;  // each class as often (balanced_order.h); shuffled, too
  bool drop_last =
      false;  // leave out the last batch of an epoch where it is not full (unless it is the only one)
  vision::Preprocessing preprocessing;
  std::optional<vision::Augmentation> augmentation;  // nothing: resize and centre crop
  std::optional<vision::Disturbance>
      disturbance;  // of the input before it is normalised; not with augmentation
  CacheMode cache = CacheMode::Off;
  // Unreadable samples stop the epoch with a DataError when they are more than this share of all and more
  // than 10, or when all are; with a share of 0 the first one does, with 1 none. `remedy` ends the message.
  double max_skip_share = 0.01;
  std::string remedy;
};

// The order is a function of (seed, epoch), a picture's augmentation of (seed, epoch, index), where balanced
// of its visit, too: batches are the same bytes for any number of workers. An unreadable sample makes its
// batch shorter, the same way in every epoch and for any number of workers; it is listed in skipped() when
// its batch is given out. Other exceptions of a worker are thrown by the next() that would have given out its
// batch. All memory of batches is taken in the constructor. May be destroyed at any time. Used by one thread.
class Loader : public training::BatchSource {
 public:
  // Throws UsageError where an option is out of range, DataError where the data set is empty.
  Loader(DatasetPointer dataset, const LoaderOptions& options);
  ~Loader() override;

  std::int64_t size() const override;
  std::int64_t batches() const override;
  std::int64_t batch_size() const override;
  void start_epoch(std::int64_t epoch, std::int64_t first_batch) override;
  const training::Batch* next() override;
  const std::vector<training::SkippedSample>& skipped() const override;

 private:
  class Ring;
  std::unique_ptr<Ring> ring_;
};

// The order of an epoch: a permutation of 0 … size − 1 (the identity where not shuffled).
std::vector<std::int64_t> epoch_order(std::int64_t size, std::uint64_t seed, std::int64_t epoch,
                                      bool shuffle);

}  // namespace vretnet::datasets
