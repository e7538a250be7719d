/*
 * Elementwise operations that also sum: an array of any form is walked in C order of its
 * indices, in pieces of FL_PIECE elements, so that a sum depends on the values alone and not on
 * where they lie. A kernel finds each piece contiguous: where it is not, in a buffer.
 */
#include "compiler.h"
#include "fastlogits.h"

#include <stdatomic.h>

/* Whether the kernel can use the elements where they lie. */
static int is_dense(const fl_operand *operand, int format)
{
    const ptrdiff_t size = fl_format_size(format);
    return operand->format == format && (uintptr_t)operand->data % (size_t)size == 0 &&
           (operand->axes.ndim == 0 ||
            (operand->axes.ndim == 1 && operand->axes.stride[0] == size));
}

struct run {
    const fl_pieces *call;
    atomic_int outside; /* of any thread */
};

static void run_pieces(void *context, ptrdiff_t begin, ptrdiff_t end)
{
    struct run *run = context;
    const fl_pieces *call = run->call;
    int outside = 0;
    FL_ALIGNED double buffer[FL_OPERANDS][FL_PIECE];
    for (ptrdiff_t i = begin; i < end; ++i) {
        const ptrdiff_t first = i * FL_PIECE;
        fl_piece piece = {.n = call->n - first < FL_PIECE ? call->n - first : FL_PIECE};
        piece.label_smoothing = call->label_smoothing;
        piece.grad_scale = call->grad_scale;
        piece.sum = call->sums + i;
        piece.outside = &outside;
        for (int k = 0; k < FL_OPERANDS; ++k) {
            const fl_operand *operand = call->operands + k;
            if (!operand->data)
                continue;
            if (is_dense(operand, call->format)) {
                piece.operands[k] = (char *)operand->data + first * fl_format_size(call->format);
                continue;
            }
            piece.operands[k] = buffer[k];
            if (k < FL_LOSSES)
                fl_load_axes(operand->data, &operand->axes, operand->format, first, piece.n,
                             buffer[k], call->format);
        }
        call->kernel(&piece);
        for (int k = FL_LOSSES; k < FL_OPERANDS; ++k) {
            const fl_operand *operand = call->operands + k;
            if (piece.operands[k] == buffer[k])
                fl_store_axes(buffer[k], call->format, first, piece.n, operand->data,
                              &operand->axes, operand->format);
        }
    }
    if (outside)
        atomic_store_explicit(&run->outside, 1, memory_order_relaxed);
}

int fl_pieces_run(const fl_pieces *call, int n_threads, int *outside)
{
    const ptrdiff_t n_pieces = call->n / FL_PIECE + (call->n % FL_PIECE > 0);
    struct run run = {.call = call};
    atomic_init(&run.outside, 0);
    const int done =
        n_pieces == 0 || fl_parallel(run_pieces, &run, n_pieces, FL_STEP / FL_PIECE, n_threads);
    *outside = atomic_load(&run.outside);
    return done;
}
