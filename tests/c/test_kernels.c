/* test_kernels.c - every kernel of every table this machine offers, against plain loops
 * in double over awkward sizes; special values; bits that do not depend on the batch.
 *
 * Errors of exp, log and softplus are sampled here (every 1009th float); the
 * benchmark program measures them over all floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_rng.h"

#ifdef JSP_REAL_DOUBLE
#define PRECISION 2.3e-16
#define SMALLEST_NORMAL 0x1p-1022
#define STEP_OF_ULP(x) (nextafter(fabs(x), INFINITY) - fabs(x))
#else
#define PRECISION 1.2e-7
#define SMALLEST_NORMAL 0x1p-126
#endif

static const int sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,  15,
                            16, 17, 24, 31, 32, 33, 47, 64, 65};
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
    if (n) memcpy(p, x, n * sizeof *p);
    return p;
}

typedef int (*table_test)(const jsp_kernels *kernels);

/* Runs a test on each table, from the same random numbers. */
static int for_each_table(table_test test) {
    for (int k = 0; jsp_kernels_available(k); k++) {
        jsp_rng_init(&rng, 11, 0, 0, JSP_RNG_TEST);
        CHECK(jsp_kernels_select(jsp_kernels_available(k)) == 0);
        if (test(jsp_kernels_active())) {
            printf("table %s\n", jsp_kernels_available(k));
            return 1;
        }
    }
    return jsp_kernels_select("auto");
}

static int test_selection(void) {
    CHECK(strcmp(jsp_kernels_available(0), "base") == 0);
    CHECK(jsp_kernels_available(-1) == NULL && jsp_kernels_available(99) == NULL);
    const jsp_kernels *widest = jsp_kernels_active();
    CHECK(jsp_kernels_select("base") == 0);
    CHECK(strcmp(jsp_kernels_active()->name, "base") == 0);
    CHECK(jsp_kernels_select("no such table") == -1);
    CHECK(strcmp(jsp_kernels_active()->name, "base") == 0);
    CHECK(jsp_kernels_select("auto") == 0 && jsp_kernels_active() == widest);
    int n = 0;
    while (jsp_kernels_available(n)) n++;
    CHECK(strcmp(jsp_kernels_available(n - 1), widest->name) == 0);
    return 0;
}

/* ---- exp, log, softplus ---- */

typedef void (*map_kernel)(size_t n, const jsp_real *x, jsp_real *y);

static double compute_softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* |y - exact| in units of the last place of a float (double build: of a double). */
static double measure_ulp(jsp_real y, double exact) {
    if (y == exact) return 0;
#ifdef JSP_REAL_DOUBLE
    double unit = STEP_OF_ULP(exact);
#else
    float nearest = (float)fabs(exact);
    if (isinf(nearest)) return isinf(y) && (y > 0) == (exact > 0) ? 0 : HUGE_VAL;
    double unit = (double)nextafterf(nearest, INFINITY) - (double)nearest;
    if (isinf(unit)) unit = 0x1p104;
#endif
    return fabs((double)y - exact) / unit;
}

