#include "vision/decode_ahead.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "core/base/ensure.h"

namespace vretnet::vision {

DecodeAhead::DecodeAhead(const Preprocessing& preprocessing, const DecodeLimits& limits, int workers,
                         std::size_t capacity)
    : preprocessing_(preprocessing),
      limits_(limits),
      workers_(static_cast<std::size_t>(workers)),
      capacity_(capacity) {
  ensure(workers >= 1 && capacity >= 1, "{} workers, capacity {}", workers, capacity);
}

DecodeAhead::~DecodeAhead() {
  stop();
  for (std::thread& thread : threads_) thread.join();
}

void DecodeAhead::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  space_.notify_all();
  files_.notify_all();
}

bool DecodeAhead::push(std::string file) {
  std::unique_lock lock(mutex_);
  space_.wait(lock, [this] { return stopping_ || slots_.size() < capacity_; });
  if (stopping_) return false;
  slots_.push_back({{std::move(file), {}, nullptr}, false});
  if (threads_.size() < std::min(workers_, slots_.size())) threads_.emplace_back([this] { work(); });
  lock.unlock();
  files_.notify_one();
  change_.notify_one();
  return true;
}

bool DecodeAhead::flush() {
  std::unique_lock lock(mutex_);
  flushed_ = taken_ + std::int64_t(slots_.size());
  const bool wanted = !stopping_;
  lock.unlock();
  change_.notify_one();
  return wanted;
}

void DecodeAhead::close(std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    error_ = error;
  }
  change_.notify_one();
}

void DecodeAhead::work() {
  sigset_t all;  // signals are for the program's main thread
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock lock(mutex_);
  for (;;) {
    files_.wait(lock, [this] { return stopping_ || started_ < taken_ + std::int64_t(slots_.size()); });
    if (stopping_) return;
    Slot& slot = slots_[std::size_t(started_++ - taken_)];
    lock.unlock();
    try {
      slot.item.image =
          preprocess_pixels(read_image(slot.item.file, limits_, preprocessing_.channels), preprocessing_);
    } catch (...) {
      slot.item.error = std::current_exception();
    }
    lock.lock();
    slot.done = true;
    change_.notify_one();
  }
}

// How many files the next take() gives; more than there can be where that is not known yet.
std::size_t DecodeAhead::wanted(std::size_t most) const {
  if (slots_.size() >= most) return most;
  if (closed_) return slots_.size();
  if (flushed_ > taken_) return std::size_t(flushed_ - taken_);
  return capacity_ + 1;
}

bool DecodeAhead::ready(std::size_t count) const {
  return count <= slots_.size() && std::all_of(slots_.begin(), slots_.begin() + std::ptrdiff_t(count),
                                               [](const Slot& slot) { return slot.done; });
}

std::vector<DecodeAhead::Item> DecodeAhead::take(std::size_t most) {
  ensure(most >= 1 && most <= capacity_, "{} files of a queue of {}", most, capacity_);
  std::unique_lock lock(mutex_);
  change_.wait(lock, [&] { return ready(wanted(most)); });
  std::vector<Item> items;
  for (std::size_t count = wanted(most); items.size() < count;) {
    items.push_back(std::move(slots_.front().item));
    slots_.pop_front();
    ++taken_;
  }
  if (items.empty() && error_) std::rethrow_exception(error_);
  lock.unlock();
  space_.notify_one();
  return items;
}

}  // namespace vretnet::vision
