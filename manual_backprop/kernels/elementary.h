/* The elementary functions for one type. pointwise.h includes this file twice and defines REAL and the other macros. */

INLINE REAL F(from_bits)(WORD bits) {
    REAL x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE WORD F(to_bits)(REAL x) {
    WORD bits;
    memcpy(&bits, &x, sizeof x);
    return bits;
}

INLINE REAL F(fma)(REAL a, REAL b, REAL c) { return FMA(a, b, c); }
INLINE REAL F(abs)(REAL x) { return ABS(x); }
INLINE REAL F(sqrt)(REAL x) { return SQRT(x); }

/* 2^(n + more) for n = magic - MAGIC, if that is a normal number: the low bits of `magic` are n. */
INLINE REAL F(power)(REAL magic, SIGNED more) {
    return F(from_bits)((F(to_bits)(magic) + (WORD)(BIAS + more)) << MANTISSA);
}

/* x = n ln 2 + r + rest, where rest is the rounding error of r. Returns n + MAGIC. */
INLINE REAL F(reduced)(REAL x, REAL *r, REAL *rest) {
    const REAL magic = FMA(x, LOG2_E, MAGIC), n = magic - MAGIC, high = FMA(n, -LN2_HIGH, x);
    *r = FMA(n, -LN2_LOW, high);
    *rest = FMA(n, -LN2_LOW, high - *r);
    return magic;
}

/* e^(r + rest) - 1 = high + low, where high is r + r^2 / 2, rounded. */
INLINE REAL F(series)(REAL r, REAL rest, REAL *low) {
    const REAL half = (REAL)0.5 * r, high = FMA(half, r, r);
    *low = FMA(r * r * r, EXP_POLYNOMIAL(r), FMA(half, r, r - high) + rest);
    return high;
}

/* e^x and its rounding error. Scaled by a power of two and back, so that subnormal results are rounded once and large
   ones do not overflow. */
INLINE REAL F(exp_parts)(REAL x, REAL *lost) {
    const REAL bounded = x > EXP_MOST ? EXP_MOST : x < EXP_LEAST ? EXP_LEAST : x;
    REAL r, rest;
    const REAL magic = F(reduced)(bounded, &r, &rest);
    const REAL small = FMA(r * r, FMA(EXP_POLYNOMIAL(r), r, (REAL)0.5), rest);
    const REAL high = 1 + r, low = 1 - high + r + small, y = high + low;
    const REAL scale = F(power)(magic, x < 0 ? 64 : -64), back = x < 0 ? (REAL)0x1p-64 : (REAL)0x1p64;
    *lost = (low - (y - high)) * scale * back;
    return y * scale * back;
}

INLINE REAL F(exp)(REAL x) {
    REAL lost;
    return F(exp_parts)(x, &lost);
}

/* e^x for x <= 0, with an error below 1 ulp. Scaled by 2^64 and back, so that subnormal results are rounded once. */
INLINE REAL F(decay)(REAL x) {
    REAL r, rest;
    const REAL magic = F(reduced)(x < EXP_LEAST ? EXP_LEAST : x, &r, &rest);
    const REAL y = FMA(FMA(r, FMA(EXP_POLYNOMIAL(r), r, (REAL)0.5), 1), r, 1);
    return y * F(power)(magic, 64) * (REAL)0x1p-64;
}

/* 2^n (e^r - 1) + (2^n - 1), computed as twice the halves of both, because 2^n may overflow. */
INLINE REAL F(expm1)(REAL x) {
    const REAL bounded = x > EXP_MOST ? EXP_MOST : x < EXPM1_LEAST ? EXPM1_LEAST : x;
    REAL r, rest, low;
    const REAL magic = F(reduced)(bounded, &r, &rest), half = F(power)(magic, -1), c = half - (REAL)0.5;
    const REAL w = F(series)(r, rest, &low), high = FMA(half, w, c);
    const REAL y = 2 * (high + FMA(half, low, FMA(half, w, c - high)));
    return ABS(x) < (REAL)0x1p-60 ? x : y;
}

/* k ln 2 + log(1 + f + rest), with 1 + f between sqrt(1/2) and sqrt 2, and s = f / (f + 2). It is
   k ln 2 + f - f^2 / 2, its rounding errors, and a tail; rest / (1 + f) is nearly rest (1 - s)^2. */
INLINE REAL F(log_of)(REAL k, REAL f, REAL rest) {
    const REAL s = f / (f + 2), z = s * s, half = (REAL)0.5 * f, square = half * f, lost = FMA(half, f, -square);
    const REAL part = FMA(-s, rest, rest), small = FMA(k, LN2_LOW, FMA(-s, part, part) - lost);
    const REAL tail = FMA(s, FMA(z, LOG_POLYNOMIAL(z), square), small);
    const REAL first = FMA(k, LN2_HIGH, f), high = first - square;
    return high + (FMA(k, LN2_HIGH, -first) + f + (first - high - square) + tail);
}

/* The exponent k of a normal number u = 2^k (1 + f). */
INLINE SIGNED F(exponent)(REAL u) { return (SIGNED)(F(to_bits)(u) - F(to_bits)((REAL)0x1.6a09e6p-1)) >> MANTISSA; }

/* A small integer as a REAL, without a conversion: its bits are added to those of MAGIC. */
INLINE REAL F(whole)(SIGNED k) { return F(from_bits)(F(to_bits)(MAGIC) + (WORD)k) - MAGIC; }

INLINE REAL F(log)(REAL x) {
    const int tiny = x < SMALLEST_NORMAL;
    const REAL u = tiny ? x * ((WORD)1 << MANTISSA) : x;
    const SIGNED k = F(exponent)(u);
    const REAL f = F(from_bits)(F(to_bits)(u) - ((WORD)k << MANTISSA)) - 1;
    const REAL y = F(log_of)(F(whole)(k) - (tiny ? MANTISSA : 0), f, 0);
    return x > 0 ? (x - x == 0 ? y : x) : x == 0 ? -INFINITY : NAN;
}

/* log(1 + x + rest) from 1 + x, rounded, and its rounding error. For k > 64 the error is negligible. */
INLINE REAL F(log1p_of)(REAL x, REAL rest) {
    const REAL u = 1 + x, lost = x - (u - 1) + rest;
    const SIGNED k = F(exponent)(u);
    const REAL f = F(from_bits)(F(to_bits)(u) - ((WORD)k << MANTISSA)) - 1;
    const REAL scale = F(from_bits)(k > 64 ? 0 : F(to_bits)((REAL)1) - ((WORD)k << MANTISSA));
    const REAL y = F(log_of)(F(whole)(k), f, lost * scale);
    return u == 1 || u - u != 0 ? x : y;
}

INLINE REAL F(log1p)(REAL x) {
    const REAL y = F(log1p_of)(x, 0);
    return x > -1 ? y : x == -1 ? -INFINITY : NAN;
}

/* log(1 + e^x), with the rounding error of the exponential taken into account. */
INLINE REAL F(log1p_exp)(REAL x) {
    REAL rest;
    const REAL e = F(exp_parts)(x, &rest);
    return F(log1p_of)(e, rest);
}

/* 1 / (1 + e^-x), from e^-|x|, which does not overflow. It gives the smaller of sigmoid x and sigmoid -x; 1 minus it
   has a small error, too. */
INLINE REAL F(sigmoid)(REAL x) {
    const REAL e = F(decay)(-ABS(x)), q = e / (1 + e);
    return x < 0 ? q : 1 - q;
}

/* a / (a + c) for a >= 0, c > 0: the rounded quotient q, corrected by the rounding errors of quotient and sum;
   1 / (a + c) is nearly (1 - q) / c. */
INLINE REAL F(share)(REAL a, REAL c) {
    const REAL d = a + c, lost = a - (d - c), q = a / d;
    return FMA(FMA(-q, lost, FMA(-q, d, a)), (1 - q) * (1 / c), q);
}

/* (e^2|x| - 1) / (e^2|x| + 1). With e^2|x| = 2^n (1 + w) and m = 2^-n it is (1 - m + w) / (1 + m + w), corrected by the
   rounding errors of both. */
INLINE REAL F(tanh)(REAL x) {
    const REAL a = ABS(x);
    REAL r, rest, low;
    const REAL magic = F(reduced)(2 * (a > TANH_MOST ? TANH_MOST : a), &r, &rest), m = F(power)(2 * MAGIC - magic, 0);
    const REAL high = F(series)(r, rest, &low), w = high + low, w_low = low - (w - high);
    const REAL minus = 1 - m, over = minus + w, over_low = w - (over - minus) + (w_low + (1 - minus - m));
    const REAL plus = 1 + m, under = plus + w, under_low = w - (under - plus) + (w_low + (m - (plus - 1)));
    const REAL inverse = 1 / under, q = over * inverse;
    return SIGN_OF(FMA(FMA(-q, under, over) + FMA(-q, under_low, over_low), inverse, q), x);
}

/* erfc |x| = e^(-x^2) Q / (|x| + 3), corrected by the rounding error of the square. */
INLINE REAL F(erfc_of_size)(REAL x) {
    const REAL a = ABS(x) > ERFC_MOST ? ERFC_MOST : ABS(x), lost = FMA(a, -a, a * a);
    const REAL over = 1 / (a + 3), q = FMA(over, -6, 1), scaled = ERFC_POLYNOMIAL(q) * over;
    return F(decay)(-(x * x)) * FMA(scaled, lost, scaled);
}

INLINE REAL F(erfc)(REAL x) {
    const REAL y = F(erfc_of_size)(x);
    return x < 0 ? 2 - y : y;
}

/* An odd polynomial for |x| < 1, else from erfc. */
INLINE REAL F(erf)(REAL x) {
    const REAL z = x * x, near = FMA(x, ERF_POLYNOMIAL(z), x);
    return ABS(x) < 1 ? near : SIGN_OF(1 - F(erfc_of_size)(x), x);
}

#undef REAL
#undef WORD
#undef SIGNED
#undef F
#undef FMA
#undef ABS
#undef SIGN_OF
#undef SQRT
#undef MANTISSA
#undef BIAS
#undef MAGIC
#undef LOG2_E
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_MOST
#undef EXP_LEAST
#undef EXPM1_LEAST
#undef ERFC_MOST
#undef TANH_MOST
#undef SMALLEST_NORMAL
#undef EXP_POLYNOMIAL
#undef LOG_POLYNOMIAL
#undef ERF_POLYNOMIAL
#undef ERFC_POLYNOMIAL
