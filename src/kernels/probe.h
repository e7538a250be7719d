/*
 * Each operation of the vocabulary over one group of virtual lanes, so that tests can hold
 * every instruction set to the contract. Masks come back as 1 where set and 0 elsewhere;
 * what the contract leaves open (a NaN among the largest, say) is kept out here.
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
PROBE(fnma, v_fnma(a, b, c))
PROBE(max, v_max(a, b))
PROBE(min, v_min(a, b))
PROBE(abs, v_abs(a))
PROBE(eq, v_select(v_eq(a, b), one, zero))
PROBE(ne, v_select(v_ne(a, b), one, zero))
PROBE(gt, v_select(v_gt(a, b), one, zero))
PROBE(select, v_select(v_gt(a, b), b, c))
PROBE(keep, v_keep(v_gt(a, b), c))
/* At the end of the numbers that it is for: 6 or 7. */
PROBE(count, v_sub(v_count(v_gt(a, b), v_set1(2 * COUNT_FROM - 2)), v_set1(2 * COUNT_FROM - 8)))
PROBE(pow2, v_pow2(a))
/* Of |a| where that is above the least normal number and finite, else of 1. */
PROBE(ilogb, v_ilogb(v_select(v_gt(v_abs(a), v_set1(REAL_MIN)),
                              v_select(v_gt(v_abs(a), v_set1(REAL_MAX)), one, v_abs(a)), one)))
#undef PROBE

/* Of a, with the bits of b as the table; of float32 alone. */
static void NAME(probe_eighth)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pc;
#if FL_BITS == 32
    uint32_t table[8];
    memcpy(table, pb, sizeof table);
    for (int k = 0; k < LANES; k += WIDTH)
        v_store(out + k, v_eighth(v_load(pa + k), table));
#else
    (void)pb;
    memcpy(out, pa, LANES * sizeof *out);
#endif
}

static void NAME(probe_fill)(real *out, real value)
{
    for (int i = 0; i < LANES; ++i)
        out[i] = value;
}

/* Whether a > b, lane by lane, as 1 and 0. */
static void NAME(probe_lanes)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pc;
    for (int k = 0; k < LANES; k += WIDTH) {
        const unsigned lanes = v_lanes(v_gt(v_load(pa + k), v_load(pb + k)));
        for (int i = 0; i < WIDTH; ++i)
            out[k + i] = (real)(lanes >> i & 1);
        out[k] += (real)(lanes >> WIDTH); /* there are no others */
    }
}

/* a, by way of memory that is aligned. */
static void NAME(probe_stream)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb, (void)pc;
    FL_ALIGNED real to[LANES];
    for (int k = 0; k < LANES; k += WIDTH)
        v_stream(to + k, v_load(pa + k));
    v_fence();
    memcpy(out, to, sizeof to);
}

/* The largest of a, NaN left out. */
static void NAME(probe_hmax)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb, (void)pc;
    vec m = v_set1((real)-INFINITY);
    for (int k = 0; k < LANES; k += WIDTH)
        m = v_max(v_load(pa + k), m);
    NAME(probe_fill)(out, v_hmax(m) + (real)0);
}

/* Two fewer than b has positive numbers: from -2 to 2 below the number of lanes. */
static ptrdiff_t NAME(probe_length)(const real *pb)
{
    ptrdiff_t n = -2;
    for (int i = 0; i < LANES; ++i)
        n += pb[i] > 0;
    return n;
}

/* The first lanes from a, as many as probe_length says, the others from c. */
static void NAME(probe_load_part)(const real *pa, const real *pb, const real *pc, real *out)
{
    const ptrdiff_t n = NAME(probe_length)(pb);
    for (int k = 0; k < LANES; k += WIDTH)
        v_store(out + k, v_load_part(pa + k, n - k, v_load(pc + k)));
}

/* The same, by writing a over c. */
static void NAME(probe_store_part)(const real *pa, const real *pb, const real *pc, real *out)
{
    const ptrdiff_t n = NAME(probe_length)(pb);
    for (int k = 0; k < LANES; k += WIDTH) {
        v_store(out + k, v_load(pc + k));
        v_store_part(out + k, n - k, v_load(pa + k));
    }
}

/* a, widened to float64 where it is float32, and its first lanes read one by one. */
static void NAME(probe_half)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb, (void)pc;
#if FL_BITS == 32
    for (int k = 0; k < LANES; k += WIDTH)
        for (int h = 0; h < 2; ++h) {
            double wide[FL_WIDTH_F64];
            v_store(wide, v_half(v_load(pa + k), h));
            for (int i = 0; i < FL_WIDTH_F64; ++i)
                out[k + h * FL_WIDTH_F64 + i] = (float)wide[i];
        }
