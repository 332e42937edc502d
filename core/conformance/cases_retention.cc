#include <cmath>
#include <iterator>
#include <limits>
#include <set>

#include "core/conformance/cases.h"
#include "core/retention/decay.h"
#include "core/retention/rotation.h"

namespace vretnet::conformance {
namespace {

using ops::DecayKind;
using ops::HeadNormKind;
using ops::RetentionForm;
using ops::RetentionPattern;
using ops::Write;

struct Geometry {
  std::int64_t batch, height, width, heads, key_width, value_width;
  std::int64_t tokens() const { return height * width; }
  Shape keys() const { return {batch, tokens(), heads, key_width}; }
  Shape values() const { return {batch, tokens(), heads, value_width}; }
  Shape state() const { return {batch, heads, key_width, value_width}; }
  Shape angles() const { return {tokens(), key_width / 2}; }
  std::string text() const {
    return fmt::format("{}x{}x{} heads {}x{}x{}", batch, height, width, heads, key_width, value_width);
  }
};

const Geometry kGeometries[] = {{1, 1, 1, 1, 2, 5},   {2, 3, 5, 3, 8, 16},  {1, 7, 7, 2, 32, 64},
                                {1, 8, 8, 3, 32, 32}, {2, 1, 17, 2, 16, 8}, {1, 5, 1, 2, 6, 10},
                                {0, 4, 4, 2, 8, 8}};

// Heads of more columns than kernels hold at once, and a part of so many: in short chunks, and in chunks of
// more rows than kernels hold at once, of which the last is short.
struct WideHeads {
  Geometry geometry;
  std::int64_t chunk;
};
const WideHeads kWideHeads[] = {{{1, 4, 10, 1, 64, 70}, 36},  {{1, 4, 10, 1, 64, 80}, 10},
                                {{1, 4, 10, 1, 64, 128}, 36}, {{1, 4, 10, 1, 64, 144}, 10},
                                {{1, 4, 10, 1, 128, 64}, 36}, {{1, 4, 10, 1, 128, 64}, 10}};

std::string text_of(const RetentionPattern& pattern) {
  constexpr const char* kForms[] = {"parallel", "chunkwise", "recurrent"};
  constexpr const char* kDecays[] = {"raster", "row", "manhattan"};
  std::string text =
      fmt::format("{} {}{}", kForms[static_cast<int>(pattern.form)],
                  pattern.bidirectional ? "bidirectional " : "", kDecays[static_cast<int>(pattern.decay)]);
  if (pattern.form == RetentionForm::chunkwise) text += fmt::format(" chunk {}", pattern.chunk);
  return text;
}

// Every pattern that this geometry allows.
std::vector<RetentionPattern> patterns_of(const Geometry& geometry) {
  std::vector<RetentionPattern> patterns;
  for (DecayKind decay : {DecayKind::raster, DecayKind::row}) {
    for (bool bidirectional : {false, true}) {
      RetentionPattern pattern{.decay = decay, .bidirectional = bidirectional, .row_width = geometry.width};
      for (RetentionForm form : {RetentionForm::parallel, RetentionForm::recurrent}) {
        pattern.form = form;
        patterns.push_back(pattern);
      }
      pattern.form = RetentionForm::chunkwise;
      std::set<std::int64_t> chunks{geometry.width, 2 * geometry.width};
      if (decay == DecayKind::raster) chunks.insert({1, 4, geometry.tokens() + 3});
      for (std::int64_t chunk : chunks) {
        pattern.chunk = chunk;
        patterns.push_back(pattern);
      }
      pattern.chunk = 0;
    }
  }
  return patterns;
}

ops::DecayTables decay_tables(Operands& operands, const Geometry& geometry, const RetentionPattern& pattern,
                              bool with_row_scale) {
  const auto tables = retention::make_decay_tables({.pattern = pattern,
                                                    .heads = static_cast<int>(geometry.heads),
                                                    .speed = retention::DecaySpeed::fast,
                                                    .height = geometry.height,
                                                    .tokens = geometry.tokens()});
  const Shape per_token{tables.heads, tables.chunk};
  ops::DecayTables views;
  views.gamma = operands.given("gamma", {tables.heads}, tables.gamma);
  views.mask = operands.given("mask", {tables.heads, tables.chunk, tables.chunk}, tables.mask);
  views.xi = operands.given("xi", per_token, tables.xi);
  views.zeta = operands.given("zeta", per_token, tables.zeta);
  views.carry = operands.given("carry", {tables.heads, 2}, tables.carry);
  views.xi_up = operands.given("xi_up", per_token, tables.xi_up);
  views.zeta_up = operands.given("zeta_up", per_token, tables.zeta_up);
  if (with_row_scale)
    views.row_scale = operands.given("row_scale", {tables.heads, tables.tokens}, tables.row_scale);
  return views;
}

// ∂D/∂log_rate of all pairs of tokens: −x·exp(−x), x = −log γ · the exponent of γ.
std::vector<double> decay_derivative(const Geometry& geometry, RetentionPattern pattern) {
  pattern.form = RetentionForm::parallel;
  const std::vector<double> exponents =
      retention::make_decay_exponents(
          {.pattern = pattern, .height = geometry.height, .tokens = geometry.tokens()})
          .mask;
  std::vector<double> derivative;
  for (const double delta :
       retention::decay_complements(static_cast<int>(geometry.heads), retention::DecaySpeed::fast)) {
    for (const double exponent : exponents) {
      const double x = -std::log1p(-delta) * exponent;
      derivative.push_back(std::isinf(x) ? 0 : -x * std::exp(-x));
    }
  }
  return derivative;
}

struct Options {
  bool row_scale = true;
  bool states = false;  // in and out; causal only
  Layout layout = kPacked;
};
std::string text_of(const Options& options) {
  return fmt::format("{}{}{}", options.row_scale ? "" : " unscaled", options.states ? " states" : "",
                     conformance::text_of(options.layout));
}

void add_retention(std::vector<Case>& cases, const Geometry& geometry, const RetentionPattern& pattern,
                   const Options& options) {
  const std::string text = fmt::format("{} {}{}", geometry.text(), text_of(pattern), text_of(options));
  const Layout& layout = options.layout;
  cases.push_back({"Retention/" + text, [=](Operands& operands) {
                     ops::Retention op;
                     op.q = operands.input("q", geometry.keys(), layout);
                     op.k = operands.input("k", geometry.keys(), layout);
                     op.v = operands.input("v", geometry.values(), layout);
                     op.o = operands.output("o", geometry.values(), layout);
                     if (options.states) {
                       op.state_in = operands.input("state_in", geometry.state());
                       op.state_out = operands.output("state_out", geometry.state());
                     }
                     op.tables = decay_tables(operands, geometry, pattern, options.row_scale);
                     op.pattern = pattern;
                     return op;
                   }});
  if (options.states) {
    cases.push_back({"Retention/state in place " + text, [=](Operands& operands) {
                       ops::Retention op;
                       op.q = operands.input("q", geometry.keys(), layout);
                       op.k = operands.input("k", geometry.keys(), layout);
                       op.v = operands.input("v", geometry.values(), layout);
                       op.o = operands.output("o", geometry.values(), layout);
                       op.state_in = op.state_out = operands.update("state", geometry.state());
                       op.tables = decay_tables(operands, geometry, pattern, options.row_scale);
                       op.pattern = pattern;
                       return op;
                     }});
  }
  cases.push_back({"RetentionGradient/" + text, [=](Operands& operands) {
                     ops::RetentionGradient op;
                     op.q = operands.input("q", geometry.keys(), layout);
                     op.k = operands.input("k", geometry.keys(), layout);
                     op.v = operands.input("v", geometry.values(), layout);
                     op.d_o = operands.input("d_o", geometry.values(), layout);
                     if (options.states) {
                       op.state_in = operands.input("state_in", geometry.state());
                       op.d_state_out = operands.input("d_state_out", geometry.state());
                       op.d_state_in = operands.output("d_state_in", geometry.state());
                     }
                     op.d_q = operands.output("d_q", geometry.keys(), layout);
                     op.d_k = operands.output("d_k", geometry.keys(), layout);
                     op.d_v = operands.output("d_v", geometry.values(), layout);
                     op.tables = decay_tables(operands, geometry, pattern, options.row_scale);
                     op.pattern = pattern;
                     return op;
                   }});
}

struct BlockOptions {
  bool gate = true, rotation = true, states = false;
  bool learned_decay = false;  // of the gradient: as well as without
  HeadNormKind head_norm = HeadNormKind::layer;
  Layout layout = kPacked;
};
std::string text_of(const BlockOptions& options) {
  return fmt::format("{}{}{}{}{}", options.gate ? "" : " ungated", options.rotation ? "" : " unturned",
                     options.states ? " states" : "", options.head_norm == HeadNormKind::rms ? " rms" : "",
                     conformance::text_of(options.layout));
}

// What the block and its gradient share. ε is not small beside the variance of all rows, so that it counts.
void set_common(auto& op, Operands& operands, const Geometry& geometry, const RetentionPattern& pattern,
                const BlockOptions& options) {
  op.q = operands.input("q", geometry.keys(), options.layout);
  op.k = operands.input("k", geometry.keys(), options.layout);
  op.v = operands.input("v", geometry.values(), options.layout);
  if (options.gate) op.g = operands.input("g", geometry.values(), options.layout);
  if (options.rotation) {
    const auto tables = retention::make_rotation_tables({.position = retention::Position::raster,
                                                         .key_width = geometry.key_width,
                                                         .row_width = geometry.width,
                                                         .tokens = geometry.tokens()});
    op.cosine = operands.given("cosine", geometry.angles(), tables.cosine);
    op.sine = operands.given("sine", geometry.angles(), tables.sine);
  }
  op.tables = decay_tables(operands, geometry, pattern, true);
  op.pattern = pattern;
  op.key_scale = 1 / std::sqrt(static_cast<float>(geometry.key_width));
  op.head_norm = options.head_norm;
  op.epsilon = 1e-2f;
}

void add_block(std::vector<Case>& cases, const Geometry& geometry, const RetentionPattern& pattern,
               const BlockOptions& options) {
  const std::string text = fmt::format("{} {}{}", geometry.text(), text_of(pattern), text_of(options));
  const auto key = static_cast<std::size_t>(geometry.key_width);
  for (Write write : kWrites) {
    cases.push_back({"RetentionBlock/" + text + conformance::text_of(write), [=](Operands& operands) {
                       ops::RetentionBlock op;
                       set_common(op, operands, geometry, pattern, options);
                       op.y = written(operands, "y", geometry.values(), options.layout, write);
                       op.write = write;
                       if (options.states) {
                         op.state_in = operands.input("state_in", geometry.state());
                         op.state_out = operands.output("state_out", geometry.state());
                       }
                       return op;
                     }});
    cases.back().smallest_mistake = key;
  }
  if (options.states) return;
  for (const bool learned : {false, true}) {
    if (learned && !options.learned_decay) continue;
    cases.push_back({"RetentionBlockGradient/" + text + (learned ? " learned" : ""), [=](Operands& operands) {
                       ops::RetentionBlockGradient op;
                       set_common(op, operands, geometry, pattern, options);
                       op.d_y = operands.input("d_y", geometry.values(), options.layout);
                       op.d_q = operands.output("d_q", geometry.keys(), options.layout);
                       op.d_k = operands.output("d_k", geometry.keys(), options.layout);
                       op.d_v = operands.output("d_v", geometry.values(), options.layout);
                       if (options.gate) op.d_g = operands.output("d_g", geometry.values(), options.layout);
                       if (!learned) return op;
                       const std::int64_t heads = geometry.heads, tokens = geometry.tokens();
                       op.decay_derivative = operands.given("decay_derivative", {heads, tokens, tokens},
                                                            decay_derivative(geometry, pattern));
                       op.d_log_rate = operands.update("d_log_rate", {heads, 1}, kGaps, Values::large);
                       return op;
                     }});
    cases.back().smallest_mistake = key;
  }
}

void add_learned_decay(std::vector<Case>& cases, std::int64_t heads, std::int64_t numbers,
                       const Layout& layout) {
  std::vector<double> exponents{1, 0, std::numeric_limits<double>::infinity()};  // and so on, up to 6
  for (std::int64_t i = 3; i < numbers; ++i) exponents.push_back(6 * static_cast<double>(i * i % 23) / 22);
  exponents.resize(static_cast<std::size_t>(numbers));
  for (const bool derivative : {false, true}) {
    cases.push_back({fmt::format("DecayPowers/{}x{}{}{}", heads, numbers, conformance::text_of(layout),
                                 derivative ? " derivative" : ""),
                     [=](Operands& operands) {
                       ops::DecayPowers op;
                       op.exponents = operands.given("exponents", {numbers}, exponents);
                       op.log_rate = operands.input("log_rate", {heads, 1}, layout);
                       op.y = operands.output("y", {heads, numbers}, layout);
                       op.derivative = derivative;
                       return op;
                     }});
  }
}

// Rates beyond f32 are cut: 0 · ∞ at exponent 0 would be no number.
void add_cut_decays(std::vector<Case>& cases, bool derivative) {
  cases.push_back(
      {fmt::format("DecayPowers/cut{}", derivative ? " derivative" : ""), [=](Operands& operands) {
         ops::DecayPowers op;
         op.exponents = operands.given("exponents", {4}, {0, 1, 50, std::numeric_limits<double>::infinity()});
         op.log_rate = operands.given("log_rate", {3, 1}, {200, -1, -15});
         op.y = operands.output("y", {3, 4}, kPacked);
         op.derivative = derivative;
         return op;
       }});
}

void add_head_dot(std::vector<Case>& cases, const Geometry& geometry, const Layout& layout) {
  cases.push_back({"HeadDot/" + geometry.text() + conformance::text_of(layout), [=](Operands& operands) {
                     ops::HeadDot op;
                     op.a = operands.input("a", geometry.values(), layout);
                     op.b = operands.input("b", geometry.values(), layout);
                     op.y = operands.update("y", {geometry.heads, 1}, layout.gap > 0 ? layout : kPacked);
                     return op;
                   }});
}

}  // namespace

void add_retention_cases(std::vector<Case>& cases) {
  constexpr Layout kReversed{.reversed = 1};
  std::size_t turn = 0;
  const auto add = [&](const Geometry& geometry, const RetentionPattern& pattern) {
    const bool causal = !pattern.bidirectional;
    const Options options[] = {
        {}, {.row_scale = false, .states = causal, .layout = kGaps}, {.states = causal, .layout = kReversed}};
    const BlockOptions block_options[] = {
        {},
        {.states = causal, .layout = kGaps},
        {.gate = false, .learned_decay = true, .head_norm = HeadNormKind::rms, .layout = kReversed},
        {.rotation = false},
        {.learned_decay = true, .layout = kGaps}};
    add_retention(cases, geometry, pattern, options[turn % std::size(options)]);
    add_block(cases, geometry, pattern, block_options[turn % std::size(block_options)]);
    ++turn;
  };
  // Every pattern meets every geometry; the options take turns.
  for (const Geometry& geometry : kGeometries) {
    for (const RetentionPattern& pattern : patterns_of(geometry)) add(geometry, pattern);
  }
  for (const auto& [geometry, chunk] : kWideHeads) {
    for (const bool bidirectional : {false, true}) {
      add(geometry, {.form = RetentionForm::chunkwise,
                     .bidirectional = bidirectional,
                     .row_width = geometry.width,
                     .chunk = chunk});
    }
  }
  for (const Geometry& geometry : kGeometries) {
    add(geometry, {.decay = DecayKind::manhattan, .bidirectional = true, .row_width = geometry.width});
  }
  for (const Layout& layout : {kPacked, kGaps}) {
    for (std::int64_t heads : {1, 3}) {
      for (std::int64_t numbers : {1, 17, 64, 300}) add_learned_decay(cases, heads, numbers, layout);
    }
  }
  for (const bool derivative : {false, true}) add_cut_decays(cases, derivative);
  for (const Layout& layout : {kPacked, kGaps, kReversed}) {
    for (const Geometry& geometry : kGeometries) add_head_dot(cases, geometry, layout);
    add_head_dot(cases, {3, 10, 10, 2, 8, 24}, layout);  // enough tokens for more than one part
  }
}

}  // namespace vretnet::conformance
