/*
 * The same bits everywhere: hashes of the results of a fixed corpus, which every table, layout,
 * number of threads, compiler and processor has to reproduce.
 *
 *     selftest [--write] HASHES
 *
 * The inputs are bit patterns made by integer arithmetic alone. A line of HASHES is one operation
 * of one element type on rows of one kind; the exit status is 1 where any differs, and --write
 * makes HASHES anew of what the first table gives, provided that all others agree with it.
 */
#include "call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WAYS = 16, MAX_SIZES = 12 };

/* -------------------------------------------- Corpus -------------------------------------------
 */

typedef struct {
    const char *name;
    int x, out, own;
} element_type;

static const element_type types[] = {
    {"f32", FL_F32, FL_F32, FL_F32},
    {"f64", FL_F64, FL_F64, FL_F64},
    {"f16", FL_F16, FL_F16, FL_F32},
    {"bf16", FL_BF16, FL_BF16, FL_F32},
    {"f32-swapped", FL_F32 + FL_SWAPPED, FL_F32, FL_F32},
    {"i32", FL_I32, FL_F64, FL_F64},
    {.name = NULL},
};

enum { SOFT = 1, WEIGHTED = 2, GRADIENT = 4, SECOND = 8, SMALLEST = 16, MANY = 32 };

typedef struct {
    const char *name;
    int op, what;
    double temperature;
} operation;

static const operation operations[] = {
    {"softmax", FL_SOFTMAX, 0, 1},
    {"softmax-tempered", FL_SOFTMAX, 0, 0.7},
    {"log_softmax", FL_LOG_SOFTMAX, 0, 1},
    {"log_softmax-tempered", FL_LOG_SOFTMAX, 0, 3},
    {"logsumexp", FL_LOGSUMEXP, 0, 1},
    {"cross_entropy", FL_CROSS_ENTROPY, 0, 1},
    {"cross_entropy-weighted", FL_CROSS_ENTROPY, WEIGHTED, 1},
    {"cross_entropy-gradient", FL_CROSS_ENTROPY, GRADIENT, 1},
    {"cross_entropy-weighted-gradient", FL_CROSS_ENTROPY, WEIGHTED | GRADIENT, 1},
    {"cross_entropy-hessian", FL_CROSS_ENTROPY, GRADIENT | SECOND, 1},
    {"cross_entropy-soft", FL_CROSS_ENTROPY, SOFT, 1},
    {"cross_entropy-soft-weighted-gradient", FL_CROSS_ENTROPY, SOFT | WEIGHTED | GRADIENT, 1},
    {"argmax", FL_ARGMAX, 0, 1},
    {"top_k", FL_TOP_K, 0, 1},
    {"top_k-smallest", FL_TOP_K, SMALLEST, 1},
    {"top_k-many", FL_TOP_K, MANY, 1},
    {"max_prob", FL_MAX_PROB, 0, 1},
    {"margin", FL_MARGIN, 0, 1},
    {"entropy", FL_ENTROPY, 0, 1},
    {"score", FL_SCORE, 0, 1},
    {"score-weighted-tempered", FL_SCORE, WEIGHTED, 0.7},
    {"calibrate", FL_CALIBRATE, 0, 1},
    {"calibrate-weighted-tempered", FL_CALIBRATE, WEIGHTED, 3},
    {"sigmoid", FL_SIGMOID, 0, 1},
    {"log_sigmoid", FL_LOG_SIGMOID, 0, 1},
    {"softplus", FL_SOFTPLUS, 0, 1},
    {"binary_cross_entropy", BINARY_CROSS_ENTROPY, GRADIENT, 1},
    {"binary_cross_entropy-weighted", BINARY_CROSS_ENTROPY, WEIGHTED | GRADIENT | SECOND, 1},
    {.name = NULL},
};

/* How the rows are computed; the bits may not depend on it. Distances are in bytes, `step` also
   counts elements; `lead` is one element. */