#else
    for (int i = 0; i < LANES; ++i)
        out[i] = v_first(v_load_part(pa + i, 1, v_set1(0.0)));
#endif
}

/* The same of a register's half in memory; of float32 alone. */
static void NAME(probe_load_half)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb, (void)pc;
#if FL_BITS == 32
    for (int k = 0; k < LANES; k += FL_WIDTH_F64) {
        double wide[FL_WIDTH_F64];
        v_store(wide, v_load_half(pa + k));
        for (int i = 0; i < FL_WIDTH_F64; ++i)
            out[k + i] = (float)wide[i];
    }
#else
    memcpy(out, pa, LANES * sizeof *out);
#endif
}

/* a b + c as float64, rounded to float32; of float32 alone. */
static void NAME(probe_join)(const real *pa, const real *pb, const real *pc, real *out)
{
#if FL_BITS == 32
    for (int k = 0; k < LANES; k += WIDTH) {
        const vec a = v_load(pa + k), b = v_load(pb + k), c = v_load(pc + k);
        f64v wide[2];
        for (int h = 0; h < 2; ++h)
            wide[h] = v_add(v_mul(v_half(a, h), v_half(b, h)), v_half(c, h));
        v_store(out + k, v_join(wide[0], wide[1]));
    }
#else
    (void)pb, (void)pc;
    memcpy(out, pa, LANES * sizeof *out);
#endif
}

