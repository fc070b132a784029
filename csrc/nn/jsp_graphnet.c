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

/* The rows of the tables of those of D edges, from cell `first` on and `step` apart, that a
 * graph has, or without a graph of those that occur; returns how many. index [D] */
static int list_rows(const jsp_graphnet_pairs *pairs, int D, const uint8_t *adjacency,
                     int first, int step, int *index) {
    int n = 0;
    for (int k = 0, cell = first; k < D; k++, cell += step) {
        index[n] = pairs->row[cell];
        n += adjacency ? adjacency[cell] != 0 : index[n] >= 0;
    }
    return n;
}

static int list_leaving(const jsp_graphnet_pairs *pairs, int D,
                        const uint8_t *adjacency, int v, int *index) {
    return list_rows(pairs, D, adjacency, v * D, 1, index);
}

static int list_entering(const jsp_graphnet_pairs *pairs, int D,
                         const uint8_t *adjacency, int v, int *index) {
    return list_rows(pairs, D, adjacency, v, D, index);
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
    const jsp_linear *edge = net->edge, *node = net->node;
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
}

/* Pairs per block: enough for products at full speed, few enough to share among threads. */
#define BLOCK_PAIRS 128

int jsp_graphnet_n_blocks(const jsp_graphnet_pairs *pairs) {
    return (pairs->n + BLOCK_PAIRS - 1) / BLOCK_PAIRS;
}

/* First pair of a block; *n of them. */
static int find_block(const jsp_graphnet_pairs *pairs, int block, int *n) {
    const int first = block * BLOCK_PAIRS, left = pairs->n - first;
    *n = left < BLOCK_PAIRS ? left : BLOCK_PAIRS;
    return first;
}

/* The weights between e and table k: out, in, global. */
static size_t weight_of_table(const jsp_graphnet *net, int k) {
    return k < 2 ? block_of(net, &net->node[0], 1 + k)
                 : block_of(net, &net->global[0], 1);
}

static jsp_real *table(const jsp_graphnet_tables *tables, int k) {
    return k == 0 ? tables->out : k == 1 ? tables->in : tables->global;
}

void jsp_graphnet_block_forward(const jsp_graphnet *net, const jsp_real *params,
                                const jsp_graphnet_pairs *pairs,
                                const jsp_graphnet_tables *tables, jsp_real *cache,
                                int block) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int H = net->H;
    const edge_cache c = place_cache(net, pairs->n, cache);
    int n;
    const int first = find_block(pairs, block, &n);
    jsp_real *hidden = c.hidden + first * H, *edge = c.edge + first * H;
    for (int u = 0; u < n; u++) {
        jsp_real *row = hidden + u * H;
        memcpy(row, c.sender + pairs->sender[first + u] * H, (size_t)H * sizeof *row);
        kernels->add((size_t)H, c.receiver + pairs->receiver[first + u] * H, row);
    }
    apply_relu((size_t)(n * H), hidden);
    jsp_linear_forward(&net->edge[1], params, n, hidden, edge);
    for (int k = 0; k < JSP_GRAPHNET_WEIGHTS; k++) {
        kernels->dense_forward(n, H, H, edge, params + weight_of_table(net, k), NULL,
                               NULL, 0, NULL, table(tables, k) + first * H);
    }
}

/* ---- gradients of the tables -------------------------------------------------------- */

size_t jsp_graphnet_pull_size(const jsp_graphnet *net, int B) {
    return (size_t)B * (size_t)net->H * ((size_t)net->D + 4);
}

jsp_graphnet_pull jsp_graphnet_pull_place(const jsp_graphnet *net, int B,
                                          jsp_real *block) {
    const size_t graphs = (size_t)B * (size_t)net->H;
    jsp_graphnet_pull pull = {.B = B, .node = block};
    pull.graph = pull.node + graphs * (size_t)net->D;
    pull.ends = pull.graph + graphs;
    pull.next = pull.ends + 2 * graphs;
    return pull;
}

jsp_graphnet_pull jsp_graphnet_pull_from(const jsp_graphnet *net,
                                         const jsp_graphnet_pull *pull, int first) {
    const size_t b = (size_t)first, D = (size_t)net->D, row = b * (size_t)net->H;
    jsp_graphnet_pull rest = *pull;
    rest.B -= first;
    rest.adjacency += b * D * D;
    if (rest.action) rest.action += first;
    rest.node += row * D;
    rest.graph += row;
    rest.ends += 2 * row;
    rest.next += row;
    return rest;
}

