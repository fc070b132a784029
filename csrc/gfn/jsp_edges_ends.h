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
 * edge joins each ancestor of its parent with each descendant of its child, and the new
 * pairs are written down, so that the backward pass can take them off again. */
#ifndef JSP_EDGES_ENDS_H
#define JSP_EDGES_ENDS_H

#include "jsp_dag.h"
#include "jsp_real.h"
#include "jsp_status.h"

/* For a group of walks; T = number of the walk, D variables, W = twice the width of the
 * network: the first half is for a node as parent of an option, the second as child. */
typedef struct jsp_edges_ends {
    int D, W;
    size_t above, below; /* offsets of the tensors [D, W] in the parameter block */
    jsp_real *sum;       /* [T, D, W] owned */
    jsp_real *d_sum;     /* [T, D, W] its gradient; NULL without record; owned */
    int16_t *journal;    /* [T, D (D - 1) / 2, 2] ancestor and descendant of the pairs
                            joined so far; owned */
    int *n_journal;      /* [T] owned */
} jsp_edges_ends;

/* Room for T walks. with_record keeps what the backward pass needs. */
jsp_status jsp_edges_ends_create(jsp_edges_ends *ends, int D, int W, size_t above,
                                 size_t below, int T, int with_record,
                                 jsp_error *error);
void jsp_edges_ends_destroy(jsp_edges_ends *ends); /* all-zero allowed */

/* The sums of node x in walk t, [W], or their gradient. */
static inline jsp_real *jsp_edges_ends_of(const jsp_edges_ends *ends, jsp_real *sum,
                                          int t, int x) {
    return sum + ((size_t)t * (size_t)ends->D + (size_t)x) * (size_t)ends->W;
}

/* Walk t begins with the graph `dag`. */
void jsp_edges_ends_start(jsp_edges_ends *ends, const jsp_real *params, int t,
                          const jsp_dag *dag);

/* Walk t is about to add parent -> child to `dag`. Returns the number of new pairs. */
int jsp_edges_ends_join(jsp_edges_ends *ends, const jsp_real *params, int t,
                        const jsp_dag *dag, int parent, int child);

/* The backward pass of walks 0 .. T - 1 begins: d_sum = 0. */
void jsp_edges_ends_clear(jsp_edges_ends *ends, int T);

/* d_sum += gradients d [n, W / 2] of the inputs of options parent -> child in the walks
 * walk[0 .. n - 1]. */
void jsp_edges_ends_collect(jsp_edges_ends *ends, int parent, int child, int n,
                            const jsp_real *d, const int16_t *walk);

/* Takes the last n pairs of walk t off the journal and adds their gradients to d_params;
 * n < 0 = all that are left. */
void jsp_edges_ends_part(jsp_edges_ends *ends, int t, int n, jsp_real *d_params);

#endif