/* a after it was stored in half precision; of float32 alone. */
#if FL_BITS == 32
#define PROBE_HALF(name)                                                                           \
    static void NAME(probe_##name)(const real *pa, const real *pb, const real *pc, real *out)      \
    {                                                                                              \
        char half[2 * LANES];                                                                      \
        (void)pb, (void)pc;                                                                        \
        for (int k = 0; k < LANES; k += WIDTH)                                                     \
            v_store_##name(half + 2 * k, v_load(pa + k));                                          \
        for (int k = 0; k < LANES; k += WIDTH)                                                     \
            v_store(out + k, v_load_##name(half + 2 * k));                                         \
    }
#else
#define PROBE_HALF(name)                                                                           \
    static void NAME(probe_##name)(const real *pa, const real *pb, const real *pc, real *out)      \
    {                                                                                              \
        (void)pb, (void)pc;                                                                        \
        memcpy(out, pa, LANES * sizeof *out);                                                      \
    }
#endif
PROBE_HALF(f16)
PROBE_HALF(bf16)
#undef PROBE_HALF

/*
 * LANES rows of n numbers, backwards with gaps between them or forwards without, in an area where
 * nothing else is to be touched; and the column to show. The number of positive ones in b chooses:
 * up to LANES of them make all the combinations.
 */
static const real NAME(untouched) = (real)-12345;

typedef struct {
    real area[(LANES + 2) * (QUAD + 1)];
    real *first;
    ptrdiff_t n, stride;
    int column;
} NAME(probe_rows);

static void NAME(probe_set_rows)(NAME(probe_rows) *rows, const real *pb)
{
    const int count = (int)NAME(probe_length)(pb) + 2;
    rows->n = 1 + count % QUAD;
    rows->column = count / QUAD % QUAD;
    rows->stride = count / (QUAD * QUAD) % 2 ? rows->n : -(QUAD + 1);
    rows->first = rows->area + QUAD + 1;
    if (rows->stride < 0)
        rows->first -= (LANES - 1) * rows->stride;
    for (int i = 0; i < (LANES + 2) * (QUAD + 1); ++i)
        rows->area[i] = NAME(untouched);
}

/* The shown column of what v_load_rows makes of rows that hold a, b, c and -a side by side. */
static void NAME(probe_load_rows)(const real *pa, const real *pb, const real *pc, real *out)
{
    NAME(probe_rows) rows;
    NAME(probe_set_rows)(&rows, pb);
    for (int i = 0; i < LANES; ++i) {
        const real each[] = {pa[i], pb[i], pc[i], -pa[i]};
        memcpy(rows.first + i * rows.stride, each, (size_t)rows.n * sizeof *each);
    }
    for (int k = 0; k < LANES; k += WIDTH) {
        vec columns[QUAD];
        v_load_rows(rows.first + k * rows.stride, rows.stride, rows.n, columns);
        v_store(out + k, columns[rows.column]);
    }
}

/* The same of what v_store_rows writes; `untouched` if it has written anywhere else. */
static void NAME(probe_store_rows)(const real *pa, const real *pb, const real *pc, real *out)
{
    NAME(probe_rows) rows;
    NAME(probe_set_rows)(&rows, pb);
    for (int k = 0; k < LANES; k += WIDTH) {
        const vec a = v_load(pa + k), minus_a = v_sub(v_set1((real)-0.0), a);
        const vec columns[] = {a, v_load(pb + k), v_load(pc + k), minus_a};
        v_store_rows(rows.first + k * rows.stride, rows.stride, rows.n, columns);
    }
    for (int i = 0; i < LANES; ++i) {
        real *row = rows.first + i * rows.stride;
        out[i] = rows.column < rows.n ? row[rows.column] : 0;
        for (ptrdiff_t j = 0; j < rows.n; ++j)
            row[j] = NAME(untouched);
    }
    for (int i = 0; i < (LANES + 2) * (QUAD + 1); ++i)
        if (rows.area[i] != NAME(untouched))
            NAME(probe_fill)(out, NAME(untouched));
}

/*
 * The exponentials and logarithms that the kernels are made of. Each gives a pair: `hi`, or `lo`
 * where c[1] is 1, so c[1] has to be 0 or 1.
 */
FL_INLINE vec NAME(part_of)(NAME(pair) p, const real *pc) { return pc[1] == 0 ? p.hi : p.lo; }

/* exp of a in the frame of exponent b[0], of the temperature c[0]. */
static void NAME(probe_exp)(const real *pa, const real *pb, const real *pc, real *out)
{
    const NAME(scaling) scaling = NAME(scaling_of)((double)pc[0]);
    const NAME(frame) frame = NAME(frame_of)(v_set1(pb[0]), &scaling);
    for (int k = 0; k < LANES; k += WIDTH) {
        const vec a = v_load(pa + k);
        const NAME(pair) e = scaling.scaled ? NAME(exp)(a, &frame, 1) : NAME(exp)(a, &frame, 0);
        v_store(out + k, NAME(part_of)(e, pc));
    }
}

/* exp(-|a|) */
static void NAME(probe_exp_minus_abs)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb;
    for (int k = 0; k < LANES; k += WIDTH)
        v_store(out + k, NAME(part_of)(NAME(exp_minus_abs)(v_load(pa + k)), pc));
}

/* log(1 + a), for a in [0, 1]. */
static void NAME(probe_log1p_of)(const real *pa, const real *pb, const real *pc, real *out)
{
    (void)pb;
    for (int k = 0; k < LANES; k += WIDTH) {
        const NAME(pair) a = {v_load(pa + k), v_set1((real)0)};
        v_store(out + k, NAME(part_of)(NAME(log1p_of)(a), pc));
    }
}

/* The finish of a row: of float32 one float64, which comes back as two float32. */
#define PROBE_WIDE(name, expression)                                                               \
    static void NAME(probe_##name)(const real *pa, const real *pb, const real *pc, real *out)      \
    {                                                                                              \
        for (int k = 0; k < LANES; k += WIDTH) {                                                   \
            f64v hi[HALVES], lo[HALVES];                                                           \
            for (int h = 0; h < HALVES; ++h) {                                                     \
                const pair_f64 a = single(NAME(widened)(v_load(pa + k), h));                       \
                const f64v b = NAME(widened)(v_load(pb + k), h);                                   \
                (void)b;                                                                           \
                const pair_f64 y = expression;                                                     \
                hi[h] = y.hi, lo[h] = y.lo;                                                        \
            }                                                                                      \
            const vec rounded = NAME(rounded)(hi);                                                 \
            for (int h = 0; h < HALVES && FL_BITS == 32; ++h)                                      \
                lo[h] = v_sub(hi[h], NAME(widened)(rounded, h));                                   \
            v_store(out + k, NAME(part_of)((NAME(pair)){rounded, NAME(rounded)(lo)}, pc));         \
        }                                                                                          \
    }
/* exp(a) in the frame of exponent b, of each lane its own. */
PROBE_WIDE(wide_exp, NAME(wide_exp)(a, b))
/* The same of the largest logit of a row in a frame of its own. */
PROBE_WIDE(wide_exp_own, NAME(wide_exp_own)(a, b))
/* log(1 + a e / e), for a in [0, 2^31). Of float64 e is 1 in the frame, as a e must be exact; else
   the exponential of b or, where that is not in 2^+-0.501, of an end of it. */
FL_INLINE pair_f64 NAME(log1p_by)(f64v a, f64v b)
{
    const f64v end = v_set1(FL_BITS == 32 ? 0.501 * 0x1.62e42fefa39efp-1 : 0.0), zero = v_set1(0.0);
    const f64v x = v_max(v_sub(zero, end), v_min(end, b));
    const pair_f64 e = NAME(wide_exp)(single(x), zero);
    return NAME(wide_log)(NAME(log_argument)(single(v_mul(a, e.hi)), e));
}
PROBE_WIDE(wide_log1p, NAME(log1p_by)(a.hi, b))
#undef PROBE_WIDE
