/* Plain C: eight small arrays make one group of virtual lanes. */
#include "../compiler.h"
#include "../simd/portable.h"

#define FL_TABLE portable
#include "../kernels/table.h"
