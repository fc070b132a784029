/* test_kernels_rows.c - products with strides, transposition, softmax and layer
 * normalisation of every table, against plain loops in double over awkward sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_kernels.h"
#include "jsp_rng.h"

#ifdef JSP_REAL_DOUBLE
#define PRECISION 2.3e-16
#else
#define PRECISION 1.2e-7
#endif

static const int sizes[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 50, 128};
#define N_SIZES ((int)(sizeof sizes / sizeof sizes[0]))

static jsp_rng rng;

/* An array of exactly n numbers, so that the sanitizer sees every step across its
 * end. */
static jsp_real *make_array(size_t n) {
    jsp_real *p = malloc((n ? n : 1) * sizeof *p);
    for (size_t k = 0; k < n; k++) p[k] = (jsp_real)jsp_rng_normal(&rng);
    return p;
}

static jsp_real *copy_array(size_t n, const jsp_real *x) {
    jsp_real *p = malloc((n ? n : 1) * sizeof *p);
    memcpy(p, x, n * sizeof *p);
    return p;
}

typedef int (*table_test)(const jsp_kernels *kernels);

/* Runs a test on each table, from the same random numbers. */
static int for_each_table(table_test test) {
    for (int k = 0; jsp_kernels_available(k); k++) {
        jsp_rng_init(&rng, 12, 0, 0, JSP_RNG_TEST);
        CHECK(jsp_kernels_select(jsp_kernels_available(k)) == 0);
        if (test(jsp_kernels_active())) {
            printf("table %s\n", jsp_kernels_available(k));
            return 1;
        }
    }
    return jsp_kernels_select("auto");
}

/* ---- products and transposition ---- */

/* Every stride is larger than it need be; what lies between stays as it was. */
static int check_product_case(const jsp_kernels *kernels, int R, int K, int C,
                              int is_transposed, int accumulate) {
    size_t a_row = is_transposed ? 1 : (size_t)K + 3,
           a_k = is_transposed ? (size_t)R + 2 : 1;
    size_t w_row = (size_t)C + 1, y_row = (size_t)C + 5;
    jsp_real *a = make_array((size_t)(R - 1) * a_row + (size_t)(K - 1) * a_k + 1);
    jsp_real *w = make_array((size_t)(K - 1) * w_row + (size_t)C);
    size_t n_y = (size_t)(R - 1) * y_row + (size_t)C;
    jsp_real *start = make_array(n_y), *y = copy_array(n_y, start);
    kernels->product(R, K, C, a, a_row, a_k, w, w_row, accumulate, y, y_row);
    for (size_t k = 0; k < n_y; k++) {
        const size_t r = k / y_row, c = k % y_row;
        if (c >= (size_t)C) {
            CHECK(y[k] == start[k]);
            continue;
        }
        double sum = accumulate ? (double)start[k] : 0, size = 4;
        for (size_t l = 0; l < (size_t)K; l++) {
            double term = (double)a[r * a_row + l * a_k] * (double)w[l * w_row + c];
            sum += term;
            size += fabs(term);
        }
        CHECK_NEAR((double)y[k], sum, PRECISION * size * (4 + 0.1 * K));
    }
    free(a), free(w), free(start), free(y);
    return 0;
}

static int check_products(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES * N_SIZES; s++) {
        int R = sizes[s % N_SIZES], C = sizes[s / N_SIZES];
        int K = sizes[(s * 5 + s / 7) % N_SIZES];
        if (check_product_case(kernels, R, K, C, s % 2, s / 2 % 2)) {
            printf("R = %d, K = %d, C = %d\n", R, K, C);
            return 1;
        }
    }
    return check_product_case(kernels, 20, 300, 70, 0, 1);
}

static int check_transpose(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES * N_SIZES; s++) {
        int R = sizes[s % N_SIZES], C = sizes[s / N_SIZES];
        size_t x_row = (size_t)C + 2, y_row = (size_t)R + 3;
        jsp_real *x = make_array((size_t)(R - 1) * x_row + (size_t)C);
        jsp_real *y = make_array((size_t)(C - 1) * y_row + (size_t)R);
        kernels->transpose(R, C, x, x_row, y, y_row);
        for (size_t r = 0; r < (size_t)R; r++) {
            for (size_t c = 0; c < (size_t)C; c++) {
                CHECK(y[c * y_row + r] == x[r * x_row + c]);
            }
        }
        free(x), free(y);
    }
    return 0;
}

/* ---- softmax ---- */

