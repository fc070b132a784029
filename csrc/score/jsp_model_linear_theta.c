/* jsp_model_linear_theta.c - linear Gaussian node with known noise at given weights.
 *
 * Everything comes from moments over the rows that count for the node, S their scatter, m
 * their means, n their number, each row standing for v rows of the table:
 *
 *     log P(x_j, theta | x_S) = -v n/2 log(2 pi s^2) - p/2 log(2 pi w^2)
 *                               - v / (2 s^2) (S_jj - 2 b^T theta + theta^T S theta + n d^2)
 *                               - theta^T theta / (2 w^2),
 *     b = S_Sj,   d = m_j - m_S^T theta
 *     slope = v / s^2 (b - S theta + n d m_S) - theta / w^2
 *
 * so a sample costs p^2 whatever the number of rows, and products of means, which far from
 * 0 would swamp the scatter, are never added to it. With an intercept d is 0 and v n - 1
 * replaces v n in the first term, as in jsp_model_linear.c: exp of this integrates over
 * theta to the evidence there. */
#include "jsp_model_linear_theta.h"

#include <math.h>

#include "jsp_kernels.h"
#include "jsp_rows.h"
#include "jsp_special.h"

enum { NOISE_SCALE, WEIGHT_SCALE }; /* order of the fields of jsp_model_linear */

typedef struct moments {
    jsp_data_moments data;
    double precision, ridge; /* v / s^2, 1 / w^2 */
    double mean_weight;      /* v n / s^2, or 0 with an intercept */
    double n_rows;           /* v n, less one with an intercept */
    int D;
} moments;

static moments moments_of(const jsp_model_setup *setup, int node) {
    const double s = setup->field[NOISE_SCALE], w = setup->field[WEIGHT_SCALE];
    const double v = setup->rows ? setup->rows->weight : 1;
    moments m = {.data = setup->rows ? jsp_rows_moments(setup->rows, node)
                                     : jsp_data_node(setup->data, node),
                 .precision = v / (s * s),
                 .ridge = 1 / (w * w),
                 .D = jsp_data_n_variables(setup->data)};
    m.n_rows = v * m.data.n_rows;
    m.mean_weight = setup->intercept ? 0 : m.precision * m.data.n_rows;
    if (setup->intercept && m.n_rows > 0) m.n_rows -= 1;
    return m;
}

/* sum over rows of the centred x_i x_k, times v / s^2 */
static double scatter(const moments *m, int i, int k) {
    return m->precision * m->data.scatter[(size_t)i * (size_t)m->D + (size_t)k];
}

/* y[a, :] = start[a] - sum over c of (S_ac v / s^2 + [a = c] / w^2) x[c, :]; NULL = 0 */
static void subtract_product(const moments *m, int p, const int *parents, int K,
                             const double *start, const double *x, double *y) {
    double row[JSP_MAX_PARENTS];
    for (int a = 0; a < p; a++) {
        for (int c = 0; c < p; c++) {
            row[c] = -(scatter(m, parents[a], parents[c]) + (a == c) * m->ridge);
        }
        jsp_kernels_active()->combine_rows(p, (size_t)K, start ? start[a] : 0, row, x,
                                           y + (size_t)a * (size_t)K);
    }
}

/* Samples for which there is memory on the stack. */
enum { CHUNK = 256 };

/* y[a, k] += mean_weight d_k m_a,  d_k = start - m_S^T x[:, k]; log_joint [K] loses
 * mean_weight / 2 d_k^2 unless it is NULL. Samples are taken one by one where K is more than
 * there is room for. */
static void add_means(const moments *m, double start, int p, const int *parents, int K,
                      const double *x, double *y, double *log_joint) {
    const jsp_kernels *kernels = jsp_kernels_active();
    double d[CHUNK], c[JSP_MAX_PARENTS], minus[JSP_MAX_PARENTS];
    if (m->mean_weight == 0) return;
    for (int a = 0; a < p; a++) {
        minus[a] = -m->data.mean[parents[a]];
        c[a] = m->mean_weight * m->data.mean[parents[a]];
    }
    if (K <= CHUNK) {
        kernels->combine_rows(p, (size_t)K, start, minus, x, d);
        if (log_joint) {
            kernels->add_squares(1, (size_t)K, -0.5 * m->mean_weight, d, log_joint);
        }
        kernels->add_outer(p, (size_t)K, c, d, y);
        return;
    }
    for (int k = 0; k < K; k++) {
        double sum = start;
        for (int a = 0; a < p; a++) sum += minus[a] * x[a * K + k];
        if (log_joint) log_joint[k] += -0.5 * m->mean_weight * (sum * sum);
        for (int a = 0; a < p; a++) y[a * K + k] += c[a] * sum;
    }
}

void jsp_model_linear_theta_log_joint(const jsp_model_setup *setup, int node,
                                      int n_parents, const int *parents, int K,
                                      const double *theta, double *log_joint,
                                      double *slope) {
    const moments m = moments_of(setup, node);
    const double s = setup->field[NOISE_SCALE], w = setup->field[WEIGHT_SCALE];
    const double constant = -0.5 * m.n_rows * (JSP_SPECIAL_LOG_2PI + 2 * log(s)) -
                            0.5 * n_parents * (JSP_SPECIAL_LOG_2PI + 2 * log(w)) -
                            0.5 * scatter(&m, node, node);
    double b[JSP_MAX_PARENTS];
    for (int a = 0; a < n_parents; a++) b[a] = scatter(&m, parents[a], node);
    subtract_product(&m, n_parents, parents, K, b, theta, slope);
    for (int k = 0; k < K; k++) log_joint[k] += constant;
    /* with A = S + I / w^2: b^T theta - 1/2 theta^T A theta = 1/2 theta^T (b + slope) */
    jsp_kernels_active()->add_half_products(n_parents, (size_t)K, b, theta, slope,
                                            log_joint);
    add_means(&m, m.data.mean[node], n_parents, parents, K, theta, slope, log_joint);
}

void jsp_model_linear_theta_pull_slope(const jsp_model_setup *setup, int node,
                                       int n_parents, const int *parents, int K,
                                       const double *theta, const double *d_slope,
                                       double *d_theta) {
    const moments m = moments_of(setup, node);
    (void)theta; /* the second derivative is constant */
    subtract_product(&m, n_parents, parents, K, NULL, d_slope, d_theta);
    add_means(&m, 0, n_parents, parents, K, d_slope, d_theta, NULL);
}
