/* Softmax, log-softmax and cross-entropy on the CPU, forward and backward: each row is in cache for all of its steps.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "softmax.c"
#include "types.h"

#else

#include "exponentials.h"

/* softmax.Softmax.output of rows of n elements; Softmin's with sign -1. */
void F(softmax)(STORED *out, const STORED *x, I rows, I n, I sign, I threads) {
    EACH_ROW(rows, n, {
        const STORED *v = x + r * n;
        const REAL top = F(largest)(v, (REAL)sign, n);
        const REAL share = (REAL)(1 / F(exponentials)(row, v, (REAL)sign, top, n));
        OUT(o, n, around, S(row[i] * share))
    })
}

/* softmax.LogSoftmax.output of rows of n elements. */
void F(log_softmax)(STORED *out, const STORED *x, I rows, I n, I threads) {
    EACH_ROW(rows, n, {
        const STORED *v = x + r * n;
        const REAL top = F(largest)(v, 1, n);
        const REAL rest = (REAL)log(F(exponentials)(NULL, v, 1, top, n));
        OUT(o, n, around, S(V(v[i]) - top - rest))
    })
}

/* softmax.Softmax.delta_input: y (delta - sum of y delta); Softmin's with sign -1. */
void F(softmax_delta_input)(STORED *out, const STORED *delta, const STORED *y, I rows, I n, I sign, I threads) {
    EACH_ROW(rows, n, {
        const STORED *d = delta + r * n;
        const STORED *p = y + r * n;
        double total = 0;
        SUM(total, n, V(p[i]) * V(d[i]))
        const REAL all = (REAL)total;
        const REAL factor = (REAL)sign;
        OUT(o, n, around, S(factor * V(p[i]) * (V(d[i]) - all)))
    })
}

/* softmax.LogSoftmax.delta_input: delta - e^y sum of delta. */
void F(log_softmax_delta_input)(STORED *out, const STORED *delta, const STORED *y, I rows, I n, I threads) {
    EACH_ROW(rows, n, {
        const STORED *d = delta + r * n;
        const STORED *l = y + r * n;
        double total = 0;
        SUM(total, n, V(d[i]))
        const REAL all = (REAL)total;
        OUT(o, n, around, S(V(d[i]) - R(exp)(V(l[i])) * all))
    })
}

/* For work along the middle axis of (outer, n, inner): does something for each block of up to ROWS columns that are
   neighbours along `inner`. A block has `lanes` columns of n elements and begins at `at`. `kept` is a buffer of `room`
   elements. Full blocks may use non-temporal stores. */
#define EACH_BLOCK(room, ...)                                                                                 \
    {                                                                                                         \
        const I blocks = (inner + ROWS - 1) / ROWS;                                                           \
        const int around = ROWS == PART && AROUND(STORED, out, inner, outer * n * inner);                     \
        if (outer * n * inner <= GRAIN) threads = 1;                                                          \
        _Pragma("omp parallel num_threads((int)threads)")                                                     \
        {                                                                                                     \
            REAL *kept = malloc((size_t)(room) * sizeof(REAL));                                               \
            (void)kept;                                                                                       \
            _Pragma("omp for collapse(2) schedule(static) nowait")                                            \
            for (I o = 0; o < outer; o++)                                                                     \
                for (I b = 0; b < blocks; b++) {                                                              \
                    const I at = o * n * inner + b * ROWS;                                                    \
                    if (inner - b * ROWS < ROWS) { const I lanes = inner - b * ROWS; __VA_ARGS__ }            \
                    else { const I lanes = ROWS; __VA_ARGS__ }                                                \
                }                                                                                             \
            streamed();                                                                                       \
            free(kept);                                                                                       \
        }                                                                                                     \
    }

/* total[k] = sum of f over the n elements of column k; f may use an element's index in memory, j, and in `kept`, h. */
#define SUM_COLUMNS(total, f)                                                                                 \
    for (I begin = 0; begin < n; begin += BLOCK) {                                                            \
        const I end = begin + BLOCK < n ? begin + BLOCK : n;                                                  \
        REAL one_[ROWS] = {0};                                                                                \
        for (I i = begin; i < end; i++)                                                                       \
            _Pragma("omp simd") for (I k = 0; k < lanes; k++) {                                               \
                const I j = at + i * inner + k, h = i * ROWS + k;                                             \
                (void)h;                                                                                      \
                one_[k] += f;                                                                                 \
            }                                                                                                 \
        for (I k = 0; k < lanes; k++) total[k] += one_[k];                                                    \
    }

