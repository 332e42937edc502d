#include "datasets/loader.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/ensure.h"
#include "core/base/error.h"
#include "datasets/balanced_order.h"
#include "datasets/order.h"
#include "datasets/subset.h"
#include "vision/image/decode.h"

namespace vretnet::datasets {
namespace {

constexpr int kWorkerNice = 10;  // the threads that compute come first
constexpr int kMostWorkers = 256;
constexpr std::int64_t kFewSkipped = 10;     // unreadable samples that no training is stopped for
constexpr std::int64_t kLargestTicket = 16;  // samples; for small pictures the lock costs as much as the work

// The calling thread becomes a background worker: lower priority, and no signals, which the program's main
// thread waits for.
void become_worker() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  setpriority(PRIO_PROCESS, id_t(gettid()),
              kWorkerNice);  // Linux: of this thread alone; no harm where refused
}

void check_options(const Dataset& dataset, const LoaderOptions& options) {
  const auto refuse = [](const char* what, auto value, const char* expected) {
    throw UsageError(fmt::format("{} {}: expected {}", what, value, expected));
  };
  if (options.batch_size < 1) refuse("batch size", options.batch_size, "1 or more");
  if (options.workers < 0 || options.workers > kMostWorkers) {
    refuse("workers", options.workers, fmt::format("0 … {}", kMostWorkers).c_str());
  }
  if (options.prefetch < 1) refuse("prefetch", options.prefetch, "1 or more");
  if (!(options.max_skip_share >= 0 && options.max_skip_share <= 1))
    refuse("allowed share of unreadable images", options.max_skip_share, "0 … 1");
  if (options.cache != CacheMode::Off && options.augmentation && options.augmentation->reduced_decoding) {
    // Which pictures have their full pixels in the cache may depend on the memory that is free.
    throw UsageError("reduced decoding goes with --cache off only: a cache holds whole pictures");
  }
  ensure(!options.augmentation || !options.disturbance, "{} images are to be augmented and disturbed",
         dataset.size());
  if (dataset.size() == 0) throw DataError("the data set holds no images");
}

}  // namespace

std::vector<std::int64_t> epoch_order(std::int64_t size, std::uint64_t seed, std::int64_t epoch,
                                      bool shuffled) {
  std::vector<std::int64_t> order(std::size_t(size), 0);
  std::iota(order.begin(), order.end(), 0);
  if (shuffled) shuffle(order, Random(seed, {std::uint64_t(Purpose::Order), std::uint64_t(epoch)}));
  return order;
}

// Batches live in `slots_`, batch p in slot p modulo their number. Workers take tickets, a few samples of one
// batch each, in the epoch's order; a batch is ready when its last sample is. The consumer frees a slot when
// it asks for the batch after.
class Loader::Ring {
 public:
  Ring(DatasetPointer dataset, const LoaderOptions& options);
  ~Ring();

  void start_epoch(std::int64_t epoch, std::int64_t first_batch);
  const training::Batch* next();

  std::int64_t size() const {
    return options_.drop_last ? std::min(batches_ * options_.batch_size, samples_) : samples_;
  }
  std::int64_t batches() const { return batches_; }
  const LoaderOptions& options() const { return options_; }
  const std::vector<training::SkippedSample>& skipped() const { return skipped_; }

 private:
  struct Failure {
    std::int64_t place;  // in the batch
    std::string reason;
    std::exception_ptr error;  // of another kind than an unreadable picture: to be thrown
  };
  struct Slot {
    std::vector<float> images;
    std::vector<std::int32_t> labels;
    std::vector<std::int64_t> indices;
    std::vector<Failure> failures;
    std::int64_t unfinished = 0;
  };
  struct Ticket {
    std::int64_t batch, first, count;
  };

  std::int64_t samples_in(std::int64_t batch) const {
    return std::min(options_.batch_size, samples_ - batch * options_.batch_size);
  }
  Slot& slot(std::int64_t batch) { return slots_[std::size_t(batch) % slots_.size()]; }
  bool has_ticket() const {
    return hand_batch_ < batches_ && hand_batch_ < oldest_batch_ + std::int64_t(slots_.size());
  }
  Ticket take_ticket();
  Random augmentation_random(std::int64_t place, std::int64_t index) const;
  void fill(const Ticket& ticket, std::vector<Failure>& failures);
  void finish(const Ticket& ticket, std::vector<Failure>& failures);
  void work();
  void wait_until_ready(std::int64_t batch);
  std::int64_t most_skipped() const;
  std::int64_t leave_out_failures(Slot& from, std::int64_t batch);

  DatasetPointer dataset_;
  LoaderOptions options_;
  std::int64_t samples_, batches_, ticket_size_;
  std::int64_t values_;  // floats of one picture

  // The epoch: written while no worker is busy.
  std::int64_t epoch_ = 0;
  std::vector<std::int64_t> order_;
  std::vector<std::int64_t> visits_;  // of a balanced order

