// vretnet predict
#include <fmt/format.h>
#include <malloc.h>
#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/model/bound_weights.h"
#include "tools/command.h"
#include "tools/inputs.h"
#include "tools/prediction_format.h"
#include "tools/terminal.h"
#include "tools/test_time.h"
#include "tools/trained_model.h"
#include "vision/classify.h"
#include "vision/decode_ahead.h"

namespace vretnet::tools {
namespace {

struct PredictFlags {
  std::vector<std::string> inputs;
  std::string model, format = "text", tta = "none";
  ImageSizeFlags image_size;
  std::size_t top = 1;
  std::int64_t batch_size = 0;
  int workers = 0;
  bool recursive = false, stream = false;
  std::int64_t max_pixels = vision::DecodeLimits{}.max_pixels;
  double reject_below = 0;
  std::optional<double> confident;
  MachineFlags machine;
};

constexpr int kLargeBuffer = 2 << 20;
constexpr std::int64_t kUsualBatch = 8, kUsualTokens = 4096;  // of a batch whose size nobody gave
constexpr std::size_t kAheadBytes = std::size_t(32) << 20;    // of pictures that wait beside a batch

// Why there is no answer, without the file's name, which stands beside it.
std::string reason_of_failure(const std::string& file, const vision::ImageError& error,
                              const std::vector<std::string>& inputs) {
  const bool is_input = std::find(inputs.begin(), inputs.end(), file) != inputs.end();
  return is_input && is_pattern(file) ? "no file matches this pattern" : error.reason;
}

// Prints one answer an input and counts.
class Report {
 public:
  Report(const PredictFlags& flags, const vision::Description& description)
      : format_(flags.format, description.class_names, flags.top, flags.reject_below),
        inputs_(flags.inputs),
        say_errors_(flags.format == "text" || flags.format == "csv") {
    print(format_.begin());
  }
  void answer(const std::string& file, const vision::Answer& answer) {
    print(format_.answer(file, answer));
    ++answered_;
  }
  void failure(const std::string& file, const vision::ImageError& error) {
    const std::string reason = reason_of_failure(file, error, inputs_);
    print(format_.failure(file, reason));
    if (say_errors_) say_error(fmt::format("{}: {}", file, reason));
    ++answered_;
    ++failed_;
  }
  // Whoever reads along, waits for these answers.
  void flush() { std::fflush(stdout); }
  int end() {
    print(format_.end());
    if (answered_ == 0) throw DataError("no image among the inputs");
    return failed_ > 0 ? 3 : 0;
  }

 private:
  PredictionFormat format_;
  const std::vector<std::string>& inputs_;
  bool say_errors_;
  std::size_t answered_ = 0, failed_ = 0;
};

// A thread that names the inputs to the queue, and ends when nobody wants more.
class InputThread {
 public:
  InputThread(const PredictFlags& flags, vision::DecodeAhead& queue)
      : queue_(queue), thread_([&flags, &queue] {
          try {
            for_each_input(
                flags.inputs, flags.recursive, [&](const std::string& file) { return queue.push(file); },
                [&] { return queue.flush(); });
            queue.close();
          } catch (...) {
            queue.close(std::current_exception());
          }
        }) {}
  ~InputThread() {
    queue_.stop();
    thread_.join();
  }

