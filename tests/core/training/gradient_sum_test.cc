// Buckets of a gradient are summed once each, whole, and as soon as backward is done with them.
#include "core/training/gradient_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>

#include "core/training/workers.h"
#include "tests/core/training/support.h"

namespace vretnet::training {
namespace {

// Notes what it is asked for, and what lay there then.
class Witness : public Communicator {
 public:
  void begin_sum(const View& x) override {
    const float* data = x.data<float>();
    sums.push_back({x.offset(), {data, data + x.elements()}, ops});
  }
  void wait_for_sums() override { ++waits; }
  void abort() override {}

  struct Sum {
    std::int64_t offset;
    std::vector<float> values;
    int ops;  // that had run
  };
  std::vector<Sum> sums;
  int ops = 0, waits = 0;
};

class WatchedBackend : public BackendDecorator {
 public:
  using BackendDecorator::BackendDecorator;
  void run(const ops::Op& op) override {
    BackendDecorator::run(op);
    ++witness.ops;
  }
  Communicator* communicator() override { return &witness; }
  Witness witness;
};

TEST(GradientSum, SumsEveryBucketOnceWholeAndEarly) {
  for (const bool local : {false, true}) {
    const auto model = tiny_model(local);
    const auto real = make_backend("onednn", 1);
    WatchedBackend watched(*real);
    Witness& witness = watched.witness;
    const std::int64_t elements = model->parameters().elements();
    const Allocation weights(watched, DType::f32, {elements}), gradients(watched, DType::f32, {elements});
    model::upload_values(watched, weights.view(), model::initial_values(model->parameters(), 3));
    GradientSum sum(watched, gradients.view(), model->parameters().decaying_elements(), 2048);
    model::Session session(*model, sum, weights.view(), gradients.view(), {.mode = layers::Mode::training});
    const Allocation d_logits(watched, DType::f32, {2, kClasses});
    watched.fill(d_logits.view(), 0.5);
    const std::vector<float> images(2 * kPixels, 0.25f);

    std::vector<std::int64_t> order;
    for (int pass = 0; pass < 3; ++pass) {
      watched.fill(gradients.view(), 0);
      witness = {};
      session.forward(images.data(), 2);
      const int before = witness.ops;
      sum.begin(2);
      session.backward(d_logits.view());
      const int after = witness.ops;
      sum.end();
      EXPECT_EQ(witness.waits, 1);
      ASSERT_EQ(witness.sums.size(), sum.buckets());
      EXPECT_GT(sum.buckets(), 4u);

      std::vector<std::int64_t> offsets;
      std::int64_t whole = 0, early = 0;
      for (const Witness::Sum& each : witness.sums) {
        const float* final_values = gradients.view().data<float>() + each.offset;
        EXPECT_TRUE(std::equal(each.values.begin(), each.values.end(), final_values))
            << "the bucket at " << each.offset << " was not finished";
        whole += std::ssize(each.values);
        early += each.ops < after;
        EXPECT_GT(each.ops, before);
        offsets.push_back(each.offset);
      }
      EXPECT_EQ(whole, elements);
      if (pass == 0) order = offsets;
      EXPECT_EQ(offsets, order) << "the same on every machine and in every pass";
      EXPECT_EQ(std::set<std::int64_t>(offsets.begin(), offsets.end()).size(), offsets.size());
      if (pass == 0) {
        EXPECT_EQ(early, 0) << "nothing is known of the ops yet";
      } else {
        EXPECT_GT(2 * early, std::ssize(offsets)) << "most are begun while backward runs";
      }
    }
  }
}

TEST(Workers, EachHasItsThreadAndTheFirstErrorIsThrown) {
  Workers workers(3);
  std::vector<std::thread::id> first(3), second(3);
  workers.each([&](int i) { first[std::size_t(i)] = std::this_thread::get_id(); });
  workers.each([&](int i) { second[std::size_t(i)] = std::this_thread::get_id(); });
  EXPECT_EQ(first, second);
  EXPECT_EQ(first[0], std::this_thread::get_id());
  EXPECT_NE(first[1], first[0]);
  EXPECT_NE(first[1], first[2]);

  // Two wait for the third, which fails.
  std::atomic<bool> failed = false;
  std::atomic<int> ended = 0;
  const auto work = [&](int i) {
    if (i == 2) throw std::runtime_error("the cause");
    while (!failed) std::this_thread::yield();
    ++ended;
    throw std::runtime_error("a consequence");
  };
  try {
    workers.each(work, [&] { failed = true; });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "the cause");
  }
  EXPECT_EQ(ended, 2);
  workers.each([&](int) { ++ended; });
  EXPECT_EQ(ended, 5) << "and they work on";
}

}  // namespace
}  // namespace vretnet::training
