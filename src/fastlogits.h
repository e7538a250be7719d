/*
 * The contract between the kernels and their callers: what a kernel is handed,
 * and the table of kernels that each instruction set exports.
 *
 * Nothing here knows of Python.
 */
#ifndef FASTLOGITS_H
#define FASTLOGITS_H

#include <stddef.h>
#include <stdint.h>

/* What the rows of a loss have in common. */
typedef struct {
    int64_t ignore_index;
    const double *class_weight; /* one for each class, or NULL */
    double label_smoothing, z_loss;
    double grad_scale; /* of every gradient, after the weights: 1, or one over a mean's divisor */
    double hess_scale;
} fl_loss;

/* What FL_SCORE and FL_CALIBRATE find of a row and its label. Where softmax is NaN, so are all but
   the rank. */
enum {
    FL_NLL,  /* -log p of the label */
    FL_RANK, /* how many classes come before the label: those of a greater logit, and of an equal
                one those before it; a NaN is the greatest. -1: the label is ignored, and nothing
                else is set. FL_CALIBRATE makes it 0. */
    FL_CONFIDENCE,            /* the largest probability */
    FL_BRIER,                 /* the sum of the squares of p - [class is the label] */
    FL_SLOPE = FL_CONFIDENCE, /* the first derivative of FL_NLL by the inverse temperature */
    FL_CURVATURE = FL_BRIER,  /* the second */
    FL_FIGURES
};

/* Bytes for two tiles of 64 rows of a block of classes: fewer, in the L2 cache, cost more, as
   their memory comes in shorter runs. Or for the exponentials of rows that are streamed. */
enum { FL_SCRATCH = 1 << 21 };

/* How a number is stored. What is wider than a kernel's own type is rounded to it. */
enum {
    FL_F32,
    FL_F64,
    FL_F16,
    FL_BF16, /* the upper half of an FL_F32 */
    FL_BOOL, /* a byte: 1, whatever it is but 0 */
    FL_I8,
    FL_U8,
    FL_I16,
    FL_U16,
    FL_I32,
    FL_U32,
    FL_I64,
    FL_U64,
    FL_SWAPPED = 16 /* added to one of them: in the other byte order */
};

enum { FL_MAX_DIMS = 64 };

/* Elements in C order of their indices, with strides in bytes. */
typedef struct {
    int ndim;
    ptrdiff_t shape[FL_MAX_DIMS], stride[FL_MAX_DIMS];
} fl_axes;

/* The rows of an array: row i, class j lies at data + i * row + j * class. Strides count bytes, may
   be negative or zero, and need not be multiples of an element's size, nor need the addresses. */
typedef struct {
    void *data; /* NULL: there is no such array */
    ptrdiff_t row, class;
    int format;
    const fl_axes *axes; /* NULL, or how the classes of a row lie if that is with no one stride */
} fl_view;

/* One of the rows. */
typedef struct {
    char *data;
    ptrdiff_t class;
    int format;
    const fl_axes *axes;
} fl_row;

/*
 * A part of a row: classes [begin, end). The first sweep leaves the state of each of its blocks,
 * the second begins with those of all the row's.
 */
typedef struct {
    ptrdiff_t begin, end; /* multiples of 2 FL_LEAST_BLOCK, or the end of the row */
    int first;            /* which sweep it is */
    void *states;         /* FL_STATE bytes for each of the row's blocks */
    double *logit;        /* of the label */
    int *unfit;           /* set where a block has no state of its own; the second sweep is not made
                             then */
} fl_part;

enum { FL_PART = 1 << 16, FL_STATE = 72, FL_LEAST_BLOCK = 2048 };

/*
 * A block of rows. A row is one slice along the class axis. `out` is either `x` itself, with the
 * same strides and format, or does not overlap it; where there is one result per row, it has no
 * classes.
 */
