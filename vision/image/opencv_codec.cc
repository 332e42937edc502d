#include "vision/image/opencv_codec.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "vision/image/opencv_module/interface.h"

namespace vretnet::vision {
namespace {

struct Module {
  VretnetOpencvDecode* decode = nullptr;
  std::string problem;
};

// The module lies in ../lib/vretnet as seen from the program, in the build folder and where it is installed.
Module load_module() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto path = program.parent_path().parent_path() / "lib" / "vretnet" / kVretnetOpencvModule;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return {nullptr, dlerror()};
  auto* decode = reinterpret_cast<VretnetOpencvDecode*>(dlsym(library, kVretnetOpencvFunction));
  if (!decode) return {nullptr, fmt::format("{} has no {}", path.string(), kVretnetOpencvFunction)};
  return {decode, ""};
}

struct Target {
  const ImageInfo& info;
  Image image;
};

std::uint8_t* allocate(void* context, int width, int height) {
  Target& target = *static_cast<Target*>(context);
  const ImageInfo& info = target.info;
  const bool as_stored = width == info.width && height == info.height;
  const bool turned = width == info.height && height == info.width && info.orientation > 4;
  if (!as_stored && !turned) return nullptr;
  target.image = make_image(width, height, 3);
  return target.image.pixels.data();
}

}  // namespace

Image decode_with_opencv(std::span<const std::byte> bytes, const std::string& name, ImageInfo& info) {
  static const Module module = load_module();
  if (!module.decode) {
    throw ImageError(name, fmt::format("format {} needs the module {}, which cannot be loaded: {}",
                                       format_name(info.format), kVretnetOpencvModule, module.problem));
  }
  if (bytes.size() > std::size_t(std::numeric_limits<int>::max())) {
    throw ImageError(name, fmt::format("{} of more than 2 GiB is not supported", format_name(info.format)));
  }
  Target target{info, {}};
  char message[512] = "";
  if (module.decode(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), allocate, &target,
                    message, sizeof(message))) {
    throw ImageError(name, fmt::format("damaged {}: {}", format_name(info.format), message));
  }
  if (info.format == ImageFormat::Tiff) info.orientation = 1;
  return std::move(target.image);
}

}  // namespace vretnet::vision
