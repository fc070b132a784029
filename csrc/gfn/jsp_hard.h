/* jsp_hard.h - graphs that the policy gets wrong, kept to be trained on again.
 *
 * A residual is log q - log R around its centre. Large negative ones are modes that the
 * policy leaves out, large positive ones draws that should hardly ever come; both are
 * met too rarely for the network to learn from the encounter alone. The balance loss
 * holds for graphs from any source, so they may be shown again. Each is shown a limited
 * number of times, so that what is met more often also counts for more: a buffer that
 * kept the worst graphs for as long as they are bad filled with ones that do not matter
 * (probability e^-20 instead of e^-30) and ruined the policy. */
#ifndef JSP_HARD_H
#define JSP_HARD_H

#include "jsp_scores.h"

typedef struct jsp_hard {
    int capacity, n_variables;
    uint32_t *local; /* [capacity, D] owned */
    int32_t *left;   /* [capacity] times still to be shown, 0 = free place; owned */
    int32_t newest;  /* place filled last */
    int32_t next;    /* place where the next turn begins */
} jsp_hard;

/* Places are free, and hold the graph of the required edges. */
jsp_status jsp_hard_create(jsp_hard *hard, const jsp_scores *scores, int capacity,
                           jsp_error *error);
void jsp_hard_destroy(jsp_hard *hard); /* all-zero allowed */

/* Up to n places whose graphs are due; it uses up one turn of each. Returns their
 * number. */
int jsp_hard_take(jsp_hard *hard, int n, int *place);

/* Keeps the graph local [D], to be shown n_turns times, in place of the oldest. */
void jsp_hard_offer(jsp_hard *hard, const uint32_t *local, int32_t n_turns);

#endif
