/* jsp_conditional.c - edge probabilities of one node given all others.
 *
 * Sums come from the float logarithms of the tables (jsp_scores.h), relative to the
 * best entry of the node. A node that uses parent sets x nats below its best one sees
 * them with a relative error of about 6e-8 x: 1e-4 at 2,000 nats, which is below any
 * Monte-Carlo error here. */
#include "jsp_conditional.h"

#include <math.h>

#define CERTAIN 20.f     /* 1 - exp(-20) is 1 within 2e-9 */
#define NEGLIGIBLE 1e-7f /* smaller probabilities than this are rounding */

void jsp_conditional_sets(const jsp_scores *scores, const jsp_bits *parents,
                          uint32_t *undecided) {
    const int D = scores->n_variables;
    jsp_bits ancestors[JSP_MAX_VARIABLES];
    jsp_bits done = jsp_bits_empty(), left = jsp_bits_first(D);
    for (int j = 0; j < D; j++) {
        undecided[j] = (uint32_t)(((uint64_t)1 << scores->node[j].K) - 1);
    }
    /* Each sweep finishes the nodes whose parents are finished: few sweeps are needed,
     * as many as the longest path has nodes at most. */
    while (jsp_bits_any(left)) {
        jsp_bits sweep = left;
        for (int j; (j = jsp_bits_pop(&sweep)) >= 0;) {
            if (jsp_bits_any(jsp_bits_minus(parents[j], done))) continue;
            jsp_bits above = parents[j], next = parents[j];
            for (int p; (p = jsp_bits_pop(&next)) >= 0;) {
                above = jsp_bits_or(above, ancestors[p]);
            }
            ancestors[j] = above;
            jsp_bits_add(&done, j);
            for (int a; (a = jsp_bits_pop(&above)) >= 0;) { /* j is below a */
                int bit = scores->local_index[(size_t)j * (size_t)D + (size_t)a];
                if (bit >= 0) undecided[a] &= ~((uint32_t)1 << bit);
            }
        }
        left = jsp_bits_minus(left, done);
    }
}

void jsp_conditional_add(const jsp_scores *scores, const jsp_bits *parents,
                         double weight, double *sum) {
    uint32_t undecided[JSP_MAX_VARIABLES];
    jsp_conditional_sets(scores, parents, undecided);
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        const float total = node->log_sum[undecided[j]];
        for (uint32_t set = undecided[j]; set; set &= set - 1) {
            float without = node->log_sum[undecided[j] ^ (set & -set)];
            float drop = total - without; /* NaN cannot be: total is finite */
            if (drop < NEGLIGIBLE) continue;
            sum[jsp_bits_lowest64(set)] +=
                weight * (drop < CERTAIN ? 1 - exp(-(double)drop) : 1);
        }
        sum += node->K;
    }
}
