#include "datasets/parallel.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vretnet::datasets {

void for_each(std::int64_t count, int workers, const std::function<void(std::int64_t)>& body,
              const std::function<void(std::int64_t, std::int64_t)>& progress) {
  std::mutex mutex;
  std::int64_t next = 0, done = 0;
  std::exception_ptr failure;
  const std::int64_t step = std::max<std::int64_t>(1, count / 100);
  const auto work = [&] {
    std::unique_lock lock(mutex);
    while (next < count && !failure) {
      const std::int64_t i = next++;
      lock.unlock();
      std::exception_ptr error;
      try {
        body(i);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !failure) failure = error;
      ++done;
      if (progress && !failure && (done % step == 0 || done == count)) {
        try {
          progress(done, count);
        } catch (...) {
          failure = std::current_exception();
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(workers, count); ++i) threads.emplace_back(work);
  if (workers == 0) work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace vretnet::datasets
