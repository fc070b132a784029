/* jsp_model_mlp.c - a node as a network with one hidden layer, the paper's non-linear model.
 *
 *     x_j = b2 + sum_u w2_u relu(b1_u + sum_{p in S} w1_pu x_p) + e,   e ~ N(0, s^2)
 *     every parameter ~ N(0, 1)
 *
 * U units; s known, or learned with log s ~ N(-1, 1). theta of a node lists b1 [U], w1
 * [parents, U], b2, w2 [U]: U (p + 2) + 1 numbers. There is no closed form. Evidence and
 * draws come from jsp_units.h, by Monte Carlo with a stream named by (node, parent set), so
 * they are the same wherever they are asked for. What is needed at given parameters works in
 * the kernels' precision on setup->rows, whose sums are collected in double; s is known
 * there. */
#include <math.h>
#include <string.h>

#include "jsp_bits.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_model.h"
#include "jsp_rows.h"
#include "jsp_special.h"
#include "jsp_units.h"

enum { NOISE_SCALE, HIDDEN, EFFORT };

_Static_assert(JSP_KERNELS_MAX_UNITS <= JSP_UNITS_MOST, "units that tables take");

/* Numbers of a group of samples that are worked on at once; at least one sample. */
#define GROUP_NUMBERS 8192

static int n_units(const jsp_model_setup *setup) {
    return (int)setup->field[HIDDEN];
}

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    const double s = setup->field[NOISE_SCALE], U = setup->field[HIDDEN];
    if (!isnan(s) && !(s > 0 && isfinite(s) && isfinite(1 / (s * s)))) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "noise_scale of the mlp model must be a finite number above 1e-154, got %g",
            s);
    }
    if (!(U >= 1 && U <= JSP_KERNELS_MAX_UNITS && U == floor(U))) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "hidden of the mlp model must be an integer from 1 to %d, got %g",
            JSP_KERNELS_MAX_UNITS, U);
    }
    const double effort = setup->field[EFFORT];
    if (effort >= 0.01 && effort <= 1000) return JSP_OK;
    return jsp_status_set(error, JSP_ERROR_VALUE,
                          "effort of the mlp model must be 0.01 to 1000, got %g",
                          effort);
}

/* One group of samples: [P, K] in the callers' arrays, [n, P] here. */
typedef struct group {
    int U, P, n; /* samples in it */
    jsp_real theta[GROUP_NUMBERS], direction[GROUP_NUMBERS];
    double sums[GROUP_NUMBERS];
} group;

static void gather(int P, int K, int first, int n, const double *x, jsp_real *y) {
    for (int p = 0; p < P; p++) {
        for (int k = 0; k < n; k++) {
            y[k * P + p] = (jsp_real)x[(size_t)p * (size_t)K + (size_t)(first + k)];
        }
    }
}

static void run_kernel(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, group *g, const jsp_real *direction,
                       double *squares) {
    const jsp_rows *rows = setup->rows;
    for (int k = 0; k < g->n * g->P; k++) g->sums[k] = 0;
    jsp_kernels_active()->units(g->n, g->U, n_parents, rows->stride, g->theta,
                                direction, rows->value, (size_t)rows->stride, parents,
                                rows->value + (size_t)node * (size_t)rows->stride,
                                jsp_rows_counts(rows, node), squares, g->sums);
}

/* y[p, first + k] = scale sums[k, p] - x[p, first + k] */
static void scatter(const group *g, int K, int first, double scale, const double *x,
                    double *y) {
    for (int p = 0; p < g->P; p++) {
        for (int k = 0; k < g->n; k++) {
            const size_t at = (size_t)p * (size_t)K + (size_t)(first + k);
            y[at] = scale * g->sums[k * g->P + p] - x[at];
        }
    }
}

static void log_joint(const jsp_model_setup *setup, int node, int n_parents,
                      const int *parents, int K, const double *theta, double *log_joint,
                      double *slope) {
    const double s = setup->field[NOISE_SCALE], weight = setup->rows->weight;
    const double n_rows = weight * jsp_rows_n_counted(setup->rows, node);
    group g;
    g.U = n_units(setup);
    g.P = g.U * (n_parents + 2) + 1;
    const int size = GROUP_NUMBERS / g.P;
    const double constant = -0.5 * n_rows * (JSP_SPECIAL_LOG_2PI + 2 * log(s)) -
                            0.5 * g.P * JSP_SPECIAL_LOG_2PI;
    for (int first = 0; first < K; first += size) {
        double squares[GROUP_NUMBERS / 3] = {0}; /* P is at least 3 */
        g.n = K - first < size ? K - first : size;
        gather(g.P, K, first, g.n, theta, g.theta);
        run_kernel(setup, node, n_parents, parents, &g, NULL, squares);
        scatter(&g, K, first, weight / (s * s), theta, slope);
        for (int k = 0; k < g.n; k++) {
            log_joint[first + k] += constant - 0.5 * weight / (s * s) * squares[k];
        }
    }
    for (int p = 0; p < g.P; p++) {
        const double *row = theta + (size_t)p * (size_t)K;
        for (int k = 0; k < K; k++) log_joint[k] -= 0.5 * row[k] * row[k];
    }
}