/* Graphs that are looked through at once. */
enum { LIST = 64 };

/* For each of D edges, from cell `first` on and `step` apart, which of n graphs from `begin`
 * on have it: list [D][LIST], count [D]. */
static void list_graphs(int D, const uint8_t *adjacency, int begin, int n, int first,
                        int step, int (*list)[LIST], int *count) {
    memset(count, 0, (size_t)D * sizeof *count);
    for (int b = begin; b < begin + n; b++) {
        const uint8_t *cell = adjacency + (size_t)b * (size_t)(D * D) + first;
        for (int k = 0; k < D; k++) {
            list[k][count[k]] = b;
            count[k] += cell[k * step] != 0;
        }
    }
}

/* What the edges of next graphs that leave or enter v add. */
static void pull_actions(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                         const jsp_graphnet_pull *pull,
                         const jsp_graphnet_tables *d_tables, int v) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t H = (size_t)net->H;
    for (size_t b = 0; pull->action && b < (size_t)pull->B; b++) {
        const int action = pull->action[b];
        const size_t row = (size_t)pairs->row[action] * H;
        if (action / net->D == v) {
            kernels->add(H, pull->ends + 2 * b * H, d_tables->out + row);
            kernels->add(H, pull->next + b * H, d_tables->global + row);
        } else if (action % net->D == v) {
            kernels->add(H, pull->ends + (2 * b + 1) * H, d_tables->in + row);
        }
    }
}

/* What n graphs from `begin` on add to edges that leave v, or enter it. */
static void pull_edges(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                       const jsp_graphnet_pull *pull,
                       const jsp_graphnet_tables *d_tables, int v, int is_entering,
                       int begin, int n) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D, H = net->H;
    const int first = is_entering ? v : v * D, step = is_entering ? D : 1;
    jsp_real *d_table = is_entering ? d_tables->in : d_tables->out;
    int list[JSP_MAX_NETWORK_VARIABLES][LIST], count[JSP_MAX_NETWORK_VARIABLES];
    list_graphs(D, pull->adjacency, begin, n, first, step, list, count);
    for (int k = 0; k < D; k++) {
        const int pair = pairs->row[first + k * step];
        if (pair < 0) continue;
        if (!is_entering) {
            kernels->rows_gather(count[k], H, pull->graph, list[k],
                                 d_tables->global + pair * H);
        }
        for (int g = 0; g < count[k]; g++) list[k][g] = list[k][g] * D + v;
        kernels->rows_gather(count[k], H, pull->node, list[k], d_table + pair * H);
    }
}

void jsp_graphnet_node_backward(const jsp_graphnet *net,
                                const jsp_graphnet_pairs *pairs,
                                const jsp_graphnet_pull *pull,
                                const jsp_graphnet_tables *d_tables, int v) {
    const int D = net->D, H = net->H;
    const size_t bytes = (size_t)H * sizeof(jsp_real);
    jsp_real *d_node = d_tables->node + v * H;
    memset(d_node, 0, bytes);
    for (int k = 0; k < D; k++) {
        const int leaving = pairs->row[v * D + k], entering = pairs->row[k * D + v];
        if (leaving >= 0) {
            memset(d_tables->out + leaving * H, 0, bytes);
            memset(d_tables->global + leaving * H, 0, bytes);
        }
        if (entering >= 0) memset(d_tables->in + entering * H, 0, bytes);
    }
    for (int begin = 0; begin < pull->B; begin += LIST) {
        const int n = pull->B - begin < LIST ? pull->B - begin : LIST;
        pull_edges(net, pairs, pull, d_tables, v, 0, begin, n);
        pull_edges(net, pairs, pull, d_tables, v, 1, begin, n);
        for (int b = begin; b < begin + n; b++) {
            jsp_kernels_active()->add((size_t)H,
                                      pull->node + ((size_t)b * (size_t)D + (size_t)v) *
                                                       (size_t)H,
                                      d_node);
        }
    }
    pull_actions(net, pairs, pull, d_tables, v);
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
    int index[JSP_MAX_NETWORK_VARIABLES];
    memset(parts, 0, 2 * nodes * sizeof *parts);
    for (int v = 0; v < net->D; v++) {
        int n = list_leaving(pairs, net->D, NULL, v, index);
        kernels->rows_gather(n, net->H, d_hidden, index, d_sender + (size_t)v * H);
        n = list_entering(pairs, net->D, NULL, v, index);
        kernels->rows_gather(n, net->H, d_hidden, index, d_receiver + (size_t)v * H);
    }
    pull_embedding(net, params, block_of(net, first, 1), d_sender, d_bias, d_params);
    pull_embedding(net, params, block_of(net, first, 2), d_receiver, NULL, d_params);
    /* every edge has the shared vector: its gradient comes from the sum over senders */
    kernels->rows_gather(net->D - 1, net->H, d_sender + H, NULL, d_sender);
    kernels->dense_backward_weight(1, net->H, net->H, params + net->edge_vector,
                                   d_sender, d_params + first->weight, NULL);
    kernels->dense_backward_input(1, net->H, net->H, d_sender, params + first->weight,
                                  1, d_params + net->edge_vector);
}

