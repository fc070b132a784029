/* test_base.c - errors, memory, arenas, the parallel loop, sets of bits and random
 * numbers.
 *
 * Statistical tests have fixed seeds and an error rate of 1e-4: bounds are 3.9
 * standard errors (two-sided), or the two tails of chi-square. */
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "jsp_arena.h"
#include "jsp_bits.h"
#include "jsp_cpu.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"
#include "jsp_rng.h"
#include "jsp_status.h"

#define STANDARD_ERRORS 3.9

/* ---- errors ---- */

static int test_status(void) {
    jsp_error error = {0};
    CHECK(jsp_status_set(&error, JSP_ERROR_VALUE, "column %d", 7) == JSP_ERROR_VALUE);
    CHECK(error.code == JSP_ERROR_VALUE && strcmp(error.message, "column 7") == 0);
    CHECK(jsp_status_set(NULL, JSP_ERROR_NUMERICAL, "x") == JSP_ERROR_NUMERICAL);
    CHECK(jsp_status_no_memory(&error, 12, "tables") == JSP_ERROR_MEMORY);
    CHECK(strcmp(error.message, "could not allocate 12 bytes for tables") == 0);
    char lengthy[1000];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    jsp_status_set(&error, JSP_ERROR_VALUE, "%s", lengthy);
    CHECK(strlen(error.message) == sizeof error.message - 1);
    return 0;
}

/* ---- memory ---- */

static int test_memory(void) {
    long live = jsp_memory_live();
    unsigned char *p = jsp_memory_alloc(101, 3);
    CHECK(p && (uintptr_t)p % 64 == 0 && jsp_memory_live() == live + 1);
    for (int i = 0; i < 303; i++) CHECK(p[i] == 0);
    jsp_memory_free(p);
    void *nothing = jsp_memory_alloc(0, 8);
    CHECK(nothing);
    jsp_memory_free(nothing);
    jsp_memory_free(NULL);
    CHECK(jsp_memory_live() == live);
    CHECK(jsp_memory_alloc(SIZE_MAX / 2, 3) == NULL);
    CHECK(jsp_memory_alloc(SIZE_MAX, 1) == NULL);
    CHECK(jsp_memory_alloc(1, SIZE_MAX) == NULL);
    CHECK(jsp_memory_live() == live);
    return 0;
}

static int test_memory_pieces(void) {
    const size_t size[] = {0, 1, 63, 64, 65, 1000},
                 padded[] = {0, 64, 64, 64, 128, 1024};
    char *block = jsp_memory_alloc(64 * 21, 1), *cursor = block;
    CHECK(block);
    for (int k = 0; k < 6; k++) {
        CHECK(jsp_memory_pad(size[k]) == padded[k]);
        char *here = cursor;
        CHECK(jsp_memory_take(&cursor, size[k]) == here && cursor == here + padded[k]);
    }
    CHECK(cursor == block + 64 * 21);
    jsp_memory_free(block);
    return 0;
}

static int test_memory_fault(void) {
    for (long n = 1; n <= 4; n++) {
        jsp_memory_fail_at(n);
        for (long k = 1; k <= 5; k++) {
            void *p = jsp_memory_alloc(1, 1);
            CHECK((p == NULL) == (k == n));
            jsp_memory_free(p);
        }
    }
    jsp_memory_fail_at(2);
    jsp_memory_fail_at(0);
    for (int k = 0; k < 3; k++) {
        void *p = jsp_memory_alloc(1, 1);
        CHECK(p);
        jsp_memory_free(p);
    }
    return 0;
}

/* ---- arena ---- */

static int test_arena(void) {
    CHECK(jsp_arena_size(0, 8) == 0 && jsp_arena_size(1, 1) == 64);
    CHECK(jsp_arena_size(64, 1) == 64 && jsp_arena_size(65, 1) == 128);
    CHECK(jsp_arena_size(SIZE_MAX / 2, 4) == SIZE_MAX);
    jsp_arena arena;
    size_t capacity =
        jsp_arena_size(3, 4) + jsp_arena_size(17, 8) + jsp_arena_size(64, 1);
    CHECK(jsp_arena_create(&arena, capacity, NULL) == JSP_OK);
    char *first = NULL;
    for (int round = 0; round < 3; round++) {
        char *a = jsp_arena_take(&arena, 3, 4);
        char *b = jsp_arena_take(&arena, 17, 8);
        char *c = jsp_arena_take(&arena, 64, 1);
        CHECK(a && b && c && (uintptr_t)a % 64 == 0);
        CHECK(b - a == 64 && c - b == 192);
        memset(a, 1, 12);
        memset(b, 2, 136);
        memset(c, 3, 64);
        CHECK(jsp_arena_take(&arena, 1, 1) == NULL);
        CHECK(jsp_arena_take(&arena, SIZE_MAX / 2, 4) == NULL);
        CHECK(arena.used == capacity);
        if (round == 0) first = a;
        CHECK(a == first);
        jsp_arena_reset(&arena);
    }
    jsp_arena_destroy(&arena);
    jsp_arena_destroy(&arena);
    jsp_arena_destroy(NULL);
    return 0;
}

