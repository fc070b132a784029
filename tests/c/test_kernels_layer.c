/* test_kernels_layer.c - hidden layers side by side, of every table, against plain loops in
 * double over awkward sizes. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "jsp_kernels.h"
#include "jsp_rng.h"

#ifdef JSP_REAL_DOUBLE
#define PRECISION 1e-13
#define LOG_ERROR 1e-9
#else
#define PRECISION 1e-5
#define LOG_ERROR 2e-7
#endif

#define L JSP_KERNELS_NETWORKS
#define ROWS 300
#define MOST_P 4
#define MOST_U 7
#define MOST_S 22

static jsp_rng rng;
static jsp_real z[MOST_P * ROWS], y[ROWS], w[(MOST_P + 1) * L];
static jsp_real activation[MOST_U * ROWS * L], a[ROWS * L];
static double sums[MOST_S * L];
static double moment[MOST_S * MOST_S * L], row[MOST_S * L];

static void fill(size_t n, jsp_real *x) {
    for (size_t k = 0; k < n; k++) x[k] = (jsp_real)jsp_rng_normal(&rng);
}

static int check_column(const jsp_kernels *kernels, int n, int p, int U, int u) {
    fill((size_t)(MOST_P * ROWS), z);
    fill(ROWS, y);
    fill((size_t)((MOST_P + 1) * L), w);
    fill((size_t)(U * n * L), activation);
    kernels->layer_column(n, p, U, u, z, y, w, activation, a, sums);
    for (int l = 0; l < L; l++) {
        double expected[MOST_S] = {0};
        for (int r = 0; r < n; r++) {
            double t = (double)w[p * L + l];
            for (int i = 0; i < p; i++)
                t += (double)w[i * L + l] * (double)z[i * n + r];
            t = t > 0 ? t : 0;
            CHECK_NEAR((double)a[r * L + l], t, PRECISION);
            for (int k = 0; k < U; k++) {
                expected[k] +=
                    t * (k == u ? t : (double)activation[(k * n + r) * L + l]);
            }
            expected[U] += t;
            expected[U + 1] += t * (double)y[r];
        }
        for (int k = 0; k < U + 2; k++) {
            CHECK_NEAR(sums[k * L + l], expected[k],
                       PRECISION * (n + 1 + fabs(expected[k])));
        }
    }
    return 0;
}

/* Gaussian elimination with plain rows of A = M / s^2 + I; det and what is left of y'y. */
static void eliminate(int S, int u, int l, double precision, double *log_det,
                      double *residual) {
    double A[MOST_S][MOST_S];
    for (int i = 0; i < S; i++) {
        for (int k = 0; k < S; k++) {
            const int at = i > k ? i * S + k : k * S + i;
            double value = moment[at * L + l];
            if (i == u) value = row[k * L + l];
            if (k == u) value = row[i * L + l];
            A[i][k] = value * precision + (i == k && i < S - 1);
        }
    }
    *log_det = 0;
    for (int k = 0; k < S - 1; k++) {
        *log_det += log(A[k][k]);
        for (int i = k + 1; i < S; i++) {
            const double f = A[i][k] / A[k][k];
            for (int j = k; j < S; j++) A[i][j] -= f * A[k][j];
        }
    }
    *residual = A[S - 1][S - 1];
}

/* Moments of random columns; row u holds those of another column. */
static int check_eliminate(const jsp_kernels *kernels, int U, int u) {
    const int S = U + 2, n = 30;
    double precision[L], log_det[L], residual[L], column[MOST_S + 1][30];
    for (int l = 0; l < L; l++) {
        precision[l] = exp(2 * jsp_rng_normal(&rng));
        for (int k = 0; k <= S; k++) {
            for (int r = 0; r < n; r++) column[k][r] = jsp_rng_normal(&rng);
        }
        for (int i = 0; i < S; i++) {
            for (int k = 0; k < S; k++) {
                double sum = 0, fresh = 0;
                for (int r = 0; r < n; r++) {
                    sum += column[i][r] * column[k][r];
                    fresh += column[k == u ? S : k][r] * column[S][r];
                }
                moment[(i * S + k) * L + l] = k <= i ? sum : NAN;
                row[k * L + l] = fresh;
            }
        }
    }
    kernels->layer_eliminate(S, u, moment, row, precision, log_det, residual);
    for (int l = 0; l < L; l++) {
        double expected_det, expected_residual;
        eliminate(S, u, l, precision[l], &expected_det, &expected_residual);
        CHECK_NEAR(log_det[l], expected_det, LOG_ERROR * (1 + fabs(expected_det)));
        CHECK_NEAR(residual[l], expected_residual, 1e-8 * (1 + expected_residual));
    }
    return 0;
}

