#include "datasets/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>
#include <utility>

#include "core/base/did_you_mean.h"
#include "core/base/error.h"
#include "vision/image/transforms.h"

namespace vretnet::datasets {
namespace {

// A picture, or the reason why there is none.
struct Entry {
  vision::Image image;
  std::exception_ptr error;
  std::int64_t bytes() const { return std::int64_t(sizeof(Entry) + image.pixels.size()); }
};

class Cached : public Dataset {
 public:
  Cached(DatasetPointer dataset, std::int64_t budget)
      : dataset_(std::move(dataset)), budget_(budget), entries_(std::size_t(dataset_->size())) {}
  ~Cached() override {
    for (std::atomic<const Entry*>& entry : entries_) delete entry.load();
  }

  std::int64_t size() const override { return dataset_->size(); }
  const std::vector<std::string>& class_names() const override { return dataset_->class_names(); }
  std::int32_t label(std::int64_t index) const override { return dataset_->label(index); }
  std::string name(std::int64_t index) const override { return dataset_->name(index); }

  vision::Image read(std::int64_t index, int channels) const override {
    std::unique_ptr<Entry> own;
    const Entry& entry = find(index, channels, own);
    return vision::to_channels(entry.image, channels);
  }

  vision::LazyImage open(std::int64_t index, int channels) const override {
    if (full_ && !entries_[std::size_t(index)].load(std::memory_order_acquire)) {
      return dataset_->open(index, channels);
    }
    std::unique_ptr<Entry> own;
    const Entry& entry = find(index, channels, own);
    if (entry.image.channels != channels) {
      return vision::LazyImage(vision::to_channels(entry.image, channels));
    }
    if (own) return vision::LazyImage(std::move(own->image));
    return vision::LazyImage(vision::ImageView(entry.image));
  }

 private:
  // The picture with `channels` or more (grey is a function of colour, not the other way round), kept where
  // there is room, else owned by `own`. Throws what reading it threw.
  const Entry& find(std::int64_t index, int channels, std::unique_ptr<Entry>& own) const {
    const Entry* entry = entries_[std::size_t(index)].load(std::memory_order_acquire);
    if (!entry || (!entry->error && entry->image.channels < channels)) {
      own = std::make_unique<Entry>();
      try {
        own->image = dataset_->read(index, channels);
      } catch (const DataError&) {
        own->error = std::current_exception();
      }
      const Entry* fresh = own.get();
      if (!entry && keep(index, *own)) own.release();
      entry = fresh;
    }
    if (entry->error) std::rethrow_exception(entry->error);
    return *entry;
  }

  // True where the entry now belongs to the cache.
  bool keep(std::int64_t index, const Entry& entry) const {
    const std::int64_t bytes = entry.bytes();
    if (used_.fetch_add(bytes) + bytes <= budget_) {
      const Entry* none = nullptr;
      if (entries_[std::size_t(index)].compare_exchange_strong(none, &entry, std::memory_order_release)) {
        return true;
      }
      // Another thread was faster.
    } else {
      full_ = true;
    }
    used_.fetch_sub(bytes);
    return false;
  }

  DatasetPointer dataset_;
  std::int64_t budget_;
  mutable std::atomic<std::int64_t> used_{0};
  mutable std::atomic<bool> full_{false};  // a picture did not fit: from now on only parts are decoded
  mutable std::vector<std::atomic<const Entry*>> entries_;
};

// The number after `key` in a file of lines "key number …", or −1.
std::int64_t number_after(const char* file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string word;
    std::int64_t number = -1;
    if (words >> word && word == key && words >> number) return number;
  }
  return -1;
}

std::int64_t number_in(const char* file) {
  std::ifstream stream(file);
  std::int64_t number = -1;
  return stream >> number ? number : -1;
}

}  // namespace

CacheMode parse_cache_mode(const std::string& text) {
  if (text == "auto") return CacheMode::Auto;
  if (text == "ram") return CacheMode::Ram;
  if (text == "off") return CacheMode::Off;
  throw UsageError(fmt::format("cache '{}' is none of auto, ram, off.{}", text,
                               did_you_mean(text, {"auto", "ram", "off"})));
}

std::int64_t available_memory() {
  std::int64_t available = std::max<std::int64_t>(0, number_after("/proc/meminfo", "MemAvailable:")) * 1024;
  const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max");  // "max" is no number: no limit
  const std::int64_t used = number_in("/sys/fs/cgroup/memory.current");
  if (limit >= 0 && used >= 0) {
    const std::int64_t reclaimable =
        std::max<std::int64_t>(0, number_after("/sys/fs/cgroup/memory.stat", "inactive_file"));
    available = std::min(available, std::max<std::int64_t>(0, limit - used + reclaimable));
  }
  return available;
}

DatasetPointer cached(DatasetPointer dataset, CacheMode mode, std::int64_t budget) {
  if (mode == CacheMode::Off || dataset->in_memory()) return dataset;
  if (budget < 0) {
    budget = mode == CacheMode::Ram ? std::numeric_limits<std::int64_t>::max() / 2
                                    : std::int64_t(kAutoCacheShare * double(available_memory()));
  }
  return std::make_shared<Cached>(std::move(dataset), budget);
}

}  // namespace vretnet::datasets