static void pull_slope(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, int K, const double *theta,
                       const double *d_slope, double *d_theta) {
    const double s = setup->field[NOISE_SCALE];
    group g;
    g.U = n_units(setup);
    g.P = g.U * (n_parents + 2) + 1;
    const int size = GROUP_NUMBERS / g.P;
    for (int first = 0; first < K; first += size) {
        g.n = K - first < size ? K - first : size;
        gather(g.P, K, first, g.n, theta, g.theta);
        gather(g.P, K, first, g.n, d_slope, g.direction);
        run_kernel(setup, node, n_parents, parents, &g, g.direction, NULL);
        scatter(&g, K, first, setup->rows->weight / (s * s), d_slope, d_theta);
    }
}

static void complete(const jsp_model_setup *setup, int node, int n_parents,
                     const int *parents, jsp_rng *rng, jsp_model_draw *out) {
    (void)node, (void)n_parents, (void)parents, (void)rng;
    out->intercept = 0; /* it is among the parameters */
    out->noise_scale = setup->field[NOISE_SCALE];
}

/* ---- evidence and draws ---------------------------------------------------------- */

/* Columns of the rows that count for a node, and the sampler of its networks. */
typedef struct node_sampler {
    jsp_units *units;
    double *value; /* [most + 1, n] parents, then the node */
    const double *column[JSP_MAX_PARENTS];
    double log_evidence; /* of a prepared set */
} node_sampler;

static void release(void *prepared) {
    node_sampler *sampler = prepared;
    if (!sampler) return;
    jsp_units_destroy(sampler->units);
    jsp_memory_free(sampler->value);
    jsp_memory_free(sampler);
}

/* Rows of a column that count, in order; returns their number. */
static int gather_rows(const jsp_data *data, int node, int variable, double *out) {
    const uint8_t *mask = jsp_data_mask(data, node);
    const double *value = jsp_data_values(data, variable);
    int n = 0;
    for (int r = 0; r < jsp_data_n_rows(data); r++) {
        if (!mask || !mask[r]) out[n++] = value[r];
    }
    return n;
}

/* For parent sets of at most `most` of n_variables candidates. */
static jsp_status open_sampler(const jsp_model_setup *setup, int node, int n_variables,
                               int most, node_sampler **out, jsp_error *error) {
    const size_t n = (size_t)jsp_data_node(setup->data, node).n_rows;
    const size_t numbers = ((size_t)n_variables + 1) * n;
    node_sampler *sampler = jsp_memory_alloc(1, sizeof *sampler);
    *out = NULL;
    if (!sampler) return jsp_status_no_memory(error, sizeof *sampler, "networks");
    sampler->value = jsp_memory_alloc(numbers, sizeof(double));
    jsp_status status = JSP_OK;
    if (!sampler->value) {
        status = jsp_status_no_memory(error, numbers * sizeof(double), "networks");
    } else {
        status = jsp_units_create((int)n, most, n_units(setup), setup->field[EFFORT],
                                  &sampler->units, error);
    }
    if (status != JSP_OK) {
        release(sampler);
        return status;
    }
    *out = sampler;
    return JSP_OK;
}

static void run_set(const jsp_model_setup *setup, int node, int n_parents,
                    const int *parents, node_sampler *sampler, const double *y,
                    int will_draw, double *log_evidence) {
    const jsp_units_problem problem = {.n =
                                           (int)jsp_data_node(setup->data, node).n_rows,
                                       .p = n_parents,
                                       .U = n_units(setup),
                                       .z = sampler->column,
                                       .y = y,
                                       .noise_scale = setup->field[NOISE_SCALE]};
    jsp_units_run(sampler->units, &problem, will_draw, jsp_rng_hash(n_parents, parents),
                  (uint32_t)node, log_evidence);
}

