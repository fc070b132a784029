/* jsp_model_mlp.c - a node as a network with one hidden layer, the paper's non-linear model.
 *
 *     x_j = b2 + sum_u w2_u relu(b1_u + sum_{p in S} w1_pu x_p) + e,   e ~ N(0, s^2)
 *     every parameter ~ N(0, 1)
 *
 * U units, s known. theta of a node lists b1 [U], w1 [parents, U], b2, w2 [U]: U (p + 2) + 1
 * numbers. There is no closed form: only what is needed at given parameters exists here.
 * It works in the kernels' precision on setup->rows, whose sums are collected in double. */
#include <math.h>

#include "jsp_kernels.h"
#include "jsp_model.h"
#include "jsp_rows.h"

#define LOG_TWO_PI 1.8378770664093454836

enum { NOISE_SCALE, HIDDEN };

/* Numbers of a group of samples that are worked on at once; at least one sample. */
#define GROUP_NUMBERS 8192

static int n_units(const jsp_model_setup *setup) {
    return (int)setup->field[HIDDEN];
}

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    const double s = setup->field[NOISE_SCALE], U = setup->field[HIDDEN];
    if (!(s > 0 && isfinite(s) && isfinite(1 / (s * s)))) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "noise_scale of the mlp model must be a finite number above 1e-154, got %g",
            s);
    }
    if (U >= 1 && U <= JSP_KERNELS_MAX_UNITS && U == floor(U)) return JSP_OK;
    return jsp_status_set(
        error, JSP_ERROR_VALUE,
        "hidden of the mlp model must be an integer from 1 to %d, got %g",
        JSP_KERNELS_MAX_UNITS, U);
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
    const double constant =
        -0.5 * n_rows * (LOG_TWO_PI + 2 * log(s)) - 0.5 * g.P * LOG_TWO_PI;
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

const jsp_model jsp_model_mlp = {
    .name = "mlp",
    .needs_rows = 1,
    .n_fields = 2,
    .fields = {{"noise_scale", 0.31622776601683794}, {"hidden", 5}},
    .check = check,
    .log_joint = log_joint,
    .pull_slope = pull_slope,
    .n_units = n_units,
    .complete = complete,
};
