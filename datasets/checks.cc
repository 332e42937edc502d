#include "datasets/checks.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "core/base/error.h"
#include "datasets/parallel.h"
#include "datasets/survey.h"

namespace vretnet::datasets {
namespace {

namespace fs = std::filesystem;

// Equal pictures have equal prints; of unequal ones a few do, too.
using Print = std::tuple<int, int, std::uint64_t>;  // width, height, CRC-32 of the pixels

Print print_of(const vision::Image& image) {
  return {image.width, image.height,
          crc32_z(crc32_z(0, nullptr, 0), image.pixels.data(), image.pixels.size())};
}

std::string reason_of(const DataError& error) {
  const auto* image_error = dynamic_cast<const vision::ImageError*>(&error);
  return image_error ? image_error->reason : error.what();
}

// Divides `members`, whose prints are equal, into groups of equal pixels.
std::vector<std::vector<std::size_t>> equal_groups(const Survey& survey,
                                                   const std::vector<std::size_t>& members) {
  std::vector<std::vector<std::size_t>> groups;
  std::vector<vision::Image> first_images;  // of each group
  for (const std::size_t member : members) {
    vision::Image image = survey.read(survey.items()[member]).image;
    std::size_t group = 0;
    while (group < groups.size() && first_images[group].pixels != image.pixels) ++group;
    if (group == groups.size()) {
      groups.emplace_back();
      first_images.push_back(std::move(image));
    }
    groups[group].push_back(member);
  }
  return groups;
}

DuplicateGroup describe(const Survey& survey, const std::vector<std::size_t>& members) {
  DuplicateGroup group;
  const SurveyItem& first = survey.items()[members[0]];
  const std::vector<std::byte> bytes = survey.read_bytes(first);
  group.same_bytes = true;
  for (const std::size_t member : members) {
    const SurveyItem& item = survey.items()[member];
    group.files.push_back(item.name);
    group.across_classes |= item.class_index != first.class_index;
    group.leaked |= item.split != first.split;
    if (member != members[0] && group.same_bytes) group.same_bytes = survey.read_bytes(item) == bytes;
  }
  std::sort(group.files.begin(), group.files.end());
  return group;
}

void find_duplicates(const Survey& survey, const std::vector<std::optional<Print>>& prints, int workers,
                     CheckReport& report) {
  std::map<Print, std::vector<std::size_t>> by_print;
  for (std::size_t i = 0; i < prints.size(); ++i) {
    if (prints[i]) by_print[*prints[i]].push_back(i);
  }
  std::vector<std::vector<std::size_t>> candidates;
  for (auto& [print, members] : by_print) {
    if (members.size() > 1) candidates.push_back(std::move(members));
  }
  std::vector<std::vector<DuplicateGroup>> found(candidates.size());
  for_each(std::int64_t(candidates.size()), workers, [&](std::int64_t i) {
    for (const auto& members : equal_groups(survey, candidates[std::size_t(i)])) {
      if (members.size() > 1) found[std::size_t(i)].push_back(describe(survey, members));
    }
  });
  for (auto& groups : found) {
    for (DuplicateGroup& group : groups) report.duplicates.push_back(std::move(group));
  }
  std::sort(report.duplicates.begin(), report.duplicates.end(),
            [](const DuplicateGroup& a, const DuplicateGroup& b) { return a.files < b.files; });
}

void check_layout(const FolderScan& scan, CheckReport& report) {
  const auto add_all = [](std::vector<std::string>& to, const std::vector<fs::path>& files) {
    for (const fs::path& file : files) to.push_back(file.string());
  };
  add_all(report.unrecognised, scan.other);
  add_all(report.loose, scan.loose);
  std::set<std::string> trained, validated;
  bool has_val = false;
  for (const ScannedSplit& split : scan.splits) {
    add_all(report.loose, split.loose);
    has_val |= split.name == "val";
    for (const ScannedClass& scanned : split.classes) {
      if (scanned.files.empty()) {
        report.empty_classes.push_back((split.folder / scanned.name).string());
      } else if (split.name == "val") {
        validated.insert(scanned.name);
      } else if (split.name != "test") {
        trained.insert(scanned.name);
      }
    }
  }
  std::set_difference(validated.begin(), validated.end(), trained.begin(), trained.end(),
                      std::back_inserter(report.unknown_val_classes));
  if (!has_val) return;
  std::set_difference(trained.begin(), trained.end(), validated.begin(), validated.end(),
                      std::back_inserter(report.missing_val_classes));
}

// Moves without ever replacing what is there: a hard link fails where the name is taken, rename would not.
bool move_if_free(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (error == std::errc::file_exists) return false;
  if (error) {  // another file system, or one without links
    std::error_code copy_error;
    fs::copy_file(from, to, fs::copy_options::none, copy_error);
    if (copy_error == std::errc::file_exists) return false;
    if (copy_error) {
      throw RunError(
          fmt::format("{}: cannot be moved to {}: {}", from.string(), to.string(), copy_error.message()));
    }
  }
  if (!fs::remove(from, error) || error) {
    throw RunError(fmt::format("{}: cannot be removed after it was copied to {}: {}", from.string(),
                               to.string(), error.message()));
  }
  return true;
}

}  // namespace

bool CheckReport::clean() const {
  const bool harmful = std::any_of(duplicates.begin(), duplicates.end(), [](const DuplicateGroup& group) {
    return group.across_classes || group.leaked;
  });
  return unreadable.empty() && !harmful && empty_classes.empty() && unknown_val_classes.empty();
}

CheckReport check_data(const std::string& path, const CheckOptions& options) {
  const Survey survey(path, options.decode_limits);
  CheckReport report;
  report.images = std::int64_t(survey.items().size());
  report.classes = survey.classes();
  if (survey.scan()) check_layout(*survey.scan(), report);

  std::vector<std::optional<Print>> prints(survey.items().size());
  std::vector<std::string> reasons(survey.items().size());
  const auto look_at = [&](std::int64_t i) {
    try {
      prints[std::size_t(i)] = print_of(survey.read(survey.items()[std::size_t(i)]).image);
    } catch (const DataError& error) {
      reasons[std::size_t(i)] = reason_of(error);
    }
  };
  for_each(report.images, options.workers, look_at, options.progress);
  for (std::size_t i = 0; i < prints.size(); ++i) {
    if (!prints[i]) report.unreadable.push_back({survey.items()[i].name, reasons[i]});
  }
  find_duplicates(survey, prints, options.workers, report);
  return report;
}

std::vector<std::pair<fs::path, fs::path>> move_unreadable(const CheckReport& report, const fs::path& root,
                                                           const fs::path& destination) {
  std::error_code error;
  const fs::path whole_root = fs::canonical(root, error),
                 whole_destination = fs::weakly_canonical(destination);
  const auto relative = whole_destination.lexically_relative(whole_root);
  if (!error && !relative.empty() && *relative.begin() != "..") {
    throw UsageError(
        fmt::format("'{}' lies inside the data folder '{}': the files moved there would stay part of it",
                    destination.string(), root.string()));
  }
  std::vector<std::pair<fs::path, fs::path>> moves;
  for (const UnreadableFile& broken : report.unreadable) {
    const fs::path from = broken.file, wanted = destination / from.lexically_relative(root);
    fs::create_directories(wanted.parent_path(), error);
    if (error)
      throw RunError(fmt::format("{}: cannot be made: {}", wanted.parent_path().string(), error.message()));
    fs::path to = wanted;
    for (int number = 1; !move_if_free(from, to); ++number) {
      to = wanted.parent_path() /
           (wanted.stem().string() + fmt::format("-{}", number) + wanted.extension().string());
    }
    moves.emplace_back(from, to);
  }
  return moves;
}

}  // namespace vretnet::datasets
