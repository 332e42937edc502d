// Sums a flat gradient over the machines that train together, while backward still makes other parts of it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/ops/communicator.h"
#include "core/ops/decorator.h"

namespace vretnet::training {

// Sees the ops of a backward pass on their way to the machine. The gradient is cut into buckets, which every
// machine sums in one fixed order: from the end, where backward begins, to the start. The first pass with a
// batch size shows after which op nothing is added to a bucket any more; in later ones each bucket is summed
// right behind that op. Which bucket an element is in never changes, so neither do the bits of its sum.
class GradientSum : public BackendDecorator {
 public:
  // `gradients` is the flat array. Its first `boundary` elements (matrices) and the rest (biases, gains, of
  // all layers and so finished last) are cut apart. `inner` has a communicator; both outlive this.
  GradientSum(Backend& inner, const View& gradients, std::int64_t boundary, std::size_t bucket_bytes);

  void run(const ops::Op& op) override;

  // The backward pass that comes is the last one that adds to the gradient; `batch` tells passes with other
  // ops apart.
  void begin(std::int64_t batch);
  // Sums what is left; ops from now on see the whole sum. On its own, without begin(), it sums everything.
  void end();

  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::int64_t begin, count;  // elements
  };
  using LastOps = std::vector<std::int64_t>;  // for each bucket, how many ops have run when it is finished
  void note(const ops::Op& op);

  View gradients_;
  std::vector<Bucket> buckets_;  // in the order of their sums
  std::map<std::int64_t, LastOps> known_;
  LastOps learned_;
  const LastOps* last_ops_ = nullptr;  // of the running pass; null: it is being learned
  bool watching_ = false;
  std::int64_t batch_ = 0, ops_ = 0;
  std::size_t next_ = 0;  // bucket to be summed
};

}  // namespace vretnet::training
