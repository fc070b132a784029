/* jsp_places.h - one block of memory for many arrays. A function that takes all pieces runs
 * twice: with base NULL it adds up their sizes, with the block it places them. */
#ifndef JSP_PLACES_H
#define JSP_PLACES_H

#include "jspgfn.h"

typedef struct jsp_places {
    char *base; /* NULL = measure only; aligned to 64 bytes */
    size_t used;
} jsp_places;

/* The next count * size bytes, on a cache line of their own. */
static inline void *jsp_places_take(jsp_places *places, size_t count, size_t size) {
    void *piece = places->base ? places->base + places->used : NULL;
    places->used += (count * size + 63) / 64 * 64;
    return piece;
}

#endif
