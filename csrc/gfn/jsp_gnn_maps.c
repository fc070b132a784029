/* jsp_gnn_maps.c - products of weights and their way back. */
#include "jsp_gnn_maps.h"

#include <string.h>

#include "jsp_kernels.h"

enum { H = JSP_GNN_WIDTH, ROWS = H + 1, MAP = ROWS * H };

/* The cache: for each of query, key and value the second layer of the node update with its
 * bias as last row, whose place takes its own gradient; its product with a third of the
 * projection; and scratch; [129, 128] each. */
enum { CACHE = 3 * 3 * MAP };

typedef struct map_cache {
    jsp_real *node, *third, *work;
} map_cache;

static map_cache place_cache(jsp_real *block, int task) {
    jsp_real *first = block + task * 3 * MAP;
    return (map_cache){first, first + MAP, first + 2 * MAP};
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

/* y = x W, with b added to the last row; rows of W are w_row apart */
static void multiply(const jsp_real *x, const jsp_real *W, size_t w_row,
                     const jsp_real *b, jsp_real *y) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->product(ROWS, H, H, x, H, 1, W, w_row, 0, y, H);
    kernels->add(H, b, y + H * H);
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
                          const jsp_gnn_maps *maps, jsp_real *cache, int task) {
    const jsp_linear *node = &gnn->graphnet.node[1], *projection = &gnn->projection;
    const jsp_linear *last[3] = {&gnn->query, &gnn->key, &gnn->value};
    jsp_real *result[3] = {maps->query, maps->key, maps->value};
    if (task == 3) {
        forward_pair(gnn, params, maps);
        return;
    }
    const map_cache c = place_cache(cache, task);
    memcpy(c.node, params + node->weight, H * H * sizeof *c.node);
    memcpy(c.node + H * H, params + node->bias, H * sizeof *c.node);
    multiply(c.node, params + projection->weight + task * H, 3 * H,
             params + projection->bias + task * H, c.third);
    multiply(c.third, params + last[task]->weight, H, params + last[task]->bias,
             result[task]);
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
                           jsp_real *d_params, int task) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *projection = &gnn->projection;
    const jsp_linear *last[3] = {&gnn->query, &gnn->key, &gnn->value};
    const jsp_real *d_result[3] = {d_maps->query, d_maps->key, d_maps->value};
    if (task == 3) {
        backward_pair(gnn, params, d_maps, d_params);
        return;
    }
    const map_cache c = place_cache(cache, task);
    const jsp_real *dy = d_result[task];
    const size_t columns = (size_t)(task * H);
    jsp_real *d_third = c.work, *turned = c.third;
    kernels->dense_backward_weight(ROWS, H, H, c.third, dy,
                                   d_params + last[task]->weight, NULL);
    kernels->add(H, dy + H * H, d_params + last[task]->bias);
    kernels->dense_backward_input(ROWS, H, H, dy, params + last[task]->weight, 0,
                                  d_third);
    kernels->product(H, ROWS, H, c.node, 1, H, d_third, H, 1,
                     d_params + projection->weight + columns, 3 * H);
    kernels->add(H, d_third + H * H, d_params + projection->bias + columns);
    kernels->transpose(H, H, params + projection->weight + columns, 3 * H, turned, H);
    kernels->product(ROWS, H, H, d_third, H, 1, turned, H, 0, c.node, H);
}

void jsp_gnn_maps_backward_finish(const jsp_gnn *gnn, jsp_real *cache,
                                  jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *node = &gnn->graphnet.node[1];
    for (int task = 0; task < 3; task++) {
        const jsp_real *d_node = place_cache(cache, task).node;
        kernels->add(H * H, d_node, d_params + node->weight);
        kernels->add(H, d_node + H * H, d_params + node->bias);
    }
}
