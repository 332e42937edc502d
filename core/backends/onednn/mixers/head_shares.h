// How the forward pass shares heads out among threads: equally many whole heads to each, and of causal models
// those that are left over in parts, so that the three heads of one image keep two threads busy, or a dozen.
// The gradient does not cut: a training batch has heads enough.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/backends/onednn/mixers/retention_head.h"

namespace vretnet::onednn {

// The chunks of a head whose outputs one thread makes. It makes the state of the chunks before by itself, as
// the thread that has those does: results do not depend on how a head is cut.
struct HeadPart {
  std::int64_t head = 0;
  std::size_t begin = 0, end = 0;  // chunks
};

class HeadShares {
 public:
  // `heads`: of all images.
  HeadShares(std::int64_t heads, const RetentionShape& shape, std::int64_t threads);

  std::int64_t threads() const { return threads_; }
  std::int64_t whole_heads() const { return whole_; }  // the first ones
  std::int64_t cut_heads() const { return heads_ - whole_; }
  // run(part) for all that `thread` has to do.
  template <class Run>
  void for_parts_of(std::int64_t thread, const Run& run) const {
    for (std::int64_t head = first_whole(thread); head < first_whole(thread + 1); ++head) {
      run(HeadPart{head, 0, chunks_});
    }
    const HeadPart part = left_over(thread);
    if (part.begin < part.end) run(part);
  }

 private:
  std::int64_t first_whole(std::int64_t thread) const { return whole_ * thread / threads_; }
  HeadPart left_over(std::int64_t thread) const;

  std::int64_t heads_, threads_;
  std::int64_t whole_;
  std::int64_t parts_ = 1;  // of each head that is cut
  std::size_t chunks_;
};

}  // namespace vretnet::onednn
