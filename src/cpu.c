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

static void x86_features(int *avx2, int *avx512)
{
    unsigned a, b, c, d, b7, c7;
    *avx2 = *avx512 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, OSXSAVE | AVX | FMA | F16C))
        return;
    const unsigned saved = saved_registers();
    if (!has_all(saved, XMM | YMM) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
        return;
    *avx2 = has_all(b7, AVX2);
    *avx512 = *avx2 && has_all(saved, OPMASK_AND_ZMM) &&
              has_all(b7, AVX512F | AVX512DQ | AVX512CD | AVX512BW | AVX512VL);
}
#endif

int fl_tables(const fl_table *const **tables)
{
    static const fl_table *found[3];
    int n = 0;
#ifdef FASTLOGITS_X86
    int avx2, avx512;
    x86_features(&avx2, &avx512);
    if (avx512)
        found[n++] = &fl_table_avx512;
    if (avx2)
        found[n++] = &fl_table_avx2;
#endif
    found[n++] = &fl_table_portable;
    *tables = found;
    return n;
}
