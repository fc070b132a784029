/* jsp_model_bdeu.c - the BDeu score of discrete data.
 *
 * Node j has r states and its parents S have q = product of their numbers of states
 * configurations; each row of the conditional probability table is Dirichlet with all
 * parameters ess / (r q). With N_c rows in configuration c, N_ck of them in state k, and
 * rise(x, n) = lgamma(x + n) - lgamma(x),
 *
 *     log evidence = sum_ck rise(ess / (r q), N_ck) - sum_c rise(ess / q, N_c),
 *
 * the probability of the rows in their order (no multinomial coefficient). Only what
 * occurs in the data contributes, so q may be astronomical. Source: Heckerman, Geiger and
 * Chickering, Machine Learning 20 (1995).
 *
 * Table: a depth-first walk over subsets like that of jsp_gaussian.c; each step refines
 * the groups of rows of the step before by one parent. Small counts are tallied first, so
 * that rise() is computed once per distinct count.
 */
#include <math.h>

#include "jsp_counts.h"
#include "jsp_memory.h"
#include "jsp_model.h"
#include "jsp_special.h"

#define SMALL 256 /* counts below this are tallied */

enum { SAMPLE_SIZE };

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    double ess = setup->field[SAMPLE_SIZE];
    if (!jsp_data_is_discrete(setup->data)) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "the BDeu model needs discrete data");
    }
    if (ess > 0 && isfinite(ess)) return JSP_OK;
    return jsp_status_set(error, JSP_ERROR_VALUE,
                          "equivalent_sample_size of the BDeu model must be a positive "
                          "number, got %g",
                          ess);
}

/* ---- evidence of one grouping ---- */

typedef struct walk {
    jsp_counts counts; /* columns: candidates, then the node */
    int K, max_parents;
    int n_states[JSP_MAX_CANDIDATES + 1];
    double ess;
    uint32_t *groups; /* [levels, n] owned */
    uint32_t *pairs;  /* [n] groups refined by the state of the node, owned */
    double *n_group;  /* [n] owned */
    double *n_pair;   /* [n] owned */
    double *log_evidence;
} walk;

/* Sum of rise(x, n[k]). */
static double sum_rising(double x, size_t length, const double *n) {
    int tally[SMALL] = {0};
    double sum = 0;
    for (size_t k = 0; k < length; k++) {
        if (n[k] < SMALL) {
            tally[(int)n[k]]++;
        } else {
            sum += jsp_special_log_rising(x, n[k]);
        }
    }
    for (int m = 1; m < SMALL; m++) {
        if (tally[m]) sum += tally[m] * jsp_special_log_rising(x, m);
    }
    return sum;
}

static double evidence_of(walk *w, const uint32_t *group, uint32_t n_groups, double q) {
    int r = w->n_states[w->K];
    uint32_t n_pairs =
        jsp_counts_refine(&w->counts, group, n_groups, w->K, r, w->pairs);
    for (uint32_t g = 0; g < n_groups; g++) w->n_group[g] = 0;
    for (uint32_t g = 0; g < n_pairs; g++) w->n_pair[g] = 0;
    for (int k = 0; k < w->counts.n; k++) {
        double weight = w->counts.weight[k];
        w->n_group[group[k]] += weight;
        w->n_pair[w->pairs[k]] += weight;
    }
    return sum_rising(w->ess / (r * q), n_pairs, w->n_pair) -
           sum_rising(w->ess / q, n_groups, w->n_group);
}

/* All proper supersets of S made with candidates below `end`. */
static void descend(walk *w, int depth, int end, uint32_t S, uint32_t n_groups,
                    double q) {
    if (depth == w->max_parents) return;
    const uint32_t *group = w->groups + (size_t)depth * (size_t)w->counts.n;
    uint32_t *refined = w->groups + (size_t)(depth + 1) * (size_t)w->counts.n;
    for (int v = 0; v < end; v++) {
        uint32_t S_v = S | (uint32_t)1 << v;
        double q_v = q * w->n_states[v];
        uint32_t n_refined =
            jsp_counts_refine(&w->counts, group, n_groups, v, w->n_states[v], refined);
        w->log_evidence[S_v] = evidence_of(w, refined, n_refined, q_v);
        if (v > 0) descend(w, depth + 1, v, S_v, n_refined, q_v);
    }
}

