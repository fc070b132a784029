/* test_exact.c - the exact posterior against enumeration of all DAGs.
 *
 * Up to five nodes every graph is tried; beyond, uniform scores must count DAGs. Tables
 * are flat, peaked (thousands of nats), with excluded sets, and over candidate lists
 * that lack some variables. Draws are compared with the enumeration by chi-square, and
 * the same test must fail for another temperature. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsp_exact.h"
#include "jsp_exact_inner.h"
#include "jsp_memory.h"
#include "jsp_rng.h"

#define MOST 17

/* ---- problems ---- */

typedef struct problem {
    int D;
    int list[MOST][MOST];
    const int *candidates[MOST];
    int n[MOST];
    double *table[MOST];
    jsp_scores *scores;
} problem;

/* Scores uniform in [-spread, 0]; n_missing candidates left out per node, and sets
 * excluded with probability `excluded`; when that is negative, node 0 must have its
 * first candidate as a parent instead. */
static int make_problem(problem *p, int D, double spread, int n_missing,
                        double excluded, uint64_t seed) {
    jsp_error error;
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    p->D = D;
    for (int j = 0; j < D; j++) {
        int skip = n_missing, n = 0;
        for (int i = 0; i < D; i++) {
            if (i == j) continue;
            if (skip > 0 && jsp_rng_uniform(&rng) < 0.5) {
                skip--;
                continue;
            }
            p->list[j][n++] = i;
        }
        p->candidates[j] = p->list[j];
        p->n[j] = n;
        p->table[j] = malloc(sizeof(double) << n);
        for (size_t S = 0; S < (size_t)1 << n; S++) {
            p->table[j][S] = -spread * jsp_rng_uniform(&rng);
            if (S && jsp_rng_uniform(&rng) < excluded) p->table[j][S] = -INFINITY;
            if (excluded < 0 && j == 0 && n > 0 && !(S & 1)) p->table[j][S] = -INFINITY;
        }
    }
    CHECK(jsp_scores_create_from_tables(D, p->candidates, p->n,
                                        (const double *const *)p->table, &p->scores,
                                        &error) == JSP_OK);
    return 0;
}

static void free_problem(problem *p) {
    jsp_scores_destroy(p->scores);
    for (int j = 0; j < p->D; j++) free(p->table[j]);
}

static jsp_exact *solve(const problem *p, jsp_exact_goal goal, int n_threads) {
    jsp_exact *exact;
    jsp_error error;
    if (jsp_exact_create(p->scores, goal, n_threads, &exact, &error)) return NULL;
    while (jsp_exact_step(exact, 1) < 1) continue;
    return exact;
}

/* ---- enumeration ---- */

typedef struct enumeration {
    int n;
    uint32_t (*masks)[MOST]; /* [n] local masks */
    double *log_reward;      /* [n] */
    double log_Z;
} enumeration;

static int is_acyclic(int D, const uint32_t *parents) {
    uint32_t placed = 0, full = ((uint32_t)1 << D) - 1;
    while (placed != full) {
        uint32_t next = placed;
        for (int j = 0; j < D; j++) {
            if (!(parents[j] & ~placed)) next |= (uint32_t)1 << j;
        }
        if (next == placed) return 0;
        placed = next;
    }
    return 1;
}

static void enumerate(const problem *p, enumeration *all) {
    int D = p->D, bits = 0;
    for (int j = 0; j < D; j++) bits += p->n[j];
    all->n = 0;
    all->masks = malloc(sizeof *all->masks * 30000);
    all->log_reward = malloc(sizeof(double) * 30000);
    double max = -INFINITY, sum = 0;
    for (uint32_t code = 0; code < (uint32_t)1 << bits; code++) {
        uint32_t parents[MOST] = {0}, left = code;
        for (int j = 0; j < D; j++) {
            all->masks[all->n][j] = left & (((uint32_t)1 << p->n[j]) - 1);
            left >>= p->n[j];
            for (int k = 0; k < p->n[j]; k++) {
                parents[j] |= (all->masks[all->n][j] >> k & 1) << p->list[j][k];
            }
        }
        if (!is_acyclic(D, parents)) continue;
        double value = 0;
        for (int j = 0; j < D; j++) value += p->table[j][all->masks[all->n][j]];
        if (value == -INFINITY) continue;
        all->log_reward[all->n++] = value;
        if (value > max) max = value;
    }
    for (int g = 0; g < all->n; g++) sum += exp(all->log_reward[g] - max);
    all->log_Z = max + log(sum);
}

