/* jsp_exact_passes.c - the passes over all sets of nodes, slab by slab of each layer.
 *
 * ORDERS    O(W) = sum over v of O(W - v) tau_v(W - v): all orders, an upper bound of
 *           the weight of DAGs on W, and of one order a lower bound of Z. Both only
 *           steer the cuts of the next pass.
 * BACKWARD  B(U), from the largest sets down. Terms are dropped 50 nats below the
 *           largest term, or where O(U) times the term is 60 nats below Z: such sets
 *           are hardly ever ancestral, whatever is added later.
 * FORWARD   P(U) = P(U is an ancestral set | data), from the smallest sets up: U hands
 *           P(U) (-1)^(|T|+1) B(U + T) / B(U) prod tau_j(U) to every U + T. These are
 *           probabilities, so plain doubles do, and cuts are absolute: whatever is
 *           dropped changes no posterior probability by more than its size. Alongside,
 *               first_j(U) = P(U is ancestral and of all others only j has its
 *                              parents in U),
 *           from which the posterior of parent sets follows (jsp_exact_tables.c).
 *
 * Sets of equal size do not depend on each other. A first version gathered into fixed
 * W in the forward pass too; there each term needs its own tau, |T| factors instead of
 * one. Scattering needs sums of its own for each shard instead, which the fixed number
 * of shards bounds.
 */
#include "jsp_exact_walk.h"

#include <math.h>

#define GLOBAL_BITS 87 /* 60 nats */

/* ---- orders ---- */

static void sum_orders(jsp_exact *exact, uint32_t W) {
    double mantissa = 0;
    int32_t exponent = JSP_EXACT_ZERO;
    for (uint32_t left = W; left; left &= left - 1) {
        int v = jsp_bits_lowest64(left);
        uint32_t U = W ^ (uint32_t)1 << v;
        const jsp_exact_table *table = &exact->table[v];
        uint32_t S = jsp_exact_local(table, U);
        double m = exact->B[U].mantissa * table->mantissa[S];
        if (!(m > 0)) continue;
        jsp_exact_add(&mantissa, &exponent, m,
                      exact->B[U].exponent + table->exponent[S]);
    }
    jsp_exact_normalise(&mantissa, &exponent);
    exact->B[W] = (jsp_exact_number){mantissa, exponent, 0};
}

/* Tasks of about equal length: their borders depend on the slab only. */
static void group_of(const jsp_exact *exact, int task, int n_tasks, size_t *begin,
                     size_t *end) {
    size_t n = exact->end - exact->begin;
    *begin = exact->begin + n * (size_t)task / (size_t)n_tasks;
    *end = exact->begin + n * (size_t)(task + 1) / (size_t)n_tasks;
}

static int count_groups(const jsp_exact *exact) {
    size_t n = exact->end - exact->begin;
    return n < JSP_EXACT_GROUPS ? (int)n : JSP_EXACT_GROUPS;
}

static void orders_group(void *context, int task, int worker) {
    jsp_exact *exact = context;
    size_t begin, end;
    (void)worker;
    group_of(exact, task, count_groups(exact), &begin, &end);
    for (size_t k = begin; k < end; k++) sum_orders(exact, exact->order[k]);
}

double jsp_exact_passes_bound(const jsp_exact *exact) {
    double log2_weight = 0;
    for (uint32_t W = exact->full; W;) {
        double best = -INFINITY, best_tau = 0;
        uint32_t next = 0;
        for (uint32_t left = W; left; left &= left - 1) {
            int v = jsp_bits_lowest64(left);
            uint32_t U = W ^ (uint32_t)1 << v;
            uint32_t S = jsp_exact_local(&exact->table[v], U);
            double tau =
                log2(exact->table[v].mantissa[S]) + exact->table[v].exponent[S];
            double value = log2(exact->B[U].mantissa) + exact->B[U].exponent + tau;
            if (value > best) {
                best = value;
                best_tau = tau;
                next = U;
            }
        }
        if (best == -INFINITY) return best;
        log2_weight += best_tau;
        W = next;
    }
    return log2_weight;
}

/* ---- one set ---- */

