/* test_score.c - data moments, local models, draws, candidates.
 *
 * Every figure is checked along another path: evidences as densities of whole columns
 * with N x N covariance matrices or by determinants from Gauss elimination, draws by
 * the moments of the conjugate posterior. Score tables are in test_scores.c.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_candidates.h"
#include "jsp_data.h"
#include "jsp_memory.h"
#include "jsp_model.h"
#include "jsp_moments.h"
#include "jsp_special.h"

#define TWO_PI 6.28318530717958647693
#define MOST 16     /* rows or variables of the small cases */
#define Z_LIMIT 4.9 /* two-sided rate 1e-6 each; fewer than 100 values per test */

/* ---- an independent little linear algebra ---- */

/* Gauss-Jordan with pivoting: log |det a|, and a^-1 when inverse is not NULL. */
static double eliminate(int n, const double *matrix, double *inverse) {
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
static double log_normal(int n, const double *x, const double *mean,
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
static int make_table(table *t, int N, int D, uint64_t seed, int with_mask) {
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

static jsp_model_setup setup_of(const char *name, const jsp_data *data, int intercept) {
    jsp_model_setup setup = {jsp_model_find(name), data, {0}, intercept, NULL};
    for (int f = 0; f < setup.model->n_fields; f++) {
        setup.field[f] = setup.model->fields[f].default_value;
    }
    return setup;
}

/* Members of a mask over all variables but `node`. */
static int members(int D, int node, uint32_t S, int *list) {
    int n = 0, bit = 0;
    for (int i = 0; i < D; i++) {
        if (i != node && S >> bit++ & 1) list[n++] = i;
    }
    return n;
}

/* ---- data ---- */

static int test_moments(void) {
    enum { N = 5003, D = 7 };
    double *x = malloc(sizeof(double) * N * D);
    uint8_t *mask = malloc(N * D);
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * D; k++) {
        x[k] = 1e6 + jsp_rng_normal(&rng);
        mask[k] = k % D != 2 && jsp_rng_uniform(&rng) < 0.3;
    }
    for (int r = 0; r < N; r++)
        mask[r * D + 5] = mask[r * D + 4]; /* a shared pattern */
    for (int with_mask = 0; with_mask < 2; with_mask++) {
        jsp_data *one, *three;
        const uint8_t *used = with_mask ? mask : NULL;
        CHECK(jsp_data_create(x, used, N, D, 1, &one, NULL) == JSP_OK);
        CHECK(jsp_data_create(x, used, N, D, 3, &three, NULL) == JSP_OK);
        CHECK(jsp_data_n_variables(one) == D);
        for (int j = 0; j < D; j++) {
            jsp_data_moments a = jsp_data_node(one, j), b = jsp_data_node(three, j);
            CHECK(memcmp(a.mean, b.mean, sizeof(double) * D) == 0);
            CHECK(memcmp(a.scatter, b.scatter, sizeof(double) * D * D) == 0);
            double n = 0, mean[D] = {0}, scatter[D][D] = {{0}};
            for (int r = 0; r < N; r++) {
                if (used && used[r * D + j]) continue;
                n++;
                for (int k = 0; k < D; k++) mean[k] += x[r * D + k] - 1e6;
            }
            for (int k = 0; k < D; k++) mean[k] /= n;
            for (int r = 0; r < N; r++) {
                if (used && used[r * D + j]) continue;
                for (int i = 0; i < D; i++) {
                    for (int k = 0; k < D; k++) {
                        scatter[i][k] += (x[r * D + i] - 1e6 - mean[i]) *
                                         (x[r * D + k] - 1e6 - mean[k]);
                    }
                }
            }
            CHECK(a.n_rows == n);
            for (int k = 0; k < D; k++) {
                CHECK_NEAR(a.mean[k], 1e6 + mean[k], 1e-8);
                for (int i = 0; i < D; i++) {
                    CHECK_NEAR(a.scatter[i * D + k], scatter[i][k], 1e-6);
                    CHECK(a.scatter[i * D + k] == a.scatter[k * D + i]);
                }
            }
        }
        jsp_data_destroy(one);
        jsp_data_destroy(three);
    }
    free(x);
    free(mask);
    return 0;
}

static int test_special(void) {
    for (double x = 0.05; x < 3000; x *= 1.07) {
        CHECK_NEAR(jsp_special_log_gamma(x), lgamma(x), 1e-13 + 1e-15 * lgamma(x) * 10);
    }
    return 0;
}

/* ---- evidences ---- */

/* Linear model as the density of the whole column: N(0, s^2 I + w^2 X_S X_S^T), with an
 * intercept that of n - 1 orthonormal contrasts (Helmert), blind to the mean. */
static double linear_evidence(const table *t, int node, int p, const int *parents,
                              double s, double w, int intercept) {
    double column[1 + MOST][MOST], covariance[MOST * MOST], zero[MOST] = {0};
    int n = 0;
    for (int r = 0; r < t->N; r++) {
        if (t->mask[r * t->D + node]) continue;
        column[0][n] = t->x[r * t->D + node];
        for (int k = 0; k < p; k++) column[1 + k][n] = t->x[r * t->D + parents[k]];
        n++;
    }
    for (int c = 0; intercept && c <= p; c++) {
        double before = 0;
        for (int r = 1; r < n; r++) {
            before += column[c][r - 1];
            column[c][r - 1] = (before - r * column[c][r]) / sqrt(r * (r + 1.0));
        }
    }
    if (intercept) n--;
    for (int a = 0; a < n; a++) {
        for (int b = 0; b < n; b++) {
            double value = a == b ? s * s : 0;
            for (int k = 1; k <= p; k++) value += w * w * column[k][a] * column[k][b];
            covariance[a * n + b] = value;
        }
    }
    return log_normal(n, column[0], zero, covariance);
}

static int test_linear_evidence(void) {
    table t;
    CHECK(make_table(&t, 12, 5, 2, 1) == JSP_OK);
    for (int intercept = 0; intercept < 2; intercept++) {
        jsp_model_setup setup = setup_of("linear", t.data, intercept);
        setup.field[0] = 0.8;
        setup.field[1] = 1.7;
        CHECK(setup.model->check(&setup, NULL) == JSP_OK);
        for (int j = 0; j < t.D; j++) {
            for (uint32_t S = 0; S < 16; S++) {
                int parents[MOST], p = members(t.D, j, S, parents);
                double value;
                CHECK(setup.model->evidence(&setup, j, p, parents, &value, NULL) ==
                      JSP_OK);
                double expected = 0; /* no row counts for the last variable */
                if (j < t.D - 1) {
                    expected = linear_evidence(&t, j, p, parents, 0.8, 1.7, intercept);
                }
                CHECK_NEAR(value, expected, 1e-9);
            }
        }
    }
    jsp_data_destroy(t.data);
    return 0;
}

/* R = t I + sum over rows that count of x x^T + ... written with raw sums; fills R [D,
 * D], returns n. */
static double bge_matrix(const table *t, int node, double mu, double scale, double *R) {
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

static double sub_determinant(int D, const double *R, int n, const int *list) {
    double part[MOST * MOST];
    for (int a = 0; a < n; a++) {
        for (int b = 0; b < n; b++) part[a * n + b] = R[list[a] * D + list[b]];
    }
    return eliminate(n, part, NULL);
}

/* The formula of the papers, with determinants of R_SS and R_QQ. */
static double bge_evidence(const table *t, int node, int p, const int *parents,
                           double mu, double w) {
    int D = t->D, family[MOST];
    double R[MOST * MOST], scale = mu * (w - D - 1) / (mu + 1);
    double n = bge_matrix(t, node, mu, scale, R), d = w - D + p;
    memcpy(family, parents, sizeof(int) * p);
    family[p] = node;
    return -n / 2 * log(TWO_PI / 2) + 0.5 * log(mu / (mu + n)) +
           lgamma((n + d + 1) / 2) - lgamma((d + 1) / 2) +
           (d + p + 1) / 2 * log(scale) +
           (n + d) / 2 * sub_determinant(D, R, p, parents) -
           (n + d + 1) / 2 * sub_determinant(D, R, p + 1, family);
}

static int test_bge_evidence(void) {
    table t;
    CHECK(make_table(&t, 14, 5, 3, 1) == JSP_OK);
    for (int other = 0; other < 2; other++) {
        jsp_model_setup setup = setup_of("bge", t.data, 0);
        double mu = 1, w = t.D + 2;
        if (other) {
            setup.field[0] = mu = 0.3;
            setup.field[1] = w = t.D + 4.5;
        }
        CHECK(setup.model->check(&setup, NULL) == JSP_OK);
        for (int j = 0; j < t.D; j++) {
            for (uint32_t S = 0; S < 16; S++) {
                int parents[MOST], p = members(t.D, j, S, parents);
                double value;
                CHECK(setup.model->evidence(&setup, j, p, parents, &value, NULL) ==
                      JSP_OK);
                CHECK_NEAR(value, bge_evidence(&t, j, p, parents, mu, w), 1e-9);
                if (j == t.D - 1) CHECK_NEAR(value, 0, 1e-12);
            }
        }
    }
    jsp_data_destroy(t.data);
    return 0;
}

/* The walk over all subsets against one set at a time, with limits on the size. */
static int test_tabulate(void) {
    table t;
    CHECK(make_table(&t, 16, 9, 4, 1) == JSP_OK);
    for (int m = 0; m < 4; m++) {
        jsp_model_setup setup = setup_of(m < 2 ? "linear" : "bge", t.data, m & 1);
        for (int limit = 0; limit <= 7; limit++) {
            int candidates[7] = {0, 1, 2, 4, 5, 7, 8};
            double values[128];
            CHECK(setup.model->tabulate(&setup, 3, 7, candidates, limit, values,
                                        NULL) == JSP_OK);
            for (uint32_t S = 0; S < 128; S++) {
                int parents[7], p = 0;
                for (int k = 0; k < 7; k++) {
                    if (S >> k & 1) parents[p++] = candidates[k];
                }
                double expected;
                if (p > limit) {
                    CHECK(values[S] == -INFINITY);
                    continue;
                }
                CHECK(setup.model->evidence(&setup, 3, p, parents, &expected, NULL) ==
                      JSP_OK);
                CHECK_NEAR(values[S], expected, 1e-9);
            }
        }
    }
    jsp_data_destroy(t.data);
    return 0;
}

/* Same skeleton and same colliders with unmarried parents = same Markov class. */
static int same_class(const int a[3][3], const int b[3][3]) {
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++) {
            if ((a[i][k] | a[k][i]) != (b[i][k] | b[k][i])) return 0;
        }
        int x = (i + 1) % 3, y = (i + 2) % 3;
        if (a[x][y] | a[y][x]) continue;
        if ((a[x][i] & a[y][i]) != (b[x][i] & b[y][i])) return 0;
    }
    return 1;
}

static int has_cycle(const int a[3][3]) {
    if (a[0][0] | a[1][1] | a[2][2]) return 1;
    if ((a[0][1] & a[1][0]) | (a[0][2] & a[2][0]) | (a[1][2] & a[2][1])) return 1;
    return (a[0][1] & a[1][2] & a[2][0]) | (a[0][2] & a[2][1] & a[1][0]);
}

static int test_score_equivalence(void) {
    table t;
    CHECK(make_table(&t, 15, 3, 5, 0) == JSP_OK);
    jsp_model_setup setup = setup_of("bge", t.data, 0);
    int graph[25][3][3], n = 0;
    double score[25];
    for (int code = 0; code < 512; code++) {
        int a[3][3];
        for (int c = 0; c < 9; c++) a[c / 3][c % 3] = code >> c & 1;
        if (has_cycle((const int(*)[3])a)) continue;
        CHECK(n < 25);
        memcpy(graph[n], a, sizeof a);
        score[n] = 0;
        for (int j = 0; j < 3; j++) {
            int parents[3], p = 0;
            double value;
            for (int i = 0; i < 3; i++) {
                if (a[i][j]) parents[p++] = i;
            }
            CHECK(setup.model->evidence(&setup, j, p, parents, &value, NULL) == JSP_OK);
            score[n] += value;
        }
        n++;
    }
    CHECK(n == 25);
    int n_pairs = 0;
    for (int a = 0; a < 25; a++) {
        for (int b = 0; b < a; b++) {
            int equal = fabs(score[a] - score[b]) < 1e-9;
            n_pairs += equal;
            CHECK(equal ==
                  same_class((const int(*)[3])graph[a], (const int(*)[3])graph[b]));
        }
    }
    /* 11 classes: 3 of 2 DAGs, 3 of 3, 1 of 6, the others alone */
    CHECK(n_pairs == 3 * 1 + 3 * 3 + 15);
    jsp_data_destroy(t.data);
    return 0;
}

/* ---- draws ---- */

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

/* ---- settings, candidates, faults ---- */

static int test_settings(void) {
    table t;
    jsp_error error = {0};
    CHECK(make_table(&t, 10, 4, 9, 0) == JSP_OK);
    CHECK(jsp_model_find("nothing") == NULL);
    CHECK(jsp_model_at(0) == jsp_model_find("linear"));
    CHECK(jsp_model_at(2) == jsp_model_find("bge"));
    CHECK(jsp_model_at(5) == jsp_model_find("mlp"));
    CHECK(jsp_model_at(6) == NULL && jsp_model_at(-1) == NULL);
    double bad[] = {0, -1, NAN, INFINITY, 1e-200};
    for (int k = 0; k < 5; k++) {
        jsp_model_setup setup = setup_of("linear", t.data, 0);
        setup.field[k & 1] = bad[k];
        CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
        CHECK(strstr(error.message, k & 1 ? "weight_scale" : "noise_scale"));
    }
    jsp_model_setup setup = setup_of("bge", t.data, 0);
    setup.field[1] = 5; /* must be above D + 1 */
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "alpha_w"));
    setup.field[1] = 5.001;
    CHECK(setup.model->check(&setup, &error) == JSP_OK);
    setup.field[0] = -1;
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "alpha_mu"));
    jsp_data_destroy(t.data);
    jsp_data *data = NULL;
    CHECK(jsp_data_create(t.x, NULL, 1, 0, 1, &data, &error) == JSP_ERROR_VALUE);
    CHECK(jsp_data_create(t.x, NULL, 1, 129, 1, &data, &error) == JSP_ERROR_VALUE);
    CHECK(jsp_data_create(t.x, NULL, -1, 2, 1, &data, &error) == JSP_ERROR_VALUE);
    CHECK(data == NULL);
    CHECK(jsp_data_create(NULL, NULL, 0, 2, 1, &data, &error) == JSP_OK);
    CHECK(jsp_data_node(data, 1).n_rows == 0);
    jsp_data_destroy(data);
    jsp_data_destroy(NULL);
    return 0;
}