typedef struct {
    ptrdiff_t n_rows, n_classes;
    fl_view x, out;
    double temperature; /* divides the logits; finite and > 0; losses take none */

    /* Of losses; arrays that may be missing have one number for each row. */
    const fl_loss *loss;   /* where figures are asked for, all but its ignore_index is 0 */
    fl_view targets;       /* soft targets; without them there are labels */
    fl_view hess;          /* may be missing */
    const int64_t *labels; /* what is not in [0, n_classes) is ignored, as ignore_index is */
    const double *row_weight;
    double *losses;
    double *figures; /* FL_FIGURES for each row */

    /* Of decisions: the places of the k first of each row, one row after another; argmax has one.
     */
    ptrdiff_t *indices;
    ptrdiff_t k;          /* at least 1 */
    int smallest, sorted; /* of top_k: which end comes first; whether the k are in order */

    const fl_part *part; /* NULL, or of the one row, of more than a block of classes; kernels that
                            make no two sweeps of it take none */
    void *scratch;       /* FL_SCRATCH bytes, or NULL where there is no use for it, or no memory */
    int streams; /* whether out, with those of other calls, is so large that it is best written past
                    the caches */
} fl_rows;

typedef void fl_kernel(const fl_rows *rows);

/* What goes into binary cross-entropy and what comes out: the weights may be missing, and either
   or both of the results. All are of one element type. */
enum {
    FL_LOGITS,
    FL_TARGETS,
    FL_POS_WEIGHT,
    FL_SAMPLE_WEIGHT,
    FL_LOSSES,
    FL_GRADIENT,
    FL_OPERANDS
};

/* Some elements of each of them, contiguous; NULL: missing. A gradient may lie where the logits
   do. */
typedef struct {
    ptrdiff_t n;
    void *operands[FL_OPERANDS];
    double label_smoothing;
    double grad_scale; /* of every gradient: 1, or one over a mean's divisor */
    double *sum;       /* of the losses */
    int *outside;      /* set where a target is not in [0, 1] */
} fl_piece;

typedef void fl_piece_kernel(const fl_piece *piece);

/* What an operation takes of a row at a time, and what its out has for each row. */
enum { FL_TAKES_PARTS, FL_TAKES_ROWS, FL_TAKES_ELEMENTS };
enum { FL_GIVES_NOTHING, FL_GIVES_ONE, FL_GIVES_FIRST, FL_GIVES_ALL };

/*
 * The operations on rows: X(NAME, kernel, what it takes, what it gives). A new one comes last, as
 * the fuzzer's seeds know them by their numbers.
 *
 * A NaN makes its row NaN and no other; all -inf or any +inf are as each says.
 */
#define FL_ROW_OPERATIONS(X)                                                                       \
    /* NaN where the largest is -inf or +inf. */                                                   \
    X(SOFTMAX, softmax, PARTS, ALL)                                                                \
    X(LOG_SOFTMAX, log_softmax, PARTS, ALL)                                                        \
    /* +-inf where the largest is. */                                                              \
    X(LOGSUMEXP, logsumexp, PARTS, ONE)                                                            \
    /* losses: one float64 per row, 0 where the label is ignored; the gradient into out and the    \
       Hessian's diagonal into hess, where they are not NULL; NaN where softmax is. */             \
    X(CROSS_ENTROPY, cross_entropy, PARTS, ALL)                                                    \
    /* indices: the first NaN, else the first of the largest. */                                   \
    X(ARGMAX, argmax, PARTS, NOTHING)                                                              \
    /* The k first into out, which has to be dense and of the kernel's own type, and indices; NaN  \
       last, of equals the lowest index first. */                                                  \
    X(TOP_K, top_k, ROWS, FIRST)                                                                   \
    /* The largest probability, less the next, and the entropy in nats; NaN where softmax is. */   \
    X(MAX_PROB, max_prob, ROWS, ONE)                                                               \
    X(MARGIN, margin, ROWS, ONE)                                                                   \
    X(ENTROPY, entropy, ROWS, ONE)                                                                 \
    /* figures of a row and its label, for a classifier's scores, and for its temperature. */      \
    X(SCORE, score, ROWS, NOTHING)                                                                 \
    X(CALIBRATE, calibrate, ROWS, NOTHING)                                                         \
    /* Of each element. */                                                                         \
    X(SIGMOID, sigmoid, ELEMENTS, ALL)                                                             \
    X(LOG_SIGMOID, log_sigmoid, ELEMENTS, ALL)                                                     \
    X(SOFTPLUS, softplus, ELEMENTS, ALL)

