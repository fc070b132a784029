/* jsp_cpu.h - what this processor and operating system offer: instruction sets, polite
 * ways to wait, hints, and the number of the process. */
#ifndef JSP_CPU_H
#define JSP_CPU_H

#include <stddef.h>

/* Bytes of a large page of memory. */
#define JSP_CPU_LARGE_PAGE ((size_t)1 << 21)

/* Has the cache line of `p` fetched while the program goes on; a hint. */
static inline void jsp_cpu_prefetch(const void *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    (void)p;
#endif
}

/* 1 when AVX2 and FMA can be used. */
int jsp_cpu_has_avx2(void);

/* 1 when AVX-512 F, DQ, BW and VL can be used. */
int jsp_cpu_has_avx512(void);

/* Asks for large pages behind p, which starts on one; a hint. What does not fit into
 * the caches is read faster: there are fewer addresses to translate. */
void jsp_cpu_want_large_pages(void *p, size_t bytes);

/* Tells the processor that this is a polling loop: a few dozen cycles of rest. */
void jsp_cpu_pause(void);

/* Offers the rest of the time slice to other threads and processes. */
void jsp_cpu_yield(void);

/* Sleeps for about this long. */
void jsp_cpu_nap(int microseconds);

/* Seconds on a clock that never goes back, for profiles only. */
double jsp_cpu_seconds(void);

/* Number of this process; a forked child has another one. */
long jsp_cpu_process(void);

#endif
