/* jsp_environments.h - graphs that grow edge by edge side by side, by the policy or at
 * random, and hand their transitions to the replay. */
#ifndef JSP_ENVIRONMENTS_H
#define JSP_ENVIRONMENTS_H

#include "jsp_gnn_target.h"
#include "jsp_replay.h"

typedef struct jsp_environments {
    const jsp_gnn_target *target; /* borrowed */
    int n;
    jsp_dag_batch dag;         /* [n] owned */
    uint8_t *adjacency, *mask; /* [n, D, D] of jsp_environments_read; owned */
    int *action;               /* [n] chosen, D * D = stop; owned */
} jsp_environments;

/* Empty graphs. */
jsp_status jsp_environments_create(const jsp_gnn_target *target, int n,
                                   jsp_environments *environments, jsp_error *error);
void jsp_environments_destroy(jsp_environments *environments); /* all-zero allowed */

/* Fills adjacency and mask (1 = a legal edge) from the graphs. */
void jsp_environments_read(jsp_environments *environments);

/* Fills action after a read: with probability `exploration` uniform over legal edges and
 * stop, else by the policy. Environment e has the stream (seed, step, e,
 * JSP_RNG_ENVIRONMENT).
 *   log_pi [n, D * D + 1] may be NULL with exploration 1 */
void jsp_environments_choose(jsp_environments *environments, uint64_t seed,
                             uint32_t step, double exploration, const double *log_pi);

/* Takes the actions: an edge goes to the replay with the graph before it, a stop starts
 * afresh and is not stored. */
void jsp_environments_move(jsp_environments *environments, jsp_replay *replay);

/* n_steps at random, streams of steps 0 .. n_steps - 1, and as many more, numbered
 * downwards from the last step, as it takes until there is a transition. */
void jsp_environments_prefill(jsp_environments *environments, uint64_t seed,
                              int n_steps, jsp_replay *replay);

#endif
