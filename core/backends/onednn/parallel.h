// Sharing out work among threads: always the same items to the same part, so that sums made per part and then
// joined in the order of the parts have equal bits for equal thread counts.
#pragma once

#include <omp.h>

#include <cstdint>

namespace vretnet::onednn {

// Elements of f32 below which waking other threads costs more than they save.
constexpr std::int64_t kGrain = 16384;

struct Range {
  std::int64_t begin = 0, end = 0;
};

// How many parts to cut work into that touches `elements` in all: one, or one a thread.
inline int parts_for(std::int64_t elements) {
  return elements < kGrain ? 1 : omp_get_max_threads();
}

// The items of a part; cuts fall on multiples of `multiple`.
inline Range part_of(std::int64_t items, int part, int parts, std::int64_t multiple = 1) {
  const std::int64_t groups = (items + multiple - 1) / multiple;
  const std::int64_t begin = groups * part / parts * multiple, end = groups * (part + 1) / parts * multiple;
  return {begin < items ? begin : items, end < items ? end : items};
}

// run(part) for every part, each on its own thread; one after the other for a caller that is itself a part.
template <class Run>
void for_parts(int parts, Run&& run) {
  if (parts == 1 || omp_in_parallel()) {
    for (int part = 0; part < parts; ++part) run(part);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; ++part) run(part);
}

// run(range) over `items` that touch `elements_per_item` each.
template <class Run>
void for_ranges(std::int64_t items, std::int64_t elements_per_item, Run&& run) {
  if (items == 0) return;
  const int parts = parts_for(items * elements_per_item);
  for_parts(parts, [&](int part) {
    const Range range = part_of(items, part, parts);
    if (range.begin < range.end) run(range);
  });
}

// oneDNN compiles a primitive for the threads that the caller may use.
class OneThread {
 public:
  OneThread() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(threads_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

}  // namespace vretnet::onednn
