#include "core/backends/onednn/mixers/head_shares.h"

#include <algorithm>
#include <cmath>

namespace vretnet::onednn {
namespace {

// A chunk's state alone over the chunk with its outputs. vretnet_tiny, chunks of 28 tokens: 8,192 of 21,700
// multiply-adds a token (d_k d_v of 2 d_k d_v + 28 (d_k + d_v)). Balance depends on it, results do not.
constexpr double kStateShare = 0.4;
// Two parts take 0.62 of the time of one, four 0.46, and no number less than 0.40.
constexpr std::int64_t kMostParts = 4;

// Where part `part` of `parts` begins, all of them equally long in time: before its own chunks, a part makes
// the state of all chunks before. With s = kStateShare and l the time of a part, b₀ = 0, b = b' + l − s b'
// ends at 1.
std::size_t first_chunk(std::size_t chunks, std::int64_t part, std::int64_t parts) {
  const auto grown = [](std::int64_t n) { return 1 - std::pow(1 - kStateShare, static_cast<double>(n)); };
  return static_cast<std::size_t>(std::lround(static_cast<double>(chunks) * grown(part) / grown(parts)));
}

}  // namespace

HeadShares::HeadShares(std::int64_t heads, const RetentionShape& shape, std::int64_t threads)
    : heads_(heads), threads_(std::min(threads, heads)), whole_(heads), chunks_(shape.plan.chunks) {
  const std::int64_t left = heads % threads;
  // Both directions: every part would have to make all states from below.
  if (left == 0 || threads / left < 2 || chunks_ < 2 || shape.plan.bidirectional) return;
  parts_ = std::min(kMostParts, threads / left);
  whole_ = heads - left;
  threads_ = whole_ > 0 ? threads : left * parts_;
}

HeadPart HeadShares::left_over(std::int64_t thread) const {
  const std::int64_t head = whole_ + thread / parts_, part = thread % parts_;
  if (head >= heads_) return {};
  return {head, first_chunk(chunks_, part, parts_), first_chunk(chunks_, part + 1, parts_)};
}

}  // namespace vretnet::onednn
