/*
 * Every float32 through the exponentials and logarithms that the kernels are made of, and through
 * the elementwise functions, on every table of this machine, against long double.
 *
 * Prints the largest error of each, where it is, and the mean. Fails where one is above its bound,
 * which is what the comment at the function or the README says, and where two tables differ.
 *
 * The reference is computed once for all tables, and where a function has come to its limit, not
 * at all: there the result has to be the limit. With an argument N, every Nth float32 is taken.
 */
#include "../../src/fastlogits.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if LDBL_MANT_DIG < 64
#error "long double is too narrow here to judge float64"
#endif

/* How many numbers at a time; of fl_walk_run, how many classes. */
enum { CHUNK = 4096 };

/* As in src/kernels/real.h and math.h: the frame of exponent N is exp(x) 2^(FRAME_SHIFT - N), of
   float32 EXP_FACTOR times that, and at least that of EXP_LEAST. */
#define EXP_FACTOR 0x1.16747bf7c5b81p+0L
enum { FRAME_SHIFT = 64, EXP_LEAST = -126, LANES_MOST = FL_LANES_F32 };

static const long double ln2 = 0xb.17217f7d1cf79acp-4L;

/* Results are pairs, of which `lo` may be 0. */
typedef struct {
    double hi[CHUNK], lo[CHUNK];
} results;

/* What a result is measured by: its spacing, or a unit relative to the exact value. */
typedef enum { ULP_F32, ULP_F64, RELATIVE } measure;

/* What is asked of a result: nothing, to be near the exact value, or to be that. */
typedef enum { OUTSIDE, NEAR, EQUAL } demand;

typedef struct check check;
struct check {
    const char *name;
    void (*run)(const check *, const fl_table *, const float *x, results *y);
    demand (*want)(const check *, float x, long double *exact);
    double bound;
    measure measure;
    /* Of RELATIVE: the unit, and a size below which errors count as they do there. */
    double unit, least;
    /* What is run: a probe of either element type, or an operation. */
    const char *probe;
    int is_f64, op;
    int is_pair;               /* whether the result is hi + lo, and not hi alone */
    double frame, temperature; /* of exp */
};

/* ---- What is run ---- */

static const fl_probe *find_probe(const fl_table *table, const char *name)
{
    const fl_probe *probe = table->probes;
    while (probe->name && strcmp(probe->name, name))
        ++probe;
    if (!probe->name) {
        fprintf(stderr, "no probe %s in %s\n", name, table->name);
        exit(2);
    }
    return probe;
}

/* log2 of the power of two next to exp(x), as rows choose their frame. */
static double own_frame(float x)
{
    const double most = 4096;
    const double n = rint((double)x * 0x1.71547652b82fep+0);
    return n > most ? most : n < -most ? -most : n;
}

static void run_probe(const check *c, const fl_table *table, const float *x, results *y)
{
    const fl_probe *probe = find_probe(table, c->probe);
    const int lanes = c->is_f64 ? FL_LANES_F64 : FL_LANES_F32;
    for (int j = 0; j < CHUNK; j += lanes)
        for (int part = 0; part <= c->is_pair; ++part) {
            double b[LANES_MOST], out[LANES_MOST];
            double *to = part ? y->lo + j : y->hi + j;
            for (int i = 0; i < lanes; ++i)
                b[i] = isnan(c->frame) ? own_frame(x[j + i]) : c->frame;
            if (c->is_f64) {
                double a[LANES_MOST];
                const double options[FL_LANES_F64] = {c->temperature, part};
                for (int i = 0; i < lanes; ++i)
                    a[i] = x[j + i];
                probe->f64(a, b, options, out);
            } else {
                float narrow[LANES_MOST], out_narrow[LANES_MOST];
                const float options[FL_LANES_F32] = {(float)c->temperature, (float)part};
                for (int i = 0; i < lanes; ++i)
                    narrow[i] = (float)b[i];
                probe->f32(x + j, narrow, options, out_narrow);
                for (int i = 0; i < lanes; ++i)
                    out[i] = out_narrow[i];
            }
            memcpy(to, out, (size_t)lanes * sizeof *to);
        }
}

