/*
 * The whole of one instruction set: included after its vocabulary, with FL_TABLE its name.
 */
#include "../fastlogits.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "../simd/vocabulary.h"
#include "labels.h"

#define FL_BITS 64
#include "real.h"
#include "math.h"
#include "arrays.h"
#include "finish.h"
#include "rows.h"
#include "sum.h"
#include "lanes.h"
#include "batch.h"
#include "softmax.h"
#include "losses.h"
#include "argmax.h"
#include "top_k.h"
#include "class_sums.h"
#include "confidence.h"
#include "scores.h"
#include "elementwise.h"
#include "binary.h"
#include "limits.h"
#include "probe.h"
#include "real_end.h"
#undef FL_BITS

#define FL_BITS 32
#include "real.h"
#include "math.h"
#include "arrays.h"
#include "finish.h"
#include "rows.h"
#include "lanes.h"
#include "batch.h"
#include "softmax.h"
#include "losses.h"
#include "argmax.h"
#include "top_k.h"
#include "class_sums.h"
#include "confidence.h"
#include "scores.h"
#include "elementwise.h"
#include "binary.h"
#include "limits.h"
#include "probe.h"
#include "real_end.h"
#undef FL_BITS

#define FL_STRING_(name) #name
#define FL_STRING(name) FL_STRING_(name)
#define FL_PASTE_(a, b) a##b
#define FL_PASTE(a, b) FL_PASTE_(a, b)

#define KERNEL_f32(NAME, kernel, takes, gives) kernel##_f32,
#define KERNEL_f64(NAME, kernel, takes, gives) kernel##_f64,
#define LIMIT_f32(NAME, loop) limit_##loop##_f32,
#define LIMIT_f64(NAME, loop) limit_##loop##_f64,
#define KERNELS(type)                                                                              \
    {                                                                                              \
        .rows = {FL_ROW_OPERATIONS(KERNEL_##type)},                                                \
        .binary_cross_entropy = binary_cross_entropy_##type, .outside_unit = outside_unit_##type,  \
        .limits = {FL_LIMIT_LOOPS(LIMIT_##type)}                                                   \
    }

#define PROBE(op) {#op, probe_##op##_f32, probe_##op##_f64}
/* The vocabulary, and from exp on what is only nearly exact. */
static const fl_probe probes[] = {
    PROBE(load),         PROBE(stream),
    PROBE(set1),         PROBE(add),
    PROBE(sub),          PROBE(mul),
    PROBE(div),          PROBE(fma),
    PROBE(fnma),         PROBE(max),
    PROBE(min),          PROBE(abs),
    PROBE(eq),           PROBE(ne),
    PROBE(gt),           PROBE(select),
    PROBE(keep),         PROBE(count),
    PROBE(lanes),        PROBE(pow2),
    PROBE(eighth),       PROBE(ilogb),
    PROBE(hmax),         PROBE(half),
    PROBE(load_half),    PROBE(load_part),
    PROBE(store_part),   PROBE(join),
    PROBE(load_rows),    PROBE(store_rows),
    PROBE(f16),          PROBE(bf16),
    PROBE(exp),          PROBE(exp_minus_abs),
    PROBE(log1p_of),     PROBE(wide_exp),
    PROBE(wide_exp_own), PROBE(wide_log1p),
    {NULL, NULL, NULL},
};

const fl_table FL_PASTE(fl_table_, FL_TABLE) = {
    .name = FL_STRING(FL_TABLE),
    .f32 = KERNELS(f32),
    .f64 = KERNELS(f64),
    .sum = sum_f64,
    .find_bad_label = find_bad_label,
    .probes = probes,
};
