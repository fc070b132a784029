/* bench_kernels.c - how fast the kernels are, and how exact.
 *
 * Products of matrices are given in GFLOP/s and as a share of the peak, which is
 * measured in the same run by a loop of independent multiply-adds in registers: on a
 * shared machine absolute figures move, shares hardly do. exp, log and softplus are
 * compared with the C library's float functions, one call per number. Times are the
 * best of several rounds.
 *
 * With the argument "exhaustive" the errors are taken over every float for which the
 * result is not trivial, in units of the last place, against double precision. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jsp_kernels.h"
#include "jsp_parallel.h"
#include "jsp_rng.h"

#define ROUNDS 15

static double read_seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- peak: chains of multiply-adds that never leave the registers ---- */

#define PEAK_CHAINS 12
#define PEAK_STEPS 20000

#if defined(__x86_64__) && defined(__GNUC__)
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TARGET_AVX512 __attribute__((target("avx512f")))
#else
#define TARGET_AVX2
#define TARGET_AVX512
#endif

/* Written per instruction set with the portable vector notation; `step` is how a
 * multiply-add is spelled there. The sum of the chains keeps them alive. */
#define DEFINE_PEAK(name, target, bytes, step)                                         \
    typedef float name##_vec __attribute__((vector_size(bytes)));                      \
    target static float name(void) {                                                   \
        name##_vec sum[PEAK_CHAINS], a = {0}, b = {0};                                 \
        for (int l = 0; l < bytes / 4; l++) a[l] = 0.999f, b[l] = 0.001f;              \
        _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) sum[c] =        \
            a * (float)c;                                                              \
        for (int k = 0; k < PEAK_STEPS; k++) {                                         \
            _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) step;       \
        }                                                                              \
        _Pragma("GCC unroll 16") for (int c = 1; c < PEAK_CHAINS; c++) sum[0] +=       \
            sum[c];                                                                    \
        return sum[0][0] + sum[0][1];                                                  \
    }

DEFINE_PEAK(run_peak_base, , 16, sum[c] = sum[c] * a + b)
#if defined(__x86_64__) && defined(__GNUC__)
DEFINE_PEAK(run_peak_avx2, TARGET_AVX2, 32,
            __asm__("vfmadd213ps %2, %1, %0"
                    : "+x"(sum[c])
                    : "x"(a), "x"(b)))
DEFINE_PEAK(run_peak_avx512, TARGET_AVX512, 64,
            __asm__("vfmadd213ps %2, %1, %0"
                    : "+v"(sum[c])
                    : "v"(a), "v"(b)))
#endif

static volatile float sink;

/* GFLOP/s of one core with the instruction set of the table called `name` */
static double measure_peak(const char *name) {
    float (*run)(void) = run_peak_base;
    int lanes = 4;
#if defined(__x86_64__) && defined(__GNUC__)
    if (strcmp(name, "avx2") == 0) run = run_peak_avx2, lanes = 8;
    if (strcmp(name, "avx512") == 0) run = run_peak_avx512, lanes = 16;
#else
    (void)name;
#endif
    double best = HUGE_VAL;
    for (int r = 0; r < 5 * ROUNDS; r++) {
        double start = read_seconds();
        sink = run();
        best = fmin(best, read_seconds() - start);
    }
    return 2e-9 * lanes * PEAK_CHAINS * PEAK_STEPS / best;
}

/* ---- products of matrices ---- */

#define MAX_B 320
#define MAX_N 128

typedef struct operands {
    int B, n_in, n_out;
    jsp_real x[MAX_B * MAX_N], W[MAX_N * MAX_N], b[MAX_N], y[MAX_B * MAX_N];
    jsp_real dW[MAX_N * MAX_N], db[MAX_N], dx[MAX_B * MAX_N];
} operands;

typedef void (*product_call)(const jsp_kernels *kernels, operands *o);

static void call_forward(const jsp_kernels *kernels, operands *o) {
    kernels->dense_forward(o->B, o->n_in, o->n_out, o->x, o->W, o->b, NULL, 1, NULL,
                           o->y);
}

