/*
 * The k largest or smallest logits of a row. It works on logits whose sign was turned where the
 * smallest come first, so that there is one order: larger numbers first, NaN last, of equals the
 * lower index first.
 */

/* Larger numbers first, of equals the lower index; values are no NaN. */
FL_INLINE int NAME(comes_before)(real a, ptrdiff_t a_index, real b, ptrdiff_t b_index)
{
    return a > b || (a == b && a_index < b_index);
}

/* A contiguous block of the logits, with their signs as said above. */
FL_INLINE const real *NAME(take_signed)(const fl_row *x, ptrdiff_t j, ptrdiff_t n, int negate,
                                        real *buffer)
{
    const real *from = NAME(take)(x, j, n, buffer);
    if (!negate)
        return from;
    for (ptrdiff_t i = 0; i < n; ++i)
        buffer[i] = -from[i];
    return buffer;
}

/* The first of a row, in their order. */
typedef struct {
    real *values;
    ptrdiff_t *indices;
    ptrdiff_t n, k;
} NAME(first);

/* Puts a number behind all that are no smaller; the last drops out of a full list. */
FL_INLINE void NAME(insert)(NAME(first) *first, real value, ptrdiff_t index)
{
    ptrdiff_t at = first->n < first->k ? first->n++ : first->k - 1;
    for (; at > 0 && first->values[at - 1] < value; --at) {
        first->values[at] = first->values[at - 1];
        if (first->indices)
            first->indices[at] = first->indices[at - 1];
    }
    first->values[at] = value;
    if (first->indices)
        first->indices[at] = index;
}

/* Inserts what is above `limit`, and above the last of a full list; index 0 is `begin`. */
FL_INLINE void NAME(insert_block)(NAME(first) *first, const real *x, ptrdiff_t n, ptrdiff_t begin,
                                  real limit)
{
    for (ptrdiff_t j = 0; j < n; j += WIDTH) {
        const vec y = v_load_part(x + j, n - j, v_set1((real)-INFINITY));
        if (first->n == first->k && first->values[first->k - 1] > limit)
            limit = first->values[first->k - 1];
        if (!v_lanes(v_gt(y, v_set1(limit))))
            continue;
        for (ptrdiff_t i = j; i < n && i < j + WIDTH; ++i)
            if (x[i] > limit && (first->n < first->k || x[i] > first->values[first->k - 1]))
                NAME(insert)(first, x[i], begin + i);
    }
}

FL_INLINE real NAME(next_below)(real x)
{
#if FL_BITS == 32
    return nextafterf(x, -INFINITY);
#else
    return nextafter(x, (double)-INFINITY);
#endif
}

/*
 * For small k. Each lane of a piece of the row has a largest number. The k-th of these is a
 * threshold: k numbers reach it, and they lie in few pieces. Only these are searched; what they
 * hold above the threshold is inserted into a short list.
 */
#define FEW 128
#define MOST_PIECES 256

static ptrdiff_t NAME(piece_length)(ptrdiff_t n)
{
    return FOLD_SPAN * (n / FOLD_SPAN / MOST_PIECES + 1);
}

/* The largest of each piece of the row, lane by lane. */
static void NAME(piece_tops)(const fl_row *x, ptrdiff_t n, int negate, real *buffer,
                             vec *piece_tops)
{
    const ptrdiff_t spans = NAME(piece_length)(n) / FOLD_SPAN;
    const vec least = v_set1((real)-INFINITY);
    vec top = least;
    ptrdiff_t of_piece = 0; /* spans of it that are in `top` */
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take_signed)(x, j, length, negate, buffer);
        vec tops[BLOCK / FOLD_SPAN];
        NAME(block_max)(block, length - length % FOLD_SPAN, tops);
        for (ptrdiff_t i = 0; i < length / FOLD_SPAN; ++i) {
            top = v_max(tops[i], top);
            if (++of_piece == spans) {
                *piece_tops++ = top;
                top = least;
                of_piece = 0;
            }
        }
        for (ptrdiff_t i = length - length % FOLD_SPAN; i < length; i += WIDTH)
            top = v_max(v_load_part(block + i, length - i, least), top);
    }
    *piece_tops = top;
}

