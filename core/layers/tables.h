// Decay and rotation tables on a backend's memory, made once per shape and shared by all layers that read
// alike.
#pragma once

#include <deque>

#include "core/ops/backend.h"
#include "core/retention/decay.h"
#include "core/retention/rotation.h"

namespace vretnet::layers {

class TableCache {
 public:
  // Tables for a pass in `dtype`: they are wide_of(it).
  TableCache(Backend& backend, DType dtype) : backend_(backend), dtype_(wide_of(dtype)) {}

  struct Rotation {
    View cosine, sine;  // [tokens, key_width/2]; empty for Position::none
  };
  // The views stay valid until kKept other specs have been asked for: a stream, whose tables change with
  // every row, keeps a bounded number of them. A spec that is still kept costs a comparison and no
  // allocation.
  ops::DecayTables decay(const retention::DecaySpec& spec);
  // For decays that are learned: the exponents of γ in each table (retention::make_decay_exponents), which
  // hold for all heads and are tables of one, and the constant scale of the rows.
  ops::DecayTables decay_exponents(const retention::DecaySpec& spec);
  View row_scale(const retention::DecaySpec& spec);
  Rotation rotation(const retention::RotationSpec& spec);

 private:
  static constexpr std::size_t kKept = 8;
  template <class Spec, class Views>
  struct Entry {
    Spec spec;
    Views views;
    Allocation memory;
  };
  Backend& backend_;
  DType dtype_;
  std::deque<Entry<retention::DecaySpec, ops::DecayTables>> decays_, exponents_;
  std::deque<Entry<retention::DecaySpec, View>> row_scales_;
  std::deque<Entry<retention::RotationSpec, Rotation>> rotations_;
};

}  // namespace vretnet::layers