static void call_input(const jsp_kernels *kernels, operands *o) {
    kernels->dense_backward_input(o->B, o->n_in, o->n_out, o->y, o->W, 0, o->dx);
}

static void call_weight(const jsp_kernels *kernels, operands *o) {
    kernels->dense_backward_weight(o->B, o->n_in, o->n_out, o->x, o->y, o->dW, o->db);
}

static double measure_product(const jsp_kernels *kernels, product_call call,
                              operands *o) {
    double best = HUGE_VAL, flops = 2.0 * o->B * o->n_in * o->n_out;
    int calls = (int)(4e6 / flops) + 1;
    for (int r = 0; r < ROUNDS; r++) {
        double start = read_seconds();
        for (int k = 0; k < calls; k++) call(kernels, o);
        best = fmin(best, (read_seconds() - start) / calls);
    }
    return 1e-9 * flops / best;
}

static void print_products(const jsp_kernels *kernels) {
    static const int shapes[][3] = {{1, 24, 32},    {1, 32, 32},    {4, 32, 32},
                                    {16, 24, 32},   {16, 32, 32},   {32, 24, 32},
                                    {32, 32, 32},   {64, 24, 32},   {64, 32, 32},
                                    {8, 128, 128},  {16, 128, 128}, {32, 128, 128},
                                    {64, 128, 128}, {320, 128, 128}};
    static operands o;
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int k = 0; k < MAX_B * MAX_N; k++) {
        o.x[k] = (jsp_real)jsp_rng_normal(&rng);
        o.W[k % (MAX_N * MAX_N)] = (jsp_real)(0.1 * jsp_rng_normal(&rng));
    }
    double peak = measure_peak(kernels->name);
    printf("  peak %.1f GFLOP/s\n", peak);
    printf("  %-18s %16s %16s %16s\n", "B, n_in -> n_out", "forward", "backward input",
           "backward weight");
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        o.B = shapes[s][0], o.n_in = shapes[s][1], o.n_out = shapes[s][2];
        static const product_call calls[] = {call_forward, call_input, call_weight};
        printf("  %4d, %4d -> %-4d", o.B, o.n_in, o.n_out);
        for (int c = 0; c < 3; c++) {
            memset(o.dW, 0, sizeof o.dW); /* sums of many calls must stay finite */
            memset(o.db, 0, sizeof o.db);
            double speed = measure_product(kernels, calls[c], &o);
            printf("   %7.1f (%3.0f %%)", speed, 100 * speed / peak);
        }
        printf("\n");
    }
}

/* ---- rows ---- */

/* ns per number of rows of 128: layer normalisation and softmax, forward and backward */
static void print_rows(const jsp_kernels *kernels) {
    enum { B = 64, N = 128, CALLS = 20 };
    static jsp_real x[B * N], y[B * N], dx[B * N], scale[N], offset[N], moments[2 * B];
    static jsp_real d_scale[N], d_offset[N];
    double best[4] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL};
    for (int k = 0; k < B * N; k++) x[k] = (jsp_real)((k * 367) % 1000) / 500;
    for (int k = 0; k < N; k++) scale[k] = 1;
    for (int r = 0; r < ROUNDS; r++) {
        double time[5];
        time[0] = read_seconds();
        for (int c = 0; c < CALLS; c++) {
            kernels->layernorm(B, N, x, scale, offset, y, moments);
        }
        time[1] = read_seconds();
        for (int c = 0; c < CALLS; c++) {
            kernels->layernorm_backward(B, N, x, scale, moments, y, dx, d_scale,
                                        d_offset);
        }
        time[2] = read_seconds();
        for (int c = 0; c < CALLS; c++) kernels->softmax_rows(B, N, 1, x, y);
        time[3] = read_seconds();
        for (int c = 0; c < CALLS; c++) {
            kernels->softmax_rows_backward(B, N, 1, y, x, dx);
        }
        time[4] = read_seconds();
        for (int k = 0; k < 4; k++) best[k] = fmin(best[k], time[k + 1] - time[k]);
    }
    sink = (float)(dx[5] + y[7]);
    const double per_number = 1e9 / B / N / CALLS;
    printf("  rows of 128, ns per number: layernorm %.2f, backward %.2f, softmax %.2f, "
           "backward %.2f\n",
           per_number * best[0], per_number * best[1], per_number * best[2],
           per_number * best[3]);
}