static int check_choose(const jsp_kernels *kernels) {
    jsp_real chosen[L], x[5 * L], before[5 * L], after[5 * L];
    fill(5 * L, x);
    fill(5 * L, before);
    for (int k = 0; k < 5 * L; k++) after[k] = before[k];
    for (int l = 0; l < L; l++) chosen[l] = l % 3 == 0;
    kernels->layer_choose(5, chosen, x, after);
    for (int k = 0; k < 5 * L; k++) CHECK(after[k] == (k % L % 3 ? before : x)[k]);
    return 0;
}

static int check_propose(const jsp_kernels *kernels) {
    jsp_real x[7], proposal[7];
    double normal[7];
    fill(7, x);
    for (int k = 0; k < 7; k++) normal[k] = jsp_rng_normal(&rng);
    kernels->layer_propose(7, 0.8, 0.6, x, normal, proposal);
    for (int k = 0; k < 7; k++) {
        CHECK_NEAR((double)proposal[k], 0.8 * (double)x[k] + 0.6 * normal[k],
                   PRECISION);
    }
    return 0;
}

/* Row and column u of a lower triangle; the rest stays. */
static int check_choose_row(const jsp_kernels *kernels) {
    enum { S = 5, U = 2 };
    static double before[S * S * L];
    jsp_real chosen[L];
    for (int k = 0; k < S * S * L; k++) before[k] = moment[k] = k;
    for (int k = 0; k < S * L; k++) row[k] = -1 - k;
    for (int l = 0; l < L; l++) chosen[l] = l % 3 == 0;
    kernels->layer_choose_row(S, U, chosen, row, moment);
    for (int i = 0; i < S; i++) {
        for (int k = 0; k < S; k++) {
            for (int l = 0; l < L; l++) {
                const int other = i == U ? k : i, at = (i * S + k) * L + l;
                const int is_new = k <= i && (i == U || k == U) && l % 3 == 0;
                CHECK(moment[at] == (is_new ? row[other * L + l] : before[at]));
            }
        }
    }
    return 0;
}

static int check_table(const jsp_kernels *kernels) {
    static const int rows[] = {0, 1, 7, 128, 129, ROWS};
    for (int k = 0; k < 6; k++) {
        for (int p = 0; p <= MOST_P; p++) {
            CHECK(!check_column(kernels, rows[k], p, 5, p));
            CHECK(!check_column(kernels, rows[k], p, 1, 0));
            CHECK(!check_column(kernels, rows[k], p, MOST_U, 3));
        }
    }
    for (int u = -1; u < 5; u++) CHECK(!check_eliminate(kernels, 5, u));
    CHECK(!check_eliminate(kernels, 1, 0) && !check_eliminate(kernels, MOST_U, 2));
    CHECK(!check_eliminate(kernels, 20, 3)); /* determinants in parts */
    return check_propose(kernels) || check_choose(kernels) || check_choose_row(kernels);
}

static int test_all_tables(void) {
    for (int k = 0; jsp_kernels_available(k); k++) {
        jsp_rng_init(&rng, 4, 0, 0, JSP_RNG_TEST);
        CHECK(jsp_kernels_select(jsp_kernels_available(k)) == 0);
        CHECK(!check_table(jsp_kernels_active()));
    }
    return jsp_kernels_select("auto");
}

int main(void) {
    static const check_test tests[] = {{"all_tables", test_all_tables}};
    return CHECK_RUN(tests);
}