/* out = f for each element of the block; j and h as above. */
#define OUT_COLUMNS(f)                                                                                        \
    for (I i = 0; i < n; i++) {                                                                               \
        STORED part[ROWS] __attribute__((aligned(64)));                                                       \
        STORED *to = around ? part : out + at + i * inner;                                                    \
        _Pragma("omp simd") for (I k = 0; k < lanes; k++) {                                                   \
            const I j = at + i * inner + k, h = i * ROWS + k;                                                 \
            (void)j, (void)h;                                                                                 \
            to[k] = S(f);                                                                                     \
        }                                                                                                     \
        if (around) stream(out + at + i * inner, part, sizeof part);                                          \
    }

/* softmax.Softmax.output of (outer, n, inner) along n; Softmin's with sign -1, LogSoftmax's with `logs`. */
void F(softmax_across)(STORED *out, const STORED *x, I outer, I n, I inner, I sign, I logs, I threads) {
    const REAL factor = (REAL)sign;
    EACH_BLOCK(logs ? 0 : n * ROWS, {
        REAL top[ROWS], rest[ROWS];
        double total[ROWS] = {0};
        for (I k = 0; k < lanes; k++) top[k] = -(REAL)INFINITY;
        for (I i = 0; i < n; i++)
            _Pragma("omp simd") for (I k = 0; k < lanes; k++) {
                const REAL v = factor * V(x[at + i * inner + k]);
                top[k] = v > top[k] ? v : top[k];
            }
        if (logs) SUM_COLUMNS(total, R(exp)(V(x[j]) - top[k]))
        else SUM_COLUMNS(total, kept[h] = R(exp)(factor * V(x[j]) - top[k]))
        for (I k = 0; k < lanes; k++) rest[k] = (REAL)(logs ? log(total[k]) : 1 / total[k]);
        if (logs) OUT_COLUMNS(V(x[j]) - top[k] - rest[k])
        else OUT_COLUMNS(kept[h] * rest[k])
    })
}

/* softmax.Softmax.delta_input of (outer, n, inner) along n; Softmin's with sign -1, LogSoftmax's with `logs`. */
void F(softmax_delta_input_across)(STORED *out, const STORED *delta, const STORED *y, I outer, I n, I inner, I sign,
                                   I logs, I threads) {
    const REAL factor = (REAL)sign;
    EACH_BLOCK(0, {
        REAL all[ROWS];
        double total[ROWS] = {0};
        if (logs) SUM_COLUMNS(total, V(delta[j]))
        else SUM_COLUMNS(total, V(y[j]) * V(delta[j]))
        for (I k = 0; k < lanes; k++) all[k] = (REAL)total[k];
        if (logs) OUT_COLUMNS(V(delta[j]) - R(exp)(V(y[j])) * all[k])
        else OUT_COLUMNS(factor * V(y[j]) * (V(delta[j]) - all[k]))
    })
}

/* cross_entropy.CrossEntropyLoss.output of rows of n classes: out is log softmax, loss is the loss, with reduction 0
   "none", 1 "mean", 2 "sum". weight may be NULL; smoothing is passed by address. Returns the number of invalid labels;
   if there are any, nothing is computed. */
