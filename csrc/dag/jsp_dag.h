/* jsp_dag.h - a directed acyclic graph that grows edge by edge.
 *
 * Kept up to date with every added edge: parents, children, the transitive closure
 * (ancestors and descendants, each set containing the node itself) and the mask of
 * legal edges. Adding i -> j joins every ancestor of i with every descendant of j: O(D)
 * words. Undo replays a journal of the closure rows that changed; the closure of a DAG
 * has at most D (D - 1) / 2 pairs, so the journal has at most 3/2 D (D - 1) entries. */
#ifndef JSP_DAG_H
#define JSP_DAG_H

#include "jsp_bits.h"
#include "jsp_status.h"

typedef struct jsp_dag_change jsp_dag_change;

typedef struct jsp_dag {
    int n_variables;
    int n_words; /* of the sets, that are in use */
    int n_edges;
    jsp_bits *parents;       /* [D] */
    jsp_bits *children;      /* [D] */
    jsp_bits *ancestors;     /* [D], self included */
    jsp_bits *descendants;   /* [D], self included */
    jsp_dag_change *journal; /* NULL when the dag was made without undo */
    int journal_used;
} jsp_dag;

/* Bytes of memory one dag needs besides the struct (a multiple of 64). */
size_t jsp_dag_size(int n_variables, int with_undo);

/* Sets up the empty graph on `memory` of jsp_dag_size bytes (64-byte aligned,
 * borrowed). */
void jsp_dag_init(jsp_dag *dag, int n_variables, int with_undo, void *memory);

/* Back to the empty graph. */
void jsp_dag_reset(jsp_dag *dag);

/* target = source; same number of variables; the journal is not copied but emptied. */
void jsp_dag_copy(jsp_dag *target, const jsp_dag *source);

/* Parents i that may be added to j: not j, not a parent already, no cycle. */
jsp_bits jsp_dag_legal_parents(const jsp_dag *dag, int j);

/* Adds i -> j, which must be legal. */
void jsp_dag_add(jsp_dag *dag, int i, int j);

/* Takes back the last jsp_dag_add (the dag must have been made with undo).
 * Returns 0, or -1 when there is nothing to undo. */
int jsp_dag_undo(jsp_dag *dag);

/* Row of the first cyclic graph (a self-loop counts) among graphs [n, D, D] bytes,
 * or -1 when all are acyclic. */
long jsp_dag_find_cycle(int n_variables, long n, const uint8_t *graphs);

/* Batches: n dags on one block. */
typedef struct jsp_dag_batch {
    int n;
    jsp_dag *dag; /* [n], owned */
    void *memory; /* owned */
} jsp_dag_batch;

jsp_status jsp_dag_batch_create(jsp_dag_batch *batch, int n, int n_variables,
                                int with_undo, jsp_error *error);
void jsp_dag_batch_destroy(jsp_dag_batch *batch); /* all-zero allowed */

#endif