#define FL_OPERATION(NAME, kernel, takes, gives) FL_##NAME,
enum { FL_ROW_OPERATIONS(FL_OPERATION) FL_OPERATIONS };

static inline int fl_takes(int op)
{
#define FL_TAKES(NAME, kernel, takes, gives) FL_TAKES_##takes,
    static const unsigned char of[] = {FL_ROW_OPERATIONS(FL_TAKES)};
    return of[op];
}

static inline int fl_gives(int op)
{
#define FL_GIVES(NAME, kernel, takes, gives) FL_GIVES_##gives,
    static const unsigned char of[] = {FL_ROW_OPERATIONS(FL_GIVES)};
    return of[op];
}

/*
 * Limits, for benchmarks: loops that do what an operation cannot do without, and no more. What they
 * write is of the right size and means nothing. kernels/limits.h says what is counted.
 */
typedef struct {
    ptrdiff_t n;         /* elements of each array, contiguous and aligned */
    ptrdiff_t n_classes; /* at least 1 */
    const void *x, *targets;
    void *out;
    int format; /* the kernels' own or, of float32, half precision */
} fl_limit;

/* X(NAME, loop). A loop is a task over the chunks of an fl_limit. */
#define FL_LIMIT_LOOPS(X)                                                                          \
    X(SOFTMAX, softmax)                                                                            \
    X(LOG_SOFTMAX, log_softmax)                                                                    \
    X(LOGSUMEXP, logsumexp) /* cross-entropy too */                                                \
    X(SOFT_TARGETS, soft_targets)                                                                  \
    X(GRADIENT, gradient)                                                                          \
    X(SIGMOID, sigmoid)                                                                            \
    X(BINARY_LOSS, binary_loss)                                                                    \
    X(BINARY_GRADIENT, binary_gradient)

#define FL_LIMIT(NAME, loop) FL_LIMIT_##NAME,
enum { FL_LIMIT_LOOPS(FL_LIMIT) FL_LIMITS };
enum { FL_LIMIT_CHUNK = 1024 }; /* elements */

typedef void fl_task(void *context, ptrdiff_t begin, ptrdiff_t end);

/* The kernels of one element type. */
typedef struct {
    fl_kernel *rows[FL_OPERATIONS];
    fl_piece_kernel *binary_cross_entropy;
    fl_piece_kernel *outside_unit; /* looks at the targets alone */
    fl_task *limits[FL_LIMITS];
} fl_kernels;

/* One operation of the vocabulary applied to whole groups of virtual lanes, for tests. */
typedef struct {
    const char *name;
    void (*f32)(const float *a, const float *b, const float *c, float *out);
    void (*f64)(const double *a, const double *b, const double *c, double *out);
} fl_probe;

/* The sum of n numbers in an order that depends on n alone. */
typedef double fl_sum(const double *values, ptrdiff_t n);

/* The first of n labels that is neither in [0, n_classes) nor ignore_index; -1: none. Sets how
   many are not ignore_index. */
typedef ptrdiff_t fl_find_bad_label(const int64_t *labels, ptrdiff_t n, ptrdiff_t n_classes,
                                    int64_t ignore_index, ptrdiff_t *n_counted);

typedef struct {
    const char *name;
    fl_kernels f32, f64;
    fl_sum *sum;
    fl_find_bad_label *find_bad_label;
    const fl_probe *probes; /* ends with a NULL name */
} fl_table;

