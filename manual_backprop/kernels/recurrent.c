/* One recurrent layer in one direction on the CPU, forward and backward: the loop over time.

   The recurrent weight is packed once for all steps. Each thread computes some of the units: it multiplies by the part
   of the weight for these units, which stays in its cache from step to step (Diamos et al. 2016, "Persistent RNNs"),
   and then computes their gates. There is one barrier per step.

   Rows are those of a packed sequence: sizes[t] rows for step t, step after step. Each function takes the number of
   threads last. The file includes itself for each type. */

#ifndef REAL

#include "pointwise.h"

enum { LSTM, GRU, RNN_TANH, RNN_RELU };

#define TILE 8 /* rows of a matmul at a time: 16 sums in registers */
#ifdef __AVX512F__
#define BYTES 64 /* in a vector */
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)
#define F(name) NAMED(name, REAL)
#define V NAMED(vector, REAL)
#define U NAMED(unaligned, REAL)
#define WIDTH (2 * BYTES / (I)sizeof(REAL)) /* units in a panel of the packed weight */

/* The time step that is computed as number s. */
#define STEP(s) (reverse ? steps - 1 - (s) : (s))

/* The first row of each step. */
static I *offsets_of(const I *sizes, I steps) {
    I *offsets = malloc((size_t)(steps + 1) * sizeof(I));
    offsets[0] = 0;
    for (I t = 0; t < steps; t++) offsets[t + 1] = offsets[t] + sizes[t];
    return offsets;
}

#define SMALL (1 << 17) /* multiplications in a step below which a second thread costs more than it saves */

#define REAL float
#include "recurrent.c"
#undef REAL
#define REAL double
#include "recurrent.c"

#else

typedef REAL V __attribute__((vector_size(BYTES), may_alias));
typedef REAL U __attribute__((vector_size(BYTES), may_alias, aligned(sizeof(REAL))));

/* Prefetches a panel's part of `count` rows. The rows are too far apart for the hardware prefetcher; they arrive while
   the processor multiplies. */
static void F(fetch)(const REAL *rows, I stride, I count) {
    for (I n = 0; n < count; n++)
        for (I j = 0; j < WIDTH; j += 64 / (I)sizeof(REAL)) __builtin_prefetch(rows + n * stride + j, 0, 2);
}

/* out = begin + x w for `rows` rows of x, of `depth` elements each. w is a panel with `depth` rows, of which the first
   `columns` columns are used. */
INLINE void F(tile)(REAL *out, I out_stride, const REAL *begin, I begin_stride, const REAL *x, I x_stride,
                    const REAL *w, I depth, I columns, const int rows) {
    V sums[TILE][2] = {0};
    for (I k = 0; k < depth; k++) {
        const V left = ((const V *)w)[2 * k], right = ((const V *)w)[2 * k + 1];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            sums[r][0] += x[r * x_stride + k] * left;
            sums[r][1] += x[r * x_stride + k] * right;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        REAL *to = out + r * out_stride;
        const REAL *from = begin + r * begin_stride;
        if (columns == WIDTH) {
            ((U *)to)[0] = ((const U *)from)[0] + sums[r][0];
            ((U *)to)[1] = ((const U *)from)[1] + sums[r][1];
        } else {
            REAL row[WIDTH];
            memcpy(row, sums[r], sizeof row);
            for (I j = 0; j < columns; j++) to[j] = from[j] + row[j];
        }
    }
}

static void F(multiplied)(REAL *out, I out_stride, const REAL *begin, I begin_stride, const REAL *x, I x_stride,
                          const REAL *w, I depth, I columns, I rows) {
#define ROWS_OF(n) F(tile)(out, out_stride, begin, begin_stride, x, x_stride, w, depth, columns, n)
    for (; rows >= TILE; rows -= TILE) {
        ROWS_OF(TILE);
        out += TILE * out_stride, begin += TILE * begin_stride, x += TILE * x_stride;
    }
    switch (rows) {
        case 1: ROWS_OF(1); break;
        case 2: ROWS_OF(2); break;
        case 3: ROWS_OF(3); break;
        case 4: ROWS_OF(4); break;
        case 5: ROWS_OF(5); break;
        case 6: ROWS_OF(6); break;
        case 7: ROWS_OF(7); break;
        default: break;
    }
#undef ROWS_OF
}