static int test_arena_fault(void) {
    long live = jsp_memory_live();
    jsp_error error = {0};
    for (long n = 1; n <= 2; n++) { /* creation allocates once: only n = 1 can fail */
        jsp_arena arena;
        jsp_memory_fail_at(n);
        jsp_status status = jsp_arena_create(&arena, 1000, &error);
        CHECK(status == (n == 1 ? JSP_ERROR_MEMORY : JSP_OK));
        if (status) {
            CHECK(error.code == JSP_ERROR_MEMORY && strstr(error.message, "1000"));
            CHECK(arena.base == NULL && jsp_arena_take(&arena, 1, 1) == NULL);
        }
        jsp_arena_destroy(&arena);
    }
    jsp_memory_fail_at(0);
    CHECK(jsp_memory_live() == live);
    return 0;
}

/* ---- parallel loop ---- */

#define MAX_TASKS 100

typedef struct visits {
    int n_threads;
    atomic_int count[MAX_TASKS];
    atomic_int bad_worker;
} visits;

static void visit(void *context, int task, int worker) {
    visits *seen = context;
    atomic_fetch_add(&seen->count[task], 1);
    if (worker < 0 || worker >= (seen->n_threads > 1 ? seen->n_threads : 1)) {
        atomic_store(&seen->bad_worker, 1);
    }
}

static int test_parallel(void) {
    static const int n_tasks[] = {0, 1, 2, 7, MAX_TASKS};
    for (int n_threads = -1; n_threads <= 8; n_threads++) {
        for (int k = 0; k < 5; k++) {
            visits seen = {.n_threads = n_threads};
            jsp_parallel_for(n_threads, n_tasks[k], visit, &seen);
            for (int t = 0; t < MAX_TASKS; t++) {
                CHECK(atomic_load(&seen.count[t]) == (t < n_tasks[k]));
            }
            CHECK(!atomic_load(&seen.bad_worker));
        }
    }
    CHECK(jsp_parallel_max_threads() >= 1);
#ifdef _OPENMP
    CHECK(jsp_parallel_has_openmp() == 1);
#else
    CHECK(jsp_parallel_has_openmp() == 0 && jsp_parallel_max_threads() == 1);
#endif
    return 0;
}

/* Many loops of one team, of different lengths: each task of each loop exactly once,
 * and a loop is over before the next begins. */
static void drive_loops(void *context, jsp_parallel_team *team) {
    static const int n_tasks[] = {3, 0, MAX_TASKS, 1, 8, 2};
    visits *seen = context;
    for (int loop = 0; loop < 600; loop++) {
        int n = n_tasks[loop % 6];
        for (int t = 0; t < MAX_TASKS; t++) atomic_store(&seen->count[t], 0);
        jsp_parallel_team_for(team, n, visit, seen);
        for (int t = 0; t < MAX_TASKS; t++) {
            if (atomic_load(&seen->count[t]) != (t < n))
                atomic_store(&seen->bad_worker, 1);
        }
    }
    atomic_store(&seen->count[0], 77);
}

static int test_parallel_team(void) {
    for (int n_threads = 0; n_threads <= 4; n_threads++) {
        visits seen = {.n_threads = n_threads};
        jsp_parallel_run(n_threads, drive_loops, &seen);
        CHECK(atomic_load(&seen.count[0]) == 77 && !atomic_load(&seen.bad_worker));
    }
    return 0;
}

static int test_cpu(void) {
    int avx2 = jsp_cpu_has_avx2(), avx512 = jsp_cpu_has_avx512();
    CHECK((avx2 == 0 || avx2 == 1) && (avx512 == 0 || avx512 == 1) && avx2 >= avx512);
    return 0;
}

/* ---- sets of bits, against an array of flags ---- */

