// vretnet data check | stats | split | import
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "datasets/arrange.h"
#include "datasets/checks.h"
#include "datasets/registry.h"
#include "datasets/statistics.h"
#include "tools/command.h"
#include "tools/json_text.h"
#include "tools/terminal.h"

namespace vretnet::tools {
namespace {

using json = nlohmann::ordered_json;

struct DataFlags {
  std::string data_dir, output, kind, fix, format = "text";
  int workers = 1;
  bool hard_links = false;
  double val_split = 0.1;
  std::uint64_t seed = 42;
};

datasets::CheckOptions check_options(const DataFlags& flags, const std::shared_ptr<Progress>& progress) {
  datasets::CheckOptions options;
  options.workers = flags.workers;
  options.progress = [progress](std::int64_t done, std::int64_t total) {
    progress->set_total(total);
    progress->update(done);
  };
  return options;
}

// The number of images is known when the first is done.
std::shared_ptr<Progress> image_progress(const char* label) {
  return std::make_shared<Progress>(label, 1, "img");
}

json class_rows(const std::vector<datasets::CheckedClass>& classes) {
  json rows = json::array();
  for (const auto& each : classes)
    rows.push_back(json{{"name", each.name}, {"train", each.train}, {"val", each.val}, {"test", each.test}});
  return rows;
}

std::string class_table(const std::vector<datasets::CheckedClass>& classes) {
  const bool has_test =
      std::any_of(classes.begin(), classes.end(), [](const auto& each) { return each.test != 0; });
  std::string text =
      fmt::format("class                            train     val{}\n", has_test ? "    test" : "");
  for (const auto& each : classes) {
    text += fmt::format("{:<30} {:7} {:7}", each.name, each.train, each.val);
    text += has_test ? fmt::format(" {:7}\n", each.test) : "\n";
  }
  return text;
}

std::string remarks(const char* what, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += fmt::format("{}: {}\n", what, name);
  return text;
}

int check_folder(const DataFlags& flags) {
  constexpr const char* kMove = "move:";
  if (!flags.fix.empty() && !flags.fix.starts_with(kMove))
    throw UsageError(fmt::format("--fix: '{}', expected move:FOLDER", flags.fix));
  const auto progress = image_progress("check");
  const datasets::CheckReport report = datasets::check_data(flags.data_dir, check_options(flags, progress));
  progress->finish();
  if (flags.format == "json") {
    json unreadable = json::array(), duplicates = json::array();
    for (const auto& each : report.unreadable)
      unreadable.push_back(json{{"file", each.file}, {"reason", each.reason}});
    for (const auto& group : report.duplicates) {
      duplicates.push_back(json{{"files", group.files},
                                {"same_bytes", group.same_bytes},
                                {"across_classes", group.across_classes},
                                {"leaked", group.leaked}});
    }
    print(json_text(json{{"images", report.images},
                         {"clean", report.clean()},
                         {"classes", class_rows(report.classes)},
                         {"unreadable", unreadable},
                         {"duplicates", duplicates},
                         {"empty_classes", report.empty_classes},
                         {"unknown_val_classes", report.unknown_val_classes},
                         {"missing_val_classes", report.missing_val_classes},
                         {"unrecognised", report.unrecognised},
                         {"loose", report.loose}}) +
          "\n");
  } else {
    print(class_table(report.classes));
    for (const auto& each : report.unreadable)
      print(fmt::format("unreadable: {}: {}\n", each.file, each.reason));
    for (const auto& group : report.duplicates) {
      const char* kind = group.leaked           ? "in train and val"
                         : group.across_classes ? "across classes"
                                                : "duplicate";
      print(fmt::format("{} ({}): {}\n", kind, group.same_bytes ? "same bytes" : "same pixels",
                        fmt::join(group.files, " = ")));
    }
    print(remarks("empty class", report.empty_classes) +
          remarks("class of val only", report.unknown_val_classes) +
          remarks("class without val images", report.missing_val_classes) +
          remarks("not an image's name", report.unrecognised) +
          remarks("outside of any class", report.loose));
    print(fmt::format("{} images, {} unreadable, {} groups of duplicates: {}\n", report.images,
                      report.unreadable.size(), report.duplicates.size(),
                      report.clean() ? "clean" : "not clean"));
  }
  if (!flags.fix.empty()) {
    const auto root = datasets::resolve_data_path(flags.data_dir);
    for (const auto& [from, to] :
         datasets::move_unreadable(report, root, flags.fix.substr(std::string(kMove).size()))) {
      say(fmt::format("moved   {} -> {}", from.string(), to.string()));
    }
  }
  return report.clean() ? 0 : 3;
}

int show_statistics(const DataFlags& flags) {
  const auto progress = image_progress("stats");
  const datasets::DataStatistics statistics =
      datasets::data_statistics(flags.data_dir, check_options(flags, progress));
  progress->finish();
  if (flags.format == "json") {
    const auto spread = [](const datasets::Spread& s) {
      return json{{"min", s.minimum}, {"median", s.median}, {"max", s.maximum}};
    };
    print(json_text(json{{"images", statistics.images},
                         {"unreadable", statistics.unreadable},
                         {"classes", class_rows(statistics.classes)},
                         {"width", spread(statistics.width)},
                         {"height", spread(statistics.height)},
                         {"formats", statistics.formats},
                         {"kinds", statistics.kinds},
                         {"mean", statistics.mean},
                         {"std", statistics.deviation}}) +
          "\n");
    return 0;
  }
  print(class_table(statistics.classes));
  print(fmt::format("images {}  unreadable {}\n", statistics.images, statistics.unreadable));
  print(fmt::format("width  {} … {} … {} (smallest, median, largest)\n", statistics.width.minimum,
                    statistics.width.median, statistics.width.maximum));
  print(fmt::format("height {} … {} … {}\n", statistics.height.minimum, statistics.height.median,
                    statistics.height.maximum));
  for (const auto& [format, count] : statistics.formats) print(fmt::format("{:<14} {}\n", format, count));
  for (const auto& [kind, count] : statistics.kinds) print(fmt::format("{:<14} {}\n", kind, count));
  print(fmt::format("mean {:.4f},{:.4f},{:.4f}  std {:.4f},{:.4f},{:.4f}  (for --mean, --std)\n",
                    statistics.mean[0], statistics.mean[1], statistics.mean[2], statistics.deviation[0],
                    statistics.deviation[1], statistics.deviation[2]));
  return 0;
}

int split_folder(const DataFlags& flags) {
  datasets::SplitOptions options{
      flags.val_split, flags.seed,
      flags.hard_links ? datasets::PlaceMode::HardLink : datasets::PlaceMode::Copy};
  const datasets::ArrangedCounts counts = datasets::split_folder(flags.data_dir, flags.output, options);
  print(fmt::format("{}: train {}, val {}\n", flags.output, counts.train, counts.val));
  return 0;
}

int import_data(const DataFlags& flags) {
  const auto progress = image_progress("import");
  const datasets::ArrangedCounts counts =
      datasets::import_idx(flags.data_dir, flags.output, check_options(flags, progress).progress);
  progress->finish();
  print(fmt::format("{}: train {}, val {}\n", flags.output, counts.train, counts.val));
  return 0;
}

}  // namespace

Command data_command() {
  return {"data", "check, measure, split or import a folder of images", [](CLI::App& app) -> Work {
            auto flags = std::make_shared<DataFlags>();
            auto work = std::make_shared<Work>();
            app.require_subcommand(1);
            const auto add = [&](const char* name, const char* summary, int (*function)(const DataFlags&)) {
              CLI::App* child = app.add_subcommand(name, summary);
              add_output_flags(*child);
              child->callback(
                  [flags, work, function] { *work = [flags, function] { return function(*flags); }; });
              return child;
            };
            const auto add_folder = [&](CLI::App* child) {
              child
                  ->add_option("folder,-d,--data-dir,--data-path,--data", flags->data_dir,
                               "ImageFolder, IDX folder, or fashion-mnist")
                  ->required();
            };
            const auto add_reading = [&](CLI::App* child) {
              add_folder(child);
              child->add_option("-j,--workers", flags->workers, "threads that read images")
                  ->check(count_range(0, 256));
              child->add_option("--format", flags->format, "text or json")
                  ->check(CLI::IsMember({"text", "json"}));
            };
            CLI::App* check =
                add("check", "unreadable, duplicate, leaking and stray files; exit code 3 when not clean",
                    check_folder);
            add_reading(check);
            check->add_option("--fix", flags->fix, "move:FOLDER moves unreadable files there");
            add_reading(add("stats", "classes, sizes, kinds, mean and deviation", show_statistics));
            CLI::App* split =
                add("split", "ROOT/CLASS into OUTPUT/train/CLASS and OUTPUT/val/CLASS", split_folder);
            add_folder(split);
            split->add_option("-o,--output", flags->output, "folder to write")->required();
            split->add_option("--val-split", flags->val_split, "share of every class for val")
                ->check(number_range(0.0, 1.0));
            split->add_option("--seed", flags->seed, "of the division")->check(count_range(0, kLargestSeed));
            split->add_flag("--hard-links", flags->hard_links, "links instead of copies");
            CLI::App* import =
                add("import", "idx: IDX files (MNIST, Fashion-MNIST) as folders of PNG", import_data);
            import->add_option("kind", flags->kind, "idx")->required()->check(CLI::IsMember({"idx"}));
            add_folder(import);
            import->add_option("-o,--output", flags->output, "folder to write")->required();
            return [work] { return (*work)(); };
          }};
}

}  // namespace vretnet::tools
