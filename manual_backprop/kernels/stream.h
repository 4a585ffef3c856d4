/* Writing around the caches: for results so large that no cache would hold them until someone reads them. Nothing is
   then read from memory only to be written over, and what the caches hold stays in them. */

#define PART 64 /* numbers that are made in a cache and go out together; the place they go to begins a cache line */

#ifdef __AVX__
#include <immintrin.h>

static inline void stream(void *to, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 32)
        _mm256_stream_si256((__m256i *)((char *)to + at), _mm256_load_si256((const __m256i *)((const char *)from + at)));
}

/* After a thread's last one: others see what it has written. */
static inline void streamed(void) { _mm_sfence(); }
#else
static inline void stream(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
static inline void streamed(void) {}
#endif

extern int64_t largest_cache; /* in bytes */

/* Whether runs of n numbers at `out` go around the caches, which do not hold `count` read and written. */
#define AROUND(TYPE, out, n, count) \
    ((n) % PART == 0 && (uintptr_t)(out) % PART == 0 && 2 * (count) * (int64_t)sizeof(TYPE) >= largest_cache)

/* to[i] = f for 0 <= i < n, a multiple of PART. A little at a time, beside the computing: a whole row at once took longer
   than through the caches. */
#define PARTS(TYPE, to, n, f)                                  \
    for (int64_t first_ = 0; first_ < (n); first_ += PART) {   \
        TYPE part_[PART] __attribute__((aligned(PART)));       \
        _Pragma("omp simd")                                    \
        for (int k_ = 0; k_ < PART; k_++) {                    \
            const int64_t i = first_ + k_;                     \
            part_[k_] = f;                                     \
        }                                                      \
        stream((to) + first_, part_, sizeof part_);            \
    }