  // Of the consumer alone.
  std::int64_t next_batch_ = 0;
  training::Batch given_;
  std::vector<training::SkippedSample> skipped_;
  std::vector<bool> known_unreadable_;

  // Guarded by mutex_, as are the slots' failures and unfinished.
  std::mutex mutex_;
  std::condition_variable work_;   // for workers: tickets, or the end
  std::condition_variable ready_;  // for the consumer: a batch, or no worker busy
  std::vector<Slot> slots_;
  std::int64_t hand_batch_ = 0, hand_sample_ = 0;  // the next ticket starts here
  std::int64_t oldest_batch_ = 0;                  // whose slot is still in use
  std::int64_t busy_ = 0;                          // tickets being worked on
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

Loader::Ring::Ring(DatasetPointer dataset, const LoaderOptions& options)
    : options_(options), samples_(dataset->size()) {
  check_options(*dataset, options);
  dataset_ = cached(std::move(dataset), options.cache);
  batches_ = options.drop_last ? std::max<std::int64_t>(1, samples_ / options.batch_size)
                               : (samples_ + options.batch_size - 1) / options.batch_size;
  values_ = std::int64_t(options.preprocessing.values());
  ticket_size_ =
      std::clamp<std::int64_t>(options.batch_size / (2 * std::max(1, options.workers)), 1, kLargestTicket);
  known_unreadable_.resize(std::size_t(samples_));
  slots_.resize(options.workers == 0 ? 1 : std::size_t(options.prefetch) + 1);
  const std::size_t batch = std::size_t(std::min(options.batch_size, samples_));
  for (Slot& each : slots_) {
    each.images.resize(batch * std::size_t(values_));
    each.labels.resize(batch);
    each.indices.resize(batch);
  }
  hand_batch_ = next_batch_ = batches_;  // nothing to do before start_epoch
  for (int i = 0; i < options.workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::Ring::~Ring() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::Ring::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  ensure(epoch >= 0 && first_batch >= 0 && first_batch <= batches_, "epoch {}, batch {} of {}", epoch,
         first_batch, batches_);
  std::unique_lock lock(mutex_);
  hand_batch_ = batches_;  // no more tickets of the old epoch
  ready_.wait(lock, [this] { return busy_ == 0; });
  epoch_ = epoch;
  if (options_.balanced) {
    BalancedOrder order = balanced_order(all_labels(*dataset_), options_.seed, epoch);
    order_ = std::move(order.indices);
    visits_ = std::move(order.visits);
  } else {
    order_ = epoch_order(samples_, options_.seed, epoch, options_.shuffle);
  }
  hand_batch_ = oldest_batch_ = next_batch_ = first_batch;
  hand_sample_ = 0;
  lock.unlock();
  work_.notify_all();
}

Loader::Ring::Ticket Loader::Ring::take_ticket() {
  const std::int64_t in_batch = samples_in(hand_batch_);
  if (hand_sample_ == 0) {
    slot(hand_batch_).unfinished = in_batch;
    slot(hand_batch_).failures.clear();
  }
  const Ticket ticket{hand_batch_, hand_sample_, std::min(ticket_size_, in_batch - hand_sample_)};
  hand_sample_ += ticket.count;
  if (hand_sample_ == in_batch) {
    ++hand_batch_;
    hand_sample_ = 0;
  }
  ++busy_;
  return ticket;
}

// Of the sample at `place` of the epoch.
Random Loader::Ring::augmentation_random(std::int64_t place, std::int64_t index) const {
  const auto purpose = std::uint64_t(Purpose::Augment), epoch = std::uint64_t(epoch_),
             sample = std::uint64_t(index);
  if (visits_.empty()) return Random(options_.seed, {purpose, epoch, sample});
  return Random(options_.seed, {purpose, epoch, sample, std::uint64_t(visits_[std::size_t(place)])});
}

void Loader::Ring::fill(const Ticket& ticket, std::vector<Failure>& failures) {
  Slot& to = slot(ticket.batch);
  for (std::int64_t place = ticket.first; place < ticket.first + ticket.count; ++place) {
    const std::int64_t index = order_[std::size_t(ticket.batch * options_.batch_size + place)];
    to.labels[std::size_t(place)] = dataset_->label(index);
    to.indices[std::size_t(place)] = index;
    float* out = to.images.data() + place * values_;
    try {
      const int channels = options_.preprocessing.channels;
      if (options_.augmentation) {
        vision::LazyImage image = dataset_->open(index, channels);
        Random random = augmentation_random(ticket.batch * options_.batch_size + place, index);
        vision::augment(image, *options_.augmentation, options_.preprocessing, random, out);
      } else if (options_.disturbance) {
        const vision::Preprocessing& preprocessing = options_.preprocessing;
        vision::Image input = vision::preprocess_pixels(dataset_->read(index, channels), preprocessing);
        Random random(options_.seed, {std::uint64_t(Purpose::Disturb), std::uint64_t(index)});
        vision::disturb(input, *options_.disturbance, random);
        vision::normalize(input, preprocessing.mean, preprocessing.deviation, out);
      } else {
        vision::preprocess(dataset_->read(index, channels), options_.preprocessing, out);
      }
    } catch (const vision::ImageError& error) {
      failures.push_back({place, error.reason, nullptr});
    } catch (const DataError& error) {
      failures.push_back({place, error.what(), nullptr});
    } catch (...) {
      failures.push_back({place, "", std::current_exception()});
    }
  }
}

void Loader::Ring::finish(const Ticket& ticket, std::vector<Failure>& failures) {
  Slot& to = slot(ticket.batch);
  to.failures.insert(to.failures.end(), std::make_move_iterator(failures.begin()),
                     std::make_move_iterator(failures.end()));
  failures.clear();
  to.unfinished -= ticket.count;
  --busy_;
}

void Loader::Ring::work() {
  become_worker();
  std::vector<Failure> failures;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || has_ticket(); });
    if (stopping_) return;
    const Ticket ticket = take_ticket();
    lock.unlock();
    fill(ticket, failures);
    lock.lock();
    finish(ticket, failures);
    if (busy_ == 0 || slot(ticket.batch).unfinished == 0) ready_.notify_one();
  }
}

