/* jsp_graphnet.c - the round of message passing; the algebra is explained in the header.
 *
 * The weights of a first layer act on concatenated inputs, so its rows are blocks of H,
 * one for each input; the last row belongs to the zero and is never touched (its gradient
 * is 0 as well). */
#include "jsp_graphnet.h"

#include <math.h>
#include <string.h>

#include "jsp_kernels.h"

jsp_graphnet jsp_graphnet_create(jsp_params *params, int D, int H) {
    jsp_graphnet net = {.D = D, .H = H};
    const double inner = sqrt(1.0 / H), of3 = sqrt(1.0 / (3 * H + 1)),
                 of2 = sqrt(1.0 / (2 * H + 1));
    net.embedding = jsp_params_add(params, "embed.embeddings", D, H, 1, 0);
    net.edge_vector = jsp_params_add(params, "edge_embed", 1, H, 1, 0);
    net.edge[0] = jsp_linear_create(params, "edge.linear_0.w", "edge.linear_0.b",
                                    3 * H + 1, H, of3);
    net.edge[1] =
        jsp_linear_create(params, "edge.linear_1.w", "edge.linear_1.b", H, H, inner);
    net.node[0] = jsp_linear_create(params, "node.linear_0.w", "node.linear_0.b",
                                    3 * H + 1, H, of3);
    net.node[1] =
        jsp_linear_create(params, "node.linear_1.w", "node.linear_1.b", H, H, inner);
    net.global[0] = jsp_linear_create(params, "global.linear_0.w", "global.linear_0.b",
                                      2 * H + 1, H, of2);
    net.global[1] = jsp_linear_create(params, "global.linear_1.w", "global.linear_1.b",
                                      H, H, inner);
    return net;
}

/* Offset of the block of H rows that input `k` of a first layer meets. */
static size_t block_of(const jsp_graphnet *net, const jsp_linear *layer, int k) {
    return layer->weight + (size_t)k * (size_t)net->H * (size_t)net->H;
}

/* ---- pairs -------------------------------------------------------------------------- */

void jsp_graphnet_pairs_reset(jsp_graphnet_pairs *pairs, int D) {
    pairs->n = 0;
    for (int k = 0; k < D * D; k++) pairs->row[k] = -1;
}

void jsp_graphnet_pairs_collect(jsp_graphnet_pairs *pairs, int D, int B,
                                const uint8_t *adjacency) {
    const int cells = D * D;
    for (int b = 0; b < B; b++, adjacency += cells) {
        for (int k = 0; k < cells; k++) {
            if (adjacency[k]) pairs->row[k] = 0;
        }
    }
}

void jsp_graphnet_pairs_finish(jsp_graphnet_pairs *pairs, int D) {
    pairs->n = 0;
    for (int k = 0; k < D * D; k++) {
        if (pairs->row[k] < 0) continue;
        pairs->sender[pairs->n] = k / D;
        pairs->receiver[pairs->n] = k % D;
        pairs->row[k] = pairs->n++;
    }
}

/* ---- tables ------------------------------------------------------------------------- */

size_t jsp_graphnet_tables_size(const jsp_graphnet *net, int n_pairs) {
    return (size_t)net->H * ((size_t)net->D + 3 * (size_t)n_pairs);
}

jsp_graphnet_tables jsp_graphnet_tables_place(const jsp_graphnet *net, int n_pairs,
                                              jsp_real *block) {
    const size_t pairs = (size_t)n_pairs * (size_t)net->H;
    jsp_graphnet_tables tables = {.node = block};
    tables.out = block + (size_t)net->D * (size_t)net->H;
    tables.in = tables.out + pairs;
    tables.global = tables.in + pairs;
    return tables;
}

/* The cache: sender and receiver parts of the edge update [D, H] each, then its hidden
 * layer and e, [pairs, H] each. */
typedef struct edge_cache {
    jsp_real *sender, *receiver, *hidden, *edge;
} edge_cache;

static edge_cache place_cache(const jsp_graphnet *net, int n_pairs, jsp_real *block) {
    const size_t nodes = (size_t)net->D * (size_t)net->H;
    return (edge_cache){block, block + nodes, block + 2 * nodes,
                        block + 2 * nodes + (size_t)n_pairs * (size_t)net->H};
}

size_t jsp_graphnet_cache_size(const jsp_graphnet *net, int n_pairs) {
    return 2 * (size_t)net->H * ((size_t)net->D + (size_t)n_pairs);
}

