/* jsp_graphnet.h - one round of message passing over directed graphs of D nodes.
 *
 * Each node has a learned vector of its own (an embedding of its index), all edges share
 * one learned vector, and a graph starts from a single zero. With MLP = linear, ReLU,
 * linear:
 *
 *   edge s -> r   e(s, r) = MLP_edge [edge vector, embedding s, embedding r, 0]
 *   node v        n(v) = MLP_node [embedding v, sum of e over edges leaving v,
 *                                  sum of e over edges entering v, 0]
 *   graph         g = MLP_global [sum of n, sum of e, 0]
 *
 * e(s, r) is the same in every graph, and the first layers of the other two are linear in
 * it. So a step first makes tables: for every pair (s, r) that occurs in it, what that
 * edge adds inside the ReLU of its sender, of its receiver and of the graph. A graph then
 * costs three additions of rows per edge, and no edge is ever padded. Backward, graphs leave
 * gradients inside these ReLUs; once per step every row of the tables collects its own from
 * all graphs that have the edge, and then they go through the edge MLP.
 *
 * The second layer of the node update is not applied to single nodes here: readers
 * multiply it with what follows. */
#ifndef JSP_GRAPHNET_H
#define JSP_GRAPHNET_H

#include "jsp_linear.h"

typedef struct jsp_graphnet {
    int D, H;
    size_t embedding;     /* [D, H], offset into the parameter block */
    size_t edge_vector;   /* [1, H] */
    jsp_linear edge[2];   /* 3 H + 1 -> H -> H */
    jsp_linear node[2];   /* 3 H + 1 -> H -> H */
    jsp_linear global[2]; /* 2 H + 1 -> H -> H */
} jsp_graphnet;

/* Registers "embed.embeddings", "edge_embed", "edge.linear_0.w", ...,
 * "global.linear_1.b". */
jsp_graphnet jsp_graphnet_create(jsp_params *params, int D, int H);

/* ---- pairs and tables --------------------------------------------------------------- */

/* The pairs (sender, receiver) that occur in a step, ordered by sender * D + receiver. */
typedef struct jsp_graphnet_pairs {
    int n;
    int *sender, *receiver; /* [D (D - 1)] */
    int *row; /* [D, D] index of a pair in the tables, -1 = does not occur */
} jsp_graphnet_pairs;

/* Forgets all pairs; collect may then be called for any number of batches, and after the
 * last of them finish, which numbers the pairs. adjacency [B, D, D], 1 = edge. */
void jsp_graphnet_pairs_reset(jsp_graphnet_pairs *pairs, int D);
void jsp_graphnet_pairs_collect(jsp_graphnet_pairs *pairs, int D, int B,
                                const uint8_t *adjacency);
void jsp_graphnet_pairs_finish(jsp_graphnet_pairs *pairs, int D);

/* Places in one block of jsp_graphnet_tables_size numbers; gradients use the same form. */
typedef struct jsp_graphnet_tables {
    jsp_real *node;   /* [D, H] embedding part of the node update, bias included */
    jsp_real *out;    /* [pairs, H] what an edge adds to its sender */
    jsp_real *in;     /* [pairs, H] ... to its receiver */
    jsp_real *global; /* [pairs, H] ... to the graph */
} jsp_graphnet_tables;

size_t jsp_graphnet_tables_size(const jsp_graphnet *net, int n_pairs);
jsp_graphnet_tables jsp_graphnet_tables_place(const jsp_graphnet *net, int n_pairs,
                                              jsp_real *block);

/* What the tables' backward pass reads; jsp_graphnet_cache_size numbers. */
size_t jsp_graphnet_cache_size(const jsp_graphnet *net, int n_pairs);

/* Fills tables and cache for all pairs: first what belongs to nodes, then blocks of pairs
 * 0 .. jsp_graphnet_n_blocks - 1 in any order or thread. */
void jsp_graphnet_tables_forward(const jsp_graphnet *net, const jsp_real *params,
                                 const jsp_graphnet_pairs *pairs,
                                 const jsp_graphnet_tables *tables, jsp_real *cache);
int jsp_graphnet_n_blocks(const jsp_graphnet_pairs *pairs);
void jsp_graphnet_block_forward(const jsp_graphnet *net, const jsp_real *params,
                                const jsp_graphnet_pairs *pairs,
                                const jsp_graphnet_tables *tables, jsp_real *cache,
                                int block);

/* All graphs of a step, and the gradients inside ReLUs that they leave. Graph b may come with
 * a next one, which has the edge action[b] = i * D + j besides; then `node` of i and j
 * includes what comes from there, and so does `graph`. */
typedef struct jsp_graphnet_pull {
    int B;
    const uint8_t *adjacency; /* [B, D, D] */
    const int *action;        /* [B], NULL = no next graphs */
    jsp_real *node;           /* [B, D, H] */
    jsp_real *graph;          /* [B, H] */
    jsp_real *ends; /* [B, 2, H] nodes i and j of the next graphs by themselves */
    jsp_real *next; /* [B, H] the next graphs by themselves */
} jsp_graphnet_pull;

