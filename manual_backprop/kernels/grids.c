/* The derivatives of grid_sample on the CPU with respect to image and grid, in one pass over the deltas.

   Each function takes the number of threads last. types.h includes this file again for each type. */

#ifndef STORED

#include <math.h>

#include "rows.h"

enum { POINTS = 64, TAPS = 4, CORNERS = 16, NEAREST = 1, BICUBIC = 2, BORDER = 1, REFLECTION = 2 };

#define SOURCE "grids.c"
#include "types.h"

#else

/* The input elements that a sample is interpolated from along one axis; element -1: outside, counts as 0. */
typedef struct {
    I count, element[TAPS];
    REAL weight[TAPS], slope[TAPS];
} F(Taps);

static inline I F(element)(REAL place, I size) { return place >= 0 && place < size ? (I)place : -1; }

/* grid_sample.kept */
static REAL F(kept)(REAL s, I size, I padding, I align, REAL *turned) {
    const REAL end = (REAL)(size - 1);
    *turned = 1;
    if (padding == REFLECTION) {
        const REAL low = align ? 0 : (REAL)-0.5, span = align ? end : (REAL)size;
        if (span == 0) {
            *turned = 0;
            return 0;
        }
        const double beyond = fabs((double)(s - low)), extra = fmod(beyond, (double)span);
        const int back = fmod(floor(beyond / (double)span), 2) == 1;
        if ((s < low) != back) *turned = -1;
        s = low + (REAL)(back ? span - extra : extra);
    } else if (padding != BORDER)
        return s;
    if (!(s > 0 && s < end)) *turned = 0;
    return s < 0 ? 0 : s > end ? end : s;
}

/* interpolation.keys and grid_sample.keys_slope, of a = -3/4 */
static void F(keys)(REAL distance, REAL *weight, REAL *slope) {
    const REAL a = (REAL)-0.75, d = distance < 0 ? -distance : distance;
    *weight = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? a * (d - 1) * (d - 2) * (d - 2) : 0;
    const REAL rise = d <= 1 ? 3 * (a + 2) * d * d - 2 * (a + 3) * d : d < 2 ? a * (3 * d - 4) * (d - 2) : 0;
    *slope = distance < 0 ? -rise : rise;
}

/* grid_sample.along */
static void F(along)(F(Taps) *t, REAL g, I size, I mode, I padding, I align) {
    const REAL scale = (REAL)(align ? size - 1 : size) / 2;
    REAL s = align ? (g + 1) * scale : (g + 1) * scale - (REAL)0.5, turned;
    if (mode == BICUBIC) {
        const REAL first = (REAL)floor((double)s);
        t->count = 4;
        for (int k = 0; k < 4; k++) {
            REAL unused;
            t->element[k] = F(element)(F(kept)(first + (REAL)(k - 1), size, padding, align, &unused), size);
            F(keys)(s - first - (REAL)(k - 1), t->weight + k, t->slope + k);
            t->slope[k] *= scale;
        }
        return;
    }
    s = F(kept)(s, size, padding, align, &turned);
    if (mode == NEAREST) {
        t->count = 1, t->element[0] = F(element)((REAL)rint((double)s), size), t->weight[0] = 1, t->slope[0] = 0;
        return;
    }
    const REAL first = (REAL)floor((double)s);
    t->count = 2;
    t->element[0] = F(element)(first, size), t->weight[0] = first + 1 - s, t->slope[0] = -scale * turned;
    t->element[1] = F(element)(first + 1, size), t->weight[1] = s - first, t->slope[1] = scale * turned;
}

/* GridSample.derivatives: delta (batch, channels, places), input (batch, channels, sizes), grid (batch, places, axes).
   The last coordinate of the grid belongs to the first axis. delta_input must hold zeros; it and delta_grid may be
   NULL. */
void F(grid_sample_derivatives)(STORED *delta_input, STORED *delta_grid, const STORED *delta, const STORED *input,
                                const STORED *grid, const I *sizes, I axes, I batch, I channels, I places, I mode,
                                I padding, I align, I threads) {
    I elements = 1;
    for (I a = 0; a < axes; a++) elements *= sizes[a];
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (I n = 0; n < batch; n++) {
        F(Taps) taps[3][POINTS];
        I offset[CORNERS][POINTS], whole[CORNERS]; /* whether every point has an element at that corner */
        REAL weight[CORNERS][POINTS], dot[CORNERS][POINTS];
        for (I begin = 0; begin < places; begin += POINTS) {
            const I points = begin + POINTS < places ? POINTS : places - begin;
            I corners = 1;
            for (I a = 0; a < axes; a++) {
                for (I p = 0; p < points; p++) {
                    const REAL g = V(grid[(n * places + begin + p) * axes + axes - 1 - a]);
                    F(along)(&taps[a][p], g, sizes[a], mode, padding, align);
                }
                corners *= taps[a][0].count;
            }
            for (I k = 0; k < corners; k++) {
                whole[k] = 1;
                for (I p = 0; p < points; p++) {
                    I rest = k, place = 0, step = 1;
                    REAL w = 1;
                    for (I a = axes - 1; a >= 0; a--) {
                        const F(Taps) *t = &taps[a][p];
                        const I chosen = rest % t->count;
                        rest /= t->count;
                        place = place < 0 || t->element[chosen] < 0 ? -1 : place + step * t->element[chosen];
                        step *= sizes[a];
                        w *= t->weight[chosen];
                    }
                    offset[k][p] = place, weight[k][p] = w, dot[k][p] = 0;
                    whole[k] &= place >= 0;
                }
            }
            for (I c = 0; c < channels; c++) {
                const STORED *d = delta + (n * channels + c) * places + begin;
                const I plane = (n * channels + c) * elements;
                for (I k = 0; k < corners; k++) {
                    const I *at = offset[k];
                    const REAL *w = weight[k];
                    STORED *to = delta_input ? delta_input + plane : 0;
                    const STORED *x = delta_grid ? input + plane : 0;
                    if (delta_input && whole[k])
                        for (I p = 0; p < points; p++) to[at[p]] = S(V(to[at[p]]) + w[p] * V(d[p]));
                    else if (delta_input)
                        for (I p = 0; p < points; p++)
                            if (at[p] >= 0) to[at[p]] = S(V(to[at[p]]) + w[p] * V(d[p]));
                    if (delta_grid && whole[k])
#pragma omp simd
                        for (I p = 0; p < points; p++) dot[k][p] += V(d[p]) * V(x[at[p]]);
                    else if (delta_grid)
                        for (I p = 0; p < points; p++)
                            if (at[p] >= 0) dot[k][p] += V(d[p]) * V(x[at[p]]);
                }
            }
            if (!delta_grid) continue;
            for (I p = 0; p < points; p++)
                for (I moved = 0; moved < axes; moved++) {
                    REAL sum = 0;
                    for (I k = 0; k < corners; k++) {
                        REAL factor = 1;
                        I rest = k;
                        for (I a = axes - 1; a >= 0; a--) {
                            const F(Taps) *t = &taps[a][p];
                            const I chosen = rest % t->count;
                            rest /= t->count;
                            factor *= a == moved ? t->slope[chosen] : t->weight[chosen];
                        }
                        if (offset[k][p] >= 0) sum += dot[k][p] * factor;
                    }
                    delta_grid[(n * places + begin + p) * axes + axes - 1 - moved] = S(mode == NEAREST ? 0 : sum);
                }
        }
    }
}

#endif