/* Copies of one column beyond the reach of the prior are refused, not garbled. */
static int test_collinear(void) {
    double x[30 * 3];
    jsp_rng rng;
    jsp_rng_init(&rng, 14, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < 30; r++) {
        x[3 * r] = x[3 * r + 1] = 1e9 * jsp_rng_normal(&rng);
        x[3 * r + 2] = jsp_rng_normal(&rng);
    }
    jsp_data *data;
    jsp_error error = {0};
    int candidates[2] = {0, 1};
    double value[4];
    CHECK(jsp_data_create(x, NULL, 30, 3, 1, &data, NULL) == JSP_OK);
    for (int m = 0; m < 2; m++) {
        jsp_model_setup setup = setup_of(m ? "bge" : "linear", data, 1);
        CHECK(setup.model->tabulate(&setup, 2, 2, candidates, 2, value, &error) ==
              JSP_ERROR_NUMERICAL);
        CHECK(strstr(error.message, "variable 2"));
        CHECK(setup.model->evidence(&setup, 2, 2, candidates, value, &error) ==
              JSP_ERROR_NUMERICAL);
        CHECK(setup.model->evidence(&setup, 2, 1, candidates, value, &error) == JSP_OK);
    }
    jsp_data_destroy(data);
    return 0;
}

static const jsp_scores_config FAIR = {.prior = JSP_SCORES_FAIR};

