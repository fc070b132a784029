/* jsp_gnn_maps.c - products of weights and their way back. */
#include "jsp_gnn_maps.h"

#include <string.h>

#include "jsp_kernels.h"

enum { H = JSP_GNN_WIDTH, ROWS = H + 1, MAP = ROWS * H };

/* The cache: second layer of the node update with its bias as last row [129, 128], its
 * product with the projection [129, 384], and the three thirds of that, [129, 128] each,
 * which the backward pass replaces by their gradients. */
enum { CACHE = MAP + 3 * MAP + 3 * MAP };

typedef struct map_cache {
    jsp_real *node, *projected, *third[3];
} map_cache;

static map_cache place_cache(jsp_real *block) {
    jsp_real *thirds = block + 4 * MAP;
    return (map_cache){block, block + MAP, {thirds, thirds + MAP, thirds + 2 * MAP}};
}

size_t jsp_gnn_maps_size(void) {
    return (size_t)(4 * MAP + H +
                    16); /* + 16: one number, and the next block aligned */
}

size_t jsp_gnn_maps_cache_size(void) {
    return CACHE;
}

jsp_gnn_maps jsp_gnn_maps_place(jsp_real *block) {
    return (jsp_gnn_maps){block, block + MAP, block + 2 * MAP, block + 3 * MAP,
                          block + 4 * MAP};
}

/* y = x W, with b added to the last row */
static void multiply(const jsp_real *x, const jsp_real *W, const jsp_real *b, int n_out,
                     jsp_real *y) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->dense_forward(ROWS, H, n_out, x, W, NULL, NULL, 0, NULL, y);
    kernels->add((size_t)n_out, b, y + H * n_out);
}

static void forward_pair(const jsp_gnn *gnn, const jsp_real *params,
                         const jsp_gnn_maps *maps) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *sender = &gnn->sender[1], *receiver = &gnn->receiver[1];
    const jsp_real *W = params + receiver->weight, *b = params + receiver->bias;
    kernels->dense_backward_input(H, H, H, params + sender->weight, W, 0, maps->pair);
    kernels->dense_backward_input(1, H, H, params + sender->bias, W, 0,
                                  maps->pair + H * H);
    kernels->rows_dot(H, H, params + sender->weight, b, maps->pair_sender);
}

void jsp_gnn_maps_forward(const jsp_gnn *gnn, const jsp_real *params,
                          const jsp_gnn_maps *maps, jsp_real *cache) {
    const map_cache c = place_cache(cache);
    const jsp_linear *node = &gnn->graphnet.node[1];
    const jsp_linear *last[3] = {&gnn->query, &gnn->key, &gnn->value};
    jsp_real *result[3] = {maps->query, maps->key, maps->value};
    memcpy(c.node, params + node->weight, H * H * sizeof *c.node);
    memcpy(c.node + H * H, params + node->bias, H * sizeof *c.node);
    multiply(c.node, params + gnn->projection.weight, params + gnn->projection.bias,
             3 * H, c.projected);
    for (int t = 0; t < 3; t++) {
        for (int row = 0; row < ROWS; row++) {
            memcpy(c.third[t] + row * H, c.projected + (row * 3 + t) * H,
                   H * sizeof *c.third[t]);
        }
        multiply(c.third[t], params + last[t]->weight, params + last[t]->bias, H,
                 result[t]);
    }
    forward_pair(gnn, params, maps);
}

/* dW += a db^T for a column of n numbers and a row of H */
static void add_outer(int n, const jsp_real *column, const jsp_real *row,
                      jsp_real *dW) {
    jsp_kernels_active()->product(n, 1, H, column, 1, 1, row, H, 1, dW, H);
}

static void backward_pair(const jsp_gnn *gnn, const jsp_real *params,
                          const jsp_gnn_maps *d_maps, jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *sender = &gnn->sender[1], *receiver = &gnn->receiver[1];
    const jsp_real *W_s = params + sender->weight, *b_s = params + sender->bias;
    const jsp_real *W_r = params + receiver->weight, *b_r = params + receiver->bias;
    const jsp_real *d_matrix = d_maps->pair, *d_row = d_matrix + H * H;
    const jsp_real *d_column = d_maps->pair_sender;
    jsp_real *dW_s = d_params + sender->weight, *db_s = d_params + sender->bias;
    jsp_real *dW_r = d_params + receiver->weight, *db_r = d_params + receiver->bias;
    /* P = W_s W_r^T */
    kernels->product(H, H, H, d_matrix, H, 1, W_r, H, 1, dW_s, H);
    kernels->product(H, H, H, d_matrix, 1, H, W_s, H, 1, dW_r, H);
    /* p = W_r b_s */
    kernels->rows_weighted_sum(H, H, W_r, d_row, db_s);
    add_outer(H, d_row, b_s, dW_r);
    /* u = W_s b_r */
    kernels->rows_weighted_sum(H, H, W_s, d_column, db_r);
    add_outer(H, d_column, b_r, dW_s);
}

void jsp_gnn_maps_backward(const jsp_gnn *gnn, const jsp_real *params,
                           const jsp_gnn_maps *d_maps, jsp_real *cache,
                           jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const map_cache c = place_cache(cache);
    const jsp_linear *node = &gnn->graphnet.node[1], *projection = &gnn->projection;
    const jsp_linear *last[3] = {&gnn->query, &gnn->key, &gnn->value};
    const jsp_real *d_result[3] = {d_maps->query, d_maps->key, d_maps->value};
    jsp_real *d_projected =
        c.projected; /* not needed any more: the thirds are copies */
    for (int t = 0; t < 3; t++) {
        kernels->dense_backward_weight(ROWS, H, H, c.third[t], d_result[t],
                                       d_params + last[t]->weight, NULL);
        kernels->add(H, d_result[t] + H * H, d_params + last[t]->bias);
        jsp_real *d_third = c.third[t];
        kernels->dense_backward_input(ROWS, H, H, d_result[t], params + last[t]->weight,
                                      0, d_third);
        for (int row = 0; row < ROWS; row++) {
            memcpy(d_projected + (row * 3 + t) * H, d_third + row * H,
                   H * sizeof *d_third);
        }
    }
    kernels->dense_backward_weight(ROWS, H, 3 * H, c.node, d_projected,
                                   d_params + projection->weight, NULL);
    kernels->add(3 * H, d_projected + H * 3 * H, d_params + projection->bias);
    jsp_real *d_node = c.third[0];
    kernels->dense_backward_input(ROWS, H, 3 * H, d_projected,
                                  params + projection->weight, 0, d_node);
    kernels->add(H * H, d_node, d_params + node->weight);
    kernels->add(H, d_node + H * H, d_params + node->bias);
    backward_pair(gnn, params, d_maps, d_params);
}
