/* test_units.c - nodes as small networks: the kernel of every instruction set against plain
 * loops, rows and their moments, the model mlp by central differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_kernels.h"
#include "jsp_model.h"
#include "jsp_rng.h"
#include "jsp_rows.h"

#ifdef JSP_REAL_DOUBLE
#define PRECISION 1e-12
#else
#define PRECISION 2e-5
#endif

static jsp_rng rng;

/* ---- kernel -------------------------------------------------------------------------- */

/* One sample by the definition; sums along `direction` by differentiating each term. */
static double plain_units(int U, int n_in, int n, const double *theta,
                          const double *direction, const jsp_real *x, int x_row,
                          const int *input, const jsp_real *y, const jsp_real *counts,
                          double *sums) {
    const double *w1 = theta + U, *b2 = w1 + U * n_in, *w2 = b2 + 1;
    const int last = U * (n_in + 1);
    double squares = 0;
    for (int r = 0; r < n; r++) {
        double z[JSP_KERNELS_MAX_UNITS], dz[JSP_KERNELS_MAX_UNITS], f = *b2;
        double df = direction ? direction[last] : 0;
        for (int u = 0; u < U; u++) {
            z[u] = theta[u];
            dz[u] = direction ? direction[u] : 0;
            for (int p = 0; p < n_in; p++) {
                const double value = (double)x[input[p] * x_row + r];
                z[u] += w1[p * U + u] * value;
                if (direction) dz[u] += direction[U + p * U + u] * value;
            }
            if (z[u] <= 0) continue;
            f += w2[u] * z[u];
            if (direction) df += w2[u] * dz[u] + direction[last + 1 + u] * z[u];
        }
        const double e = (double)counts[r] * ((double)y[r] - f);
        const double de = -(double)counts[r] * df;
        const double scale = direction ? de : e;
        squares += e * e;
        sums[last] += scale;
        for (int u = 0; u < U; u++) {
            if (z[u] <= 0) continue;
            double g = scale * w2[u];
            if (direction) g += e * direction[last + 1 + u];
            sums[last + 1 + u] += scale * z[u] + (direction ? e * dz[u] : 0);
            sums[u] += g;
            for (int p = 0; p < n_in; p++) {
                sums[U + p * U + u] += g * (double)x[input[p] * x_row + r];
            }
        }
    }
    return squares;
}

static int check_units(const jsp_kernels *kernels, int U, int n_in, int n) {
    enum { K = 3, COLUMNS = 9 };
    const int P = U * (n_in + 2) + 1, input[COLUMNS] = {4, 1, 8, 0, 2, 7, 3};
    const size_t numbers = (size_t)(COLUMNS * n), all = (size_t)(K * P);
    jsp_real *x = malloc(numbers * sizeof *x), *counts = malloc(numbers * sizeof *x);
    jsp_real *theta = malloc(2 * all * sizeof *theta), *direction = theta + all;
    double *wide = malloc(2 * all * sizeof *wide),
           *sums = calloc(4 * all, sizeof *sums);
    double squares[K] = {1, 2, 3};
    for (size_t k = 0; k < numbers; k++) {
        x[k] = (jsp_real)jsp_rng_normal(&rng);
        counts[k] = jsp_rng_uniform(&rng) < 0.8;
    }
    for (size_t k = 0; k < 2 * all; k++) {
        theta[k] = (jsp_real)jsp_rng_normal(&rng);
        wide[k] = (double)theta[k];
    }
    const jsp_real *y = x + 5 * n;
    kernels->units(K, U, n_in, n, theta, NULL, x, (size_t)n, input, y, counts, squares,
                   sums);
    kernels->units(K, U, n_in, n, theta, direction, x, (size_t)n, input, y, counts,
                   NULL, sums + 2 * all);
    for (size_t k = 0; k < K; k++) {
        const size_t at = k * (size_t)P;
        const double found = plain_units(U, n_in, n, wide + at, NULL, x, n, input, y,
                                         counts, sums + all + at);
        plain_units(U, n_in, n, wide + at, wide + all + at, x, n, input, y, counts,
                    sums + 3 * all + at);
        CHECK_NEAR(squares[k], found + (double)k + 1, PRECISION * (1 + found));
        for (size_t p = at; p < at + (size_t)P; p++) {
            const double slack = PRECISION * (1 + found) * (1 + n_in);
            CHECK_NEAR(sums[p], sums[all + p], slack);
            CHECK_NEAR(sums[2 * all + p], sums[3 * all + p], 2 * slack);
        }
    }
    free(x), free(counts), free(theta), free(wide), free(sums);
    return 0;
}