static const REAL F(none)[WIDTH]; /* zeros, used if there is no delta */

/* One step for `columns` units of one row. `a` has its gates, `units` elements apart from each other. */
INLINE void F(lstm_step)(REAL *a, REAL *c, REAL *h, const REAL *before, I units, I columns) {
#pragma omp simd
    for (I j = 0; j < columns; j++) {
        const REAL i = F(sigmoid)(a[j]), f = F(sigmoid)(a[units + j]), g = F(tanh)(a[2 * units + j]);
        const REAL o = F(sigmoid)(a[3 * units + j]), cell = f * before[j] + i * g;
        a[j] = i, a[units + j] = f, a[2 * units + j] = g, a[3 * units + j] = o;
        c[j] = cell, h[j] = o * F(tanh)(cell);
    }
}

/* p: the contribution of x to n. */
INLINE void F(gru_step)(REAL *a, const REAL *p, REAL *h, const REAL *before, I units, I columns) {
#pragma omp simd
    for (I j = 0; j < columns; j++) {
        const REAL r = F(sigmoid)(a[j]), z = F(sigmoid)(a[units + j]);
        const REAL n = F(tanh)(p[j] + r * a[3 * units + j]);
        a[j] = r, a[units + j] = z, a[2 * units + j] = n;
        h[j] = n + z * (before[j] - n);
    }
}

INLINE void F(rnn_step)(REAL *h, I relu, I columns) {
    if (relu)
        for (I j = 0; j < columns; j++) h[j] = h[j] > 0 || h[j] != h[j] ? h[j] : 0;
    else
#pragma omp simd
        for (I j = 0; j < columns; j++) h[j] = F(tanh)(h[j]);
}

INLINE void F(lstm_deltas)(REAL *d, REAL *delta_h, REAL *delta_c, const REAL *delta, const REAL *a, const REAL *c,
                           const REAL *before, I units, I columns) {
#pragma omp simd
    for (I j = 0; j < columns; j++) {
        const REAL i = a[j], f = a[units + j], g = a[2 * units + j], o = a[3 * units + j], y = F(tanh)(c[j]);
        const REAL dh = delta_h[j] + delta[j], dc = delta_c[j] + dh * o * (1 - y * y);
        d[j] = dc * g * i * (1 - i), d[units + j] = dc * before[j] * f * (1 - f);
        d[2 * units + j] = dc * i * (1 - g * g), d[3 * units + j] = dh * y * o * (1 - o);
        delta_c[j] = dc * f, delta_h[j] = 0;
    }
}

/* d: deltas of the matmul with h. p: deltas of the matmul with x, which differ only in n. */
INLINE void F(gru_deltas)(REAL *d, REAL *p, REAL *delta_h, const REAL *delta, const REAL *a, const REAL *before,
                          I units, I columns) {
#pragma omp simd
    for (I j = 0; j < columns; j++) {
        const REAL r = a[j], z = a[units + j], n = a[2 * units + j], q = a[3 * units + j];
        const REAL dh = delta_h[j] + delta[j], dn = dh * (1 - z) * (1 - n * n);
        p[j] = d[j] = dn * q * r * (1 - r);
        p[units + j] = d[units + j] = dh * (before[j] - n) * z * (1 - z);
        p[2 * units + j] = dn, d[2 * units + j] = dn * r;
        delta_h[j] = dh * z;
    }
}