static void run_walk(const check *c, const fl_table *table, const float *x, results *y)
{
    float out[CHUNK];
    fl_walk walk = {.kernel = table->f32.rows[c->op], .op = c->op};
    walk.rows.n_classes = CHUNK;
    walk.rows.temperature = 1;
    walk.rows.x = (fl_view){(void *)(uintptr_t)x, 0, sizeof *x, FL_F32, NULL};
    walk.rows.out = (fl_view){out, 0, sizeof *out, FL_F32, NULL};
    fl_walk_run(&walk, 1);
    for (int i = 0; i < CHUNK; ++i)
        y->hi[i] = out[i];
}

/* ---- What is wanted ---- */

static long double exact_exp(long double x)
{
    if (fabsl(x) > 0x1p-13L)
        return expl(x);
    return 1 + x * (1 + x / 2 * (1 + x * (1 / 3.0L) * (1 + x / 4)));
}

static long double exact_log1p(long double q)
{
    if (q > 0x1p-14L)
        return log1pl(q);
    return q * (1 - q * (1 / 2.0L - q * (1 / 3.0L - q * (1 / 4.0L - q * (1 / 5.0L)))));
}

static demand want_nan(long double *exact)
{
    *exact = NAN;
    return EQUAL;
}

/* exp(x / temperature) in a frame, of all that is not above its logit; but only in frame 0 also
   where all results are the limit, or 1. */
static demand want_exp(const check *c, float x, long double *exact)
{
    if (isnan(x))
        return want_nan(exact);
    if ((c->frame != 0 || c->temperature != 1) && (fabsf(x) < 0x1p-8f || fabsf(x) > 0x1p13f))
        return OUTSIDE;
    const long double t = (long double)x / (long double)c->temperature;
    if (t > ((long double)c->frame + 0.5L) * ln2)
        return OUTSIDE;
    const int shift = FRAME_SHIFT - (int)c->frame;
    if (c->is_f64) {
        const long double binary = t / ln2 + shift + 1022.5L;
        *exact = 0;
        if (binary < -1e-9L)
            return EQUAL;
        if (binary < 1e-9L) /* 0 or the least */
            return OUTSIDE;
        *exact = ldexpl(exact_exp(t), shift);
        return NEAR;
    }
    /* The least is that of the argument which it is the limit of, and that is rounded. */
    const float least = (float)(EXP_LEAST - shift) * 0x1.62e43p-1f;
    static _Thread_local float known = NAN;
    static _Thread_local long double exp_of_known;
    if (known != least) {
        known = least;
        exp_of_known = expl((long double)least);
    }
    *exact = ldexpl(EXP_FACTOR * (t > (long double)least ? exact_exp(t) : exp_of_known), shift);
    return NEAR;
}

/* The same of the frame that x itself would choose. */
static demand want_wide_exp(const check *c, float x, long double *exact)
{
    (void)c;
    if (isnan(x) || fabsf(x) < 0x1p-30f || fabsf(x) > 4096 * 0x1.62e43p-1f)
        return OUTSIDE;
    *exact = ldexpl(exact_exp(x), FRAME_SHIFT - (int)own_frame(x));
    return NEAR;
}

/* Where the last places of exp(-|x|) are subnormal, or it is itself. Negative x are left to
   sigmoid. */
static int is_near_subnormal(const check *c, float x)
{
    const double least = c->is_f64 ? -1022 : -126;
    return (double)x > -(least + 11) * 0x1.62e42fefa39efp-1;
}

static demand want_exp_minus_abs(const check *c, float x, long double *exact)
{
    if (isnan(x))
        return want_nan(exact);
    if (x < 0 || is_near_subnormal(c, x))
        return OUTSIDE;
    *exact = exact_exp(-(long double)x);
    return NEAR;
}

