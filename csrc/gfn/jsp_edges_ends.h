/* jsp_edges_ends.h - what the options of a walk see of the order that its edges imply.
 *
 * Beyond 16 variables up to half of all pairs of nodes end up with one above the other, and
 * which edges can still follow depends on that more than on the edges themselves. An
 * option i -> j therefore sees, before the first ReLU,
 *
 *     sum over ancestors k of i of above[k, parent] + over descendants c of below[c, parent]
 *   + sum over ancestors k of j of above[k, child]  + over descendants c of below[c, child]
 *
 * (without i and j themselves). The sums of every node are kept as the walk goes: a new
 * edge joins each ancestor of its parent with each descendant of its child. Most of these
 * ancestors get the same new descendants, so new pairs come in groups of which each node
 * of one side joins each of the other: their vectors are added up once. Groups are written
 * down, so that the backward pass can take them off again. */
#ifndef JSP_EDGES_ENDS_H
#define JSP_EDGES_ENDS_H

#include "jsp_dag.h"
#include "jsp_real.h"

#define JSP_EDGES_ENDS_MAX_WIDTH 128

/* For a group of walks; T = number of the walk, D variables, W <= JSP_EDGES_ENDS_MAX_WIDTH
 * twice the width of the network: the first half is for a node as parent of an option, the
 * second as child. */
typedef struct jsp_edges_ends {
    int D, W;
    size_t above, below; /* offsets of the tensors [D, W] in the parameter block */
    jsp_real *sum;       /* [T, D, W] */
    jsp_real *d_sum;     /* [T, D, W] its gradient; NULL without record */
    int16_t *journal;    /* [T, 2 D (D - 1)] of each group nodes above, nodes below,
                            their numbers; NULL without record */
    int *n_journal;      /* [T] numbers in use */
} jsp_edges_ends;

/* Bytes of memory that T walks need (a multiple of 64). with_record keeps what the
 * backward pass needs. */
size_t jsp_edges_ends_size(int D, int W, int T, int with_record);

/* Lays it out on `memory` (64-byte aligned, borrowed). */
void jsp_edges_ends_init(jsp_edges_ends *ends, int D, int W, size_t above, size_t below,
                         int T, int with_record, char *memory);

/* The sums of node x in walk t, [W], or their gradient. */
static inline jsp_real *jsp_edges_ends_of(const jsp_edges_ends *ends, jsp_real *sum,
                                          int t, int x) {
    return sum + ((size_t)t * (size_t)ends->D + (size_t)x) * (size_t)ends->W;
}

/* Walk t begins with the graph `dag`. */
void jsp_edges_ends_start(jsp_edges_ends *ends, const jsp_real *params, int t,
                          const jsp_dag *dag);

/* Walk t is about to add parent -> child to `dag`. Returns the number of new groups. */
int jsp_edges_ends_join(jsp_edges_ends *ends, const jsp_real *params, int t,
                        const jsp_dag *dag, int parent, int child);

/* The backward pass of walks 0 .. T - 1 begins: d_sum = 0. Its caller adds the gradients
 * of the inputs of options. */
void jsp_edges_ends_clear(jsp_edges_ends *ends, int T);

/* Takes the last n groups of walk t off the journal and adds their gradients to d_params;
 * n < 0 = all that are left. */
void jsp_edges_ends_part(jsp_edges_ends *ends, int t, int n, jsp_real *d_params);

#endif
