/* jsp_candidates.h - which parents a node considers when there are too many variables.
 *
 * A table has 2^K entries, so beyond about 16 variables each node keeps its K most
 * promising parents. */
#ifndef JSP_CANDIDATES_H
#define JSP_CANDIDATES_H

#include "jsp_scores.h"

/* Required parents come first, then, for each node: greedy forward selection by gain in local score (log evidence + log
 * prior weight) while something is gained, at most 8 members; then filled up to
 * min(K, D - 1) by the larger of a variable's gain alone and its gain on top of the
 * greedy set (ties: smaller index).
 *   candidates   [D, K] out, increasing; row j holds n_candidates[j] variables
 *   n_candidates [D] out
 * Candidate lists of the config are not looked at. Nodes run side by side on n_threads threads. The setup must have passed check. */
jsp_status jsp_candidates_select(const jsp_model_setup *setup,
                                 const jsp_scores_config *config, int K, int n_threads,
                                 int *candidates, int *n_candidates, jsp_error *error);

#endif
