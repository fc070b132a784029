/* jsp_units_chains.c - networks side by side, one per lane of the kernels' vectors.
 *
 * A move redraws the weights of one unit, w' = sqrt(1 - r^2) w + r z, which leaves the
 * prior as it is (r = 1 is a fresh unit, often accepted, as many units are idle), and
 * accepts with (L'/L)^t. Only one column of activations and one row of moments change, so
 * a move costs n (p + U + 3) products and one elimination of U + 2 columns. All lanes use
 * the same size r. Sizes that went far at the last t are taken more often at the next. */
#include "jsp_units_inner.h"

#define EVENLY 0.3 /* share of moves whose size is drawn evenly */

static const double radius[N_RADII] = {1, 0.4, 0.16, 0.064, 0.0256, 0.01024};

/* ---- random numbers -------------------------------------------------------------- */

/* n <= NORMALS / 2 numbers that are used up by the call; many are drawn at once. */
static const double *take_normals(jsp_units *s, jsp_rng *rng, int n) {
    if (n > s->n_normals) {
        jsp_kernels_active()->normals(NORMALS, rng->counter, rng->key, s->normal);
        rng->counter[0] += NORMALS / 4;
        rng->used = 4;
        s->n_normals = NORMALS;
    }
    s->n_normals -= n;
    return s->normal + s->n_normals;
}

/* Logarithms of uniforms, one per lane; at even distances, since each chain alone must be
 * right, not all of them together. */
static const jsp_real *take_log_uniforms(jsp_units *s, jsp_rng *rng) {
    if (!s->n_log_uniforms) {
        for (int k = 0; k < LOG_UNIFORMS; k += CHAINS) {
            const double start = ((double)jsp_rng_next(rng) + 0.5) * 0x1p-32;
            for (int l = 0; l < CHAINS; l++) {
                const double place = start + (double)l / CHAINS;
                s->log_uniform[k + l] = (jsp_real)(place < 1 ? place : place - 1);
            }
        }
        jsp_kernels_active()->log(LOG_UNIFORMS, s->log_uniform, s->log_uniform);
        s->n_log_uniforms = LOG_UNIFORMS;
    }
    s->n_log_uniforms -= CHAINS;
    return s->log_uniform + s->n_log_uniforms;
}

/* ---- L --------------------------------------------------------------------------- */

static void find_precision(const jsp_units *s, const double *log_noise,
                           double *precision) {
    jsp_real value[CHAINS];
    if (!learns_noise(s)) {
        const double noise = s->problem.noise_scale;
        for (int l = 0; l < CHAINS; l++) precision[l] = 1 / (noise * noise);
        return;
    }
    for (int l = 0; l < CHAINS; l++) value[l] = (jsp_real)(-2 * log_noise[l]);
    jsp_kernels_active()->exp(CHAINS, value, value);
    for (int l = 0; l < CHAINS; l++) precision[l] = (double)value[l];
}

/* log L of all chains with row u of moments from `row` (u = -1: none). */
static void find_log_l(jsp_units *s, int u, const double *row, const double *log_noise,
                       const double *precision, double *log_l) {
    double log_det[CHAINS], residual[CHAINS];
    const double n = s->problem.n, constant = -0.5 * n * JSP_SPECIAL_LOG_2PI;
    jsp_kernels_active()->layer_eliminate(s->U + 2, u, s->now.moment, row, precision,
                                          log_det, residual);
    for (int l = 0; l < CHAINS; l++) {
        log_l[l] = constant - n * log_noise[l] - 0.5 * (log_det[l] + residual[l]);
    }
}

/* Moments of unit u with w, into fresh_row; its activations go to `fresh`. */
static void find_column(jsp_units *s, int u, const jsp_real *w) {
    const jsp_units_problem *q = &s->problem;
    jsp_kernels_active()->layer_column(q->n, q->p, s->U, u, s->z, s->y, w,
                                       s->now.activation, s->fresh, s->fresh_row);
}

void jsp_units_chains_refresh(jsp_units *units) {
    jsp_units *s = units;
    const int S = s->U + 2;
    const size_t bytes = CHAINS * sizeof(double);
    for (int u = 0; u < s->U; u++) { /* columns behind u are not ready: not used */
        find_column(s, u, weight_of(s, u));
        memcpy(activation_of(s, u), s->fresh,
               (size_t)s->problem.n * CHAINS * sizeof(jsp_real));
        for (int k = 0; k < S; k++) {
            if (k > u && k < s->U) continue;
            memcpy(moment_of(s, u, k), s->fresh_row + k * CHAINS, bytes);
        }
    }
    find_precision(s, s->now.log_noise, s->now.precision);
    find_log_l(s, -1, NULL, s->now.log_noise, s->now.precision, s->now.log_l);
}

/* ---- moves ----------------------------------------------------------------------- */

void jsp_units_chains_adapt(jsp_units *units) {
    jsp_units *s = units;
    double value[N_RADII], sum = 0;
    int n_known = 0;
    for (int k = 0; k < N_RADII; k++) {
        value[k] = s->n_moves[k] > 0 ? s->distance[k] / s->n_moves[k] : 0;
        n_known += s->n_moves[k] > 0;
        sum += value[k];
        s->distance[k] = s->n_moves[k] = 0;
    }
    for (int k = 0; k < N_RADII; k++) {
        s->chance[k] = n_known > 1 && sum > 0
                           ? EVENLY / N_RADII + (1 - EVENLY) * value[k] / sum
                           : 1.0 / N_RADII;
    }
}

static int draw_size(const jsp_units *s, jsp_rng *rng) {
    double where = ((double)jsp_rng_next(rng) + 0.5) * 0x1p-32;
    int k = 0;
    while (k < N_RADII - 1 && where >= s->chance[k]) where -= s->chance[k++];
    return k;
}

