#include "core/retention/retention.h"

#include "core/base/check.h"
#include "core/ops/workspace.h"
#include "core/retention/chunkwise.h"
#include "core/retention/parallel.h"
#include "core/retention/recurrent.h"

namespace vretnet::retention {
namespace {

using ops::RetentionForm;

// Scratch of one head, used again by the next.
struct Scratch {
  View states;  // [states, d_k, d_v]
  View d_o;     // [tokens, d_v]: d_o under the row scale
};

Scratch take_scratch(const ops::Retention& op, ops::Workspace& workspace) {
  return {.states = workspace.take(op.q.dtype(), {2, op.q.extent(3), op.v.extent(3)})};
}

Scratch take_scratch(const ops::RetentionGradient& op, ops::Workspace& workspace) {
  Scratch scratch{.states = workspace.take(op.q.dtype(), {3, op.q.extent(3), op.v.extent(3)})};
  if (op.tables.row_scale) scratch.d_o = workspace.take(op.q.dtype(), {op.v.extent(1), op.v.extent(3)});
  return scratch;
}

template <class T>
Matrix<T> matrix_of(const View& view) {
  return {view.data<T>(), view.extent(0), view.extent(1), view.stride(0), view.stride(1)};
}

template <class T>
Weights<T> weights_of(const View& view, std::int64_t head) {
  return view ? view.data<T>() + head * view.stride(0) : nullptr;
}

template <class T>
HeadTables<T> tables_of(const ops::DecayTables& tables, std::int64_t head) {
  return {
      .gamma = *weights_of<T>(tables.gamma, head),
      .mask = tables.mask ? Matrix<const T>(matrix_of<T>(tables.mask.select(0, head))) : Matrix<const T>(),
      .xi = weights_of<T>(tables.xi, head),
      .zeta = weights_of<T>(tables.zeta, head),
      .carry = weights_of<T>(tables.carry, head),
      .xi_up = weights_of<T>(tables.xi_up, head),
      .zeta_up = weights_of<T>(tables.zeta_up, head)};
}

// Retention and its gradient share names: q, v, pattern, tables.
void check_tables(const auto& op) {
  const ops::RetentionPattern& pattern = op.pattern;
  const std::int64_t tokens = op.q.extent(1);
  if (pattern.decay == ops::DecayKind::row) {
    check(pattern.row_width > 0 && tokens % pattern.row_width == 0, "{} tokens in rows of {}", tokens,
          pattern.row_width);
  }
  check(!pattern.bidirectional || !op.state_in, "a bidirectional retention takes a state of {}",
        op.state_in.shape().text());
  if (pattern.form == RetentionForm::recurrent) return;
  const bool chunkwise = pattern.form == RetentionForm::chunkwise;
  const std::int64_t chunk = chunkwise ? pattern.chunk : tokens;
  check(op.tables.mask && op.tables.mask.extent(1) == chunk && chunk > 0,
        "a mask of {} for chunks of {} tokens", op.tables.mask.shape().text(), chunk);
  const bool has_state_tables = op.tables.xi && op.tables.zeta && op.tables.carry;
  check(has_state_tables || (pattern.bidirectional && !chunkwise), "tables xi, zeta or carry are missing");
  const bool has_tables_up = op.tables.xi_up && op.tables.zeta_up;
  check(has_tables_up || !pattern.bidirectional || !chunkwise, "tables xi_up or zeta_up are missing");
}

// Calls visit(batch, head) for every head of every sequence, one after the other.
void for_each_head(const View& q, const auto& visit) {
  for (std::int64_t batch = 0; batch < q.extent(0); ++batch)
    for (std::int64_t head = 0; head < q.extent(2); ++head) visit(batch, head);
}

template <class T>
void run_form(const Head<T>& head) {
  switch (head.pattern.form) {
    case RetentionForm::parallel:
      return parallel(head);
    case RetentionForm::chunkwise:
      return chunkwise(head);
    case RetentionForm::recurrent:
      return recurrent(head);
  }
}

template <class T>
void run_form(const HeadGradient<T>& head) {
  switch (head.pattern.form) {
    case RetentionForm::parallel:
      return parallel_gradient(head);
    case RetentionForm::chunkwise:
      return chunkwise_gradient(head);
    case RetentionForm::recurrent:
      return recurrent_gradient(head);
  }
}

}  // namespace

template <class T>
void run(const ops::Retention& op) {
  if (op.q.elements() == 0) return;
  check_tables(op);
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
  check_tables(op);
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

template void run<float>(const ops::Retention&);
template void run<double>(const ops::Retention&);
template void run<float>(const ops::RetentionGradient&);
template void run<double>(const ops::RetentionGradient&);

std::size_t workspace_bytes(const ops::Retention& op) {
  ops::Workspace workspace;
  take_scratch(op, workspace);
  return workspace.bytes();
}

std::size_t workspace_bytes(const ops::RetentionGradient& op) {
  ops::Workspace workspace;
  take_scratch(op, workspace);
  return workspace.bytes();
}

}  // namespace vretnet::retention