/* The first k numbers of the row above -inf, or all that there are. */
static void NAME(top_few)(const fl_row *x, ptrdiff_t n, int negate, real *buffer,
                          NAME(first) *first)
{
    const ptrdiff_t length = NAME(piece_length)(n);
    vec tops[MOST_PIECES + 1];
    real lanes[WIDTH], highest[FEW], limit = (real)-INFINITY;
    NAME(piece_tops)(x, n, negate, buffer, tops);
    NAME(first) top = {highest, NULL, 0, first->k};
    for (ptrdiff_t j = 0; j < n; j += length) {
        if (top.n == top.k && !v_lanes(v_gt(tops[j / length], v_set1(highest[top.k - 1]))))
            continue;
        v_store(lanes, tops[j / length]);
        NAME(insert_block)(&top, lanes, WIDTH, 0, limit);
    }
    if (top.n == top.k)
        limit = NAME(next_below)(highest[top.k - 1]);
    for (ptrdiff_t j = 0; j < n; j += length) {
        if (first->n == first->k && first->values[first->k - 1] > limit)
            limit = first->values[first->k - 1];
        if (!v_lanes(v_gt(tops[j / length], v_set1(limit))))
            continue;
        const ptrdiff_t end = j + length < n ? j + length : n;
        for (ptrdiff_t i = j; i < end; i += BLOCK) {
            const ptrdiff_t rest = end - i < BLOCK ? end - i : BLOCK;
            const real *block = NAME(take_signed)(x, i, rest, negate, buffer);
            NAME(insert_block)(first, block, rest, i, limit);
        }
    }
}

/* What is -inf, and then what is NaN, in the places that are left. Of numbers that change under
   our hands anything, but no place that is none. */
static void NAME(top_rest)(const fl_row *x, ptrdiff_t n, int negate, NAME(first) *first)
{
    const real least = negate ? (real)INFINITY : (real)-INFINITY;
    for (int nan = 0; nan < 2; ++nan)
        for (ptrdiff_t j = 0; j < n && first->n < first->k; ++j) {
            const real value = NAME(get)(x, j);
            if (nan ? isnan(value) : value == least)
                first->indices[first->n++] = j;
        }
    while (first->n < first->k)
        first->indices[first->n++] = 0;
}

/*
 * For large k: the k-th number by bisection of the integers that floating-point numbers are in
 * order, with a count of the larger ones for each step; once few enough are left between the
 * bounds, of these alone.
 */
#if FL_BITS == 32
#define KEY uint32_t
#else
#define KEY uint64_t
#endif
#define SIGN_BIT ((KEY)1 << (FL_BITS - 1))

FL_INLINE KEY NAME(key_of)(real value)
{
    KEY bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

FL_INLINE real NAME(of_key)(KEY key)
{
    const KEY bits = key & SIGN_BIT ? key ^ SIGN_BIT : ~key;
    real value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How many of n numbers are larger. */
static ptrdiff_t NAME(count_above)(const real *x, ptrdiff_t n, real limit)
{
    const vec limit_v = v_set1(limit);
    ptrdiff_t count = 0, j = 0;
    for (; j + WIDTH <= n; j += WIDTH)
        count += FL_POPCOUNT(v_lanes(v_gt(v_load(x + j), limit_v)));
    return count + FL_POPCOUNT(v_lanes(v_gt(v_load_part(x + j, n - j, limit_v), limit_v)));
}

/* Numbers in (low, high], at most BLOCK of them, behind the n that `between` has. */
static ptrdiff_t NAME(collect_between)(const real *x, ptrdiff_t length, real low, real high,
                                       real *between, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < length; j += WIDTH) {
        const vec y = v_load_part(x + j, length - j, v_set1((real)-INFINITY));
        if (!v_lanes(v_gt(y, v_set1(low))))
            continue;
        for (ptrdiff_t i = j; i < length && i < j + WIDTH; ++i)
            if (x[i] > low && x[i] <= high && n < BLOCK)
                between[n++] = x[i];
    }
    return n;
}

static real NAME(row_max)(const fl_row *x, ptrdiff_t n, int negate, real *buffer)
{
    vec tops[BLOCK / FOLD_SPAN];
    real max = (real)-INFINITY;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take_signed)(x, j, length, negate, buffer);
        const real m = NAME(block_max)(block, length, tops);
        max = m > max ? m : max;
    }
    return max;
}