/* Weights of unit u, moved, into fresh_w. */
static void propose(jsp_units *s, int u, double r, jsp_rng *rng) {
    const int n = (s->problem.p + 1) * CHAINS, most = NORMALS / 2;
    for (int k = 0; k < n; k += most) {
        const int part = n - k < most ? n - k : most;
        jsp_kernels_active()->layer_propose((size_t)part, sqrt(1 - r * r), r,
                                            weight_of(s, u) + k,
                                            take_normals(s, rng, part), s->fresh_w + k);
    }
}

/* Returns the number of accepted moves; chosen [CHAINS] is 1 for them, else 0. */
static int accept(jsp_units *s, double t, const double *log_l, jsp_rng *rng,
                  jsp_real *chosen) {
    const jsp_real *threshold = take_log_uniforms(s, rng);
    int n_chosen = 0;
    for (int l = 0; l < CHAINS; l++) {
        const double ratio = t * (log_l[l] - s->now.log_l[l]);
        const int is_chosen = ratio > (double)threshold[l];
        chosen[l] = (jsp_real)is_chosen;
        n_chosen += is_chosen;
        s->now.log_l[l] = is_chosen ? log_l[l] : s->now.log_l[l];
    }
    return n_chosen;
}

static void move_unit(jsp_units *s, int u, double t, jsp_rng *rng) {
    const jsp_kernels *kernels = jsp_kernels_active();
    const size_t width = (size_t)s->problem.p + 1, n = (size_t)s->problem.n;
    const int size = draw_size(s, rng);
    const double r = radius[size];
    double log_l[CHAINS];
    jsp_real chosen[CHAINS];
    propose(s, u, r, rng);
    find_column(s, u, s->fresh_w);
    find_log_l(s, u, s->fresh_row, s->now.log_noise, s->now.precision, log_l);
    const int n_chosen = accept(s, t, log_l, rng, chosen);
    s->n_tried += CHAINS;
    s->n_moves[size] += CHAINS;
    s->distance[size] += n_chosen * r;
    if (!n_chosen) return;
    kernels->layer_choose(width, chosen, s->fresh_w, weight_of(s, u));
    kernels->layer_choose(n, chosen, s->fresh, activation_of(s, u));
    kernels->layer_choose_row(s->U + 2, u, chosen, s->fresh_row, s->now.moment);
}

/* Of about the size of the posterior, whose log s has variance 1 / (2 n t). */
static void move_noise(jsp_units *s, double t, jsp_rng *rng) {
    jsp_units_networks *c = &s->now;
    const double wanted = 2.4 / sqrt(1 + 2 * s->problem.n * t);
    const double r = wanted < 1 ? wanted : 1, stay = sqrt(1 - r * r);
    double proposal[CHAINS], precision[CHAINS], log_l[CHAINS];
    jsp_real chosen[CHAINS];
    const double *normal = take_normals(s, rng, CHAINS);
    for (int l = 0; l < CHAINS; l++) {
        proposal[l] = (jsp_real)(NOISE_MEAN + stay * (c->log_noise[l] - NOISE_MEAN) +
                                 r * normal[l]);
    }
    find_precision(s, proposal, precision);
    find_log_l(s, -1, NULL, proposal, precision, log_l);
    accept(s, t, log_l, rng, chosen);
    for (int l = 0; l < CHAINS; l++) {
        c->log_noise[l] = chosen[l] > 0 ? proposal[l] : c->log_noise[l];
        c->precision[l] = chosen[l] > 0 ? precision[l] : c->precision[l];
    }
}

void jsp_units_chains_move(jsp_units *units, int u, double t, jsp_rng *rng) {
    move_unit(units, u, t, rng);
    if (learns_noise(units)) move_noise(units, t, rng);
}

/* ---- beginnings ------------------------------------------------------------------ */

void jsp_units_chains_draw_prior(jsp_units *units, jsp_rng *rng) {
    jsp_units *s = units;
    for (size_t k = 0; k + 1 < s->width; k++) {
        const double *normal = take_normals(s, rng, CHAINS);
        for (int l = 0; l < CHAINS; l++) {
            s->now.weight[k * CHAINS + l] = (jsp_real)normal[l];
        }
    }
    const double *normal = take_normals(s, rng, CHAINS);
    for (int l = 0; l < CHAINS; l++) {
        s->now.log_noise[l] = learns_noise(s)
                                  ? (double)(jsp_real)(NOISE_MEAN + normal[l])
                                  : log(s->problem.noise_scale);
    }
    jsp_units_chains_refresh(s);
}

void jsp_units_chains_reset(jsp_units *units) {
    jsp_units *s = units;
    const jsp_units_problem *q = &s->problem;
    const size_t n = (size_t)q->n;
    double sum = 0, squares = 0;
    s->n_normals = s->n_log_uniforms = 0;
    for (size_t r = 0; r < n; r++) {
        sum += q->y[r];
        squares += q->y[r] * q->y[r];
        s->y[r] = (jsp_real)q->y[r];
    }
    for (int i = 0; i < q->p; i++) {
        for (size_t r = 0; r < n; r++) s->z[(size_t)i * n + r] = (jsp_real)q->z[i][r];
    }
    for (int l = 0; l < CHAINS; l++) {
        moment_of(s, s->U, s->U)[l] = q->n;
        moment_of(s, s->U + 1, s->U)[l] = sum;
        moment_of(s, s->U + 1, s->U + 1)[l] = squares;
    }
    for (int k = 0; k < N_RADII; k++) {
        s->distance[k] = s->n_moves[k] = 0;
        s->chance[k] = k == 0; /* the prior: fresh units */
    }
}
