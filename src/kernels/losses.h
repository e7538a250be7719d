/*
 * Cross-entropy of labels or soft targets: the loss, its gradient, and the diagonal of its Hessian.
 *
 * With the coefficients a of `target` and A their sum, w the weight of the label's class (1 for
 * soft targets), keep = (1 - label_smoothing) w (0 for soft targets), and
 * log = log(sum exp(x - max)), the loss of a row is
 *
 *     keep (max - x[label] + log) + sum a (max - x) + A log + z_loss w (max + log)^2.
 *
 * No term is negative, so nothing cancels. The gradient is B p - a with
 * B = keep + A + 2 z_loss w (max + log), and at the label (B - keep) p - a - keep (1 - p), where
 * 1 - p is the probability of all the others. Weights of the row come on top.
 */

/* What the finish of a batch of rows leaves, one number for each. */
typedef struct {
    double nll[BATCH], p[BATCH], not_p[BATCH];                /* of the label */
    double inverse[BATCH], inverse_lo[BATCH], largest[BATCH]; /* as softmax needs them */
    double log[BATCH], not_largest[BATCH];
} NAME(finished);

/* A row for each lane. */
static void NAME(finish_rows)(const NAME(swept) *swept, int n, int gradient, NAME(finished) *f)
{
    const f64v zero = v_set1(0.0);
    for (int b = 0; b < n; b += FL_WIDTH_F64) {
        const row_state state = NAME(as_row_state)(swept + b, n - b);
        double logit_[FL_WIDTH_F64], max_[FL_WIDTH_F64], offset_[FL_WIDTH_F64];
        for (int k = 0; k < FL_WIDTH_F64; ++k) {
            const NAME(swept) *row = swept + (b + k < n ? b + k : b);
            logit_[k] = row->logit;
            max_[k] = (double)row->state.max;
            offset_[k] = (double)row->scaling.offset;
        }
        const f64v logit = v_load(logit_), max = v_load(max_), offset = v_load(offset_);
        const pair_f64 log = finish_log(&state);
        v_store(f->log + b, log.hi);
        v_store(f->nll + b, add_pairs(two_sum_f64(max, v_sub(zero, logit)), log).hi);
        if (!gradient)
            continue;
        const normaliser_parts parts = finish_normaliser(&state);
        v_store(f->inverse + b, parts.inverse.hi);
        v_store(f->inverse_lo + b, parts.inverse.lo);
        v_store(f->largest + b, parts.largest.hi);
        const pair_f64 e_max = exp_pair_f64(state.max, state.n), rest = whole_rest(&state, e_max);
        const pair_f64 sum = add_pairs(e_max, rest);
        const pair_f64 e = exp_pair_f64((pair_f64){v_sub(logit, offset), zero}, state.n);
        const pair_f64 others = add_pairs(sum, (pair_f64){v_sub(zero, e.hi), v_sub(zero, e.lo)});
        const f64v not_largest = divide_pairs(rest, sum).hi;
        const f64v not_p = divide_pairs(others, sum).hi;
        v_store(f->p + b, divide_pairs(e, sum).hi);
        v_store(f->not_largest + b, not_largest);
        v_store(f->not_p + b, v_select(v_eq(logit, max), not_largest, not_p));
    }
}

static void NAME(cross_entropy)(const fl_rows *rows)
{
    const fl_loss *loss = rows->loss;
    const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;
    const NAME(scaling) common = NAME(scaling_of)(1);
    const int gradient = rows->out != NULL;
    const int batch = gradient ? NAME(batch_of)(n, os == 1 ? 4 * BLOCK : BLOCK) : BATCH;
    real buffer[BLOCK], spread[BLOCK]; /* the latter for batch * n exponentials, if os != 1 */
    for (ptrdiff_t begin = 0; begin < rows->n_rows; begin += batch) {
        const int count = rows->n_rows - begin < batch ? (int)(rows->n_rows - begin) : batch;
        real *e = NULL;
        if (gradient && n <= BLOCK)
            e = os == 1 ? (real *)rows->out + begin * rows->out_row : spread;
        const ptrdiff_t e_row = os == 1 ? rows->out_row : n;
        NAME(finished) f;
        NAME(swept) swept[BATCH];
        NAME(sweep_batch)(rows, begin, count, &common, buffer, e, e_row, os == 1 ? rows->out : NULL,
                          swept);
        NAME(finish_rows)(swept, count, gradient, &f);
        for (int b = 0; b < count; ++b) {
            const ptrdiff_t i = begin + b;
            const NAME(state) *state = &swept[b].state;
            real *out = gradient ? (real *)rows->out + i * rows->out_row : NULL;
            real *hess = rows->hess ? (real *)rows->hess + i * rows->out_row : NULL;
            if (NAME(is_ignored)(rows, i) || NAME(is_special)(state)) {
                const int ignored = NAME(is_ignored)(rows, i);
                if (rows->losses)
                    rows->losses[i] = ignored ? 0 : (double)NAN;
                if (out)
                    NAME(fill)(out, os, n, ignored ? 0 : (real)NAN);
                if (hess)
                    NAME(fill)(hess, os, n, ignored ? 0 : (real)NAN);
                continue;
            }
            const ptrdiff_t label = rows->labels ? rows->labels[i] : 0;
            const double weight = rows->row_weight ? rows->row_weight[i] : 1;
            const double w = rows->labels && loss->class_weight ? loss->class_weight[label] : 1;
            const double keep = rows->labels ? (1 - loss->label_smoothing) * w : 0;
            const double max = (double)state->max, z = loss->z_loss * w, lse = max + f.log[b];
            if (rows->losses) {
                const double nll = isinf(max - swept[b].logit) ? (double)INFINITY : f.nll[b];
                double l = state->dot + state->mass * f.log[b];
                l += keep == 0 ? 0 : keep * nll;
                l += z == 0 ? 0 : z * lse * lse;
                rows->losses[i] = weight * l;
            }
            if (!out)
                continue;
            NAME(target) target;
            const double g = weight * loss->grad_scale, all = keep + state->mass + 2 * z * lse;
            /* A factor of p goes into the normaliser, where it is not rounded, but for its sign;
               the Hessian is of p itself. */
            const double factor = g * all, size = hess ? 1 : fabs(factor);
            NAME(gradient) by = {
                .target = NAME(target_of)(rows, i, &target),
                .factor = hess         ? factor
                          : factor < 0 ? -1
                                       : 1,
                .scale = g,
            };
            if (hess) {
                by.hess = hess;
                by.hess_scale = g * loss->hess_scale;
                by.largest = (real)f.largest[b];
                by.hess_of_largest = (real)(by.hess_scale * f.largest[b] * f.not_largest[b]);
            }
            const double inverse = f.inverse[b] * size;
            const double inverse_lo = fma(f.inverse[b], size, -inverse) + f.inverse_lo[b] * size;
            const NAME(normaliser) normaliser =
                NAME(normaliser_of)(inverse, inverse_lo, f.largest[b] * size);
            NAME(finish_softmax)((const real *)rows->x + i * rows->x_row, xs, out, os, n,
                                 e ? e + b * e_row : NULL, swept + b, &normaliser, &by);
            if (rows->labels) {
                const double a = by.target ? (double)NAME(coefficient)(by.target, label) : 0;
                out[label * os] = (real)(g * ((all - keep) * f.p[b] - keep * f.not_p[b] - a));
            }
        }
    }
}