/* ---- functions of one number ---- */

typedef void (*map_kernel)(size_t n, const jsp_real *x, jsp_real *y);

static void map_expf(size_t n, const float *x, float *y) {
    for (size_t k = 0; k < n; k++) y[k] = expf(x[k]);
}

static void map_logf(size_t n, const float *x, float *y) {
    for (size_t k = 0; k < n; k++) y[k] = logf(x[k]);
}

static void map_softplusf(size_t n, const float *x, float *y) {
    for (size_t k = 0; k < n; k++)
        y[k] = (x[k] > 0 ? x[k] : 0) + log1pf(expf(-fabsf(x[k])));
}

static double exact_softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* ns per number, numbers between 0.01 and 20 */
static double measure_map(map_kernel map) {
    enum { N = 1024, CALLS = 100 };
    static float x[N], y[N];
    for (int k = 0; k < N; k++) x[k] = 0.01f + 20 * (float)((k * 367) % N) / N;
    double best = HUGE_VAL;
    for (int r = 0; r < ROUNDS; r++) {
        double start = read_seconds();
        for (int c = 0; c < CALLS; c++) map(N, x, y);
        best = fmin(best, read_seconds() - start);
    }
    sink = y[7];
    return 1e9 * best / N / CALLS;
}

static double measure_log_sum_exp(const jsp_kernels *kernels) {
    enum { N = 1024, CALLS = 100 };
    static float x[N];
    static uint8_t mask[N];
    for (int k = 0; k < N; k++)
        x[k] = (float)((k * 367) % N) / 100, mask[k] = k % 3 != 0;
    double best = HUGE_VAL;
    for (int r = 0; r < ROUNDS; r++) {
        double start = read_seconds();
        for (int c = 0; c < CALLS; c++) sink = (float)kernels->log_sum_exp(N, x, mask);
        best = fmin(best, read_seconds() - start);
    }
    return 1e9 * best / N / CALLS;
}

static void print_maps(const jsp_kernels *kernels) {
    printf("  ns per number: exp %.2f  log %.2f  softplus %.2f  log_sum_exp %.2f\n",
           measure_map(kernels->exp), measure_map(kernels->log),
           measure_map(kernels->softplus), measure_log_sum_exp(kernels));
}

/* ---- errors over all floats ---- */

#define MAX_TABLES 3
#define ERROR_TASKS 64

typedef struct error_scan {
    const jsp_kernels *tables[MAX_TABLES];
    int n_tables, function; /* 0 exp, 1 log, 2 softplus */
    double worst[ERROR_TASKS][MAX_TABLES];
    float where[ERROR_TASKS][MAX_TABLES];
} error_scan;

static double count_ulp(float y, double exact) {
    if ((double)y == exact) return 0;
    float size = fabsf((float)exact);
    if (isinf(size)) return isinf(y) ? 0 : HUGE_VAL;
    if (fabs(exact) < 1.000001 * 0x1p-126 && y == 0) return 0; /* the flush to 0 */
    float above = nextafterf(size, INFINITY);
    double unit = isinf(above) ? 0x1p104 : (double)above - (double)size;
    return fabs((double)y - exact) / unit;
}

static map_kernel pick_map(const jsp_kernels *kernels, int function) {
    return function == 0   ? kernels->exp
           : function == 1 ? kernels->log
                           : kernels->softplus;
}

/* 1/64 of all bit patterns. Skipped: results that are 0, inf, 1 or x whatever one
 * does. */
