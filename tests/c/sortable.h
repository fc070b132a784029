/* sortable.h - whether a graph is acyclic, found independently of the core. */
#ifndef SORTABLE_H
#define SORTABLE_H

#include "jspgfn.h"

/* Sorts by repeatedly removing a node without incoming edges. */
static inline int is_sortable(int D, const uint8_t *graph) {
    int done[JSP_MAX_VARIABLES] = {0};
    for (int removed = 0; removed < D; removed++) {
        int next = -1;
        for (int j = 0; j < D && next < 0; j++) {
            int free = !done[j];
            for (int i = 0; i < D; i++) free &= done[i] || !graph[i * D + j];
            if (free) next = j;
        }
        if (next < 0) return 0;
        done[next] = 1;
    }
    return 1;
}

#endif