/* x = max(x, 0); NaN stays */
static void apply_relu(size_t n, jsp_real *x) {
    for (size_t k = 0; k < n; k++) x[k] = x[k] < 0 ? 0 : x[k];
}

void jsp_graphnet_tables_forward(const jsp_graphnet *net, const jsp_real *params,
                                 const jsp_graphnet_pairs *pairs,
                                 const jsp_graphnet_tables *tables, jsp_real *cache) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D, H = net->H;
    const jsp_linear *edge = net->edge, *node = net->node, *global = net->global;
    const jsp_real *embedding = params + net->embedding;
    const edge_cache c = place_cache(net, pairs->n, cache);
    kernels->dense_forward(D, H, H, embedding, params + node[0].weight,
                           params + node[0].bias, NULL, 0, NULL, tables->node);
    /* what all pairs share, vector and bias, becomes the bias of the sender's part */
    kernels->dense_forward(1, H, H, params + net->edge_vector, params + edge[0].weight,
                           params + edge[0].bias, NULL, 0, NULL, c.receiver);
    kernels->dense_forward(D, H, H, embedding, params + block_of(net, &edge[0], 1),
                           c.receiver, NULL, 0, NULL, c.sender);
    kernels->dense_forward(D, H, H, embedding, params + block_of(net, &edge[0], 2),
                           NULL, NULL, 0, NULL, c.receiver);
    for (int u = 0; u < pairs->n; u++) {
        jsp_real *hidden = c.hidden + (size_t)u * (size_t)H;
        memcpy(hidden, c.sender + pairs->sender[u] * H, (size_t)H * sizeof *hidden);
        kernels->add((size_t)H, c.receiver + pairs->receiver[u] * H, hidden);
        apply_relu((size_t)H, hidden);
    }
    if (!pairs->n) return;
    jsp_linear_forward(&edge[1], params, pairs->n, c.hidden, c.edge);
    kernels->dense_forward(pairs->n, H, H, c.edge, params + block_of(net, &node[0], 1),
                           NULL, NULL, 0, NULL, tables->out);
    kernels->dense_forward(pairs->n, H, H, c.edge, params + block_of(net, &node[0], 2),
                           NULL, NULL, 0, NULL, tables->in);
    kernels->dense_forward(pairs->n, H, H, c.edge,
                           params + block_of(net, &global[0], 1), NULL, NULL, 0, NULL,
                           tables->global);
}

/* Through one table: its weights, and d_edge = or += the way back to e. */
static void pull_table(const jsp_graphnet *net, const jsp_real *params, size_t weight,
                       int n_pairs, const jsp_real *edge, const jsp_real *d_table,
                       int accumulate, jsp_real *d_edge, jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->dense_backward_weight(n_pairs, net->H, net->H, edge, d_table,
                                   d_params + weight, NULL);
    kernels->dense_backward_input(n_pairs, net->H, net->H, d_table, params + weight,
                                  accumulate, d_edge);
}

/* Gradients of the embeddings and of the weights that read them, for one input of a first
 * layer; bias NULL when another input carries it. */
static void pull_embedding(const jsp_graphnet *net, const jsp_real *params,
                           size_t weight, const jsp_real *d_part, jsp_real *d_bias,
                           jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->dense_backward_weight(net->D, net->H, net->H, params + net->embedding,
                                   d_part, d_params + weight, d_bias);
    kernels->dense_backward_input(net->D, net->H, net->H, d_part, params + weight, 1,
                                  d_params + net->embedding);
}

/* From d_hidden [pairs, H] (after the ReLU's backward pass) to embeddings and the shared
 * vector. parts [2 D, H] is scratch. */
static void pull_edge_inputs(const jsp_graphnet *net, const jsp_real *params,
                             const jsp_graphnet_pairs *pairs, const jsp_real *d_hidden,
                             jsp_real *d_params, jsp_real *parts) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t H = (size_t)net->H, nodes = (size_t)net->D * H;
    const jsp_linear *first = &net->edge[0];
    jsp_real *d_sender = parts, *d_receiver = parts + nodes;
    jsp_real *d_bias = d_params + first->bias;
    memset(parts, 0, 2 * nodes * sizeof *parts);
    for (int u = 0; u < pairs->n; u++) {
        const jsp_real *d = d_hidden + (size_t)u * H;
        kernels->add(H, d, d_sender + (size_t)pairs->sender[u] * H);
        kernels->add(H, d, d_receiver + (size_t)pairs->receiver[u] * H);
    }
    pull_embedding(net, params, block_of(net, first, 1), d_sender, d_bias, d_params);
    pull_embedding(net, params, block_of(net, first, 2), d_receiver, NULL, d_params);
    /* every edge has the shared vector: its gradient comes from the sum over senders */
    for (int s = 1; s < net->D; s++)
        kernels->add(H, d_sender + (size_t)s * H, d_sender);
    kernels->dense_backward_weight(1, net->H, net->H, params + net->edge_vector,
                                   d_sender, d_params + first->weight, NULL);
    kernels->dense_backward_input(1, net->H, net->H, d_sender, params + first->weight,
                                  1, d_params + net->edge_vector);
}