/* Numbers for B graphs, and their places; the rest is for the caller to fill. */
size_t jsp_graphnet_pull_size(const jsp_graphnet *net, int B);
jsp_graphnet_pull jsp_graphnet_pull_place(const jsp_graphnet *net, int B,
                                          jsp_real *block);

/* The same from graph `first` on. */
jsp_graphnet_pull jsp_graphnet_pull_from(const jsp_graphnet *net,
                                         const jsp_graphnet_pull *pull, int first);

/* Rows of d_tables that belong to node v and the edges at it, overwritten: `node`, `out` and
 * `global` of edges leaving it, `in` of edges entering it. All v in any order or thread. */
void jsp_graphnet_node_backward(const jsp_graphnet *net,
                                const jsp_graphnet_pairs *pairs,
                                const jsp_graphnet_pull *pull,
                                const jsp_graphnet_tables *d_tables, int v);

/* Given gradients of the tables: gradients of embeddings, edge vector, edge MLP and first
 * layers accumulate into d_params. First, in any order or thread, weight_backward for
 * k < JSP_GRAPHNET_WEIGHTS (weights of table k) and block_backward for every block; then
 * tables_backward for what is left. scratch [2 pairs + 2 D, H], the same in all calls. */
#define JSP_GRAPHNET_WEIGHTS 3
void jsp_graphnet_weight_backward(const jsp_graphnet *net,
                                  const jsp_graphnet_pairs *pairs,
                                  const jsp_graphnet_tables *d_tables,
                                  const jsp_real *cache, jsp_real *d_params, int k);
void jsp_graphnet_block_backward(const jsp_graphnet *net, const jsp_real *params,
                                 const jsp_graphnet_pairs *pairs,
                                 const jsp_graphnet_tables *d_tables,
                                 const jsp_real *cache, jsp_real *scratch, int block);
void jsp_graphnet_tables_backward(const jsp_graphnet *net, const jsp_real *params,
                                  const jsp_graphnet_pairs *pairs,
                                  const jsp_graphnet_tables *d_tables,
                                  const jsp_real *cache, jsp_real *d_params,
                                  jsp_real *scratch);

/* ---- graphs ------------------------------------------------------------------------- */

/* Activations of B graphs. */
typedef struct jsp_graphnet_state {
    jsp_real *node_hidden; /* [B, D, H] after the ReLU of the node update */
    jsp_real *hidden_sum;  /* [B, H] sum of node_hidden over nodes */
    jsp_real *edge_sum;    /* [B, H] what the edges add inside the ReLU of the graph */
    jsp_real *node_sum;    /* [B, H] sum of n(v) over nodes */
    jsp_real *global_hidden; /* [B, H] after the ReLU of the global update */
    jsp_real *globals;       /* [B, H] g */
} jsp_graphnet_state;

/* All of `state` overwritten; every edge must be among the pairs. */
void jsp_graphnet_forward(const jsp_graphnet *net, const jsp_real *params,
                          const jsp_graphnet_pairs *pairs,
                          const jsp_graphnet_tables *tables, int B,
                          const uint8_t *adjacency, const jsp_graphnet_state *state);

/* The same for graphs that are those of `before` plus the edge action[b] = i * D + j, whose
 * state is base: only the nodes i and j differ, all others are copies. `adjacency` has the
 * edge. */
void jsp_graphnet_forward_next(const jsp_graphnet *net, const jsp_real *params,
                               const jsp_graphnet_pairs *pairs,
                               const jsp_graphnet_tables *tables, int B,
                               const uint8_t *adjacency, const int *action,
                               const jsp_graphnet_state *base,
                               const jsp_graphnet_state *state);

/* turned[3]: weights of node[1], of the first H rows of global[0], and of global[1],
 * transposed. Given d_globals [B, H] (destroyed, and so is state->node_sum) and in pull->node the
 * gradient that reaches node_hidden from outside: leaves pull->node and pull->graph; those
 * of the global update and of node[1] (its use in the sum) accumulate into d_params.
 * scratch [B, H]. */
void jsp_graphnet_backward(const jsp_graphnet *net, jsp_real *const *turned, int B,
                           const jsp_graphnet_state *state, jsp_real *d_globals,
                           const jsp_graphnet_pull *pull, jsp_real *d_params,
                           jsp_real *scratch);

/* Both passes at once for graphs and their next ones. Given pull->node includes what reaches
 * the copies in the next ones, given pull->ends are the two nodes of the next graphs that are
 * no copies, i first. d_globals and scratch of both, first the graphs', then the next
 * ones'. */
void jsp_graphnet_backward_pair(const jsp_graphnet *net, jsp_real *const *turned, int B,
                                const int *action, const jsp_graphnet_state *base,
                                const jsp_graphnet_state *next,
                                jsp_real *const d_globals[2],
                                const jsp_graphnet_pull *pull, jsp_real *d_params,
                                jsp_real *const scratch[2]);

#endif