int32_t jsp_exact_passes_collect(const jsp_exact *exact, uint32_t U,
                                 jsp_exact_walk *walk) {
    int32_t exponent[JSP_EXACT_MAX_VARIABLES], top = INT32_MIN;
    int n = 0;
    for (uint32_t left = exact->full ^ U; left; left &= left - 1) {
        int j = jsp_bits_lowest64(left);
        const jsp_exact_table *table = &exact->table[j];
        uint32_t S = jsp_exact_local(table, U), bit = (uint32_t)1 << j;
        const jsp_exact_number *B = &exact->B[U | bit];
        double value = table->mantissa[S] * B->mantissa;
        if (!(value > 0)) continue;
        walk->node[n] = j;
        walk->bit[n] = bit;
        walk->mantissa[n] = table->mantissa[S];
        walk->exponent[n] = table->exponent[S];
        walk->value[n] = value;
        exponent[n] = table->exponent[S] + B->exponent;
        if (exponent[n] > top) top = exponent[n];
        n++;
    }
    for (int a = 0; a < n; a++) walk->value[a] *= jsp_exact_power(exponent[a] - top);
    walk->n = n;
    return top;
}

void jsp_exact_passes_drop(jsp_exact_walk *walk) {
    int kept = 0;
    for (int a = 0; a < walk->n; a++) {
        if (walk->value[a] < walk->threshold) {
            walk->count.cut += walk->value[a] * (double)((uint32_t)1 << (walk->n - 1));
            continue;
        }
        walk->node[kept] = walk->node[a];
        walk->bit[kept] = walk->bit[a];
        walk->mantissa[kept] = walk->mantissa[a];
        walk->exponent[kept] = walk->exponent[a];
        walk->value[kept++] = walk->value[a];
    }
    walk->n = kept;
}

/* ---- backward ---- */

static double visit_backward(jsp_exact_walk *walk, uint32_t W, double m, int32_t e,
                             int next) {
    return jsp_exact_walk_children(walk, W, m, e, next, 0, visit_backward);
}

static void backward_set(jsp_exact *exact, uint32_t U, jsp_exact_walk *walk) {
    jsp_exact_number orders = exact->B[U];
    jsp_exact_number none = {0, JSP_EXACT_ZERO, 0};
    exact->B[U] = none;
    int32_t top = jsp_exact_passes_collect(exact, U, walk);
    if (walk->n == 0 || !(orders.mantissa > 0)) return;
    double largest = 0;
    for (int a = 0; a < walk->n; a++) {
        if (walk->value[a] > largest) largest = walk->value[a];
    }
    double least = floor(exact->log2_least) - GLOBAL_BITS - orders.exponent - 1 - top;
    double global = jsp_exact_power(least < -1022 ? -1022 : least > 3 ? 3 : (int)least);
    walk->threshold = JSP_EXACT_CUT * largest;
    if (global > walk->threshold) walk->threshold = global;
    if (walk->threshold > largest) walk->threshold = largest;
    walk->count.cut = 0;
    jsp_exact_passes_drop(walk);
    jsp_exact_walk_prepare(walk);
    visit_backward(walk, U, -1, -top, 0);
    double sum = 0;
    for (int k = 0; k < walk->block; k++) sum += walk->block_sum[k];
    if (!(sum > 0)) sum = largest; /* rounding; cannot be less */
    jsp_exact_number B = {sum, top, (float)(walk->count.cut / sum)};
    jsp_exact_normalise(&B.mantissa, &B.exponent);
    exact->B[U] = B;
}

static void backward_group(void *context, int task, int worker) {
    jsp_exact *exact = context;
    jsp_exact_walk walk = {.B = exact->B};
    size_t begin, end;
    (void)worker;
    group_of(exact, task, count_groups(exact), &begin, &end);
    for (size_t k = begin; k < end; k++) backward_set(exact, exact->order[k], &walk);
    exact->count[task] = walk.count;
}

/* ---- forward ---- */

static double visit_forward(jsp_exact_walk *walk, uint32_t W, double m, int32_t e,
                            int next) {
    return jsp_exact_walk_children(walk, W, m, e, next, 1, visit_forward);
}

