/* jsp_conditional.c - edge probabilities of two nodes given all others.
 *
 * Sums come from the float logarithms of the tables (jsp_scores.h), relative to the
 * best entry of the node. A node that uses parent sets x nats below its best one sees
 * them with a relative error of about 6e-8 x: 1e-4 at 2,000 nats. Many rows with a known
 * noise reach a million nats, where that made edges wrong by 0.015 however many draws
 * there were. Where the sums of a pair are that far down, the edge is counted instead.
 * Which pairs these are depends on the rest of the graph alone, and given the rest the
 * count has the mean P. */
#include "jsp_conditional.h"

#include <math.h>

#define CERTAIN 20.f     /* 1 - exp(-20) is 1 within 2e-9 */
#define NEGLIGIBLE 1e-7f /* smaller probabilities than this are rounding */
#define LOWEST (-32768.) /* log of a sum; floats above it are rounded by 1e-3 */

/* A graph with its variables renumbered by place: parents before children. All sets are
 * sets of places, so that taking members off a set goes down the graph. */
typedef struct view_of_graph {
    int order[JSP_MAX_VARIABLES];        /* variable at a place */
    int place[JSP_MAX_VARIABLES];        /* of a variable */
    jsp_bits parents[JSP_MAX_VARIABLES]; /* [place] */
    jsp_bits below[JSP_MAX_VARIABLES];   /* [place] descendants */
    uint32_t open[JSP_MAX_VARIABLES]; /* [variable] candidates that are not below it */
} view_of_graph;

/* Each sweep places the variables whose parents have a place: few sweeps are needed, as
 * many as the longest path has nodes at most. */
static void find_order(int D, const jsp_bits *parents, view_of_graph *view) {
    jsp_bits done = jsp_bits_empty(), left = jsp_bits_first(D);
    int n = 0;
    while (jsp_bits_any(left)) {
        jsp_bits sweep = left;
        for (int j; (j = jsp_bits_pop(&sweep)) >= 0;) {
            if (jsp_bits_any(jsp_bits_minus(parents[j], done))) continue;
            jsp_bits_add(&done, j);
            view->place[j] = n;
            view->order[n++] = j;
        }
        left = jsp_bits_minus(left, done);
    }
}

static uint32_t every_candidate(const jsp_scores_node *node) {
    return (uint32_t)(((uint64_t)1 << node->K) - 1);
}

/* Candidates of a node whose places are in the set. */
static uint32_t local_mask(const view_of_graph *view, const jsp_scores_node *node,
                           const jsp_bits *set) {
    uint32_t mask = 0;
    for (int k = 0; k < node->K; k++) {
        const int p = view->place[node->candidate[k]];
        mask |= (uint32_t)(set->word[p >> 6] >> (p & 63) & 1) << k;
    }
    return mask;
}

static void look_at(const jsp_scores *scores, const jsp_bits *parents,
                    view_of_graph *view) {
    const int D = scores->n_variables;
    find_order(D, parents, view);
    for (int p = 0; p < D; p++) view->below[p] = view->parents[p] = jsp_bits_empty();
    for (int p = D - 1; p >= 0; p--) { /* from the last place: below[p] is complete */
        jsp_bits above = parents[view->order[p]], here = view->below[p];
        jsp_bits_add(&here, p);
        for (int a; (a = jsp_bits_pop(&above)) >= 0;) {
            const int q = view->place[a];
            jsp_bits_add(&view->parents[p], q);
            view->below[q] = jsp_bits_or(view->below[q], here);
        }
    }
    for (int j = 0; j < D; j++) {
        const jsp_scores_node *node = &scores->node[j];
        const jsp_bits *below = &view->below[view->place[j]];
        view->open[j] = every_candidate(node) & ~local_mask(view, node, below);
    }
}

/* What place p reaches without passing place q, which it reaches. */
static jsp_bits reach_around(const view_of_graph *view, int p, int q) {
    jsp_bits reached = jsp_bits_minus(view->below[p], view->below[q]);
    jsp_bits_remove(&reached, q);
    jsp_bits_add(&reached, p);
    /* what lies below q may have another way from p */
    jsp_bits left = view->below[q];
    for (int x; (x = jsp_bits_pop(&left)) >= 0;) {
        if (jsp_bits_any(jsp_bits_and(view->parents[x], reached)))
            jsp_bits_add(&reached, x);
    }
    jsp_bits_remove(&reached, p);
    return reached;
}

/* 1 - tau(open - bit) / tau(open) */
static double chance(const jsp_scores_node *node, uint32_t open, int bit) {
    const float drop =
        node->log_sum[open] - node->log_sum[open & ~((uint32_t)1 << bit)];
    if (!(drop >= NEGLIGIBLE)) return 0; /* NaN: nothing is open */
    return drop < CERTAIN ? 1 - exp(-(double)drop) : 1;
}

