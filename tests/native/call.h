/*
 * A call of the kernels with all its arrays: what the self-test and the fuzzer have in common.
 *
 * Elements are handed in and out as their bits, in C order; where they lie in memory is said apart
 * from that, as no result may depend on it.
 */
#ifndef CALL_H
#define CALL_H

#include "fastlogits.h"

/* Beside the operations on rows. */
enum { BINARY_CROSS_ENTROPY = -1 };

static inline int takes(int op)
{
    return op == BINARY_CROSS_ENTROPY ? FL_TAKES_ELEMENTS : fl_takes(op);
}

static inline int gives(int op) { return op == BINARY_CROSS_ENTROPY ? FL_GIVES_ALL : fl_gives(op); }

/* Unless it has soft targets. */
static inline int takes_labels(int op)
{
    return op == FL_CROSS_ENTROPY || op == FL_SCORE || op == FL_CALIBRATE;
}

enum { DIMS = 5 };

/* The arrays of a call. */
enum {
    X,
    TARGETS,
    POS_WEIGHT, /* of binary cross-entropy, as the next */
    SAMPLE_WEIGHT,
    OUT,
    BESIDE, /* the Hessian's diagonal, or the losses of binary cross-entropy */
    ARRAYS,
    INPUTS = OUT
};

enum { MISSING = -1 };

typedef struct {
    int op, own;        /* the kernel, and FL_F32 or FL_F64: its type */
    int format[ARRAYS]; /* or MISSING */
    const uint64_t *bits[INPUTS];
    int ndim, row_dims; /* the first are those of the rows, one or two others of the classes */
    ptrdiff_t shape[DIMS];
    double temperature;
    fl_loss loss;
    const int64_t *labels; /* or NULL */
    const double *row_weight;
    ptrdiff_t k;
    int smallest, sorted;
} call;

/* Where its arrays lie: each in memory of its own, between margins that are not to be touched. */
typedef struct {
    ptrdiff_t stride[ARRAYS][DIMS];
    ptrdiff_t lead[ARRAYS]; /* bytes from a multiple of 64 to the first in memory */
    int in_place;           /* out is x */
} places;

/* Results of all kinds, as bits; any NaN is one and the same. */
typedef struct {
    uint64_t *bits;
    size_t n;
    int trespassed; /* whether anything was written beside the results */
} results;

/* The dimensions of an array of a call, of which out may have others than x. */
int array_shape(const call *c, int which, ptrdiff_t *shape);

/* Strides without overlap: `order` has the dimensions from the innermost on, of which the first
   takes `step` bytes, and each leaves `gap` bytes to the next. */
void lay_out(int ndim, const ptrdiff_t *shape, const int *order, ptrdiff_t step, ptrdiff_t gap,
             ptrdiff_t *stride);

results run_call(const call *c, const places *at, const fl_table *table, int n_threads);

/* What the elements of an input are once it is laid out so that some of them share memory. */
void settle(const call *c, const places *at, int which, uint64_t *bits);

int element_size(int format);

/* A hash of `value` after what has the hash h. */
uint64_t scramble(uint64_t h, uint64_t value);

/* How the bits of floating-point numbers are shared out; MISSING: the format is of others. */
int mantissa_bits(int format);
uint64_t infinity_of(int format);
uint64_t one_nan(uint64_t bits, int format);

#endif
