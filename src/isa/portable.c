/* Eight vectors of 16 bytes make one group of virtual lanes. */
#include "../compiler.h"
#include "../simd/portable.h"

#define FL_TABLE portable
#include "../kernels/table.h"
