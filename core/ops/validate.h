// Shared by the two halves of validate(op): each stops the program when a view is not what was expected.
#pragma once

#include <initializer_list>

#include "core/base/ensure.h"
#include "core/ops/fields.h"

namespace vretnet::ops {

void expect_rank(const char* name, const View& view, int rank);
void expect_shape(const char* name, const View& view, const Shape& shape);
void expect_shape_if_given(const char* name, const View& view, const Shape& shape);
// The shape of `view` with other innermost extents.
Shape with_axes(const View& view, std::initializer_list<std::int64_t> innermost);

void validate_retention(const Rotate& op);
void validate_retention(const Retention& op);
void validate_retention(const RetentionGradient& op);
void validate_retention(const RetentionBlock& op);
void validate_retention(const RetentionBlockGradient& op);
void validate_retention(const DecayPowers& op);
void validate_retention(const HeadDot& op);

}  // namespace vretnet::ops
