/* jsp_arena.h - step memory: one block per shard, sized in advance, reset each step. */
#ifndef JSP_ARENA_H
#define JSP_ARENA_H

#include "jsp_status.h"

typedef struct jsp_arena {
    char *base; /* owned, 64-byte aligned */
    size_t capacity;
    size_t used;
} jsp_arena;

/* Allocates `capacity` bytes. On failure the arena is empty and may be destroyed. */
jsp_status jsp_arena_create(jsp_arena *arena, size_t capacity, jsp_error *error);

/* Frees the block; an all-zero arena is allowed. */
void jsp_arena_destroy(jsp_arena *arena);

/* The next `count * size` bytes, aligned to 64 and not cleared; NULL when it does
 * not fit. */
void *jsp_arena_take(jsp_arena *arena, size_t count, size_t size);

/* Bytes that jsp_arena_take(count, size) uses up, alignment included: sum these to
 * size an arena. */
size_t jsp_arena_size(size_t count, size_t size);

/* Makes the whole block available again. */
void jsp_arena_reset(jsp_arena *arena);

#endif
