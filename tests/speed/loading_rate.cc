// Images a second, and the processor's seconds an image, of training's loader on a folder of images:
//   loading_rate FOLDER [size 224] [workers 2] [epochs 5] [batch 64] [bilinear|bicubic] [off|ram] [reduced]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

#include "datasets/image_folder.h"
#include "datasets/loader.h"

namespace {

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int measure(int count, char** arguments) {
  using namespace vretnet;
  const auto text = [&](int place, const char* standard) {
    return std::string(place < count ? arguments[place] : standard);
  };
  const auto number = [&](int place, const char* standard) { return std::atoi(text(place, standard).c_str()); };
  const auto split = datasets::scan_split(text(1, "."));
  const auto names = datasets::scanned_class_names(split);
  datasets::LoaderOptions options;
  options.preprocessing.width = options.preprocessing.height = number(2, "224");
  options.preprocessing.interpolation =
      text(6, "bilinear") == "bicubic" ? vision::Interpolation::Bicubic : vision::Interpolation::Bilinear;
  options.workers = number(3, "2");
  options.batch_size = number(5, "64");
  options.shuffle = true;
  options.cache = datasets::parse_cache_mode(text(7, "off"));
  options.augmentation.emplace();
  options.augmentation->random_resized_crop = true;
  options.augmentation->reduced_decoding = text(8, "") == "reduced";
  datasets::Loader loader(std::make_shared<datasets::ImageFolder>(split, names), options);
  for (int epoch = 0; epoch < number(4, "5"); ++epoch) {
    const auto began = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    std::int64_t images = 0;
    double sum = 0;
    loader.start_epoch(epoch, 0);
    while (const training::Batch* batch = loader.next()) {
      images += batch->count;
      sum += batch->images[0];
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::printf("epoch %d  %.0f img/s  %.3f ms of processor an image  (%g)\n", epoch, double(images) / seconds,
                1e3 * (processor_seconds() - processor) / double(images), sum);
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return measure(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
