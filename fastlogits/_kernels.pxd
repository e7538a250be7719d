# Mirrors src/fastlogits.h.
from libc.stdint cimport int64_t

cdef extern from "fastlogits.h" nogil:
    ctypedef struct fl_loss:
        int64_t ignore_index
        const double *class_weight
        double label_smoothing, z_loss
        double grad_scale, hess_scale

    enum:
        FL_F32
        FL_F64
        FL_F16
        FL_BF16
        FL_BOOL
        FL_I8
        FL_U8
        FL_I16
        FL_U16
        FL_I32
        FL_U32
        FL_I64
        FL_U64
        FL_SWAPPED

    enum:
        FL_MAX_DIMS

    ctypedef struct fl_axes:
        int ndim
        ptrdiff_t *shape
        ptrdiff_t *stride

    int fl_axes_add(fl_axes *axes, ptrdiff_t length, ptrdiff_t stride)

    ctypedef struct fl_view:
        void *data
        ptrdiff_t row
        ptrdiff_t of_class "class"
        int format
        const fl_axes *axes

    ctypedef struct fl_rows:
        ptrdiff_t n_rows, n_classes
        fl_view x, out
        double temperature
        const fl_loss *loss
        fl_view targets, hess
        const int64_t *labels
        const double *row_weight
        double *losses
        ptrdiff_t *indices
        ptrdiff_t k
        int smallest, sorted

    ctypedef void fl_kernel(const fl_rows *rows) noexcept

    enum:
        FL_LOGITS
        FL_TARGETS
        FL_POS_WEIGHT
        FL_SAMPLE_WEIGHT
        FL_LOSSES
        FL_GRADIENT
        FL_OPERANDS

    ctypedef struct fl_piece:
        pass

    ctypedef void fl_piece_kernel(const fl_piece *piece) noexcept

    enum:
        FL_SOFTMAX
        FL_LOG_SOFTMAX
        FL_LOGSUMEXP
        FL_CROSS_ENTROPY
        FL_ARGMAX
        FL_TOP_K
        FL_MAX_PROB
        FL_MARGIN
        FL_ENTROPY
        FL_SCORE
        FL_CALIBRATE
        FL_SIGMOID
        FL_LOG_SIGMOID
        FL_SOFTPLUS

    ctypedef struct fl_limit:
        ptrdiff_t n, n_classes
        const void *x
        const void *targets
        void *out
        int format

    enum:
        FL_LIMIT_SOFTMAX
        FL_LIMIT_LOG_SOFTMAX
        FL_LIMIT_LOGSUMEXP
        FL_LIMIT_SOFT_TARGETS
        FL_LIMIT_GRADIENT
        FL_LIMIT_SIGMOID
        FL_LIMIT_BINARY_LOSS
        FL_LIMIT_BINARY_GRADIENT

    enum:
        FL_LIMIT_CHUNK

    ctypedef void fl_task(void *context, ptrdiff_t begin, ptrdiff_t end) noexcept

    ctypedef struct fl_kernels:
        fl_kernel **rows
        fl_piece_kernel *binary_cross_entropy
        fl_piece_kernel *outside_unit
        fl_task **limits

    ctypedef struct fl_probe:
        const char *name
        void (*f32)(const float *a, const float *b, const float *c, float *out) noexcept
        void (*f64)(const double *a, const double *b, const double *c, double *out) noexcept

    ctypedef double fl_sum(const double *values, ptrdiff_t n)
    ctypedef ptrdiff_t fl_find_bad_label(const int64_t *labels, ptrdiff_t n, ptrdiff_t n_classes,
                                         int64_t ignore_index, ptrdiff_t *n_counted)

    ctypedef struct fl_table:
        const char *name
        fl_kernels f32
        fl_kernels f64
        fl_sum *sum
        fl_find_bad_label *find_bad_label
        const fl_probe *probes

    enum:
        FL_LANES_F32
        FL_LANES_F64

    int fl_tables(const fl_table *const **tables)

    ctypedef int fl_interrupted() noexcept
    void fl_parallel_init(fl_interrupted *interrupted)
    int fl_has_openmp()
    int fl_default_threads()
    bint fl_parallel(fl_task *task, void *context, ptrdiff_t n, ptrdiff_t step, int n_threads)

    enum:
        FL_STEP

    ctypedef struct fl_walk:
        fl_rows rows
        fl_kernel *kernel
        int op
        double *sums
        fl_sum *sum
        int ndim

    int fl_walk_add(fl_walk *walk, ptrdiff_t length, ptrdiff_t x_stride, ptrdiff_t out_stride,
                    ptrdiff_t targets_stride)
    ptrdiff_t fl_walk_rows(const fl_walk *walk)
    bint fl_walk_run(const fl_walk *walk, int n_threads)
    ptrdiff_t fl_loss_sums(const fl_walk *walk)

    enum:
        FL_COUNT
        FL_WEIGHT
        FL_SUM_NLL
        FL_HITS
        FL_TOP_HITS
        FL_SUM_BRIER
        FL_TOTALS
        FL_SUM_SLOPE
        FL_SUM_CURVATURE

    enum:
        FL_BIN_COUNT
        FL_BIN_WEIGHT
        FL_BIN_CONFIDENCE
        FL_BIN_HITS
        FL_IN_BIN

    ptrdiff_t fl_score_groups(const fl_walk *walk)
    bint fl_scores_run(const fl_walk *walk, ptrdiff_t k, ptrdiff_t n_bins, double *totals,
                       int n_threads)

    ctypedef struct fl_operand:
        void *data
        int format
        fl_axes axes

    enum:
        FL_PIECE

    ctypedef struct fl_pieces:
        fl_operand *operands
        ptrdiff_t n
        int format
        fl_piece_kernel *kernel
        double label_smoothing, grad_scale
        double *sums

    bint fl_pieces_run(const fl_pieces *call, int n_threads, bint *outside)
