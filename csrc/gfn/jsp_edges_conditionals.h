/* jsp_edges_conditionals.h - full conditionals of the slots of a finished graph.
 *
 * If G is drawn from the posterior, the choice at a slot and its probabilities given the
 * rest of G have the same mean given what was decided before the slot (Rao-Blackwell), but
 * the probabilities vary less. So they teach more than the choice does. */
#ifndef JSP_EDGES_CONDITIONALS_H
#define JSP_EDGES_CONDITIONALS_H

#include "jsp_edges.h"

/* Overwrites probability [2 slots], in the order of directions: of a -> b and of b -> a at
 * every slot if all other edges of the graph of `state` stay. Its log R must be finite.
 * What the graph's order of decisions had closed has probability 0, like all that is
 * cyclic or excluded. */
void jsp_edges_conditionals(const jsp_edges *edges, const jsp_edges_state *state,
                            jsp_real *probability);

#endif