void jsp_graphnet_tables_backward(const jsp_graphnet *net, const jsp_real *params,
                                  const jsp_graphnet_pairs *pairs,
                                  const jsp_graphnet_tables *d_tables, jsp_real *cache,
                                  jsp_real *d_params, jsp_real *scratch) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const jsp_linear *edge = net->edge, *node = net->node, *global = net->global;
    const edge_cache c = place_cache(net, pairs->n, cache);
    const int n = pairs->n;
    const size_t numbers = (size_t)n * (size_t)net->H;
    jsp_real *d_edge = scratch, *parts = scratch + numbers;
    pull_embedding(net, params, node[0].weight, d_tables->node, d_params + node[0].bias,
                   d_params);
    if (!n) return;
    pull_table(net, params, block_of(net, &node[0], 1), n, c.edge, d_tables->out, 0,
               d_edge, d_params);
    pull_table(net, params, block_of(net, &node[0], 2), n, c.edge, d_tables->in, 1,
               d_edge, d_params);
    pull_table(net, params, block_of(net, &global[0], 1), n, c.edge, d_tables->global,
               1, d_edge, d_params);
    jsp_real *d_hidden = c.edge; /* e is not needed any more */
    jsp_linear_backward(&edge[1], params, n, c.hidden, d_edge, d_hidden, d_params);
    kernels->relu_backward(numbers, c.hidden, NULL, d_hidden, d_hidden);
    pull_edge_inputs(net, params, pairs, d_hidden, d_params, parts);
}

/* ---- graphs ------------------------------------------------------------------------- */

/* hidden [D, H] and global_part [H] before their ReLUs */
static void add_edges(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                      const jsp_graphnet_tables *tables, const uint8_t *adjacency,
                      jsp_real *hidden, jsp_real *global_part) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H;
    for (int s = 0; s < D; s++) {
        for (int r = 0; r < D; r++) {
            if (!adjacency[s * D + r]) continue;
            const size_t row = (size_t)pairs->row[s * D + r] * H;
            kernels->add(H, tables->out + row, hidden + (size_t)s * H);
            kernels->add(H, tables->in + row, hidden + (size_t)r * H);
            kernels->add(H, tables->global + row, global_part);
        }
    }
}

/* From hidden_sum, and the edges' part that waits in `globals`, to the graphs' vectors. */
static void forward_globals(const jsp_graphnet *net, const jsp_real *params, int B,
                            const jsp_graphnet_state *state) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H;
    const jsp_linear *node = net->node, *global = net->global;
    kernels->dense_forward(B, net->H, net->H, state->hidden_sum,
                           params + node[1].weight, NULL, NULL, 0, NULL,
                           state->node_sum);
    for (size_t k = 0; k < (size_t)B * H; k++) {
        state->node_sum[k] += (jsp_real)D * params[node[1].bias + k % H];
    }
    kernels->dense_forward(B, net->H, net->H, state->node_sum,
                           params + global[0].weight, params + global[0].bias,
                           state->globals, 1, NULL, state->global_hidden);
    jsp_linear_forward(&global[1], params, B, state->global_hidden, state->globals);
}

void jsp_graphnet_forward(const jsp_graphnet *net, const jsp_real *params,
                          const jsp_graphnet_pairs *pairs,
                          const jsp_graphnet_tables *tables, int B,
                          const uint8_t *adjacency, const jsp_graphnet_state *state) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H, nodes = (size_t)D * H;
    /* the edges' part of the global update waits in `globals` */
    memset(state->globals, 0, (size_t)B * H * sizeof(jsp_real));
    memset(state->hidden_sum, 0, (size_t)B * H * sizeof(jsp_real));
    for (size_t b = 0; b < (size_t)B; b++) {
        jsp_real *hidden = state->node_hidden + b * nodes;
        memcpy(hidden, tables->node, nodes * sizeof *hidden);
        add_edges(net, pairs, tables, adjacency + b * (size_t)D * (size_t)D, hidden,
                  state->globals + b * H);
        apply_relu(nodes, hidden);
        for (size_t v = 0; v < (size_t)D; v++) {
            kernels->add(H, hidden + v * H, state->hidden_sum + b * H);
        }
    }
    forward_globals(net, params, B, state);
}

