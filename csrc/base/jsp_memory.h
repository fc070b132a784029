/* jsp_memory.h - the only door to the heap.
 *
 * Owner objects allocate everything in _create and free it in _destroy; nothing is
 * allocated while training. Tests can make the n-th allocation fail. */
#ifndef JSP_MEMORY_H
#define JSP_MEMORY_H

#include "jspgfn.h"

/* Zeroed memory aligned to 64 bytes, or NULL. count 0 gives a pointer that may be freed.
 * The product count * size is checked for overflow. */
void *jsp_memory_alloc(size_t count, size_t size);

/* Frees memory of jsp_memory_alloc; NULL is allowed. */
void jsp_memory_free(void *pointer);

/* For several arrays in one block: bytes that an array of this size takes up there, a
 * multiple of 64, so that the next one is aligned as well. Unchecked: at most SIZE_MAX -
 * 63. */
size_t jsp_memory_pad(size_t bytes);

/* The array at *cursor of such a block; moves the cursor on by jsp_memory_pad(bytes). */
void *jsp_memory_take(char **cursor, size_t bytes);

/* For tests: the n-th allocation from now on (1 = the next) returns NULL, later ones
 * work again; 0 turns the fault off. Returns what was left to count of the last plan, 0
 * when that allocation has come. */
long jsp_memory_fail_at(long n);

/* For tests: blocks allocated and not yet freed. */
long jsp_memory_live(void);

#endif