/* Ten groups of four: a, b free, c = a - b + noise, d = c + noise. */
static int test_candidates(void) {
    enum { N = 400, D = 40, K = 6 };
    double *x = malloc(sizeof(double) * N * D);
    jsp_rng rng;
    jsp_rng_init(&rng, 15, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < N; r++) {
        double *row = x + r * D;
        for (int j = 0; j < D; j++) {
            row[j] = jsp_rng_normal(&rng);
            if (j % 4 == 2) row[j] = 0.3 * row[j] + row[j - 2] - row[j - 1];
            if (j % 4 == 3) row[j] = row[j] + row[j - 1];
        }
    }
    jsp_data *data;
    CHECK(jsp_data_create(x, NULL, N, D, 1, &data, NULL) == JSP_OK);
    jsp_model_setup setup = setup_of("bge", data, 0);
    int list[D * K], n[D], list3[D * K], n3[D];
    CHECK(jsp_candidates_select(&setup, &FAIR, K, 1, list, n, NULL) == JSP_OK);
    CHECK(jsp_candidates_select(&setup, &FAIR, K, 3, list3, n3, NULL) == JSP_OK);
    CHECK(memcmp(list, list3, sizeof list) == 0 && memcmp(n, n3, sizeof n) == 0);
    int found = 0;
    for (int j = 0; j < D; j++) {
        CHECK(n[j] == K);
        for (int k = 0; k < K; k++) {
            int i = list[j * K + k];
            CHECK(i >= 0 && i < D && i != j && (k == 0 || i > list[j * K + k - 1]));
            found += j % 4 == 2 && (i == j - 2 || i == j - 1);
            found += j % 4 == 3 && i == j - 1;
        }
    }
    CHECK(found == 3 * 10);
    int all[5 * 10], n_all[5];
    jsp_data *small;
    CHECK(jsp_data_create(x, NULL, N, 5, 1, &small, NULL) == JSP_OK);
    setup.data = small;
    CHECK(jsp_candidates_select(&setup, &FAIR, 10, 1, all, n_all, NULL) == 0);
    for (int j = 0; j < 5; j++) {
        CHECK(n_all[j] == 4);
        for (int k = 0; k < 4; k++) CHECK(all[j * 10 + k] == k + (k >= j));
    }
    CHECK(jsp_candidates_select(&setup, &FAIR, 25, 1, all, n_all, NULL) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_candidates_select(&setup, &FAIR, 0, 1, all, n_all, NULL) == 0);
    CHECK(n_all[0] == 0);
    jsp_data_destroy(small);
    jsp_data_destroy(data);
    free(x);
    return 0;
}

