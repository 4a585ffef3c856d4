/* Attention on the CPU, the elementwise part: each row of scores is in cache for all of its steps.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "attention.c"
#define SCORES 32 /* if |lse| is larger, e^(score - lse) has an error of over 32 roundings: softmax is computed again */
#define KEYS (seen < n && seen + r % queries < n ? seen + r % queries : n)
#include "types.h"

#else

#include "exponentials.h"

/* One row of `attention_weights`. */
static void F(weights)(STORED *scores, REAL *lse, const uint8_t *kept, REAL *row, I n) {
    const REAL most = F(largest)(scores, 1, n), top = most == -(REAL)INFINITY ? 0 : most;
    const double total = F(exponentials)(row, scores, 1, top, n);
    const REAL share = total == 0 ? 0 : (REAL)(1 / total);
    *lse = total == 0 ? 0 : most == (REAL)INFINITY ? (REAL)NAN : (REAL)(top + log(total));
    if (kept)
        EACH(n, scores[i] = S(row[i] * share * kept[i]))
    else
        EACH(n, scores[i] = S(row[i] * share))
}

/* attention.ScaledDotProductAttention.weights of rows of scores, written over them, times `kept` unless that is NULL.
   lse is the log of the sum of e^score. A row that sees no key has weights 0 and lse 0. Of each head's `queries` rows
   the first sees `seen` keys, if that is less than n, and each later row one more; keys that are not seen have weight
   0. */
void F(attention_weights)(STORED *out, REAL *lse, const uint8_t *kept, I rows, I n, I queries, I seen, I threads) {
    EACH_ROW(rows, n, {
        const I keys = KEYS;
        F(weights)(o, lse + r, kept ? kept + r * n : NULL, row, keys);
        for (I i = keys; i < n; i++) o[i] = S(0);
    })
}

/* One row of `attention_pairs`. */
static void F(pairs)(STORED *scores, STORED *deltas, REAL lse, REAL dot, const uint8_t *kept, REAL *row, I n) {
    if (lse > SCORES || lse < -SCORES) {
        const REAL share = (REAL)(1 / F(exponentials)(row, scores, 1, F(largest)(scores, 1, n), n));
        double total = 0;
#pragma omp simd
        for (I i = 0; i < n; i++) row[i] *= share;
        if (deltas && kept)
            SUM(total, n, row[i] * kept[i] * V(deltas[i]))
        else if (deltas)
            SUM(total, n, row[i] * V(deltas[i]))
        dot = (REAL)total;
    } else if (deltas && !kept) {
#pragma omp simd
        for (I i = 0; i < n; i++) {
            const REAL weight = R(exp)(V(scores[i]) - lse);
            scores[i] = S(weight), deltas[i] = S(weight * (V(deltas[i]) - dot));
        }
        return;
    } else
        EACH(n, row[i] = R(exp)(V(scores[i]) - lse))
    if (deltas && kept)
#pragma omp simd
        for (I i = 0; i < n; i++) deltas[i] = S(row[i] * (V(deltas[i]) * kept[i] - dot));
    else if (deltas)
#pragma omp simd
        for (I i = 0; i < n; i++) deltas[i] = S(row[i] * (V(deltas[i]) - dot));
    if (kept)
        EACH(n, scores[i] = S(row[i] * kept[i]))
    else
        EACH(n, scores[i] = S(row[i]))
}

/* attention.ScaledDotProductAttention.deltas, the elementwise part. `out` holds the scores, which are replaced by the
   weights e^(score - lse), times `kept` unless that is NULL. `deltas` holds the deltas of the weights, which are
   replaced by those of the scores, weight (kept delta - dot); it may be NULL. lse and dots have one element for each
   row. queries, seen: as for `attention_weights`. */
void F(attention_pairs)(STORED *out, STORED *deltas, const REAL *lse, const REAL *dots, const uint8_t *kept, I rows, I n,
                        I queries, I seen, I threads) {
    EACH_ROW(rows, n, {
        const I keys = KEYS;
        STORED *d = deltas ? deltas + r * n : NULL;
        F(pairs)(o, d, lse[r], deltas ? dots[r] : 0, kept ? kept + r * n : NULL, row, keys);
        for (I i = keys; i < n; i++) o[i] = S(0);
        for (I i = keys; d && i < n; i++) d[i] = S(0);
    })
}

#endif