static void free_enumeration(enumeration *all) {
    free(all->masks);
    free(all->log_reward);
}

/* ---- tests ---- */

static int compare_with_enumeration(int D, double spread, int n_missing,
                                    double excluded, uint64_t seed) {
    problem p;
    enumeration all;
    if (make_problem(&p, D, spread, n_missing, excluded, seed)) return 1;
    enumerate(&p, &all);
    jsp_exact *exact = solve(&p, JSP_EXACT_POSTERIOR, 2);
    jsp_exact *partition = solve(&p, JSP_EXACT_PARTITION, 1);
    CHECK(exact && partition);
    CHECK_NEAR(jsp_exact_log_partition(exact), all.log_Z,
               1e-10 + 1e-15 * fabs(all.log_Z));
    CHECK(jsp_exact_log_partition(exact) == jsp_exact_log_partition(partition));
    double *edges = calloc((size_t)D * D, sizeof *edges);
    double *wanted = calloc((size_t)D * D, sizeof *wanted);
    jsp_exact_edges(exact, edges);
    for (int j = 0; j < D; j++) {
        double *set = calloc((size_t)1 << p.n[j], sizeof *set);
        const double *got = jsp_exact_parent_sets(exact, j);
        for (int g = 0; g < all.n; g++) {
            set[all.masks[g][j]] += exp(all.log_reward[g] - all.log_Z);
        }
        for (size_t S = 0; S < (size_t)1 << p.n[j]; S++) {
            CHECK_NEAR(got[S], set[S], 1e-10);
            for (int k = 0; k < p.n[j]; k++) {
                if (S >> k & 1) wanted[p.list[j][k] * D + j] += set[S];
            }
        }
        free(set);
    }
    for (int k = 0; k < D * D; k++) CHECK_NEAR(edges[k], wanted[k], 1e-10);
    jsp_exact_report report = jsp_exact_get_report(exact);
    CHECK(report.closure < 1e-12);
    CHECK(report.cut_partition >= 0 && report.cut_partition < 1e-15);
    CHECK(report.cut_posterior >= 0 && report.cut_posterior < 1e-15);
    free(edges);
    free(wanted);
    free_enumeration(&all);
    jsp_exact_destroy(exact);
    jsp_exact_destroy(partition);
    free_problem(&p);
    return 0;
}

static int test_enumeration(void) {
    const double spread[] = {0, 3, 50, 5000, 1e6};
    uint64_t seed = 1;
    for (int D = 1; D <= 4; D++) {
        for (int s = 0; s < 5; s++) {
            for (int missing = 0; missing < 3; missing++) {
                for (int repeat = 0; repeat < 5; repeat++) {
                    double excluded = repeat < 2 ? 0 : repeat < 4 ? 0.3 : -1;
                    if (compare_with_enumeration(D, spread[s], missing, excluded,
                                                 seed++)) {
                        printf("D %d, spread %g, missing %d, excluded %g\n", D,
                               spread[s], missing, excluded);
                        return 1;
                    }
                }
            }
        }
    }
    if (compare_with_enumeration(5, 5, 0, 0, 1)) return 1;
    if (compare_with_enumeration(5, 4000, 1, 0.2, 2)) return 1;
    return compare_with_enumeration(5, 60, 0, 0, 3);
}