/* One end x of a pair. */
typedef struct end {
    const jsp_scores_node *node;
    jsp_bits reach; /* places that x reaches without passing the other end */
    uint32_t open;  /* candidates outside of that */
    double chance;  /* of the other end among all sets of them */
} end;

static void look_at_end(const jsp_scores *scores, const view_of_graph *view, int x,
                        int other, int bit, end *e) {
    const int p = view->place[x], q = view->place[other];
    e->node = &scores->node[x];
    e->reach = view->below[p];
    e->open = view->open[x];
    if (jsp_bits_has(e->reach, q)) {
        e->reach = reach_around(view, p, q);
        e->open = every_candidate(e->node) & ~local_mask(view, e->node, &e->reach);
    }
    e->chance = bit < 0 ? 0 : chance(e->node, e->open, bit);
}

/* Log of the share of parent sets that do not put this end below the other one. */
static double log_free(const view_of_graph *view, const end *e, jsp_bits other_reach,
                       int other) {
    jsp_bits_add(&other_reach, view->place[other]);
    const uint32_t cross = e->open & local_mask(view, e->node, &other_reach);
    if (!cross) return 0;
    return (double)e->node->log_sum[e->open ^ cross] -
           (double)e->node->log_sum[e->open];
}

/* 1 for the edge between variables i and j that the graph has, 0 for the other one. */
static void count_pair(const view_of_graph *view, int i, int j, double probability[2]) {
    const int p = view->place[i], q = view->place[j];
    probability[0] = jsp_bits_has(view->parents[q], p);
    probability[1] = jsp_bits_has(view->parents[p], q);
}

/* P(i -> j) and P(j -> i) given the parents of all other nodes, or which of the two there
 * is; `bit` of i at j, `back` of j at i or -1. */
static void weigh_pair(const jsp_scores *scores, const view_of_graph *view, int i,
                       int j, int bit, int back, double probability[2]) {
    end at_i, at_j;
    look_at_end(scores, view, i, j, back, &at_i);
    look_at_end(scores, view, j, i, bit, &at_j);
    const double sum_i = at_i.node->log_sum[at_i.open];
    const double sum_j = at_j.node->log_sum[at_j.open];
    if (sum_i < LOWEST || sum_j < LOWEST) {
        count_pair(view, i, j, probability);
        return;
    }
    probability[0] = at_j.chance;
    probability[1] = at_i.chance;
    if (at_i.chance == 0 && at_j.chance == 0) return;
    const double u = log_free(view, &at_i, at_j.reach, j);
    const double v = log_free(view, &at_j, at_i.reach, i);
    if (u == 0 || v == 0) { /* the denominator is 1 */
        if (u != 0) probability[0] *= exp(u);
        if (v != 0) probability[1] *= exp(v);
        return;
    }
    const double top = fmax(u, v); /* finite: the graph itself is allowed */
    if (top < LOWEST) {
        count_pair(view, i, j, probability);
        return;
    }
    const double norm = exp(u - top) + exp(v - top) - exp(u + v - top);
    probability[0] *= exp(u - top) / norm;
    probability[1] *= exp(v - top) / norm;
}

void jsp_conditional_add(const jsp_scores *scores, const jsp_bits *parents,
                         double weight, double *sum) {
    const int D = scores->n_variables;
    size_t first[JSP_MAX_VARIABLES + 1] = {0}; /* move of bit 0 of a child */
    view_of_graph view;
    look_at(scores, parents, &view);
    for (int j = 0; j < D; j++) first[j + 1] = first[j] + (size_t)scores->node[j].K;
    for (int j = 0; j < D; j++) {
        for (int k = 0; k < scores->node[j].K; k++) {
            const int i = scores->node[j].candidate[k];
            const int back = scores->local_index[(size_t)j * (size_t)D + (size_t)i];
            double probability[2];
            if (back >= 0 && i > j) continue; /* done with the other end */
            weigh_pair(scores, &view, i, j, k, back, probability);
            sum[first[j] + (size_t)k] += weight * probability[0];
            if (back >= 0) sum[first[i] + (size_t)back] += weight * probability[1];
        }
    }
}

void jsp_conditional_add_children(const jsp_scores *scores, const jsp_bits *parents,
                                  double weight, double *sum) {
    view_of_graph view;
    look_at(scores, parents, &view);
    for (int j = 0; j < scores->n_variables; j++) {
        const jsp_scores_node *node = &scores->node[j];
        const int is_deep = (double)node->log_sum[view.open[j]] < LOWEST;
        for (uint32_t left = view.open[j]; left; left &= left - 1) {
            const int k = jsp_bits_lowest64(left);
            sum[k] += weight * (is_deep ? jsp_bits_has(parents[j], node->candidate[k])
                                        : chance(node, view.open[j], k));
        }
        sum += node->K;
    }
}
