/* jsp_edges_state.h - where a walk over the pair slots stands.
 *
 * The graph so far, which candidates are still undecided ("open": their slot lies ahead
 * and they close no cycle), and for each open candidate its marginal log-odds. Rows of
 * odds are refreshed when their node gained a parent or lost an open candidate that
 * mattered. */
#ifndef JSP_EDGES_STATE_H
#define JSP_EDGES_STATE_H

#include "jsp_dag.h"
#include "jsp_edges_cache.h"

/* Numbers of one node that the features ask for. */
typedef struct jsp_edges_node {
    float expected_parents;  /* sum of chance over open candidates */
    float expected_children; /* sum of chance over open places as a parent */
    int16_t n_parents, n_ancestors, n_descendants; /* the latter two with itself */
} jsp_edges_node;

typedef struct jsp_edges_state {
    const jsp_scores *scores; /* borrowed */
    int stride;               /* length of the vectors of a row */
    int has_exclusions;       /* some parent sets have score -inf */
    jsp_dag dag;              /* graph so far */
    jsp_bits dirty;           /* nodes whose row must be refreshed */
    float *rows; /* [D, JSP_EDGES_CACHE_VECTORS, stride] as in the cache; the chance of
                    candidates that are not open is 0, the rest of them undefined */
    jsp_edges_node *node;    /* [D] */
    uint32_t *chosen;        /* [D] parents so far, local masks */
    uint32_t *open;          /* [D] open candidates, local masks */
    jsp_bits *open_parents;  /* [D] the same as sets of variables */
    jsp_bits *open_children; /* [D] nodes of which this one is an open candidate */
    char *memory;            /* borrowed: holds all arrays above and the dag */
} jsp_edges_state;

/* One vector of the row of `child`, [stride]. */
static inline float *jsp_edges_state_row(const jsp_edges_state *state, int child,
                                         int vector) {
    return state->rows +
           (size_t)(child * JSP_EDGES_CACHE_VECTORS + vector) * (size_t)state->stride;
}

/* Bytes of memory one state needs besides the struct (a multiple of 64). */
size_t jsp_edges_state_size(const jsp_scores *scores);

/* Lays a state out on `memory` (64-byte aligned); it must be started or copied next. */
void jsp_edges_state_init(jsp_edges_state *state, const jsp_scores *scores,
                          char *memory);

/* The graph of the required edges, with every candidate that may be added open and all
 * rows computed. */
void jsp_edges_state_start(jsp_edges_state *state, jsp_edges_cache *cache);

/* target = source, both laid out for the same scores. */
void jsp_edges_state_copy(jsp_edges_state *target, const jsp_edges_state *source);

/* Adds the edge parent -> child, whose candidate must be open; closes it, everything
 * that would now close a cycle, and everything that the tables now exclude. */
void jsp_edges_state_add(jsp_edges_state *state, int parent, int child);

/* Candidate `bit` of node `child` is decided: no edge. Does nothing when not open. */
void jsp_edges_state_close(jsp_edges_state *state, int child, int bit);

/* Has the memory that a refresh will need fetched. */
void jsp_edges_state_prefetch(const jsp_edges_state *state,
                              const jsp_edges_cache *cache);

/* Recomputes dirty rows. */
void jsp_edges_state_refresh(jsp_edges_state *state, jsp_edges_cache *cache);

/* Log-probability that adding parent -> child gives up: - sum over the candidate edges
 * c -> k that it forbids (c a descendant of child, k an ancestor of parent) of
 * log(1 + exp(D_ck) / (1 + exp(D_kc))), the two odds of the pair {c, k}. The reverse
 * edge child -> parent does not count. */
float jsp_edges_state_look_ahead(const jsp_edges_state *state, int parent, int child);

/* Number of ways in which parent -> child and two later edges would close a cycle, each
 * weighed with the chances P of the two: sum of P(c -> m) P(n -> k) over descendants c of
 * child, ancestors k of parent and descendants n of m, m and n neither of them. */
float jsp_edges_state_detour(const jsp_edges_state *state, int parent, int child);

#endif