static int check_softmax_case(const jsp_kernels *kernels, int B, int n, double spread) {
    const size_t numbers = (size_t)(B * n);
    const double factor = 0.7;
    jsp_real *x = make_array(numbers), *y = make_array(numbers);
    jsp_real *dy = make_array(numbers), *dx = make_array(numbers);
    for (size_t k = 0; k < numbers; k++) x[k] *= (jsp_real)spread;
    kernels->softmax_rows(B, n, (jsp_real)factor, x, y);
    kernels->softmax_rows_backward(B, n, (jsp_real)factor, y, dy, dx);
    for (int b = 0; b < B; b++) {
        double top = -INFINITY, sum = 0, mean = 0;
        for (int k = 0; k < n; k++) top = fmax(top, (double)x[b * n + k]);
        for (int k = 0; k < n; k++) sum += exp(factor * ((double)x[b * n + k] - top));
        for (int k = 0; k < n; k++) {
            double p = exp(factor * ((double)x[b * n + k] - top)) / sum;
            CHECK_NEAR((double)y[b * n + k], p, PRECISION * (20 + 4 * spread));
            mean += (double)y[b * n + k] * (double)dy[b * n + k];
        }
        for (int k = 0; k < n; k++) {
            double d = factor * (double)y[b * n + k] * ((double)dy[b * n + k] - mean);
            CHECK_NEAR((double)dx[b * n + k], d, PRECISION * 20);
            CHECK(dx[b * n + k] == 0 || fabs((double)dx[b * n + k]) >= 0.99e-25);
        }
    }
    kernels->softmax_rows_backward(B, n, (jsp_real)factor, y, dy, dy); /* in place */
    CHECK(memcmp(dx, dy, numbers * sizeof *dx) == 0);
    kernels->softmax_rows(B, n, (jsp_real)factor, x, x);
    CHECK(memcmp(x, y, numbers * sizeof *x) == 0);
    free(x), free(y), free(dy), free(dx);
    return 0;
}

static int check_softmax(const jsp_kernels *kernels) {
    for (int s = 0; s < 2 * N_SIZES; s++) {
        int n = sizes[s % N_SIZES], B = sizes[(s * 5 + 2) % N_SIZES];
        if (check_softmax_case(kernels, B, n, s < N_SIZES ? 1 : 50)) {
            printf("B = %d, n = %d\n", B, n);
            return 1;
        }
    }
    /* a NaN spoils its own row only */
    jsp_real x[6] = {1, (jsp_real)NAN, 2, 0, 1, 2};
    kernels->softmax_rows(2, 3, 1, x, x);
    CHECK(isnan(x[0]) && isnan(x[1]) && isnan(x[2]));
    CHECK_NEAR((double)(x[3] + x[4] + x[5]), 1, 1e-6);
    return 0;
}

/* ---- layer normalisation ---- */

static int check_layernorm_case(const jsp_kernels *kernels, int B, int n) {
    const size_t numbers = (size_t)(B * n);
    jsp_real *x = make_array(numbers), *y = make_array(numbers);
    jsp_real *dy = make_array(numbers), *dx = make_array(numbers);
    jsp_real *scale = make_array((size_t)n), *offset = make_array((size_t)n);
    jsp_real *start = make_array(2 * (size_t)n), *d = copy_array(2 * (size_t)n, start);
    jsp_real *moments = make_array(2 * (size_t)B);
    double *expected = malloc(2 * (size_t)n * sizeof *expected);
    for (int k = 0; k < 2 * n; k++) expected[k] = (double)start[k];
    for (size_t k = 0; k < numbers; k++) x[k] += 3;
    kernels->layernorm(B, n, x, scale, offset, y, moments);
    kernels->layernorm_backward(B, n, x, scale, moments, dy, dx, d, d + n);
    for (int b = 0; b < B; b++) {
        const jsp_real *row = x + b * n, *dy_row = dy + b * n;
        double mean = 0, square = 0, dz_mean = 0, product = 0;
        for (int k = 0; k < n; k++) mean += (double)row[k] / n;
        for (int k = 0; k < n; k++) square += pow((double)row[k] - mean, 2) / n;
        const double inverse = 1 / sqrt(square + 1e-5);
        for (int k = 0; k < n; k++) {
            double z = ((double)row[k] - mean) * inverse;
            double dz = (double)dy_row[k] * (double)scale[k];
            CHECK_NEAR((double)y[b * n + k], z * (double)scale[k] + (double)offset[k],
                       PRECISION * 40 * (1 + inverse));
            expected[k] += z * (double)dy_row[k];
            expected[n + k] += (double)dy_row[k];
            dz_mean += dz / n;
            product += z * dz / n;
        }
        for (int k = 0; k < n; k++) {
            double z = ((double)row[k] - mean) * inverse;
            double dz = (double)dy_row[k] * (double)scale[k];
            CHECK_NEAR((double)dx[b * n + k], inverse * (dz - dz_mean - z * product),
                       PRECISION * 100 * (1 + inverse * inverse));
        }
    }
    for (int k = 0; k < 2 * n; k++) {
        CHECK_NEAR((double)d[k], expected[k], PRECISION * 1000 * (1 + B));
    }
    kernels->layernorm_backward(B, n, x, scale, moments, dy, dy, d,
                                d + n); /* in place */
    CHECK(memcmp(dx, dy, numbers * sizeof *dx) == 0);
    free(x), free(y), free(dy), free(dx), free(scale), free(offset);
    free(start), free(d), free(moments), free(expected);
    return 0;
}

