/* The size of the processor's largest cache, which stream.h needs. Python sets it when it loads the library. */

#include <stdint.h>

int64_t largest_cache = 32 << 20; /* in bytes */
void know_cache(int64_t bytes) { largest_cache = bytes; }
