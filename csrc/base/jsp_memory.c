/* jsp_memory.c - aligned, zeroed blocks, large pages for large ones, a count of live
 * blocks, and a planned failure.
 *
 * The count and the fault are atomic because independent objects may be created from
 * several threads. They are the only mutable globals of this folder and exist for
 * tests; two relaxed operations per allocation cost nothing next to clearing the
 * memory. */
#include "jsp_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "jsp_cpu.h"

#define JSP_MEMORY_ALIGNMENT ((size_t)64) /* a cache line, and the widest vector */

static atomic_long live_blocks;
static atomic_long allocations_to_fault; /* 1 = the next one fails, 0 = off */

/* Counts down towards the planned failure; 1 when it is this allocation's turn. */
static int is_planned_to_fail(void) {
    long left = atomic_load(&allocations_to_fault);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&allocations_to_fault, &left, left - 1)) {
            return left == 1;
        }
    }
    return 0;
}

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

/* Large blocks start on a large page and ask for every one of which they fill at least
 * half: more would waste memory. */
static void *allocate(size_t bytes) {
    const size_t page = JSP_CPU_LARGE_PAGE;
    if (bytes < page / 2 || bytes > SIZE_MAX - page)
        return aligned_alloc(JSP_MEMORY_ALIGNMENT, bytes);
    void *pointer = aligned_alloc(page, round_up(bytes, page));
    if (pointer) jsp_cpu_want_large_pages(pointer, (bytes + page / 2) / page * page);
    return pointer;
}

void *jsp_memory_alloc(size_t count, size_t size) {
    if (is_planned_to_fail()) return NULL;
    if (size != 0 && count > (SIZE_MAX - JSP_MEMORY_ALIGNMENT) / size) return NULL;
    size_t bytes = count * size;
    if (bytes == 0) bytes = 1;
    /* aligned_alloc wants a multiple of the alignment */
    bytes = jsp_memory_pad(bytes);
    void *pointer = allocate(bytes);
    if (!pointer) return NULL;
    memset(pointer, 0, bytes);
    atomic_fetch_add(&live_blocks, 1);
    return pointer;
}

void jsp_memory_free(void *pointer) {
    if (!pointer) return;
    atomic_fetch_sub(&live_blocks, 1);
    free(pointer);
}

size_t jsp_memory_pad(size_t bytes) {
    return round_up(bytes, JSP_MEMORY_ALIGNMENT);
}

void *jsp_memory_take(char **cursor, size_t bytes) {
    void *here = *cursor;
    *cursor += jsp_memory_pad(bytes);
    return here;
}

long jsp_memory_fail_at(long n) {
    return atomic_exchange(&allocations_to_fault, n);
}

long jsp_memory_live(void) {
    return atomic_load(&live_blocks);
}