/* A walk over subsets of rows with 3, 2, 5 and 4 states, some set by interventions. */
static jsp_data *make_states(int n_rows, jsp_error *error) {
    enum { D = 4 };
    static const int n_states[D] = {3, 2, 5, 4};
    int32_t codes[64 * D];
    uint8_t mask[64 * D];
    jsp_data *data = NULL;
    jsp_rng rng;
    jsp_rng_init(&rng, 31, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < n_rows * D; k++) {
        codes[k] = (int32_t)(jsp_rng_next(&rng) % (uint32_t)n_states[k % D]);
        mask[k] = jsp_rng_uniform(&rng) < 0.2;
    }
    jsp_data_create_discrete(codes, mask, n_rows, D, n_states, &data, error);
    return data;
}

static int test_discrete(void) {
    const int candidates[3] = {0, 1, 2}, n_rows[4] = {0, 1, 7, 64};
    for (int k = 0; k < 4; k++) {
        jsp_data *data = make_states(n_rows[k], NULL);
        CHECK(data && jsp_data_is_discrete(data) && jsp_data_n_states(data, 2) == 5);
        jsp_model_setup setup = {jsp_model_find("bdeu"), data, {2.0}, 0, NULL};
        CHECK(setup.model->is_discrete && setup.model->check(&setup, NULL) == JSP_OK);
        for (int limit = 0; limit <= 3; limit++) {
            double table[8];
            CHECK(setup.model->tabulate(&setup, 3, 3, candidates, limit, table, NULL) ==
                  JSP_OK);
            for (uint32_t S = 0; S < 8; S++) {
                int parents[3], p = 0;
                double value;
                for (int i = 0; i < 3; i++) {
                    if (S >> i & 1) parents[p++] = i;
                }
                CHECK(setup.model->evidence(&setup, 3, p, parents, &value, NULL) ==
                      JSP_OK);
                if (p > limit) {
                    CHECK(table[S] == -INFINITY);
                } else {
                    CHECK_NEAR(table[S], value, 1e-12);
                    CHECK(n_rows[k] > 0 || value == 0);
                }
            }
        }
        double cells[4 * 30];
        jsp_model_draw draw = {.table = cells};
        jsp_rng rng;
        jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
        CHECK(jsp_data_table_size(data, 3, 3, candidates) == 4 * 30);
        CHECK(setup.model->draw(&setup, 3, 3, candidates, &rng, &draw, NULL) == JSP_OK);
        for (int c = 0; c < 30; c++) {
            const double *row = cells + 4 * c;
            CHECK_NEAR(row[0] + row[1] + row[2] + row[3], 1, 1e-12);
        }
        jsp_data_destroy(data);
    }
    return 0;
}

