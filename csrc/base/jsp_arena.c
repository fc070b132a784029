/* jsp_arena.c - a bump allocator. Every piece starts on a 64-byte boundary, so pieces
 * never share a cache line and the sizes of pieces simply add up. */
#include "jsp_arena.h"

#include "jsp_memory.h"

#define JSP_ARENA_ALIGNMENT ((size_t)64)

jsp_status jsp_arena_create(jsp_arena *arena, size_t capacity, jsp_error *error) {
    *arena = (jsp_arena){0};
    arena->base = jsp_memory_alloc(capacity, 1);
    if (!arena->base) return jsp_status_no_memory(error, capacity, "step memory");
    arena->capacity = capacity;
    return JSP_OK;
}

void jsp_arena_destroy(jsp_arena *arena) {
    if (!arena) return;
    jsp_memory_free(arena->base);
    *arena = (jsp_arena){0};
}

void *jsp_arena_take(jsp_arena *arena, size_t count, size_t size) {
    size_t bytes = jsp_arena_size(count, size);
    if (!arena->base || bytes > arena->capacity - arena->used) return NULL;
    void *piece = arena->base + arena->used;
    arena->used += bytes;
    return piece;
}

size_t jsp_arena_size(size_t count, size_t size) {
    /* A product that overflows becomes a size that no arena has. */
    if (size != 0 && count > (SIZE_MAX - JSP_ARENA_ALIGNMENT) / size) return SIZE_MAX;
    return (count * size + JSP_ARENA_ALIGNMENT - 1) / JSP_ARENA_ALIGNMENT *
           JSP_ARENA_ALIGNMENT;
}

void jsp_arena_reset(jsp_arena *arena) {
    arena->used = 0;
}
