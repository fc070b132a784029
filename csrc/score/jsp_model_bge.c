/* jsp_model_bge.c - the BGe score: Gaussian networks with unknown mean and covariance.
 *
 * Normal-Wishart prior with mean 0, alpha_mu pseudo-rows, alpha_w degrees of freedom
 * and T = t I, t = alpha_mu (alpha_w - D - 1) / (alpha_mu + 1). All DAGs of one Markov
 * equivalence class get the same score. Sources: Geiger and Heckerman, Ann. Stat. 30
 * (2002), with the correction of Kuipers, Moffa and Heckerman, Ann. Stat. 42 (2014).
 *
 * With n rows that count, d = alpha_w - D + p and
 *     R = t I + scatter + alpha_mu n / (alpha_mu + n) mean mean^T
 * the evidence of p parents S of node j is
 *     -n/2 log pi + 1/2 log(alpha_mu / (alpha_mu + n))
 *     + lgamma((n + d + 1)/2) - lgamma((d + 1)/2) + (d + p + 1)/2 log t
 *     - 1/2 log det R_SS - (n + d + 1)/2 log residual,
 * where residual = R_jj - R_jS R_SS^-1 R_Sj. (In the papers the last line reads
 * (n + d)/2 log det R_SS - (n + d + 1)/2 log det R_QQ with Q = S + j; taking R_QQ apart
 * first avoids the difference of two large numbers.)
 *
 * alpha_w = NaN means D + 2. setup->intercept is ignored: the model has its own mean.
 */
#include <math.h>

#include "jsp_gaussian.h"
#include "jsp_model.h"
#include "jsp_moments.h"
#include "jsp_special.h"

#define LOG_PI 1.14472988584940017414
enum { ALPHA_MU, ALPHA_W };

/* Settings of one node. */
typedef struct prior {
    double n;  /* rows that count */
    double mu; /* alpha_mu */
    double d0; /* alpha_w - D */
    double t;
} prior;

/* Evidence of p parents = constant[p] - 1/2 log det - power[p] log residual. */
typedef struct constants {
    double constant[JSP_MAX_VARIABLES];
    double power[JSP_MAX_VARIABLES];
} constants;

static double alpha_w_of(const jsp_model_setup *setup) {
    double value = setup->field[ALPHA_W];
    return isnan(value) ? jsp_data_n_variables(setup->data) + 2 : value;
}

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    double mu = setup->field[ALPHA_MU], w = alpha_w_of(setup);
    int D = jsp_data_n_variables(setup->data);
    if (!(mu > 0 && isfinite(mu))) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "alpha_mu of the BGe model must be a positive number, got %g", mu);
    }
    if (!(w > D + 1 && isfinite(w))) {
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "alpha_w of the BGe model must be greater than the number of "
            "variables + 1 = %d, got %g",
            D + 1, w);
    }
    return JSP_OK;
}

static prior prior_of(const jsp_model_setup *setup, int node) {
    int D = jsp_data_n_variables(setup->data);
    double mu = setup->field[ALPHA_MU], w = alpha_w_of(setup);
    prior p = {jsp_data_node(setup->data, node).n_rows, mu, w - D,
               mu * (w - D - 1) / (mu + 1)};
    return p;
}

static jsp_gaussian_form form_of(const prior *q) {
    jsp_gaussian_form form = {.scale = 1,
                              .mean_weight = q->mu * q->n / (q->mu + q->n),
                              .ridge = q->t,
                              .child_ridge = q->t,
                              .prior_residual = q->t};
    return form;
}

static double constant_of(const prior *q, int p) {
    double d = q->d0 + p, n = q->n;
    return -0.5 * n * LOG_PI + 0.5 * log(q->mu / (q->mu + n)) +
           jsp_special_log_gamma(0.5 * (n + d + 1)) -
           jsp_special_log_gamma(0.5 * (d + 1)) + 0.5 * (d + p + 1) * log(q->t);
}

static double power_of(const prior *q, int p) {
    return 0.5 * (q->n + q->d0 + p + 1);
}

static double evidence_of(const void *context, int p, double log_det, double residual) {
    const constants *c = context;
    return c->constant[p] - 0.5 * log_det - c->power[p] * log(residual);
}

static jsp_status tabulate(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, int max_parents, double *log_evidence,
                           jsp_error *error) {
    prior q = prior_of(setup, node);
    jsp_gaussian_form form = form_of(&q);
    constants c;
    for (int p = 0; p <= K; p++) {
        c.constant[p] = constant_of(&q, p);
        c.power[p] = power_of(&q, p);
    }
    return jsp_gaussian_tabulate(&form, setup->data, node, K, candidates, max_parents,
                                 evidence_of, &c, log_evidence, error);
}