static int check_layernorm(const jsp_kernels *kernels) {
    for (int s = 2; s < N_SIZES; s++) { /* rows of 3 and more */
        if (check_layernorm_case(kernels, sizes[(s * 5 + 2) % N_SIZES], sizes[s])) {
            printf("n = %d\n", sizes[s]);
            return 1;
        }
    }
    /* one column: the offset, and no gradient for x */
    jsp_real x = 7, scale = 2, offset = 5, y, moments[2], dy = 1, d[2] = {0};
    kernels->layernorm(1, 1, &x, &scale, &offset, &y, moments);
    CHECK(y == 5);
    kernels->layernorm_backward(1, 1, &x, &scale, moments, &dy, &dy, d, d + 1);
    CHECK(dy == 0 && d[0] == 0 && d[1] == 1);
    return 0;
}

/* ---- normal numbers ---- */

static int check_normals(const jsp_kernels *kernels) {
    static const int counts[] = {0, 1, 4, 5, 127, 128, 129, 1000};
    for (size_t s = 0; s < sizeof counts / sizeof counts[0]; s++) {
        const int n = counts[s];
        double *expected = malloc((size_t)(n + 1) * sizeof *expected);
        double *found = malloc((size_t)n * sizeof *found + 1);
        jsp_rng stream;
        jsp_rng_init(&stream, 7, 3, (uint32_t)s, JSP_RNG_TEST);
        stream.counter[0] = UINT32_MAX - 3; /* block numbers start again from 0 */
        kernels->normals((size_t)n, stream.counter, stream.key, found);
        jsp_rng_fill_normal(&stream, n, expected);
        for (int k = 0; k < n; k++) CHECK_NEAR(found[k], expected[k], PRECISION * 20);
        free(expected), free(found);
    }
    return 0;
}

/* ---- double precision ---- */

/* Two rows x and two rows z of n numbers, and what sums over them should be. */
static int check_double_rows(const jsp_kernels *kernels) {
    const double c[2] = {0.5, -2}, start[2] = {3, 4};
    for (int s = 0; s < N_SIZES; s++) {
        const int n = sizes[s];
        const size_t row = (size_t)n;
        double *x = malloc(8 * row * sizeof *x), *z = x + 2 * n, *y = z + 2 * n;
        double *one = y + 2 * n, sums[2][2], against[2][3];
        for (int k = 0; k < 8 * n; k++) x[k] = jsp_rng_normal(&rng);
        kernels->combine_rows(2, row, 3, c, x, one);
        for (int k = 0; k < n; k++) {
            CHECK_NEAR(one[k], 3 + 0.5 * x[k] - 2 * x[n + k], 1e-13);
            one[k] = 1;
        }
        kernels->add_squares(2, row, -0.5, x, one);
        kernels->add_half_products(2, row, c, x, z, one);
        kernels->scale_rows(2, row, start, c, x, y);
        kernels->scale_rows(2, row, NULL, start, z, y);
        kernels->add_outer(2, row, c, x, y);
        for (int k = 0; k < n; k++) {
            double expected = 1;
            for (int a = 0; a < 2; a++) {
                const double u = x[a * n + k], v = z[a * n + k];
                expected += -0.5 * u * u + 0.5 * u * (c[a] + v);
                CHECK_NEAR(y[a * n + k], start[a] * (1 + v) + c[a] * (u + x[k]), 1e-13);
            }
            CHECK_NEAR(one[k], expected, 1e-13);
        }
        double squares = 0;
        for (int k = 0; k < n; k++) squares += one[k] * one[k];
        CHECK_NEAR(kernels->square_and_scale(row, 0.5, one), squares, 1e-11 * squares);
        for (int k = 0; k < n; k++) one[k] *= 2;
        kernels->sum_rows(2, row, one, x, sums[0]);
        kernels->sum_rows_against(2, row, x, y, z, against[0]);
        for (int a = 0; a < 2; a++) {
            double expected[5] = {0};
            for (int k = 0; k < n; k++) {
                const double u = x[a * n + k], v = z[a * n + k];
                expected[0] += one[k] * u, expected[1] += one[k] * u * u;
                expected[2] += u * y[a * n + k], expected[3] += v, expected[4] += u * v;
            }
            for (int k = 0; k < 2; k++) CHECK_NEAR(sums[a][k], expected[k], 1e-10);
            for (int k = 0; k < 3; k++)
                CHECK_NEAR(against[a][k], expected[2 + k], 1e-10);
        }
        free(x);
    }
    return 0;
}

