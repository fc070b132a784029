/* jsp_evidences.h - log evidences of models whose parent sets are fitted one by one.
 *
 * The sets of a problem form one list: nodes in order, and of every node the masks over
 * its candidates with at most max_parents members, increasing. Any part of the list can be
 * fitted on its own, by any process, to the same bits, because random numbers of a fit are
 * named by node and parents. Graph prior and constraints other than max_parents have no
 * part in it. Only for models with tabulate_sets. */
#ifndef JSP_EVIDENCES_H
#define JSP_EVIDENCES_H

#include "jsp_scores.h"

/* Length of a node's part of the list. */
size_t jsp_evidences_count_node(const jsp_scores_config *config, int n_variables,
                                int node);

/* Length of the list. */
size_t jsp_evidences_count(const jsp_scores_config *config, int n_variables);

/* Evidences `first` to `last` - 1 of the list, on n_threads threads; config->pulse is
 * called with the share of these. Setup and config must have passed jsp_scores_check.
 *   log_evidence [last - first] out
 * JSP_INTERRUPTED when the pulse stopped it. */
jsp_status jsp_evidences_fit(const jsp_model_setup *setup,
                             const jsp_scores_config *config, size_t first, size_t last,
                             int n_threads, double *log_evidence, jsp_error *error);

/* A node's part of the list as a table: entries of other sets become -inf.
 *   part [jsp_evidences_count_node]   table [2^K] out */
void jsp_evidences_place(const jsp_scores_config *config, int n_variables, int node,
                         const double *part, double *table);

#endif
