/*
 * Which tables this machine can run: the CPU must have the instructions (cpuid) and the
 * operating system must save their registers (xgetbv).
 */
#include "fastlogits.h"

#ifdef FASTLOGITS_X86
#include <cpuid.h>

/* Bits of cpuid leaf 1 (ecx), leaf 7 (ebx), and of the extended control register 0. */
enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 };
enum { AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512CD = 1 << 28 };
#define AVX512BW (1u << 30)
#define AVX512VL (1u << 31)
enum { XMM = 1 << 1, YMM = 1 << 2, OPMASK_AND_ZMM = 7 << 5 };

static int has_all(unsigned have, unsigned want) { return (have & want) == want; }

static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int runs_avx2(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && has_all(c, OSXSAVE | AVX | FMA | F16C) &&
           has_all(saved_registers(), XMM | YMM) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           has_all(b, AVX2);
}

static int runs_avx512(void)
{
    unsigned a, b, c, d;
    return runs_avx2() && has_all(saved_registers(), OPMASK_AND_ZMM) &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           has_all(b, AVX512F | AVX512DQ | AVX512CD | AVX512BW | AVX512VL);
}
#endif

static int runs_portable(void) { return 1; }

int fl_tables(const fl_table *const **tables)
{
    static const fl_table *found[FL_MOST_TABLES];
    int n = 0;
#define FL_FIND(name)                                                                              \
    if (runs_##name())                                                                             \
        found[n++] = &fl_table_##name;
    FL_TABLES(FL_FIND)
    *tables = found;
    return n;
}
