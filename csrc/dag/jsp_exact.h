/* jsp_exact.h - the exact posterior over all DAGs, from tables of local scores.
 *
 *     tau_j(U) = sum over S subset U of exp l_j(S)
 *     B(U)     = sum over nonempty T subset V - U of
 *                (-1)^(|T|+1) B(U + T) prod_{j in T} tau_j(U),     B(V) = 1
 *
 * B(U) adds up everything that can follow once the nodes of U are placed, so log Z =
 * log B(empty). The sum over T runs over the sets of nodes that all have their parents
 * in U: inclusion-exclusion over "at least one node does". Source: Tian and He, UAI
 * 2009. jsp_exact_walk.h says how it is summed, jsp_exact_passes.c in which order.
 *
 * Work is cut into steps so that the caller keeps control. Results do not depend on the
 * number of threads. */
#ifndef JSP_EXACT_H
#define JSP_EXACT_H

#include "jsp_scores.h"

/* Sets of nodes are 32-bit masks, and 3^D terms are a limit long before that. */
#define JSP_EXACT_MAX_VARIABLES 28

typedef struct jsp_exact jsp_exact;

typedef enum jsp_exact_goal {
    JSP_EXACT_PARTITION = 0, /* log Z only */
    JSP_EXACT_POSTERIOR,     /* and parent sets, edges, samples */
} jsp_exact_goal;

typedef struct jsp_exact_report {
    double n_terms_backward; /* terms summed for B */
    double n_terms_forward;  /* and for the probabilities */
    double cut_partition;    /* bound on the relative error of Z by terms left out */
    double cut_posterior;    /* bound on the error of probabilities by terms left out */
    double closure;          /* |P(V is placed) - 1|, which sums all rounding */
    /* 1: every DAG is so far below the best parent sets of its nodes (10^7 nats) that
     * sums left their range; there are no results then */
    int out_of_range;
} jsp_exact_report;

/* Bytes that jsp_exact_create allocates, besides the score tables. */
size_t jsp_exact_size(int n_variables, const int *n_candidates, jsp_exact_goal goal,
                      int n_threads);

/* Allocates everything; no work yet. `scores` is borrowed and must stay. */
jsp_status jsp_exact_create(const jsp_scores *scores, jsp_exact_goal goal,
                            int n_threads, jsp_exact **out, jsp_error *error);
void jsp_exact_destroy(jsp_exact *exact); /* NULL allowed */

/* Runs about n_units more units of work. A unit is 4 million terms, about 10 ms of
 * one thread; up to 22 variables no call goes further beyond its units than about 0.1 s.
 * Returns the share of the work done, 1 when finished; look at out_of_range then. */
double jsp_exact_step(jsp_exact *exact, int n_units);

/* ---- results, once jsp_exact_step has returned 1 ---- */

/* log Z; -inf when no DAG is allowed. */
double jsp_exact_log_partition(const jsp_exact *exact);

jsp_exact_report jsp_exact_get_report(const jsp_exact *exact);

/* P(Pa_node = S | data) for every local mask S [2^K]; goal JSP_EXACT_POSTERIOR. */
const double *jsp_exact_parent_sets(const jsp_exact *exact, int node);

/* edges[i, j] [D, D] = P(i -> j | data), 0 outside the candidates; same goal. */
void jsp_exact_edges(const jsp_exact *exact, double *edges);

/* n independent draws from P(G | data), exact but for parent sets whose posterior
 * probability is below 1e-18. Draw s depends on (seed, first_draw + s) only.
 *   masks [n, D] out, parents as local masks
 *   pulse or NULL; stops with JSP_INTERRUPTED
 * Goal JSP_EXACT_POSTERIOR, and log Z must be finite. Takes scratch of 2^D doubles and
 * half as much per thread; the first call keeps lists of parent sets in `exact`. */
jsp_status jsp_exact_sample(jsp_exact *exact, long n, uint64_t seed, long first_draw,
                            int n_threads, uint32_t *masks, jsp_pulse *pulse,
                            jsp_error *error);

#endif
