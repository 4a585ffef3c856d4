/* The derivative of the CTC loss on the CPU. Each sample is computed from its last frame to its first.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define NEVER -1e30f /* stands for log 0, as in rules/ctc.py */
#define SOURCE "ctc.c"
#include "types.h"

#else

INLINE REAL F(more)(REAL a, REAL b) { return a > b ? a : b; }

/* to[s] = log(sum of e^row[s'] over the states s' that may follow s), for `own` states; two of log 0 follow them. */
static void F(followed)(REAL *to, const REAL *row, const REAL *skips, REAL *sums, I own) {
#pragma omp simd
    for (I s = 0; s < own; s++) {
        const REAL a = row[s], b = row[s + 1], c = row[s + 2] + skips[s];
        const REAL top = F(more)(F(more)(a, b), F(more)(c, NEVER));
        to[s] = top;
        sums[s] = R(exp)(a - top) + R(exp)(b - top) + R(exp)(c - top);
    }
    for (I s = 0; s < own; s++) to[s] += (REAL)log(sums[s]);
}

/* ctc.CTCLoss.delta_input of (steps, batch, classes): delta (batch), states (batch, count), alpha (batch, steps,
   count). frames, labels: the lengths. impossible: 0 or NaN, the deltas of a sample whose target no path can produce.
   Frames after a sample's end have delta 0. */
void F(ctc_delta_input)(STORED *out, const STORED *delta, const STORED *x, const I *states, const I *frames,
                        const I *labels, const STORED *alpha, const STORED *likelihood, const double *impossible,
                        I steps, I batch, I classes, I count, I threads) {
    if (batch * steps * (count + classes) <= GRAIN) threads = 1;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (I n = 0; n < batch; n++) {
        const I own = 2 * labels[n] + 1, *label = states + n * count;
        const REAL own_delta = V(delta[n]), found = V(likelihood[n]);
        REAL *room = malloc((size_t)(5 * (own + 2) + classes) * sizeof(REAL));
        REAL *row = room, *emitted = row + own + 2, *skips = emitted + own + 2, *next = skips + own + 2;
        REAL *sums = next + own + 2, *seen = sums + own + 2;
        row[own] = row[own + 1] = next[own] = next[own + 1] = NEVER;
        for (I s = 0; s < own; s++) skips[s] = s + 2 < own && label[s] != label[s + 2] ? 0 : NEVER;
        for (I t = steps - 1; t >= 0; t--) {
            const STORED *v = x + (t * batch + n) * classes, *a = alpha + (n * steps + t) * count;
            STORED *o = out + (t * batch + n) * classes;
            if (t >= frames[n] || found <= NEVER / 2) {
                const REAL other = t >= frames[n] ? 0 : (REAL)*impossible;
                for (I c = 0; c < classes; c++) o[c] = S(other);
                continue;
            }
            for (I s = 0; s < own; s++) emitted[s] = F(more)(V(v[label[s]]), NEVER);
            if (t == frames[n] - 1)
                for (I s = 0; s < own; s++) next[s] = s >= own - 2 ? 0 : NEVER;
            else
                F(followed)(next, row, skips, sums, own);
#pragma omp simd
            for (I s = 0; s < own; s++) {
                sums[s] = R(exp)(V(a[s]) + next[s] - found);
                row[s] = next[s] + emitted[s];
            }
            memset(seen, 0, (size_t)classes * sizeof(REAL));
            for (I s = 0; s < own; s++) seen[label[s]] += sums[s];
#pragma omp simd
            for (I c = 0; c < classes; c++) o[c] = S((R(exp)(V(v[c])) - seen[c]) * own_delta);
        }
        free(room);
    }
}

#endif