static int test_bits(void) {
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int trial = 0; trial < 200; trial++) {
        jsp_bits a = jsp_bits_empty(), b = jsp_bits_empty();
        int in_a[JSP_MAX_VARIABLES] = {0}, in_b[JSP_MAX_VARIABLES] = {0};
        for (int k = 0; k < trial; k++) {
            int i = (int)(jsp_rng_next(&rng) % JSP_MAX_VARIABLES);
            int j = (int)(jsp_rng_next(&rng) % JSP_MAX_VARIABLES);
            jsp_bits_add(&a, i);
            in_a[i] = 1;
            b = jsp_bits_or(b, jsp_bits_single(j));
            in_b[j] = 1;
            if (k % 3 == 0) {
                jsp_bits_remove(&a, j);
                in_a[j] = 0;
            }
        }
        jsp_bits both = jsp_bits_and(a, b), less = jsp_bits_minus(a, b), rest = a;
        int n_a = 0;
        for (int i = 0; i < JSP_MAX_VARIABLES; i++) {
            CHECK(jsp_bits_has(a, i) == in_a[i] && jsp_bits_has(b, i) == in_b[i]);
            CHECK(jsp_bits_has(both, i) == (in_a[i] && in_b[i]));
            CHECK(jsp_bits_has(less, i) == (in_a[i] && !in_b[i]));
            CHECK(jsp_bits_has(jsp_bits_first(trial % 513), i) == (i < trial % 513));
            if (in_a[i]) {
                CHECK(jsp_bits_pop(&rest) == i);
                n_a++;
            }
        }
        CHECK(jsp_bits_pop(&rest) == -1 && !jsp_bits_any(rest));
        CHECK(jsp_bits_count(a) == n_a && jsp_bits_any(a) == (n_a > 0));
        CHECK(jsp_bits_equal(jsp_bits_or(both, less), a));
    }
    return 0;
}

/* ---- random numbers ---- */

/* Known answers from Random123 (kat_vectors). */
static int test_philox(void) {
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
         0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
         0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int k = 0; k < 3; k++) {
        uint32_t out[4];
        jsp_rng_block(known[k], known[k] + 4, out);
        for (int w = 0; w < 4; w++) CHECK(out[w] == known[k][6 + w]);
    }
    return 0;
}

static int test_streams(void) {
    uint64_t seed = 0x0123456789abcdefu;
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 5, 6, JSP_RNG_CHAIN);
    for (uint32_t block = 0; block < 3; block++) {
        uint32_t counter[4] = {block, 5, 6, JSP_RNG_CHAIN}, out[4];
        uint32_t key[2] = {0x89abcdefu, 0x01234567u};
        jsp_rng_block(counter, key, out);
        for (int w = 0; w < 4; w++) CHECK(jsp_rng_next(&rng) == out[w]);
    }
    jsp_rng other[4];
    jsp_rng_init(&rng, seed, 5, 6, JSP_RNG_CHAIN);
    jsp_rng_init(&other[0], seed + 1, 5, 6, JSP_RNG_CHAIN);
    jsp_rng_init(&other[1], seed, 6, 6, JSP_RNG_CHAIN);
    jsp_rng_init(&other[2], seed, 5, 7, JSP_RNG_CHAIN);
    jsp_rng_init(&other[3], seed, 5, 6, JSP_RNG_ACCEPT);
    uint32_t word = jsp_rng_next(&rng);
    for (int k = 0; k < 4; k++) CHECK(jsp_rng_next(&other[k]) != word);
    return 0;
}

/* The flat loop equals single calls, from every position of the stream. */
static int test_fill(void) {
    static const int sizes[] = {0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 64, 100};
    for (int k = 0; k < 13; k++) {
        for (int skipped = 0; skipped <= 5; skipped++) {
            jsp_rng one, all;
            double out[100];
            jsp_rng_init(&one, 9, 1, 2, JSP_RNG_TEST);
            one.counter[0] = 0xfffffff9u; /* the block number wraps the same way */
            for (int s = 0; s < skipped; s++) jsp_rng_next(&one);
            all = one;
            jsp_rng_fill_uniform(&all, sizes[k], out);
            for (int i = 0; i < sizes[k]; i++) CHECK(out[i] == jsp_rng_uniform(&one));
            for (int i = 0; i < 5; i++) CHECK(jsp_rng_next(&all) == jsp_rng_next(&one));
        }
    }
    return 0;
}

/* Uniforms are odd multiples of 2^-53: the extremes of the interval are never
 * reached. */
static int test_uniform_grid(void) {
    jsp_rng rng = {.words = {0, 0, 0xffffffffu, 0xffffffffu}, .used = 0};
    CHECK(jsp_rng_uniform(&rng) == 0x1p-53);
    CHECK(jsp_rng_uniform(&rng) == 1 - 0x1p-53);
    return 0;
}

#define N_DRAWS 200000

