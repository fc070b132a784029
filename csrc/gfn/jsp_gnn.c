/* jsp_gnn.c - the network: memory, forward pass, backward pass.
 *
 * Layers keep what their backward pass needs in the shard and nothing twice: queries, keys
 * and values come straight from the hidden layer of the node update (jsp_gnn_maps), so that
 * updated nodes, projections and the second layers of senders and receivers never exist as
 * rows. Backward, four work arrays are enough; they change their meaning on the way, which
 * is said where it happens. */
#include "jsp_gnn.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "jsp_attention.h"
#include "jsp_gnn_maps.h"
#include "jsp_gnn_policy.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_places.h"

enum { H = JSP_GNN_WIDTH };

jsp_gnn jsp_gnn_create(jsp_params *params, int D) {
    jsp_gnn gnn = {.D = D};
    const double scale = sqrt(1.0 / H);
    gnn.graphnet = jsp_graphnet_create(params, D, H);
    gnn.projection =
        jsp_linear_create(params, "projection.w", "projection.b", H, 3 * H, scale);
    gnn.query = jsp_linear_create(params, "multi_head_attention.query.w",
                                  "multi_head_attention.query.b", H, H, scale);
    gnn.key = jsp_linear_create(params, "multi_head_attention.key.w",
                                "multi_head_attention.key.b", H, H, scale);
    gnn.value = jsp_linear_create(params, "multi_head_attention.value.w",
                                  "multi_head_attention.value.b", H, H, scale);
    gnn.attention = jsp_linear_create(params, "multi_head_attention.linear.w",
                                      "multi_head_attention.linear.b", H, H, scale);
    gnn.node_norm =
        jsp_layernorm_create(params, "layer_norm.scale", "layer_norm.offset", H);
    gnn.global_norm =
        jsp_layernorm_create(params, "layer_norm_1.scale", "layer_norm_1.offset", H);
    gnn.sender[0] = jsp_linear_create(params, "senders.linear_0.w",
                                      "senders.linear_0.b", H, H, scale);
    gnn.sender[1] = jsp_linear_create(params, "senders.linear_1.w",
                                      "senders.linear_1.b", H, H, scale);
    gnn.receiver[0] = jsp_linear_create(params, "receivers.linear_0.w",
                                        "receivers.linear_0.b", H, H, scale);
    gnn.receiver[1] = jsp_linear_create(params, "receivers.linear_1.w",
                                        "receivers.linear_1.b", H, H, scale);
    gnn.stop[0] =
        jsp_linear_create(params, "stop.linear_0.w", "stop.linear_0.b", H, H, scale);
    gnn.stop[1] =
        jsp_linear_create(params, "stop.linear_1.w", "stop.linear_1.b", H, 1, scale);
    return gnn;
}

/* ---- memory ------------------------------------------------------------------------- */

static jsp_real *take_reals(jsp_places *p, size_t count) {
    return jsp_places_take(p, count, sizeof(jsp_real));
}

static void place_outputs(jsp_gnn_shard *shard, size_t graphs, size_t D,
                          jsp_places *p) {
    const size_t rows = graphs * D * H, actions = graphs * (D * D + 1);
    shard->node_features = take_reals(p, rows);
    shard->global_features = take_reals(p, graphs * H);
    shard->log_pi = jsp_places_take(p, actions, sizeof(double));
    shard->d_node_features = take_reals(p, rows);
    shard->d_global_features = take_reals(p, graphs * H);
    shard->d_log_pi = jsp_places_take(p, actions, sizeof(double));
}