INLINE void F(rnn_deltas)(REAL *d, REAL *delta_h, const REAL *delta, const REAL *h, I relu, I columns) {
#pragma omp simd
    for (I j = 0; j < columns; j++) {
        const REAL dh = delta_h[j] + delta[j];
        d[j] = relu ? (h[j] <= 0 ? 0 : dh) : dh * (1 - h[j] * h[j]); /* NaN passes */
        delta_h[j] = 0;
    }
}

/* The forward of a layer. products: the contribution of x and the biases to the gates; for a GRU without `inner`, the
   bias that is added to h's contribution to n. The LSTM's gates and the RNN's output are written over `products`.
   cells, cx and cy are for the LSTM only. hx and hy, of `batch` rows, are the states before and after. */
void F(recurrent_forward)(REAL *gates, REAL *cells, REAL *output, REAL *hy, REAL *cy, const REAL *products,
                          const REAL *inner, const REAL *hx, const REAL *cx, const REAL *weight, const I *sizes,
                          I steps, I batch, I units, I kind, I reverse, I threads) {
    static const I blocks_of[] = {4, 3, 1, 1}, strides_of[] = {4, 4, 1, 1};
    const I blocks = blocks_of[kind], depth = blocks * units, stride = strides_of[kind] * units;
    const I panels = (units + WIDTH - 1) / WIDTH;
    I *offsets = offsets_of(sizes, steps);
    REAL *packed = aligned_alloc(64, (size_t)(panels * depth * WIDTH) * sizeof(REAL));
    if (batch * depth * units < SMALL) threads = 1;
    if (threads > panels) threads = panels;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp for schedule(static)
        for (I q = 0; q < panels; q++)
            for (I b = 0; b < blocks; b++)
                for (I k = 0; k < units; k++)
                    for (I j = 0; j < WIDTH; j++) {
                        const I u = q * WIDTH + j;
                        packed[((q * blocks + b) * units + k) * WIDTH + j] =
                            u < units ? weight[(b * units + u) * units + k] : 0;
                    }
        for (I s = 0; s < steps; s++) {
            const I t = STEP(s), rows = sizes[t], at = offsets[t];
            const I last = s ? STEP(s - 1) : 0, known = s ? (sizes[last] < rows ? sizes[last] : rows) : 0;
            const I next = s + 1 < steps ? STEP(s + 1) : t;
#pragma omp for schedule(static)
            for (I q = 0; q < panels; q++) {
                const I u = q * WIDTH, columns = units - u < WIDTH ? units - u : WIDTH;
                for (I b = 0; b < blocks; b++) {
                    F(fetch)(products + offsets[next] * depth + b * units + u, depth, sizes[next]);
                    const int apart = kind == GRU && b == 2;
                    const REAL *w = packed + (q * blocks + b) * units * WIDTH;
                    const REAL *begin = apart ? inner + u : products + at * depth + b * units + u;
                    const I step = apart ? 0 : depth;
                    REAL *to = gates + at * stride + (b + apart) * units + u;
                    F(multiplied)(to, stride, begin, step, output + offsets[last] * units, units, w, units, columns, known);
                    F(multiplied)(to + known * stride, stride, begin + known * step, step, hx + known * units, units, w,
                                  units, columns, rows - known);
                }
                for (I n = 0; n < rows; n++) {
                    const I row = (at + n) * units + u, before = (offsets[last] + n) * units + u, state = n * units + u;
                    REAL *a = gates + (at + n) * stride + u, *h = output + row;
                    if (kind == LSTM)
                        F(lstm_step)(a, cells + row, h, n < known ? cells + before : cx + state, units, columns);
                    else if (kind == GRU)
                        F(gru_step)(a, products + (at + n) * depth + 2 * units + u, h,
                                    n < known ? output + before : hx + state, units, columns);
                    else
                        F(rnn_step)(h, kind == RNN_RELU, columns);
                }
            }
        }
    }
    for (I n = 0; n < batch; n++) {
        I t = reverse ? 0 : steps - 1;
        while (t >= 0 && sizes[t] <= n) t--;
        const size_t size = (size_t)units * sizeof(REAL);
        memcpy(hy + n * units, t < 0 ? hx + n * units : output + (offsets[t] + n) * units, size);
        if (kind == LSTM) memcpy(cy + n * units, t < 0 ? cx + n * units : cells + (offsets[t] + n) * units, size);
    }
    free(packed), free(offsets);
}