/* Virtual lanes: class j is summed in lane j mod FL_LANES, on every instruction set. */
enum { FL_LANES_F32 = 32, FL_LANES_F64 = 16 };

/* The tables, the best first. */
#ifdef FASTLOGITS_X86
#define FL_TABLES(X) X(avx512) X(avx2) X(portable)
#else
#define FL_TABLES(X) X(portable)
#endif

#define FL_DECLARE(name) extern const fl_table fl_table_##name;
FL_TABLES(FL_DECLARE)
#define FL_COUNT_ONE(name) +1
enum { FL_MOST_TABLES = FL_TABLES(FL_COUNT_ONE) };

/* cpu.c: the tables this machine can run, the best first; how many there are. */
int fl_tables(const fl_table *const **tables);

/* parallel.c */
/* Whether the call shall end now. Asked by the thread that made it, about every FL_PATIENCE ms. */
typedef int fl_interrupted(void);
enum { FL_PATIENCE = 50 };
/* `interrupted` may be NULL. */
void fl_parallel_init(fl_interrupted *interrupted);
int fl_has_openmp(void);
int fl_default_threads(void);
/* The task over [0, n), in steps of `step` or, where those are short, of some times as many.
   Returns 0 where it was interrupted, with a part of the steps done. */
int fl_parallel(fl_task *task, void *context, ptrdiff_t n, ptrdiff_t step, int n_threads);

/* walk.c */

/*
 * Rows that lie in any number of dimensions: row (i0, i1, ...) begins at
 * x.data + sum(i * x_stride), and the last of the dimensions is the one a kernel walks.
 */
typedef struct {
    fl_rows rows; /* strides along the class axis, and all else that is common to the rows */
    fl_kernel *kernel;
    int op;       /* which kernel it is */
    double *sums; /* of the losses, fl_loss_sums of them, in place of rows.losses; or NULL */
    fl_sum *sum;  /* which makes them */
    int ndim;
    /* In bytes; those of out are hess's too. */
    ptrdiff_t shape[FL_MAX_DIMS], x_stride[FL_MAX_DIMS], out_stride[FL_MAX_DIMS];
    ptrdiff_t targets_stride[FL_MAX_DIMS];
} fl_walk;

enum { FL_STEP = 1 << 22 }; /* elements: the least that is done between two looks at the clock */

/* Adds an outer dimension, outermost first; merges it with the one before where the
   strides allow. Returns 0 where there are too many dimensions. */
int fl_walk_add(fl_walk *walk, ptrdiff_t length, ptrdiff_t x_stride, ptrdiff_t out_stride,
                ptrdiff_t targets_stride);
ptrdiff_t fl_walk_rows(const fl_walk *walk);
/* As many of the rows from `begin` on, in C order, as follow each other along the last dimension,
   and no more than `most`. */
fl_rows fl_rows_from(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t most);
/* Rows [begin, end), by the thread that calls. `losses` and `figures`, unless NULL, are those of
   these rows, in place of the walk's. */
void fl_run_rows(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t end, double *losses,
                 double *figures);
/* Returns 0 where it was interrupted; what is written then is of a part of the rows. */
int fl_walk_run(const fl_walk *walk, int n_threads);

/* parts.c: of operations that take parts of a row. */

/* Whether there is a result for each class, so that the second sweep takes parts too. */
int fl_has_classes(const fl_walk *walk);

/* Row i by several threads, in steps. */
typedef enum {
    FL_DONE,
    FL_UNFIT /* it has to be one step; nothing is written */,
    FL_STOPPED
} fl_end;
fl_end fl_run_shared(const fl_walk *walk, ptrdiff_t i, int n_threads);

/* Whether the rows lie side by side and are too long for the kernels' tiles. A cache line has a
   class of several of them, and would be fetched anew for each row if that were swept to its end.
 */
int fl_are_tall(const fl_walk *walk);

/* Those in [begin, end). Returns the first that it had no memory for. */
ptrdiff_t fl_run_tall(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t end);

