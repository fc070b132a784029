/* jsp_head.h - heads of the published method for linear models: the parameters of each node
 * given a graph as a Normal whose mean and precision factor come from the network's features.
 *
 * Node i with parents p_0 < ... < p_{k-1} has
 *
 *   theta = loc + U^-1 eps,  eps standard normal,   U upper triangular, k x k
 *   log P(theta | G) = -1/2 (k log 2 pi + |U (theta - loc)|^2) + sum of log U_aa
 *
 *   diag   hidden = relu([node, graph] W + b), 256 -> 128; two outputs per parent: loc, and r
 *          with 1 / U_aa = softplus(r)
 *   full   hidden = relu(node W + b), 128 -> 128; loc and r with U_aa = softplus(r) per
 *          parent, and U_ac itself for each pair of parents a < c
 *
 * The published network computes outputs for all possible parents and masks them. Here only
 * those of actual parents are computed: each is the product of the hidden layer with one row
 * of the transposed weights, which are made once per step. All numbers of a batch stand in
 * lists over its edges, node by node, so work and memory follow the edges; samples of an
 * entry are K numbers side by side. Densities are double.
 *
 * A step: jsp_head_shared_forward, jsp_head_forward, then jsp_head_normal_sample and
 * whichever other functions of jsp_head_normal.h the loss needs, with their _backward
 * partners, which collect gradients of loc and U in the state, then jsp_head_backward, and
 * in the end jsp_head_shared_backward. */
#ifndef JSP_HEAD_H
#define JSP_HEAD_H

#include "jsp_linear.h"

typedef enum jsp_head_kind { JSP_HEAD_DIAG, JSP_HEAD_FULL } jsp_head_kind;

typedef struct jsp_head {
    jsp_head_kind kind;
    int D;
    jsp_linear hidden, output;
} jsp_head;

/* Registers "posterior_parameters.edges.linear_0.w", ...; the output of `diag` starts at
 * 0. */
jsp_head jsp_head_create(jsp_params *params, jsp_head_kind kind, int D);

/* ---- transposed weights of the output, shared by all graphs of a step --------------- */

size_t jsp_head_shared_size(const jsp_head *head);

/* shared overwritten */
void jsp_head_shared_forward(const jsp_head *head, const jsp_real *params,
                             jsp_real *shared);

/* Gradients of the output's weights accumulate into d_params. */
void jsp_head_shared_backward(const jsp_head *head, const jsp_real *d_shared,
                              jsp_real *d_params);

/* ---- graphs ------------------------------------------------------------------------- */

/* Node n = b D + i owns the entries first[n] .. first[n+1]-1, one for each parent in
 * ascending order, and the numbers factor_first[n] .. of `factor`: U_aa of every parent
 * (diag), or U row by row from its diagonal on (full). */
typedef struct jsp_head_state {
    int capacity, B;
    int *first;                  /* [B D + 1] */
    int *factor_first;           /* [B D + 1] */
    int *parent;                 /* [entries] */
    double *loc, *d_loc;         /* [entries] */
    double *raw;                 /* [entries] r */
    double *factor, *d_factor;   /* U */
    double *inverse;             /* U^-1, in the same form */
    jsp_real *hidden, *d_hidden; /* [B D, 128] */
    jsp_real *offset;            /* [B D, 128] part of the graph's features */
    jsp_real *graph_part;        /* [B, 128] */
    const jsp_real *node_features, *global_features; /* of the forward pass, borrowed */
    char *memory;                                    /* owned */
} jsp_head_state;

/* Room for `capacity` acyclic graphs. */
jsp_status jsp_head_state_create(const jsp_head *head, int capacity,
                                 jsp_head_state *state, jsp_error *error);
void jsp_head_state_destroy(jsp_head_state *state); /* all-zero allowed */

/* Entries of the last forward pass. */
int jsp_head_entries(const jsp_head *head, const jsp_head_state *state);

/* adjacency [B, D, D] of acyclic graphs; node_features [B, D, 128] and global_features
 * [B, 128] must stay until the backward pass. Clears d_loc and d_factor. */
void jsp_head_forward(const jsp_head *head, const jsp_real *params,
                      const jsp_real *shared, jsp_head_state *state, int B,
                      const uint8_t *adjacency, const jsp_real *node_features,
                      const jsp_real *global_features);

/* From what was collected: d_node_features [B, D, 128] and d_global_features [B, 128]
 * overwritten (zeros for the latter with `full`); gradients of the hidden layer accumulate
 * into d_params, those of the output into d_shared. */
void jsp_head_backward(const jsp_head *head, const jsp_real *params,
                       const jsp_real *shared, jsp_head_state *state,
                       jsp_real *d_node_features, jsp_real *d_global_features,
                       jsp_real *d_params, jsp_real *d_shared);

#endif
