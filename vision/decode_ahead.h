// Image files decoded by worker threads ahead of the model that classifies them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "vision/image/decode.h"
#include "vision/image/image.h"
#include "vision/image/transforms.h"

namespace vretnet::vision {

// A queue: one thread pushes names of files, one takes the model's 8-bit inputs, in the same order. At most
// `capacity` files are on their way, so memory does not grow with their number.
class DecodeAhead {
 public:
  struct Item {
    std::string file;
    Image image;               // as preprocess_pixels makes it; empty where there is an error
    std::exception_ptr error;  // what reading the file threw
  };

  // At most `workers` ≥ 1 threads, started as files come.
  DecodeAhead(const Preprocessing& preprocessing, const DecodeLimits& limits, int workers,
              std::size_t capacity);
  ~DecodeAhead();  // at any time; files on their way are dropped
  DecodeAhead(const DecodeAhead&) = delete;
  DecodeAhead& operator=(const DecodeAhead&) = delete;

  // For the thread that pushes. push() waits while the queue is full. flush() says that the next file may be
  // long in coming: those before it are given out without waiting for a full batch. Both return false where
  // nobody takes any more (stop()). close() says that there are no more files; with an error, take() throws
  // it after the last one.
  bool push(std::string file);
  bool flush();
  void close(std::exception_ptr error = nullptr);

  // The next `most` files in order, which is at most the capacity: fewer only before a flush and at the end,
  // none after it. Waits until they are decoded.
  std::vector<Item> take(std::size_t most);
  // No more are taken.
  void stop();

 private:
  struct Slot {
    Item item;
    bool done = false;
  };
  void work();
  std::size_t wanted(std::size_t most) const;
  bool ready(std::size_t count) const;

  Preprocessing preprocessing_;
  DecodeLimits limits_;
  std::size_t workers_, capacity_;

  std::mutex mutex_;
  std::condition_variable space_;   // for push: room, or the end
  std::condition_variable files_;   // for workers: a file, or the end
  std::condition_variable change_;  // for take: something decoded, flushed or closed
  std::deque<Slot> slots_;          // not yet taken; a deque keeps their addresses
  std::int64_t taken_ = 0;          // so many files are gone: slots_[0] is the file of this number
  std::int64_t started_ = 0;        // the first that no worker has
  std::int64_t flushed_ = 0;        // those before it are wanted now
  bool closed_ = false, stopping_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace vretnet::vision