void jsp_graphnet_weight_backward(const jsp_graphnet *net,
                                  const jsp_graphnet_pairs *pairs,
                                  const jsp_graphnet_tables *d_tables,
                                  const jsp_real *cache, jsp_real *d_params, int k) {
    const edge_cache c = place_cache(net, pairs->n, (jsp_real *)cache);
    jsp_kernels_active()->dense_backward_weight(pairs->n, net->H, net->H, c.edge,
                                                table(d_tables, k),
                                                d_params + weight_of_table(net, k),
                                                NULL);
}

/* Scratch: gradients of e and of its hidden layer [pairs, H] each, and of the parts of
 * senders and receivers [2 D, H]. */
static jsp_real *place_hidden(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                              jsp_real *scratch) {
    return scratch + (size_t)pairs->n * (size_t)net->H;
}

void jsp_graphnet_block_backward(const jsp_graphnet *net, const jsp_real *params,
                                 const jsp_graphnet_pairs *pairs,
                                 const jsp_graphnet_tables *d_tables,
                                 const jsp_real *cache, jsp_real *scratch, int block) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int H = net->H;
    const edge_cache c = place_cache(net, pairs->n, (jsp_real *)cache);
    int n;
    const int first = find_block(pairs, block, &n) * H;
    jsp_real *d_edge = scratch + first;
    jsp_real *d_hidden = place_hidden(net, pairs, scratch) + first;
    for (int k = 0; k < JSP_GRAPHNET_WEIGHTS; k++) {
        kernels->dense_backward_input(n, H, H, table(d_tables, k) + first,
                                      params + weight_of_table(net, k), k > 0, d_edge);
    }
    kernels->dense_backward_input(n, H, H, d_edge, params + net->edge[1].weight, 0,
                                  d_hidden);
    kernels->relu_backward((size_t)(n * H), c.hidden + first, NULL, d_hidden, d_hidden);
}

void jsp_graphnet_tables_backward(const jsp_graphnet *net, const jsp_real *params,
                                  const jsp_graphnet_pairs *pairs,
                                  const jsp_graphnet_tables *d_tables,
                                  const jsp_real *cache, jsp_real *d_params,
                                  jsp_real *scratch) {
    const jsp_linear *edge = net->edge, *node = net->node;
    const edge_cache c = place_cache(net, pairs->n, (jsp_real *)cache);
    jsp_real *d_hidden = place_hidden(net, pairs, scratch);
    pull_embedding(net, params, node[0].weight, d_tables->node, d_params + node[0].bias,
                   d_params);
    if (!pairs->n) return;
    jsp_linear_backward(&edge[1], params, pairs->n, c.hidden, scratch, NULL, d_params);
    pull_edge_inputs(net, params, pairs, d_hidden, d_params,
                     d_hidden + (size_t)pairs->n * (size_t)net->H);
}

/* ---- graphs ------------------------------------------------------------------------- */

/* What node v's embedding and edges add inside its ReLU, [H]; overwritten */
static void fill_node(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                      const jsp_graphnet_tables *tables, const uint8_t *adjacency,
                      int v, jsp_real *hidden) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D, H = net->H;
    int index[JSP_MAX_NETWORK_VARIABLES];
    memcpy(hidden, tables->node + v * H, (size_t)H * sizeof *hidden);
    int n = list_leaving(pairs, D, adjacency, v, index);
    kernels->rows_gather(n, H, tables->out, index, hidden);
    n = list_entering(pairs, D, adjacency, v, index);
    kernels->rows_gather(n, H, tables->in, index, hidden);
    apply_relu((size_t)H, hidden);
}

