/* jsp_model_nig.c - linear Gaussian node with learned noise, normal-inverse-gamma prior.
 *
 *     x_j = X_S theta + e,  e ~ N(0, v),  theta | v ~ N(0, v w^2 I),  v ~ InvGamma(a, b)
 *
 * With L = X_S^T X_S + I / w^2, residual = x_j^T x_j - x_j^T X_S L^-1 X_S^T x_j and m
 * rows,
 *     a_m = a + m/2,  b_m = b + residual / 2,
 *     log evidence = -m/2 log(2 pi) - p log w - 1/2 log det L + a log b - a_m log b_m
 *                    + lgamma(a_m) - lgamma(a).
 * The intercept is treated as in jsp_model_linear.c: with one, moments are centred on the
 * rows that count and m = n - 1. Draws: v ~ InvGamma(a_m, b_m), theta | v ~ N(mean, v L^-1).
 */
#include <math.h>

#include "jsp_gaussian.h"
#include "jsp_model.h"
#include "jsp_moments.h"
#include "jsp_special.h"

enum { SHAPE, RATE, WEIGHT_SCALE };

/* What does not depend on the parent set. */
typedef struct constants {
    double base;
    double shape; /* a_m */
    double rate;  /* b */
    double log_weight_scale;
} constants;

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    for (int f = SHAPE; f <= WEIGHT_SCALE; f++) {
        double value = setup->field[f];
        if (value > 0 && isfinite(value) && isfinite(1 / (value * value))) continue;
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "%s of the NIG model must be a finite number above 1e-154, got %g",
            setup->model->fields[f].name, value);
    }
    return JSP_OK;
}

static jsp_gaussian_form form_of(const jsp_model_setup *setup, int node) {
    double w = setup->field[WEIGHT_SCALE];
    double n = jsp_data_node(setup->data, node).n_rows;
    jsp_gaussian_form form = {.scale = 1,
                              .mean_weight = setup->intercept ? 0 : n,
                              .ridge = 1 / (w * w),
                              .child_ridge = 0,
                              .prior_residual = 2 * setup->field[RATE]};
    return form;
}

static constants constants_of(const jsp_model_setup *setup, int node) {
    double a = setup->field[SHAPE], b = setup->field[RATE];
    double m = jsp_data_node(setup->data, node).n_rows;
    if (setup->intercept && m > 0) m -= 1;
    constants c = {.shape = a + 0.5 * m,
                   .rate = b,
                   .log_weight_scale = log(setup->field[WEIGHT_SCALE])};
    c.base = -0.5 * m * JSP_SPECIAL_LOG_2PI + a * log(b) +
             jsp_special_log_rising(a, 0.5 * m);
    return c;
}

/* b_m; a residual of rounding errors only may be just below 0. */
static double rate_of(const constants *c, double residual) {
    return c->rate + (residual > 0 ? 0.5 * residual : 0);
}

static double evidence_of(const void *context, int p, double log_det, double residual) {
    const constants *c = context;
    return c->base - p * c->log_weight_scale - 0.5 * log_det -
           c->shape * log(rate_of(c, residual));
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

/* c | theta, v ~ N(mean_j - theta . mean_S, v / n); 0 without rows. */
static double draw_intercept(const jsp_model_setup *setup, int node, int n_parents,
                             const int *parents, const double *weight,
                             double noise_scale, double z) {
    jsp_data_moments m = jsp_data_node(setup->data, node);
    if (m.n_rows == 0) return 0;
    double centre = m.mean[node];
    for (int k = 0; k < n_parents; k++) centre -= weight[k] * m.mean[parents[k]];
    return centre + z * noise_scale / sqrt(m.n_rows);
}

/* The gamma draw takes a varying number of words, so it comes last. */
static jsp_status draw(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, jsp_rng *rng, jsp_model_draw *out,
                       jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    constants c = constants_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           &solution, error);
    if (status != JSP_OK) return status;
    double z[JSP_MAX_PARENTS], sum_squares = 0;
    for (int k = 0; k < n_parents; k++) {
        z[k] = jsp_rng_normal(rng);
        sum_squares += z[k] * z[k];
    }
    double z_intercept = jsp_rng_normal(rng);
    double rate = rate_of(&c, solution.residual);
    double v = rate / jsp_rng_gamma(rng, c.shape), s = sqrt(v);
    jsp_gaussian_combine(&solution, s, z, out->weight);
    out->noise_scale = s;
    out->intercept = 0;
    if (setup->intercept) {
        out->intercept = draw_intercept(setup, node, n_parents, parents, out->weight, s,
                                        z_intercept);
    }
    double weights = 0.5 * (solution.log_det -
                            n_parents * (JSP_SPECIAL_LOG_2PI + log(v)) - sum_squares);
    double variance = c.shape * log(rate) - jsp_special_log_gamma(c.shape) -
                      (c.shape + 1) * log(v) - rate / v;
    out->log_density = weights + variance;
    return JSP_OK;
}

/* E v */
static double noise_of(const void *context, int p, double residual) {
    const constants *c = context;
    (void)p;
    return c->shape > 1 ? rate_of(c, residual) / (c->shape - 1) : INFINITY;
}

static jsp_status moments(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, double *mean, double *variance,
                          double *noise, jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    constants c = constants_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           &solution, error);
    if (status != JSP_OK) return status;
    *noise = noise_of(&c, n_parents, solution.residual);
    jsp_moments_inverse_diagonal(&solution, variance);
    for (int k = 0; k < n_parents; k++) {
        mean[k] = solution.mean[k];
        variance[k] *= *noise;
    }
    return JSP_OK;
}

static jsp_status mix(const jsp_model_setup *setup, int node,
                      jsp_moments_mixture *mixture, jsp_error *error) {
    jsp_gaussian_form form = form_of(setup, node);
    constants c = constants_of(setup, node);
    return jsp_moments_mix_form(&form, noise_of, &c, setup->data, node, mixture, error);
}

const jsp_model jsp_model_nig = {
    .name = "nig",
    .n_fields = 3,
    .fields = {{"a", 1.0}, {"b", 1.0}, {"weight_scale", 1.0}},
    .check = check,
    .tabulate = tabulate,
    .evidence = evidence,
    .draw = draw,
    .moments = moments,
    .mix = mix,
};