/* Largest error over sampled inputs; results below the smallest normal may be 0. */
static double measure_map(map_kernel map, double (*exact)(double), int only_positive) {
    enum { CHUNK = 256 };
    jsp_real x[CHUNK], y[CHUNK];
    double worst = 0;
    uint64_t bits = 0;
    while (bits < ((uint64_t)1 << 32)) {
        for (int k = 0; k < CHUNK; k++, bits += 1009) {
            uint32_t low = (uint32_t)bits;
            float f;
            memcpy(&f, &low, sizeof f);
            x[k] = isnan(f) || (only_positive && !(f >= 0x1p-126f)) ? 1 : (jsp_real)f;
        }
        map(CHUNK, x, y);
        for (int k = 0; k < CHUNK; k++) {
            double e = exact((double)x[k]);
            double error = measure_ulp(y[k], e);
            /* at the border a result may be 0 or the smallest normal number */
            if (fabs(e) < 1.000001 * SMALLEST_NORMAL && y[k] == 0) error = 0;
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

static int check_maps(const jsp_kernels *kernels) {
    CHECK(measure_map(kernels->exp, exp, 0) <= 2);
    CHECK(measure_map(kernels->log, log, 1) <= 2);
    CHECK(measure_map(kernels->softplus, compute_softplus, 0) <= 4);
    return 0;
}

static int test_maps(void) {
    return for_each_table(check_maps);
}

static jsp_real apply(map_kernel map, double x) {
    jsp_real value = (jsp_real)x;
    map(1, &value, &value);
    return value;
}

static int check_special_values(const jsp_kernels *kernels) {
    CHECK(apply(kernels->exp, 0) == 1 && apply(kernels->exp, -0.0) == 1);
    CHECK(apply(kernels->exp, INFINITY) == (jsp_real)INFINITY);
    CHECK(apply(kernels->exp, -INFINITY) == 0);
    CHECK(apply(kernels->exp, 1e30) == (jsp_real)INFINITY);
    CHECK(apply(kernels->exp, -1e30) == 0);
    CHECK(isnan(apply(kernels->exp, NAN)) && isnan(apply(kernels->exp, -NAN)));
    CHECK(apply(kernels->log, 1) == 0);
    CHECK(apply(kernels->log, 0) == -(jsp_real)INFINITY);
    CHECK(apply(kernels->log, -0.0) == -(jsp_real)INFINITY);
    CHECK(apply(kernels->log, SMALLEST_NORMAL / 2) == -(jsp_real)INFINITY);
    CHECK(apply(kernels->log, INFINITY) == (jsp_real)INFINITY);
    CHECK(isnan(apply(kernels->log, -1)) && isnan(apply(kernels->log, -INFINITY)));
    CHECK(isnan(apply(kernels->log, NAN)));
    CHECK(apply(kernels->softplus, INFINITY) == (jsp_real)INFINITY);
    CHECK(apply(kernels->softplus, -INFINITY) == 0);
    CHECK(apply(kernels->softplus, 1e30) == (jsp_real)1e30);
    CHECK(apply(kernels->softplus, -1e30) == 0);
    CHECK(isnan(apply(kernels->softplus, NAN)));
    CHECK_NEAR((double)apply(kernels->softplus, 0), log(2), PRECISION);
#ifndef JSP_REAL_DOUBLE
    CHECK(apply(kernels->exp, 0x1.62e42ep+6) < INFINITY); /* the last finite result */
    CHECK(apply(kernels->exp, 0x1.62e430p+6) == INFINITY);
    CHECK(apply(kernels->exp, -0x1.5d58a0p+6) == 0); /* below 2^-126 */
#endif
    return 0;
}

static int test_special_values(void) {
    return for_each_table(check_special_values);
}

/* A result depends neither on the position nor on the length; in place is allowed. */
static int check_map_positions(const jsp_kernels *kernels) {
    const map_kernel maps[] = {kernels->exp, kernels->log, kernels->softplus};
    for (int m = 0; m < 3; m++) {
        for (int n = 0; n <= 70; n++) {
            jsp_real *x = make_array((size_t)n), *y = make_array((size_t)n);
            for (int k = 0; k < n; k++) x[k] = (jsp_real)fabs((double)x[k]);
            maps[m]((size_t)n, x, y);
            for (int k = 0; k < n; k++) CHECK(y[k] == apply(maps[m], (double)x[k]));
            maps[m]((size_t)n, x, x);
            CHECK(n == 0 || memcmp(x, y, (size_t)n * sizeof *x) == 0);
            free(x);
            free(y);
        }
    }
    return 0;
}

static int test_map_positions(void) {
    return for_each_table(check_map_positions);
}

/* ---- log of a sum of exponentials ---- */

static double compute_log_sum_exp(size_t n, const jsp_real *x, const uint8_t *mask) {
    double top = -INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++) {
        if ((!mask || mask[k]) && (double)x[k] > top) top = (double)x[k];
    }
    if (isinf(top)) return top;
    for (size_t k = 0; k < n; k++) {
        if (!mask || mask[k]) sum += exp((double)x[k] - top);
    }
    return top + log(sum);
}

static int check_log_sum_exp(const jsp_kernels *kernels) {
    for (size_t n = 0; n <= 300; n += n < 70 ? 1 : 37) {
        jsp_real *x = make_array(n);
        uint8_t *mask = malloc(n + 1);
        for (size_t k = 0; k < n; k++) {
            x[k] = 20 * x[k] + 500;
            mask[k] = jsp_rng_next(&rng) % 3 == 0
                          ? 0
                          : (uint8_t)(1 + jsp_rng_next(&rng) % 255);
        }
        CHECK_NEAR(kernels->log_sum_exp(n, x, NULL), compute_log_sum_exp(n, x, NULL),
                   4 * PRECISION + 1e-12); /* + the rounding of the result */
        CHECK_NEAR(kernels->log_sum_exp(n, x, mask), compute_log_sum_exp(n, x, mask),
                   4 * PRECISION + 1e-12); /* + the rounding of the result */
        memset(mask, 0, n + 1);
        CHECK(kernels->log_sum_exp(n, x, mask) == -INFINITY);
        if (n > 0) {
            size_t k = n / 2;
            jsp_real old = x[k];
            mask[k] = 7;
            CHECK(kernels->log_sum_exp(n, x, mask) == (double)x[k]);
            x[k] = (jsp_real)NAN;
            CHECK(isnan(kernels->log_sum_exp(n, x, NULL)));
            CHECK(isnan(kernels->log_sum_exp(n, x, mask)));
            x[k] = (jsp_real)INFINITY;
            CHECK(kernels->log_sum_exp(n, x, NULL) == INFINITY);
            x[k] = -(jsp_real)INFINITY;
            CHECK(kernels->log_sum_exp(n, x, mask) == -INFINITY);
            mask[k] = 0;
            x[k] = old;
        }
        free(x);
        free(mask);
    }
    return 0;
}

static int test_log_sum_exp(void) {
    return for_each_table(check_log_sum_exp);
}

/* ---- products of matrices ---- */

/* The parts that may be missing: bias, offset, relu, skip. */
static int check_forward_case(const jsp_kernels *kernels, int B, int n_in, int n_out,
                              int parts) {
    size_t n_x = (size_t)(B * n_in), n_w = (size_t)(n_in * n_out),
           n_y = (size_t)(B * n_out);
    jsp_real *x = make_array(n_x), *W = make_array(n_w), *b = make_array((size_t)n_out);
    jsp_real *offset = make_array(n_y), *skip = make_array(n_y), *y = make_array(n_y);
    kernels->dense_forward(B, n_in, n_out, x, W, parts & 1 ? b : NULL,
                           parts & 2 ? offset : NULL, parts & 4,
                           parts & 8 ? skip : NULL, y);
    for (int i = 0; i < B; i++) {
        for (int j = 0; j < n_out; j++) {
            double sum = 0, size = 4;
            if (parts & 1) sum += (double)b[j];
            if (parts & 2) sum += (double)offset[i * n_out + j];
            for (int k = 0; k < n_in; k++) {
                double term = (double)x[i * n_in + k] * (double)W[k * n_out + j];
                sum += term;
                size += fabs(term);
            }
            if (parts & 4 && sum < 0) sum = 0;
            if (parts & 8) sum += (double)skip[i * n_out + j];
            CHECK_NEAR((double)y[i * n_out + j], sum,
                       PRECISION * size * (4 + 0.1 * n_in));
        }
    }
    /* each row alone has the same bits */
    jsp_real *row = make_array((size_t)n_out);
    for (int i = 0; i < B; i++) {
        kernels->dense_forward(1, n_in, n_out, x + i * n_in, W, parts & 1 ? b : NULL,
                               parts & 2 ? offset + i * n_out : NULL, parts & 4,
                               parts & 8 ? skip + i * n_out : NULL, row);
        CHECK(memcmp(row, y + i * n_out, (size_t)n_out * sizeof *row) == 0);
    }
    free(x), free(W), free(b), free(offset), free(skip), free(y), free(row);
    return 0;
}

static int check_input_case(const jsp_kernels *kernels, int B, int n_in, int n_out) {
    size_t n_x = (size_t)(B * n_in), n_w = (size_t)(n_in * n_out),
           n_y = (size_t)(B * n_out);
    jsp_real *W = make_array(n_w), *dy = make_array(n_y), *start = make_array(n_x);
    for (int accumulate = 0; accumulate <= 1; accumulate++) {
        jsp_real *dx = copy_array(n_x, start), *row = copy_array(n_x, start);
        kernels->dense_backward_input(B, n_in, n_out, dy, W, accumulate, dx);
        for (int i = 0; i < B; i++) {
            for (int k = 0; k < n_in; k++) {
                double sum = accumulate ? (double)start[i * n_in + k] : 0, size = 4;
                for (int j = 0; j < n_out; j++) {
                    double term = (double)dy[i * n_out + j] * (double)W[k * n_out + j];
                    sum += term;
                    size += fabs(term);
                }
                CHECK_NEAR((double)dx[i * n_in + k], sum,
                           PRECISION * size * (4 + 0.1 * n_out));
            }
            kernels->dense_backward_input(1, n_in, n_out, dy + i * n_out, W, accumulate,
                                          row + i * n_in);
        }
        CHECK(memcmp(row, dx, n_x * sizeof *row) == 0);
        free(dx), free(row);
    }
    free(W), free(dy), free(start);
    return 0;
}

static int check_weight_case(const jsp_kernels *kernels, int B, int n_in, int n_out,
                             int with_bias) {
    size_t n_x = (size_t)(B * n_in), n_w = (size_t)(n_in * n_out),
           n_y = (size_t)(B * n_out);
    jsp_real *x = make_array(n_x), *dy = make_array(n_y);
    jsp_real *start = make_array(n_w), *dW = copy_array(n_w, start);
    jsp_real *start_b = make_array((size_t)n_out),
             *db = copy_array((size_t)n_out, start_b);
    kernels->dense_backward_weight(B, n_in, n_out, x, dy, dW, with_bias ? db : NULL);
    for (int j = 0; j < n_out; j++) {
        for (int k = 0; k < n_in; k++) {
            double sum = (double)start[k * n_out + j], size = 4;
            for (int i = 0; i < B; i++) {
                double term = (double)x[i * n_in + k] * (double)dy[i * n_out + j];
                sum += term;
                size += fabs(term);
            }
            CHECK_NEAR((double)dW[k * n_out + j], sum,
                       PRECISION * size * (4 + 0.1 * B));
        }
        double sum = (double)start_b[j], size = 4;
        for (int i = 0; with_bias && i < B; i++) {
            sum += (double)dy[i * n_out + j];
            size += fabs((double)dy[i * n_out + j]);
        }
        CHECK_NEAR((double)db[j], sum, PRECISION * size * (4 + 0.1 * B));
    }
    free(x), free(dy), free(start), free(dW), free(start_b), free(db);
    return 0;
}

static int check_dense(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES * N_SIZES * 3; s++) {
        /* all pairs of column counts, with batches and parts running through beside */
        int n_in = sizes[s % N_SIZES], n_out = sizes[s / N_SIZES % N_SIZES];
        int B = sizes[(s * 7 + s / 13) % N_SIZES];
        if (check_forward_case(kernels, B, n_in, n_out, s * 5 % 16) ||
            check_input_case(kernels, B, n_in, n_out) ||
            check_weight_case(kernels, B, n_in, n_out, s % 2)) {
            printf("B = %d, n_in = %d, n_out = %d\n", B, n_in, n_out);
            return 1;
        }
    }
    /* more than one panel, more than one block of rows, strips that are copied, sums in
     * parts; an empty batch */
    return check_forward_case(kernels, 3, 200, 150, 15) ||
           check_forward_case(kernels, 37, 128, 128, 7) ||
           check_forward_case(kernels, 18, 700, 131, 15) ||
           check_input_case(kernels, 5, 70, 300) ||
           check_input_case(kernels, 33, 129, 128) ||
           check_weight_case(kernels, 300, 9, 40, 1) ||
           check_weight_case(kernels, 35, 130, 133, 1) ||
           check_forward_case(kernels, 0, 4, 4, 15) ||
           check_input_case(kernels, 0, 4, 4) || check_weight_case(kernels, 0, 4, 4, 1);
}

static int test_dense(void) {
    return for_each_table(check_dense);
}

/* NaN in one row reaches this row's outputs, through ReLU as well, and no other
 * row's. */
static int check_nan_rows(const jsp_kernels *kernels) {
    enum { B = 9, IN = 5, OUT = 33 };
    jsp_real x[B * IN], W[IN * OUT], y[B * OUT];
    for (int k = 0; k < B * IN; k++) x[k] = (jsp_real)jsp_rng_normal(&rng);
    for (int k = 0; k < IN * OUT; k++) W[k] = (jsp_real)jsp_rng_normal(&rng);
    x[4 * IN + 2] = (jsp_real)NAN;
    kernels->dense_forward(B, IN, OUT, x, W, NULL, NULL, 1, NULL, y);
    for (int i = 0; i < B; i++) {
        for (int j = 0; j < OUT; j++) CHECK(!isnan(y[i * OUT + j]) == (i != 4));
    }
    return 0;
}

static int test_nan_rows(void) {
    return for_each_table(check_nan_rows);
}

/* ---- vectors ---- */

static int check_rows(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES * N_SIZES; s++) {
        int B = sizes[s % N_SIZES], n = sizes[s / N_SIZES];
        jsp_real *x = make_array((size_t)(B * n)), *w = make_array((size_t)n);
        jsp_real *c = make_array((size_t)B), *y = make_array((size_t)B);
        jsp_real *start = make_array((size_t)n), *total = copy_array((size_t)n, start);
        kernels->rows_dot(B, n, x, w, y);
        kernels->rows_weighted_sum(B, n, x, c, total);
        for (int b = 0; b < B; b++) {
            double sum = 0, size = 1;
            for (int k = 0; k < n; k++) {
                double term = (double)x[b * n + k] * (double)w[k];
                sum += term;
                size += fabs(term);
            }
            CHECK_NEAR((double)y[b], sum, PRECISION * size * (2 + 0.1 * n));
            jsp_real alone;
            kernels->rows_dot(1, n, x + b * n, w, &alone);
            CHECK(alone == y[b]);
        }
        for (int k = 0; k < n; k++) {
            double sum = (double)start[k], size = 4;
            for (int b = 0; b < B; b++) {
                double term = (double)c[b] * (double)x[b * n + k];
                sum += term;
                size += fabs(term);
            }
            CHECK_NEAR((double)total[k], sum, PRECISION * size * (2 + 0.1 * B));
        }
        free(x), free(w), free(c), free(y), free(start), free(total);
    }
    return 0;
}