/* pieces.c */

typedef struct {
    void *data; /* NULL: missing */
    int format;
    fl_axes axes;
} fl_operand;

enum { FL_PIECE = 1024 }; /* elements: six of float64 are 48 KiB of stack */

typedef struct {
    fl_operand operands[FL_OPERANDS];
    ptrdiff_t n; /* elements of each */
    int format;  /* the kernel's own */
    fl_piece_kernel *kernel;
    double label_smoothing, grad_scale;
    double *sums; /* one for each piece */
} fl_pieces;

/* Returns 0 where it was interrupted. Sets whether a target is not in [0, 1]. */
int fl_pieces_run(const fl_pieces *call, int n_threads, int *outside);

/* scores.c: sums of FL_SCORE or FL_CALIBRATE over rows. */

/* Where they are in the totals, which have FL_TOTALS numbers and then FL_IN_BIN for each of the
   bins. Of rows that are not ignored; but for the counts, all are weighted. */
enum { FL_COUNT, FL_WEIGHT, FL_SUM_NLL, FL_HITS, FL_TOP_HITS, FL_SUM_BRIER, FL_TOTALS };
enum { FL_SUM_SLOPE = FL_HITS, FL_SUM_CURVATURE = FL_TOP_HITS };
/* Of the rows whose confidence is in (i, i + 1] / n_bins, of which the first begins below 0 and the
   last takes NaN. */
enum { FL_BIN_COUNT, FL_BIN_WEIGHT, FL_BIN_CONFIDENCE, FL_BIN_HITS, FL_IN_BIN };

/* How many groups of rows are summed apart, at least 1: the order of a sum depends on the shape
   alone. */
ptrdiff_t fl_score_groups(const fl_walk *walk);

/* `totals` has room for as many as there are groups, and those of all rows come first in it. The
   label counts as found among the k that come first. Returns 0 where it was interrupted. */
int fl_scores_run(const fl_walk *walk, ptrdiff_t k, ptrdiff_t n_bins, double *totals,
                  int n_threads);

/* axes.c */

/* Whether one step along a dimension is the whole length of the next one: both are one then. The
   strides of an empty array may be any numbers. */
int fl_axes_join(ptrdiff_t outer_stride, ptrdiff_t length, ptrdiff_t stride);

/* Adds a dimension, outermost first, as fl_walk_add. */
int fl_axes_add(fl_axes *axes, ptrdiff_t length, ptrdiff_t stride);

/* Elements [begin, begin + n) of an array, as contiguous numbers of the format `own`, FL_F32 or
   FL_F64: from the array, or into it. */
void fl_load_axes(const void *data, const fl_axes *axes, int format, ptrdiff_t begin, ptrdiff_t n,
                  void *to, int own);
void fl_store_axes(const void *from, int own, ptrdiff_t begin, ptrdiff_t n, void *data,
                   const fl_axes *axes, int format);

/* formats.c */

/* Bytes of one element. */
ptrdiff_t fl_format_size(int format);

/* n elements, `stride` bytes apart, from or to contiguous numbers. */
void fl_load_f32(const void *from, ptrdiff_t stride, int format, ptrdiff_t n, float *to);
void fl_load_f64(const void *from, ptrdiff_t stride, int format, ptrdiff_t n, double *to);
/* Rounded to nearest, once. To FL_F32 and FL_F64 in either byte order, FL_F16 and FL_BF16. */
void fl_store_f32(const float *from, ptrdiff_t n, void *to, ptrdiff_t stride, int format);
void fl_store_f64(const double *from, ptrdiff_t n, void *to, ptrdiff_t stride, int format);

/* losses.c */

/* How many sums the losses of all rows make, whose sum is that of all. */
ptrdiff_t fl_loss_sums(const fl_walk *walk);

/* Runs a walk that has `sums`. */
int fl_losses_run(const fl_walk *walk, int n_threads);

#endif
