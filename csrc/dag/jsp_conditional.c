/* jsp_conditional.c - edge probabilities of one node, or two, given all others.
 *
 * Sums come from the float logarithms of the tables (jsp_scores.h), relative to the
 * best entry of the node. A node that uses parent sets x nats below its best one sees
 * them with a relative error of about 6e-8 x: 1e-4 at 2,000 nats, which is below any
 * Monte-Carlo error here. */
#include "jsp_conditional.h"

#include <math.h>

#define CERTAIN 20.f     /* 1 - exp(-20) is 1 within 2e-9 */
#define NEGLIGIBLE 1e-7f /* smaller probabilities than this are rounding */

/* order [D]: parents before children; above [D] = ancestors. Each sweep finishes the nodes
 * whose parents are finished: few sweeps are needed, as many as the longest path has nodes
 * at most. */
static void find_ancestors(int D, const jsp_bits *parents, int *order,
                           jsp_bits *above) {
    jsp_bits done = jsp_bits_empty(), left = jsp_bits_first(D);
    int n = 0;
    while (jsp_bits_any(left)) {
        jsp_bits sweep = left;
        for (int j; (j = jsp_bits_pop(&sweep)) >= 0;) {
            if (jsp_bits_any(jsp_bits_minus(parents[j], done))) continue;
            jsp_bits next = parents[j];
            above[j] = next;
            for (int p; (p = jsp_bits_pop(&next)) >= 0;)
                above[j] = jsp_bits_or(above[j], above[p]);
            jsp_bits_add(&done, j);
            order[n++] = j;
        }
        left = jsp_bits_minus(left, done);
    }
}

void jsp_conditional_sets(const jsp_scores *scores, const jsp_bits *parents,
                          uint32_t *undecided) {
    const int D = scores->n_variables;
    int order[JSP_MAX_VARIABLES];
    jsp_bits above[JSP_MAX_VARIABLES];
    find_ancestors(D, parents, order, above);
    for (int j = 0; j < D; j++) {
        undecided[j] = (uint32_t)(((uint64_t)1 << scores->node[j].K) - 1);
    }
    for (int j = 0; j < D; j++) {
        for (int a; (a = jsp_bits_pop(&above[j])) >= 0;) { /* j is below a */
            int bit = scores->local_index[(size_t)j * (size_t)D + (size_t)a];
            if (bit >= 0) undecided[a] &= ~((uint32_t)1 << bit);
        }
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

/* ---- two nodes ------------------------------------------------------------------- */

typedef struct view_of_graph {
    int order[JSP_MAX_VARIABLES]; /* parents before children */
    int place[JSP_MAX_VARIABLES]; /* of a variable in the order */
    jsp_bits below[JSP_MAX_VARIABLES];
    const jsp_bits *parents;
} view_of_graph;

static void look_at(int D, const jsp_bits *parents, view_of_graph *view) {
    jsp_bits above[JSP_MAX_VARIABLES];
    view->parents = parents;
    find_ancestors(D, parents, view->order, above);
    for (int k = 0; k < D; k++) {
        view->place[view->order[k]] = k;
        view->below[k] = jsp_bits_empty();
    }
    for (int j = 0; j < D; j++) {
        for (int a; (a = jsp_bits_pop(&above[j])) >= 0;)
            jsp_bits_add(&view->below[a], j);
    }
}

/* What i reaches without passing j. */
static jsp_bits reach_around(int D, const view_of_graph *view, int i, int j) {
    jsp_bits reached = view->below[i];
    if (!jsp_bits_has(reached, j)) return reached;
    reached = jsp_bits_minus(reached, view->below[j]);
    jsp_bits_remove(&reached, j);
    jsp_bits_add(&reached, i);
    /* what lies below j may have another way from i */
    jsp_bits left = view->below[j];
    for (int k = view->place[j] + 1; k < D && jsp_bits_any(left); k++) {
        const int x = view->order[k];
        if (!jsp_bits_has(left, x)) continue;
        jsp_bits_remove(&left, x);
        if (jsp_bits_any(jsp_bits_and(view->parents[x], reached)))
            jsp_bits_add(&reached, x);
    }
    jsp_bits_remove(&reached, i);
    return reached;
}

static uint32_t local_mask(const jsp_scores_node *node, jsp_bits set) {
    uint32_t mask = 0;
    for (int k = 0; k < node->K; k++)
        mask |= (uint32_t)jsp_bits_has(set, node->candidate[k]) << k;
    return mask;
}

/* Of an end x of a pair. `own` = what x reaches, `cross` = the other end and what it
 * reaches. log_free = log of the share of the sum without parents from `cross`; returns
 * the probability of the parent `bit` (-1: 0) among all sets without parents from `own`. */
static double weigh_end(const jsp_scores_node *node, jsp_bits own, jsp_bits cross,
                        int bit, double *log_free) {
    const uint32_t every = (uint32_t)(((uint64_t)1 << node->K) - 1);
    const uint32_t open = every & ~local_mask(node, own);
    const float total = node->log_sum[open];
    *log_free = (double)node->log_sum[open & ~local_mask(node, cross)] - (double)total;
    if (bit < 0) return 0;
    const float drop = total - node->log_sum[open & ~((uint32_t)1 << bit)];
    if (drop < NEGLIGIBLE) return 0;
    return drop < CERTAIN ? 1 - exp(-(double)drop) : 1;
}

void jsp_conditional_add_pairs(const jsp_scores *scores, const jsp_bits *parents,
                               double weight, double *sum) {
    const int D = scores->n_variables;
    view_of_graph view;
    look_at(D, parents, &view);
    size_t first[JSP_MAX_VARIABLES + 1] = {0}; /* move of bit 0 of a child */
    for (int j = 0; j < D; j++) first[j + 1] = first[j] + (size_t)scores->node[j].K;
    for (int j = 0; j < D; j++) {
        for (int k = 0; k < scores->node[j].K; k++) {
            const int i = scores->node[j].candidate[k];
            const int back = scores->local_index[(size_t)j * (size_t)D + (size_t)i];
            if (back >= 0 && i > j) continue; /* done with the other end */
            const jsp_bits from_i = reach_around(D, &view, i, j);
            const jsp_bits from_j = reach_around(D, &view, j, i);
            jsp_bits with_i = from_i, with_j = from_j;
            jsp_bits_add(&with_i, i);
            jsp_bits_add(&with_j, j);
            double u, v;
            const double into_j = weigh_end(&scores->node[j], from_j, with_i, k, &v);
            const double into_i = weigh_end(&scores->node[i], from_i, with_j, back, &u);
            const double top = fmax(u, v); /* finite: the graph itself is allowed */
            const double norm = exp(u - top) + exp(v - top) - exp(u + v - top);
            sum[first[j] + (size_t)k] += weight * into_j * exp(u - top) / norm;
            if (back >= 0)
                sum[first[i] + (size_t)back] += weight * into_i * exp(v - top) / norm;
        }
    }
}
