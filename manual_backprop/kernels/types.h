/* Includes SOURCE once for each type: elements are STORED in memory and converted to REAL for computing. */

#define F(name) NAMED(name, STORED)
#define R(name) NAMED(name, REAL)
#define V(x) NAMED(load, STORED)(x)
#define S(x) NAMED(store, STORED)(x)

#define REAL float
#define STORED float
#include SOURCE
#undef STORED
#define STORED bfloat16
#include SOURCE
#undef STORED
#undef REAL
#define REAL double
#define STORED double
#include SOURCE
