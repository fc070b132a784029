/* jsp_exact_sample.c - exact independent draws of DAGs, layer by layer.
 *
 * U is what has been placed, R its last layer. The next layer C is the set of all nodes
 * whose parents lie in U; some parent is in R, or the node had come earlier. Its weight
 *     prod_{v in C} w_v sum over T in the rest of (-1)^|T| B(U + C + T) prod_{T} tau(U)
 * with w_v = tau_v(U) - tau_v(U - R) is, with y of jsp_exact_walk.h,
 *     prod_{v in C} [w_v / tau_v(U)]  times the superset Moebius transform of y at C,
 * for all C in one array. Both subtractions may cancel, but only for layers that are as
 * improbable as the digits lost: replacing the parents of v by better ones outside R
 * gives a DAG of larger weight.
 *
 * All draws that share (U, R) share the array: draws are sorted by their layer and each
 * run goes on together. Random numbers belong to (draw, |U|), so order and threads do
 * not matter. Parents of v come from a list of its sets by decreasing score; the first
 * few that fit U and R mostly decide. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "jsp_exact_walk.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"
#include "jsp_rng.h"

#define LN2 0.69314718055994530942
#define SMALLEST 1e-18 /* posterior probability of a parent set worth listing */

typedef struct draw {
    uint32_t layer; /* drawn last */
    uint32_t id;
} draw;

typedef struct sampler {
    const jsp_exact *exact;
    uint64_t seed;
    long first_draw;
    draw *draws;     /* [n] owned */
    size_t *run;     /* [n_runs + 1] where runs of equal first layers begin; owned */
    double *scratch; /* [2^(D-1)] of the first layer, then of each worker; owned */
    uint32_t *masks; /* [n, D] */
    jsp_pulse *pulse;
    long n;
    atomic_long n_done; /* draws */
} sampler;

/* ---- lists of parent sets ---- */

typedef struct entry {
    double score;
    uint32_t S;
} entry;

static int compare_entries(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->S < y->S ? -1 : x->S > y->S;
}