static void scan_errors(void *context, int task, int worker) {
    enum { CHUNK = 1024 };
    error_scan *scan = context;
    float x[CHUNK], y[CHUNK];
    double exact[CHUNK];
    uint64_t first = ((uint64_t)task << 32) / ERROR_TASKS;
    uint64_t last = ((uint64_t)(task + 1) << 32) / ERROR_TASKS;
    (void)worker;
    for (uint64_t bits = first; bits < last; bits += CHUNK) {
        for (int k = 0; k < CHUNK; k++) {
            uint32_t pattern = (uint32_t)(bits + (uint64_t)k);
            memcpy(&x[k], &pattern, sizeof x[k]);
        }
        float low = fminf(fabsf(x[0]), fabsf(x[CHUNK - 1]));
        float high = fmaxf(fabsf(x[0]), fabsf(x[CHUNK - 1]));
        if (scan->function == 1 ? !(x[0] >= 0x1p-126f)
                                : high < 0x1p-27f || !(low < 105)) {
            continue;
        }
        for (int k = 0; k < CHUNK; k++) {
            double v = (double)x[k];
            exact[k] = scan->function == 0   ? exp(v)
                       : scan->function == 1 ? log(v)
                                             : exact_softplus(v);
        }
        for (int t = 0; t < scan->n_tables; t++) {
            pick_map(scan->tables[t], scan->function)(CHUNK, x, y);
            for (int k = 0; k < CHUNK; k++) {
                double error = isnan(x[k]) ? 0 : count_ulp(y[k], exact[k]);
                if (!(error <= scan->worst[task][t])) {
                    scan->worst[task][t] = error;
                    scan->where[task][t] = x[k];
                }
            }
        }
    }
}

static void print_errors(void) {
    static const char *const names[] = {"exp", "log", "softplus"};
    printf("largest error over all floats, in units of the last place\n");
    for (int function = 0; function < 3; function++) {
        static error_scan scan;
        memset(&scan, 0, sizeof scan);
        scan.function = function;
        for (int k = 0; jsp_kernels_available(k); k++) {
            jsp_kernels_select(jsp_kernels_available(k));
            scan.tables[scan.n_tables++] = jsp_kernels_active();
        }
        jsp_parallel_for(jsp_parallel_max_threads(), ERROR_TASKS, scan_errors, &scan);
        for (int t = 0; t < scan.n_tables; t++) {
            int worst = 0;
            for (int k = 0; k < ERROR_TASKS; k++) {
                if (scan.worst[k][t] > scan.worst[worst][t]) worst = k;
            }
            printf("  %-9s %-7s %.3f at %a\n", names[function], scan.tables[t]->name,
                   scan.worst[worst][t], (double)scan.where[worst][t]);
        }
    }
}

/* ---- random numbers ---- */

static void print_random(void) {
    enum { N = 4096 };
    static double out[N];
    double best_fill = HUGE_VAL, best_single = HUGE_VAL;
    jsp_rng rng;
    jsp_rng_init(&rng, 1, 0, 0, JSP_RNG_TEST);
    for (int r = 0; r < 5 * ROUNDS; r++) {
        double start = read_seconds();
        jsp_rng_fill_uniform(&rng, N, out);
        double middle = read_seconds();
        for (int k = 0; k < N; k++) out[k] = jsp_rng_uniform(&rng);
        best_fill = fmin(best_fill, middle - start);
        best_single = fmin(best_single, read_seconds() - middle);
    }
    sink = (float)out[3];
    printf("Philox, ns per word: %.2f filling, %.2f one by one\n",
           1e9 * best_fill / N / 2, 1e9 * best_single / N / 2);
}

int main(int argc, char **argv) {
    for (int k = 0; jsp_kernels_available(k); k++) {
        jsp_kernels_select(jsp_kernels_available(k));
        printf("%s\n", jsp_kernels_active()->name);
        print_products(jsp_kernels_active());
        print_rows(jsp_kernels_active());
        print_maps(jsp_kernels_active());
    }
    printf("C library, ns per number: exp %.2f  log %.2f  softplus %.2f\n",
           measure_map(map_expf), measure_map(map_logf), measure_map(map_softplusf));
    print_random();
    if (argc > 1 && strcmp(argv[1], "exhaustive") == 0) print_errors();
    return 0;
}
