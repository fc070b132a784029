/* jsp_odds.h - sums over the parent sets between two sets, and from them the odds that a
 * candidate joins the parents of a node. Both read the tables of jsp_scores.h. */
#ifndef JSP_ODDS_H
#define JSP_ODDS_H

#include "jsp_scores.h"

/* log T_j(S, U) - max l_j,  T_j(S, U) = sum over S subset S' subset S + U of exp
 * l_j(S'). S and U are disjoint local masks. -inf when every term is excluded.
 * Inclusion-exclusion over the subsets of S, or the plain sum when that is shorter. A
 * result that cancelled below 1e-3 of its largest term t (and 4e-5 |log t| more, where
 * float logs carry fewer digits) is summed afresh when U has at most 12 members; else,
 * below a tenth of that, it is replaced by the term of S (a lower bound; base odds may
 * be approximate). */
double jsp_odds_restricted_sum(const jsp_scores *scores, int node, uint32_t S,
                               uint32_t U);

/* odds[k] for every k in U:  log[(T(S, U) - T(S, U - k)) / T(S, U - k)], the log-odds
 * that candidate k joins the parents S if other nodes did not matter, clipped to
 * -30 and 80. As probabilities they are good to about 0.01, and to rounding where sums are
 * short. Where they are differences of sums (S empty, or U large beside S) log-odds from
 * about -11 down may be lost to rounding and are -30 then.
 * odds [K]; entries outside U are left alone. Requires S + k to be allowed for all k in
 * U. */
void jsp_odds_compute(const jsp_scores *scores, int node, uint32_t S, uint32_t U,
                      float *odds);

#endif
