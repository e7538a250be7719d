/* AVX-512: two registers make one group of virtual lanes. */
#include "../compiler.h"
#include "../simd/avx512.h"

#define FL_TABLE avx512
#include "../kernels/table.h"