static jsp_status make_list(jsp_exact *exact, int j, jsp_error *error) {
    const jsp_exact_table *table = &exact->table[j];
    size_t size = (size_t)1 << table->K, n = 0;
    for (size_t S = 0; S < size; S++) n += table->posterior[S] > SMALLEST;
    entry *entries = jsp_memory_alloc(n, sizeof *entries);
    uint32_t *list = jsp_memory_alloc(n, sizeof *list);
    if (!entries || !list) {
        jsp_memory_free(entries);
        jsp_memory_free(list);
        return jsp_status_no_memory(error, n * sizeof *entries, "lists of parent sets");
    }
    n = 0;
    for (size_t S = 0; S < size; S++) {
        if (!(table->posterior[S] > SMALLEST)) continue;
        entries[n++] = (entry){exact->scores->node[j].score[S], (uint32_t)S};
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    for (size_t k = 0; k < n; k++)
        list[k] = jsp_exact_map(table->shuffle, entries[k].S);
    jsp_memory_free(entries);
    exact->list[j] = list;
    exact->list_length[j] = n;
    return JSP_OK;
}

/* ---- a layer ---- */

/* y[X] of all subsets X of the collected nodes from number a on; branches below the
 * threshold keep their 0. */
static void fill(const jsp_exact_walk *walk, int a, size_t X, uint32_t W, double m,
                 int32_t e, double *y) {
    const jsp_exact_number *B = &walk->B[W];
    double value = m * B->mantissa * jsp_exact_power(e + B->exponent);
    if (value < walk->threshold && X) return;
    y[X] = X ? value : 0;
    for (; a < walk->n; a++) {
        fill(walk, a + 1, X | (size_t)1 << a, W | walk->bit[a], m * walk->mantissa[a],
             e + walk->exponent[a], y);
    }
}

/* w_v / tau_v(U); 1 for the first layer. */
static double share_new(const jsp_exact *exact, int v, uint32_t U, uint32_t R) {
    const jsp_exact_table *table = &exact->table[v];
    if (U == 0) return 1;
    uint32_t all = jsp_exact_local(table, U), old = jsp_exact_local(table, U & ~R);
    double ratio = table->mantissa[old] / table->mantissa[all] *
                   jsp_exact_power(table->exponent[old] - table->exponent[all]);
    return ratio < 1 ? 1 - ratio : 0;
}

/* Cumulative weights of the layers that can follow, by subset of walk's nodes. Returns
 * their sum. */
static double weigh_layers(const jsp_exact *exact, uint32_t U, uint32_t R,
                           jsp_exact_walk *walk, double *y) {
    int32_t top = jsp_exact_passes_collect(exact, U, walk);
    double largest = 0, sum = 0;
    for (int a = 0; a < walk->n; a++) {
        if (walk->value[a] > largest) largest = walk->value[a];
    }
    walk->threshold = JSP_EXACT_CUT * largest;
    jsp_exact_passes_drop(walk);
    size_t size = (size_t)1 << walk->n;
    memset(y, 0, size * sizeof *y);
    fill(walk, 0, 0, U, 1, -top, y);
    for (int a = 0; a < walk->n; a++) {
        double ratio = share_new(exact, walk->node[a], U, R);
        size_t half = (size_t)1 << a;
        for (size_t X = 0; X < size; X += 2 * half) {
            for (size_t k = X; k < X + half; k++) {
                y[k] -= y[k + half];
                y[k + half] *= ratio;
            }
        }
    }
    y[0] = 0;
    for (size_t X = 1; X < size; X++) {
        sum += y[X] > 0 ? y[X] : 0;
        y[X] = sum;
    }
    return sum;
}

/* First index whose cumulative weight exceeds `target`. */
static size_t search(const double *cumulative, size_t n, double target) {
    size_t low = 0, high = n - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cumulative[middle] > target) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static uint32_t nodes_of(const jsp_exact_walk *walk, size_t X) {
    uint32_t set = 0;
    for (int a = 0; a < walk->n; a++) set |= X >> a & 1 ? walk->bit[a] : 0;
    return set;
}

/* ---- parents ---- */

/* Parents of v within U that touch R (any, for the first layer), by their weights. */
static uint32_t draw_parents(const jsp_exact *exact, int v, uint32_t U, uint32_t R,
                             double uniform) {
    const jsp_exact_table *table = &exact->table[v];
    const jsp_scores_node *node = &exact->scores->node[v];
    uint32_t inside = jsp_exact_local(table, U), fresh = jsp_exact_local(table, R);
    double log_tau = log(table->mantissa[inside]) + LN2 * table->exponent[inside];
    double target = uniform * share_new(exact, v, U, R), sum = 0;
    uint32_t last = 0;
    int found = 0;
    for (size_t k = 0; k < exact->list_length[v]; k++) {
        uint32_t S = exact->list[v][k];
        if ((S & ~inside) || (U && !(S & fresh))) continue;
        double score = node->score[jsp_exact_unshuffle(table, S)];
        sum += exp(score - node->max_score - log_tau);
        last = S;
        found = 1;
        if (sum > target) return jsp_exact_unshuffle(table, S);
    }
    if (found)
        return jsp_exact_unshuffle(
            table, last); /* what is not listed is negligible, or rounding */
    double best = -INFINITY;
    for (uint32_t S = inside;; S = (S - 1) & inside) {
        uint32_t T = jsp_exact_unshuffle(table, S);
        if ((!U || (S & fresh)) && node->score[T] > best) {
            best = node->score[T];
            last = T;
        }
        if (S == 0) return last;
    }
}

/* ---- descent ---- */

static int compare_draws(const void *a, const void *b) {
    const draw *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Draws the layer after (U, R) for draws [begin, end), with its parents, and sorts them
 * by it. */
static void draw_layer(const sampler *q, uint32_t U, uint32_t R, size_t begin,
                       size_t end, double *scratch) {
    const jsp_exact *exact = q->exact;
    jsp_exact_walk walk = {.B = exact->B};
    double sum = weigh_layers(exact, U, R, &walk, scratch);
    size_t size = (size_t)1 << walk.n;
    for (size_t k = begin; k < end; k++) {
        draw *d = &q->draws[k];
        jsp_rng rng;
        jsp_rng_init(&rng, q->seed, (uint32_t)jsp_bits_count64(U),
                     (uint32_t)(q->first_draw + d->id), JSP_RNG_SAMPLE);
        d->layer = nodes_of(&walk, search(scratch, size, jsp_rng_uniform(&rng) * sum));
        for (uint32_t left = d->layer; left; left &= left - 1) {
            int v = jsp_bits_lowest64(left);
            int variable = exact->variable[v];
            q->masks[(size_t)d->id * (size_t)exact->D + (size_t)variable] =
                draw_parents(exact, v, U, R, jsp_rng_uniform(&rng));
        }
    }
    qsort(q->draws + begin, end - begin, sizeof *q->draws, compare_draws);
}

/* Everything after (U, R) for draws [begin, end). At most D levels deep. */
static void descend(sampler *q, uint32_t U, uint32_t R, size_t begin, size_t end,
                    double *scratch) {
    if (U == q->exact->full) {
        atomic_fetch_add(&q->n_done, (long)(end - begin));
        return;
    }
    if (jsp_pulse_stops(q->pulse, (double)atomic_load(&q->n_done) / (double)q->n))
        return;
    draw_layer(q, U, R, begin, end, scratch);
    while (begin < end) {
        uint32_t layer = q->draws[begin].layer;
        size_t next = begin;
        while (next < end && q->draws[next].layer == layer) next++;
        /* an empty layer cannot be drawn; should rounding ever make one, stop */
        if (layer) descend(q, U | layer, layer, begin, next, scratch);
        begin = next;
    }
}

static void descend_run(void *context, int task, int worker) {
    sampler *q = context;
    size_t begin = q->run[task], half = (size_t)1 << (q->exact->D - 1);
    uint32_t layer = q->draws[begin].layer;
    double *scratch = q->scratch + (size_t)(worker + 1) * half;
    descend(q, layer, layer, begin, q->run[task + 1], scratch);
}

static int find_runs(sampler *q, size_t n) {
    int n_runs = 0;
    for (size_t k = 0; k < n; k++) {
        if (k > 0 && q->draws[k].layer == q->draws[k - 1].layer) continue;
        q->run[n_runs++] = k;
    }
    q->run[n_runs] = n;
    return n_runs;
}

jsp_status jsp_exact_sample(jsp_exact *exact, long n, uint64_t seed, long first_draw,
                            int n_threads, uint32_t *masks, jsp_pulse *pulse,
                            jsp_error *error) {
    int workers = n_threads < 1 ? 1 : n_threads;
    size_t half = (size_t)1 << (exact->D - 1);
    sampler q = {.exact = exact,
                 .seed = seed,
                 .first_draw = first_draw,
                 .masks = masks,
                 .pulse = pulse,
                 .n = n};
    jsp_status status = JSP_OK;
    if (n <= 0) return JSP_OK;
    for (int j = 0; j < exact->D && status == JSP_OK; j++) {
        if (jsp_pulse_stops(pulse, 0)) goto stopped;
        if (!exact->list[j]) status = make_list(exact, j, error);
    }
    if (status != JSP_OK) return status;
    q.draws = jsp_memory_alloc((size_t)n, sizeof *q.draws);
    q.run = jsp_memory_alloc((size_t)n + 1, sizeof *q.run);
    q.scratch = jsp_memory_alloc((size_t)(workers + 1) * half, sizeof(double));
    if (!q.draws || !q.run || !q.scratch) {
        status =
            jsp_status_no_memory(error, (size_t)(workers + 1) * half * sizeof(double),
                                 "exact draws");
        goto done;
    }
    for (long s = 0; s < n; s++) q.draws[s].id = (uint32_t)s;
    draw_layer(&q, 0, 0, 0, (size_t)n, q.scratch);
    jsp_parallel_for(workers, find_runs(&q, (size_t)n), descend_run, &q);
    if (jsp_pulse_stopped(pulse)) goto stopped;
done:
    jsp_memory_free(q.draws);
    jsp_memory_free(q.run);
    jsp_memory_free(q.scratch);
    return status;
stopped:
    status = jsp_status_set(error, JSP_INTERRUPTED, "draws were not finished");
    goto done;
}
