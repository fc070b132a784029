/* check.h - the whole test framework: a test is a function that returns 0, and CHECK
 * leaves it at the first failure. A program's main runs a list of tests. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);             \
            return 1;                                                                  \
        }                                                                              \
    } while (0)

/* Two numbers that should agree; prints both when they do not. NaN never agrees. */
#define CHECK_NEAR(a, b, tolerance)                                                    \
    do {                                                                               \
        double check_a = (a), check_b = (b), check_t = (tolerance);                    \
        double check_d = check_a > check_b ? check_a - check_b : check_b - check_a;    \
        if (!(check_a == check_b || check_d <= check_t)) {                             \
            printf("%s:%d: failed: %s = %.17g, %s = %.17g\n", __FILE__, __LINE__, #a,  \
                   check_a, #b, check_b);                                              \
            return 1;                                                                  \
        }                                                                              \
    } while (0)

typedef struct check_test {
    const char *name;
    int (*run)(void);
} check_test;

/* Runs the tests in order, stops at the first that fails; the exit status of main. */
static inline int check_run(const check_test *tests, int n_tests) {
    for (int t = 0; t < n_tests; t++) {
        if (tests[t].run()) {
            printf("FAILED %s\n", tests[t].name);
            return 1;
        }
    }
    printf("%d tests passed\n", n_tests);
    return 0;
}

/* The same for tests that free all they allocate: `live` counts blocks not yet freed. */
static inline int check_run_and_count(const check_test *tests, int n_tests,
                                      long (*live)(void)) {
    int failed = check_run(tests, n_tests);
    if (!failed && live() != 0) {
        printf("%ld blocks of memory were not freed\n", live());
        return 1;
    }
    return failed;
}

#define CHECK_RUN(tests) check_run(tests, (int)(sizeof(tests) / sizeof((tests)[0])))

#define CHECK_RUN_AND_COUNT(tests, live)                                               \
    check_run_and_count(tests, (int)(sizeof(tests) / sizeof((tests)[0])), live)

#endif