static int test_discrete_refusals(void) {
    const int n_states[2] = {2, 3}, none[2] = {2, 0}, many[2] = {2, JSP_MAX_STATES + 1};
    const int32_t codes[4] = {0, 2, 1, 1}, large[4] = {0, 2, 2, 1},
                  low[4] = {0, -1, 1, 1};
    jsp_data *data;
    jsp_error error = {0};
    CHECK(jsp_data_create_discrete(large, NULL, 2, 2, n_states, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "column 0 has code 2 in row 1"));
    CHECK(jsp_data_create_discrete(low, NULL, 2, 2, n_states, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, none, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, many, &data, &error) ==
          JSP_ERROR_VALUE);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 0, n_states, &data, &error) ==
              JSP_ERROR_VALUE &&
          data == NULL);
    CHECK(jsp_data_create_discrete(codes, NULL, 2, 2, n_states, &data, &error) ==
          JSP_OK);
    jsp_model_setup setup = {jsp_model_find("bdeu"), data, {0}, 0, NULL};
    CHECK(setup.model->check(&setup, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "equivalent_sample_size"));
    const int *lists[2] = {NULL, NULL}, counts[2] = {0, 0};
    jsp_scores_config config = {.candidates = lists, .n_candidates = counts};
    jsp_scores *scores;
    setup = setup_of("bge", data, 0);
    CHECK(jsp_scores_create(&setup, &config, 1, &scores, &error) == JSP_ERROR_VALUE);
    CHECK(strstr(error.message, "needs numbers"));
    jsp_data_destroy(data);
    return 0;
}

/* Every allocation of the discrete path may fail. */
static int test_discrete_faults(void) {
    const int candidates[3] = {0, 1, 2};
    long live = jsp_memory_live();
    int failures = 0;
    for (long at = 1;; at++) {
        jsp_error error = {0};
        double table[8];
        jsp_memory_fail_at(at);
        jsp_data *data = make_states(20, &error);
        jsp_status status = error.code;
        if (data) {
            jsp_model_setup setup = {jsp_model_find("bdeu"), data, {2.0}, 0, NULL};
            status = setup.model->tabulate(&setup, 3, 3, candidates, 3, table, &error);
        }
        jsp_memory_fail_at(0);
        jsp_data_destroy(data);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY);
        failures++;
    }
    CHECK(failures >= 12);
    return 0;
}

/* lgamma(x + n) - lgamma(x) against products, small and large. */
static int test_rising(void) {
    const double xs[] = {1e-300, 1e-9, 0.3, 1, 11.9, 12, 345.6, 1e9};
    for (size_t k = 0; k < sizeof xs / sizeof *xs; k++) {
        double expected = 0;
        for (int n = 0; n < 60; n++) {
            CHECK_NEAR(jsp_special_log_rising(xs[k], n), expected,
                       1e-13 * (1 + fabs(expected)));
            expected += log(xs[k] + n);
        }
    }
    return 0;
}

