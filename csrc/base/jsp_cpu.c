/* jsp_cpu.c - asking the processor and the operating system. The compiler's run-time
 * library reads cpuid and, for the wide registers, xgetbv (whether the operating system
 * saves them on a switch). Large pages are asked for where madvise knows them (Linux). */
#define _DEFAULT_SOURCE /* nanosleep, clock_gettime, madvise */

#include "jsp_cpu.h"

#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))

int jsp_cpu_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

int jsp_cpu_has_avx512(void) {
    __builtin_cpu_init();
    return jsp_cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

void jsp_cpu_pause(void) {
    __builtin_ia32_pause();
}

#else

int jsp_cpu_has_avx2(void) {
    return 0;
}

int jsp_cpu_has_avx512(void) {
    return 0;
}

void jsp_cpu_pause(void) {}

#endif

void jsp_cpu_want_large_pages(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
    madvise(p, bytes, MADV_HUGEPAGE); /* refused where there are none: nothing lost */
#else
    (void)p;
    (void)bytes;
#endif
}

void jsp_cpu_yield(void) {
    sched_yield();
}

void jsp_cpu_nap(int microseconds) {
    struct timespec time = {0, 1000L * microseconds};
    nanosleep(&time, NULL);
}

double jsp_cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

long jsp_cpu_process(void) {
    return (long)getpid();
}
