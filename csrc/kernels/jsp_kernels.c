/* jsp_kernels.c - which table is in use.
 *
 * The choice is made at the first question and kept in one atomic pointer: two threads
 * that ask first at the same time find the same answer. */
#include "jsp_kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "jsp_cpu.h"
#include "jsp_kernels_tables.h"

#define MAX_TABLES 3

static _Atomic(const jsp_kernels *) active_table;

/* The k-th table that can run here, the narrowest first; NULL after the last. */
static const jsp_kernels *find_table(int k) {
    const jsp_kernels *found[MAX_TABLES];
    int n = 0;
    found[n++] = &jsp_kernels_base;
#if JSP_KERNELS_X86
    if (jsp_cpu_has_avx2()) found[n++] = &jsp_kernels_avx2;
    if (jsp_cpu_has_avx512()) found[n++] = &jsp_kernels_avx512;
#endif
    return k >= 0 && k < n ? found[k] : NULL;
}

static const jsp_kernels *find_widest(void) {
    int k = 0;
    while (find_table(k + 1)) k++;
    return find_table(k);
}

const jsp_kernels *jsp_kernels_active(void) {
    const jsp_kernels *table =
        atomic_load_explicit(&active_table, memory_order_acquire);
    if (!table) {
        table = find_widest();
        atomic_store_explicit(&active_table, table, memory_order_release);
    }
    return table;
}

int jsp_kernels_select(const char *name) {
    const jsp_kernels *table = NULL;
    if (strcmp(name, "auto") == 0) table = find_widest();
    for (int k = 0; !table && find_table(k); k++) {
        if (strcmp(name, find_table(k)->name) == 0) table = find_table(k);
    }
    if (!table) return -1;
    atomic_store_explicit(&active_table, table, memory_order_release);
    return 0;
}

const char *jsp_kernels_available(int k) {
    const jsp_kernels *table = find_table(k);
    return table ? table->name : NULL;
}
