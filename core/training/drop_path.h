// Stochastic depth (Huang et al. 2016, arXiv 1603.09382) as timm's DropPath: each image leaves out some
// residual branches of a training step, the deeper the more, and what stays is scaled up to keep its mean.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vretnet::training {

struct DropPathOptions {
  double rate = 0;  // of the last block, 0 ≤ rate < 1; the first block's is 0, between them it rises linearly
  std::uint64_t seed = 42;
};

// The rate of each branch, of model::Model::branch_depths().
std::vector<double> drop_rates(double rate, std::span<const double> depths);

// What the branches of images first_image … first_image + count − 1 of an epoch are multiplied by: 0, as
// often as rates[branch] says, else 1 / (1 − rates[branch]). Row `branch` of scales [branches, images] gets
// `count` of them. A function of (seed, epoch, image, branch) and nothing else: how images come in batches,
// and which machine has them, does not matter.
void fill_branch_scales(std::uint64_t seed, std::span<const double> rates, std::int64_t epoch,
                        std::int64_t first_image, std::int64_t count, std::span<float> scales);

}  // namespace vretnet::training