 private:
  vision::DecodeAhead& queue_;
  std::thread thread_;
};

// Batches of images, decoded by other threads while the model computes.
void predict_batches(const PredictFlags& flags, const vision::Classifier& classifier, Backend& backend,
                     const View& weights, const layers::Pass::Options& options,
                     const vision::DecodeLimits& limits, Report& report) {
  const vision::Preprocessing& preprocessing = classifier.description.preprocessing;
  const std::int64_t tokens = classifier.description.config.tokens();
  const auto batch = static_cast<std::size_t>(
      flags.batch_size > 0 ? flags.batch_size
                           : std::clamp<std::int64_t>(kUsualTokens / tokens, 1, kUsualBatch));
  const int workers = flags.workers > 0 ? flags.workers : omp_get_num_procs();
  const std::size_t ahead = std::clamp<std::size_t>(kAheadBytes / preprocessing.values(), 1,
                                                    batch + static_cast<std::size_t>(workers));
  vision::DecodeAhead queue(preprocessing, limits, workers, batch + ahead);
  const InputThread inputs(flags, queue);
  vision::ImageClassifier images(classifier, backend, weights, options, test_time_augmentation(flags.tta));
  std::vector<vision::Image> pictures;
  for (auto items = queue.take(batch); !items.empty(); items = queue.take(batch)) {
    pictures.clear();
    for (auto& item : items) {
      if (!item.error) pictures.push_back(std::move(item.image));
    }
    std::vector<vision::Answer> answers;
    if (!pictures.empty()) answers = images.classify(pictures);
    std::size_t next = 0;
    for (const auto& item : items) {
      try {
        if (item.error) std::rethrow_exception(item.error);
        report.answer(item.file, answers[next++]);
      } catch (const vision::ImageError& error) {
        report.failure(item.file, error);
      }
    }
    report.flush();
  }
}

// One image after the other, row by row; the progress shows the answer so far.
void predict_streams(const PredictFlags& flags, const vision::Classifier& classifier, Backend& backend,
                     const View& weights, const layers::Pass::Options& options,
                     const vision::DecodeLimits& limits, Report& report) {
  for_each_input(flags.inputs, flags.recursive, [&](const std::string& file) {
    vision::StreamOptions stream;
    stream.confident = flags.confident;
    std::optional<Progress> progress;
    if (shows_progress()) {
      stream.progress = [&](const vision::Answer& so_far, int rows_read, int rows) {
        if (!progress) progress.emplace(file, rows, "rows");
        const auto best = static_cast<std::size_t>(so_far.ranking.front());
        progress->update(rows_read, fmt::format("{} {:.1f}%", classifier.description.class_names[best],
                                                100 * so_far.probabilities[best]));
      };
    }
    try {
      const vision::Answer answer =
          vision::classify_stream(classifier, backend, weights, options, limits, file, stream);
      progress.reset();
      report.answer(file, answer);
    } catch (const vision::ImageError& error) {
      progress.reset();
      report.failure(file, error);
    }
    report.flush();
    return true;
  });
}

vision::Classifier load(const PredictFlags& flags) {
  vision::Classifier classifier = load_trained(flags.model, "predict", flags.image_size);
  if (flags.stream) {
    if (const std::string reason = classifier.model->why_not_streamable(); !reason.empty()) {
      throw UsageError(fmt::format("--stream: {}: {}", flags.model, reason));
    }
  }
  return classifier;
}

int predict(const PredictFlags& flags) {
  // Large buffers go back to the system when they are freed. glibc would serve them from its heaps once the
  // weights, the largest of them, were freed.
  mallopt(M_MMAP_THRESHOLD, kLargeBuffer);
  if (flags.confident && !flags.stream) throw UsageError("--confident: only with --stream");
  if (flags.stream && flags.tta != "none") {
    throw UsageError(fmt::format("--tta: {}, but --stream reads an image once, from the left", flags.tta));
  }
  if (const std::string flag = flags.image_size.given(); flags.stream && !flag.empty()) {
    throw UsageError(fmt::format("{}: not with --stream, which reads every image at its own size", flag));
  }
  vision::Classifier classifier = load(flags);
  if (flags.confident && classifier.description.temperature == 1) {  // of a file that says none
    say(
        fmt::format("warning: --confident: the confidence of {0} is not calibrated; calibrate it with: "
                    "vretnet eval -m {0} -d DATA --calibrate",
                    flags.model));
  }
  const std::unique_ptr<Backend> backend = make_machine(flags.machine);
  const bool integers = runs_integers(flags.machine, *backend, flags.model, !classifier.quantized.empty());
  const model::BoundWeights weights(*backend, classifier.model->parameters(), classifier.values,
                                    integers ? classifier.quantized : model::QuantizedParameters());
  std::vector<float>().swap(classifier.values);  // the machine has them now

  vision::DecodeLimits limits;
  limits.max_pixels = flags.max_pixels;
  const auto options = weights.with(pass_options(flags.machine, layers::Mode::inference));
  Report report(flags, classifier.description);
  (flags.stream ? predict_streams : predict_batches)(flags, classifier, *backend, weights.view(), options,
                                                     limits, report);
  return report.end();
}

}  // namespace

Command predict_command() {
  return {"predict", "classify images: files, folders, a list on stdin", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<PredictFlags>();
            app.add_option("inputs", flags->inputs,
                           "images, folders, quoted patterns ('*.jpg'), or - for a list of files on stdin")
                ->required()
                ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
            app.add_option("-m,--model,--checkpoint", flags->model, "a model file")->required();
            app.add_option("-k,--topk", flags->top, "classes to show")->check(count_range(1, 1 << 20));
            app.add_option("--format", flags->format, "text, csv, json or jsonl")
                ->check(CLI::IsMember({"text", "csv", "json", "jsonl"}));
            app.add_option("--reject-below", flags->reject_below, "answer 'unknown' below this probability")
                ->check(number_range(0.0, 1.0));
            add_test_time_flag(app, flags->tta);
            app.add_flag("-r,--recursive", flags->recursive, "look into subfolders");
            app.add_flag("--stream", flags->stream,
                         "read row by row at the image's own size, in constant memory (causal models)");
            app.add_option("--max-pixels", flags->max_pixels, "largest image to decode whole")
                ->check(count_range(1));
            app.add_option("--confident", flags->confident,
                           "with --stream: stop reading where the best class is more probable than this")
                ->check(number_range(0.0, 1.0));
            add_image_size_flags(app, flags->image_size);
            app.add_option("-b,--batch-size", flags->batch_size,
                           "images that the model sees at once (0: 8, fewer where they are large)")
                ->check(count_range(0, 1 << 16));
            app.add_option("-j,--workers", flags->workers, "threads that read images (0: one a processor)")
                ->check(count_range(0, 256));
            add_machine_flags(app, flags->machine);
            add_output_flags(app);
            return [flags] { return predict(*flags); };
          }};
}

}  // namespace vretnet::tools