/* Rows collected from S places and scattered to them; every third one to the same row. */
static int check_places(const jsp_kernels *kernels, int B, int n, int S) {
    const size_t size = (size_t)(B * n), rows = (size_t)B * (size_t)(n + 2 * S);
    size_t row[3];
    jsp_real *x = make_array(size), *start = make_array((size_t)n), *y[3], *twin[3];
    jsp_real *total = copy_array((size_t)n, start), *sum = copy_array((size_t)n, start);
    int16_t *index = calloc((size_t)B, sizeof *index);
    for (int b = 0; b < B; b++) index[b] = (int16_t)(b % 3 ? B - 1 - b : B / 2);
    for (int s = 0; s < S; s++) {
        row[s] = (size_t)(n + 2 * s);
        y[s] = make_array(rows);
        twin[s] = copy_array(rows, y[s]);
    }
    jsp_real *found = make_array(size);
    kernels->rows_collect(B, n, S, (const jsp_real *const *)y, row, index, start,
                          found);
    for (int b = 0; b < B; b++) {
        for (int k = 0; k < n; k++) {
            jsp_real expected = start[k];
            for (int s = 0; s < S; s++)
                expected += y[s][(size_t)index[b] * row[s] + (size_t)k];
            CHECK(found[b * n + k] == expected);
        }
    }
    kernels->rows_scatter(B, n, S, x, index, y, row, total);
    for (int b = 0; b < B; b++) {
        for (int k = 0; k < n; k++) {
            sum[k] += x[b * n + k];
            for (int s = 0; s < S; s++)
                twin[s][(size_t)index[b] * row[s] + (size_t)k] += x[b * n + k];
        }
    }
    for (int s = 0; s < S; s++) {
        for (size_t k = 0; k < rows; k++) CHECK(y[s][k] == twin[s][k]);
        free(y[s]), free(twin[s]);
    }
    for (int k = 0; k < n; k++) CHECK(total[k] == sum[k]);
    free(x), free(start), free(total), free(sum), free(index), free(found);
    return 0;
}

