/* test_score_draws.c - draws of parameters of the Gaussian models, against the moments
 * and the density of the conjugate posterior. */
#include <math.h>

#include "check.h"
#include "jsp_memory.h"
#include "score_cases.h"

#define Z_LIMIT 4.9 /* two-sided rate 1e-6 each; fewer than 100 values per test */

/* What the conjugate posterior says about one node, from Gauss elimination. */
typedef struct posterior {
    int p;
    double mean[MOST];
    double covariance[MOST * MOST]; /* of the weights, divided by v for bge */
    double centre[MOST + 1];        /* location of parents, then of the node */
    double rows;                    /* intercept variance given weights = v / rows */
    double shape, rate;             /* of 1 / v for bge */
} posterior;

static void conjugate(const table *t, int node, int p, const int *parents, int bge,
                      posterior *q) {
    int D = t->D;
    double R[MOST * MOST], A[MOST * MOST] = {0}, b[MOST] = {0}, c;
    double s = sqrt(0.1), n = bge_matrix(t, node, bge ? 1 : 0, bge ? 0.5 : 0, R);
    double scale = bge ? 1 : 1 / (s * s);
    for (int i = 0; i < p; i++) {
        for (int k = 0; k < p; k++)
            A[i * p + k] = scale * R[parents[i] * D + parents[k]];
        if (!bge) A[i * p + i] += 1;
        b[i] = scale * R[parents[i] * D + node];
    }
    c = R[node * D + node];
    eliminate(p, A, q->covariance);
    for (int i = 0; i < p; i++) {
        q->mean[i] = 0;
        for (int k = 0; k < p; k++) q->mean[i] += q->covariance[i * p + k] * b[k];
    }
    for (int i = 0; i < p; i++) c -= q->mean[i] * b[i];
    q->p = p;
    q->rows = n + bge;
    for (int k = 0; k <= p; k++) {
        double sum = 0;
        for (int r = 0; r < t->N; r++) {
            if (t->mask[r * D + node]) continue;
            sum += t->x[r * D + (k < p ? parents[k] : node)];
        }
        q->centre[k] = sum / q->rows;
    }
    q->shape = (n + 2 + p + 1) / 2;
    q->rate = c / 2;
}

static int near(double mean, double expected, double variance, double n) {
    return fabs(mean - expected) < Z_LIMIT * sqrt(variance / n);
}

static double log_density_of(const posterior *q, int bge, const jsp_model_draw *draw) {
    double covariance[MOST * MOST], v = draw->noise_scale * draw->noise_scale;
    for (int k = 0; k < q->p * q->p; k++)
        covariance[k] = q->covariance[k] * (bge ? v : 1);
    double value = q->p ? log_normal(q->p, draw->weight, q->mean, covariance) : 0;
    if (!bge) return value;
    return value + q->shape * log(q->rate) - lgamma(q->shape) -
           (q->shape + 1) * log(v) - q->rate / v;
}

/* Sample means of weights, their products, intercept and precision. */
static int check_draws(const table *t, int bge, int node, uint32_t S) {
    enum { DRAWS = 20000 };
    int parents[MOST], p = members(t->D, node, S, parents);
    jsp_model_setup setup = setup_of(bge ? "bge" : "linear", t->data, 1);
    posterior q;
    conjugate(t, node, p, parents, bge, &q);
    double v = bge ? q.rate / (q.shape - 1) : 0.1; /* mean of the noise variance */
    double spread = bge ? v : 1, weight[MOST];
    double m[MOST] = {0}, square[MOST] = {0}, intercept = 0, intercept2 = 0,
           precision = 0;
    double centre = q.centre[p], centre_variance = v / q.rows;
    for (int i = 0; i < p; i++) {
        centre -= q.mean[i] * q.centre[i];
        for (int k = 0; k < p; k++) {
            centre_variance +=
                spread * q.covariance[i * p + k] * q.centre[i] * q.centre[k];
        }
    }
    for (int s = 0; s < DRAWS; s++) {
        jsp_rng rng;
        jsp_rng_init(&rng, 11, (uint32_t)node, (uint32_t)s, JSP_RNG_PARAMETER);
        jsp_model_draw draw = {.weight = weight};
        CHECK(setup.model->draw(&setup, node, p, parents, &rng, &draw, NULL) == JSP_OK);
        for (int i = 0; i < p; i++) {
            double e = weight[i] - q.mean[i];
            m[i] += weight[i] / DRAWS;
            square[i] += e * e / DRAWS;
        }
        intercept += draw.intercept / DRAWS;
        intercept2 += pow(draw.intercept - centre, 2) / DRAWS;
        precision += 1 / (draw.noise_scale * draw.noise_scale) / DRAWS;
        if (s < 20) CHECK_NEAR(draw.log_density, log_density_of(&q, bge, &draw), 1e-9);
    }
    /* variances of squares: 2 var^2 for normals, at most 4 times that for the t used */
    double wide = bge ? 8 : 2;
    for (int i = 0; i < p; i++) {
        double variance = spread * q.covariance[i * p + i];
        CHECK(near(m[i], q.mean[i], variance, DRAWS));
        CHECK(near(square[i], variance, wide * variance * variance, DRAWS));
    }
    CHECK(near(intercept, centre, centre_variance, DRAWS));
    CHECK(near(intercept2, centre_variance, wide * pow(centre_variance, 2), DRAWS));
    if (bge) {
        CHECK(near(precision, q.shape / q.rate, q.shape / (q.rate * q.rate), DRAWS));
    } else {
        CHECK_NEAR(precision, 10, 1e-9);
    }
    return 0;
}