typedef struct {
    const char *name;
    int rows_inside, several_axes, step, odd, gap, backwards, lead, in_place, n_threads;
    int converts; /* also of numbers that are converted on their way */
} way;

static const way many_ways[] = {
    {"contiguous", .step = 1, .n_threads = 1, .converts = 1},
    {"in place", .step = 1, .in_place = 1, .n_threads = 1},
    {"an element off alignment", .step = 1, .lead = 1, .n_threads = 1},
    {"every third", .step = 3, .gap = 16, .n_threads = 1},
    {"backwards", .step = 1, .backwards = 1, .n_threads = 1},
    {"records of odd size", .step = 1, .odd = 1, .n_threads = 1, .converts = 1},
    {"rows side by side", .step = 1, .rows_inside = 1, .n_threads = 1, .converts = 1},
    {"rows side by side, in place", .step = 1, .rows_inside = 1, .in_place = 1, .n_threads = 1},
    {"rows side by side, backwards", .step = 2, .rows_inside = 1, .backwards = 1, .n_threads = 1,
     .converts = 1},
    {"several axes", .step = 1, .several_axes = 1, .gap = 8, .n_threads = 1, .converts = 1},
    {"two threads", .step = 1, .n_threads = 2},
    {"rows side by side, three threads", .step = 1, .rows_inside = 1, .n_threads = 3},
    {.name = NULL},
};

static const way ways_of_tall[] = {
    {"contiguous", .step = 1, .n_threads = 1},
    {"rows side by side", .step = 1, .rows_inside = 1, .n_threads = 1},
    {"rows side by side, three threads", .step = 1, .rows_inside = 1, .n_threads = 3},
    {.name = NULL},
};

static const way ways_of_huge[] = {
    {"contiguous", .step = 1, .n_threads = 1},
    {"in place, two threads", .step = 1, .in_place = 1, .n_threads = 2},
    {"records of odd size, three threads", .step = 1, .odd = 1, .n_threads = 3},
    {.name = NULL},
};

/* Rows come in groups of 7, so that they have two dimensions, or alone. */
enum { GROUP = 7 };

typedef struct {
    const char *name;
    ptrdiff_t sizes[MAX_SIZES][2]; /* rows, classes */
    const way *ways;
    int in_parts; /* only the operations that take parts of a row, of the kernels' own types */
} row_kind;

static const row_kind kinds[] = {
    {"narrow",
     {{70, 2}, {70, 3}, {140, 5}, {70, 8}, {70, 10}, {70, 17}, {70, 32}, {35, 33}, {70, 63}},
     many_ways,
     0},
    {"medium", {{70, 64}, {140, 100}, {35, 257}, {14, 1000}}, many_ways, 0},
    {"long", {{7, 2049}, {7, 4099}, {1, 20000}}, many_ways, 0},
    /* More than are swept together, and longer than the kernels' tiles. */
    {"tall", {{70, 4100}}, ways_of_tall, 1},
    /* Enough parts for three threads. */
    {"huge", {{1, 6 * FL_PART + 5003}}, ways_of_huge, 1},
    {.name = NULL},
};

/* ----------------------------------------- Random bits -----------------------------------------
 */

/* It wraps around, as it is meant to. */
static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return scramble(scramble(*state, 1), 2);
}

/* A number from 0 to n - 1. */
static int below(uint64_t *state, int n) { return (int)(next_random(state) % (uint64_t)n); }

/* Of either sign, at least 2^low and below 2^(low + span); `sparse`: of few different numbers. */
static uint64_t random_float(uint64_t *state, int format, int low, int span, int sparse)
{
    const int width = 8 * element_size(format), mantissa = mantissa_bits(format);
    const int bias = (1 << (width - 2 - mantissa)) - 1;
    uint64_t fraction = next_random(state) & ((UINT64_C(1) << mantissa) - 1);
    if (sparse)
        fraction &= UINT64_C(3) << (mantissa - 2);
    const uint64_t exponent = (uint64_t)(bias + low + below(state, span));
    return next_random(state) >> 63 << (width - 1) | exponent << mantissa | fraction;
}

