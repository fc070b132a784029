/* judge_units.c - evidence of a node that is a network, by another road than the package's.
 *
 *     y = b2 + sum_u w2_u relu(b1_u + w1_u . z) + e,   e ~ N(0, s^2), weights ~ N(0, 1)
 *     s known, or log s ~ N(-1, 1)
 *
 * All parameters, output weights and log s too, go from the prior to the posterior through
 * powers t of the likelihood: annealed importance sampling with resampling (Neal, Statistics
 * and Computing 11, 2001; Del Moral, Doucet and Jasra, JRSS B 68, 2006). Moves are
 * Hamiltonian trajectories. Nothing is integrated in closed form and no unit moves alone:
 * only random numbers are shared with the code under test. tests/reference/networks.py is
 * the same in NumPy, some 15 times slower.
 *
 *     judge_units chains moves steps kept runs < problem
 *
 * problem: n p U noise (0 = learned), then z [n, p], y [n]. Prints one estimate per run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jsp_rng.h"

#define LANES 16
#define MOST_U 8
#define MOST_P 64
#define MOST_INPUTS 8
#define LOG_2PI 1.83787706640934548356

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int ivec __attribute__((vector_size(4 * LANES)));

typedef struct problem {
    int n, p, U, P;
    double noise;  /* 0 = learned */
    float *z1, *y; /* [n, p + 1] with ones, [n] */
} problem;

/* A block of LANES chains. */
typedef struct block {
    vec theta[MOST_P], slope[MOST_P];
    double value[LANES], weight[LANES];
} block;

typedef struct run {
    const problem *q;
    int chains, moves, steps;
    block *now, *next;
    jsp_rng rng;
    double step; /* of trajectories */
} run;

static vec splat(float x) {
    return (vec){0} + x;
}

/* log P(y | theta) and its slope, LANES chains. U and inputs are constants when inlined. */
static inline __attribute__((always_inline)) void
find_slope(const problem *q, int U, int inputs, const vec *theta, vec *slope,
           double *value) {
    const vec *w1 = theta, *w2 = theta + U * inputs;
    const vec zero = splat(0);
    vec d1[MOST_U][MOST_INPUTS], d2[MOST_U], d0 = zero;
    double squares[LANES] = {0};
    for (int u = 0; u < U; u++) {
        d2[u] = zero;
        for (int i = 0; i < inputs; i++) d1[u][i] = zero;
    }
    for (int begin = 0; begin < q->n; begin += 32) { /* short sums of floats */
        const int end = begin + 32 < q->n ? begin + 32 : q->n;
        vec part = zero;
        for (int r = begin; r < end; r++) {
            const float *z = q->z1 + r * inputs;
            vec a[MOST_U], e = splat(q->y[r]) - w2[U];
            for (int u = 0; u < U; u++) {
                vec t = zero;
                for (int i = 0; i < inputs; i++) t += w1[u * inputs + i] * z[i];
                a[u] = (vec)((ivec)t & (t > zero));
                e -= a[u] * w2[u];
            }
            part += e * e;
            d0 += e;
            for (int u = 0; u < U; u++) {
                const vec g = (vec)((ivec)(e * w2[u]) & (a[u] > zero));
                d2[u] += e * a[u];
                for (int i = 0; i < inputs; i++) d1[u][i] += g * z[i];
            }
        }
        for (int l = 0; l < LANES; l++) squares[l] += (double)part[l];
    }
    vec precision;
    for (int l = 0; l < LANES; l++) {
        const double log_s = q->noise > 0 ? log(q->noise) : (double)theta[q->P - 1][l];
        const double one = exp(-2 * log_s);
        precision[l] = (float)one;
        value[l] = -q->n * (0.5 * LOG_2PI + log_s) - 0.5 * one * squares[l];
        if (q->noise <= 0) slope[q->P - 1][l] = (float)(one * squares[l] - q->n);
    }
    for (int u = 0; u < U; u++) {
        for (int i = 0; i < inputs; i++) {
            slope[u * inputs + i] = precision * d1[u][i];
        }
        slope[U * inputs + u] = precision * d2[u];
    }
    slope[U * inputs + U] = precision * d0;
}