/* Against the kernels for each part, bit by bit. */
static int check_dot_backward(const jsp_kernels *kernels, int B, int n) {
    const size_t size = (size_t)(B * n);
    jsp_real *dy = make_array((size_t)B), *w = make_array((size_t)n);
    jsp_real *h = make_array(size), *skip = make_array(size);
    jsp_real *dw = make_array((size_t)n), *sum = copy_array((size_t)n, dw);
    jsp_real *dh = make_array(size), *dz = make_array(size), *twin = make_array(size);
    h[0] = skip[0];
    kernels->rows_dot_backward(B, n, dy, w, h, skip, dw, dh, dz);
    kernels->rows_weighted_sum(B, n, h, dy, sum);
    for (int b = 0; b < B; b++) {
        for (int k = 0; k < n; k++) CHECK(dh[b * n + k] == dy[b] * w[k]);
    }
    kernels->relu_backward(size, h, skip, dh, twin);
    for (size_t k = 0; k < size; k++) CHECK(dz[k] == twin[k]);
    for (int k = 0; k < n; k++) CHECK(dw[k] == sum[k]);
    free(dy), free(w), free(h), free(skip), free(dw), free(sum);
    free(dh), free(dz), free(twin);
    return 0;
}

static int check_scatter(const jsp_kernels *kernels) {
    for (int s = 0; s < N_SIZES * N_SIZES; s++) {
        const int B = sizes[s % N_SIZES], n = sizes[s / N_SIZES];
        CHECK(check_places(kernels, B, n, 1 + s % 3) == 0);
        CHECK(check_places(kernels, B, 64, 3) == 0);
        CHECK(check_dot_backward(kernels, B, n) == 0);
        CHECK(check_dot_backward(kernels, B, 64) == 0);
    }
    return 0;
}

