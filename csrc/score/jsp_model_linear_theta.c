/* jsp_model_linear_theta.c - linear Gaussian node with known noise at given weights.
 *
 * Everything comes from moments over the m rows that count for the node:
 *
 *     log P(x_j, theta | x_S) = -m/2 log(2 pi s^2) - p/2 log(2 pi w^2)
 *                               - 1/2 (c - 2 b^T theta + theta^T A theta)
 *     slope = b - A theta,   second derivative - A,
 *     A = X_S^T X_S / s^2 + I / w^2,   b = X_S^T x_j / s^2,   c = x_j^T x_j / s^2
 *
 * so a sample costs p^2 whatever the number of rows. With an intercept moments are centred
 * and m = n - 1, as in jsp_model_linear.c: exp of this integrates over theta to the
 * evidence there. */
#include "jsp_model_linear_theta.h"

#include <math.h>
#include <string.h>

#define LOG_TWO_PI 1.8378770664093454836

enum { NOISE_SCALE, WEIGHT_SCALE }; /* order of the fields of jsp_model_linear */

typedef struct moments {
    jsp_data_moments data;
    double mean_weight, precision, ridge; /* 1 / s^2, 1 / w^2 */
    int D;
} moments;

static moments moments_of(const jsp_model_setup *setup, int node) {
    const double s = setup->field[NOISE_SCALE], w = setup->field[WEIGHT_SCALE];
    moments m = {.data = jsp_data_node(setup->data, node),
                 .precision = 1 / (s * s),
                 .ridge = 1 / (w * w),
                 .D = jsp_data_n_variables(setup->data)};
    m.mean_weight = setup->intercept ? 0 : m.data.n_rows;
    return m;
}

/* sum over rows of x_i x_k / s^2 */
static double product(const moments *m, int i, int k) {
    return m->precision * (m->data.scatter[(size_t)i * (size_t)m->D + (size_t)k] +
                           m->mean_weight * m->data.mean[i] * m->data.mean[k]);
}

/* y[a, :] -= sum over c of A_ac x[c, :] */
static void subtract_product(const moments *m, int p, const int *parents, int K,
                             const double *x, double *y) {
    for (int a = 0; a < p; a++) {
        double *row = y + (size_t)a * (size_t)K;
        for (int c = 0; c < p; c++) {
            const double *other = x + (size_t)c * (size_t)K;
            const double A = product(m, parents[a], parents[c]) + (a == c) * m->ridge;
            for (int k = 0; k < K; k++) row[k] -= A * other[k];
        }
    }
}

static double constant_of(const jsp_model_setup *setup, const moments *m, int node,
                          int p) {
    const double s = setup->field[NOISE_SCALE], w = setup->field[WEIGHT_SCALE];
    double n = m->data.n_rows;
    if (setup->intercept && n > 0) n -= 1;
    return -0.5 * n * (LOG_TWO_PI + 2 * log(s)) - 0.5 * p * (LOG_TWO_PI + 2 * log(w)) -
           0.5 * product(m, node, node);
}

void jsp_model_linear_theta_log_joint(const jsp_model_setup *setup, int node,
                                      int n_parents, const int *parents, int K,
                                      const double *theta, double *log_joint,
                                      double *slope) {
    const moments m = moments_of(setup, node);
    const double constant = constant_of(setup, &m, node, n_parents);
    for (int a = 0; a < n_parents; a++) {
        const double b = product(&m, parents[a], node);
        for (int k = 0; k < K; k++) slope[(size_t)a * (size_t)K + (size_t)k] = b;
    }
    subtract_product(&m, n_parents, parents, K, theta, slope);
    for (int k = 0; k < K; k++) log_joint[k] += constant;
    /* b^T theta - 1/2 theta^T A theta = 1/2 theta^T (b + slope) */
    for (int a = 0; a < n_parents; a++) {
        const double b = product(&m, parents[a], node);
        const double *t = theta + (size_t)a * (size_t)K;
        const double *u = slope + (size_t)a * (size_t)K;
        for (int k = 0; k < K; k++) log_joint[k] += 0.5 * t[k] * (b + u[k]);
    }
}

void jsp_model_linear_theta_pull_slope(const jsp_model_setup *setup, int node,
                                       int n_parents, const int *parents, int K,
                                       const double *theta, const double *d_slope,
                                       double *d_theta) {
    const moments m = moments_of(setup, node);
    (void)theta; /* the second derivative is constant */
    memset(d_theta, 0, (size_t)n_parents * (size_t)K * sizeof *d_theta);
    subtract_product(&m, n_parents, parents, K, d_slope, d_theta);
}
