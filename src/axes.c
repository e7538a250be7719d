/*
 * Elements of an array of any number of dimensions, in C order of their indices.
 */
#include "compiler.h"
#include "fastlogits.h"

int fl_axes_join(ptrdiff_t outer_stride, ptrdiff_t length, ptrdiff_t stride)
{
    ptrdiff_t whole;
    return !FL_MULTIPLY_OVERFLOWS(length, stride, &whole) && whole == outer_stride;
}

int fl_axes_add(fl_axes *axes, ptrdiff_t length, ptrdiff_t stride)
{
    if (length == 1)
        return 1;
    const int last = axes->ndim - 1;
    if (last >= 0 && fl_axes_join(axes->stride[last], length, stride)) {
        axes->shape[last] *= length;
        axes->stride[last] = stride;
        return 1;
    }
    if (axes->ndim == FL_MAX_DIMS)
        return 0;
    axes->shape[axes->ndim] = length;
    axes->stride[axes->ndim] = stride;
    ++axes->ndim;
    return 1;
}

/* n elements along the last axis, to contiguous numbers or from them. */
static void move_run(char *at, ptrdiff_t stride, int format, ptrdiff_t n, char *contiguous, int own,
                     int load)
{
    if (load && own == FL_F32)
        fl_load_f32(at, stride, format, n, (float *)(void *)contiguous);
    else if (load)
        fl_load_f64(at, stride, format, n, (double *)(void *)contiguous);
    else if (own == FL_F32)
        fl_store_f32((const float *)(void *)contiguous, n, at, stride, format);
    else
        fl_store_f64((const double *)(void *)contiguous, n, at, stride, format);
}

static void move(char *at, const fl_axes *axes, int format, ptrdiff_t begin, ptrdiff_t n,
                 char *contiguous, int own, int load)
{
    ptrdiff_t index[FL_MAX_DIMS], rest = begin;
    const int last = axes->ndim - 1;
    for (int d = last; d >= 0; --d) {
        index[d] = rest % axes->shape[d];
        rest /= axes->shape[d];
        at += index[d] * axes->stride[d];
    }
    while (n > 0) {
        ptrdiff_t run = last < 0 ? 1 : axes->shape[last] - index[last];
        if (run > n)
            run = n;
        const ptrdiff_t stride = last < 0 ? 0 : axes->stride[last];
        move_run(at, stride, format, run, contiguous, own, load);
        contiguous += run * fl_format_size(own);
        n -= run;
        /* On to the next index of the dimensions before the last. */
        if (last >= 0) {
            at += run * stride;
            index[last] += run;
        }
        for (int d = last; d > 0 && index[d] == axes->shape[d]; --d) {
            at += axes->stride[d - 1] - axes->shape[d] * axes->stride[d];
            index[d] = 0;
            ++index[d - 1];
        }
    }
}

void fl_load_axes(const void *data, const fl_axes *axes, int format, ptrdiff_t begin, ptrdiff_t n,
                  void *to, int own)
{
    move((char *)(uintptr_t)data, axes, format, begin, n, to, own, 1);
}

void fl_store_axes(const void *from, int own, ptrdiff_t begin, ptrdiff_t n, void *data,
                   const fl_axes *axes, int format)
{
    move(data, axes, format, begin, n, (char *)(uintptr_t)from, own, 0);
}