/* One row of logits; `temper` says of what sort. */
static void make_row(uint64_t *state, int format, int temper, ptrdiff_t n, uint64_t *x)
{
    const int width = 8 * element_size(format), mantissa = mantissa_bits(format);
    const ptrdiff_t middle = n / 2;
    if (mantissa == MISSING) {
        for (ptrdiff_t j = 0; j < n; ++j)
            x[j] = (uint64_t)((temper == 1 ? 1 : below(state, 61)) - 30) & 0xffffffff;
        return;
    }
    const uint64_t infinity = infinity_of(format), minus = UINT64_C(1) << (width - 1);
    const int largest = (1 << (width - 2 - mantissa)) - 1; /* exponent */
    for (ptrdiff_t j = 0; j < n; ++j)
        switch (temper) {
        case 1: /* all the same */
            x[j] = j ? x[0] : random_float(state, format, -2, 4, 0);
            break;
        case 2: /* many equal */
            x[j] = random_float(state, format, 0, 2, 1);
            break;
        case 3: /* far apart */
            x[j] = random_float(state, format, 7, 5, 0);
            break;
        case 4: /* nearly nothing */
            x[j] = random_float(state, format, -14, 5, 0);
            break;
        case 5: /* every finite number */
            x[j] = random_float(state, format, -largest, 2 * largest + 1, 0);
            break;
        case 6: /* the largest numbers */
            x[j] = random_float(state, format, largest - 1, 2, 0);
            break;
        case 7: /* subnormal, and zeros of both signs */
            x[j] = random_float(state, format, -largest, 1, 0) &
                   (below(state, 2) ? ~UINT64_C(0) : minus);
            break;
        case 8:
            x[j] = infinity | minus;
            break;
        default:
            x[j] = random_float(state, format, -6, 11, 0);
        }
    if (temper == 9)
        x[middle] = infinity | 1; /* NaN */
    if (temper == 10)
        x[middle] = infinity;
    if (temper == 11)
        x[n - 1] = infinity | minus;
    if (temper == 12)
        x[0] = infinity | minus | 1, x[n - 1] = infinity;
    if (temper == 13) /* confident: 2^6 or more beside what is below 2^5 */
        x[middle] = random_float(state, format, 6, 1, 0) & ~minus;
}

enum { TEMPERS = 18 };

static int64_t random_label(uint64_t *state, ptrdiff_t n_classes)
{
    const int which = below(state, 12);
    return which == 0   ? -100
           : which == 1 ? -1
                        : (int64_t)(next_random(state) % (uint64_t)n_classes);
}

/* --------------------------------------------- Runs --------------------------------------------
 */

/* A size of the corpus with all its inputs. */
typedef struct {
    call c;
    uint64_t *bits[INPUTS];
    int64_t *labels;
    double *class_weight, *row_weight;
} example;

