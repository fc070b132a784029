/* jsp_units_draw.c - parameters of one network given the data, in double: the hidden layer
 * of a state of the last run, then output weights from their exact conditional law. */
#include "jsp_units_inner.h"

static double product_of(int n, const double *a, const double *b) {
    double sum = 0;
    for (int r = 0; r < n; r++) sum += (a ? a[r] : 1) * (b ? b[r] : 1);
    return sum;
}

/* Moments [S, S] of the network in lane 0. */
static void find_moments(const jsp_units *s, double *moment) {
    const jsp_units_problem *q = &s->problem;
    const double *column[JSP_UNITS_MOST + 2];
    const int S = s->U + 2;
    for (int u = 0; u < s->U; u++) {
        const jsp_real *w = weight_of(s, u);
        double *a = s->column + (size_t)u * (size_t)q->n;
        for (int r = 0; r < q->n; r++) a[r] = (double)w[q->p * CHAINS];
        for (int i = 0; i < q->p; i++) {
            for (int r = 0; r < q->n; r++) a[r] += (double)w[i * CHAINS] * q->z[i][r];
        }
        for (int r = 0; r < q->n; r++) a[r] = a[r] > 0 ? a[r] : 0;
        column[u] = a;
    }
    column[s->U] = NULL; /* ones */
    column[s->U + 1] = q->y;
    for (int i = 0; i < S; i++) {
        for (int k = 0; k <= i; k++) {
            moment[i * S + k] = moment[k * S + i] =
                product_of(q->n, column[i], column[k]);
        }
    }
}

/* G [m + 1, m + 1] gets the Cholesky factor of I + Phi'Phi / s^2 for the m = U + 1 output
 * weights, with y as last row. */
static void factorise(int m, const double *moment, double log_noise, double *G) {
    const int S = m + 1;
    const double precision = exp(-2 * log_noise);
    for (int i = 0; i <= m; i++) {
        for (int k = 0; k <= i; k++) {
            G[i * S + k] = moment[i * S + k] * precision + (i == k && i < m);
        }
    }
    for (int k = 0; k < m; k++) {
        const double root = sqrt(G[k * S + k]);
        G[k * S + k] = root;
        for (int i = k + 1; i <= m; i++) G[i * S + k] /= root;
        for (int i = k + 1; i <= m; i++) {
            const double value = G[i * S + k];
            for (int j = k + 1; j <= i; j++) G[i * S + j] -= value * G[j * S + k];
        }
    }
}

/* w2 and b2 given the hidden layer: N(mean, (I + Phi'Phi / s^2)^-1). z [m] in, weights out. */
static void draw_output(const double *G, int m, double *z) {
    const double *last = G + m * (m + 1);
    for (int k = 0; k < m; k++) z[k] += last[k];
    for (int i = m - 1; i >= 0; i--) {
        z[i] /= G[i * (m + 1) + i];
        for (int k = 0; k < i; k++) z[k] -= G[i * (m + 1) + k] * z[i];
    }
}

/* sum over rows of (y - fit)^2 */
static double squares_left(const jsp_units_problem *q, const double *moment,
                           const double *weight) {
    const int m = q->U + 1, S = m + 1;
    double total = 0;
    for (int i = 0; i <= m; i++) {
        for (int k = 0; k <= m; k++) {
            total +=
                (i < m ? -weight[i] : 1) * (k < m ? -weight[k] : 1) * moment[i * S + k];
        }
    }
    return total > 0 ? total : 0;
}

void jsp_units_draw(jsp_units *units, jsp_rng *rng, double *w1, double *b1, double *w2,
                    double *b2, double *noise_scale, double *log_joint) {
    jsp_units *s = units;
    const jsp_units_problem *q = &s->problem;
    const int U = s->U, p = q->p, n_hidden = U * (p + 1);
    double G[(JSP_UNITS_MOST + 2) * (JSP_UNITS_MOST + 2)], z[JSP_UNITS_MOST + 1];
    double moment[(JSP_UNITS_MOST + 2) * (JSP_UNITS_MOST + 2)], squares = 0;
    jsp_units_restore(s, (size_t)(jsp_rng_uniform(rng) * (double)n_kept(s)), 0);
    const jsp_real *weight = s->now.weight; /* lane 0: scratch between runs */
    const double log_noise = s->now.log_noise[0];
    find_moments(s, moment);
    factorise(U + 1, moment, log_noise, G);
    for (int k = 0; k <= U; k++) z[k] = jsp_rng_normal(rng);
    draw_output(G, U + 1, z);
    for (int k = 0; k < n_hidden; k++) {
        squares += (double)weight[k * CHAINS] * (double)weight[k * CHAINS];
    }
    for (int k = 0; k <= U; k++) squares += z[k] * z[k];
    for (int u = 0; u < U; u++) {
        const jsp_real *w = weight_of(s, u);
        for (int i = 0; i < p; i++) w1[u * p + i] = (double)w[i * CHAINS];
        b1[u] = (double)w[p * CHAINS];
        w2[u] = z[u];
    }
    *b2 = z[U];
    *noise_scale = exp(log_noise);
    *log_joint = -0.5 * (squares + (n_hidden + U + 1) * JSP_SPECIAL_LOG_2PI) -
                 q->n * (0.5 * JSP_SPECIAL_LOG_2PI + log_noise) -
                 0.5 * squares_left(q, moment, z) * exp(-2 * log_noise);
    if (learns_noise(s))
        *log_joint += log_noise_prior(log_noise) - 0.5 * JSP_SPECIAL_LOG_2PI;
}
