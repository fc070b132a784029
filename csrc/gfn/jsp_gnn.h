/* jsp_gnn.h - the network of the published method, generator `gnn`.
 *
 * Source: Deleu et al., "Joint Bayesian Inference of Graphical Structure and Parameters with
 * a Single Generative Flow Network", NeurIPS 2023. A graph goes through one round of message
 * passing (nn/jsp_graphnet.h), self-attention over its nodes and layer normalisation, which
 * gives features of nodes and of the graph; they make
 *
 *   log P(stop | G)      = log sigmoid(s),   s = N MLP_stop(graph)
 *   log P(add i -> j | G) = log sigmoid(-s) + log softmax over legal (i, j) of l_ij,
 *   l_ij = N <MLP_senders(node i), MLP_receivers(node j)>,   N rows of data
 *
 * and are what the heads for parameters read. Without a legal edge log P(stop) = 0.
 *
 * One step of training or of sampling:
 *
 *   jsp_gnn_shared_forward     once per step: everything that is the same in all graphs
 *   jsp_gnn_shard_forward      any number of shards of graphs, in any order or thread
 *   (heads and loss fill the gradients of the shards' outputs)
 *   jsp_gnn_shard_backward     adds to blocks of gradients, which each thread may own, and
 *                              leaves rows of its graphs (jsp_graphnet_pull)
 *   jsp_gnn_shared_backward    once, from the sum of those blocks and all rows
 *
 * Exact algebra that saves work: tables of edges (jsp_graphnet), and consecutive linear
 * maps multiplied together once per step (jsp_gnn_maps). A node costs 7 products with
 * 128 x 128 matrices instead of 12. About 300 to 500 nodes per shard keep its activations
 * in the second-level cache. */
#ifndef JSP_GNN_H
#define JSP_GNN_H

#include "jsp_graphnet.h"
#include "jsp_layernorm.h"
#include "jsp_parallel.h"

#define JSP_GNN_WIDTH 128
#define JSP_GNN_HEADS 4

/* Offsets only: the numbers are in the block of the table of parameters, whose names are
 * those of the published network with the module path shortened. */
typedef struct jsp_gnn {
    int D;
    jsp_graphnet graphnet;
    jsp_linear projection; /* 128 -> 384: inputs of query, key and value */
    jsp_linear query, key, value, attention; /* attention: what follows the heads */
    jsp_layernorm node_norm, global_norm;
    jsp_linear sender[2], receiver[2], stop[2];
} jsp_gnn;

/* Registers all tensors of the network; heads may add theirs behind them. */
jsp_gnn jsp_gnn_create(jsp_params *params, int D);

/* ---- what all graphs of a step share ------------------------------------------------ */

/* Linear maps multiplied together, jsp_gnn_maps.h; places in a block of numbers. */
typedef struct jsp_gnn_maps {
    jsp_real *query, *key, *value; /* [129, 128] each, last row the bias */
    jsp_real *pair;                /* [129, 128] sender's hidden layer -> receiver's */
    jsp_real *pair_sender;         /* [128] the term without receiver */
} jsp_gnn_maps;

/* Matrices that backward passes want transposed, which is done once per step. */
enum {
    JSP_GNN_QUERY,
    JSP_GNN_KEY,
    JSP_GNN_VALUE,
    JSP_GNN_PAIR,
    JSP_GNN_ATTENTION,
    JSP_GNN_SENDER,
    JSP_GNN_RECEIVER,
    JSP_GNN_STOP,
    JSP_GNN_NODE,
    JSP_GNN_GLOBAL, /* both layers; node and global are for jsp_graphnet */
    JSP_GNN_TURNED = JSP_GNN_GLOBAL + 2
};

typedef struct jsp_gnn_shared {
    jsp_graphnet_pairs pairs;
    jsp_real *turned[JSP_GNN_TURNED]; /* [128, 128] each */
    jsp_gnn_maps maps;
    jsp_graphnet_tables tables, d_tables; /* for the pairs of the step */
    jsp_real *map_block, *table_block, *d_table_block;
    jsp_real *map_cache, *table_cache, *scratch;
    char *memory;            /* owned; all of the above point into it */
    jsp_parallel_team *team; /* borrowed, for both passes; NULL = one thread */
} jsp_gnn_shared;

jsp_status jsp_gnn_shared_create(const jsp_gnn *gnn, jsp_gnn_shared *shared,
                                 jsp_error *error);
void jsp_gnn_shared_destroy(jsp_gnn_shared *shared); /* all-zero allowed */