static void place_shard(jsp_gnn_shard *shard, size_t graphs, int D, jsp_places *p) {
    const size_t nodes = graphs * (size_t)D, rows = nodes * H,
                 squares = nodes * (size_t)D;
    jsp_graphnet_state *state = &shard->graphnet;
    jsp_real **of_rows[] = {
        &state->node_hidden, &shard->query,     &shard->key,     &shard->value,
        &shard->mixed,       &shard->attention, &shard->sender,  &shard->receiver,
        &shard->pair,        &shard->work[0],   &shard->work[1], &shard->work[2],
        &shard->work[3],
    };
    jsp_real **of_graphs[] = {
        &state->hidden_sum,    &state->edge_sum,  &state->node_sum,
        &state->global_hidden, &state->globals,   &shard->stop,
        &shard->global_work,   &shard->stop_work,
    };
    place_outputs(shard, graphs, (size_t)D, p);
    for (size_t k = 0; k < sizeof of_rows / sizeof of_rows[0]; k++) {
        *of_rows[k] = take_reals(p, rows);
    }
    for (size_t k = 0; k < sizeof of_graphs / sizeof of_graphs[0]; k++) {
        *of_graphs[k] = take_reals(p, graphs * H);
    }
    shard->weights = take_reals(p, JSP_GNN_HEADS * squares);
    shard->logits = take_reals(p, squares);
    shard->node_moments = take_reals(p, 2 * nodes);
    shard->pair_sender = take_reals(p, nodes);
    shard->global_moments = take_reals(p, 2 * graphs);
    shard->stop_logit = take_reals(p, graphs);
    shard->attention_work =
        take_reals(p, jsp_attention_scratch_size(D, H, JSP_GNN_HEADS));
    shard->square_work = take_reals(p, (size_t)D * (size_t)(D > H ? D : H));
}

jsp_status jsp_gnn_shard_create(const jsp_gnn *gnn, int capacity, jsp_gnn_shard *shard,
                                jsp_error *error) {
    jsp_places p = {0};
    *shard = (jsp_gnn_shard){0};
    place_shard(shard, (size_t)capacity, gnn->D, &p);
    shard->memory = p.base = jsp_memory_alloc(p.used, 1);
    if (!p.base)
        return jsp_status_no_memory(error, p.used, "the layers of the network");
    p.used = 0;
    place_shard(shard, (size_t)capacity, gnn->D, &p);
    shard->capacity = capacity;
    return JSP_OK;
}

void jsp_gnn_shard_destroy(jsp_gnn_shard *shard) {
    if (!shard) return;
    jsp_memory_free(shard->memory);
    *shard = (jsp_gnn_shard){0};
}

/* ---- forward ------------------------------------------------------------------------ */

/* y = x M for a map with its bias as last row */
static void apply_map(int rows, const jsp_real *x, const jsp_real *map, jsp_real *y) {
    jsp_kernels_active()->dense_forward(rows, H, H, x, map, map + H * H, NULL, 0, NULL,
                                        y);
}

static void forward_hidden(const jsp_linear *layer, const jsp_real *params, int rows,
                           const jsp_real *x, jsp_real *y) {
    jsp_kernels_active()->dense_forward(rows, H, H, x, params + layer->weight,
                                        params + layer->bias, NULL, 1, NULL, y);
}

/* Row of end s (0 = sender) of the edge action[b] */
static size_t row_of_end(int D, const int *action, size_t b, int s) {
    return (b * (size_t)D + (size_t)(s ? action[b] % D : action[b] / D)) * H;
}

/* y [2 B, H] = the rows of both ends in x [B D, H] */
static void gather_ends(int B, int D, const int *action, const jsp_real *x,
                        jsp_real *y) {
    for (size_t e = 0; e < 2 * (size_t)B; e++) {
        memcpy(y + e * H, x + row_of_end(D, action, e / 2, e % 2), H * sizeof *y);
    }
}

/* Queries, keys and values: those of base but for the ends of the new edge. */
static void forward_ends(const jsp_gnn *gnn, const jsp_gnn_maps *maps,
                         const jsp_gnn_shard *base, const int *action,
                         jsp_gnn_shard *shard) {
    const int B = shard->B, D = gnn->D;
    const jsp_real *map[3] = {maps->query, maps->key, maps->value};
    const jsp_real *source[3] = {base->query, base->key, base->value};
    jsp_real *result[3] = {shard->query, shard->key, shard->value};
    gather_ends(B, D, action, shard->graphnet.node_hidden, shard->work[0]);
    for (int t = 0; t < 3; t++) {
        memcpy(result[t], source[t], (size_t)(B * D) * H * sizeof(jsp_real));
        apply_map(2 * B, shard->work[0], map[t], shard->work[1]);
        for (size_t e = 0; e < 2 * (size_t)B; e++) {
            memcpy(result[t] + row_of_end(D, action, e / 2, e % 2),
                   shard->work[1] + e * H, H * sizeof(jsp_real));
        }
    }
}

