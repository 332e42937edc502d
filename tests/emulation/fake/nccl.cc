// NCCL's sums over the devices of one process, behind its own header. A sum on one device goes on when all
// have come to it, so what is there too early or too late shows in its result.
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "tests/emulation/emulator.h"
#include "tests/emulation/fake/runtime.h"

using vretnet::emulation::Block;
using vretnet::emulation::note_violation;
using vretnet::emulation::Runtime;
using vretnet::emulation::tell_written;

namespace {

struct Share {  // of a device in a sum
  const float* from = nullptr;
  float* to = nullptr;
  std::size_t count = 0;
};
struct Sum {
  std::vector<Share> shares;
  std::size_t arrived = 0, left = 0;
  bool done = false;
};
struct Group {
  std::size_t ranks = 0;
  bool aborted = false;
  std::map<std::uint64_t, Sum> sums;  // by their number
};

// In the order of the devices, so that the bits are the same for all.
void add_up(Sum& sum) {
  const auto differs = [&](const Share& share) { return share.count != sum.shares[0].count; };
  if (std::any_of(sum.shares.begin(), sum.shares.end(), differs)) {
    note_violation("devices sum arrays of different lengths");
    return;
  }
  std::vector<float> total(sum.shares[0].count);
  for (const Share& share : sum.shares) {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += share.from[i];
  }
  for (const Share& share : sum.shares) {
    std::copy(total.begin(), total.end(), share.to);
    tell_written(share.to, total.size() * sizeof(float));
  }
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Group> group;
  std::size_t rank = 0;
  int device = 0;
  std::uint64_t sums = 0;  // that this device has come to
  bool in_sum = false, destroyed = false;
};

// All that were ever made: queued work may hold them when they are gone.
static std::vector<std::unique_ptr<ncclComm>>& handles() {
  static std::vector<std::unique_ptr<ncclComm>> all;
  return all;
}

extern "C" {

ncclResult_t ncclCommInitAll(ncclComm_t* made, int count, const int* devices) {
  const auto guard = std::unique_lock(Runtime::get().mutex);
  const std::set<int> different(devices, devices + count);
  if (static_cast<int>(different.size()) != count) return ncclInvalidUsage;
  const auto group = std::make_shared<Group>();
  group->ranks = static_cast<std::size_t>(count);
  for (int i = 0; i < count; ++i) {
    if (devices[i] < 0 || devices[i] >= Runtime::get().model.devices) return ncclInvalidArgument;
    handles().push_back(std::make_unique<ncclComm>(ncclComm{group, static_cast<std::size_t>(i), devices[i]}));
    made[i] = handles().back().get();
  }
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  const auto guard = std::unique_lock(Runtime::get().mutex);
  handle->destroyed = true;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const auto guard = std::unique_lock(Runtime::get().mutex);
  handle->group->aborted = true;  // the handle may be in queued work
  Runtime::get().changed.notify_all();
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclInvalidUsage      ? "invalid usage"
         : result == ncclInvalidArgument ? "invalid argument"
                                         : "an error of the fake NCCL";
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t handle, cudaStream_t stream) {
  if (type != ncclFloat || operation != ncclSum) return ncclInvalidArgument;
  const auto guard = std::unique_lock(Runtime::get().mutex);
  if (handle->group->aborted) return ncclInvalidUsage;
  for (const void* data : {from, static_cast<const void*>(to)}) {
    const Block* block = Runtime::get().find(data, count * sizeof(float));
    if (block != nullptr && block->device == handle->device) continue;
    note_violation(
        fmt::format("a sum over {} numbers outside the memory of device {}", count, handle->device));
    return ncclInvalidArgument;
  }
  const auto arrive = [handle,
                       share = Share{static_cast<const float*>(from), static_cast<float*>(to), count}] {
    if (handle->destroyed) note_violation("a sum of a communicator that is destroyed");
    if (handle->in_sum) note_violation("a device begins a sum before its last one has ended");
    handle->in_sum = true;
    Sum& sum = handle->group->sums[handle->sums++];
    sum.shares.resize(handle->group->ranks);
    sum.shares[handle->rank] = share;
    ++sum.arrived;
    sum.left = handle->group->ranks;
  };
  const auto all_arrived = [handle] {
    const Group& group = *handle->group;
    const auto sum = group.sums.find(handle->sums - 1);
    return group.aborted || (sum != group.sums.end() && sum->second.arrived == group.ranks);
  };
  const auto finish = [handle] {
    Group& group = *handle->group;
    handle->in_sum = false;
    if (group.aborted) return;
    Sum& sum = group.sums[handle->sums - 1];
    if (!std::exchange(sum.done, true)) add_up(sum);
    if (--sum.left == 0) group.sums.erase(handle->sums - 1);
  };
  Runtime& runtime = Runtime::get();
  const bool queued = runtime.enqueue(stream, arrive) == cudaSuccess &&
                      runtime.enqueue(stream, finish, all_arrived) == cudaSuccess;
  return queued ? ncclSuccess : ncclUnhandledCudaError;
}

}  // extern "C"