static int check_doubles(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES; s++) {
        const int n = sizes[s];
        double *p = malloc(4 * (size_t)n * sizeof *p), sum[2] = {0};
        for (int k = 0; k < 4 * n; k++) p[k] = jsp_rng_normal(&rng);
        const double *w = p, *x = p + n, *y = p + 2 * n;
        for (int k = 0; k < n; k++) {
            sum[0] += x[k] * (y[k] - 0.5);
            sum[1] += w[k] * x[k] * (y[k] - 0.5);
            p[3 * n + k] = y[k] + 1.5 * x[k];
        }
        CHECK_NEAR(kernels->sum_products((size_t)n, NULL, x, y, 0.5), sum[0], 1e-12);
        CHECK_NEAR(kernels->sum_products((size_t)n, w, x, y, 0.5), sum[1], 1e-12);
        memcpy(p + 2 * n, p + 3 * n, (size_t)n * sizeof *p);
        double value = 1, expected = 1, slope = 0;
        for (int k = 0; k < n; k++) {
            const double z = 2 * (0.25 - p[k]), size = fabs(z);
            expected += size <= 1.5 ? 0.5 * z * z : 1.5 * (size - 0.75);
            p[n + k] = size <= 1.5 ? z : copysign(1.5, z);
            slope += p[n + k];
            p[3 * n + k] = p[2 * n + k] - p[n + k];
        }
        CHECK_NEAR(kernels->huber_row((size_t)n, 1.5, 2, 0.25, p, p + 2 * n, &value),
                   slope, 1e-12);
        CHECK_NEAR(value, expected, 1e-12 * expected);
        for (int k = 0; k < n; k++) CHECK_NEAR(p[2 * n + k], p[3 * n + k], 1e-13);
        free(p);
    }
    return 0;
}

/* Rows by their index, and the first rows in order. */
static int check_gather(const jsp_kernels *kernels) {
    static const int index[] = {3, 0, 3, 2};
    for (int s = 0; s < N_SIZES; s++) {
        const int n = sizes[s];
        jsp_real *x = malloc(10 * (size_t)n * sizeof *x);
        jsp_real *y = x + 4 * n, *spread = x + 5 * n, *old = x + 9 * n;
        for (int use = 0; use < 2; use++) {
            for (int k = 0; k < 10 * n; k++) x[k] = (jsp_real)jsp_rng_normal(&rng);
            memcpy(old, y, (size_t)n * sizeof *x);
            memcpy(spread, x, 4 * (size_t)n * sizeof *x);
            kernels->rows_gather(4, n, x, use ? index : NULL, y);
            kernels->rows_spread(4, n, old, use ? index : NULL, spread);
            for (int k = 0; k < n; k++) {
                jsp_real sum = old[k],
                         moved[4] = {x[k], x[n + k], x[2 * n + k], x[3 * n + k]};
                for (int a = 0; a < 4; a++) {
                    sum += x[(use ? index[a] : a) * n + k];
                    moved[use ? index[a] : a] += old[k];
                }
                CHECK(y[k] == sum);
                for (int a = 0; a < 4; a++) CHECK(spread[a * n + k] == moved[a]);
            }
        }
        free(x);
    }
    return 0;
}

static int test_gather(void) {
    return for_each_table(check_gather);
}

static int test_doubles(void) {
    return for_each_table(check_doubles) || for_each_table(check_double_rows);
}

static int test_normals(void) {
    return for_each_table(check_normals);
}

static int test_products(void) {
    return for_each_table(check_products);
}

static int test_transpose(void) {
    return for_each_table(check_transpose);
}

static int test_softmax(void) {
    return for_each_table(check_softmax);
}

static int test_layernorm(void) {
    return for_each_table(check_layernorm);
}

int main(void) {
    static const check_test tests[] = {
        {"products", test_products}, {"transpose", test_transpose},
        {"softmax", test_softmax},   {"layernorm", test_layernorm},
        {"gather", test_gather},     {"doubles", test_doubles},
        {"normals", test_normals},
    };
    return CHECK_RUN(tests);
}
