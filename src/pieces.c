/*
 * Elementwise operations that also sum: an array of any form is walked in C order of its
 * indices, in pieces of FL_PIECE elements, so that a sum depends on the values alone and not on
 * where they lie. A kernel finds each piece contiguous: where it is not, in a buffer.
 */
#include "compiler.h"
#include "fastlogits.h"

#include <stdatomic.h>
#include <string.h>

int fl_operand_add(fl_operand *operand, ptrdiff_t length, ptrdiff_t stride)
{
    if (length == 1)
        return 1;
    const int last = operand->ndim - 1;
    if (last >= 0 && operand->stride[last] == length * stride) {
        operand->shape[last] *= length;
        operand->stride[last] = stride;
        return 1;
    }
    if (operand->ndim == FL_MAX_DIMS)
        return 0;
    operand->shape[operand->ndim] = length;
    operand->stride[operand->ndim] = stride;
    ++operand->ndim;
    return 1;
}

/* n elements to contiguous numbers of the format of the call, or from them. */
static void convert(char *own, int own_format, char *at, ptrdiff_t stride, int format, ptrdiff_t n,
                    int into)
{
    if (into && own_format == FL_F32)
        fl_load_f32(at, stride, format, n, (float *)own);
    else if (into)
        fl_load_f64(at, stride, format, n, (double *)own);
    else if (own_format == FL_F32)
        fl_store_f32((const float *)own, n, at, stride, format);
    else
        fl_store_f64((const double *)own, n, at, stride, format);
}

/* Elements [begin, begin + n) between the operand and contiguous memory: into it, or from it. */
static void move(const fl_operand *operand, ptrdiff_t begin, ptrdiff_t n, char *contiguous,
                 int format, int into)
{
    ptrdiff_t index[FL_MAX_DIMS], rest = begin;
    const int last = operand->ndim - 1;
    char *at = operand->data;
    for (int d = last; d >= 0; --d) {
        index[d] = rest % operand->shape[d];
        rest /= operand->shape[d];
        at += index[d] * operand->stride[d];
    }
    while (n > 0) {
        ptrdiff_t run = last < 0 ? 1 : operand->shape[last] - index[last];
        if (run > n)
            run = n;
        const ptrdiff_t stride = last < 0 ? 0 : operand->stride[last];
        convert(contiguous, format, at, stride, operand->format, run, into);
        contiguous += run * fl_format_size(format);
        n -= run;
        /* On to the next index of the dimensions before the last. */
        if (last >= 0) {
            at += run * stride;
            index[last] += run;
        }
        for (int d = last; d > 0 && index[d] == operand->shape[d]; --d) {
            at += operand->stride[d - 1] - operand->shape[d] * operand->stride[d];
            index[d] = 0;
            ++index[d - 1];
        }
    }
}

/* Whether the kernel can use the elements where they lie. */
static int is_dense(const fl_operand *operand, int format)
{
    const ptrdiff_t size = fl_format_size(format);
    return operand->format == format && (uintptr_t)operand->data % (size_t)size == 0 &&
           (operand->ndim == 0 || (operand->ndim == 1 && operand->stride[0] == size));
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
                move(operand, first, piece.n, (char *)buffer[k], call->format, 1);
        }
        call->kernel(&piece);
        for (int k = FL_LOSSES; k < FL_OPERANDS; ++k)
            if (piece.operands[k] == buffer[k])
                move(call->operands + k, first, piece.n, (char *)buffer[k], call->format, 0);
    }
    if (outside)
        atomic_store_explicit(&run->outside, 1, memory_order_relaxed);
}

int fl_pieces_run(const fl_pieces *call, int n_threads)
{
    const ptrdiff_t n_pieces = (call->n + FL_PIECE - 1) / FL_PIECE;
    struct run run = {.call = call};
    atomic_init(&run.outside, 0);
    if (n_pieces)
        fl_parallel(run_pieces, &run, n_pieces, n_threads);
    return atomic_load(&run.outside);
}
