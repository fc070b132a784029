/* jsp_scores.h - tables of local scores: the only thing that exact posterior, chain and
 * generators see of data, model and prior.
 *
 *     l_j(S) = log evidence of parents S for node j + log prior weight of S
 *     log R(G) = sum over nodes of l_j(Pa_j)
 *
 * l_j is kept in double. For restricted sums two float tables hold logarithms relative
 * to the best entry of the node,
 *     log_term_j(S) = l_j(S) - max l_j
 *     log_sum_j(A) = log sum_{S subset A} exp(l_j(S)) - max l_j
 * Logarithms rather than plain doubles: in posteriors with far-apart modes a node uses
 * parent sets thousands of nats below its best one, where exp() of a double is 0 and
 * whole modes would vanish. The rounding of float only touches base odds, which define
 * q and never log R. */
#ifndef JSP_SCORES_H
#define JSP_SCORES_H

#include "jsp_bits.h"
#include "jsp_model.h"
#include "jsp_pulse.h"

typedef enum jsp_scores_prior {
    JSP_SCORES_UNIFORM = 0, /* weight 1 */
    JSP_SCORES_FAIR,        /* weight 1 / C(D - 1, |S|) per node */
} jsp_scores_prior;

/* log prior weight of a parent set of n_parents members. */
double jsp_scores_log_prior(jsp_scores_prior prior, int n_variables, int n_parents);

/* Which parent sets are allowed, and their prior weights
 *     w_j(S) = weight by size * product over i in S of exp(edge_log_odds[i, j]).
 * Sets that lack a required parent or are too large have weight 0. All borrowed. */
typedef struct jsp_scores_config {
    jsp_scores_prior prior; /* weight by size */
    /* [D, D] or NULL = 0: of edge i -> j at [i * D + j], diagonal ignored; -inf forbids
     * the edge, +inf requires it (and counts as 0 in the weight) */
    const double *edge_log_odds;
    const uint8_t *required; /* [D, D] or NULL: 1 = edge required; diagonal ignored */
    const int *max_parents;  /* [D] or NULL = no limit */
    /* [D] lists of n_candidates[j] variables, increasing, without j itself, at most
     * JSP_MAX_CANDIDATES long, required parents among them */
    const int *const *candidates;
    const int *n_candidates; /* [D] */
    /* list of jsp_evidences.h, or NULL = fitted when needed; only for models with
     * tabulate_sets */
    const double *evidences;
    jsp_pulse *pulse; /* or NULL; stops the building of tables with JSP_INTERRUPTED */
} jsp_scores_config;

/* log w_j(S) of parents listed by variable; -inf when S is not allowed. Candidate lists
 * are not looked at. */
double jsp_scores_log_weight(const jsp_scores_config *config, int n_variables, int node,
                             int n_parents, const int *parents);

/* Most parents of a node: max_parents, at most D - 1. */
int jsp_scores_limit(const jsp_scores_config *config, int n_variables, int node);

/* 1 when the config requires the edge parent -> child. */
int jsp_scores_is_required(const jsp_scores_config *config, int n_variables, int parent,
                           int child);

typedef struct jsp_scores_node {
    int K;             /* candidate parents */
    uint32_t required; /* members of every allowed set; allowed itself */
    int *candidate;    /* [K] variables, increasing */
    double *score;     /* [2^K] l_j(S), -inf when excluded */
    float *log_term;   /* [2^K] */
    float *log_sum;    /* [2^K] */
    double max_score;  /* max over S of l_j(S) */
} jsp_scores_node;

typedef struct jsp_scores {
    int n_variables;
    jsp_scores_node *node; /* [D] */
    int8_t *local_index;   /* [D, D] [i * D + j] = bit of parent i at node j, or -1 */
    size_t n_bytes;        /* memory held by the tables */
    char *tables;          /* those of all nodes; owned */
    int *candidates;       /* lists of all nodes; owned */
} jsp_scores;

/* JSP_ERROR_VALUE for a config that contradicts itself (required parents outside the
 * candidates, forbidden, or more than max_parents) or does not go with model and data. */
jsp_status jsp_scores_check(const jsp_model_setup *setup,
                            const jsp_scores_config *config, jsp_error *error);

/* Builds all tables, nodes side by side on n_threads threads. Setup and config are only
 * used during the call. Errors are those of jsp_scores_check, and JSP_ERROR_VALUE for a
 * cycle of required edges. */
jsp_status jsp_scores_create(const jsp_model_setup *setup,
                             const jsp_scores_config *config, int n_threads,
                             jsp_scores **out, jsp_error *error);

/* Tables given directly, for tests: table[j] has 2^n_candidates[j] scores (copied; -inf
 * = excluded). The common members of all allowed sets must be an allowed set. */
jsp_status jsp_scores_create_from_tables(int n_variables, const int *const *candidates,
                                         const int *n_candidates,
                                         const double *const *table, jsp_scores **out,
                                         jsp_error *error);
void jsp_scores_destroy(jsp_scores *scores); /* NULL allowed */

/* Bytes that jsp_scores_create would hold for these candidate counts. */
size_t jsp_scores_size(int n_variables, const int *n_candidates);

/* log R of parent sets given as local masks [D]. */
double jsp_scores_log_reward(const jsp_scores *scores, const uint32_t *parents);

/* Local masks of a graph [D, D] (bytes, A[i, j] != 0 is i -> j). Returns 1, or 0 when
 * an edge is outside the candidates or a parent set has score -inf (masks are then
 * partial). */
int jsp_scores_masks_of_graph(const jsp_scores *scores, const uint8_t *graph,
                              uint32_t *parents);

#endif