static demand want_small_exp_minus_abs(const check *c, float x, long double *exact)
{
    if (!is_near_subnormal(c, x) || x > 0x1p11f)
        return OUTSIDE;
    *exact = expl(-(long double)x);
    return NEAR;
}

static demand want_log1p_to(float most, float x, long double *exact)
{
    if (isnan(x))
        return want_nan(exact);
    if (!(x >= 0 && x <= most))
        return OUTSIDE;
    *exact = exact_log1p((long double)x);
    return NEAR;
}

static demand want_log1p_of(const check *c, float x, long double *exact)
{
    (void)c;
    return want_log1p_to(1, x, exact);
}

static demand want_wide_log1p(const check *c, float x, long double *exact)
{
    (void)c;
    return want_log1p_to(0x1.fffffep30f, x, exact);
}

static demand want_sigmoid(const check *c, float x, long double *exact)
{
    (void)c;
    if (isnan(x))
        return want_nan(exact);
    const long double t = (long double)x;
    *exact = x > 0;
    if (fabsf(x) > 110) /* exp(-|x|) < 2^-158 */
        return EQUAL;
    if (fabsl(t) < 0x1p-14L)
        *exact = 0.5L + t / 4 - t * t * t / 48;
    else if (x > 0)
        *exact = 1 / (1 + expl(-t));
    else
        *exact = expl(t) / (1 + expl(t));
    return NEAR;
}

static demand want_softplus(const check *c, float x, long double *exact)
{
    (void)c;
    if (isnan(x))
        return want_nan(exact);
    const long double t = (long double)x;
    *exact = x > 0 ? t : 0;
    if (fabsf(x) > 110)
        return EQUAL;
    if (fabsl(t) < 0x1p-14L)
        *exact = ln2 + t / 2 + t * t / 8 - t * t * t * t / 192;
    else
        *exact += log1pl(expl(-fabsl(t)));
    return NEAR;
}

static demand want_log_sigmoid(const check *c, float x, long double *exact)
{
    const demand wanted = want_softplus(c, -x, exact);
    *exact = -*exact;
    return wanted;
}

/* ---- Errors ---- */

typedef struct {
    double largest, sum;
    float where;
    long long judged, wrong;
} errors;

static long double unit_of(const check *c, long double exact)
{
    const long double size = fabsl(exact);
    int exponent;
    if (c->measure == RELATIVE)
        return (long double)c->unit * fmaxl(size, (long double)c->least);
    const int digits = c->measure == ULP_F32 ? FLT_MANT_DIG : DBL_MANT_DIG;
    const int least = c->measure == ULP_F32 ? FLT_MIN_EXP : DBL_MIN_EXP;
    frexpl(size, &exponent);
    return ldexpl(1, (size == 0 || exponent < least ? least : exponent) - digits);
}

static void judge(const check *c, float x, demand wanted, long double exact, double hi, double lo,
                  errors *e)
{
    const long double got = (long double)hi + (long double)lo;
    if (wanted == EQUAL) {
        e->wrong += !(got == exact || (isnan(hi) && isnan(exact)));
        return;
    }
    double error = (double)(fabsl(got - exact) / unit_of(c, exact));
    /* A result below the normal numbers may be 0. */
    if (c->measure == ULP_F32 && got == 0 && fabsl(exact) < 0x1p-126L)
        error = 0;
    if (isnan(error))
        error = INFINITY;
    ++e->judged;
    e->sum += error;
    if (error > e->largest) {
        e->largest = error;
        e->where = x;
    }
}

static int same(double a, double b) { return !memcmp(&a, &b, sizeof a) || (isnan(a) && isnan(b)); }