/* A number that fewer than k of the row are larger than and k no smaller, or that exactly k are
   larger than; the least finite one if fewer than k are above -inf. *above: how many are larger. */
static real NAME(bisect)(const fl_row *x, ptrdiff_t n, ptrdiff_t k, int negate, real *buffer,
                         ptrdiff_t *above)
{
    FL_ALIGNED real between[BLOCK];
    ptrdiff_t n_between = 0, above_between = -1; /* -1: none have been collected */
    const KEY least = NAME(key_of)((real)-INFINITY);
    KEY low = least, high = NAME(key_of)(NAME(row_max)(x, n, negate, buffer));
    ptrdiff_t above_low = n;
    *above = 0;
    for (int step = 0; high > low && high - low > 1; ++step) {
        KEY middle = low + (high - low) / 2;
        if (step % 2 && low > least) /* of the numbers, as these may lie evenly */
            middle = NAME(key_of)(NAME(of_key)(low) / 2 + NAME(of_key)(high) / 2);
        middle = middle <= low ? low + 1 : middle >= high ? high - 1 : middle;
        const real limit = NAME(of_key)(middle);
        const int collect = above_between < 0 && above_low - *above <= BLOCK;
        ptrdiff_t count = above_between;
        if (above_between < 0) {
            if (collect)
                above_between = *above;
            count = 0;
            for (ptrdiff_t j = 0; j < n; j += BLOCK) {
                const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
                const real *block = NAME(take_signed)(x, j, length, negate, buffer);
                count += NAME(count_above)(block, length, limit);
                if (collect)
                    n_between = NAME(collect_between)(block, length, NAME(of_key)(low),
                                                      NAME(of_key)(high), between, n_between);
            }
        } else {
            count += NAME(count_above)(between, n_between, limit);
        }
        if (count >= k) {
            low = middle;
            above_low = count;
        } else {
            high = middle;
            *above = count;
        }
        if (count == k) {
            *above = k;
            return limit;
        }
    }
    return NAME(of_key)(high);
}

/* The first k of the row above -inf, in the order of their indices, or all that there are. */
static void NAME(top_many)(const fl_row *x, ptrdiff_t n, int negate, real *buffer,
                           NAME(first) *first)
{
    ptrdiff_t above;
    const real last = NAME(bisect)(x, n, first->k, negate, buffer, &above);
    const vec last_v = v_set1(last);
    ptrdiff_t equal = first->k - above; /* that have a place */
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take_signed)(x, j, length, negate, buffer);
        for (ptrdiff_t i = 0; i < length; i += WIDTH) {
            const vec y = v_load_part(block + i, length - i, v_set1((real)-INFINITY));
            if (!(v_lanes(v_gt(y, last_v)) | v_lanes(v_eq(y, last_v))))
                continue;
            for (ptrdiff_t at = i; at < length && at < i + WIDTH; ++at) {
                const int is_equal = block[at] == last && equal > 0;
                if ((block[at] > last || is_equal) && first->n < first->k) {
                    equal -= is_equal;
                    first->values[first->n] = block[at];
                    first->indices[first->n++] = j + at;
                }
            }
        }
    }
}

/* Puts what is at the root of a heap of n, of which the last in order is to be the root, where
   it belongs. */
static void NAME(sink)(real *values, ptrdiff_t *indices, ptrdiff_t root, ptrdiff_t n)
{
    const real value = values[root];
    const ptrdiff_t index = indices[root];
    for (ptrdiff_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && NAME(comes_before)(values[child], indices[child], values[child + 1],
                                                indices[child + 1]))
            ++child;
        if (!NAME(comes_before)(value, index, values[child], indices[child]))
            break;
        values[root] = values[child];
        indices[root] = indices[child];
    }
    values[root] = value;
    indices[root] = index;
}

