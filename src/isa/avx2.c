/* AVX2 and FMA: four registers make one group of virtual lanes. */
#include "../compiler.h"
#include "../simd/avx2.h"

#define FL_TABLE avx2
#include "../kernels/table.h"
