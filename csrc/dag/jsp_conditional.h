/* jsp_conditional.h - edge probabilities of two nodes given all others.
 *
 * Given the parents of all nodes but i and j, let R_i be what i reaches without passing j, and
 * A_i the candidates of i outside R_i; tau_i(A) = sum of exp l_i over the subsets of A, which
 * the score tables hold. Parents of i from C_i = A_i and (R_j + j) put i below j, so only one
 * of the two nodes may have such ones. With u = tau_i(A_i - C_i) / tau_i(A_i), v likewise for
 * j,
 *
 *     P(i -> j | rest) = u (1 - tau_j(A_j - i) / tau_j(A_j)) / (u + v - u v).
 *
 * Averaged over draws or the states of a chain this estimates edge probabilities with less
 * noise than counting edges does (Rao-Blackwell). With only the parents of the child
 * free the noise is larger: reversals of an edge, which a score-equivalent model cannot tell
 * apart, are then not averaged over.
 *
 * Where the sums lie more than 32,768 nats below the best entry of their node, too far for
 * float logarithms, 1[i -> j in the graph] stands for P: the same mean, more noise. */
#ifndef JSP_CONDITIONAL_H
#define JSP_CONDITIONAL_H

#include "jsp_scores.h"

/* sum[m] += weight P(i -> j | rest) for every candidate pair m, in the order of
 * jsp_chain_moves: by child, then by local bit.
 *   parents  [D]         in   an acyclic graph that is not excluded
 *   sum      [n_moves]   in and out, accumulated */
void jsp_conditional_add(const jsp_scores *scores, const jsp_bits *parents,
                         double weight, double *sum);

/* The same with only the parents of the child j free: P(i -> j | parents of all others) =
 * 1 - tau_j(A_j - i) / tau_j(A_j), A_j = candidates that are not below j. More noise, for a
 * fraction of the time. */
void jsp_conditional_add_children(const jsp_scores *scores, const jsp_bits *parents,
                                  double weight, double *sum);

#endif