/* base NULL = no copies */
static void forward_nodes(const jsp_gnn *gnn, const jsp_real *params,
                          const jsp_gnn_maps *maps, const jsp_gnn_shard *base,
                          const int *action, jsp_gnn_shard *shard) {
    const int rows = shard->B * gnn->D;
    const jsp_real *hidden = shard->graphnet.node_hidden;
    if (base) {
        forward_ends(gnn, maps, base, action, shard);
    } else {
        apply_map(rows, hidden, maps->query, shard->query);
        apply_map(rows, hidden, maps->key, shard->key);
        apply_map(rows, hidden, maps->value, shard->value);
    }
    jsp_attention_forward(shard->B, gnn->D, H, JSP_GNN_HEADS, shard->query, shard->key,
                          shard->value, shard->weights, shard->mixed,
                          shard->attention_work);
    jsp_linear_forward(&gnn->attention, params, rows, shard->mixed, shard->attention);
    jsp_layernorm_forward(&gnn->node_norm, params, rows, shard->attention,
                          shard->node_features, shard->node_moments);
}

/* logits[b, i, j] = N (<pair[b, i], receiver[b, j]> + pair_sender[b, i]), which leaves out
 * what all edges have in common */
static void forward_logits(const jsp_gnn *gnn, const jsp_real *params,
                           const jsp_gnn_maps *maps, jsp_gnn_shard *shard) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = gnn->D, rows = shard->B * D;
    const size_t nodes = (size_t)D;
    const jsp_real N = (jsp_real)shard->logit_scale;
    forward_hidden(&gnn->sender[0], params, rows, shard->node_features, shard->sender);
    forward_hidden(&gnn->receiver[0], params, rows, shard->node_features,
                   shard->receiver);
    apply_map(rows, shard->sender, maps->pair, shard->pair);
    kernels->rows_dot(rows, H, shard->sender, maps->pair_sender, shard->pair_sender);
    for (size_t b = 0; b < (size_t)shard->B; b++) {
        jsp_real *logits = shard->logits + b * nodes * nodes;
        kernels->transpose(D, H, shard->receiver + b * nodes * H, H, shard->square_work,
                           nodes);
        kernels->product(D, H, D, shard->pair + b * nodes * H, H, 1, shard->square_work,
                         nodes, 0, logits, nodes);
        for (size_t i = 0; i < nodes; i++) {
            const jsp_real term = shard->pair_sender[b * nodes + i];
            for (size_t j = 0; j < nodes; j++) {
                logits[i * nodes + j] = N * (logits[i * nodes + j] + term);
            }
        }
    }
}

static void forward_globals(const jsp_gnn *gnn, const jsp_real *params,
                            jsp_gnn_shard *shard) {
    const int B = shard->B;
    jsp_layernorm_forward(&gnn->global_norm, params, B, shard->graphnet.globals,
                          shard->global_features, shard->global_moments);
    forward_hidden(&gnn->stop[0], params, B, shard->global_features, shard->stop);
    jsp_linear_forward(&gnn->stop[1], params, B, shard->stop, shard->stop_logit);
}

