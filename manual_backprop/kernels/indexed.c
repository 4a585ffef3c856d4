/* Derivatives that are scattered by an index, on the CPU: of the rows that Embedding looked up, and of NLLLoss.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include "rows.h"
#define SOURCE "indexed.c"
#include "types.h"

#else

/* One row of the gradient: the sum of the deltas in a linked list; `own` is its first. */
static void F(added_up)(STORED *out, const STORED *delta, const I *next, I own, I by_count, int around, I n) {
    REAL often = 0, sum[BLOCK];
    for (I i = own; i >= 0; i = next[i]) often++;
    for (I begin = 0; begin < n; begin += BLOCK) {
        const I size = begin + BLOCK < n ? BLOCK : n - begin;
        STORED *o = out + begin;
        memset(sum, 0, (size_t)size * sizeof(REAL));
        for (I i = own; i >= 0; i = next[i]) {
            const STORED *d = delta + i * n + begin;
            if (by_count)
#pragma omp simd
                for (I k = 0; k < size; k++) sum[k] += V(d[k]) / often;
            else
#pragma omp simd
                for (I k = 0; k < size; k++) sum[k] += V(d[k]);
        }
        OUT(o, size, around, S(sum[i]))
    }
}

/* embedding.Embedding.grad_weight of `rows` rows of n elements. Each of `count` deltas is added to the row of its
   index, unless that is `padding`; with `by_count` it is divided by how often the row was looked up. Every row is
   written once. Returns the number of invalid indices; if there are any, nothing is computed. */
I F(embedding_grad_weight)(STORED *out, const STORED *delta, const I *index, I padding, I by_count, I rows, I count, I n,
                           I threads) {
    I *first = malloc((size_t)rows * sizeof(I)), *next = malloc((size_t)count * sizeof(I)), wrong = 0;
    for (I v = 0; v < rows; v++) first[v] = -1;
    for (I i = count - 1; i >= 0; i--) { /* backwards, so that each row's list has its deltas in order */
        const I v = index[i];
        if ((uint64_t)v >= (uint64_t)rows) wrong++;
        else if (v != padding) next[i] = first[v], first[v] = i;
    }
    if (!wrong) {
        const int around = AROUND(STORED, out, n, (rows + count) * n / 2);
        if (rows * n <= GRAIN) threads = 1;
#pragma omp parallel num_threads((int)threads)
        {
#pragma omp for schedule(dynamic, ROWS) nowait
            for (I v = 0; v < rows; v++) {
                const I own = first[v];
                STORED *o = out + v * n;
                if (own < 0)
                    OUT(o, n, around, 0)
                else if (next[own] < 0) { /* + 0 turns -0 into 0, as a sum does */
                    const STORED *d = delta + own * n;
                    OUT(o, n, around, S(V(d[i]) + 0))
                } else
                    F(added_up)(o, delta, next, own, by_count, around, n);
            }
            streamed();
        }
    }
    free(first), free(next);
    return wrong;
}

/* cross_entropy.NLLLoss.delta_input of (N, C, positions) in `out`, which is zero. delta is one number, or with `each`
   one per row; `mean` divides it by the sum of the weights of labels that are not ignored. weight may be NULL. */
void F(nll_loss_delta_input)(STORED *out, const STORED *delta, const I *target, const REAL *weight, I ignored, I mean,
                             I each, I batch, I classes, I positions, I threads) {
    const I rows = batch * positions, size = classes * positions;
    double count = 1;
    if (mean) {
        count = 0;
        for (I r = 0; r < rows; r++)
            if (target[r] != ignored && (uint64_t)target[r] < (uint64_t)classes) count += weight ? weight[target[r]] : 1;
    }
    if (batch * size <= GRAIN) threads = 1;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I n = 0; n < batch; n++) {
        STORED *o = out + n * size;
        for (I k = 0; k < positions; k++) {
            const I r = n * positions + k, label = target[r];
            if (label == ignored || (uint64_t)label >= (uint64_t)classes) continue;
            const REAL row = V(delta[each ? r : 0]) / (REAL)count;
            o[label * positions + k] = S(-row * (weight ? weight[label] : 1));
        }
    }
}

#endif