static void close_walk(walk *w) {
    jsp_counts_destroy(&w->counts);
    jsp_memory_free(w->groups);
    jsp_memory_free(w->pairs);
    jsp_memory_free(w->n_group);
    jsp_memory_free(w->n_pair);
}

static jsp_status open_walk(walk *w, const jsp_model_setup *setup, int node, int K,
                            const int *candidates, int max_parents, jsp_error *error) {
    int columns[JSP_MAX_CANDIDATES + 1];
    *w = (walk){.K = K,
                .max_parents = max_parents < K ? max_parents : K,
                .ess = setup->field[SAMPLE_SIZE]};
    for (int k = 0; k <= K; k++) {
        columns[k] = k < K ? candidates[k] : node;
        w->n_states[k] = jsp_data_n_states(setup->data, columns[k]);
    }
    jsp_status status =
        jsp_counts_create(&w->counts, setup->data, node, K + 1, columns, error);
    if (status != JSP_OK) return status;
    size_t n = (size_t)w->counts.n, levels = (size_t)w->max_parents + 1;
    w->groups = jsp_memory_alloc(levels * n, sizeof *w->groups);
    w->pairs = jsp_memory_alloc(n, sizeof *w->pairs);
    w->n_group = jsp_memory_alloc(n, sizeof *w->n_group);
    w->n_pair = jsp_memory_alloc(n, sizeof *w->n_pair);
    if (w->groups && w->pairs && w->n_group && w->n_pair) return JSP_OK;
    close_walk(w);
    return jsp_status_no_memory(error, levels * n * sizeof *w->groups, "counts");
}

static jsp_status tabulate(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, int max_parents, double *log_evidence,
                           jsp_error *error) {
    walk w;
    jsp_status status = open_walk(&w, setup, node, K, candidates, max_parents, error);
    if (status != JSP_OK) return status;
    w.log_evidence = log_evidence;
    if (max_parents < K) {
        for (size_t S = 0; S < (size_t)1 << K; S++) log_evidence[S] = -INFINITY;
    }
    uint32_t n_groups = w.counts.n > 0; /* all rows are one group */
    log_evidence[0] = evidence_of(&w, w.groups, n_groups, 1);
    descend(&w, 0, K, 0, n_groups, 1);
    close_walk(&w);
    return JSP_OK;
}

static jsp_status refuse_size(int node, int n_parents, jsp_error *error) {
    return jsp_status_set(
        error, JSP_ERROR_VALUE,
        "variable %d has %d parents; for discrete data at most %d are "
        "possible",
        node, n_parents, JSP_MAX_CANDIDATES);
}

static jsp_status evidence(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error) {
    walk w;
    if (n_parents > JSP_MAX_CANDIDATES) return refuse_size(node, n_parents, error);
    jsp_status status = open_walk(&w, setup, node, n_parents, parents, 0, error);
    if (status != JSP_OK) return status;
    uint32_t n_groups = w.counts.n > 0;
    double q = 1;
    for (int k = 0; k < n_parents; k++) {
        int r = w.n_states[k];
        n_groups = jsp_counts_refine(&w.counts, w.groups, n_groups, k, r, w.groups);
        q *= r;
    }
    *log_evidence = evidence_of(&w, w.groups, n_groups, q);
    close_walk(&w);
    return JSP_OK;
}

/* ---- draws ---- */

