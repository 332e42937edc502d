// Tiny models of every kind, for tests that hold for all of them.
#pragma once

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "vision/vision_model.h"

namespace vretnet::vision {

inline void PrintTo(const ModelConfig& config, std::ostream* out) {
  *out << config.name;
}

namespace cases {

inline ModelConfig classic(const std::string& name) {
  ModelConfig config;
  config.name = name;
  config.image_size = {20, 12};  // 5 × 3 patches
  config.patch_size = 4;
  config.in_chans = 2;
  config.width = 12;
  config.depth = 2;
  config.heads = 3;
  config.classes = 4;
  config.head_norm_epsilon = 1e-3;  // at 1e-6 the loss is too crooked for differences
  return config;
}

inline ModelConfig local(const std::string& name) {
  ModelConfig config = classic(name);
  config.stem = Stem::conv;
  config.value_factor = 1;
  config.ffn_factor = 3.5;
  config.cpe = config.lepe = true;
  config.decay_speed = retention::DecaySpeed::fast;
  return config;
}

inline ModelConfig vit(const std::string& name) {
  ModelConfig config = classic(name);
  config.mixer = MixerKind::attention;
  config.scan = Scan::bidirectional;
  config.learned_position = true;
  config.ffn_factor = 4;
  return config;
}

// Every scan × decay × block, with the poolings that each can have.
inline std::vector<ModelConfig> retnets() {
  std::vector<ModelConfig> all;
  for (const bool is_local : {false, true}) {
    for (const auto& [scan, scan_name] :
         {std::pair(Scan::causal, "causal"), std::pair(Scan::alternate, "alternate"),
          std::pair(Scan::bidirectional, "bidirectional"), std::pair(Scan::cross, "cross")}) {
      for (const auto& [decay, decay_name] :
           {std::pair(ops::DecayKind::raster, "_raster"), std::pair(ops::DecayKind::row, "_row"),
            std::pair(ops::DecayKind::manhattan, "_manhattan")}) {
        if (decay == ops::DecayKind::manhattan && scan != Scan::bidirectional) continue;
        for (const auto pool : {layers::Pool::mean, layers::Pool::last}) {
          if (pool == layers::Pool::last && scan != Scan::causal) continue;
          const std::string name = std::string(is_local ? "local_" : "classic_") + scan_name + decay_name +
                                   (pool == layers::Pool::last ? "_last" : "");
          ModelConfig config = is_local ? local(name) : classic(name);
          config.scan = scan;
          config.decay = decay;
          config.pool = pool;
          if (decay != ops::DecayKind::raster) config.position = retention::Position::axial;
          if (scan == Scan::cross) config.width = 16, config.heads = 4;
          all.push_back(config);
        }
      }
    }
  }
  const std::size_t fixed = all.size();
  for (std::size_t i = 0; i < fixed; ++i) {  // every scan × decay once, in one of the blocks
    const bool is_local = all[i].stem == Stem::conv, is_raster = all[i].decay == ops::DecayKind::raster;
    if (all[i].pool == layers::Pool::last || is_local == is_raster) continue;
    all.push_back(all[i]);
    all.back().name += "_learned_decay";
    all.back().learned_decay = true;
  }
  return all;
}

// The twins, and switches that no scan, decay or block decides.
inline std::vector<ModelConfig> others() {
  std::vector<ModelConfig> all{vit("vit"),
                               vit("vit_class_token"),
                               vit("vit_class_token_without_positions"),
                               vit("vit_local"),
                               classic("classic_other_switches"),
                               local("local_patch_8_wide"),
                               local("local_sequence_pool_layer_scale"),
                               classic("classic_scaled"),
                               local("local_row_scaled_unequally"),
                               local("local_cross_row_scaled_unequally")};
  for (ModelConfig* config : {&all[1], &all[2]}) {
    config->class_token = true;
    config->pool = layers::Pool::token;
  }
  all[2].learned_position = false;
  all[3].stem = Stem::conv;
  all[3].cpe = true;
  all[3].ffn_factor = 3.5;
  all[4].gate = false;
  all[4].position = retention::Position::none;
  all[4].head_norm = ops::HeadNormKind::rms;
  all[4].learned_position = true;
  all[5].image_size = {16, 40};  // 2 × 5 patches
  all[5].patch_size = 8;
  all[6].pool = layers::Pool::sequence;
  all[6].layer_scale = 0.1;
  all[7].base_grid = {10, 6};  // of 5 × 3 patches
  for (ModelConfig* config : {&all[8], &all[9]}) {
    config->base_grid = {10, 2};
    config->decay = ops::DecayKind::row;
    config->position = retention::Position::axial;
  }
  all[9].scan = Scan::cross, all[9].width = 16, all[9].heads = 4;
  return all;
}

inline std::vector<ModelConfig> all() {
  std::vector<ModelConfig> all = retnets();
  for (ModelConfig& config : others()) all.push_back(std::move(config));
  return all;
}

}  // namespace cases
}  // namespace vretnet::vision