static int test_counts(void) {
    const double count[] = {1,
                            1,
                            3,
                            25,
                            543,
                            29281,
                            3781503,
                            1138779265,
                            783702329343,
                            1213442454842881,
                            4175098976430598143.0,
                            31603459396418917607425.0,
                            521939651343829405020504063.0};
    for (int D = 1; D <= 12; D++) {
        problem p;
        if (make_problem(&p, D, 0, 0, 0, 1)) return 1;
        jsp_exact *exact = solve(&p, JSP_EXACT_POSTERIOR, 2);
        CHECK(exact);
        double Z = ldexp(exact->B[0].mantissa, exact->B[0].exponent);
        CHECK_NEAR(Z, count[D], D <= 9 ? 0 : 1e-12 * count[D]);
        double edges[MOST * MOST];
        jsp_exact_edges(exact, edges);
        for (int i = 0; i < D; i++) { /* all edges are alike */
            for (int j = 0; j < D; j++) {
                CHECK_NEAR(edges[i * D + j], i == j ? 0 : edges[1], 1e-12);
            }
        }
        jsp_exact_destroy(exact);
        free_problem(&p);
    }
    return 0;
}

static int test_threads(void) {
    enum { D = 14, N = 500 };
    for (int peaked = 0; peaked < 2; peaked++) {
        problem p;
        if (make_problem(&p, D, peaked ? 3000 : 8, 2, 0.1, 5)) return 1;
        jsp_exact *one = solve(&p, JSP_EXACT_POSTERIOR, 1);
        uint32_t *draws = malloc(sizeof *draws * N * D);
        uint32_t *others = malloc(sizeof *others * N * D);
        CHECK(one && jsp_exact_sample(one, N, 7, 0, 1, draws, NULL, NULL) == JSP_OK);
        for (int n_threads = 2; n_threads <= 3; n_threads++) {
            jsp_exact *many = solve(&p, JSP_EXACT_POSTERIOR, n_threads);
            CHECK(many);
            CHECK(jsp_exact_log_partition(one) == jsp_exact_log_partition(many));
            for (int j = 0; j < D; j++) {
                CHECK(memcmp(jsp_exact_parent_sets(one, j),
                             jsp_exact_parent_sets(many, j),
                             sizeof(double) << p.n[j]) == 0);
            }
            /* in two parts */
            CHECK(jsp_exact_sample(many, 200, 7, 0, n_threads, others, NULL, NULL) ==
                  JSP_OK);
            CHECK(jsp_exact_sample(many, N - 200, 7, 200, n_threads, others + 200 * D,
                                   NULL, NULL) == JSP_OK);
            CHECK(memcmp(draws, others, sizeof *draws * N * D) == 0);
            jsp_exact_destroy(many);
        }
        free(draws);
        free(others);
        jsp_exact_destroy(one);
        free_problem(&p);
    }
    return 0;
}

/* Chi-square of draws against exp(beta log R), classes with less than 5 expected draws
 * pooled; in units of standard deviations beyond its mean. */
static double chi_square(const problem *p, const enumeration *all, double beta, long n,
                         const uint32_t *draws) {
    int D = p->D, classes = 0;
    double *count = calloc((size_t)all->n, sizeof *count), sum = 0, value = 0;
    for (int g = 0; g < all->n; g++) {
        sum += exp(beta * (all->log_reward[g] - all->log_Z));
    }
    for (long s = 0; s < n; s++) {
        for (int g = 0; g < all->n; g++) {
            if (memcmp(all->masks[g], draws + s * D, sizeof(uint32_t) * (size_t)D)) {
                continue;
            }
            count[g]++;
            break;
        }
    }
    double rest = 0, rest_count = 0;
    for (int g = 0; g < all->n; g++) {
        double expected =
            (double)n * exp(beta * (all->log_reward[g] - all->log_Z)) / sum;
        if (expected < 5) {
            rest += expected;
            rest_count += count[g];
            continue;
        }
        value += (count[g] - expected) * (count[g] - expected) / expected;
        classes++;
    }
    if (rest > 0) {
        value += (rest_count - rest) * (rest_count - rest) / rest;
        classes++;
    }
    free(count);
    return (value - (classes - 1)) / sqrt(2.0 * (classes - 1));
}

