#include "core/training/workers.h"

namespace vretnet::training {

Workers::Workers(int count) {
  for (int index = 1; index < count; ++index) threads_.emplace_back([this, index] { serve(index); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    round_ = -1;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::carry_out(int index) noexcept {
  try {
    (*work_)(index);
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      if (error_) return;
      error_ = std::current_exception();
    }
    (*when_one_fails_)();
  }
}

void Workers::serve(int index) {
  for (long seen = 0;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return round_ != seen; });
      if (round_ < 0) return;
      seen = round_;
    }
    carry_out(index);
    {
      const std::lock_guard lock(mutex_);
      --busy_;
    }
    changed_.notify_all();
  }
}

void Workers::run(const std::function<void(int)>& work, const std::function<void()>& when_one_fails) {
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    when_one_fails_ = &when_one_fails;
    busy_ = static_cast<int>(threads_.size());
    ++round_;
  }
  changed_.notify_all();
  carry_out(0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return busy_ == 0; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace vretnet::training