static void find_slopes(const problem *q, const vec *theta, vec *slope, double *value) {
    if (q->U == 5 && q->p == 1) {
        find_slope(q, 5, 2, theta, slope, value);
    } else if (q->U == 5 && q->p == 2) {
        find_slope(q, 5, 3, theta, slope, value);
    } else if (q->U == 5 && q->p == 3) {
        find_slope(q, 5, 4, theta, slope, value);
    } else {
        find_slope(q, q->U, q->p + 1, theta, slope, value);
    }
}

static float prior_mean(const problem *q, int k) {
    return q->noise <= 0 && k == q->P - 1 ? -1 : 0;
}

static void draw(run *s, int n, vec *out) {
    double normal[MOST_P * LANES];
    jsp_rng_fill_normal(&s->rng, n * LANES, normal);
    for (int k = 0; k < n * LANES; k++) out[k / LANES][k % LANES] = (float)normal[k];
}

static void draw_prior(run *s) {
    for (int b = 0; b < s->chains / LANES; b++) {
        block *c = s->now + b;
        draw(s, s->q->P, c->theta);
        for (int k = 0; k < s->q->P; k++) c->theta[k] += prior_mean(s->q, k);
        find_slopes(s->q, c->theta, c->slope, c->value);
        for (int l = 0; l < LANES; l++) c->weight[l] = 0;
    }
}

/* minus (log prior + kinetic energy), without constants */
static void add_energy(const problem *q, const vec *theta, const vec *momentum,
                       double *out) {
    vec sum = splat(0);
    for (int k = 0; k < q->P; k++) {
        const vec d = theta[k] - prior_mean(q, k);
        sum += d * d + momentum[k] * momentum[k];
    }
    for (int l = 0; l < LANES; l++) out[l] += 0.5 * (double)sum[l];
}

/* One trajectory of a block; returns how many of its chains moved. */
static int move(run *s, block *c, double t) {
    const problem *q = s->q;
    vec theta[MOST_P], slope[MOST_P], momentum[MOST_P], step;
    double value[LANES], before[LANES], after[LANES];
    int n_moved = 0;
    draw(s, q->P, momentum);
    for (int l = 0; l < LANES; l++) {
        step[l] = (float)(s->step * (0.7 + 0.6 * jsp_rng_uniform(&s->rng)));
        before[l] = -t * c->value[l];
    }
    add_energy(q, c->theta, momentum, before);
    memcpy(theta, c->theta, sizeof theta);
    memcpy(slope, c->slope, sizeof slope);
    for (int m = 0; m < s->steps; m++) {
        for (int k = 0; k < q->P; k++) {
            momentum[k] +=
                0.5f * step * ((float)t * slope[k] - (theta[k] - prior_mean(q, k)));
            theta[k] += step * momentum[k];
        }
        find_slopes(q, theta, slope, value);
        for (int k = 0; k < q->P; k++) {
            momentum[k] +=
                0.5f * step * ((float)t * slope[k] - (theta[k] - prior_mean(q, k)));
        }
    }
    for (int l = 0; l < LANES; l++) after[l] = -t * value[l];
    add_energy(q, theta, momentum, after);
    for (int l = 0; l < LANES; l++) {
        if (!(log(jsp_rng_uniform(&s->rng)) < before[l] - after[l])) continue;
        n_moved++;
        c->value[l] = value[l];
        for (int k = 0; k < q->P; k++) {
            c->theta[k][l] = theta[k][l];
            c->slope[k][l] = slope[k][l];
        }
    }
    return n_moved;
}

/* Moves of all chains at t; steps of trajectories follow what is accepted. */
static void move_all(run *s, double t) {
    for (int m = 0; m < s->moves; m++) {
        double moved = 0;
        for (int b = 0; b < s->chains / LANES; b++) moved += move(s, s->now + b, t);
        s->step *= exp(0.3 * (moved / s->chains - 0.75));
    }
}

/* log of the sum of exp(factor (weight + step value)) */
static double log_sum(const run *s, double step, double factor) {
    double max = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int b = 0; b < s->chains / LANES; b++) {
            for (int l = 0; l < LANES; l++) {
                const double x =
                    factor * (s->now[b].weight[l] + step * s->now[b].value[l]);
                if (pass) {
                    sum += exp(x - max);
                } else if (x > max) {
                    max = x;
                }
            }
        }
    }
    return max + log(sum);
}

