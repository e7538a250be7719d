/*
 * Each operation of the vocabulary over one group of virtual lanes, so that tests can hold
 * every instruction set to the contract. Masks come back as 1 where set and 0 elsewhere.
 */
#define PROBE(op, expression)                                                                      \
    static void NAME(probe_##op)(const real *pa, const real *pb, const real *pc, real *out)        \
    {                                                                                              \
        const vec one = v_set1((real)1), zero = v_set1((real)0);                                   \
        for (int k = 0; k < LANES; k += WIDTH) {                                                   \
            const vec a = v_load(pa + k), b = v_load(pb + k), c = v_load(pc + k);                  \
            (void)a, (void)b, (void)c, (void)one, (void)zero;                                      \
            v_store(out + k, expression);                                                          \
        }                                                                                          \
    }
PROBE(load, a)
PROBE(set1, v_set1(pa[0]))
PROBE(add, v_add(a, b))
PROBE(sub, v_sub(a, b))
PROBE(mul, v_mul(a, b))
PROBE(div, v_div(a, b))
PROBE(fma, v_fma(a, b, c))
PROBE(max, v_max(a, b))
PROBE(abs, v_abs(a))
PROBE(ne, v_select(v_ne(a, b), one, zero))
PROBE(gt, v_select(v_gt(a, b), one, zero))
PROBE(select, v_select(v_gt(a, b), b, c))
PROBE(add_if, v_add_if(v_gt(a, b), a, c))
PROBE(pow2, v_pow2(a))
PROBE(ilogb, v_ilogb(a))
PROBE(hmax, v_set1(v_hmax(a)))
/* The first pb[0] lanes of each register from a, the others from c. */
PROBE(load_part, v_load_part(pa + k, (ptrdiff_t)pb[0], c))
#undef PROBE

/* c, with the first pb[0] lanes of each register overwritten from a. */
static void NAME(probe_store_part)(const real *pa, const real *pb, const real *pc, real *out)
{
    for (int k = 0; k < LANES; k += WIDTH) {
        v_store(out + k, v_load(pc + k));
        v_store_part(out + k, (ptrdiff_t)pb[0], v_load(pa + k));
    }
}

/* a, widened and narrowed again; the same for float64. */
static void NAME(probe_half)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb, (void)pc;
    for (int k = 0; k < LANES; k += WIDTH) {
#if FL_BITS == 32
        for (int h = 0; h < 2; ++h) {
            double wide[FL_WIDTH_F64];
            v_store(wide, v_half(v_load(pa + k), h));
            for (int i = 0; i < FL_WIDTH_F64; ++i)
                out[k + h * FL_WIDTH_F64 + i] = (float)wide[i];
        }
#else
        for (int i = 0; i < WIDTH; ++i)
            out[k + i] = v_first(v_load_part(pa + k + i, 1, v_set1(0.0)));
#endif
    }
}