/* What all edges add inside the graph's ReLU, [H]; overwritten */
static void fill_edge_sum(const jsp_graphnet *net, const jsp_graphnet_pairs *pairs,
                          const jsp_graphnet_tables *tables, const uint8_t *adjacency,
                          jsp_real *edge_sum) {
    int index[JSP_MAX_NETWORK_VARIABLES];
    memset(edge_sum, 0, (size_t)net->H * sizeof *edge_sum);
    for (int v = 0; v < net->D; v++) {
        const int n = list_leaving(pairs, net->D, adjacency, v, index);
        jsp_kernels_active()->rows_gather(n, net->H, tables->global, index, edge_sum);
    }
}

/* hidden_sum, from hidden layers */
static void sum_hidden(const jsp_graphnet *net, int B,
                       const jsp_graphnet_state *state) {
    const size_t D = (size_t)net->D, H = (size_t)net->H;
    memset(state->hidden_sum, 0, (size_t)B * H * sizeof(jsp_real));
    for (size_t b = 0; b < (size_t)B; b++) {
        jsp_kernels_active()->rows_gather(net->D, net->H,
                                          state->node_hidden + b * D * H, NULL,
                                          state->hidden_sum + b * H);
    }
}

/* From hidden_sum and edge_sum to the graphs' vectors. */
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
                           state->edge_sum, 1, NULL, state->global_hidden);
    jsp_linear_forward(&global[1], params, B, state->global_hidden, state->globals);
}

void jsp_graphnet_forward(const jsp_graphnet *net, const jsp_real *params,
                          const jsp_graphnet_pairs *pairs,
                          const jsp_graphnet_tables *tables, int B,
                          const uint8_t *adjacency, const jsp_graphnet_state *state) {
    const int D = net->D;
    const size_t H = (size_t)net->H;
    for (size_t b = 0; b < (size_t)B; b++, adjacency += D * D) {
        jsp_real *hidden = state->node_hidden + b * (size_t)D * H;
        for (int v = 0; v < D; v++) {
            fill_node(net, pairs, tables, adjacency, v, hidden + (size_t)v * H);
        }
        fill_edge_sum(net, pairs, tables, adjacency, state->edge_sum + b * H);
    }
    sum_hidden(net, B, state);
    forward_globals(net, params, B, state);
}

void jsp_graphnet_forward_next(const jsp_graphnet *net, const jsp_real *params,
                               const jsp_graphnet_pairs *pairs,
                               const jsp_graphnet_tables *tables, int B,
                               const uint8_t *adjacency, const int *action,
                               const jsp_graphnet_state *base,
                               const jsp_graphnet_state *state) {
    const int D = net->D;
    const size_t H = (size_t)net->H, nodes = (size_t)D * H;
    memcpy(state->node_hidden, base->node_hidden, (size_t)B * nodes * sizeof(jsp_real));
    memcpy(state->edge_sum, base->edge_sum, (size_t)B * H * sizeof(jsp_real));
    for (size_t b = 0; b < (size_t)B; b++, adjacency += D * D) {
        const int end[2] = {action[b] / D, action[b] % D};
        jsp_real *hidden = state->node_hidden + b * nodes;
        for (int s = 0; s < 2; s++) {
            fill_node(net, pairs, tables, adjacency, end[s],
                      hidden + (size_t)end[s] * H);
        }
        jsp_kernels_active()->rows_gather(1, net->H, tables->global,
                                          &pairs->row[action[b]],
                                          state->edge_sum + b * H);
    }
    sum_hidden(net, B, state);
    forward_globals(net, params, B, state);
}

/* Back through the global update to the sum of hidden layers: d_globals becomes the
 * gradient before the ReLU of global_hidden, `d_sum` [B, H] that of hidden_sum. */
