/* jsp_kernels_tables.h - the table of each instruction set, for jsp_kernels.c only.
 *
 * JSP_KERNELS_X86 says whether this build has the AVX tables: 64-bit x86, gcc or
 * clang, float numbers. The double build exists to check gradients and has the base
 * table only. */
#ifndef JSP_KERNELS_TABLES_H
#define JSP_KERNELS_TABLES_H

#include <string.h>

#include "jsp_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(JSP_REAL_DOUBLE)
#define JSP_KERNELS_X86 1
#else
#define JSP_KERNELS_X86 0
#endif

extern const jsp_kernels jsp_kernels_base;
#if JSP_KERNELS_X86
extern const jsp_kernels jsp_kernels_avx2;
extern const jsp_kernels jsp_kernels_avx512;
#endif

#endif