static void *allocate(ptrdiff_t n, size_t size)
{
    void *memory = calloc((size_t)n, size);
    if (!memory) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* Exact, whatever computes it. */
static double *random_weights(uint64_t *state, ptrdiff_t n)
{
    double *weights = allocate(n, sizeof *weights);
    for (ptrdiff_t i = 0; i < n; ++i)
        weights[i] = below(state, 9) / 4.0;
    return weights;
}

/* In [0, 1), of which some are 0. */
static uint64_t *random_portions(uint64_t *state, int format, ptrdiff_t n)
{
    const uint64_t minus = UINT64_C(1) << (8 * element_size(format) - 1);
    uint64_t *bits = allocate(n, sizeof *bits);
    for (ptrdiff_t i = 0; i < n; ++i)
        bits[i] = below(state, 8) ? random_float(state, format, -8, 8, 0) & ~minus : 0;
    return bits;
}

static void add_input(example *e, uint64_t *state, int array, int format, ptrdiff_t n)
{
    e->c.format[array] = format;
    e->c.bits[array] = e->bits[array] = random_portions(state, format, n);
}

static example make_example(const operation *op, const element_type *type, ptrdiff_t n_rows,
                            ptrdiff_t n_classes)
{
    uint64_t state = scramble((uint64_t)n_rows, (uint64_t)n_classes);
    const int binary = op->op == BINARY_CROSS_ENTROPY, loss = binary || op->op == FL_CROSS_ENTROPY;
    const ptrdiff_t n = n_rows * n_classes;
    example e = {.c = {.op = op->op, .own = type->own, .temperature = op->temperature}};
    call *c = &e.c;
    if (n_rows % GROUP == 0)
        c->shape[c->ndim++] = n_rows / GROUP;
    c->shape[c->ndim++] = n_rows % GROUP ? n_rows : GROUP;
    c->row_dims = c->ndim;
    c->shape[c->ndim++] = n_classes;

    for (int k = 0; k < ARRAYS; ++k)
        c->format[k] = MISSING;
    c->format[X] = type->x;
    c->bits[X] = e.bits[X] = allocate(n, sizeof *e.bits[X]);
    for (ptrdiff_t i = 0; i < n_rows; ++i)
        make_row(&state, type->x, (int)((i + n_classes) % TEMPERS), n_classes,
                 e.bits[X] + i * n_classes);
    if (gives(op->op) == FL_GIVES_ALL && (!loss || op->what & GRADIENT))
        c->format[OUT] = type->out;
    if (gives(op->op) == FL_GIVES_ONE || gives(op->op) == FL_GIVES_FIRST)
        c->format[OUT] = type->own;
    if (op->what & SECOND)
        c->format[BESIDE] = binary ? type->own : type->out;
    c->k = op->what & MANY ? n_classes / 2 + 1 : n_classes < 5 ? n_classes : 5;
    c->smallest = op->what & SMALLEST ? 1 : 0;
    c->sorted = !(op->what & MANY);

    c->loss.ignore_index = -100;
    c->loss.grad_scale = 0.25;
    c->loss.hess_scale = 2;
    if (op->what & SOFT || binary)
        add_input(&e, &state, TARGETS, type->out, n);
    else if (takes_labels(op->op)) {
        c->labels = e.labels = allocate(n_rows, sizeof *e.labels);
        for (ptrdiff_t i = 0; i < n_rows; ++i)
            e.labels[i] = random_label(&state, n_classes);
    }
    if (!(op->what & WEIGHTED))
        return e;
    if (binary) {
        c->loss.label_smoothing = 0.125;
        add_input(&e, &state, POS_WEIGHT, type->own, n);
        add_input(&e, &state, SAMPLE_WEIGHT, type->own, n);
        return e;
    }
    c->row_weight = e.row_weight = random_weights(&state, n_rows);
    if (!loss)
        return e;
    c->loss.label_smoothing = 0.125;
    c->loss.z_loss = 0.0078125;
    c->loss.class_weight = e.class_weight = random_weights(&state, n_classes);
    return e;
}

static void free_example(example *e)
{
    for (int k = 0; k < INPUTS; ++k)
        free(e->bits[k]);
    free(e->labels);
    free(e->class_weight);
    free(e->row_weight);
}

/* The classes along two axes, if their number is no prime. */
static void split_classes(call *c)
{
    const int d = c->row_dims;
    ptrdiff_t n = c->shape[d], factor = 2;
    while (factor < n && n % factor)
        ++factor;
    c->shape[d] = factor;
    c->shape[d + 1] = n / factor;
    c->ndim = d + 2;
}

static places place(const call *c, const way *w)
{
    places at = {.in_place = w->in_place};
    for (int k = 0; k < ARRAYS; ++k) {
        const ptrdiff_t size = c->format[k] == MISSING ? 0 : element_size(c->format[k]);
        ptrdiff_t shape[DIMS];
        int order[DIMS], n = 0;
        const int ndim = array_shape(c, k, shape), rows = c->row_dims;
        /* Its elements have to be contiguous, and in order. */
        const int dense = c->op == FL_TOP_K && k == OUT;
        for (int d = rows - 1; w->rows_inside && !dense && d >= 0; --d)
            order[n++] = d;
        for (int d = ndim - 1; d >= rows; --d) /* of several, the first inside */
            order[n++] = w->several_axes && !dense ? ndim - 1 + rows - d : d;
        for (int d = rows - 1; n < ndim && d >= 0; --d)
            order[n++] = d;
        lay_out(ndim, shape, order, dense ? size : w->step * size + w->odd, dense ? 0 : w->gap,
                at.stride[k]);
        for (int d = 0; w->backwards && !dense && d < ndim; ++d)
            at.stride[k][d] *= -1;
        at.lead[k] = w->lead * size;
    }
    return at;
}

/* ------------------------------------------- Compare -------------------------------------------
 */

static FILE *hashes; /* what is expected, or written */
static int writes;
static int n_hashes, n_wrong;

/* Of the first table and way, what all others are compared with. */
static uint64_t expect(const char *name, uint64_t first)
{
    char known[128] = "";
    uint64_t expected = 0;
    ++n_hashes;
    if (writes) {
        fprintf(hashes, "%s %016" PRIx64 "\n", name, first);
        return first;
    }
    if (fscanf(hashes, "%127s %" SCNx64, known, &expected) != 2 || strcmp(known, name) != 0) {
        printf("%s: the hashes have '%s' in its place; `make native-hashes` makes them anew\n",
               name, known);
        exit(1);
    }
    return expected;
}

static void compare(const char *name, const char *table, const char *how, uint64_t got,
                    uint64_t expected)
{
    if (got == expected)
        return;
    ++n_wrong;
    printf("%s: %s, %s: %016" PRIx64 ", expected %016" PRIx64 "\n", name, table, how, got,
           expected);
}

/* In place, out has to be what x is. */
static int is_possible(const way *w, const call *c)
{
    return !w->in_place || (c->format[OUT] == c->format[X] && gives(c->op) == FL_GIVES_ALL);
}

static uint64_t hash_call(uint64_t h, const call *c, const way *w, const fl_table *table,
                          const char *name)
{
    call own = *c;
    if (w->several_axes)
        split_classes(&own);
    const places at = place(&own, w);
    const results got = run_call(&own, &at, table, w->n_threads);
    for (size_t i = 0; i < got.n; ++i)
        h = scramble(h, got.bits[i]);
    if (got.trespassed) {
        ++n_wrong;
        printf("%s: %s, %s: wrote where it should not\n", name, table->name, w->name);
    }
    free(got.bits);
    return h;
}

static void check_kind(const operation *op, const element_type *type, const row_kind *kind,
                       const fl_table *const *tables, int n_tables)
{
    uint64_t got[FL_MOST_TABLES][MAX_WAYS] = {{0}}; /* 0: not run */
    const way *ways = kind->ways;
    const int converts = type->x != type->own;
    char name[128];
    snprintf(name, sizeof name, "%s/%s/%s", op->name, type->name, kind->name);
    for (int i = 0; i < MAX_SIZES && kind->sizes[i][0]; ++i) {
        example e = make_example(op, type, kind->sizes[i][0], kind->sizes[i][1]);
        for (int t = 0; t < n_tables; ++t)
            for (int w = 0; ways[w].name; ++w)
                if (is_possible(ways + w, &e.c) && (!converts || ways[w].converts))
                    got[t][w] = hash_call(got[t][w], &e.c, ways + w, tables[t], name);
        free_example(&e);
    }
    const uint64_t expected = expect(name, got[0][0]);
    for (int t = 0; t < n_tables; ++t)
        for (int w = 0; ways[w].name; ++w)
            if (got[t][w])
                compare(name, tables[t]->name, ways[w].name, got[t][w], expected);
}

/* The vocabulary that the kernels are written in, on any bits. */
static void check_probe(const fl_table *const *tables, int n_tables, int probe, int is_f64)
{
    enum { ROUNDS = 64 };
    uint64_t first = 0, expected = 0;
    char name[128];
    snprintf(name, sizeof name, "%s/%s/vocabulary", tables[0]->probes[probe].name,
             is_f64 ? "f64" : "f32");
    for (int t = 0; t < n_tables; ++t) {
        uint64_t state = 1, h = 0;
        for (int round = 0; round < ROUNDS; ++round) {
            float f32[4][FL_LANES_F32];
            double f64[4][FL_LANES_F64];
            for (int k = 0; k < 3; ++k) {
                uint64_t bits[FL_LANES_F64];
                for (int i = 0; i < FL_LANES_F64; ++i)
                    bits[i] = round % 2 ? next_random(&state)
                              : is_f64  ? random_float(&state, FL_F64, -4, 8, 1)
                                        : random_float(&state, FL_F32, -4, 8, 1) << 32 |
                                              random_float(&state, FL_F32, -4, 8, 1);
                memcpy(f32[k], bits, sizeof bits);
                memcpy(f64[k], bits, sizeof bits);
            }
            const fl_probe *p = tables[t]->probes + probe;
            if (is_f64)
                p->f64(f64[0], f64[1], f64[2], f64[3]);
            else
                p->f32(f32[0], f32[1], f32[2], f32[3]);
            for (int i = 0; is_f64 && i < FL_LANES_F64; ++i) {
                uint64_t bits;
                memcpy(&bits, f64[3] + i, sizeof bits);
                h = scramble(h, one_nan(bits, FL_F64));
            }
            for (int i = 0; !is_f64 && i < FL_LANES_F32; ++i) {
                uint32_t bits;
                memcpy(&bits, f32[3] + i, sizeof bits);
                h = scramble(h, one_nan(bits, FL_F32));
            }
        }
        if (t == 0)
            expected = expect(name, first = h);
        compare(name, tables[t]->name, "any bits", h, expected);
    }
}

/* A kernel that no line of `operations` calls would go without hashes. */
static int has_all_operations(void)
{
#define NAME_OF(NAME, kernel, takes, gives) "FL_" #NAME,
    static const char *const names[] = {FL_ROW_OPERATIONS(NAME_OF)};
    int all = 1;
    for (int i = 0; i < FL_OPERATIONS; ++i) {
        const operation *op = operations;
        while (op->name && op->op != i)
            ++op;
        if (!op->name)
            printf("%s is not in `operations` of selftest.c: give it a line there\n", names[i]);
        all &= op->name != NULL;
    }
    return all;
}

int main(int argc, char **argv)
{
    writes = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 2 + writes) {
        fputs("usage: selftest [--write] HASHES\n", stderr);
        return 2;
    }
    if (!has_all_operations())
        return 1;
    hashes = fopen(argv[1 + writes], writes ? "w" : "r");
    if (!hashes) {
        perror(argv[1 + writes]);
        return 2;
    }
    const fl_table *const *tables;
    const int n_tables = fl_tables(&tables);
    fl_parallel_init(NULL);
    /* From exp on they are functions of the kernels, which want numbers of their domain. */
    for (int p = 0; strcmp(tables[0]->probes[p].name, "exp") != 0; ++p)
        for (int is_f64 = 0; is_f64 < 2; ++is_f64)
            check_probe(tables, n_tables, p, is_f64);
    for (const operation *op = operations; op->name; ++op)
        for (const element_type *type = types; type->name; ++type)
            for (const row_kind *kind = kinds; kind->name; ++kind)
                if (!kind->in_parts || (takes(op->op) == FL_TAKES_PARTS && type->x <= FL_F64))
                    check_kind(op, type, kind, tables, n_tables);
    printf("%d hashes, tables", n_hashes);
    for (int t = 0; t < n_tables; ++t)
        printf(" %s", tables[t]->name);
    printf(", OpenMP %s: %d differ\n", fl_has_openmp() ? "on" : "off", n_wrong);
    return n_wrong ? 1 : 0;
}