static int test_kernel(void) {
    for (int s = 0; jsp_kernels_available(s); s++) {
        CHECK(jsp_kernels_select(jsp_kernels_available(s)) == 0);
        for (int n_in = 0; n_in < 7; n_in += 2) {
            CHECK(!check_units(jsp_kernels_active(), 5, n_in, 16));
            CHECK(!check_units(jsp_kernels_active(), 5, n_in, 304));
            CHECK(!check_units(jsp_kernels_active(), 1, n_in, 48));
            CHECK(!check_units(jsp_kernels_active(), 32, n_in, 512));
        }
    }
    CHECK(jsp_kernels_select("auto") == 0);
    return 0;
}

/* ---- a table -------------------------------------------------------------------------- */

enum { D = 4, N = 37 };

static int create_data(jsp_data **data, int with_mask) {
    double x[N * D];
    uint8_t mask[N * D];
    for (int k = 0; k < N * D; k++) {
        x[k] = 1 + jsp_rng_normal(&rng);
        mask[k] = jsp_rng_uniform(&rng) < 0.2;
    }
    const uint8_t *cells = with_mask ? mask : NULL;
    CHECK(jsp_data_create(x, cells, N, D, 1, data, NULL) == JSP_OK);
    CHECK(jsp_data_keep_rows(*data, x, cells, N, NULL) == JSP_OK);
    return 0;
}

/* All rows have the moments of the table; a choice of rows those of a table of them. */
static int test_rows(void) {
    for (int with_mask = 0; with_mask < 2; with_mask++) {
        jsp_data *data, *part;
        jsp_rows rows;
        const int index[5] = {30, 2, 17, 36, 3};
        double x[5 * D];
        uint8_t mask[5 * D];
        CHECK(!create_data(&data, with_mask));
        CHECK(jsp_rows_create(data, N, 1, &rows, NULL) == JSP_OK);
        for (int k = 0; k < 5 * D; k++) {
            x[k] = jsp_data_values(data, k % D)[index[k / D]];
            if (with_mask) mask[k] = jsp_data_mask(data, k % D)[index[k / D]];
        }
        CHECK(jsp_data_create(x, with_mask ? mask : NULL, 5, D, 1, &part, NULL) ==
              JSP_OK);
        for (int chosen = 0; chosen < 2; chosen++) {
            jsp_rows_fill(&rows, data, chosen ? 5 : N, chosen ? index : NULL);
            CHECK_NEAR(rows.weight, chosen ? N / 5.0 : 1, 1e-15);
            for (int j = 0; j < D; j++) {
                jsp_data_moments found = jsp_rows_moments(&rows, j);
                jsp_data_moments wanted = jsp_data_node(chosen ? part : data, j);
                CHECK(found.n_rows == wanted.n_rows);
                CHECK(jsp_rows_n_counted(&rows, j) == wanted.n_rows);
                for (int k = 0; k < D * D; k++) {
                    CHECK_NEAR(found.scatter[k], wanted.scatter[k], 1e-11);
                    CHECK_NEAR(found.mean[k % D], wanted.mean[k % D], 1e-12);
                }
                CHECK(rows.stride % 16 == 0);
                for (int r = rows.n; r < rows.stride; r++) {
                    CHECK(rows.value[j * rows.stride + r] == 0);
                    CHECK(jsp_rows_counts(&rows, j)[r] == 0);
                }
            }
        }
        jsp_data_destroy(part);
        jsp_data_destroy(data);
        jsp_rows_destroy(&rows);
        jsp_rows_destroy(&rows);
        jsp_rows_destroy(NULL);
    }
    return 0;
}

