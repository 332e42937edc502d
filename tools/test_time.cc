#include "tools/test_time.h"

namespace vretnet::tools {

void add_test_time_flag(CLI::App& app, std::string& name) {
  app.add_option("--tta", name, "test-time augmentation: none, or hflip (an image and its mirror, averaged)")
      ->check(CLI::IsMember({"none", "hflip"}));
}

training::TestTimeAugmentation test_time_augmentation(const std::string& name) {
  return name == "hflip" ? training::TestTimeAugmentation::HorizontalFlip
                         : training::TestTimeAugmentation::None;
}

}  // namespace vretnet::tools