FL_INLINE void NAME(swap)(real *values, ptrdiff_t *indices, ptrdiff_t i, ptrdiff_t j)
{
    const real value = values[i];
    const ptrdiff_t index = indices[i];
    values[i] = values[j];
    indices[i] = indices[j];
    values[j] = value;
    indices[j] = index;
}

static void NAME(heapsort)(real *values, ptrdiff_t *indices, ptrdiff_t n)
{
    for (ptrdiff_t root = n / 2; root-- > 0;)
        NAME(sink)(values, indices, root, n);
    for (ptrdiff_t last = n - 1; last > 0; --last) {
        NAME(swap)(values, indices, 0, last);
        NAME(sink)(values, indices, 0, last);
    }
}

/* In order and in place: quicksort, but heapsort of what has been divided too often. No two come
   out equal, as their indices differ. */
static void NAME(sort)(real *values, ptrdiff_t *indices, ptrdiff_t n, int divisions)
{
    while (n > 16) {
        if (divisions-- == 0) {
            NAME(heapsort)(values, indices, n);
            return;
        }
        /* The median of three goes first, so that one that comes before and one that comes after
           it bound the search from both ends. */
        const ptrdiff_t last = n - 1, middle = n / 2;
#define BEFORE(i, j) NAME(comes_before)(values[i], indices[i], values[j], indices[j])
        if (BEFORE(middle, 0))
            NAME(swap)(values, indices, middle, 0);
        if (BEFORE(last, middle)) {
            NAME(swap)(values, indices, last, middle);
            if (BEFORE(middle, 0))
                NAME(swap)(values, indices, middle, 0);
        }
        const real value = values[middle];
        const ptrdiff_t index = indices[middle];
        ptrdiff_t i = 0, j = last;
        for (;;) {
            do
                ++i;
            while (NAME(comes_before)(values[i], indices[i], value, index));
            do
                --j;
            while (NAME(comes_before)(value, index, values[j], indices[j]));
            if (i >= j)
                break;
            NAME(swap)(values, indices, i, j);
        }
        NAME(sort)(values, indices, i, divisions);
        values += i;
        indices += i;
        n -= i;
    }
    for (ptrdiff_t i = 1; i < n; ++i)
        for (ptrdiff_t j = i; j > 0 && BEFORE(j, j - 1); --j)
            NAME(swap)(values, indices, j, j - 1);
#undef BEFORE
}

/* Inserts class c of the rows in the lanes into their first k, of which there are n so far:
   `values` and `places`, PANEL apart. */
FL_INLINE void NAME(insert_lanes)(vec value, ptrdiff_t c, ptrdiff_t n, ptrdiff_t k, real *values,
                                  real *places)
{
    if (n == k && !v_lanes(v_gt(value, v_load(values + (k - 1) * PANEL))))
        return;
    /* Behind all that are no smaller; what it displaces moves on by one. */
    vec moving = value, place = v_set1((real)c);
    for (ptrdiff_t i = 0; i < n; ++i) {
        const vec other = v_load(values + i * PANEL), its = v_load(places + i * PANEL);
        const mask before = v_gt(value, other);
        v_store(values + i * PANEL, v_select(before, moving, other));
        v_store(places + i * PANEL, v_select(before, place, its));
        moving = v_select(before, other, moving);
        place = v_select(before, its, place);
    }
    if (n < k) {
        v_store(values + n * PANEL, moving);
        v_store(places + n * PANEL, place);
    }
}

FL_INLINE vec NAME(as_it_is)(const void *context, vec x, ptrdiff_t c, int h)
{
    (void)context, (void)c, (void)h;
    return x;
}

/* Rows [begin, begin + count) of a call, of which no more than a tile is asked for. Returns 0 where
   one of them has a NaN. */