static jsp_status sample(const jsp_model_setup *setup, int node, int n_parents,
                         const int *parents, int will_draw, void **prepared,
                         jsp_error *error) {
    node_sampler *sampler;
    *prepared = NULL;
    jsp_status status =
        open_sampler(setup, node, n_parents, n_parents, &sampler, error);
    if (status != JSP_OK) return status;
    const size_t n = (size_t)jsp_data_node(setup->data, node).n_rows;
    for (int k = 0; k <= n_parents; k++) {
        double *column = sampler->value + (size_t)k * n;
        gather_rows(setup->data, node, k < n_parents ? parents[k] : node, column);
        if (k < n_parents) sampler->column[k] = column;
    }
    run_set(setup, node, n_parents, parents, sampler,
            sampler->value + (size_t)n_parents * n, will_draw, &sampler->log_evidence);
    *prepared = sampler;
    return JSP_OK;
}

static jsp_status prepare(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, void **prepared, jsp_error *error) {
    return sample(setup, node, n_parents, parents, 1, prepared, error);
}

static jsp_status estimate(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence,
                           double *standard_error, jsp_error *error) {
    void *prepared;
    jsp_status status = sample(setup, node, n_parents, parents, 0, &prepared, error);
    if (status != JSP_OK) return status;
    const node_sampler *sampler = prepared;
    *log_evidence = sampler->log_evidence;
    *standard_error = jsp_units_standard_error(sampler->units);
    release(prepared);
    return JSP_OK;
}

static jsp_status evidence(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error) {
    double standard_error;
    return estimate(setup, node, n_parents, parents, log_evidence, &standard_error,
                    error);
}

static jsp_status tabulate_sets(const jsp_model_setup *setup, int node, int K,
                                const int *candidates, int n_sets, const uint32_t *sets,
                                double *log_evidence, jsp_error *error) {
    const size_t n = (size_t)jsp_data_node(setup->data, node).n_rows;
    node_sampler *sampler;
    uint32_t used = 0;
    int most = 0;
    for (int s = 0; s < n_sets; s++) {
        const int size = jsp_bits_count64(sets[s]);
        most = size > most ? size : most;
        used |= sets[s];
    }
    jsp_status status = open_sampler(setup, node, K, most, &sampler, error);
    if (status != JSP_OK) return status;
    for (int k = 0; k <= K; k++) {
        if (k < K && !(used >> k & 1)) continue;
        gather_rows(setup->data, node, k < K ? candidates[k] : node,
                    sampler->value + (size_t)k * n);
    }
    for (int s = 0; s < n_sets; s++) {
        int parents[JSP_MAX_CANDIDATES], p = 0;
        for (int k = 0; k < K; k++) {
            if (!(sets[s] >> k & 1)) continue;
            sampler->column[p] = sampler->value + (size_t)k * n;
            parents[p++] = candidates[k];
        }
        run_set(setup, node, p, parents, sampler, sampler->value + (size_t)K * n, 0,
                &log_evidence[sets[s]]);
    }
    release(sampler);
    return JSP_OK;
}

static int n_extra(const jsp_model_setup *setup) {
    return n_units(setup) * (jsp_data_n_variables(setup->data) + 2) + 1;
}

/* The density is that of the posterior with the evidence as estimated. */
static jsp_status draw_prepared(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, void *prepared, jsp_rng *rng,
                                jsp_model_draw *out, jsp_error *error) {
    (void)node, (void)error;
    node_sampler *sampler = prepared;
    const int U = n_units(setup), D = jsp_data_n_variables(setup->data);
    double w1[JSP_UNITS_MOST * JSP_MAX_PARENTS], log_joint;
    double *b1 = out->extra, *rows = b1 + U, *b2 = rows + (size_t)U * D;
    memset(out->extra, 0, (size_t)n_extra(setup) * sizeof(double));
    jsp_units_draw(sampler->units, rng, w1, b1, b2 + 1, b2, &out->noise_scale,
                   &log_joint);
    for (int k = 0; k < n_parents; k++) {
        for (int u = 0; u < U; u++) rows[parents[k] * U + u] = w1[u * n_parents + k];
        out->weight[k] = 0;
    }
    out->intercept = 0;
    out->log_density = log_joint - sampler->log_evidence;
    return JSP_OK;
}

const jsp_model jsp_model_mlp = {
    .name = "mlp",
    .needs_rows = 1,
    .is_costly = 1,
    .n_fields = 3,
    .fields = {{"noise_scale", 0.31622776601683794}, {"hidden", 5}, {"effort", 1}},
    .check = check,
    .tabulate = jsp_model_tabulate_all,
    .tabulate_sets = tabulate_sets,
    .evidence = evidence,
    .estimate = estimate,
    .draw = jsp_model_draw_alone,
    .prepare = prepare,
    .draw_prepared = draw_prepared,
    .release = release,
    .n_extra = n_extra,
    .log_joint = log_joint,
    .pull_slope = pull_slope,
    .n_units = n_units,
    .complete = complete,
};
