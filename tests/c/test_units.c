/* test_units.c - evidence and draws of small networks against numerical integration.
 *
 * With one hidden unit and at most one parent the hidden layer is two numbers: sums over a
 * fine grid give the evidence, the posterior of the bias and the mean prediction. Output
 * weights are integrated with plain formulas for two columns, not with the code's
 * elimination. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "jsp_memory.h"
#include "jsp_units.h"

#define ROWS 12
#define LOG_2PI 1.83787706640934548356
#define GRID 401 /* points from -6 to 6 */

static double z[ROWS], y[ROWS];
static const double *columns[1] = {z};

static jsp_units_problem make_problem(int p, double noise_scale) {
    jsp_rng rng;
    jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < ROWS; r++) {
        z[r] = jsp_rng_normal(&rng);
        y[r] = 0.7 + (z[r] > 0.2 ? 1.5 * (z[r] - 0.2) : 0) + 0.3 * jsp_rng_normal(&rng);
    }
    jsp_units_problem q = {ROWS, p, 1, columns, y, noise_scale};
    return q;
}

static double grid(int k) {
    return -6 + 12.0 * k / (GRID - 1);
}

/* log N(y; 0, s^2 I + a a' + 1 1') for two columns, written out. */
static double log_l(const jsp_units_problem *q, double w, double b, double s) {
    double aa = 0, ay = 0, yy = 0, ao = 0, yo = 0, n = q->n, p = 1 / (s * s);
    for (int r = 0; r < q->n; r++) {
        double t = (q->p ? w * z[r] : 0) + b, a = t > 0 ? t : 0;
        aa += a * a;
        ay += a * y[r];
        yy += y[r] * y[r];
        ao += a;
        yo += y[r];
    }
    double A = 1 + aa * p, B = ao * p, C = 1 + n * p, by = ay * p, bo = yo * p;
    double det = A * C - B * B;
    double fit = (C * by * by - 2 * B * by * bo + A * bo * bo) / det;
    return -n * (0.5 * LOG_2PI + log(s)) - 0.5 * log(det) - 0.5 * (yy * p - fit);
}

static double normal(double x, double mean) {
    return exp(-0.5 * ((x - mean) * (x - mean) + LOG_2PI));
}

/* Mean of exp(log_l) over the prior; noise learned when s is NaN. */
static double integrate(const jsp_units_problem *q) {
    double sum = 0, step = 12.0 / (GRID - 1);
    int learned = isnan(q->noise_scale), n_w = q->p ? GRID : 1,
        n_s = learned ? GRID : 1;
    for (int i = 0; i < n_w; i++) {
        for (int k = 0; k < GRID; k++) {
            for (int m = 0; m < n_s; m++) {
                double log_s = learned ? grid(m) : log(q->noise_scale);
                double weight = normal(grid(k), 0) * step;
                if (q->p) weight *= normal(grid(i), 0) * step;
                if (learned) weight *= normal(log_s, -1) * step;
                sum += weight * exp(log_l(q, grid(i), grid(k), exp(log_s)));
            }
        }
    }
    return log(sum);
}

static int check_evidence(int p, double noise_scale) {
    jsp_units_problem q = make_problem(p, noise_scale);
    jsp_units *units;
    CHECK(jsp_units_create(ROWS, 2, 1, 8, &units, NULL) == JSP_OK);
    double expected = integrate(&q), found = 0, value;
    for (int k = 0; k < 4; k++) {
        jsp_units_run(units, &q, 0, 11, (uint32_t)k, &value);
        found += value / 4;
    }
    CHECK_NEAR(found, expected, 0.03);
    jsp_units_destroy(units);
    return 0;
}

static int test_evidence(void) {
    return check_evidence(0, 0.4) || check_evidence(1, 0.4) || check_evidence(0, NAN);
}

/* Mean and variance of the bias under the posterior, by the grid and by draws; a control
 * with the prior instead must differ. */
static int test_draws(void) {
    jsp_units_problem q = make_problem(1, 0.4);
    double total = 0, mean = 0, square = 0, value;
    for (int i = 0; i < GRID; i++) {
        for (int k = 0; k < GRID; k++) {
            double p = normal(grid(i), 0) * normal(grid(k), 0) *
                       exp(log_l(&q, grid(i), grid(k), 0.4));
            total += p;
            mean += p * grid(k);
            square += p * grid(k) * grid(k);
        }
    }
    mean /= total;
    square /= total;
    jsp_units *units;
    CHECK(jsp_units_create(ROWS, 1, 1, 16, &units, NULL) == JSP_OK);
    double found = 0, found_square = 0;
    const int n_runs = 8, n_draws = 2000;
    for (int run = 0; run < n_runs; run++) {
        jsp_units_run(units, &q, 1, 5, (uint32_t)run, &value);
        for (int k = 0; k < n_draws; k++) {
            jsp_rng rng;
            double w1, b1, w2, b2, s, joint;
            jsp_rng_init(&rng, 6, (uint32_t)run, (uint32_t)k, JSP_RNG_PARAMETER);
            jsp_units_draw(units, &rng, &w1, &b1, &w2, &b2, &s, &joint);
            CHECK_NEAR(s, 0.4, 1e-12);
            found += b1 / (n_runs * n_draws);
            found_square += b1 * b1 / (n_runs * n_draws);
        }
    }
    double sd = sqrt(square - mean * mean);
    CHECK_NEAR(found, mean, 0.08 * sd);
    CHECK_NEAR(found_square, square, 0.1 * square);
    CHECK(fabs(mean) > 0.2 * sd); /* the prior has 0 */
    jsp_units_destroy(units);
    return 0;
}

