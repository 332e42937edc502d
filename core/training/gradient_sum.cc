#include "core/training/gradient_sum.h"

#include <algorithm>

#include "core/ops/fields.h"

namespace vretnet::training {

GradientSum::GradientSum(Backend& inner, const View& gradients, std::int64_t boundary,
                         std::size_t bucket_bytes)
    : BackendDecorator(inner), gradients_(gradients) {
  const auto most =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(bucket_bytes / bytes_of(gradients.dtype())));
  const auto cut = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t last = end; last > begin;) {
      const std::int64_t first = std::max(begin, last - most);
      buckets_.push_back({first, last - first});
      last = first;
    }
  };
  cut(0, boundary);
  cut(boundary, gradients.elements());
}

void GradientSum::run(const ops::Op& op) {
  inner().run(op);
  if (!watching_) return;
  ++ops_;
  if (last_ops_ == nullptr) return note(op);
  for (; next_ < buckets_.size() && (*last_ops_)[next_] <= ops_; ++next_) {
    communicator()->begin_sum(gradients_.slice(0, buckets_[next_].begin, buckets_[next_].count));
  }
}

// Buckets that the op touches, in whatever way.
void GradientSum::note(const ops::Op& op) {
  ops::for_each_field(op, [&](const ops::Field& field) {
    const View& view = field.view;
    if (view.buffer() != gradients_.buffer() || view.elements() == 0) return;
    std::int64_t first = view.offset() - gradients_.offset(), last = first;
    for (int axis = 0; axis < view.rank(); ++axis) {
      const std::int64_t reach = (view.extent(axis) - 1) * view.stride(axis);
      (reach < 0 ? first : last) += reach;
    }
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      const Bucket& bucket = buckets_[i];
      if (first < bucket.begin + bucket.count && last >= bucket.begin) learned_[i] = ops_;
    }
  });
}

void GradientSum::begin(std::int64_t batch) {
  const auto found = known_.find(batch);
  last_ops_ = found == known_.end() ? nullptr : &found->second;
  learned_.assign(buckets_.size(), 0);
  watching_ = true;
  batch_ = batch;
  ops_ = 0;
}

void GradientSum::end() {
  if (watching_ && last_ops_ == nullptr) known_[batch_] = learned_;
  watching_ = false;
  for (; next_ < buckets_.size(); ++next_) {
    communicator()->begin_sum(gradients_.slice(0, buckets_[next_].begin, buckets_[next_].count));
  }
  next_ = 0;
  communicator()->wait_for_sums();
}

}  // namespace vretnet::training
