/* jsp_model_linear.c - linear Gaussian node with known noise.
 *
 *     x_j = X_S theta + e,   e ~ N(0, s^2),   theta ~ N(0, w^2 I)
 *
 * Posterior precision L = X_S^T X_S / s^2 + I / w^2, mean mu = L^-1 X_S^T x_j / s^2,
 * log evidence = -m/2 log(2 pi s^2) - p log w - 1/2 log det L
 *                - 1/2 (x_j^T x_j / s^2 - mu^T L mu).
 *
 * With an intercept (flat prior, integrated out) moments are centred on the rows that
 * count for the node and m = n - 1; a remaining term -1/2 log n does not depend on the
 * parents and is left out. Without one, moments are taken about 0 and m = n.
 */
#include <math.h>

#include "jsp_gaussian.h"
#include "jsp_model.h"
#include "jsp_model_linear_theta.h"
#include "jsp_moments.h"

#define TWO_PI 6.28318530717958647693

enum { NOISE_SCALE, WEIGHT_SCALE };

/* The part of the evidence that does not depend on the parent set. */
typedef struct constants {
    double base;
    double log_weight_scale;
} constants;

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    for (int f = NOISE_SCALE; f <= WEIGHT_SCALE; f++) {
        double value = setup->field[f];
        if (value > 0 && isfinite(value) && isfinite(1 / (value * value))) continue;
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "%s of the linear model must be a finite number above 1e-154, got %g",
            setup->model->fields[f].name, value);
    }
    return JSP_OK;
}

static jsp_gaussian_form form_of(const jsp_model_setup *setup, int node) {
    double s = setup->field[NOISE_SCALE], w = setup->field[WEIGHT_SCALE];
    double n = jsp_data_node(setup->data, node).n_rows;
    jsp_gaussian_form form = {.scale = 1 / (s * s),
                              .mean_weight = setup->intercept ? 0 : n,
                              .ridge = 1 / (w * w),
                              .child_ridge = 0};
    return form;
}

static constants constants_of(const jsp_model_setup *setup, int node) {
    double s = setup->field[NOISE_SCALE];
    double n = jsp_data_node(setup->data, node).n_rows;
    if (setup->intercept && n > 0) n -= 1;
    constants c = {-0.5 * n * log(TWO_PI * s * s), log(setup->field[WEIGHT_SCALE])};
    return c;
}

static double evidence_of(const void *context, int p, double log_det, double residual) {
    const constants *c = context;
    return c->base - p * c->log_weight_scale - 0.5 * log_det - 0.5 * residual;
}

static jsp_status tabulate(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, int max_parents, double *log_evidence,
                           jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    constants c = constants_of(setup, node);
    return jsp_gaussian_tabulate(&form, setup->data, node, K, candidates, max_parents,
                                 evidence_of, &c, log_evidence, error);
}

static jsp_status evidence(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    constants c = constants_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           &solution, error);
    if (status != JSP_OK) return status;
    *log_evidence = evidence_of(&c, n_parents, solution.log_det, solution.residual);
    return JSP_OK;
}

/* c | theta ~ N(mean_j - theta . mean_S, s^2 / n). Without rows the flat prior is all
 * there is and nothing can be drawn from it: 0. */
static double draw_intercept(const jsp_model_setup *setup, int node, int n_parents,
                             const int *parents, const double *weight, double z) {
    jsp_data_moments m = jsp_data_node(setup->data, node);
    if (m.n_rows == 0) return 0;
    double value = m.mean[node] + z * setup->field[NOISE_SCALE] / sqrt(m.n_rows);
    for (int k = 0; k < n_parents; k++) value -= weight[k] * m.mean[parents[k]];
    return value;
}

static void complete(const jsp_model_setup *setup, int node, int n_parents,
                     const int *parents, jsp_rng *rng, jsp_model_draw *out) {
    out->intercept = 0;
    if (setup->intercept) {
        out->intercept = draw_intercept(setup, node, n_parents, parents, out->weight,
                                        jsp_rng_normal(rng));
    }
    out->noise_scale = setup->field[NOISE_SCALE];
}

static jsp_status draw(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, jsp_rng *rng, jsp_model_draw *out,
                       jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           &solution, error);
    if (status != JSP_OK) return status;
    double z[JSP_MAX_PARENTS], sum_squares = 0;
    for (int k = 0; k < n_parents; k++) {
        z[k] = jsp_rng_normal(rng);
        sum_squares += z[k] * z[k];
    }
    jsp_gaussian_combine(&solution, 1, z, out->weight);
    complete(setup, node, n_parents, parents, rng, out);
    out->log_density = 0.5 * (solution.log_det - n_parents * log(TWO_PI) - sum_squares);
    return JSP_OK;
}

static jsp_status moments(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, double *mean, double *variance,
                          double *noise, jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           &solution, error);
    if (status != JSP_OK) return status;
    jsp_moments_inverse_diagonal(&solution, variance);
    for (int k = 0; k < n_parents; k++) mean[k] = solution.mean[k];
    *noise = setup->field[NOISE_SCALE] * setup->field[NOISE_SCALE];
    return JSP_OK;
}

static double noise_of(const void *context, int p, double residual) {
    (void)p;
    (void)residual;
    return *(const double *)context;
}

/* A is multiplied by s^2, so that the variance of weights is s^2 A^-1. */
static jsp_status mix(const jsp_model_setup *setup, int node,
                      jsp_moments_mixture *mixture, jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    double variance = setup->field[NOISE_SCALE] * setup->field[NOISE_SCALE];
    form.scale = 1;
    form.ridge *= variance;
    return jsp_moments_mix_form(&form, noise_of, &variance, setup->data, node, mixture,
                                error);
}

const jsp_model jsp_model_linear = {
    .name = "linear",
    .n_fields = 2,
    /* 0.316... = sqrt(0.1): a noise variance of 0.1 */
    .fields = {{"noise_scale", 0.31622776601683794}, {"weight_scale", 1.0}},
    .check = check,
    .tabulate = tabulate,
    .evidence = evidence,
    .draw = draw,
    .moments = moments,
    .mix = mix,
    .log_joint = jsp_model_linear_theta_log_joint,
    .pull_slope = jsp_model_linear_theta_pull_slope,
    .complete = complete,
};