/* Numbers first, first + stride, ...: a chunk, or what is left of them. */
static void check_chunk(const check *c, uint64_t first, uint64_t stride, errors *e)
{
    const fl_table *const *tables;
    const int n_tables = fl_tables(&tables);
    float x[CHUNK];
    long double exact[CHUNK];
    demand demands[CHUNK];
    int wanted = 0;
    for (int i = 0; i < CHUNK; ++i) {
        const uint64_t bits = first + (uint64_t)i * stride;
        const uint32_t pattern = (uint32_t)bits;
        memcpy(x + i, &pattern, sizeof *x);
        demands[i] = bits >> 32 ? OUTSIDE : c->want(c, x[i], exact + i);
        wanted |= demands[i] != OUTSIDE;
    }
    if (!wanted)
        return;
    results found[FL_MOST_TABLES] = {0};
    for (int t = 0; t < n_tables; ++t)
        c->run(c, tables[t], x, found + t);
    for (int i = 0; i < CHUNK; ++i) {
        if (demands[i] == OUTSIDE)
            continue;
        judge(c, x[i], demands[i], exact[i], found->hi[i], found->lo[i], e);
        for (int t = 1; t < n_tables; ++t)
            e->wrong += !same(found[t].hi[i], found->hi[i]) || !same(found[t].lo[i], found->lo[i]);
    }
}

/* Returns whether all is as it should be. */
static int check_all(const check *c, uint64_t stride)
{
    const uint64_t step = CHUNK * stride;
    const int64_t chunks = (int64_t)(((1ULL << 32) + step - 1) / step);
    errors all = {0};
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t i = 0; i < chunks; ++i) {
        errors e = {0};
        check_chunk(c, (uint64_t)i * step, stride, &e);
#pragma omp critical
        {
            all.sum += e.sum;
            all.judged += e.judged;
            all.wrong += e.wrong;
            /* Of equal errors that of the lowest bits, whichever thread comes first. */
            if (e.largest > all.largest ||
                (e.largest == all.largest && memcmp(&e.where, &all.where, 4) < 0)) {
                all.largest = e.largest;
                all.where = e.where;
            }
        }
    }
    const int right = all.judged > 0 && all.wrong == 0 && all.largest <= c->bound;
    printf("%-34s %7s  %10.4g %8.4g %10.3g  %15a %11lld%s\n", c->name,
           c->is_f64 ? "float64" : "float32", all.largest, c->bound,
           all.sum / (double)(all.judged ? all.judged : 1), (double)all.where, all.judged,
           right ? "" : "  WRONG");
    if (all.wrong)
        printf("    %lld are not their limit, or not the same on every table\n", all.wrong);
    fflush(stdout);
    return right;
}

/* Below 2^-120, or 2^-1000, in a frame the products are subnormal; no quotient by the sum, which is
   2^64 and more, shows it. */
#define EXP(name_, is_f64_, frame_, temperature_)                                                  \
    {.name = name_,                                                                                \
     .run = run_probe,                                                                             \
     .want = want_exp,                                                                             \
     .probe = "exp",                                                                               \
     .is_f64 = is_f64_,                                                                            \
     .frame = frame_,                                                                              \
     .temperature = temperature_,                                                                  \
     .bound = is_f64_ ? 1.27 : 1.2,                                                                \
     .measure = RELATIVE,                                                                          \
     .unit = is_f64_ ? 0x1p-53 : 0x1p-24,                                                          \
     .least = is_f64_ ? 0x1p-1000 : 0x1p-120}
#define PAIR(name_, is_f64_, probe_, want_, bound_, measure_, unit_, least_)                       \
    {.name = name_,                                                                                \
     .run = run_probe,                                                                             \
     .want = want_,                                                                                \
     .probe = probe_,                                                                              \
     .is_f64 = is_f64_,                                                                            \
     .is_pair = 1,                                                                                 \
     .frame = NAN,                                                                                 \
     .temperature = 1,                                                                             \
     .bound = bound_,                                                                              \
     .measure = measure_,                                                                          \
     .unit = unit_,                                                                                \
     .least = least_}
#define ELEMENTWISE(name_, want_, op_)                                                             \
    {.name = name_, .run = run_walk, .want = want_, .op = op_, .bound = 2, .measure = ULP_F32}