/* Call jsp_graphnet_pairs_reset, _collect for every batch and _finish on shared->pairs
 * first; then this fills maps and tables. */
void jsp_gnn_shared_forward(const jsp_gnn *gnn, const jsp_real *params,
                            jsp_gnn_shared *shared);

/* Given what shards left, d_maps (jsp_gnn_maps.h; the sum of all blocks) and pull, whose
 * graphs are all those of the step: gradients accumulate into d_params. Destroys d_maps and
 * the caches: one call per forward pass. */
void jsp_gnn_shared_backward(const jsp_gnn *gnn, const jsp_real *params,
                             jsp_gnn_shared *shared, const jsp_graphnet_pull *pull,
                             jsp_real *d_maps, jsp_real *d_params);

/* ---- graphs ------------------------------------------------------------------------- */

/* Activations of up to `capacity` graphs. M = B D rows of nodes. */
typedef struct jsp_gnn_shard {
    int capacity, B;
    /* 1, set by the owner before a forward pass: of the policies only log P(stop) is made,
     * and d_log_pi of edges is not read. A loss looks at no more of G'. */
    int stops_only;
    /* outputs */
    jsp_real *node_features;   /* [B, D, 128] */
    jsp_real *global_features; /* [B, 128] */
    double *log_pi; /* [B, D D + 1] i * D + j adds i -> j, D D stops; -inf = illegal */
    /* gradients of the outputs; whoever calls the backward pass has filled all three.
     * They are destroyed by it. Entries of illegal actions are not read. */
    jsp_real *d_node_features, *d_global_features;
    double *d_log_pi;
    /* inner layers */
    jsp_graphnet_state graphnet;
    jsp_real *query, *key, *value, *weights, *mixed, *attention,
        *node_moments;                                /* M rows */
    jsp_real *sender, *receiver, *pair, *pair_sender; /* M rows */
    jsp_real *logits; /* [B, D D], times N, up to a constant */
    jsp_real *global_moments, *stop, *stop_logit; /* B rows */
    jsp_real *work[4];                            /* [M, 128] */
    jsp_real *global_work, *stop_work;            /* [B, 128] */
    jsp_real *attention_work, *square_work;       /* one graph */
    double logit_scale;                           /* N of the last forward pass */
    const uint8_t *adjacency, *mask; /* of the last forward pass, borrowed */
    char *memory; /* owned; all pointers above but the borrowed ones point into it */
} jsp_gnn_shard;

jsp_status jsp_gnn_shard_create(const jsp_gnn *gnn, int capacity, jsp_gnn_shard *shard,
                                jsp_error *error);
void jsp_gnn_shard_destroy(jsp_gnn_shard *shard); /* all-zero allowed */

/* adjacency, mask [B, D, D]: edges i -> j, and edges that may be added; B <= capacity.
 * Both must stay as they are until the backward pass. */
void jsp_gnn_shard_forward(const jsp_gnn *gnn, const jsp_real *params,
                           const jsp_gnn_shared *shared, jsp_gnn_shard *shard, int B,
                           const uint8_t *adjacency, const uint8_t *mask,
                           double logit_scale);

/* The same for the graphs of `base`, after its forward pass, each with one more edge:
 * action[b] = i * D + j, adjacency has it. What i and j do not change is not computed
 * again: queries, keys and values of all other nodes are copies. */
void jsp_gnn_shard_forward_next(const jsp_gnn *gnn, const jsp_real *params,
                                const jsp_gnn_shared *shared, const jsp_gnn_shard *base,
                                jsp_gnn_shard *shard, const uint8_t *adjacency,
                                const uint8_t *mask, const int *action,
                                double logit_scale);

/* Gradients accumulate into d_params (block of the parameters) and d_maps (block of
 * jsp_gnn_maps_size numbers); the numbers of `pull` for the graphs of the shard, the first
 * first, are overwritten. Of the activations only outputs survive: one backward pass per
 * forward pass. */
void jsp_gnn_shard_backward(const jsp_gnn *gnn, const jsp_real *params,
                            const jsp_gnn_shared *shared, jsp_gnn_shard *shard,
                            const jsp_graphnet_pull *pull, jsp_real *d_params,
                            jsp_real *d_maps);

/* The same for graphs and their next ones. */
void jsp_gnn_shard_backward_pair(const jsp_gnn *gnn, const jsp_real *params,
                                 const jsp_gnn_shared *shared, jsp_gnn_shard *base,
                                 jsp_gnn_shard *next, const int *action,
                                 const jsp_graphnet_pull *pull, jsp_real *d_params,
                                 jsp_real *d_maps);

#endif