/* table[c, k] = N_ck, c = mixed-radix number of the configuration, last parent fastest. */
static void count_table(const jsp_data *data, int node, int n_parents,
                        const int *parents, double *table) {
    const uint16_t *code[JSP_MAX_PARENTS], *child = jsp_data_codes(data, node);
    const uint8_t *mask = jsp_data_mask(data, node);
    size_t r = (size_t)jsp_data_n_states(data, node), n_states[JSP_MAX_PARENTS];
    for (int k = 0; k < n_parents; k++) {
        code[k] = jsp_data_codes(data, parents[k]);
        n_states[k] = (size_t)jsp_data_n_states(data, parents[k]);
    }
    for (int row = 0; row < jsp_data_n_rows(data); row++) {
        if (mask && mask[row]) continue;
        size_t c = 0;
        for (int k = 0; k < n_parents; k++) c = c * n_states[k] + code[k][row];
        table[c * r + child[row]] += 1;
    }
}

/* log of a Gamma(shape) draw; tiny shapes would underflow as plain numbers. */
static double draw_log_gamma(jsp_rng *rng, double shape) {
    if (shape >= 1) return log(jsp_rng_gamma(rng, shape));
    return log(jsp_rng_uniform(rng)) / shape + log(jsp_rng_gamma(rng, shape + 1));
}

/* Replaces counts by a Dirichlet draw with parameters prior + counts; returns the log
 * density. */
static double draw_row(double prior, size_t r, double *row, jsp_rng *rng) {
    double total = 0, max = -INFINITY, sum = 0, density = 0;
    for (size_t k = 0; k < r; k++) {
        double shape = prior + row[k];
        total += shape;
        density -= jsp_special_log_gamma(shape);
    }
    density += jsp_special_log_gamma(total);
    for (size_t k = 0; k < r; k++) {
        double a = prior + row[k], value = draw_log_gamma(rng, a);
        /* (a - 1) log theta, up to the normaliser, which is added below */
        density += (a - 1) * value;
        row[k] = value;
        max = value > max ? value : max;
    }
    for (size_t k = 0; k < r; k++) {
        row[k] = exp(row[k] - max);
        sum += row[k];
    }
    for (size_t k = 0; k < r; k++) row[k] /= sum;
    return density - (total - (double)r) * (max + log(sum));
}

/* The counts of a parent set. */
static jsp_status prepare(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, void **prepared, jsp_error *error) {
    *prepared = NULL;
    if (n_parents > JSP_MAX_CANDIDATES) return refuse_size(node, n_parents, error);
    size_t size = jsp_data_table_size(setup->data, node, n_parents, parents);
    double *counts = jsp_memory_alloc(size, sizeof *counts);
    if (!counts) return jsp_status_no_memory(error, size * sizeof *counts, "counts");
    count_table(setup->data, node, n_parents, parents, counts);
    *prepared = counts;
    return JSP_OK;
}

static jsp_status draw_prepared(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, void *prepared, jsp_rng *rng,
                                jsp_model_draw *out, jsp_error *error) {
    (void)error;
    const double *counts = prepared;
    size_t r = (size_t)jsp_data_n_states(setup->data, node);
    size_t size = jsp_data_table_size(setup->data, node, n_parents, parents);
    double prior = setup->field[SAMPLE_SIZE] / (double)size;
    for (size_t k = 0; k < size; k++) out->table[k] = counts[k];
    out->log_density = 0;
    for (size_t k = 0; k < size; k += r) {
        out->log_density += draw_row(prior, r, out->table + k, rng);
    }
    return JSP_OK;
}

const jsp_model jsp_model_bdeu = {
    .name = "bdeu",
    .is_discrete = 1,
    .n_fields = 1,
    .fields = {{"equivalent_sample_size", 1.0}},
    .check = check,
    .tabulate = tabulate,
    .evidence = evidence,
    .draw = jsp_model_draw_alone,
    .prepare = prepare,
    .draw_prepared = draw_prepared,
    .release = jsp_memory_free,
};
