// One thread for each machine of a training run.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace vretnet::training {

class Workers {
 public:
  explicit Workers(int count);  // of threads, the caller's among them
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // work(0) … work(count − 1), each on a thread of its own, the same one every time, 0 on the caller's.
  // Returns when all have ended, and throws what was thrown first. `when_one_fails` is called behind that,
  // once, while the others may still work.
  template <class Work, class Failed>
  void each(const Work& work, const Failed& when_one_fails) {
    if (threads_.empty()) return work(0);
    run(std::ref(work), std::ref(when_one_fails));
  }
  template <class Work>
  void each(const Work& work) {
    each(work, [] {});
  }

 private:
  void run(const std::function<void(int)>& work, const std::function<void()>& when_one_fails);
  void serve(int index);
  void carry_out(int index) noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* work_ = nullptr;
  const std::function<void()>* when_one_fails_ = nullptr;
  long round_ = 0;  // of work; −1: the end
  int busy_ = 0;
  std::exception_ptr error_;  // the first one
  std::vector<std::thread> threads_;
};

}  // namespace vretnet::training