static const check checks[] = {
    EXP("exp, frame 0", 0, 0, 1),
    EXP("exp, frame 3", 0, 3, 1),
    EXP("exp, frame -5", 0, -5, 1),
    EXP("exp, frame 100", 0, 100, 1),
    EXP("exp, frame 4096", 0, 4096, 1),
    EXP("exp, frame -4096", 0, -4096, 1),
    EXP("exp, frame 0, temperature 0.7", 0, 0, 0x1.666666p-1),
    EXP("exp, frame 20, temperature 3", 0, 20, 3),
    EXP("exp, frame 0", 1, 0, 1),
    EXP("exp, frame 3", 1, 3, 1),
    EXP("exp, frame -1000", 1, -1000, 1),
    PAIR("exp(-|x|)", 0, "exp_minus_abs", want_exp_minus_abs, 0.2, RELATIVE, 0x1p-24, 0),
    PAIR("exp(-|x|), near and below 2^-126", 0, "exp_minus_abs", want_small_exp_minus_abs, 1.53,
         ULP_F32, 0, 0),
    PAIR("exp(-|x|)", 1, "exp_minus_abs", want_exp_minus_abs, 0.15, ULP_F64, 0, 0),
    PAIR("exp(-|x|), near and below 2^-1022", 1, "exp_minus_abs", want_small_exp_minus_abs, 1,
         ULP_F64, 0, 0),
    PAIR("log1p on [0, 1]", 0, "log1p_of", want_log1p_of, 2.21, RELATIVE, 0x1p-24, 0x1p-126),
    PAIR("log1p on [0, 1]", 1, "log1p_of", want_log1p_of, 0.5, ULP_F64, 0, 0),
    /* Of a float64 come back two float32: enough of it above 2^-110. */
    PAIR("exp of the finish", 0, "wide_exp", want_wide_exp, 1, RELATIVE, 0x1p-34, 0),
    PAIR("exp of the finish", 1, "wide_exp", want_wide_exp, 0.15, ULP_F64, 0, 0),
    PAIR("exp of a row's largest logit", 0, "wide_exp_own", want_wide_exp, 1, RELATIVE, 0x1p-34, 0),
    PAIR("exp of a row's largest logit", 1, "wide_exp_own", want_wide_exp, 0.15, ULP_F64, 0, 0),
    PAIR("log1p of the finish", 0, "wide_log1p", want_wide_log1p, 1, RELATIVE, 0x1p-34, 0x1p-110),
    PAIR("log1p of the finish", 1, "wide_log1p", want_wide_log1p, 0.5, ULP_F64, 0, 0),
    ELEMENTWISE("sigmoid", want_sigmoid, FL_SIGMOID),
    ELEMENTWISE("log_sigmoid", want_log_sigmoid, FL_LOG_SIGMOID),
    ELEMENTWISE("softplus", want_softplus, FL_SOFTPLUS),
};

static int is_checked(int op)
{
    int checked = 0;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; ++i)
        checked |= checks[i].run == run_walk && checks[i].op == op;
    return checked;
}

int main(int argc, char **argv)
{
    const long stride = argc > 1 ? atol(argv[1]) : 1;
    if (stride < 1) {
        fprintf(stderr, "usage: %s [N], to take every Nth float32\n", argv[0]);
        return 2;
    }
    const fl_table *const *tables;
    const int n_tables = fl_tables(&tables);
    for (int op = 0; op < FL_OPERATIONS; ++op)
        if (fl_takes(op) == FL_TAKES_ELEMENTS && !is_checked(op)) {
            fprintf(stderr, "operation %d is not in `checks` of exhaustive.c\n", op);
            return 2;
        }
    fl_parallel_init(NULL);
    printf("Tables:");
    for (int t = 0; t < n_tables; ++t)
        printf(" %s", tables[t]->name);
    printf("\n%-34s %7s  %10s %8s %10s  %15s %11s\n", "", "", "largest", "bound", "mean", "at",
           "inputs");
    int right = 1;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; ++i)
        right &= check_all(checks + i, (uint64_t)stride);
    return !right;
}