static int test_scatter(void) {
    return for_each_table(check_scatter);
}

static int test_rows(void) {
    return for_each_table(check_rows);
}

static int check_vectors(const jsp_kernels *kernels) {
    for (size_t n = 0; n <= 70; n++) {
        jsp_real *x = make_array(n), *y = make_array(n), *h = make_array(n);
        jsp_real *sum = copy_array(n, y), *dz = make_array(n);
        double squares = 0;
        kernels->add(n, x, sum);
        for (size_t k = 0; k < n; k++) CHECK(sum[k] == y[k] + x[k]);
        for (size_t k = 0; k < n; k++) squares += (double)x[k] * (double)x[k];
        CHECK_NEAR(kernels->sum_squares(n, x), squares, 1e-14 * squares);
        for (size_t k = 0; k < n; k += 3) h[k] = y[k]; /* ties count as not positive */
        kernels->relu_backward(n, h, y, x, dz);
        for (size_t k = 0; k < n; k++) CHECK(dz[k] == (h[k] > y[k] ? x[k] : 0));
        kernels->relu_backward(n, h, NULL, x, dz);
        for (size_t k = 0; k < n; k++) CHECK(dz[k] == (h[k] > 0 ? x[k] : 0));
        kernels->relu_backward(n, h, NULL, x, x);
        CHECK(n == 0 || memcmp(x, dz, n * sizeof *x) == 0);
        free(x), free(y), free(h), free(sum), free(dz);
    }
    return 0;
}