/* Share of the conditional effective sample size that a step of t keeps. */
static double share(const run *s, double step) {
    double one = 0, two = 0, all = 0, top = -INFINITY;
    for (int k = 0; k < s->chains; k++) {
        const double v = step * s->now[k / LANES].value[k % LANES];
        top = v > top ? v : top;
    }
    for (int k = 0; k < s->chains; k++) {
        const double w = exp(s->now[k / LANES].weight[k % LANES]);
        const double v = exp(step * s->now[k / LANES].value[k % LANES] - top);
        all += w;
        one += w * v;
        two += w * v * v;
    }
    return one * one / two / all;
}

static double choose_step(const run *s, double rest, double kept) {
    double low = 0, high = rest;
    if (share(s, rest) >= kept) return rest;
    while (high - low > 0.01 * high) {
        const double middle = low > 0 ? 0.5 * (low + high) : 0.1 * high;
        if (share(s, middle) >= kept) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Systematic, by weights whose sum is 1. */
static void resample(run *s) {
    const double start = jsp_rng_uniform(&s->rng);
    double reached = exp(s->now[0].weight[0]);
    int from = 0;
    for (int k = 0; k < s->chains; k++) {
        block *to = s->next + k / LANES;
        const int l = k % LANES;
        while (reached < (k + start) / s->chains && from + 1 < s->chains) {
            from++;
            reached += exp(s->now[from / LANES].weight[from % LANES]);
        }
        const block *c = s->now + from / LANES;
        to->value[l] = c->value[from % LANES];
        to->weight[l] = -log(s->chains);
        for (int i = 0; i < s->q->P; i++) {
            to->theta[i][l] = c->theta[i][from % LANES];
            to->slope[i][l] = c->slope[i][from % LANES];
        }
    }
    block *spare = s->now;
    s->now = s->next, s->next = spare;
}

static double go_up(run *s, double kept) {
    double t = 0, total = 0;
    draw_prior(s);
    for (int k = 0; k < s->chains; k++) {
        s->now[k / LANES].weight[k % LANES] = -log(s->chains);
    }
    s->step = 0.2;
    while (t < 1) {
        const double step = choose_step(s, 1 - t, kept), one = log_sum(s, step, 1);
        for (int k = 0; k < s->chains; k++) {
            block *c = s->now + k / LANES;
            c->weight[k % LANES] += step * c->value[k % LANES] - one;
        }
        total += one;
        t = step < 1 - t ? t + step : 1;
        if (t == 1) break;
        if (exp(-log_sum(s, 0, 2)) < 0.5 * s->chains) resample(s);
        move_all(s, t);
    }
    return total;
}

static double read_number(void) {
    double x;
    if (scanf("%lf", &x) == 1) return x;
    fprintf(stderr, "a number is missing\n");
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "see the file's beginning\n"), 1;
    problem q;
    run s = {.q = &q, .chains = atoi(argv[1]) / LANES * LANES};
    s.moves = atoi(argv[2]);
    s.steps = atoi(argv[3]);
    q.n = (int)read_number();
    q.p = (int)read_number();
    q.U = (int)read_number();
    q.noise = read_number();
    q.P = q.U * (q.p + 2) + 1 + (q.noise <= 0);
    if (q.P > MOST_P || q.U > MOST_U || q.p >= MOST_INPUTS) return 1;
    q.z1 = malloc((size_t)(q.n * (q.p + 1)) * sizeof(float));
    q.y = malloc((size_t)q.n * sizeof(float));
    s.now = aligned_alloc(64, (size_t)(s.chains / LANES) * sizeof(block));
    s.next = aligned_alloc(64, (size_t)(s.chains / LANES) * sizeof(block));
    if (!q.z1 || !q.y || !s.now || !s.next) return 1;
    for (int r = 0; r < q.n; r++) {
        for (int i = 0; i < q.p; i++) q.z1[r * (q.p + 1) + i] = (float)read_number();
        q.z1[r * (q.p + 1) + q.p] = 1;
    }
    for (int r = 0; r < q.n; r++) q.y[r] = (float)read_number();
    for (int k = 0; k < atoi(argv[5]); k++) {
        jsp_rng_init(&s.rng, 1, (uint32_t)k, 0, JSP_RNG_TEST);
        printf("%.6f\n", go_up(&s, atof(argv[4])));
    }
    free(q.z1), free(q.y), free(s.now), free(s.next);
    return 0;
}
