/* The largest element of a row and the sum of its exponentials. Included once for each type, after rows.h. */

/* The largest of sign x. NaN is ignored here: it reaches the result through the sums. */
INLINE REAL F(largest)(const STORED *x, REAL sign, I n) {
    REAL most[LANES];
    for (int k = 0; k < LANES; k++) most[k] = -(REAL)INFINITY;
    if (n < LANES)
        for (I i = 0; i < n; i++) {
            const REAL v = sign * V(x[i]);
            most[0] = v > most[0] ? v : most[0];
        }
    else
        for (I begin = 0; begin < n; begin += LANES) {
            const STORED *from = x + (begin + LANES <= n ? begin : n - LANES);
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                const REAL v = sign * V(from[k]);
                most[k] = v > most[k] ? v : most[k];
            }
        }
    NAMED(ordered, REAL) all = R(order)(most[0]);
#pragma omp simd reduction(max : all)
    for (int k = 0; k < LANES; k++) {
        const NAMED(ordered, REAL) one = R(order)(most[k]);
        all = one > all ? one : all;
    }
    return R(real)(all);
}

/* The sum of e^(sign x - top). The terms are written to `kept` unless that is NULL. */
INLINE double F(exponentials)(REAL *kept, const STORED *x, REAL sign, REAL top, I n) {
    double total = 0;
    for (I begin = 0; begin < n;) {
        const I stop = begin + BLOCK < n ? begin + BLOCK : n;
        REAL sum[LANES] = {0}, one = 0;
        for (; begin + LANES <= stop; begin += LANES)
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                const REAL e = R(exp)(sign * V(x[begin + k]) - top);
                if (kept) kept[begin + k] = e;
                sum[k] += e;
            }
        if (begin < stop) {
            REAL rest[LANES];
            const int count = (int)(stop - begin);
            for (int k = 0; k < LANES; k++) rest[k] = k < count ? sign * V(x[begin + k]) - top : -(REAL)INFINITY;
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                rest[k] = R(exp)(rest[k]);
                sum[k] += rest[k];
            }
            if (kept)
                for (int k = 0; k < count; k++) kept[begin + k] = rest[k];
            begin = stop;
        }
#pragma omp simd reduction(+ : one)
        for (int k = 0; k < LANES; k++) one += sum[k];
        total += one;
    }
    return total;
}
