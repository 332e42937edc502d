// Retention and its gradient in plain loops, in any form: the definition that faster kernels are held
// against. T is the dtype of the op, float or double; sums run in T. Nothing is allocated.
//   run<T>(op) with op.workspace of workspace_bytes(op) (core/ops/workspace.h)
#pragma once

#include <cstddef>

#include "core/ops/workspace.h"
#include "core/retention/chunkwise.h"
#include "core/retention/parallel.h"
#include "core/retention/recurrent.h"

namespace vretnet::retention {

std::size_t workspace_bytes(const ops::Retention& op);
std::size_t workspace_bytes(const ops::RetentionGradient& op);

// Scratch of one head, used again by the next.
struct Scratch {
  View states;  // [states, d_k, d_v]
  View d_o;     // [tokens, d_v]: d_o under the row scale
};
Scratch take_scratch(const ops::Retention& op, ops::Workspace& workspace);
Scratch take_scratch(const ops::RetentionGradient& op, ops::Workspace& workspace);

template <class T>
HeadTables<T> tables_of(const ops::DecayTables& tables, std::int64_t head) {
  return {.gamma = *weights_of<T>(tables.gamma, head),
          .mask = tables.mask ? matrix_of<T>(tables.mask.select(0, head)) : Matrix<T>(),
          .xi = weights_of<T>(tables.xi, head),
          .zeta = weights_of<T>(tables.zeta, head),
          .carry = weights_of<T>(tables.carry, head),
          .xi_up = weights_of<T>(tables.xi_up, head),
          .zeta_up = weights_of<T>(tables.zeta_up, head)};
}

// Calls visit(batch, head) for every head of every sequence, one after the other.
void for_each_head(const View& q, const auto& visit) {
  for (std::int64_t batch = 0; batch < q.extent(0); ++batch)
    for (std::int64_t head = 0; head < q.extent(2); ++head) visit(batch, head);
}

template <class T>
void run_form(const Head<T>& head) {
  switch (head.pattern.form) {
    case ops::RetentionForm::parallel:
      return parallel(head);
    case ops::RetentionForm::chunkwise:
      return chunkwise(head);
    case ops::RetentionForm::recurrent:
      return recurrent(head);
  }
}

template <class T>
void run_form(const HeadGradient<T>& head) {
  switch (head.pattern.form) {
    case ops::RetentionForm::parallel:
      return parallel_gradient(head);
    case ops::RetentionForm::chunkwise:
      return chunkwise_gradient(head);
    case ops::RetentionForm::recurrent:
      return recurrent_gradient(head);
  }
}

template <class T>
void run(const ops::Retention& op) {
  if (op.q.elements() == 0) return;
  ops::validate(op);
  ops::Workspace workspace(op.workspace);
  const Scratch scratch = take_scratch(op, workspace);
  for_each_head(op.q, [&](std::int64_t b, std::int64_t h) {
    const Head<T> head{.pattern = op.pattern,
                       .tables = tables_of<T>(op.tables, h),
                       .q = head_of<T>(op.q, b, h),
                       .k = head_of<T>(op.k, b, h),
                       .v = head_of<T>(op.v, b, h),
                       .o = head_of<T>(op.o, b, h),
                       .state = matrix_of<T>(scratch.states.select(0, 0)),
                       .scratch = matrix_of<T>(scratch.states.select(0, 1))};
    copy(head.state, state_of<T>(op.state_in, b, h));
    run_form(head);
    scale_rows(head.o, weights_of<T>(op.tables.row_scale, h));
    if (op.state_out) copy(state_of<T>(op.state_out, b, h), head.state);
  });
}

template <class T>
void run(const ops::RetentionGradient& op) {
  if (op.q.elements() == 0) return;
  ops::validate(op);
  ops::Workspace workspace(op.workspace);
  const Scratch scratch = take_scratch(op, workspace);
  for_each_head(op.q, [&](std::int64_t b, std::int64_t h) {
    HeadGradient<T> head{.pattern = op.pattern,
                         .tables = tables_of<T>(op.tables, h),
                         .q = head_of<T>(op.q, b, h),
                         .k = head_of<T>(op.k, b, h),
                         .v = head_of<T>(op.v, b, h),
                         .d_o = head_of<T>(op.d_o, b, h),
                         .d_q = head_of<T>(op.d_q, b, h),
                         .d_k = head_of<T>(op.d_k, b, h),
                         .d_v = head_of<T>(op.d_v, b, h),
                         .state = matrix_of<T>(scratch.states.select(0, 0)),
                         .d_state = matrix_of<T>(scratch.states.select(0, 1)),
                         .scratch = matrix_of<T>(scratch.states.select(0, 2))};
    if (op.tables.row_scale) {
      const Matrix<T> scaled = matrix_of<T>(scratch.d_o);
      copy(scaled, head.d_o);
      scale_rows(scaled, weights_of<T>(op.tables.row_scale, h));
      head.d_o = scaled;
    }
    copy(head.state, state_of<T>(op.state_in, b, h));
    copy(head.d_state, state_of<T>(op.d_state_out, b, h));
    run_form(head);
    if (op.d_state_in) copy(state_of<T>(op.d_state_in, b, h), head.d_state);
  });
}

}  // namespace vretnet::retention