/* log_joint is the density of data and all parameters, written out. */
static int check_log_joint(double noise_scale) {
    jsp_units_problem q = make_problem(1, noise_scale);
    jsp_units *units;
    double value, w1, b1, w2, b2, s, joint;
    CHECK(jsp_units_create(ROWS, 1, 1, 1, &units, NULL) == JSP_OK);
    jsp_units_run(units, &q, 1, 1, 0, &value);
    jsp_rng rng;
    jsp_rng_init(&rng, 6, 0, 0, JSP_RNG_PARAMETER);
    jsp_units_draw(units, &rng, &w1, &b1, &w2, &b2, &s, &joint);
    double expected =
        log(normal(w1, 0) * normal(b1, 0) * normal(w2, 0) * normal(b2, 0));
    if (isnan(noise_scale)) expected += log(normal(log(s), -1));
    for (int r = 0; r < ROWS; r++) {
        double a = w1 * z[r] + b1, e = (y[r] - b2 - w2 * (a > 0 ? a : 0)) / s;
        expected -= 0.5 * e * e + 0.5 * LOG_2PI + log(s);
    }
    CHECK_NEAR(joint, expected, 1e-9);
    jsp_units_destroy(units);
    return 0;
}

static int test_log_joint(void) {
    return check_log_joint(0.4) || check_log_joint(NAN);
}

/* What a run says of its own error is about the spread of many runs. */
static int test_standard_error(void) {
    jsp_units_problem q = make_problem(1, NAN);
    jsp_units *units;
    const int n = 40;
    double sum = 0, squares = 0, claimed = 0, value;
    CHECK(jsp_units_create(ROWS, 1, 1, 0.2, &units, NULL) == JSP_OK);
    for (int k = 0; k < n; k++) {
        jsp_units_run(units, &q, 0, 12, (uint32_t)k, &value);
        sum += value / n;
        squares += value * value / n;
        claimed +=
            jsp_units_standard_error(units) * jsp_units_standard_error(units) / n;
    }
    const double ratio = sqrt((squares - sum * sum) * n / (n - 1) / claimed);
    CHECK(ratio > 0.5 && ratio < 2);
    jsp_units_destroy(units);
    return 0;
}

static int test_same_stream_same_bits(void) {
    jsp_units_problem q = make_problem(1, 0.4);
    jsp_units *small, *large;
    double a, b, c;
    CHECK(jsp_units_create(ROWS, 1, 1, 1, &small, NULL) == JSP_OK);
    CHECK(jsp_units_create(4 * ROWS, 3, 1, 1, &large, NULL) == JSP_OK);
    jsp_units_run(small, &q, 0, 1, 2, &a);
    jsp_units_run(small, &q, 0, 1, 3, &c);
    jsp_units_run(large, &q, 0, 1, 3, &b);
    CHECK(b == c && a != c);
    jsp_units_run(large, &q, 1, 1, 2, &b);
    CHECK(a == b); /* with draws, too */
    q.n = 0;       /* no rows: nothing is learned */
    jsp_units_run(small, &q, 0, 1, 2, &a);
    CHECK_NEAR(a, 0, 1e-12);
    jsp_units_destroy(small);
    jsp_units_destroy(large);
    return 0;
}

static int test_allocation_faults(void) {
    jsp_units *units = NULL;
    long live = jsp_memory_live();
    for (long n = 1; n < 100; n++) {
        jsp_memory_fail_at(n);
        jsp_status status = jsp_units_create(ROWS, 1, 2, 1, &units, NULL);
        jsp_memory_fail_at(0);
        if (status == JSP_OK) {
            jsp_units_destroy(units);
            CHECK(n > 5);
            return jsp_memory_live() != live;
        }
        CHECK(!units && jsp_memory_live() == live);
    }
    return 1;
}

int main(void) {
    static const check_test tests[] = {
        {"evidence", test_evidence},
        {"draws", test_draws},
        {"log_joint", test_log_joint},
        {"standard_error", test_standard_error},
        {"same_stream_same_bits", test_same_stream_same_bits},
        {"allocation_faults", test_allocation_faults},
    };
    return CHECK_RUN_AND_COUNT(tests, jsp_memory_live);
}