/* The backward of a layer. `deltas` gets the deltas of the matmuls with h; for a GRU, `others` gets those of the
   matmuls with x. delta_h and delta_c are the deltas of hy and cy, and are replaced by those of hx and cx. delta may be
   NULL. states: the LSTM's cells, the GRU's h before each step, or the RNN's h after each step. */
void F(recurrent_backward)(REAL *deltas, REAL *others, REAL *delta_h, REAL *delta_c, const REAL *delta,
                           const REAL *gates, const REAL *states, const REAL *cx, const REAL *weight, const I *sizes,
                           I steps, I batch, I units, I kind, I reverse, I threads) {
    static const I blocks_of[] = {4, 3, 1, 1};
    const I blocks = blocks_of[kind], depth = blocks * units, panels = (units + WIDTH - 1) / WIDTH;
    I *offsets = offsets_of(sizes, steps);
    REAL *packed = aligned_alloc(64, (size_t)(panels * depth * WIDTH) * sizeof(REAL));
    if (batch * depth * units < SMALL) threads = 1;
    if (threads > panels) threads = panels;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp for schedule(static)
        for (I q = 0; q < panels; q++)
            for (I k = 0; k < depth; k++)
                for (I j = 0; j < WIDTH; j++) {
                    const I u = q * WIDTH + j;
                    packed[(q * depth + k) * WIDTH + j] = u < units ? weight[k * units + u] : 0;
                }
        for (I s = steps - 1; s >= 0; s--) {
            const I t = STEP(s), rows = sizes[t], at = offsets[t];
            const I last = s ? STEP(s - 1) : 0, known = s ? (sizes[last] < rows ? sizes[last] : rows) : 0;
            const I second = s > 1 ? STEP(s - 2) : last;
#pragma omp for schedule(static)
            for (I q = 0; q < panels; q++) {
                const I u = q * WIDTH, columns = units - u < WIDTH ? units - u : WIDTH;
                for (I n = 0; n < rows; n++) {
                    const I row = (at + n) * units + u, before = (offsets[last] + n) * units + u, state = n * units + u;
                    const REAL *of = delta ? delta + row : F(none), *a = gates + 4 * (at + n) * units + u;
                    REAL *d = deltas + (at + n) * depth + u, *dh = delta_h + state;
                    if (kind == LSTM)
                        F(lstm_deltas)(d, dh, delta_c + state, of, a, states + row,
                                       n < known ? states + before : cx + state, units, columns);
                    else if (kind == GRU)
                        F(gru_deltas)(d, others + (at + n) * depth + u, dh, of, a, states + row, units, columns);
                    else
                        F(rnn_deltas)(d, dh, of, states + row, kind == RNN_RELU, columns);
                }
            }
            /* same schedule as above: each thread keeps its units */
#pragma omp for schedule(static) nowait
            for (I q = 0; q < panels; q++) {
                const I u = q * WIDTH, columns = units - u < WIDTH ? units - u : WIDTH;
                if (delta) F(fetch)(delta + offsets[last] * units + u, units, sizes[last]);
                F(fetch)(states + offsets[kind == LSTM ? second : last] * units + u, units, sizes[last]);
                for (I b = 0; b < blocks; b++) {
                    if (kind == LSTM || kind == GRU)
                        F(fetch)(gates + (4 * offsets[last] + b) * units + u, 4 * units, sizes[last]);
                    F(multiplied)(delta_h + u, units, delta_h + u, units, deltas + at * depth + b * units, depth,
                                  packed + (q * blocks + b) * units * WIDTH, units, columns, rows);
                }
            }
        }
    }
    free(packed), free(offsets);
}

#endif