/* ---- models at given parameters -------------------------------------------------------- */

/* log joint by the definition, of K = 1 */
static double plain_mlp(const jsp_model_setup *setup, const jsp_data *data, int U,
                        int n_in, const int *parents, const double *theta) {
    const int P = U * (n_in + 2) + 1, node = 1;
    const double s = setup->field[0], log_two_pi = 1.8378770664093454836;
    double sum = 0;
    for (int p = 0; p < P; p++) sum -= 0.5 * (theta[p] * theta[p] + log_two_pi);
    for (int r = 0; r < N; r++) {
        if (jsp_data_mask(data, node)[r]) continue;
        double f = theta[U * (n_in + 1)];
        for (int u = 0; u < U; u++) {
            double z = theta[u];
            for (int p = 0; p < n_in; p++) {
                z += theta[U + p * U + u] * jsp_data_values(data, parents[p])[r];
            }
            f += theta[U * (n_in + 1) + 1 + u] * (z > 0 ? z : 0);
        }
        const double e = (jsp_data_values(data, node)[r] - f) / s;
        sum -= 0.5 * (e * e + log_two_pi + 2 * log(s));
    }
    return sum;
}

static int check_mlp(int U, int n_in) {
    enum { K = 700, P_MAX = 32 * 5 + 1 };
    const int P = U * (n_in + 2) + 1, parents[] = {3, 0, 2}, node = 1;
    jsp_data *data;
    jsp_rows rows;
    CHECK(!create_data(&data, 1));
    CHECK(jsp_rows_create(data, N, 0, &rows, NULL) == JSP_OK);
    jsp_rows_fill(&rows, data, N, NULL);
    const jsp_model_setup setup = {.model = &jsp_model_mlp,
                                   .data = data,
                                   .field = {0.7, U},
                                   .rows = &rows};
    CHECK(jsp_model_mlp.check(&setup, NULL) == JSP_OK);
    CHECK(jsp_model_mlp.n_units(&setup) == U);
    const size_t numbers = (size_t)(P * K);
    double *theta = malloc(numbers * sizeof *theta), *v = malloc(numbers * sizeof *v);
    double *slope = malloc(numbers * sizeof *slope),
           *bend = malloc(numbers * sizeof *v);
    double joint[K] = {0}, one[P_MAX];
    for (size_t k = 0; k < numbers; k++) {
        theta[k] = (double)(jsp_real)(0.7 * jsp_rng_normal(&rng));
        v[k] = jsp_rng_normal(&rng);
    }
    jsp_model_mlp.log_joint(&setup, node, n_in, parents, K, theta, joint, slope);
    jsp_model_mlp.pull_slope(&setup, node, n_in, parents, K, theta, v, bend);
    for (int k = 0; k < K; k += 233) {
        for (int p = 0; p < P; p++) one[p] = theta[p * K + k];
        const double value = plain_mlp(&setup, data, U, n_in, parents, one);
        CHECK_NEAR(joint[k], value, PRECISION * fabs(value));
#ifdef JSP_REAL_DOUBLE
        double low[P_MAX], high[P_MAX], moved[P_MAX], ignored = 0, along = 0;
        for (int p = 0; p < P; p++) {
            moved[p] = one[p] + 1e-6 * v[p * K + k];
            along += slope[p * K + k] * v[p * K + k];
        }
        const double up = plain_mlp(&setup, data, U, n_in, parents, moved);
        jsp_model_mlp.log_joint(&setup, node, n_in, parents, 1, moved, &ignored, high);
        for (int p = 0; p < P; p++) moved[p] = 2 * one[p] - moved[p];
        const double down = plain_mlp(&setup, data, U, n_in, parents, moved);
        jsp_model_mlp.log_joint(&setup, node, n_in, parents, 1, moved, &ignored, low);
        CHECK_NEAR((up - down) / 2e-6, along, 1e-6 * (fabs(value) + fabs(along)));
        for (int p = 0; p < P; p++) {
            CHECK_NEAR((high[p] - low[p]) / 2e-6, bend[p * K + k],
                       1e-6 * (fabs(value) + fabs(bend[p * K + k])));
        }
#endif
    }
    free(theta), free(v), free(slope), free(bend);
    jsp_rows_destroy(&rows);
    jsp_data_destroy(data);
    return 0;
}

