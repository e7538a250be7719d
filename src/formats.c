/*
 * Numbers of any format, byte order, stride and alignment, to and from the two that the kernels
 * compute in. What the kernels' instruction sets do faster, they do themselves (kernels/arrays.h).
 */
#include "fastlogits.h"
#include "half.h"

#include <string.h>

ptrdiff_t fl_format_size(int format)
{
    static const ptrdiff_t sizes[] = {
        [FL_F32] = 4, [FL_F64] = 8, [FL_F16] = 2, [FL_BF16] = 2, [FL_BOOL] = 1,
        [FL_I8] = 1,  [FL_U8] = 1,  [FL_I16] = 2, [FL_U16] = 2,  [FL_I32] = 4,
        [FL_U32] = 4, [FL_I64] = 8, [FL_U64] = 8,
    };
    return sizes[format % FL_SWAPPED];
}

static uint8_t swap_1(uint8_t bits) { return bits; }
static uint16_t swap_2(uint16_t bits) { return (uint16_t)(bits << 8 | bits >> 8); }
static uint32_t swap_4(uint32_t bits)
{
    return (uint32_t)swap_2((uint16_t)bits) << 16 | swap_2((uint16_t)(bits >> 16));
}
static uint64_t swap_8(uint64_t bits)
{
    return (uint64_t)swap_4((uint32_t)bits) << 32 | swap_4((uint32_t)(bits >> 32));
}

/* The loops over elements of BYTES, stored as T, whose bits are an unsigned integer. */
#define LOAD_LOOP(BYTES, BITS, T, expression, swap)                                                \
    for (ptrdiff_t i = 0; i < n; ++i) {                                                            \
        BITS bits;                                                                                 \
        T a;                                                                                       \
        memcpy(&bits, at + i * stride, BYTES);                                                     \
        bits = swap(bits);                                                                         \
        memcpy(&a, &bits, BYTES);                                                                  \
        to[i] = expression;                                                                        \
    }
#define LOAD(code, BYTES, BITS, T, expression)                                                     \
    case code:                                                                                     \
        LOAD_LOOP(BYTES, BITS, T, expression, )                                                    \
        return;                                                                                    \
    case code + FL_SWAPPED:                                                                        \
        LOAD_LOOP(BYTES, BITS, T, expression, swap_##BYTES)                                        \
        return;

#define STORE_LOOP(BYTES, BITS, T, expression, swap)                                               \
    for (ptrdiff_t i = 0; i < n; ++i) {                                                            \
        const T a = expression;                                                                    \
        BITS bits;                                                                                 \
        memcpy(&bits, &a, BYTES);                                                                  \
        bits = swap(bits);                                                                         \
        memcpy(at + i * stride, &bits, BYTES);                                                     \
    }
#define STORE(code, BYTES, BITS, T, expression)                                                    \
    case code:                                                                                     \
        STORE_LOOP(BYTES, BITS, T, expression, )                                                   \
        return;                                                                                    \
    case code + FL_SWAPPED:                                                                        \
        STORE_LOOP(BYTES, BITS, T, expression, swap_##BYTES)                                       \
        return;

/* From and to real; `narrow` is what half precision is rounded from. */
#define FORMATS(suffix, real, narrow)                                                              \
    void fl_load_##suffix(const void *from, ptrdiff_t stride, int format, ptrdiff_t n, real *to)   \
    {                                                                                              \
        const char *at = from;                                                                     \
        switch (format) {                                                                          \
            LOAD(FL_F32, 4, uint32_t, float, (real)a)                                              \
            LOAD(FL_F64, 8, uint64_t, double, (real)a)                                             \
            LOAD(FL_F16, 2, uint16_t, uint16_t, (real)fl_from_f16(a))                              \
            LOAD(FL_BF16, 2, uint16_t, uint16_t, (real)fl_from_bf16(a))                            \
            LOAD(FL_BOOL, 1, uint8_t, uint8_t, (real)(a != 0))                                     \
            LOAD(FL_I8, 1, uint8_t, int8_t, (real)a)                                               \
            LOAD(FL_U8, 1, uint8_t, uint8_t, (real)a)                                              \
            LOAD(FL_I16, 2, uint16_t, int16_t, (real)a)                                            \
            LOAD(FL_U16, 2, uint16_t, uint16_t, (real)a)                                           \
            LOAD(FL_I32, 4, uint32_t, int32_t, (real)a)                                            \
            LOAD(FL_U32, 4, uint32_t, uint32_t, (real)a)                                           \
            LOAD(FL_I64, 8, uint64_t, int64_t, (real)a)                                            \
            LOAD(FL_U64, 8, uint64_t, uint64_t, (real)a)                                           \
        }                                                                                          \
    }                                                                                              \
    void fl_store_##suffix(const real *from, ptrdiff_t n, void *to, ptrdiff_t stride, int format)  \
    {                                                                                              \
        char *at = to;                                                                             \
        switch (format) {                                                                          \
            STORE(FL_F32, 4, uint32_t, float, (float)from[i])                                      \
            STORE(FL_F64, 8, uint64_t, double, (double)from[i])                                    \
            STORE(FL_F16, 2, uint16_t, uint16_t, fl_to_f16(narrow(from[i])))                       \
            STORE(FL_BF16, 2, uint16_t, uint16_t, fl_to_bf16(narrow(from[i])))                     \
        }                                                                                          \
    }

FORMATS(f32, float, )
FORMATS(f64, double, fl_to_odd)