static int test_vectors(void) {
    return for_each_table(check_vectors);
}

static int check_adam(const jsp_kernels *kernels) {
    const jsp_kernels_adam s = {.learning_rate = (jsp_real)0.01,
                                .beta1 = (jsp_real)0.9,
                                .beta2 = (jsp_real)0.99,
                                .correction1 = (jsp_real)1.7,
                                .correction2 = (jsp_real)3.1,
                                .epsilon = (jsp_real)1e-8,
                                .gradient_scale = (jsp_real)0.6,
                                .average_decay = (jsp_real)0.8};
    for (size_t n = 0; n <= 70; n++) {
        jsp_real *dp = make_array(n), *p = make_array(n), *m = make_array(n);
        jsp_real *v = make_array(n), *average = make_array(n);
        for (size_t k = 0; k < n; k++) v[k] = (jsp_real)fabs((double)v[k]);
        jsp_real *p0 = copy_array(n, p), *m0 = copy_array(n, m), *v0 = copy_array(n, v);
        jsp_real *average0 = copy_array(n, average);
        kernels->adam(n, &s, dp, p, m, v, average);
        for (size_t k = 0; k < n; k++) {
            double g = 0.6 * (double)dp[k];
            double m1 = 0.9 * (double)m0[k] + 0.1 * g,
                   v1 = 0.99 * (double)v0[k] + 0.01 * g * g;
            double p1 = (double)p0[k] - 0.01 * m1 * 1.7 / (sqrt(v1 * 3.1) + 1e-8);
            double average1 = 0.8 * (double)average0[k] + 0.2 * p1;
            /* the constants themselves are rounded */
            CHECK_NEAR((double)m[k], m1, 20 * PRECISION * (1 + fabs(m1)));
            CHECK_NEAR((double)v[k], v1, 20 * PRECISION * (1 + fabs(v1)));
            CHECK_NEAR((double)p[k], p1, 20 * PRECISION * (1 + fabs(p1)));
            CHECK_NEAR((double)average[k], average1,
                       20 * PRECISION * (1 + fabs(average1)));
        }
        free(dp), free(p), free(m), free(v), free(average);
        free(p0), free(m0), free(v0), free(average0);
    }
    return 0;
}

static int test_adam(void) {
    return for_each_table(check_adam);
}

int main(void) {
    static const check_test tests[] = {
        {"selection", test_selection},
        {"exp, log, softplus", test_maps},
        {"special values", test_special_values},
        {"positions", test_map_positions},
        {"log_sum_exp", test_log_sum_exp},
        {"dense", test_dense},
        {"NaN stays in its row", test_nan_rows},
        {"rows", test_rows},
        {"scatter", test_scatter},
        {"vectors", test_vectors},
        {"adam", test_adam},
    };
    return CHECK_RUN(tests);
}