static void forward_shard(const jsp_gnn *gnn, const jsp_real *params,
                          const jsp_gnn_shared *shared, const jsp_gnn_shard *base,
                          const int *action, jsp_gnn_shard *shard, int B,
                          const uint8_t *adjacency, const uint8_t *mask,
                          double logit_scale) {
    const size_t cells = (size_t)gnn->D * (size_t)gnn->D;
    assert(B <= shard->capacity);
    shard->B = B;
    shard->adjacency = adjacency;
    shard->mask = mask;
    shard->logit_scale = logit_scale;
    if (base) {
        jsp_graphnet_forward_next(&gnn->graphnet, params, &shared->pairs,
                                  &shared->tables, B, adjacency, action,
                                  &base->graphnet, &shard->graphnet);
    } else {
        jsp_graphnet_forward(&gnn->graphnet, params, &shared->pairs, &shared->tables, B,
                             adjacency, &shard->graphnet);
    }
    forward_nodes(gnn, params, &shared->maps, base, action, shard);
    if (!shard->stops_only) forward_logits(gnn, params, &shared->maps, shard);
    forward_globals(gnn, params, shard);
    for (size_t b = 0; b < (size_t)B; b++) {
        const double stop_logit = logit_scale * (double)shard->stop_logit[b];
        double *log_pi = shard->log_pi + b * (cells + 1);
        if (shard->stops_only) {
            log_pi[cells] =
                jsp_gnn_policy_stop((int)cells, stop_logit, mask + b * cells);
            continue;
        }
        jsp_gnn_policy_forward((int)cells, shard->logits + b * cells, stop_logit,
                               mask + b * cells, log_pi);
    }
}

void jsp_gnn_shard_forward(const jsp_gnn *gnn, const jsp_real *params,
                           const jsp_gnn_shared *shared, jsp_gnn_shard *shard, int B,
                           const uint8_t *adjacency, const uint8_t *mask,
                           double logit_scale) {
    forward_shard(gnn, params, shared, NULL, NULL, shard, B, adjacency, mask,
                  logit_scale);
}

void jsp_gnn_shard_forward_next(const jsp_gnn *gnn, const jsp_real *params,
                                const jsp_gnn_shared *shared, const jsp_gnn_shard *base,
                                jsp_gnn_shard *shard, const uint8_t *adjacency,
                                const uint8_t *mask, const int *action,
                                double logit_scale) {
    forward_shard(gnn, params, shared, base, action, shard, base->B, adjacency, mask,
                  logit_scale);
}

/* ---- backward ----------------------------------------------------------------------- */

/* dx = or += dy W^T, given W^T */
static void pull_rows(int rows, const jsp_real *dy, const jsp_real *turned,
                      int accumulate, jsp_real *dx) {
    jsp_kernels_active()->product(rows, H, H, dy, H, 1, turned, H, accumulate, dx, H);
}

/* Given d_hidden, the gradient of relu(x W + b) = hidden (destroyed): dx +=. */
static void backward_hidden(const jsp_linear *layer, const jsp_real *turned, int rows,
                            const jsp_real *x, const jsp_real *hidden,
                            jsp_real *d_hidden, jsp_real *dx, jsp_real *d_params) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernels->relu_backward((size_t)rows * H, hidden, NULL, d_hidden, d_hidden);
    kernels->dense_backward_weight(rows, H, H, x, d_hidden, d_params + layer->weight,
                                   d_params + layer->bias);
    pull_rows(rows, d_hidden, turned, 1, dx);
}

/* dx = or += dy M^T, and the gradient of the map M with its bias as last row */
static void backward_map(int rows, const jsp_real *x, const jsp_real *turned,
                         const jsp_real *dy, int accumulate, jsp_real *dx,
                         jsp_real *d_map) {
    jsp_kernels_active()->dense_backward_weight(rows, H, H, x, dy, d_map,
                                                d_map + H * H);
    pull_rows(rows, dy, turned, accumulate, dx);
}

/* Policies to logits: shard->logits become their gradients, stop_logit as well, both
 * already times N. */
static void backward_policy(const jsp_gnn *gnn, jsp_gnn_shard *shard) {
    const size_t cells = (size_t)gnn->D * (size_t)gnn->D;
    const double N = shard->logit_scale;
    for (size_t b = 0; b < (size_t)shard->B; b++) {
        const uint8_t *mask = shard->mask + b * cells;
        const double stop_logit = N * (double)shard->stop_logit[b];
        const double *d_log_pi = shard->d_log_pi + b * (cells + 1);
        double d_stop;
        if (shard->stops_only) {
            d_stop = jsp_gnn_policy_stop_backward((int)cells, stop_logit, mask,
                                                  d_log_pi[cells]);
        } else {
            jsp_real *d_logits = shard->logits + b * cells;
            jsp_gnn_policy_backward((int)cells, stop_logit, mask,
                                    shard->log_pi + b * (cells + 1), d_log_pi, d_logits,
                                    &d_stop);
            for (size_t a = 0; a < cells; a++) d_logits[a] *= (jsp_real)N;
        }
        shard->stop_logit[b] = (jsp_real)(N * d_stop);
    }
}