static int test_draws(void) {
    enum { N = 50000 };
    for (int k = 0; k < 4; k++) {
        problem p;
        enumeration all;
        if (make_problem(&p, k < 3 ? 4 : 3, k == 1 ? 12 : 3, k == 2, k == 2 ? 0.2 : 0,
                         (uint64_t)(10 + k))) {
            return 1;
        }
        enumerate(&p, &all);
        jsp_exact *exact = solve(&p, JSP_EXACT_POSTERIOR, 2);
        uint32_t *draws = malloc(sizeof *draws * N * (size_t)p.D);
        CHECK(exact &&
              jsp_exact_sample(exact, N, 3, 0, 2, draws, NULL, NULL) == JSP_OK);
        double z = chi_square(&p, &all, 1, N, draws);
        double wrong = chi_square(&p, &all, 0.9, N, draws);
        if (!(z < 4.5 && wrong > 8))
            printf("problem %d: z %g, wrong %g\n", k, z, wrong);
        CHECK(z < 4.5); /* the tail of chi-square is heavier than normal: about 1e-4 */
        CHECK(wrong > 8);
        free(draws);
        free_enumeration(&all);
        jsp_exact_destroy(exact);
        free_problem(&p);
    }
    return 0;
}

/* Draws where scores spread over thousands of nats agree with edge probabilities. */
static int test_peaked_draws(void) {
    enum { D = 8, N = 20000 };
    for (uint64_t seed = 1; seed <= 3; seed++) {
        problem p;
        if (make_problem(&p, D, 300, 0, 0, seed)) return 1;
        jsp_exact *exact = solve(&p, JSP_EXACT_POSTERIOR, 1);
        uint32_t *draws = malloc(sizeof *draws * N * D);
        double edges[D * D], count[D * D] = {0};
        CHECK(exact &&
              jsp_exact_sample(exact, N, 1, 0, 1, draws, NULL, NULL) == JSP_OK);
        jsp_exact_edges(exact, edges);
        for (long s = 0; s < N; s++) {
            for (int j = 0; j < D; j++) {
                for (int k = 0; k < p.n[j]; k++) {
                    if (draws[s * D + j] >> k & 1) count[p.list[j][k] * D + j]++;
                }
            }
        }
        for (int k = 0; k < D * D; k++) {
            double sd = sqrt(edges[k] * (1 - edges[k]) / N);
            CHECK_NEAR(count[k] / N, edges[k], 4.5 * sd + 1e-3);
        }
        free(draws);
        jsp_exact_destroy(exact);
        free_problem(&p);
    }
    return 0;
}

static int stop_after(void *context, double share) {
    int *left = context;
    return share < 0 || share > 1 || (*left)-- == 0;
}

/* Draws that are stopped leave nothing behind, and can be had afterwards. */
static int test_stopped_draws(void) {
    enum { D = 6, N = 200 };
    problem p;
    if (make_problem(&p, D, 5, 0, 0, 6)) return 1;
    jsp_exact *exact = solve(&p, JSP_EXACT_POSTERIOR, 1);
    uint32_t draws[N * D], others[N * D];
    jsp_status status = JSP_INTERRUPTED;
    jsp_error error;
    long live = 0, n_stops = 0;
    for (int n = 0; status != JSP_OK; n += 1 + n / 2, n_stops++) {
        int left = n;
        jsp_pulse pulse = {.ask = stop_after, .context = &left};
        status = jsp_exact_sample(exact, N, 7, 0, 1, draws, &pulse, &error);
        CHECK(status == JSP_OK || status == JSP_INTERRUPTED);
        if (n <= D + 1) live = jsp_memory_live(); /* lists of parent sets remain */
        CHECK(jsp_memory_live() == live);
    }
    CHECK(n_stops > 8);
    CHECK(jsp_exact_sample(exact, N, 7, 0, 2, others, NULL, &error) == JSP_OK);
    CHECK(memcmp(draws, others, sizeof draws) == 0);
    jsp_exact_destroy(exact);
    free_problem(&p);
    return 0;
}

