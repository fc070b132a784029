#include "jsp_edges_transfer.h"

#include <string.h>

/* The slot of the pair {a, b}, or -1. */
static int find_slot(const jsp_edges *edges, int a, int b) {
    for (int p = 0; p < edges->n_slots; p++) {
        if (edges->slot[p].a == a && edges->slot[p].b == b) return p;
    }
    return -1;
}

/* Rows of both directions of one slot in a tensor of rows of `width`. */
static void copy_slot(const jsp_real *source, int p, jsp_real *target, int q,
                      size_t width) {
    memcpy(target + 2 * (size_t)q * width, source + 2 * (size_t)p * width,
           2 * width * sizeof *target);
}

/* 1 for the tensors with one row per direction of a slot. */
static int is_of_slots(const jsp_edges *edges, size_t offset) {
    const jsp_edges_tensors *tensor = &edges->tensor;
    return offset == tensor->edge_embedding || offset == tensor->pair_output ||
           offset == tensor->pair_bias ||
           (edges->is_large && offset == tensor->pair_embedding);
}

void jsp_edges_transfer(const jsp_edges *from, const jsp_real *source,
                        const jsp_edges *to, jsp_real *target) {
    for (int k = 0; k < to->layout.n_tensors; k++) {
        const jsp_params_tensor *old = &from->layout.tensor[k];
        const jsp_params_tensor *new = &to->layout.tensor[k];
        const size_t rows = (size_t) new->shape[0], width = (size_t) new->shape[1];
        if (!is_of_slots(to, new->offset)) {
            memcpy(target + new->offset, source + old->offset,
                   rows * width * sizeof *target);
            continue;
        }
        for (int q = 0; q < to->n_slots; q++) {
            int p = find_slot(from, to->slot[q].a, to->slot[q].b);
            if (p < 0) continue;
            copy_slot(source + old->offset, p, target + new->offset, q, width);
        }
    }
}
