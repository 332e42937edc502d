// The loops of the reference: `template <class T> void run(const ops::X&)` for every op but the retentions,
// whose loops are core/retention's and whose blocks are composed (core/ops/composed.h), and `convert`.
#pragma once

#include "core/backends/reference/attention.h"
#include "core/backends/reference/convolution.h"
#include "core/backends/reference/cross_entropy.h"
#include "core/backends/reference/depthwise.h"
#include "core/backends/reference/elementwise.h"
#include "core/backends/reference/gemm.h"
#include "core/backends/reference/head_norm.h"
#include "core/backends/reference/layer_norm.h"
#include "core/backends/reference/learned_decay.h"
#include "core/backends/reference/optimizer.h"
#include "core/backends/reference/pooling.h"
#include "core/backends/reference/quantized_gemm.h"
#include "core/backends/reference/rotate.h"
#include "core/backends/reference/softmax.h"