static int test_faults(void) {
    table t;
    CHECK(make_table(&t, 12, 6, 16, 1) == JSP_OK);
    jsp_model_setup setup = setup_of("bge", t.data, 0);
    long live = jsp_memory_live();
    int failures = 0, list[12], n[6], candidates[3] = {1, 2, 4};
    double values[8];
    for (long at = 1;; at++) {
        jsp_data *data = NULL;
        jsp_error error = {0};
        jsp_memory_fail_at(at);
        jsp_status status = jsp_data_create(t.x, t.mask, 12, 6, 1, &data, &error);
        jsp_memory_fail_at(0);
        jsp_data_destroy(data);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && error.code == status && data == NULL);
        failures++;
    }
    CHECK(failures >= 4);
    jsp_memory_fail_at(1);
    CHECK(setup.model->tabulate(&setup, 0, 3, candidates, 3, values, NULL) ==
          JSP_ERROR_MEMORY);
    jsp_memory_fail_at(1);
    CHECK(jsp_candidates_select(&setup, &FAIR, 2, 1, list, n, NULL) ==
          JSP_ERROR_MEMORY);
    jsp_memory_fail_at(0);
    CHECK(jsp_memory_live() == live);
    jsp_data_destroy(t.data);
    return 0;
}

/* ---- moments of weights ---- */

/* Random probabilities of all subsets of K candidates; no set above max_parents, and
 * one in four is 0. */
static void make_probabilities(int K, int max_parents, double *probability) {
    jsp_rng rng;
    double total = 0;
    jsp_rng_init(&rng, 77, (uint32_t)K, 0, JSP_RNG_TEST);
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) {
        double u = jsp_rng_uniform(&rng);
        probability[S] = S && u < 0.25 ? 0 : u * u * u;
        if (jsp_bits_count64(S) > max_parents) probability[S] = 0;
        total += probability[S];
    }
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) probability[S] /= total;
}

/* The walk against sets that are solved one by one. */
static int check_mixture(const jsp_model_setup *setup, int node, int K, int max_parents,
                         double tolerance) {
    double probability[1 << 9], first[9], second[9], noise, one[9], two[9], v;
    double expected_first[9] = {0}, expected_second[9] = {0}, expected_noise = 0;
    int candidates[9];
    members(jsp_data_n_variables(setup->data), node, ((uint32_t)1 << K) - 1,
            candidates);
    make_probabilities(K, max_parents, probability);
    for (uint32_t S = 0; S < (uint32_t)1 << K; S++) {
        int parents[9], bit[9], p = 0;
        double mean[9], variance[9];
        for (int k = 0; k < K; k++) {
            if (S >> k & 1) bit[p] = k, parents[p++] = candidates[k];
        }
        CHECK(setup->model->moments(setup, node, p, parents, mean, variance, &v,
                                    NULL) == JSP_OK);
        for (int k = 0; k < p; k++) {
            expected_first[bit[k]] += probability[S] * mean[k];
            expected_second[bit[k]] +=
                probability[S] * (variance[k] + mean[k] * mean[k]);
        }
        expected_noise += probability[S] * v;
    }
    jsp_moments_mixture mixture = {K,     candidates, probability, 1,
                                   first, second,     &noise};
    CHECK(jsp_moments_mix(setup, node, &mixture, NULL) == JSP_OK);
    for (int k = 0; k < K; k++) {
        CHECK_NEAR(first[k], expected_first[k], tolerance * (0.1 + fabs(first[k])));
        CHECK_NEAR(second[k], expected_second[k], tolerance * (0.1 + second[k]));
    }
    CHECK_NEAR(noise, expected_noise, tolerance * expected_noise);
    mixture = (jsp_moments_mixture){K, candidates, probability, 3, one, two, &v};
    CHECK(jsp_moments_mix(setup, node, &mixture, NULL) == JSP_OK);
    CHECK(memcmp(one, first, (size_t)K * sizeof *one) == 0); /* the same bits */
    CHECK(memcmp(two, second, (size_t)K * sizeof *two) == 0);
    CHECK(v == noise);
    return 0;
}

static int test_mixed_moments(void) {
    static const char *const names[] = {"linear", "nig", "bge"};
    table t;
    CHECK(make_table(&t, 16, 10, 31, 1) == JSP_OK);
    for (int m = 0; m < 6; m++) {
        jsp_model_setup setup = setup_of(names[m / 2], t.data, m & 1);
        for (int K = 0; K < 10; K++) {
            CHECK(check_mixture(&setup, K / 2, K, K, 1e-11) == 0);
            CHECK(check_mixture(&setup, 8, K, 2, 1e-11) == 0);
        }
    }
    jsp_data_destroy(t.data);
    return 0;
}

static int test_mixed_moments_refusals(void) {
    table t;
    double probability[4] = {0.25, 0.25, 0.25, 0.25}, first[2], second[2], noise;
    int candidates[2] = {1, 2};
    jsp_moments_mixture mixture = {2,     candidates, probability, 1,
                                   first, second,     &noise};
    jsp_error error;
    CHECK(make_table(&t, 16, 3, 32, 0) == JSP_OK);
    jsp_model_setup setup = setup_of("linear", t.data, 0);
    for (int fail = 1; fail <= 2; fail++) {
        long live = jsp_memory_live();
        jsp_memory_fail_at(fail);
        CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_MEMORY);
        CHECK(jsp_memory_live() == live);
    }
    jsp_memory_fail_at(0);
    jsp_data_destroy(t.data);
    for (int r = 0; r < 16; r++) t.x[3 * r + 2] = t.x[3 * r + 1]; /* a copy */
    CHECK(jsp_data_create(t.x, NULL, 16, 3, 1, &t.data, NULL) == JSP_OK);
    setup = setup_of("linear", t.data, 0);
    setup.field[1] = 1e12; /* a prior too flat to tell the copies apart */
    CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_NUMERICAL);
    setup.model = &jsp_model_bdeu;
    CHECK(jsp_moments_mix(&setup, 0, &mixture, &error) == JSP_ERROR_VALUE);
    jsp_data_destroy(t.data);
    return 0;
}