static int test_draws(void) {
    table t;
    CHECK(make_table(&t, 16, 5, 6, 1) == JSP_OK);
    for (int node = 0; node < 3; node++) {
        if (check_draws(&t, 1, node, 0xb) || check_draws(&t, 1, node, 0)) return 1;
        if (check_draws(&t, 0, node, 0x5) || check_draws(&t, 0, node, 0)) return 1;
    }
    jsp_data_destroy(t.data);
    return 0;
}

/* Columns moved by constants: same weights, intercept moved by shift_j - weight .
 * shift_S. Centred columns: with and without an intercept the weights are the same. */
static int test_shifted_draws(void) {
    table t;
    CHECK(make_table(&t, 16, 5, 7, 0) == JSP_OK);
    jsp_data_destroy(t.data);
    double shift[5] = {3, -1, 2, 0.5, 4};
    for (int j = 0; j < 5; j++) {
        double mean = 0;
        for (int r = 0; r < 16; r++) mean += t.x[r * 5 + j] / 16;
        for (int r = 0; r < 16; r++) t.x[r * 5 + j] -= mean;
    }
    table moved = t;
    for (int k = 0; k < 16 * 5; k++) moved.x[k] += shift[k % 5];
    CHECK(jsp_data_create(t.x, NULL, 16, 5, 1, &t.data, NULL) == JSP_OK);
    CHECK(jsp_data_create(moved.x, NULL, 16, 5, 1, &moved.data, NULL) == JSP_OK);
    jsp_model_setup a = setup_of("linear", t.data, 1),
                    b = setup_of("linear", moved.data, 1);
    jsp_model_setup none = setup_of("linear", t.data, 0);
    for (int s = 0; s < 10; s++) {
        int parents[2] = {0, 4};
        double wa[2], wb[2], wn[2];
        jsp_model_draw da = {.weight = wa}, db = {.weight = wb}, dn = {.weight = wn};
        jsp_rng rng, same, again;
        jsp_rng_init(&rng, 12, 0, (uint32_t)s, JSP_RNG_TEST);
        same = again = rng;
        CHECK(a.model->draw(&a, 2, 2, parents, &rng, &da, NULL) == JSP_OK);
        CHECK(b.model->draw(&b, 2, 2, parents, &same, &db, NULL) == JSP_OK);
        CHECK(none.model->draw(&none, 2, 2, parents, &again, &dn, NULL) == JSP_OK);
        for (int k = 0; k < 2; k++) {
            CHECK_NEAR(wa[k], wb[k], 1e-9);
            CHECK_NEAR(wa[k], wn[k], 1e-9);
        }
        CHECK_NEAR(db.intercept, da.intercept + 2 - 3 * wa[0] - 4 * wa[1], 1e-9);
        CHECK(dn.intercept == 0);
        CHECK_NEAR(da.log_density, dn.log_density, 1e-9);
    }
    jsp_data_destroy(t.data);
    jsp_data_destroy(moved.data);
    return 0;
}

/* No rows: draws come from the prior. */
static int test_draws_without_rows(void) {
    table t;
    CHECK(make_table(&t, 10, 4, 8, 1) == JSP_OK);
    jsp_model_setup linear = setup_of("linear", t.data, 1);
    jsp_model_setup bge = setup_of("bge", t.data, 0);
    double sum = 0, squares = 0, weight[2];
    int parents[2] = {0, 2};
    for (int s = 0; s < 5000; s++) {
        jsp_rng rng;
        jsp_rng_init(&rng, 13, 0, (uint32_t)s, JSP_RNG_TEST);
        jsp_model_draw draw = {.weight = weight};
        CHECK(linear.model->draw(&linear, 3, 2, parents, &rng, &draw, NULL) == JSP_OK);
        CHECK(draw.intercept == 0);
        sum += weight[0] + weight[1];
        squares += weight[0] * weight[0] + weight[1] * weight[1];
        CHECK(bge.model->draw(&bge, 3, 2, parents, &rng, &draw, NULL) == JSP_OK);
        CHECK(isfinite(draw.intercept) && draw.noise_scale > 0);
    }
    CHECK(near(sum / 10000, 0, 1, 10000));
    CHECK(near(squares / 10000, 1, 2, 10000));
    jsp_data_destroy(t.data);
    return 0;
}

static const check_test TESTS[] = {
    {"draws", test_draws},
    {"shifted draws", test_shifted_draws},
    {"draws without rows", test_draws_without_rows},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
