/* jsp_head.h - heads of the published method: the parameters of each node given a graph as a
 * Normal whose mean and precision factor come from the network's features.
 *
 * Node i with the active parameters theta_0, ..., theta_{k-1} has
 *
 *   theta = loc + U^-1 eps,  eps standard normal,   U upper triangular, k x k
 *   log P(theta | G) = -1/2 (k log 2 pi + |U (theta - loc)|^2) + sum of log U_aa
 *
 *   diag   one weight per parent. hidden = relu([node, graph] W + b), 256 -> 128; two
 *          outputs per weight: loc, and r with 1 / U_aa = softplus(r)
 *   full   one weight per parent. hidden = relu(node W + b), 128 -> 128; loc and r with
 *          U_aa = softplus(r) per parent, and U_ac itself for each pair of parents a < c
 *   mlp    the weights of a network per node (jsp_model_mlp.c): biases of its units, rows
 *          of the first layer for the parents, output bias, output weights; otherwise diag
 *
 * softplus is log1p(e^r), exact down to r = -700, where doubles end; like the published one
 * it has no floor, so that beyond it densities are infinite, which the trainer reports.
 *
 * A local head (not published) sees of the graph only the node and its parents: instead of
 * the network's features it has relu(own_i + sum over parents j of pair_ij), and nothing
 * of the rest of the graph.
 *
 * The published network computes outputs for all possible parents and masks them. Here only
 * those of actual parents are computed: each is the product of the hidden layer with one row
 * of the transposed weights, which are made once per step. All numbers of a batch stand in
 * lists over active parameters ("entries"), node by node, so work and memory follow the
 * edges; samples of an entry are K numbers side by side. Densities are double.
 *
 * A step: jsp_head_shared_forward, jsp_head_forward, then jsp_head_normal_sample and
 * whichever other functions of jsp_head_normal.h the loss needs, with their _backward
 * partners, which collect gradients of loc and U in the state, then jsp_head_backward, and
 * in the end jsp_head_shared_backward. */
#ifndef JSP_HEAD_H
#define JSP_HEAD_H

#include "jsp_linear.h"

typedef enum jsp_head_kind { JSP_HEAD_DIAG, JSP_HEAD_FULL, JSP_HEAD_MLP } jsp_head_kind;

typedef struct jsp_head_spec {
    jsp_head_kind kind;
    int n_units; /* of a node's network, for `mlp` */
    int is_local;
} jsp_head_spec;

typedef struct jsp_head {
    jsp_head_spec spec;
    int D;
    int P; /* parameters of a node that has all others as parents and itself */
    jsp_linear hidden, output;
    size_t own, pair; /* local heads: [D, 128] and [D, D, 128] of (node, parent) */
} jsp_head;

/* Registers "posterior_parameters.edges.linear_0.w", ...; the output of `diag` and `mlp`
 * starts at 0. */
jsp_head jsp_head_create(jsp_params *params, jsp_head_spec spec, int D);

/* Most entries that one acyclic graph can have. */
size_t jsp_head_max_entries(const jsp_head *head);

/* ---- transposed weights of the output, shared by all graphs of a step --------------- */

size_t jsp_head_shared_size(const jsp_head *head);

/* shared overwritten */
void jsp_head_shared_forward(const jsp_head *head, const jsp_real *params,
                             jsp_real *shared);

/* Gradients of the output's weights accumulate into d_params. */
void jsp_head_shared_backward(const jsp_head *head, const jsp_real *d_shared,
                              jsp_real *d_params);

/* ---- graphs ------------------------------------------------------------------------- */

/* Rows are nodes of graphs: all of them, graph by graph, or one per graph. Row n owns the
 * entries first[n] .. first[n+1]-1 and the numbers factor_first[n] .. of `factor`: U_aa of
 * every entry (diag, mlp), or U row by row from its diagonal on (full). Entries are in
 * ascending order of `index`, which counts the P parameters of a node: a parent's number, or
 * with `mlp` b1 [units], w1 [D, units], b2, w2 [units]. */
typedef struct jsp_head_state {
    int capacity, B, n_rows;
    int *row_first;              /* [B + 1] rows of graph b begin here */
    int *graph, *node;           /* [rows] */
    int *first, *factor_first;   /* [rows + 1] */
    int *parent_first;           /* [rows + 1] */
    int *parent;                 /* [edges] */
    int *index;                  /* [entries] */
    double *loc, *d_loc;         /* [entries] */
    double *raw;                 /* [entries] r */
    double *factor, *d_factor;   /* U */
    double *inverse;             /* U^-1, in the same form */
    jsp_real *hidden, *d_hidden; /* [rows, 128] */
    jsp_real *dense;      /* [rows, 2 D] loc and r of all D, then gradients; not mlp */
    jsp_real *offset;     /* [rows, 128] part of the graph's features */
    jsp_real *graph_part; /* [B, 128] */
    jsp_real *local;      /* [rows, 128] features of a local head, else NULL */
    const jsp_real *node_features, *global_features; /* of the forward pass, borrowed */
    char *memory;                                    /* owned */
} jsp_head_state;

/* Room for `capacity` acyclic graphs. */
jsp_status jsp_head_state_create(const jsp_head *head, int capacity,
                                 jsp_head_state *state, jsp_error *error);
void jsp_head_state_destroy(jsp_head_state *state); /* all-zero allowed */

/* Entries of the last forward pass; those of graph b are [first, end). */
int jsp_head_entries(const jsp_head_state *state);
void jsp_head_entries_of(const jsp_head_state *state, int b, size_t *first,
                         size_t *end);

/* adjacency [B, D, D] of acyclic graphs; only[b] is the node of graph b that counts, NULL =
 * all (a choice is for local heads); node_features [B, D, 128] and global_features [B, 128]
 * must stay until the backward pass, a local head does not look at them. Clears d_loc and
 * d_factor. */
void jsp_head_forward(const jsp_head *head, const jsp_real *params,
                      const jsp_real *shared, jsp_head_state *state, int B,
                      const uint8_t *adjacency, const int *only,
                      const jsp_real *node_features, const jsp_real *global_features);

/* From what was collected: d_node_features [B, D, 128] and d_global_features [B, 128]
 * overwritten (zeros for the latter with `full`, for both with local heads); gradients of
 * the hidden layer accumulate into d_params, those of the output into d_shared. */
void jsp_head_backward(const jsp_head *head, const jsp_real *params,
                       const jsp_real *shared, jsp_head_state *state,
                       jsp_real *d_node_features, jsp_real *d_global_features,
                       jsp_real *d_params, jsp_real *d_shared);

#endif
