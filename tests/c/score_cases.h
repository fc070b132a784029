/* score_cases.h - small tables of data and an independent little linear algebra, for the
 * tests of local models. */
#ifndef SCORE_CASES_H
#define SCORE_CASES_H

#include <math.h>
#include <string.h>

#include "jsp_data.h"
#include "jsp_model.h"
#include "jsp_rng.h"

#define TWO_PI 6.28318530717958647693
#define MOST 16 /* rows or variables of the small cases */

/* ---- an independent little linear algebra ---- */

/* Gauss-Jordan with pivoting: log |det a|, and a^-1 when inverse is not NULL. */
static inline double eliminate(int n, const double *matrix, double *inverse) {
    double a[MOST][2 * MOST] = {{0}}, log_det = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++) a[i][k] = matrix[i * n + k];
        a[i][n + i] = 1;
    }
    for (int c = 0; c < n; c++) {
        int best = c;
        for (int i = c + 1; i < n; i++) {
            if (fabs(a[i][c]) > fabs(a[best][c])) best = i;
        }
        for (int k = 0; k < 2 * n; k++) {
            double t = a[c][k];
            a[c][k] = a[best][k];
            a[best][k] = t;
        }
        log_det += log(fabs(a[c][c]));
        double pivot = a[c][c];
        for (int k = 0; k < 2 * n; k++) a[c][k] /= pivot;
        for (int i = 0; i < n; i++) {
            double f = a[i][c];
            for (int k = 0; i != c && k < 2 * n; k++) a[i][k] -= f * a[c][k];
        }
    }
    for (int i = 0; inverse && i < n; i++) {
        for (int k = 0; k < n; k++) inverse[i * n + k] = a[i][n + k];
    }
    return log_det;
}

/* log density of N(mean, covariance) at x */
static inline double log_normal(int n, const double *x, const double *mean,
                                const double *covariance) {
    double inverse[MOST * MOST], quadratic = 0;
    double log_det = eliminate(n, covariance, inverse);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++) {
            quadratic += (x[i] - mean[i]) * inverse[i * n + k] * (x[k] - mean[k]);
        }
    }
    return -0.5 * (n * log(TWO_PI) + log_det + quadratic);
}

/* ---- cases ---- */

typedef struct table {
    int N, D;
    double x[MOST * MOST];
    uint8_t mask[MOST * MOST];
    jsp_data *data;
} table;

/* Correlated columns away from 0; with a mask about one cell in five is intervened on,
 * and variable D - 1 in every row. */
static inline int make_table(table *t, int N, int D, uint64_t seed, int with_mask) {
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    t->N = N;
    t->D = D;
    for (int r = 0; r < N; r++) {
        for (int j = 0; j < D; j++) {
            double *x = t->x + r * D;
            x[j] = 0.5 * j + jsp_rng_normal(&rng) + (j ? 0.7 * x[j - 1] : 0);
            t->mask[r * D + j] = jsp_rng_uniform(&rng) < 0.2 || j == D - 1;
        }
    }
    return jsp_data_create(t->x, with_mask ? t->mask : NULL, N, D, 1, &t->data, NULL);
}

static inline jsp_model_setup setup_of(const char *name, const jsp_data *data,
                                       int intercept) {
    jsp_model_setup setup = {jsp_model_find(name), data, {0}, intercept, NULL};
    for (int f = 0; f < setup.model->n_fields; f++) {
        setup.field[f] = setup.model->fields[f].default_value;
    }
    return setup;
}

/* Members of a mask over all variables but `node`. */
static inline int members(int D, int node, uint32_t S, int *list) {
    int n = 0, bit = 0;
    for (int i = 0; i < D; i++) {
        if (i != node && S >> bit++ & 1) list[n++] = i;
    }
    return n;
}

/* R = t I + sum over rows that count of x x^T + ... written with raw sums; fills R [D,
 * D], returns n. */
static inline double bge_matrix(const table *t, int node, double mu, double scale,
                                double *R) {
    int D = t->D;
    double n = 0, mean[MOST] = {0};
    memset(R, 0, sizeof(double) * D * D);
    for (int r = 0; r < t->N; r++) {
        if (t->mask[r * D + node]) continue;
        n++;
        for (int i = 0; i < D; i++) mean[i] += t->x[r * D + i];
        for (int c = 0; c < D * D; c++)
            R[c] += t->x[r * D + c / D] * t->x[r * D + c % D];
    }
    /* sum x x^T - n m m^T + mu n / (mu + n) m m^T = sum x x^T - (n m)(n m)^T / (mu + n)
     * */
    for (int c = 0; c < D * D; c++) {
        R[c] += (c / D == c % D ? scale : 0) - mean[c / D] * mean[c % D] / (mu + n);
    }
    return n;
}

#endif