void Loader::Ring::wait_until_ready(std::int64_t batch) {
  std::unique_lock lock(mutex_);
  oldest_batch_ = batch;
  if (options_.workers == 0) {
    std::vector<Failure> failures;
    while (hand_batch_ <= batch) {
      const Ticket ticket = take_ticket();
      fill(ticket, failures);
      finish(ticket, failures);
    }
    return;
  }
  work_.notify_all();
  ready_.wait(lock, [&] { return hand_batch_ > batch && slot(batch).unfinished == 0; });
}

const training::Batch* Loader::Ring::next() {
  while (next_batch_ < batches_) {
    const std::int64_t batch = next_batch_++;
    wait_until_ready(batch);
    Slot& from = slot(batch);
    const std::int64_t count = leave_out_failures(from, batch);
    if (count == 0) continue;
    given_ = {count, batch, from.images.data(), from.labels.data(), from.indices.data()};
    return &given_;
  }
  return nullptr;
}

std::int64_t Loader::Ring::most_skipped() const {
  if (options_.max_skip_share == 0) return 0;
  const auto share = static_cast<std::int64_t>(options_.max_skip_share * double(samples_));
  return std::min(std::max(share, kFewSkipped), options_.max_skip_share < 1 ? samples_ - 1 : samples_);
}

// Closes the gaps in a finished batch and returns how many samples are left.
std::int64_t Loader::Ring::leave_out_failures(Slot& from, std::int64_t batch) {
  const std::int64_t all = samples_in(batch);
  if (from.failures.empty()) return all;
  // Workers finish in any order.
  std::sort(from.failures.begin(), from.failures.end(),
            [](const Failure& a, const Failure& b) { return a.place < b.place; });
  for (const Failure& failure : from.failures) {
    if (!failure.error) continue;
    next_batch_ = batches_;  // the epoch ends here
    std::rethrow_exception(failure.error);
  }
  for (const Failure& failure : from.failures) {
    const std::int64_t index = from.indices[std::size_t(failure.place)];
    if (known_unreadable_[std::size_t(index)]) continue;
    known_unreadable_[std::size_t(index)] = true;
    skipped_.push_back({index, dataset_->name(index), failure.reason});
  }
  std::int64_t count = 0;
  std::size_t failed = 0;
  for (std::int64_t place = 0; place < all; ++place) {
    if (failed < from.failures.size() && from.failures[failed].place == place) {
      ++failed;
      continue;
    }
    if (count != place) {
      std::memcpy(from.images.data() + count * values_, from.images.data() + place * values_,
                  std::size_t(values_) * sizeof(float));
      from.labels[std::size_t(count)] = from.labels[std::size_t(place)];
      from.indices[std::size_t(count)] = from.indices[std::size_t(place)];
    }
    ++count;
  }
  if (std::int64_t(skipped_.size()) > most_skipped()) {
    next_batch_ = batches_;
    const std::string remedy = options_.remedy.empty() ? "" : "; " + options_.remedy;
    throw DataError(fmt::format("{} of {} images cannot be read, allowed are {}; the first: {}: {}{}",
                                skipped_.size(), samples_, most_skipped(), skipped_[0].name,
                                skipped_[0].reason, remedy));
  }
  return count;
}

Loader::Loader(DatasetPointer dataset, const LoaderOptions& options)
    : ring_(std::make_unique<Ring>(std::move(dataset), options)) {}
Loader::~Loader() = default;

std::int64_t Loader::size() const {
  return ring_->size();
}
std::int64_t Loader::batches() const {
  return ring_->batches();
}
std::int64_t Loader::batch_size() const {
  return ring_->options().batch_size;
}
void Loader::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  ring_->start_epoch(epoch, first_batch);
}
const training::Batch* Loader::next() {
  return ring_->next();
}
const std::vector<training::SkippedSample>& Loader::skipped() const {
  return ring_->skipped();
}

}  // namespace vretnet::datasets