static int test_uniform_moments(void) {
    enum { BINS = 100 };
    static double u[N_DRAWS];
    double sum = 0, squares = 0, lag = 0, chi_square = 0;
    int count[BINS] = {0};
    jsp_rng rng;
    jsp_rng_init(&rng, 2, 0, 0, JSP_RNG_TEST);
    jsp_rng_fill_uniform(&rng, N_DRAWS, u);
    for (int k = 0; k < N_DRAWS; k++) {
        CHECK(u[k] > 0 && u[k] < 1);
        sum += u[k];
        squares += (u[k] - 0.5) * (u[k] - 0.5);
        if (k > 0) lag += (u[k] - 0.5) * (u[k - 1] - 0.5);
        count[(int)(u[k] * BINS)]++;
    }
    double n = N_DRAWS, expected = n / BINS;
    for (int b = 0; b < BINS; b++) {
        chi_square += (count[b] - expected) * (count[b] - expected) / expected;
    }
    CHECK_NEAR(sum / n, 0.5, STANDARD_ERRORS * sqrt(1.0 / 12 / n));
    CHECK_NEAR(squares / n, 1.0 / 12, STANDARD_ERRORS * sqrt(1.0 / 180 / n));
    CHECK_NEAR(lag / n, 0, STANDARD_ERRORS / 12 / sqrt(n));
    CHECK(chi_square > 53.4 && chi_square < 163.4); /* 99 degrees of freedom */
    return 0;
}

static int test_normal_moments(void) {
    double n = N_DRAWS, moment[5] = {0};
    int beyond = 0;
    jsp_rng rng;
    jsp_rng_init(&rng, 3, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < N_DRAWS; k++) {
        double x = jsp_rng_normal(&rng), power = 1;
        for (int m = 1; m <= 4; m++) moment[m] += (power *= x) / n;
        beyond += fabs(x) > 1.959963984540054;
    }
    CHECK_NEAR(moment[1], 0, STANDARD_ERRORS * sqrt(1 / n));
    CHECK_NEAR(moment[2], 1, STANDARD_ERRORS * sqrt(2 / n));
    CHECK_NEAR(moment[3], 0, STANDARD_ERRORS * sqrt(15 / n));
    CHECK_NEAR(moment[4], 3, STANDARD_ERRORS * sqrt(96 / n));
    CHECK_NEAR(beyond / n, 0.05, STANDARD_ERRORS * sqrt(0.05 * 0.95 / n));
    jsp_rng used, counted; /* four words per draw */
    jsp_rng_init(&used, 4, 0, 0, JSP_RNG_TEST);
    jsp_rng_init(&counted, 4, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < 12; k++) jsp_rng_next(&counted);
    for (int k = 0; k < 3; k++) jsp_rng_normal(&used);
    CHECK(jsp_rng_next(&used) == jsp_rng_next(&counted));
    return 0;
}

/* Mean a, variance a, third central moment 2a; E log X for the lower tail, by
 * digamma(a) with a recurrence and its asymptotic series. */
static double compute_digamma(double a) {
    double shift = 0;
    for (; a < 20; a += 1) shift -= 1 / a;
    double i = 1 / (a * a);
    return shift + log(a) - 0.5 / a - i * (1.0 / 12 - i * (1.0 / 120 - i / 252));
}

static double compute_trigamma(double a) {
    double shift = 0;
    for (; a < 20; a += 1) shift += 1 / (a * a);
    double i = 1 / a;
    return shift + i + i * i / 2 +
           i * i * i * (1.0 / 6 - i * i * (1.0 / 30 - i * i / 42));
}

static int test_gamma_moments(void) {
    static const double shapes[] = {0.3, 1, 2.5, 40};
    double n = N_DRAWS;
    for (int s = 0; s < 4; s++) {
        double a = shapes[s], mean = 0, variance = 0, logs = 0;
        jsp_rng rng;
        jsp_rng_init(&rng, 5, 0, (uint32_t)s, JSP_RNG_TEST);
        for (int k = 0; k < N_DRAWS; k++) {
            double x = jsp_rng_gamma(&rng, a);
            CHECK(x > 0);
            mean += x / n;
            variance += (x - a) * (x - a) / n;
            logs += log(x) / n;
        }
        CHECK_NEAR(mean, a, STANDARD_ERRORS * sqrt(a / n));
        /* fourth central moment 3a^2 + 6a, less the squared variance */
        CHECK_NEAR(variance, a, STANDARD_ERRORS * sqrt((2 * a * a + 6 * a) / n));
        CHECK_NEAR(logs, compute_digamma(a),
                   STANDARD_ERRORS * sqrt(compute_trigamma(a) / n));
    }
    return 0;
}

int main(void) {
    static const check_test tests[] = {
        {"status", test_status},
        {"memory", test_memory},
        {"pieces of memory", test_memory_pieces},
        {"memory fault", test_memory_fault},
        {"arena", test_arena},
        {"arena fault", test_arena_fault},
        {"parallel", test_parallel},
        {"parallel team", test_parallel_team},
        {"cpu", test_cpu},
        {"bits", test_bits},
        {"philox", test_philox},
        {"streams", test_streams},
        {"fill", test_fill},
        {"uniform grid", test_uniform_grid},
        {"uniform moments", test_uniform_moments},
        {"normal moments", test_normal_moments},
        {"gamma moments", test_gamma_moments},
    };
    return CHECK_RUN(tests);
}
