/* jsp_conditional.h - edge probabilities of one node, or two, given all others.
 *
 * The descendants of a node j do not depend on its own parents, so given the rest of
 * the graph
 *
 *     P(Pa_j = S | rest) = exp l_j(S) / tau_j(U_j),  U_j = candidates not below j,
 *     P(i -> j | rest)   = 1 - tau_j(U_j - i) / tau_j(U_j),
 *
 * with tau_j(A) the sum of exp l_j over the subsets of A, which the score tables hold.
 * Averaged over draws or the states of a chain this estimates edge probabilities with less noise
 * than counting edges does (Rao-Blackwell). */
#ifndef JSP_CONDITIONAL_H
#define JSP_CONDITIONAL_H

#include "jsp_scores.h"

/* undecided[j] = local mask of the candidates of j that are not descendants of j.
 *   parents    [D]  in   an acyclic graph
 *   undecided  [D]  out, overwritten */
void jsp_conditional_sets(const jsp_scores *scores, const jsp_bits *parents,
                          uint32_t *undecided);

/* sum[m] += weight P(i -> j | rest) for every candidate pair m, in the order of
 * jsp_chain_moves: by child, then by local bit.
 *   parents  [D]         in   an acyclic graph that is not excluded
 *   sum      [n_moves]   in and out, accumulated */
void jsp_conditional_add(const jsp_scores *scores, const jsp_bits *parents,
                         double weight, double *sum);

/* The same with the parents of both ends free: sum[m] += weight P(i -> j | parents of all
 * nodes but i and j). Less noise, at several times the cost; it averages over reversals
 * of the edge, which a score-equivalent model cannot tell apart.
 *
 * R_i = what i reaches without passing j, A_i = candidates of i outside R_i. Parents of i
 * from C_i = A_i and (R_j + j) put i below j, so only one of the two nodes may have such
 * ones, and with u = tau_i(A_i - C_i) / tau_i(A_i), v likewise for j
 *
 *     P(i -> j | rest) = u (1 - tau_j(A_j - i) / tau_j(A_j)) / (u + v - u v). */
void jsp_conditional_add_pairs(const jsp_scores *scores, const jsp_bits *parents,
                               double weight, double *sum);

#endif