/* ---- far from 0 ---- */

/* A of one node as R^T R, the node last, by Gram-Schmidt on rows: no products of means
 * are ever formed, and long double leaves more digits than the data have. */
typedef struct root {
    int n, p; /* rows that count, parents */
    long double R[MOST][MOST];
} root;

/* F [n, q] is used up. */
static void orthogonalize(int n, int q, long double F[][MOST], root *out) {
    for (int c = 0; c < q; c++) {
        for (int k = c; k < q; k++) {
            long double sum = 0;
            for (int r = 0; r < n; r++) sum += F[r][c] * F[r][k];
            out->R[c][k] = k == c ? sqrtl(sum) : sum / out->R[c][c];
            for (int r = 0; k > c && r < n; r++) {
                F[r][k] -= F[r][c] * (out->R[c][k] / out->R[c][c]);
            }
        }
    }
}

/* Rows: the data, divided by the noise scale (bge: about their mean, and the mean once,
 * weighted), then the roots of the ridge. Settings are the defaults. */
static void find_root(const table *t, int bge, double noise_scale, int node, int p,
                      const int *parents, root *out) {
    long double F[2 * MOST + 1][MOST] = {{0}};
    int n = 0, ridges = bge ? p + 1 : p;
    for (int r = 0; r < t->N; r++) {
        if (t->mask[r * t->D + node]) continue;
        for (int c = 0; c <= p; c++) {
            F[n][c] = t->x[r * t->D + (c < p ? parents[c] : node)];
            F[n][c] /= noise_scale;
        }
        n++;
    }
    out->n = n;
    out->p = p;
    for (int c = 0; bge && c <= p; c++) {
        long double mean = 0;
        for (int r = 0; r < n; r++) mean += F[r][c] / n;
        for (int r = 0; r < n; r++) F[r][c] -= mean;
        F[n][c] = sqrtl(n / (1.0L + n)) * mean;
    }
    for (int c = 0; c < ridges; c++) F[n + bge + c][c] = bge ? sqrtl(0.5L) : 1;
    orthogonalize(n + bge + ridges, p + 1, F, out);
}

/* log det A_SS */
static double root_log_det(const root *q) {
    long double value = 0;
    for (int c = 0; c < q->p; c++) value += 2 * logl(q->R[c][c]);
    return (double)value;
}

static double root_residual(const root *q) {
    return (double)(q->R[q->p][q->p] * q->R[q->p][q->p]);
}

static double root_evidence(const root *q, const char *model) {
    double n = q->n, p = q->p, log_det = root_log_det(q), residual = root_residual(q);
    if (!strcmp(model, "linear")) {
        return -0.5 * (n * log(TWO_PI * 0.1) + log_det + residual);
    }
    if (!strcmp(model, "nig")) {
        return -0.5 * (n * log(TWO_PI) + log_det) + lgamma(1 + n / 2) -
               (1 + n / 2) * log(1 + residual / 2);
    }
    return -n / 2 * log(TWO_PI / 2) + 0.5 * log(1 / (1 + n)) +
           lgamma((n + 2 + p + 1) / 2) - lgamma((2 + p + 1) / 2) +
           (2 + p + p + 1) / 2 * log(0.5) - 0.5 * log_det -
           (n + 2 + p + 1) / 2 * log(residual);
}

/* mean = A_SS^-1 b_S, diagonal of A_SS^-1 */
static void root_moments(const root *q, double *mean, double *diagonal) {
    long double inverse[MOST][MOST] = {{0}}, x[MOST];
    for (int i = q->p - 1; i >= 0; i--) { /* of R_SS */
        x[i] = q->R[i][q->p];
        inverse[i][i] = 1 / q->R[i][i];
        for (int k = i + 1; k < q->p; k++) {
            x[i] -= q->R[i][k] * x[k];
            for (int c = k; c < q->p; c++) {
                inverse[i][c] -= q->R[i][k] * inverse[k][c] / q->R[i][i];
            }
        }
        x[i] /= q->R[i][i];
        long double sum = 0;
        for (int c = i; c < q->p; c++) sum += inverse[i][c] * inverse[i][c];
        mean[i] = (double)x[i];
        diagonal[i] = (double)sum;
    }
}

/* |R (weight - mean)|^2 */
static double root_distance(const root *q, const double *weight, const double *mean) {
    long double total = 0;
    for (int i = 0; i < q->p; i++) {
        long double sum = 0;
        for (int k = i; k < q->p; k++) {
            sum += q->R[i][k] * ((long double)weight[k] - mean[k]);
        }
        total += sum * sum;
    }
    return (double)total;
}