static void pull_globals(const jsp_graphnet *net, jsp_real *const *turned, int B,
                         const jsp_graphnet_state *state, jsp_real *d_globals,
                         jsp_real *d_params, jsp_real *d_sum) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int H = net->H;
    const size_t row = (size_t)H, numbers = (size_t)B * row;
    const jsp_linear *node = net->node, *global = net->global;
    kernels->dense_backward_weight(B, H, H, state->global_hidden, d_globals,
                                   d_params + global[1].weight,
                                   d_params + global[1].bias);
    kernels->product(B, H, H, d_globals, row, 1, turned[2], row, 0, d_sum, row);
    kernels->relu_backward(numbers, state->global_hidden, NULL, d_sum, d_globals);
    kernels->dense_backward_weight(B, H, H, state->node_sum, d_globals,
                                   d_params + global[0].weight,
                                   d_params + global[0].bias);
    /* node_sum is not needed any more: it takes its own gradient */
    jsp_real *d_node_sum = state->node_sum;
    kernels->product(B, H, H, d_globals, row, 1, turned[1], row, 0, d_node_sum, row);
    kernels->dense_backward_weight(B, H, H, state->hidden_sum, d_node_sum,
                                   d_params + node[1].weight, NULL);
    for (size_t k = 0; k < numbers; k++) {
        d_params[node[1].bias + k % row] += (jsp_real)net->D * d_node_sum[k];
    }
    kernels->product(B, H, H, d_node_sum, row, 1, turned[0], row, 0, d_sum, row);
}

void jsp_graphnet_backward(const jsp_graphnet *net, jsp_real *const *turned, int B,
                           const jsp_graphnet_state *state, jsp_real *d_globals,
                           const jsp_graphnet_pull *pull, jsp_real *d_params,
                           jsp_real *scratch) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t D = (size_t)net->D, H = (size_t)net->H;
    pull_globals(net, turned, B, state, d_globals, d_params, scratch);
    for (size_t b = 0; b < (size_t)B; b++) {
        jsp_real *d_hidden = pull->node + b * D * H;
        kernels->rows_spread(net->D, net->H, scratch + b * H, NULL, d_hidden);
        kernels->relu_backward(D * H, state->node_hidden + b * D * H, NULL, d_hidden,
                               d_hidden);
    }
    memcpy(pull->graph, d_globals, (size_t)B * H * sizeof *d_globals);
}

void jsp_graphnet_backward_pair(const jsp_graphnet *net, jsp_real *const *turned, int B,
                                const int *action, const jsp_graphnet_state *base,
                                const jsp_graphnet_state *next,
                                jsp_real *const d_globals[2],
                                const jsp_graphnet_pull *pull, jsp_real *d_params,
                                jsp_real *const scratch[2]) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = net->D;
    const size_t H = (size_t)net->H, nodes = (size_t)D * H, graphs = (size_t)B * H;
    pull_globals(net, turned, B, base, d_globals[0], d_params, scratch[0]);
    pull_globals(net, turned, B, next, d_globals[1], d_params, scratch[1]);
    memcpy(pull->next, d_globals[1], graphs * sizeof(jsp_real));
    memcpy(pull->graph, d_globals[0], graphs * sizeof(jsp_real));
    kernels->add(graphs, d_globals[1], pull->graph);
    for (size_t b = 0; b < (size_t)B; b++) {
        const size_t end[2] = {(size_t)(action[b] / D) * H,
                               (size_t)(action[b] % D) * H};
        const jsp_real *hidden = base->node_hidden + b * nodes;
        const jsp_real *next_hidden = next->node_hidden + b * nodes;
        jsp_real *d_sum = scratch[0] + b * H, *d_next_sum = scratch[1] + b * H;
        jsp_real *d_hidden = pull->node + b * nodes, *d_ends = pull->ends + 2 * b * H;
        /* nodes of both graphs, the ends of one */
        for (int s = 0; s < 2; s++) {
            kernels->add(H, d_next_sum, d_ends + s * H);
            kernels->relu_backward(H, next_hidden + end[s], NULL, d_ends + s * H,
                                   d_ends + s * H);
            kernels->add(H, d_sum, d_hidden + end[s]);
        }
        kernels->add(H, d_next_sum, d_sum);
        for (int v = 0; v < D; v++) {
            jsp_real *d = d_hidden + (size_t)v * H;
            if (v != action[b] / D && v != action[b] % D) kernels->add(H, d_sum, d);
        }
        kernels->relu_backward(nodes, hidden, NULL, d_hidden, d_hidden);
        /* behind the ReLU an end of both graphs is one: its edges are the same but one */
        for (int s = 0; s < 2; s++) kernels->add(H, d_ends + s * H, d_hidden + end[s]);
    }
}
