/* jsp_attention.c - attention, graph by graph and head by head.
 *
 * A head is a set of columns, so every product takes the rows of the whole matrix with
 * their distance H; only keys (forward) and values (backward) are transposed, once per
 * graph for all heads. The weights of a graph are normalised in one call. */
#include "jsp_attention.h"

#include <assert.h>
#include <math.h>

#include "jsp_kernels.h"

size_t jsp_attention_scratch_size(int D, int H, int n_heads) {
    return (size_t)D * (size_t)H + (size_t)n_heads * (size_t)D * (size_t)D;
}

void jsp_attention_forward(int B, int D, int H, int n_heads, const jsp_real *query,
                           const jsp_real *key, const jsp_real *value,
                           jsp_real *weights, jsp_real *out, jsp_real *scratch) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int width = H / n_heads;
    const size_t nodes = (size_t)D, row = (size_t)H, columns = (size_t)width;
    const jsp_real factor = (jsp_real)(1 / sqrt((double)width));
    assert(width * n_heads == H);
    for (int b = 0; b < B; b++) {
        kernels->transpose(D, H, key, row, scratch, nodes);
        for (size_t h = 0; h < (size_t)n_heads; h++) {
            kernels->product(D, width, D, query + h * columns, row, 1,
                             scratch + h * columns * nodes, nodes, 0,
                             weights + h * nodes * nodes, nodes);
        }
        kernels->softmax_rows(n_heads * D, D, factor, weights, weights);
        for (size_t h = 0; h < (size_t)n_heads; h++) {
            kernels->product(D, D, width, weights + h * nodes * nodes, nodes, 1,
                             value + h * columns, row, 0, out + h * columns, row);
        }
        query += nodes * row, key += nodes * row, value += nodes * row;
        out += nodes * row;
        weights += (size_t)n_heads * nodes * nodes;
    }
}

void jsp_attention_backward(int B, int D, int H, int n_heads, const jsp_real *query,
                            const jsp_real *key, const jsp_real *value,
                            const jsp_real *weights, const jsp_real *d_out,
                            jsp_real *d_query, jsp_real *d_key, jsp_real *d_value,
                            jsp_real *scratch) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int width = H / n_heads;
    const size_t nodes = (size_t)D, row = (size_t)H, columns = (size_t)width;
    const jsp_real factor = (jsp_real)(1 / sqrt((double)width));
    jsp_real *d_weights = scratch + nodes * row;
    for (int b = 0; b < B; b++) {
        kernels->transpose(D, H, value, row, scratch, nodes);
        for (size_t h = 0; h < (size_t)n_heads; h++) {
            const size_t square = h * nodes * nodes, first = h * columns;
            kernels->product(D, width, D, d_out + first, row, 1,
                             scratch + first * nodes, nodes, 0, d_weights + square,
                             nodes);
            kernels->product(D, D, width, weights + square, 1, nodes, d_out + first,
                             row, 0, d_value + first, row);
        }
        /* from here on d_weights are gradients of the scores before the factor */
        kernels->softmax_rows_backward(n_heads * D, D, factor, weights, d_weights,
                                       d_weights);
        for (size_t h = 0; h < (size_t)n_heads; h++) {
            const jsp_real *d_scores = d_weights + h * nodes * nodes;
            const size_t first = h * columns;
            kernels->product(D, D, width, d_scores, nodes, 1, key + first, row, 0,
                             d_query + first, row);
            kernels->product(D, D, width, d_scores, 1, nodes, query + first, row, 0,
                             d_key + first, row);
        }
        query += nodes * row, key += nodes * row, value += nodes * row;
        d_query += nodes * row, d_key += nodes * row, d_value += nodes * row;
        d_out += nodes * row;
        weights += (size_t)n_heads * nodes * nodes;
    }
}