I F(cross_entropy)(STORED *out, STORED *loss, const STORED *x, const I *target, const REAL *weight,
                   const double *smoothing, I ignored, I reduction, I rows, I n, I threads) {
    const double e = *smoothing;
    double *losses = malloc((size_t)rows * sizeof(double)), count = 0, sum = 0;
    I wrong = 0;
    for (I r = 0; r < rows; r++) {
        if (target[r] == ignored) continue;
        if ((uint64_t)target[r] >= (uint64_t)n) ++wrong;
        else count += weight ? weight[target[r]] : 1;
    }
    if (!wrong) {
        EACH_ROW(rows, n, {
            const STORED *v = x + r * n;
            const I label = target[r];
            const REAL top = F(largest)(v, 1, n);
            const REAL rest = (REAL)log(F(exponentials)(NULL, v, 1, top, n));
            OUT(o, n, around, S(V(v[i]) - top - rest))
            losses[r] = 0;
            if (label != ignored) {
                losses[r] = -(1 - e) * (V(v[label]) - top - rest) * (weight ? weight[label] : 1);
                if (e != 0) {
                    double spread = 0;
                    if (weight)
                        SUM(spread, n, weight[i] * (V(v[i]) - top - rest))
                    else
                        SUM(spread, n, V(v[i]) - top - rest)
                    losses[r] -= e / n * spread;
                }
            }
        })
        for (I r = 0; r < rows; r++) {
            if (!reduction) loss[r] = S((REAL)losses[r]);
            sum += losses[r];
        }
        if (reduction) *loss = S((REAL)(reduction == 1 ? sum / count : sum));
    }
    free(losses);
    return wrong;
}

/* cross_entropy.CrossEntropyLoss.delta_input of (N, C, positions). delta is one number, or with `each` one per row;
   `mean` divides it by the sum of the weights of labels that are not ignored. weight may be NULL; smoothing is passed
   by address. */
void F(cross_entropy_delta_input)(STORED *out, const STORED *delta, const STORED *log_probs, const I *target,
                                  const REAL *weight, const double *smoothing, I ignored, I mean, I each, I batch,
                                  I classes, I positions, I threads) {
    const I rows = batch * positions;
    if (rows * classes <= GRAIN) threads = 1;
    const double e = *smoothing, share = e / classes;
    double count = 1, all = classes;
    if (mean) {
        count = 0;
        for (I r = 0; r < rows; r++)
            if (target[r] != ignored)
                count += weight && (uint64_t)target[r] < (uint64_t)classes ? weight[target[r]] : 1;
    }
    const REAL *smoothed = e != 0 ? weight : NULL;
    if (smoothed) {
        all = 0;
        for (I c = 0; c < classes; c++) all += weight[c];
    }
    /* For the rows at up to BLOCK neighbouring positions: the factors of onehot, of p and of the smoothing. */
    const I blocks = (positions + BLOCK - 1) / BLOCK;
#pragma omp parallel for collapse(2) schedule(static) num_threads((int)threads)
    for (I n = 0; n < batch; n++)
        for (I b = 0; b < blocks; b++) {
            const I first = b * BLOCK, size = first + BLOCK < positions ? BLOCK : positions - first;
            REAL at[BLOCK], mass[BLOCK], spread[BLOCK];
            for (I k = 0; k < size; k++) {
                const I r = n * positions + first + k, label = target[r];
                const int kept = label != ignored && (uint64_t)label < (uint64_t)classes;
                const double row = kept ? V(delta[each ? r : 0]) / count : 0;
                const double own = kept ? (1 - e) * row * (weight ? weight[label] : 1) : 0;
                at[k] = (REAL)own, mass[k] = (REAL)(e != 0 ? own + share * row * all : own);
                spread[k] = (REAL)(e != 0 ? share * row : 0);
            }
            STORED *o = out + n * classes * positions + first;
            const STORED *l = log_probs + n * classes * positions + first;
            if (positions > 1)
                for (I c = 0; c < classes; c++) {
                    const REAL w = smoothed ? weight[c] : 1;
                    EACH(size, o[c * positions + i] = S(R(exp)(V(l[c * positions + i])) * mass[i] - spread[i] * w))
                }
            else {
                const REAL p = *mass, rest = *spread;
                if (smoothed)
                    EACH(classes, o[i] = S(R(exp)(V(l[i])) * p - rest * weight[i]))
                else
                    EACH(classes, o[i] = S(R(exp)(V(l[i])) * p - rest))
            }
            for (I k = 0; k < size; k++)
                if (at[k] != 0) {
                    const I label = target[n * positions + first + k], i = label * positions + k;
                    const REAL w = smoothed ? weight[label] : 1;
                    o[i] = S(R(exp)(V(l[i])) * mass[k] - spread[k] * w - at[k]);
                }
        }
}

#endif
