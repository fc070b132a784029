/* bench_scores.c - evidences per second of every model, on one thread, tables aside.
 *
 * Each evidence of a linear model needs one or two logarithms (of a pivot and of the
 * residual), which no arrangement of the elimination can spare: the limit is their number
 * times the cost of one, measured in the same run. Counting (bdeu) goes over the distinct
 * rows three times per set; its limit is the rate of additions into a table that fits the
 * cache. The best of three rounds counts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "jsp_memory.h"
#include "jsp_model.h"

enum { N = 200, STATE_ROWS = 5400, MOST = 24, ROUNDS = 3 };

static double read_seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void require(jsp_status status, const jsp_error *error) {
    if (status == JSP_OK) return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/* Seconds of one logarithm. */
static double time_log(void) {
    enum { LENGTH = 2048, REPEATS = 2000 };
    static double x[LENGTH];
    volatile double sink = 0;
    for (int k = 0; k < LENGTH; k++) x[k] = 0.5 + k * 0.37;
    double best = INFINITY;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = read_seconds(), sum = 0;
        for (int r = 0; r < REPEATS; r++) {
            for (int k = 0; k < LENGTH; k++) sum += log(x[k]);
            x[r % LENGTH] += 1e-9;
        }
        sink = sink + sum;
        best = fmin(best, (read_seconds() - begin) / LENGTH / REPEATS);
    }
    return best;
}

/* Seconds of one addition at a random place of a small table. */
static double time_count(void) {
    enum { LENGTH = 4096, REPEATS = 2000 };
    static uint32_t place[LENGTH];
    static double table[1024];
    jsp_rng rng;
    jsp_rng_init(&rng, 2, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < LENGTH; k++) place[k] = jsp_rng_next(&rng) % 1024;
    double best = INFINITY;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = read_seconds();
        for (int r = 0; r < REPEATS; r++) {
            for (int k = 0; k < LENGTH; k++) table[place[k]] += 1;
        }
        best = fmin(best, (read_seconds() - begin) / LENGTH / REPEATS);
    }
    return table[0] > 0 ? best : INFINITY;
}

static double count_sets(int K, int limit) {
    double sum = 0, binomial = 1;
    for (int p = 0; p <= limit && p <= K; p++) {
        sum += binomial;
        binomial *= (double)(K - p) / (p + 1);
    }
    return sum;
}

/* limit_seconds: of one evidence, at best. */
static void run(const char *name, const jsp_data *data, int K, int limit,
                double limit_seconds) {
    jsp_error error = {0};
    const jsp_model *model = jsp_model_find(name);
    jsp_model_setup setup = {.model = model, .data = data};
    int candidates[MOST];
    for (int f = 0; f < model->n_fields; f++) {
        setup.field[f] = model->fields[f].default_value;
    }
    for (int k = 0; k < K; k++) candidates[k] = k + 1;
    double *table = jsp_memory_alloc((size_t)1 << K, sizeof *table);
    if (!table) exit(1);
    double sets = count_sets(K, limit), best = INFINITY;
    int repeats = sets < 1e5 && !model->is_discrete ? (int)(1e5 / sets) : 1;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = read_seconds();
        for (int r = 0; r < repeats; r++) {
            require(model->tabulate(&setup, 0, K, candidates, limit, table, &error),
                    &error);
        }
        best = fmin(best, (read_seconds() - begin) / repeats);
    }
    printf("%-8s %3d %9d %10.0f %10.6f %11.2f %11.2f\n", name, K, limit, sets, best,
           sets / best / 1e6, sets * limit_seconds / best);
    jsp_memory_free(table);
}

int main(void) {
    static double x[N * MOST];
    static int32_t codes[STATE_ROWS * 11];
    int n_states[11];
    jsp_data *data, *states;
    jsp_error error = {0};
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N * MOST; k++) x[k] = jsp_rng_normal(&rng);
    for (int k = 0; k < STATE_ROWS * 11; k++) codes[k] = (int)(jsp_rng_next(&rng) % 3);
    for (int j = 0; j < 11; j++) n_states[j] = 3;
    require(jsp_data_create(x, NULL, N, MOST, 1, &data, &error), &error);
    require(jsp_data_create_discrete(codes, NULL, STATE_ROWS, 11, n_states, &states,
                                     &error),
            &error);
    double log_seconds = time_log(), count_seconds = time_count();
    printf("one logarithm %.2f ns, one addition into a table %.2f ns\n\n",
           1e9 * log_seconds, 1e9 * count_seconds);
    printf("model      K max_parents     sets    seconds  million/s  share of limit\n");
    run("linear", data, 12, 3, log_seconds);
    run("linear", data, 12, 12, log_seconds);
    run("linear", data, 19, 19, log_seconds);
    run("nig", data, 12, 3, 2 * log_seconds);
    run("nig", data, 19, 19, 2 * log_seconds);
    run("bge", data, 12, 3, 2 * log_seconds);
    run("bge", data, 19, 19, 2 * log_seconds);
    run("bdeu", states, 10, 10, 3 * STATE_ROWS * count_seconds);
    jsp_data_destroy(data);
    jsp_data_destroy(states);
    return 0;
}