/* What the edges of node v and its embedding add inside its ReLU, [H] */
static void fill_node(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                      const jsp_graphnet_tables *tables, const uint8_t *adjacency,
                      int v, jsp_real *hidden) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H;
    memcpy(hidden, tables->node + (size_t)v * H, H * sizeof *hidden);
    for (int u = 0; u < D; u++) {
        if (adjacency[v * D + u]) {
            kernels->add(H, tables->out + (size_t)pairs->row[v * D + u] * H, hidden);
        }
        if (adjacency[u * D + v]) {
            kernels->add(H, tables->in + (size_t)pairs->row[u * D + v] * H, hidden);
        }
    }
    apply_relu(H, hidden);
}

void jsp_graphnet_forward_next(const jsp_graphnet *net, const jsp_real *params,
                               const jsp_graphnet_pairs *pairs,
                               const jsp_graphnet_tables *tables, int B,
                               const uint8_t *adjacency, const int *action,
                               const jsp_graphnet_state *base,
                               const jsp_graphnet_state *state) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H, nodes = (size_t)D * H;
    memset(state->globals, 0, (size_t)B * H * sizeof(jsp_real));
    memset(state->hidden_sum, 0, (size_t)B * H * sizeof(jsp_real));
    memcpy(state->node_hidden, base->node_hidden, (size_t)B * nodes * sizeof(jsp_real));
    for (size_t b = 0; b < (size_t)B; b++, adjacency += D * D) {
        const int end[2] = {action[b] / D, action[b] % D};
        jsp_real *hidden = state->node_hidden + b * nodes;
        for (int s = 0; s < 2; s++) {
            fill_node(net, pairs, tables, adjacency, end[s],
                      hidden + (size_t)end[s] * H);
        }
        for (int k = 0; k < D * D; k++) {
            if (!adjacency[k]) continue;
            kernels->add(H, tables->global + (size_t)pairs->row[k] * H,
                         state->globals + b * H);
        }
        for (size_t v = 0; v < (size_t)D; v++) {
            kernels->add(H, hidden + v * H, state->hidden_sum + b * H);
        }
    }
    forward_globals(net, params, B, state);
}

/* The reverse of add_edges: d_hidden [D, H], d_global [H] before their ReLUs. */
static void scatter_edges(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                          const uint8_t *adjacency, const jsp_real *d_hidden,
                          const jsp_real *d_global,
                          const jsp_graphnet_tables *d_tables) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H;
    kernels->add((size_t)D * H, d_hidden, d_tables->node);
    for (int s = 0; s < D; s++) {
        for (int r = 0; r < D; r++) {
            if (!adjacency[s * D + r]) continue;
            const size_t row = (size_t)pairs->row[s * D + r] * H;
            kernels->add(H, d_hidden + (size_t)s * H, d_tables->out + row);
            kernels->add(H, d_hidden + (size_t)r * H, d_tables->in + row);
            kernels->add(H, d_global, d_tables->global + row);
        }
    }
}

/* Back through the global update to the sum of hidden layers: d_globals becomes the
 * gradient before the ReLU of global_hidden, `d_sum` [B, H] that of hidden_sum. */
static void pull_globals(const jsp_graphnet *net, const jsp_real *params, int B,
                         const jsp_graphnet_state *state, jsp_real *d_globals,
                         jsp_real *d_params, jsp_real *d_sum) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int H = net->H;
    const size_t numbers = (size_t)B * (size_t)H;
    const jsp_linear *node = net->node, *global = net->global;
    jsp_linear_backward(&global[1], params, B, state->global_hidden, d_globals, d_sum,
                        d_params);
    kernels->relu_backward(numbers, state->global_hidden, NULL, d_sum, d_globals);
    kernels->dense_backward_weight(B, H, H, state->node_sum, d_globals,
                                   d_params + global[0].weight,
                                   d_params + global[0].bias);
    /* node_sum is not needed any more: it takes its own gradient */
    jsp_real *d_node_sum = state->node_sum;
    kernels->dense_backward_input(B, H, H, d_globals, params + global[0].weight, 0,
                                  d_node_sum);
    kernels->dense_backward_weight(B, H, H, state->hidden_sum, d_node_sum,
                                   d_params + node[1].weight, NULL);
    for (size_t k = 0; k < numbers; k++) {
        d_params[node[1].bias + k % (size_t)H] += (jsp_real)net->D * d_node_sum[k];
    }
    kernels->dense_backward_input(B, H, H, d_node_sum, params + node[1].weight, 0,
                                  d_sum);
}