/* Logits to the hidden layers of senders (work[0]) and receivers (work[1]), by way of
 * `pair` (work[2]). */
static void backward_logits(const jsp_gnn *gnn, const jsp_gnn_shared *shared,
                            jsp_gnn_shard *shard, const jsp_gnn_maps *d_maps) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const int D = gnn->D, rows = shard->B * D;
    const size_t nodes = (size_t)D, stride = nodes * H;
    jsp_real *d_sender = shard->work[0], *d_receiver = shard->work[1];
    jsp_real *d_pair = shard->work[2], *d_term = shard->pair_sender;
    for (size_t b = 0; b < (size_t)shard->B; b++) {
        const jsp_real *d_logits = shard->logits + b * nodes * nodes;
        kernels->product(D, D, H, d_logits, nodes, 1, shard->receiver + b * stride, H,
                         0, d_pair + b * stride, H);
        kernels->product(D, D, H, d_logits, 1, nodes, shard->pair + b * stride, H, 0,
                         d_receiver + b * stride, H);
        for (size_t i = 0; i < nodes; i++) {
            jsp_real sum = 0;
            for (size_t j = 0; j < nodes; j++) sum += d_logits[i * nodes + j];
            d_term[b * nodes + i] = sum;
        }
    }
    backward_map(rows, shard->sender, shared->turned[JSP_GNN_PAIR], d_pair, 0, d_sender,
                 d_maps->pair);
    kernels->rows_weighted_sum(rows, H, shard->sender, d_term, d_maps->pair_sender);
    kernels->product(rows, 1, H, d_term, 1, 1, shared->maps.pair_sender, H, 1, d_sender,
                     H);
}

/* Node features to queries, keys and values: work[1], work[2], work[3]. */
static void backward_attention(const jsp_gnn *gnn, const jsp_real *params,
                               const jsp_gnn_shared *shared, jsp_gnn_shard *shard,
                               jsp_real *d_params) {
    const int rows = shard->B * gnn->D;
    jsp_real *d_attention = shard->d_node_features, *d_mixed = shard->work[0];
    jsp_layernorm_backward(&gnn->node_norm, params, rows, shard->attention,
                           shard->node_moments, shard->d_node_features, d_attention,
                           d_params);
    jsp_linear_backward(&gnn->attention, params, rows, shard->mixed, d_attention, NULL,
                        d_params);
    pull_rows(rows, d_attention, shared->turned[JSP_GNN_ATTENTION], 0, d_mixed);
    jsp_attention_backward(shard->B, gnn->D, H, JSP_GNN_HEADS, shard->query, shard->key,
                           shard->value, shard->weights, d_mixed, shard->work[1],
                           shard->work[2], shard->work[3], shard->attention_work);
}

/* Gradients of queries, keys and values, rows each, to that of the hidden layer of the
 * node update. */
static void backward_maps(const jsp_gnn_shared *shared, int rows,
                          const jsp_real *hidden, jsp_real *const d[3],
                          jsp_real *d_hidden, const jsp_gnn_maps *d_maps) {
    backward_map(rows, hidden, shared->turned[JSP_GNN_QUERY], d[0], 0, d_hidden,
                 d_maps->query);
    backward_map(rows, hidden, shared->turned[JSP_GNN_KEY], d[1], 1, d_hidden,
                 d_maps->key);
    backward_map(rows, hidden, shared->turned[JSP_GNN_VALUE], d[2], 1, d_hidden,
                 d_maps->value);
}

/* Stop logits and global features to the graph's vector, d_global_features. */
static void backward_globals(const jsp_gnn *gnn, const jsp_real *params,
                             const jsp_gnn_shared *shared, jsp_gnn_shard *shard,
                             jsp_real *d_params) {
    const int B = shard->B;
    jsp_real *d_features = shard->d_global_features;
    jsp_linear_backward(&gnn->stop[1], params, B, shard->stop, shard->stop_logit,
                        shard->stop_work, d_params);
    backward_hidden(&gnn->stop[0], shared->turned[JSP_GNN_STOP], B,
                    shard->global_features, shard->stop, shard->stop_work, d_features,
                    d_params);
    jsp_layernorm_backward(&gnn->global_norm, params, B, shard->graphnet.globals,
                           shard->global_moments, d_features, d_features, d_params);
}