static jsp_status solve(const prior *q, const jsp_model_setup *setup, int node,
                        int n_parents, const int *parents,
                        jsp_gaussian_solution *solution, jsp_error *error) {
    jsp_gaussian_form form = form_of(q);
    jsp_status status = jsp_gaussian_solve(&form, setup->data, node, n_parents, parents,
                                           solution, error);
    if (status != JSP_OK || solution->residual > 0) return status;
    return jsp_status_set(error, JSP_ERROR_NUMERICAL,
                          "variable %d is a linear combination of %d others, up to "
                          "rounding",
                          node, n_parents);
}

static jsp_status evidence(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error) {
    prior q = prior_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = solve(&q, setup, node, n_parents, parents, &solution, error);
    if (status != JSP_OK) return status;
    *log_evidence = constant_of(&q, n_parents) - 0.5 * solution.log_det -
                    power_of(&q, n_parents) * log(solution.residual);
    return JSP_OK;
}

/* mu_j - weight . mu_S with mu = n mean / (alpha_mu + n), the posterior mean. */
static double centre_of(const prior *q, const jsp_model_setup *setup, int node,
                        int n_parents, const int *parents, const double *weight) {
    jsp_data_moments m = jsp_data_node(setup->data, node);
    double value = m.mean[node];
    for (int k = 0; k < n_parents; k++) value -= weight[k] * m.mean[parents[k]];
    return value * q->n / (q->mu + q->n);
}

/* v ~ InvGamma(power, residual / 2), weights | v ~ N(R_SS^-1 R_Sj, v R_SS^-1),
 * intercept | weights, v ~ N(centre, v / (alpha_mu + n)). The gamma draw takes a
 * varying number of words, so it comes last. */
static jsp_status draw(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, jsp_rng *rng, jsp_model_draw *out,
                       jsp_error *error) {
    prior q = prior_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = solve(&q, setup, node, n_parents, parents, &solution, error);
    if (status != JSP_OK) return status;
    double z[JSP_MAX_PARENTS], sum_squares = 0;
    for (int k = 0; k < n_parents; k++) {
        z[k] = jsp_rng_normal(rng);
        sum_squares += z[k] * z[k];
    }
    double z_intercept = jsp_rng_normal(rng);
    double shape = power_of(&q, n_parents), rate = 0.5 * solution.residual;
    double v = rate / jsp_rng_gamma(rng, shape), s = sqrt(v);
    jsp_gaussian_combine(&solution, s, z, out->weight);
    out->intercept = centre_of(&q, setup, node, n_parents, parents, out->weight) +
                     z_intercept * s / sqrt(q.mu + q.n);
    out->noise_scale = s;
    double weights = 0.5 * (solution.log_det -
                            n_parents * (JSP_SPECIAL_LOG_2PI + log(v)) - sum_squares);
    double variance = shape * log(rate) - jsp_special_log_gamma(shape) -
                      (shape + 1) * log(v) - rate / v;
    out->log_density = weights + variance;
    return JSP_OK;
}

/* E v */
static double noise_of(const void *context, int p, double residual) {
    double shape = power_of(context, p);
    return shape > 1 ? 0.5 * residual / (shape - 1) : INFINITY;
}

static jsp_status moments(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, double *mean, double *variance,
                          double *noise, jsp_error *error) {
    prior q = prior_of(setup, node);
    jsp_gaussian_solution solution;
    jsp_status status = solve(&q, setup, node, n_parents, parents, &solution, error);
    if (status != JSP_OK) return status;
    *noise = noise_of(&q, n_parents, solution.residual);
    jsp_moments_inverse_diagonal(&solution, variance);
    for (int k = 0; k < n_parents; k++) {
        mean[k] = solution.mean[k];
        variance[k] *= *noise;
    }
    return JSP_OK;
}

static jsp_status mix(const jsp_model_setup *setup, int node,
                      jsp_moments_mixture *mixture, jsp_error *error) {
    prior q = prior_of(setup, node);
    jsp_gaussian_form form = form_of(&q);
    return jsp_moments_mix_form(&form, noise_of, &q, setup->data, node, mixture, error);
}

const jsp_model jsp_model_bge = {
    .name = "bge",
    .n_fields = 2,
    .fields = {{"alpha_mu", 1.0}, {"alpha_w", NAN}},
    .check = check,
    .tabulate = tabulate,
    .evidence = evidence,
    .draw = draw,
    .moments = moments,
    .mix = mix,
};
