/*
 * The C library's allocation, which can be made to fail: the n-th that the extension or NumPy asks
 * for in this thread. What Python asks for does not count, also not on NumPy's behalf: NumPy does
 * not always say that there was none. Preloaded by test_memory_failure.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static __thread long left; /* so many more, of which the last fails; 0: none fails */

/* From now on the n-th allocation fails, if there are so many. Returns what was left before. */
long fail_allocation(long n)
{
    const long before = left;
    left = n;
    return before;
}

static int counts(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname &&
           (strstr(info.dli_fname, "/_core.") || strstr(info.dli_fname, "/_multiarray_umath."));
}

static int fails(const void *caller)
{
    if (left == 0 || !counts(caller) || --left > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

#define FAILS fails(__builtin_return_address(0))
void *malloc(size_t size) { return FAILS ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return FAILS ? NULL : __libc_calloc(count, size); }
void *realloc(void *p, size_t size) { return FAILS ? NULL : __libc_realloc(p, size); }
