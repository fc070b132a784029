/* jsp_cpu.h - what instruction sets this processor and operating system offer. */
#ifndef JSP_CPU_H
#define JSP_CPU_H

/* 1 when AVX2 and FMA can be used. */
int jsp_cpu_has_avx2(void);

/* 1 when AVX-512 F, DQ, BW and VL can be used. */
int jsp_cpu_has_avx512(void);

#endif