/* Outputs to queries, keys and values (work) and to the graphs' vectors
 * (d_global_features). */
static void backward_outputs(const jsp_gnn *gnn, const jsp_real *params,
                             const jsp_gnn_shared *shared, jsp_gnn_shard *shard,
                             jsp_real *d_params, const jsp_gnn_maps *d_maps) {
    const int rows = shard->B * gnn->D;
    backward_policy(gnn, shard);
    if (!shard->stops_only) {
        backward_logits(gnn, shared, shard, d_maps);
        backward_hidden(&gnn->sender[0], shared->turned[JSP_GNN_SENDER], rows,
                        shard->node_features, shard->sender, shard->work[0],
                        shard->d_node_features, d_params);
        backward_hidden(&gnn->receiver[0], shared->turned[JSP_GNN_RECEIVER], rows,
                        shard->node_features, shard->receiver, shard->work[1],
                        shard->d_node_features, d_params);
    }
    backward_attention(gnn, params, shared, shard, d_params);
    backward_globals(gnn, params, shared, shard, d_params);
}

void jsp_gnn_shard_backward(const jsp_gnn *gnn, const jsp_real *params,
                            const jsp_gnn_shared *shared, jsp_gnn_shard *shard,
                            const jsp_graphnet_pull *pull, jsp_real *d_params,
                            jsp_real *d_maps) {
    const jsp_gnn_maps maps = jsp_gnn_maps_place(d_maps);
    backward_outputs(gnn, params, shared, shard, d_params, &maps);
    backward_maps(shared, shard->B * gnn->D, shard->graphnet.node_hidden,
                  shard->work + 1, pull->node, &maps);
    jsp_graphnet_backward(&gnn->graphnet, shared->turned + JSP_GNN_NODE, shard->B,
                          &shard->graphnet, shard->d_global_features, pull, d_params,
                          shard->global_work);
}

void jsp_gnn_shard_backward_pair(const jsp_gnn *gnn, const jsp_real *params,
                                 const jsp_gnn_shared *shared, jsp_gnn_shard *base,
                                 jsp_gnn_shard *next, const int *action,
                                 const jsp_graphnet_pull *pull, jsp_real *d_params,
                                 jsp_real *d_maps) {
    const int B = base->B, D = gnn->D;
    const size_t numbers = (size_t)(B * D) * H;
    const jsp_gnn_maps maps = jsp_gnn_maps_place(d_maps);
    backward_outputs(gnn, params, shared, base, d_params, &maps);
    backward_outputs(gnn, params, shared, next, d_params, &maps);
    /* activations of `next` that nobody reads any more take the rows of the ends */
    jsp_real *hidden = next->query;
    jsp_real *const d[3] = {next->key, next->value, next->mixed};
    gather_ends(B, D, action, next->graphnet.node_hidden, hidden);
    for (int t = 0; t < 3; t++) {
        jsp_real *rows = next->work[t + 1];
        gather_ends(B, D, action, rows, d[t]);
        for (size_t e = 0; e < 2 * (size_t)B; e++) {
            memset(rows + row_of_end(D, action, e / 2, e % 2), 0, H * sizeof *rows);
        }
        jsp_kernels_active()->add(numbers, rows, base->work[t + 1]);
    }
    backward_maps(shared, 2 * B, hidden, d, pull->ends, &maps);
    backward_maps(shared, B * D, base->graphnet.node_hidden, base->work + 1, pull->node,
                  &maps);
    jsp_graphnet_backward_pair(
        &gnn->graphnet, shared->turned + JSP_GNN_NODE, B, action, &base->graphnet,
        &next->graphnet,
        (jsp_real *const[]){base->d_global_features, next->d_global_features}, pull,
        d_params, (jsp_real *const[]){base->global_work, next->global_work});
}