/* A call goes beyond its unit by one slab only, however many sets a layer has. */
static int test_units(void) {
    problem p;
    if (make_problem(&p, 17, 0, 0, 0, 1)) return 1;
    jsp_exact *exact;
    CHECK(jsp_exact_create(p.scores, JSP_EXACT_PARTITION, 2, &exact, NULL) == JSP_OK);
    double before = 0, most = 0;
    while (jsp_exact_step(exact, 1) < 1) {
        double now = jsp_exact_get_report(exact).n_terms_backward;
        most = fmax(most, now - before);
        before = now;
    }
    CHECK(before > 1e8);
    CHECK(most < JSP_EXACT_UNIT + JSP_EXACT_SLAB_TERMS);
    jsp_exact_destroy(exact);
    free_problem(&p);
    return 0;
}

static int test_faults(void) {
    problem p;
    if (make_problem(&p, 4, 5, 1, 0, 4)) return 1;
    long live = jsp_memory_live();
    int failures = 0;
    for (long at = 1;; at++) {
        jsp_exact *exact;
        jsp_error error = {0};
        uint32_t masks[40];
        jsp_memory_fail_at(at);
        jsp_status status =
            jsp_exact_create(p.scores, JSP_EXACT_POSTERIOR, 2, &exact, &error);
        if (status == JSP_OK) {
            while (jsp_exact_step(exact, 3) < 1) continue;
            status = jsp_exact_sample(exact, 10, 1, 0, 2, masks, NULL, &error);
        } else {
            CHECK(exact == NULL);
        }
        jsp_memory_fail_at(0);
        if (status != JSP_OK && exact) { /* works once there is memory */
            CHECK(jsp_exact_sample(exact, 10, 1, 0, 2, masks, NULL, &error) == JSP_OK);
        }
        jsp_exact_destroy(exact);
        CHECK(jsp_memory_live() == live);
        if (status == JSP_OK) break;
        CHECK(status == JSP_ERROR_MEMORY && error.message[0] != 0);
        failures++;
    }
    CHECK(failures >= 3 + 4 * 5);
    free_problem(&p);
    return 0;
}

/* Two nodes that want each other as parents, by so many nats; solved, or NULL. */
static jsp_exact *solve_pair(double gain, double other_gain, jsp_scores **scores) {
    const int first[] = {1}, second[] = {0}, n[] = {1, 1};
    const int *const candidates[] = {first, second};
    const double one[] = {0, gain}, two[] = {0, other_gain};
    const double *const tables[] = {one, two};
    jsp_exact *exact = NULL;
    if (jsp_scores_create_from_tables(2, candidates, n, tables, scores, NULL) ==
            JSP_OK &&
        jsp_exact_create(*scores, JSP_EXACT_POSTERIOR, 1, &exact, NULL) == JSP_OK) {
        while (jsp_exact_step(exact, 1) < 1) continue;
    }
    return exact;
}

/* One of two nodes is a root, whatever that costs. */
static int test_range(void) {
    static const double gain[] = {1e6, 1.1e7, 1.2e7, 1e9, 1e15};
    for (int k = 0; k < 5; k++) {
        jsp_scores *scores;
        jsp_exact *exact = solve_pair(gain[k], gain[k], &scores);
        CHECK(exact && jsp_exact_get_report(exact).out_of_range == (k > 1));
        if (k < 2) CHECK_NEAR(jsp_exact_log_partition(exact), gain[k] + log(2), 1e-6);
        jsp_exact_destroy(exact);
        jsp_scores_destroy(scores);
        exact = solve_pair(gain[k], 0, &scores); /* low sets that do not matter */
        CHECK(exact && !jsp_exact_get_report(exact).out_of_range);
        CHECK_NEAR(jsp_exact_log_partition(exact), gain[k], 1e-6);
        CHECK_NEAR(jsp_exact_parent_sets(exact, 0)[1], 1, 1e-12);
        jsp_exact_destroy(exact);
        jsp_scores_destroy(scores);
    }
    return 0;
}

int main(void) {
    const check_test tests[] = {
        {"enumeration", test_enumeration},
        {"counts", test_counts},
        {"threads", test_threads},
        {"draws", test_draws},
        {"peaked draws", test_peaked_draws},
        {"faults", test_faults},
        {"stopped draws", test_stopped_draws},
        {"units", test_units},
        {"range", test_range},
    };
    return CHECK_RUN(tests);
}