void jsp_graphnet_backward(const jsp_graphnet *net, const jsp_real *params,
                           const jsp_graphnet_pairs *pairs, int B,
                           const uint8_t *adjacency, const jsp_graphnet_state *state,
                           jsp_real *d_node_hidden, jsp_real *d_globals,
                           const jsp_graphnet_tables *d_tables, jsp_real *d_params,
                           jsp_real *scratch) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t D = (size_t)net->D, H = (size_t)net->H;
    jsp_real *d_sum = scratch;
    pull_globals(net, params, B, state, d_globals, d_params, d_sum);
    for (size_t b = 0; b < (size_t)B; b++) {
        jsp_real *d_hidden = d_node_hidden + b * D * H;
        for (size_t v = 0; v < D; v++) kernels->add(H, d_sum + b * H, d_hidden + v * H);
        kernels->relu_backward(D * H, state->node_hidden + b * D * H, NULL, d_hidden,
                               d_hidden);
        scatter_edges(net, pairs, adjacency + b * D * D, d_hidden, d_globals + b * H,
                      d_tables);
    }
}

/* The gradient d [H] of node v before its ReLU to the tables. */
static void scatter_node(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                         const uint8_t *adjacency, int v, const jsp_real *d,
                         const jsp_graphnet_tables *d_tables) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H;
    kernels->add(H, d, d_tables->node + (size_t)v * H);
    for (int u = 0; u < D; u++) {
        if (adjacency[v * D + u]) {
            kernels->add(H, d, d_tables->out + (size_t)pairs->row[v * D + u] * H);
        }
        if (adjacency[u * D + v]) {
            kernels->add(H, d, d_tables->in + (size_t)pairs->row[u * D + v] * H);
        }
    }
}

void jsp_graphnet_backward_pair(const jsp_graphnet *net, const jsp_real *params,
                                const jsp_graphnet_pairs *pairs, int B,
                                const uint8_t *adjacency, const int *action,
                                const jsp_graphnet_state *base,
                                const jsp_graphnet_state *next, jsp_real *d_node_hidden,
                                jsp_real *d_ends, jsp_real *const d_globals[2],
                                const jsp_graphnet_tables *d_tables, jsp_real *d_params,
                                jsp_real *const scratch[2]) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H, nodes = (size_t)D * H;
    pull_globals(net, params, B, base, d_globals[0], d_params, scratch[0]);
    pull_globals(net, params, B, next, d_globals[1], d_params, scratch[1]);
    for (size_t b = 0; b < (size_t)B; b++, adjacency += D * D) {
        const int end[2] = {action[b] / D, action[b] % D};
        const size_t new_pair = (size_t)pairs->row[action[b]] * H;
        jsp_real *d_sum = scratch[0] + b * H, *d_next_sum = scratch[1] + b * H;
        jsp_real *d_global = d_globals[0] + b * H,
                 *d_next_global = d_globals[1] + b * H;
        jsp_real *d_hidden = d_node_hidden + b * nodes;
        for (int s = 0; s < 2; s++) {
            jsp_real *d = d_ends + (2 * b + (size_t)s) * H;
            kernels->add(H, d_next_sum, d);
            kernels->relu_backward(H,
                                   next->node_hidden + b * nodes + (size_t)end[s] * H,
                                   NULL, d, d);
            scatter_node(net, pairs, adjacency, end[s], d, d_tables);
            /* of the copies' sum, what the two that are no copies must not get */
            kernels->add(H, d_sum, d_hidden + (size_t)end[s] * H);
        }
        /* the new edge, which `adjacency` lacks */
        kernels->add(H, d_ends + 2 * b * H, d_tables->out + new_pair);
        kernels->add(H, d_ends + (2 * b + 1) * H, d_tables->in + new_pair);
        kernels->add(H, d_next_global, d_tables->global + new_pair);
        kernels->add(H, d_next_sum, d_sum);
        kernels->add(H, d_next_global, d_global);
        for (int v = 0; v < D; v++) {
            if (v != end[0] && v != end[1]) {
                kernels->add(H, d_sum, d_hidden + (size_t)v * H);
            }
        }
        kernels->relu_backward(nodes, base->node_hidden + b * nodes, NULL, d_hidden,
                               d_hidden);
        scatter_edges(net, pairs, adjacency, d_hidden, d_global, d_tables);
    }
}
