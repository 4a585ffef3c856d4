/* What stream.h needs to know of the processor: told once, when the library is loaded. */

#include <stdint.h>

int64_t largest_cache = 32 << 20; /* in bytes */
void know_cache(int64_t bytes) { largest_cache = bytes; }
