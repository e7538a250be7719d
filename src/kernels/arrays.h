/*
 * Blocks of arrays, of any format and strides, as contiguous numbers of the kernel's own type: read
 * where they lie if that is what they are, else in a buffer. So one arithmetic serves every array,
 * with the same bits.
 */
#define OWN_FORMAT (FL_BITS == 32 ? FL_F32 : FL_F64)

/* Whether elements at `data` and at multiples of the stride from there can be used in place. */
FL_INLINE int NAME(is_own)(const void *data, ptrdiff_t stride, int format)
{
    return format == OWN_FORMAT && ((uintptr_t)data | (uintptr_t)stride) % sizeof(real) == 0;
}

FL_INLINE int NAME(is_dense)(const void *data, ptrdiff_t stride, int format)
{
    return stride == sizeof(real) && NAME(is_own)(data, stride, format);
}

/* The same of all rows of an array. */
FL_INLINE int NAME(has_dense)(const fl_view *view)
{
    return !view->axes && view->class == sizeof(real) &&
           NAME(is_own)(view->data, view->row | view->class, view->format);
}

#if FL_BITS == 32
FL_INLINE f32v load_half(const void *p, int format)
{
    return format == FL_F16 ? v_load_f16(p) : v_load_bf16(p);
}

FL_INLINE void store_half(void *p, f32v a, int format)
{
    if (format == FL_F16)
        v_store_f16(p, a);
    else
        v_store_bf16(p, a);
}

/* Whether the classes of a row are contiguous numbers of half precision. */
FL_INLINE int is_half(const fl_row *row)
{
    return !row->axes && row->class == 2 && (row->format == FL_F16 || row->format == FL_BF16);
}

/* n contiguous numbers of half precision. What is no whole register at the end overlaps the one
   before it or, if there is none, goes through `rest`. */
FL_INLINE void load_halves(const char *from, ptrdiff_t n, float *to, int format)
{
    char rest[2 * WIDTH] = {0};
    ptrdiff_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        v_store(to + j, load_half(from + 2 * j, format));
    if (j == n)
        return;
    if (n >= WIDTH) {
        v_store(to + n - WIDTH, load_half(from + 2 * (n - WIDTH), format));
        return;
    }
    memcpy(rest, from + 2 * j, 2 * (size_t)(n - j));
    v_store_part(to + j, n - j, load_half(rest, format));
}

/* What becomes of each on its way. */
typedef f32v half_map(const void *context, f32v x);

FL_INLINE f32v as_it_is(const void *context, f32v x)
{
    (void)context;
    return x;
}

FL_INLINE void store_halves(const float *from, ptrdiff_t n, char *to, int format, half_map *map,
                            const void *context)
{
    char rest[2 * WIDTH];
    ptrdiff_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        store_half(to + 2 * j, map(context, v_load(from + j)), format);
    if (j == n)
        return;
    if (n >= WIDTH) {
        store_half(to + 2 * (n - WIDTH), map(context, v_load(from + n - WIDTH)), format);
        return;
    }
    store_half(rest, map(context, v_load_part(from + j, n - j, v_set1(0.0f))), format);
    memcpy(to + 2 * j, rest, 2 * (size_t)(n - j));
}
#endif

/* n elements, `stride` bytes apart, to contiguous numbers ... */
static void NAME(load)(const char *from, ptrdiff_t stride, int format, ptrdiff_t n, real *to)
{
    if (NAME(is_own)(from, stride, format)) {
        for (ptrdiff_t j = 0; j < n; ++j)
            to[j] = *(const real *)(from + j * stride);
        return;
    }
#if FL_BITS == 32
    if (format == FL_F16 && stride == 2)
        load_halves(from, n, to, FL_F16);
    else if (format == FL_BF16 && stride == 2)
        load_halves(from, n, to, FL_BF16);
    else
        fl_load_f32(from, stride, format, n, to);
#else
    fl_load_f64(from, stride, format, n, to);
#endif
}

/* ... and back. */
static void NAME(store)(const real *from, ptrdiff_t n, char *to, ptrdiff_t stride, int format)
{
    if (NAME(is_own)(to, stride, format)) {
        for (ptrdiff_t j = 0; j < n; ++j)
            *(real *)(to + j * stride) = from[j];
        return;
    }
#if FL_BITS == 32
    if (format == FL_F16 && stride == 2)
        store_halves(from, n, to, FL_F16, as_it_is, NULL);
    else if (format == FL_BF16 && stride == 2)
        store_halves(from, n, to, FL_BF16, as_it_is, NULL);
    else
        fl_store_f32(from, n, to, stride, format);
#else
    fl_store_f64(from, n, to, stride, format);
#endif
}

FL_INLINE fl_row NAME(row_of)(const fl_view *view, ptrdiff_t i)
{
    return (fl_row){(char *)view->data + i * view->row, view->class, view->format, view->axes};
}

/* One class of all rows, which stand in for the classes; of arrays whose classes have one stride.
 */
FL_INLINE fl_row NAME(across)(const fl_view *view, ptrdiff_t j)
{
    return (fl_row){(char *)view->data + j * view->class, view->row, view->format, NULL};
}

FL_INLINE int NAME(is_dense_from)(const fl_row *row, ptrdiff_t j)
{
    return !row->axes && NAME(is_dense)(row->data + j * row->class, row->class, row->format);
}

/* Classes [j, j + n) of a row, to contiguous numbers and back. */
FL_INLINE void NAME(load_classes)(const fl_row *row, ptrdiff_t j, ptrdiff_t n, real *to)
{
    if (row->axes)
        fl_load_axes(row->data, row->axes, row->format, j, n, to, OWN_FORMAT);
    else
        NAME(load)(row->data + j * row->class, row->class, row->format, n, to);
}

FL_INLINE void NAME(store_classes)(const real *from, const fl_row *row, ptrdiff_t j, ptrdiff_t n)
{
    if (row->axes)
        fl_store_axes(from, OWN_FORMAT, j, n, row->data, row->axes, row->format);
    else
        NAME(store)(from, n, row->data + j * row->class, row->class, row->format);
}

/* The same, read where they lie if they can be. */
FL_INLINE const real *NAME(take)(const fl_row *row, ptrdiff_t j, ptrdiff_t n, real *buffer)
{
    if (NAME(is_dense_from)(row, j))
        return (const real *)(row->data + j * row->class);
    NAME(load_classes)(row, j, n, buffer);
    return buffer;
}

/* Where to write them: in place, or to a buffer that `put` then brings there. */
FL_INLINE real *NAME(place)(const fl_row *row, ptrdiff_t j, real *buffer)
{
    return NAME(is_dense_from)(row, j) ? (real *)(row->data + j * row->class) : buffer;
}

FL_INLINE void NAME(put)(const real *from, const fl_row *row, ptrdiff_t j, ptrdiff_t n)
{
    if (!NAME(is_dense_from)(row, j) || (const char *)from != row->data + j * row->class)
        NAME(store_classes)(from, row, j, n);
}

/* Class j of a row. */
FL_INLINE real NAME(get)(const fl_row *row, ptrdiff_t j)
{
    real value;
    NAME(load_classes)(row, j, 1, &value);
    return value;
}

FL_INLINE void NAME(set)(const fl_row *row, ptrdiff_t j, real value)
{
    NAME(store_classes)(&value, row, j, 1);
}