static int test_mlp(void) {
    for (int n_in = 0; n_in <= 3; n_in++) {
        CHECK(!check_mlp(5, n_in));
        CHECK(!check_mlp(1, n_in));
        CHECK(!check_mlp(32, n_in));
    }
    jsp_model_setup wrong = {.model = &jsp_model_mlp, .field = {0, 5}};
    CHECK(jsp_model_mlp.check(&wrong, NULL) == JSP_ERROR_VALUE);
    wrong.field[0] = 1;
    wrong.field[1] = 2.5;
    CHECK(jsp_model_mlp.check(&wrong, NULL) == JSP_ERROR_VALUE);
    return 0;
}

/* Rows that stand for v each count v times; far from 0 no digits are lost. */
static int test_linear(void) {
    enum { M = 10, K = 2 };
    const double far = 1e6;
    const int parents[] = {0, 2}, node = 1;
    for (int intercept = 0; intercept < 2; intercept++) {
        jsp_data *data;
        jsp_rows rows;
        double x[M * D], theta[2 * K], slope[2 * K], joint[K] = {0};
        for (int k = 0; k < M * D; k++) x[k] = far * (k % D < 2) + jsp_rng_normal(&rng);
        CHECK(jsp_data_create(x, NULL, M, D, 1, &data, NULL) == JSP_OK);
        CHECK(jsp_data_keep_rows(data, x, NULL, M, NULL) == JSP_OK);
        CHECK(jsp_rows_create(data, M, 1, &rows, NULL) == JSP_OK);
        jsp_rows_fill(&rows, data, M, NULL);
        rows.weight = 2.5;
        const jsp_model_setup setup = {
            &jsp_model_linear, data, {0.5, 1.5}, intercept, &rows};
        for (int k = 0; k < K; k++) {
            theta[k] = 1 + 1e-7 * jsp_rng_normal(&rng);
            theta[K + k] = jsp_rng_normal(&rng);
        }
        jsp_model_linear.log_joint(&setup, node, 2, parents, K, theta, joint, slope);
        for (int k = 0; k < K; k++) {
            long double e[M], mean = 0, squares = 0, d[2] = {0, 0};
            const long double t0 = theta[k], t1 = theta[K + k], s = 0.5, w = 1.5;
            for (int r = 0; r < M; r++) {
                e[r] = x[r * D + 1] - t0 * x[r * D] - t1 * x[r * D + 2];
                mean += e[r] / M;
            }
            for (int r = 0; r < M; r++) {
                if (intercept) e[r] -= mean;
                squares += e[r] * e[r];
                d[0] += 2.5L * e[r] * x[r * D] / (s * s);
                d[1] += 2.5L * e[r] * x[r * D + 2] / (s * s);
            }
            const double log_two_pi = 1.8378770664093454836;
            const double n = 2.5 * M - intercept;
            const double expected =
                -0.5 * n * (log_two_pi + 2 * log(0.5)) - log_two_pi - 2 * log(1.5) -
                (double)(1.25L * squares / (s * s) + (t0 * t0 + t1 * t1) / (2 * w * w));
            CHECK_NEAR(joint[k], expected, 1e-8 * fabs(expected));
            CHECK_NEAR(slope[k], (double)(d[0] - t0 / (w * w)),
                       1e-8 * (1 + fabs((double)d[0])));
            CHECK_NEAR(slope[K + k], (double)(d[1] - t1 / (w * w)),
                       1e-8 * (1 + fabs((double)d[1])));
        }
        jsp_rows_destroy(&rows);
        jsp_data_destroy(data);
    }
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"kernel", test_kernel},
        {"rows", test_rows},
        {"model mlp", test_mlp},
        {"model linear", test_linear},
    };
    jsp_rng_init(&rng, 91, 0, 0, JSP_RNG_TEST);
    return CHECK_RUN(tests);
}
