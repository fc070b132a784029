/* jsp_candidates.h - which parents a node considers when there are too many variables.
 *
 * A table has 2^K entries, so beyond about 16 variables each node keeps its K most
 * promising parents. */
#ifndef JSP_CANDIDATES_H
#define JSP_CANDIDATES_H

#include "jsp_scores.h"

/* For each node min(K, D - 1) variables, forbidden edges left out:
 * 1. required parents;
 * 2. greedy forward selection by gain in local score (log evidence + log weight) while
 *    something is gained, at most 8 members: the node's neighbours by regression;
 * 3. by the largest of: gain alone, gain beside one other parent, gain on top of the
 *    greedy set, and, where the node is in a variable's greedy set, its gain there (ties:
 *    smaller index).
 *   candidates   [D, K] out, increasing; row j holds n_candidates[j] variables
 *   n_candidates [D] out
 * Candidate lists of the config are not looked at. Nodes run side by side on n_threads
 * threads. The setup must have passed check. JSP_ERROR_VALUE when a node has more than K
 * required parents. */
jsp_status jsp_candidates_select(const jsp_model_setup *setup,
                                 const jsp_scores_config *config, int K, int n_threads,
                                 int *candidates, int *n_candidates, jsp_error *error);

/* fraction [D] out: for each node an estimate of the share of its posterior mass (over
 * parent sets, acyclicity not looked at) that the candidate lists leave out: the 8 best
 * sets of its table, each with one excluded but not forbidden variable added, against
 * these sets and their extensions together. 0 where nothing was left out. It sees what
 * one more parent would bring, not what two would. */
jsp_status jsp_candidates_discarded(const jsp_model_setup *setup,
                                    const jsp_scores_config *config,
                                    const jsp_scores *scores, int n_threads,
                                    double *fraction, jsp_error *error);

#endif
