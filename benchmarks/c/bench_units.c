/* bench_units.c - networks of a node by sequential Monte Carlo: processor seconds per
 * parent set and per move, one thread, and the share of the peak.
 *
 * A move of one unit on n rows with p parents needs n (2 p + 2 U + 7) operations for the
 * new column and its moments in float, and about (U + 2)^3 / 3 in double for the output
 * weights; only the former are counted. They are compared with products of matrices in the
 * same run, which reach 87 to 97 % of the processor's peak.
 *
 * bench_units [effort [sets of each size]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "jsp_kernels.h"
#include "jsp_units.h"

enum { N = 100, MOST = 3, UNITS = 5 };

static double z[MOST][N], y[N];
static const double *columns[MOST] = {z[0], z[1], z[2]};

static double read_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Operations per second of products of 128 x 128 matrices, the best of many rounds. */
static double time_products(void) {
    enum { SIZE = 128, REPEATS = 50, ROUNDS = 20 };
    static jsp_real a[SIZE * SIZE], b[SIZE * SIZE], c[SIZE * SIZE];
    double best = INFINITY;
    for (int k = 0; k < SIZE * SIZE; k++) a[k] = b[k] = (jsp_real)(k % 7);
    for (int round = 0; round < ROUNDS; round++) {
        const double begin = read_seconds();
        for (int k = 0; k < REPEATS; k++) {
            jsp_kernels_active()->dense_forward(SIZE, SIZE, SIZE, a, b, NULL, NULL, 0,
                                                NULL, c);
        }
        best = fmin(best, (read_seconds() - begin) / REPEATS);
    }
    return 2.0 * SIZE * SIZE * SIZE / best;
}

static void make_data(int k) {
    jsp_rng rng;
    jsp_rng_init(&rng, 5, (uint32_t)k, 0, JSP_RNG_TEST);
    double w[UNITS][MOST + 2];
    for (int u = 0; u < UNITS; u++) {
        for (int i = 0; i < MOST + 2; i++) w[u][i] = jsp_rng_normal(&rng);
    }
    for (int r = 0; r < N; r++) {
        y[r] = 0.316 * jsp_rng_normal(&rng);
        for (int i = 0; i < MOST; i++) z[i][r] = jsp_rng_normal(&rng);
        for (int u = 0; u < UNITS; u++) {
            double t = w[u][MOST];
            for (int i = 0; i < 2; i++) t += w[u][i] * z[i][r]; /* of two parents */
            y[r] += w[u][MOST + 1] * (t > 0 ? t : 0);
        }
    }
}

int main(int argc, char **argv) {
    const double effort = argc > 1 ? atof(argv[1]) : 1;
    const int n_sets = argc > 2 ? atoi(argv[2]) : 20;
    const double noise[2] = {0.31622776601683794, NAN};
    const double number[MOST + 1] = {1, 19, 171, 969};
    const double peak = time_products();
    printf("products of matrices: %.1f GFLOP/s\n", 1e-9 * peak);
    for (int kind = 0; kind < 2; kind++) {
        double node = 0;
        for (int p = 0; p <= MOST; p++) {
            jsp_units *units;
            if (jsp_units_create(N, p, UNITS, effort, &units, NULL) != JSP_OK) return 1;
            double moves = 0, value, sum = 0, claimed = 0, squares = 0, seconds = 0;
            for (int k = 0; k < n_sets; k++) {
                double one[2];
                make_data(k);
                jsp_units_problem q = {N, p, UNITS, columns, y, noise[kind]};
                const double begin = read_seconds();
                for (int s = 0; s < 2; s++) {
                    jsp_units_run(units, &q, 0, (uint64_t)k, (uint32_t)s, &value);
                    one[s] = value;
                    claimed += pow(jsp_units_standard_error(units), 2);
                    moves += jsp_units_n_moves(units);
                }
                seconds += (read_seconds() - begin) / 2;
                sum += (one[0] + one[1]) / 2;
                squares += (one[0] - one[1]) * (one[0] - one[1]) / 2;
            }
            const double flops = N * (2.0 * p + 2 * UNITS + 7);
            const double rate = moves / 2 / seconds;
            printf("%s noise, %d parents: %6.2f ms per set, %5.0f ns per move of one "
                   "network, %4.1f %% of products; mean %.3f, error of one %.3f "
                   "(estimated %.3f)\n",
                   kind ? "learned" : "known  ", p, 1000 * seconds / n_sets, 1e9 / rate,
                   100 * flops * rate / peak, sum / n_sets, sqrt(squares / n_sets),
                   sqrt(claimed / n_sets / 2));
            node += number[p] * seconds / n_sets;
            jsp_units_destroy(units);
        }
        printf("all sets of up to 3 of 19, 20 nodes: %.0f s\n", 20 * node);
    }
    return 0;
}