static int NAME(top_tile)(const fl_rows *rows, ptrdiff_t begin, int count, const NAME(tile) *tile,
                          const NAME(tile) *values, const NAME(tile) *places)
{
    const ptrdiff_t n = rows->n_classes, k = rows->k;
    const vec zero = v_set1((real)0), sign = v_set1((real)(rows->smallest ? -1 : 1));
    FL_ALIGNED real max[BATCH], dense[BLOCK];
    NAME(load_tile)(&rows->x, begin, count, tile, max, dense);
    const NAME(coming) next = NAME(coming_of)(&rows->x, begin, tile);
    for (int h = 0; h < count; h += WIDTH) {
        const real *x = NAME(panel)(tile, h);
        real *v = NAME(panel)(values, h), *p = NAME(panel)(places, h);
        vec nans = zero;
        NAME(pieces) pieces = NAME(pieces_of)(&next, h);
        for (ptrdiff_t c = 0; c < n; ++c) {
            NAME(prefetch_piece)(&pieces);
            const vec y = v_load(x + c * PANEL);
            nans = v_add(nans, v_keep(v_ne(y, y), v_set1((real)1)));
            NAME(insert_lanes)(v_mul(y, sign), c, c < k ? c : k, k, v, p);
        }
        if (v_lanes(v_gt(nans, zero)))
            return 0;
        for (ptrdiff_t i = 0; i < k; ++i)
            v_store(v + i * PANEL, v_mul(v_load(v + i * PANEL), sign));
    }
    NAME(store_tile)(values, &rows->out, begin, count, NAME(as_it_is), NULL, dense, 0);
    ptrdiff_t *indices = rows->indices + begin * k;
    for (int b = 0; b < count; ++b)
        for (ptrdiff_t i = 0; i < k; ++i)
            indices[b * k + i] = (ptrdiff_t)NAME(panel)(places, b)[i * PANEL];
    return 1;
}

static void NAME(top_of_row)(const fl_rows *rows, ptrdiff_t row, int few, real *buffer)
{
    const ptrdiff_t n = rows->n_classes, k = rows->k;
    const fl_row x = NAME(row_of)(&rows->x, row);
    real *out = (real *)((char *)rows->out.data + row * rows->out.row);
    NAME(first) first = {out, rows->indices + row * k, 0, k};
    if (few)
        NAME(top_few)(&x, n, rows->smallest, buffer, &first);
    else
        NAME(top_many)(&x, n, rows->smallest, buffer, &first);
    const ptrdiff_t n_numbers = first.n;
    NAME(top_rest)(&x, n, rows->smallest, &first);
    if (!few && rows->sorted)
        NAME(sort)(first.values, first.indices, n_numbers, 40);
    for (ptrdiff_t j = 0; j < k; ++j)
        out[j] = NAME(get)(&x, first.indices[j]);
}

static void NAME(top_k)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes, k = rows->k;
    /* Few of so many pieces that the threshold is near the k-th number, or of a short row; the same
       on every instruction set, as what is not sorted comes in another order from each way. */
    const int few = k <= FEW && (4 * k <= n / NAME(piece_length)(n) * (LANES / 4) || n <= 2048 / k);
    FL_ALIGNED real buffer[BLOCK], values[BLOCK], places[BLOCK];
    const int width = few ? NAME(tile_width)(n, BLOCK) : 0;
    ptrdiff_t i = 0;
    while (width && i + LEAST_TILE <= rows->n_rows) {
        const ptrdiff_t left = rows->n_rows - i;
        const int count = left < width ? (int)left : width;
        const int panels = (count + PANEL - 1) / PANEL * PANEL;
        const NAME(tile) tile = {buffer, n, panels}, v = {values, k, panels},
                         p = {places, k, panels};
        const ptrdiff_t end = i + count;
        if (!NAME(top_tile)(rows, i, count, &tile, &v, &p))
            for (ptrdiff_t row = i; row < end; ++row)
                NAME(top_of_row)(rows, row, few, buffer);
        i = end;
    }
    for (; i < rows->n_rows; ++i)
        NAME(top_of_row)(rows, i, few, buffer);
}
