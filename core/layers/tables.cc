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

// All tables of a host copy in one allocation, and their views.
struct Uploaded {
  Allocation memory;
  ops::DecayTables views;
};
Uploaded upload_tables(Backend& backend, DType dtype, const retention::HostDecayTables& host) {
  Uploaded result{.memory = upload(backend, dtype,
                                   {&host.gamma, &host.mask, &host.xi, &host.zeta, &host.carry, &host.xi_up,
                                    &host.zeta_up, &host.row_scale})};
  std::int64_t offset = 0;
  const auto view = [&](const std::vector<double>& table, const Shape& shape) {
    return shaped(result.memory.buffer(), dtype, shape, offset, table.size());
  };
  ops::DecayTables& views = result.views;  // in the order of the upload
  views.gamma = view(host.gamma, {host.heads});
  views.mask = view(host.mask, {host.heads, host.chunk, host.chunk});
  views.xi = view(host.xi, {host.heads, host.chunk});
  views.zeta = view(host.zeta, {host.heads, host.chunk});
  views.carry = view(host.carry, {host.heads, 2});
  views.xi_up = view(host.xi_up, {host.heads, host.chunk});
  views.zeta_up = view(host.zeta_up, {host.heads, host.chunk});
  views.row_scale = view(host.row_scale, {host.heads, host.tokens});
  return result;
}

// Keeps another entry, and no more than `most` of them.
template <class Entries, class Spec, class Views>
const Views& keep(Entries& entries, std::size_t most, const Spec& spec, const Views& views,
                  Allocation memory) {
  if (entries.size() == most) entries.pop_front();
  entries.push_back({spec, views, std::move(memory)});
  return entries.back().views;
}

}  // namespace

ops::DecayTables TableCache::decay(const retention::DecaySpec& spec) {
  if (const auto* kept = find(decays_, spec)) return kept->views;
  Uploaded made = upload_tables(backend_, dtype_, retention::make_decay_tables(spec));
  return keep(decays_, kKept, spec, made.views, std::move(made.memory));
}

ops::DecayTables TableCache::decay_exponents(const retention::DecaySpec& spec) {
  retention::DecaySpec of_all = spec;  // without what exponents do not depend on
  of_all.heads = of_all.head_step = 1;
  of_all.first_head = 0;
  of_all.speed = {};
  if (!spec.pattern.bidirectional) {
    of_all.first_token = 0;
    of_all.height = 1;
  }
  if (const auto* kept = find(exponents_, of_all)) return kept->views;
  Uploaded made = upload_tables(backend_, dtype_, retention::make_decay_exponents(of_all));
  return keep(exponents_, kKept, of_all, made.views, std::move(made.memory));
}

View TableCache::row_scale(const retention::DecaySpec& spec) {
  if (const auto* kept = find(row_scales_, spec)) return kept->views;
  const std::vector<double> scales = retention::make_row_scales(spec);
  Allocation memory = upload(backend_, dtype_, {&scales});
  const View view =
      memory.view().reshaped({static_cast<std::int64_t>(scales.size()) / spec.tokens, spec.tokens});
  return keep(row_scales_, kKept, spec, view, std::move(memory));
}

TableCache::Rotation TableCache::rotation(const retention::RotationSpec& spec) {
  if (spec.position == retention::Position::none) return {};
  if (const auto* kept = find(rotations_, spec)) return kept->views;
  const retention::HostRotationTables host = retention::make_rotation_tables(spec);
  Allocation memory = upload(backend_, dtype_, {&host.cosine, &host.sine});
  const Shape shape{spec.tokens, spec.key_width / 2};
  const Rotation views{View(memory.buffer(), dtype_, shape),
                       View(memory.buffer(), dtype_, shape, shape.elements())};
  return keep(rotations_, kKept, spec, views, std::move(memory));
}

}  // namespace vretnet::layers