/* Table, evidence, moments and draws of one set. */
static int check_far_set(const jsp_model_setup *setup, const table *t, int node, int p,
                         const int *parents, double from_table, double shift) {
    const char *name = setup->model->name;
    const int bge = !strcmp(name, "bge"), linear = !strcmp(name, "linear");
    double value, mean[MOST], variance[MOST], noise, expected[MOST], diagonal[MOST];
    /* A root in long double and weights in double: the means multiply what they lack. */
    double close = 1e-11 + 10 * shift * (double)LDBL_EPSILON;
    double nearby = 1e-12 + 3e-15 * shift;
    root q = {0};
    find_root(t, bge, linear ? sqrt(0.1) : 1, node, p, parents, &q);
    double evidence = root_evidence(&q, name);
    CHECK(setup->model->evidence(setup, node, p, parents, &value, NULL) == JSP_OK);
    CHECK_NEAR(value, evidence, close * (1 + fabs(evidence)));
    CHECK_NEAR(from_table, evidence, close * (1 + fabs(evidence)));
    CHECK(setup->model->moments(setup, node, p, parents, mean, variance, &noise,
                                NULL) == JSP_OK);
    root_moments(&q, expected, diagonal);
    double v = linear ? 0.1 : noise;
    if (!linear) {
        double shape = bge ? (q.n + 2 + p + 1) / 2.0 : 1 + q.n / 2.0;
        double rate = root_residual(&q) / 2 + !bge;
        CHECK_NEAR(noise, rate / (shape - 1), close * noise);
    }
    for (int k = 0; k < p; k++) {
        double w = linear ? diagonal[k] : v * diagonal[k];
        CHECK_NEAR(mean[k], expected[k], nearby * (1 + fabs(mean[k])));
        CHECK_NEAR(variance[k], w, nearby * w);
    }
    for (int s = 0; s < 3; s++) {
        double weight[MOST];
        jsp_rng rng;
        jsp_rng_init(&rng, 41, (uint32_t)node, (uint32_t)s, JSP_RNG_TEST);
        jsp_model_draw draw = {.weight = weight};
        CHECK(setup->model->draw(setup, node, p, parents, &rng, &draw, NULL) == JSP_OK);
        if (!linear) continue;
        double log_density = 0.5 * (root_log_det(&q) - p * log(TWO_PI) -
                                    root_distance(&q, weight, expected));
        CHECK_NEAR(draw.log_density, log_density, 50 * nearby);
    }
    return 0;
}

/* Columns up to 1e7 standard deviations from 0, one of them not moved. */
static int test_far_from_zero(void) {
    static const char *const names[] = {"linear", "nig", "bge"};
    enum { D = 5, K = D - 1 };
    for (double shift = 1; shift < 2e7; shift *= 10) {
        table t;
        CHECK(make_table(&t, 16, D, 51, 1) == JSP_OK);
        jsp_data_destroy(t.data);
        for (int c = 0; c < 16 * D; c++) {
            int j = c % D;
            if (j != 1) t.x[c] += shift * (1 + j / 3.0) * (j == 2 ? -1 : 1);
        }
        CHECK(jsp_data_create(t.x, t.mask, 16, D, 1, &t.data, NULL) == JSP_OK);
        for (int m = 0; m < 3; m++) {
            jsp_model_setup setup = setup_of(names[m], t.data, 0);
            for (int j = 0; j < D - 1; j++) {
                double values[1 << K];
                int all[K];
                members(D, j, (1 << K) - 1, all);
                CHECK(setup.model->tabulate(&setup, j, K, all, K, values, NULL) ==
                      JSP_OK);
                for (uint32_t S = 0; S < 1 << K; S++) {
                    int parents[K], p = members(D, j, S, parents);
                    CHECK(check_far_set(&setup, &t, j, p, parents, values[S], shift) ==
                          0);
                }
                CHECK(check_mixture(&setup, j, K, K, 1e-11 + 3e-15 * shift) == 0);
            }
        }
        jsp_data_destroy(t.data);
    }
    return 0;
}

static const check_test TESTS[] = {
    {"moments", test_moments},
    {"special", test_special},
    {"linear evidence", test_linear_evidence},
    {"bge evidence", test_bge_evidence},
    {"tabulate", test_tabulate},
    {"score equivalence", test_score_equivalence},
    {"draws", test_draws},
    {"shifted draws", test_shifted_draws},
    {"draws without rows", test_draws_without_rows},
    {"mixed moments", test_mixed_moments},
    {"mixed moments refusals", test_mixed_moments_refusals},
    {"far from zero", test_far_from_zero},
    {"settings", test_settings},
    {"collinear", test_collinear},
    {"candidates", test_candidates},
    {"discrete", test_discrete},
    {"discrete refusals", test_discrete_refusals},
    {"discrete faults", test_discrete_faults},
    {"rising", test_rising},
    {"faults", test_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
