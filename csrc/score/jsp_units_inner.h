/* jsp_units_inner.h - what the files jsp_units_... share; nobody else includes it.
 *
 *   jsp_units.c         memory, temperatures, resampling, evidence
 *   jsp_units_chains.c  networks side by side: L and moves
 *   jsp_units_draw.c    parameters of one network, in double */
#ifndef JSP_UNITS_INNER_H
#define JSP_UNITS_INNER_H

#include <math.h>
#include <string.h>

#include "jsp_kernels.h"
#include "jsp_special.h"
#include "jsp_units.h"

#define CHAINS JSP_KERNELS_NETWORKS
#define THIN 4       /* steps between states that are kept */
#define N_RADII 6    /* sizes of moves */
#define NORMALS 1024 /* drawn at once */
#define LOG_UNIFORMS 1024
#define SEARCHED 1024 /* states, about, that decide on a step of t */
#define NOISE_MEAN (-1.0)

/* All chains, one per lane. S = U + 2 columns of moments: units, ones, y. */
typedef struct jsp_units_networks {
    jsp_real *weight;     /* [U, p + 1, CHAINS], bias last */
    jsp_real *activation; /* [U, rows, CHAINS] */
    double *moment; /* [S, S, CHAINS] sums of products of columns, lower triangle */
    double log_noise[CHAINS], precision[CHAINS]; /* log s and 1 / s^2 */
    double log_l[CHAINS];                        /* log L */
} jsp_units_networks;

struct jsp_units {
    jsp_units_problem problem;
    int most_rows, most_parents, U;
    int least, most, length; /* steps of a chain at one t: limits, done so far */
    double tolerance;        /* of the variance of one step of t */
    size_t width;            /* of a state: U (p + 1) + 1 */
    double log_evidence, variance, n_tried;
    jsp_units_networks now;
    jsp_real *z, *y;   /* [p, rows] and [rows], the problem's */
    jsp_real *fresh;   /* [rows, CHAINS] activations proposed for one unit */
    double *fresh_row; /* [S, CHAINS] its row of moments */
    jsp_real *fresh_w; /* [p + 1, CHAINS] */
    jsp_real *state;   /* [most / THIN, width, CHAINS] kept at this t */
    double *log_l;     /* [most, CHAINS] of all states */
    jsp_real *weight;  /* [most, CHAINS] scratch */
    jsp_real searched[2 * SEARCHED], searched_weight[2 * SEARCHED];
    double *column; /* [U, rows] activations of one network, for draws */
    double normal[NORMALS];
    jsp_real log_uniform[LOG_UNIFORMS];
    int n_normals, n_log_uniforms; /* that are left */
    double chance[N_RADII];        /* of each size of moves */
    double distance[N_RADII];      /* gone by moves of each size at this t */
    double n_moves[N_RADII];       /* their number */
};

static inline int learns_noise(const jsp_units *s) {
    return isnan(s->problem.noise_scale);
}

static inline jsp_real *weight_of(const jsp_units *s, int u) {
    return s->now.weight + (size_t)u * (size_t)(s->problem.p + 1) * CHAINS;
}

static inline jsp_real *activation_of(const jsp_units *s, int u) {
    return s->now.activation + (size_t)u * (size_t)s->problem.n * CHAINS;
}

static inline double *moment_of(const jsp_units *s, int i, int k) {
    const int row = i > k ? i : k, column = i > k ? k : i;
    return s->now.moment + (size_t)(row * (s->U + 2) + column) * CHAINS;
}

/* Number of states that are kept: those of steps 0, THIN, 2 THIN, ... */
static inline size_t n_kept(const jsp_units *s) {
    return (size_t)((s->length + THIN - 1) / THIN) * CHAINS;
}

static inline double log_noise_prior(double log_noise) {
    return -0.5 * (log_noise - NOISE_MEAN) * (log_noise - NOISE_MEAN);
}

/* Weights of kept state `from` into lane l. */
void jsp_units_restore(jsp_units *units, size_t from, int l);

/* Columns ones and y of the moments, and the data in the kernels' numbers. */
void jsp_units_chains_reset(jsp_units *units);

/* The chains get fresh draws of the prior. */
void jsp_units_chains_draw_prior(jsp_units *units, jsp_rng *rng);

/* Everything of the chains from their weights. */
void jsp_units_chains_refresh(jsp_units *units);

/* Sizes of moves are drawn in proportion to the distance they went since the last call, or
 * evenly when only one has been tried. */
void jsp_units_chains_adapt(jsp_units *units);

/* One move of unit u of every chain at temperature t, and of the noise if it is learned. */
void jsp_units_chains_move(jsp_units *units, int u, double t, jsp_rng *rng);

#endif