/* For the nodes of the block: sums over subsets with each of them, by folding. */
static void fold_block(jsp_exact_walk *walk, double *first) {
    double *sum = walk->block_sum;
    for (int a = walk->n - 1; a >= walk->n_high; a--) {
        int half = 1 << (a - walk->n_high);
        double with = 0;
        for (int k = 0; k < half; k++) {
            with += sum[half + k];
            sum[k] += sum[half + k];
        }
        first[(size_t)walk->node[a] * JSP_EXACT_SLAB] = with;
    }
}

/* first [D, SLAB] at the column of this set */
static void forward_set(jsp_exact *exact, uint32_t U, jsp_exact_walk *walk,
                        double *first, double *cut_partition) {
    double probability = 0;
    for (int s = 0; s < exact->n_shards; s++) probability += exact->placed[s][U];
    for (int j = 0; j < exact->D; j++) first[(size_t)j * JSP_EXACT_SLAB] = 0;
    jsp_exact_number B = exact->B[U];
    if (!(probability > JSP_EXACT_CUT) || !(B.mantissa > 0)) {
        walk->count.cut += probability > 0 ? probability : 0;
        return;
    }
    *cut_partition += probability * (double)B.cut;
    int32_t top = jsp_exact_passes_collect(exact, U, walk);
    double factor = probability / B.mantissa;
    for (int a = 0; a < walk->n; a++) {
        walk->value[a] *= factor * jsp_exact_power(top - B.exponent);
    }
    walk->threshold = JSP_EXACT_CUT;
    jsp_exact_passes_drop(walk);
    if (walk->n == 0) return;
    jsp_exact_walk_prepare(walk);
    visit_forward(walk, U, -factor, -B.exponent, 0);
    for (int a = 0; a < walk->n_high; a++) {
        first[(size_t)walk->node[a] * JSP_EXACT_SLAB] = walk->node_sum[a];
    }
    fold_block(walk, first);
}

static void forward_shard(void *context, int task, int worker) {
    jsp_exact *exact = context;
    jsp_exact_walk walk = {.B = exact->B, .placed = exact->placed[task]};
    size_t begin, end;
    double cut_partition = 0;
    (void)worker;
    group_of(exact, task, exact->n_shards, &begin, &end);
    for (size_t k = begin; k < end; k++) {
        forward_set(exact, exact->order[k], &walk, exact->first + (k - exact->begin),
                    &cut_partition);
    }
    exact->count[task] = walk.count;
    exact->count[exact->n_shards + task].cut = cut_partition;
}

/* Adds the slab's first_j(U) to the entry of U's candidates, node by node: no two tasks
 * touch one table. */
static void gather_first(void *context, int node, int worker) {
    jsp_exact *exact = context;
    jsp_exact_table *table = &exact->table[node];
    const double *first = exact->first + (size_t)node * JSP_EXACT_SLAB;
    (void)worker;
    for (size_t k = exact->begin; k < exact->end; k++) {
        double value = first[k - exact->begin];
        if (value > 0) {
            table->posterior[jsp_exact_local(table, exact->order[k])] += value;
        }
    }
}

/* ---- a slab ---- */

static void run_backward(jsp_exact *exact) {
    int n_tasks = count_groups(exact);
    jsp_parallel_team_for(exact->team, n_tasks, backward_group, exact);
    for (int t = 0; t < n_tasks; t++) {
        exact->report.n_terms_backward += exact->count[t].n_terms;
    }
}

static void run_forward(jsp_exact *exact) {
    int n = exact->n_shards;
    jsp_parallel_team_for(exact->team, n, forward_shard, exact);
    jsp_parallel_team_for(exact->team, exact->D, gather_first, exact);
    for (int t = 0; t < n; t++) {
        exact->report.n_terms_forward += exact->count[t].n_terms;
        exact->report.cut_posterior += exact->count[t].cut;
        exact->report.cut_partition += exact->count[n + t].cut;
    }
}

void jsp_exact_passes_run(jsp_exact *exact, jsp_exact_stage stage) {
    if (stage == JSP_EXACT_ORDERS) {
        jsp_parallel_team_for(exact->team, count_groups(exact), orders_group, exact);
    } else if (stage == JSP_EXACT_BACKWARD) {
        run_backward(exact);
    } else {
        run_forward(exact);
    }
}
