#include "core/layers/tables.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace vretnet::layers {
namespace {

// The entry with this spec, or null.
template <class Entries, class Spec>
auto* find(Entries& entries, const Spec& spec) {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.spec == spec; });
  return found == entries.end() ? nullptr : &*found;
}

// The shape that a table of `elements` numbers gets; tables that the pattern does not use are empty.
View shaped(const Buffer* buffer, DType dtype, const Shape& shape, std::int64_t& offset,
            std::size_t elements) {
  if (elements == 0) return {};
  View view(buffer, dtype, shape, offset);
  offset += static_cast<std::int64_t>(elements);
  return view;
}

// One allocation that holds all tables, one after the other, rounded once to the dtype.
Allocation upload(Backend& backend, DType dtype, std::initializer_list<const std::vector<double>*> tables) {
  std::vector<double> all;
  for (const std::vector<double>* table : tables) all.insert(all.end(), table->begin(), table->end());
  Allocation memory(backend, dtype, {static_cast<std::int64_t>(all.size())});
  if (dtype == DType::f64) {
    backend.upload(memory.view(), all.data());
  } else {
    const std::vector<float> rounded(all.begin(), all.end());
    backend.upload(memory.view(), rounded.data());
  }
  return memory;
}

}  // namespace

ops::DecayTables TableCache::decay(const retention::DecaySpec& spec) {
  if (const auto* kept = find(decays_, spec)) return kept->views;
  const retention::HostDecayTables host = retention::make_decay_tables(spec);
  Allocation memory = upload(backend_, dtype_,
                             {&host.gamma, &host.mask, &host.xi, &host.zeta, &host.carry, &host.xi_up,
                              &host.zeta_up, &host.row_scale});
  std::int64_t offset = 0;
  const auto view = [&](const std::vector<double>& table, const Shape& shape) {
    return shaped(memory.buffer(), dtype_, shape, offset, table.size());
  };
  ops::DecayTables views;  // in the order of the upload
  views.gamma = view(host.gamma, {host.heads});
  views.mask = view(host.mask, {host.heads, host.chunk, host.chunk});
  views.xi = view(host.xi, {host.heads, host.chunk});
  views.zeta = view(host.zeta, {host.heads, host.chunk});
  views.carry = view(host.carry, {host.heads, 2});
  views.xi_up = view(host.xi_up, {host.heads, host.chunk});
  views.zeta_up = view(host.zeta_up, {host.heads, host.chunk});
  views.row_scale = view(host.row_scale, {host.heads, host.tokens});
  if (decays_.size() == kKept) decays_.pop_front();
  decays_.push_back({spec, views, std::move(memory)});
  return views;
}

TableCache::Rotation TableCache::rotation(const retention::RotationSpec& spec) {
  if (spec.position == retention::Position::none) return {};
  if (const auto* kept = find(rotations_, spec)) return kept->views;
  const retention::HostRotationTables host = retention::make_rotation_tables(spec);
  Allocation memory = upload(backend_, dtype_, {&host.cosine, &host.sine});
  const Shape shape{spec.tokens, spec.key_width / 2};
  const Rotation views{View(memory.buffer(), dtype_, shape),
                       View(memory.buffer(), dtype_, shape, shape.elements())};
  if (rotations_.size() == kKept) rotations_.pop_front();
  rotations_.push_back({spec, views, std::move(memory)});
  return views;
}

}  // namespace vretnet::layers
