/* test_score_evidences.c - evidences of the Gaussian models.
 *
 * Each is checked along another path: as the density of a whole column with its N x N
 * covariance matrix, or by determinants from Gauss elimination.
 */
#include <math.h>
#include <string.h>

#include "check.h"
#include "jsp_memory.h"
#include "score_cases.h"

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

static const check_test TESTS[] = {
    {"linear evidence", test_linear_evidence},
    {"bge evidence", test_bge_evidence},
    {"tabulate", test_tabulate},
    {"score equivalence", test_score_equivalence},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
