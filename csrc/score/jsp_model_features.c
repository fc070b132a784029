/* jsp_model_features.c - a node as a linear function of its parents plus random features
 * of them, all weights integrated out.
 *
 *     x_j = c + beta . z + sum_k a_k phi_k(z) + e,   z = values of the parents
 *     e ~ N(0, v),  beta | v ~ N(0, v w^2 I),  a_k | v ~ N(0, v w^2 t^2 / M)
 *
 * phi_k are the M features of jsp_features.h. How far from linear a mechanism is cannot be
 * known beforehand, so the scale t of the features has four values with equal prior
 * probability, 0 (linear), 1, 4 and 16, and is integrated out too: the evidence is a mean of
 * four. v is InvGamma(a, b), or noise_scale^2 when that is given. With F the columns of z
 * and phi (centred on the rows that count when an intercept c is integrated out, which
 * leaves m = n - 1 rows), R = diag(1 / (w^2, .. w^2 t^2 / M ..)) and L = F'F + R,
 *
 *     residual = x'x - x'F L^-1 F'x,   d = -log det R,
 *     v learned   log evidence = -m/2 log(2 pi) - (d + log det L) / 2 + a log b
 *                                - a_m log(b + residual / 2) + lgamma(a_m) - lgamma(a)
 *     v known     log evidence = -m/2 log(2 pi v) - (d + log det L) / 2 - residual / (2 v)
 *
 * with a_m = a + m/2: the linear part alone is the model "nig", or "linear" with weights in
 * units of the noise. Gram matrices come from four rows at a time and are eliminated column by
 * column with x_j as the last row, whose pivot is the residual. An eigendecomposition would
 * serve all t at once, but costs as much as nine eliminations. */
#include <math.h>
#include <string.h>

#include "jsp_features.h"
#include "jsp_bits.h"
#include "jsp_memory.h"
#include "jsp_model.h"
#include "jsp_special.h"

#define PACK 4 /* rows added at once */

enum { N_FEATURES, NOISE_SCALE, FOURIER, WEIGHT_SCALE, SHAPE, RATE };

static const double SCALES[] = {0, 1, 4, 16};
#define N_SCALES ((int)(sizeof SCALES / sizeof SCALES[0]))

/* Work space for one parent set at a time. q = parents + features, at most Q. */
typedef struct bench {
    const jsp_model_setup *setup;
    int node, M, Q;
    int p, q;          /* of the present set; q = 0 features without parents */
    double n_rows, m;  /* that count; the same less one for an intercept */
    double noise;      /* v, or NaN when it is learned */
    double *direction; /* [M, most parents] */
    double *offset;    /* [M] */
    double *row;       /* [PACK, Q + 1] */
    double *mean;      /* [Q + 1] of the columns of F and x_j */
    double *gram;      /* [Q + 1, Q + 1] lower triangle: F and x_j */
    double *factor;    /* [Q + 1, Q + 1] its elimination for one t */
    double *column;    /* [Q + 1] */
} bench;

static jsp_features_kind kind_of(const jsp_model_setup *setup) {
    return setup->field[FOURIER] != 0 ? JSP_FEATURES_FOURIER : JSP_FEATURES_RELU;
}

void jsp_model_features_map(const jsp_model_setup *setup, int node, int n_parents,
                            const int *parents, double *direction, double *offset) {
    jsp_features_draw(kind_of(setup), setup->data, node, n_parents, parents,
                      (int)setup->field[N_FEATURES], direction, offset);
}

static jsp_status check(const jsp_model_setup *setup, jsp_error *error) {
    const double *f = setup->field;
    if (!(f[N_FEATURES] >= 1 && f[N_FEATURES] <= JSP_FEATURES_MOST)) {
        return jsp_status_set(error, JSP_ERROR_VALUE,
                              "n_features must be 1 to %d, got %g", JSP_FEATURES_MOST,
                              f[N_FEATURES]);
    }
    for (int k = NOISE_SCALE; k <= RATE; k++) {
        double value = f[k];
        if (k == FOURIER || (k == NOISE_SCALE && isnan(value))) continue;
        if (value > 0 && isfinite(value) && isfinite(1 / (value * value))) continue;
        return jsp_status_set(
            error, JSP_ERROR_VALUE,
            "%s of the features model must be a finite number above 1e-154, got "
            "%g",
            setup->model->fields[k].name, value);
    }
    return JSP_OK;
}

static void close_bench(bench *b) {
    jsp_memory_free(b->direction);
    jsp_memory_free(b->offset);
    jsp_memory_free(b->row);
    jsp_memory_free(b->mean);
    jsp_memory_free(b->gram);
    jsp_memory_free(b->factor);
    jsp_memory_free(b->column);
}

/* The caller closes it, also after a failure. */
static jsp_status open_bench(bench *b, const jsp_model_setup *setup, int node,
                             int most_parents, jsp_error *error) {
    *b = (bench){.setup = setup, .node = node, .M = (int)setup->field[N_FEATURES]};
    b->Q = b->M + most_parents;
    b->n_rows = jsp_data_node(setup->data, node).n_rows;
    b->m = setup->intercept && b->n_rows > 0 ? b->n_rows - 1 : b->n_rows;
    b->noise = setup->field[NOISE_SCALE] * setup->field[NOISE_SCALE];
    size_t M = (size_t)b->M, side = (size_t)b->Q + 1;
    b->direction = jsp_memory_alloc(M * (size_t)(most_parents + 1), sizeof(double));
    b->offset = jsp_memory_alloc(M, sizeof(double));
    b->row = jsp_memory_alloc(PACK * side, sizeof(double));
    b->mean = jsp_memory_alloc(side, sizeof(double));
    b->gram = jsp_memory_alloc(side * side, sizeof(double));
    b->factor = jsp_memory_alloc(side * side, sizeof(double));
    b->column = jsp_memory_alloc(side, sizeof(double));
    if (b->direction && b->offset && b->row && b->mean && b->gram && b->factor &&
        b->column) {
        return JSP_OK;
    }
    return jsp_status_no_memory(error, 2 * side * side * sizeof(double), "features");
}

/* ---- Gram matrix ----------------------------------------------------------------- */

/* row [q + 1] = F and x_j of data row r */
static void fill_row(const bench *b, const int *parents, int r, double *row) {
    const jsp_data *data = b->setup->data;
    for (int i = 0; i < b->p; i++) row[i] = jsp_data_values(data, parents[i])[r];
    if (b->q > b->p) {
        jsp_features_evaluate(kind_of(b->setup), b->p, b->M, b->direction, b->offset,
                              row, row + b->p);
    }
    row[b->q] = jsp_data_values(data, b->node)[r];
}

static void add_rows(int side, const double *rows, double *gram) {
    const double *r0 = rows, *r1 = rows + side, *r2 = r1 + side, *r3 = r2 + side;
    for (int i = 0; i < side; i++) {
        double a0 = r0[i], a1 = r1[i], a2 = r2[i], a3 = r3[i];
        double *restrict out = gram + (size_t)i * side;
        for (int k = 0; k <= i; k++) {
            out[k] += (a0 * r0[k] + a1 * r1[k]) + (a2 * r2[k] + a3 * r3[k]);
        }
    }
}

/* Means of the columns; the first of two passes, so that centring loses no digits. */
static void find_means(bench *b, const int *parents) {
    const uint8_t *mask = jsp_data_mask(b->setup->data, b->node);
    int n = jsp_data_n_rows(b->setup->data), side = b->q + 1;
    memset(b->mean, 0, (size_t)side * sizeof(double));
    if (!b->setup->intercept || b->n_rows == 0) return;
    for (int r = 0; r < n; r++) {
        if (mask && mask[r]) continue;
        fill_row(b, parents, r, b->row);
        for (int k = 0; k < side; k++) b->mean[k] += b->row[k];
    }
    for (int k = 0; k < side; k++) b->mean[k] /= b->n_rows;
}

static void find_gram(bench *b, const int *parents) {
    const uint8_t *mask = jsp_data_mask(b->setup->data, b->node);
    int n = jsp_data_n_rows(b->setup->data), side = b->q + 1, packed = 0;
    memset(b->gram, 0, (size_t)side * (size_t)side * sizeof(double));
    for (int r = 0; r < n; r++) {
        if (mask && mask[r]) continue;
        double *row = b->row + packed * side;
        fill_row(b, parents, r, row);
        for (int k = 0; k < side; k++) row[k] -= b->mean[k];
        packed = (packed + 1) % PACK;
        if (packed == 0) add_rows(side, b->row, b->gram);
    }
    if (packed) {
        memset(b->row + packed * side, 0, (size_t)((PACK - packed) * side) * 8);
        add_rows(side, b->row, b->gram);
    }
}

static void choose_set(bench *b, int n_parents, const int *parents) {
    b->p = n_parents;
    b->q = n_parents ? n_parents + b->M : 0;
    if (n_parents) {
        jsp_features_draw(kind_of(b->setup), b->setup->data, b->node, n_parents,
                          parents, b->M, b->direction, b->offset);
    }
    find_means(b, parents);
    find_gram(b, parents);
}

/* ---- evidence -------------------------------------------------------------------- */

/* Variance of weight k in units of v. */
static double prior_variance(const bench *b, int k, double t) {
    double w = b->setup->field[WEIGHT_SCALE];
    return k < b->p ? w * w : w * w * t * t / b->M;
}

/* Eliminates the first n weights from L and x_j: factor = rows of the Cholesky factor of L,
 * with F'x in place of x_j's row divided likewise. *residual and *log_det (of L times the
 * prior variances) out. 0 when L is not positive definite. */
static int eliminate(bench *b, int n, double t, double *log_det, double *residual) {
    int side = b->q + 1;
    double *last = b->factor + (size_t)n * side; /* row of x_j */
    for (int i = 0; i < n; i++) {
        memcpy(b->factor + (size_t)i * side, b->gram + (size_t)i * side,
               (size_t)(i + 1) * sizeof(double));
        b->factor[(size_t)i * side + i] += 1 / prior_variance(b, i, t);
    }
    memcpy(last, b->gram + (size_t)b->q * side, (size_t)n * sizeof(double));
    last[n] = b->gram[(size_t)b->q * side + b->q];
    *log_det = 0;
    for (int k = 0; k < n; k++) {
        double pivot = b->factor[(size_t)k * side + k];
        if (!(pivot > 0 && isfinite(pivot))) return 0;
        double root = sqrt(pivot), *restrict column = b->column;
        *log_det += log(pivot * prior_variance(b, k, t));
        b->factor[(size_t)k * side + k] = root;
        for (int i = k + 1; i <= n; i++) {
            column[i] = b->factor[(size_t)i * side + k] /= root;
        }
        for (int i = k + 1; i <= n; i++) {
            double *restrict out = b->factor + (size_t)i * side;
            double value = column[i];
            for (int j = k + 1; j <= i; j++) out[j] -= value * column[j];
        }
    }
    *residual = last[n] > 0 ? last[n] : 0; /* rounding may leave it just below 0 */
    return isfinite(*residual);
}

static double evidence_of(const bench *b, double log_det, double residual) {
    double shape = b->setup->field[SHAPE], rate = b->setup->field[RATE],
           half = b->m / 2;
    if (!isnan(b->noise)) {
        return -half * (JSP_SPECIAL_LOG_2PI + log(b->noise)) - 0.5 * log_det -
               residual / (2 * b->noise);
    }
    return -half * JSP_SPECIAL_LOG_2PI - 0.5 * log_det + shape * log(rate) -
           (shape + half) * log(rate + residual / 2) +
           jsp_special_log_rising(shape, half);
}

/* Number of weights at scale t. */
static int n_weights(const bench *b, int scale) {
    return SCALES[scale] > 0 ? b->q : b->p;
}

/* Scales that a set without parents has, or one with. */
static int n_scales(const bench *b) {
    return b->p ? N_SCALES : 1;
}

/* log evidence given each scale; JSP_ERROR_NUMERICAL names the node. */
static jsp_status weigh_scales(bench *b, double log_evidence[N_SCALES],
                               jsp_error *error) {
    for (int s = 0; s < n_scales(b); s++) {
        double log_det, residual;
        if (!eliminate(b, n_weights(b, s), SCALES[s], &log_det, &residual)) {
            return jsp_status_set(
                error, JSP_ERROR_NUMERICAL,
                "the evidence of variable %d cannot be computed: the features of its "
                "parents are too large; standardize the columns",
                b->node);
        }
        log_evidence[s] = evidence_of(b, log_det, residual);
    }
    return JSP_OK;
}

/* log of the mean of exp */
static double log_mean(int n, const double *x) {
    double max = x[0], sum = 0;
    for (int k = 1; k < n; k++) max = x[k] > max ? x[k] : max;
    for (int k = 0; k < n; k++) sum += exp(x[k] - max);
    return max + log(sum / n);
}

static jsp_status evidence_of_set(bench *b, int n_parents, const int *parents,
                                  double *log_evidence, jsp_error *error) {
    double by_scale[N_SCALES];
    choose_set(b, n_parents, parents);
    jsp_status status = weigh_scales(b, by_scale, error);
    if (status == JSP_OK) *log_evidence = log_mean(n_scales(b), by_scale);
    return status;
}

static jsp_status evidence(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error) {
    bench b;
    jsp_status status = open_bench(&b, setup, node, n_parents, error);
    if (status == JSP_OK) {
        status = evidence_of_set(&b, n_parents, parents, log_evidence, error);
    }
    close_bench(&b);
    return status;
}

static jsp_status tabulate_sets(const jsp_model_setup *setup, int node, int K,
                                const int *candidates, int n, const uint32_t *sets,
                                double *log_evidence, jsp_error *error) {
    bench b;
    int most = 0;
    for (int s = 0; s < n; s++) {
        const int size = jsp_bits_count64(sets[s]);
        most = size > most ? size : most;
    }
    jsp_status status = open_bench(&b, setup, node, most, error);
    for (int s = 0; s < n && status == JSP_OK; s++) {
        int parents[JSP_MAX_CANDIDATES], p = 0;
        for (int k = 0; k < K; k++) {
            if (sets[s] >> k & 1) parents[p++] = candidates[k];
        }
        status = evidence_of_set(&b, p, parents, &log_evidence[sets[s]], error);
    }
    close_bench(&b);
    return status;
}

/* ---- draws ----------------------------------------------------------------------- */

static int choose_scale(int n, const double *log_evidence, double uniform) {
    double total = log_mean(n, log_evidence) + log(n), sum = 0;
    for (int s = 0; s < n - 1; s++) {
        sum += exp(log_evidence[s] - total);
        if (uniform < sum) return s;
    }
    return n - 1;
}

/* weight = L^-1 F'x + sqrt(v) chol(L)^-T z; z [n] is overwritten. */
static void combine(const bench *b, int n, double v, double *z) {
    int side = b->q + 1;
    const double *last = b->factor + (size_t)n * side;
    for (int k = 0; k < n; k++) z[k] = last[k] + sqrt(v) * z[k];
    for (int i = n - 1; i >= 0; i--) {
        const double *row = b->factor + (size_t)i * side;
        z[i] /= row[i];
        for (int k = 0; k < i; k++) z[k] -= row[k] * z[i];
    }
}

/* Fills `out` with a draw given the scale. The gamma draw takes a varying number of words
 * of the stream, so it comes last; the variance is needed first, so normals are drawn into
 * b->column and used after it. */
static jsp_status draw_given_scale(bench *b, int scale, jsp_rng *rng,
                                   jsp_model_draw *out, jsp_error *error) {
    int n = n_weights(b, scale);
    double log_det, residual, squares = 0, *z = b->column, v = b->noise;
    if (!eliminate(b, n, SCALES[scale], &log_det, &residual)) {
        return jsp_status_set(error, JSP_ERROR_NUMERICAL,
                              "parameters of variable %d cannot be drawn", b->node);
    }
    for (int k = 0; k < n; k++) {
        log_det -= log(prior_variance(b, k, SCALES[scale]));
        z[k] = jsp_rng_normal(rng);
        squares += z[k] * z[k];
    }
    double z_intercept = jsp_rng_normal(rng);
    out->log_density = 0;
    if (isnan(v)) {
        double shape = b->setup->field[SHAPE] + b->m / 2;
        double rate = b->setup->field[RATE] + residual / 2;
        v = rate / jsp_rng_gamma(rng, shape);
        out->log_density = shape * log(rate) - jsp_special_log_gamma(shape) -
                           (shape + 1) * log(v) - rate / v;
    }
    out->log_density += 0.5 * (log_det - n * (JSP_SPECIAL_LOG_2PI + log(v)) - squares);
    combine(b, n, v, z);
    out->noise_scale = sqrt(v);
    out->intercept =
        b->mean[b->q] + z_intercept * sqrt(v / (b->n_rows > 0 ? b->n_rows : 1));
    for (int k = 0; k < n; k++) out->intercept -= z[k] * b->mean[k];
    if (!b->setup->intercept || b->n_rows == 0) out->intercept = 0;
    memcpy(out->weight, z, (size_t)b->p * sizeof(double));
    memset(out->extra, 0, (size_t)b->M * sizeof(double));
    if (n > b->p) memcpy(out->extra, z + b->p, (size_t)b->M * sizeof(double));
    return JSP_OK;
}

/* A bench with its set chosen and the evidence given each scale. */
typedef struct prepared_set {
    bench b;
    double by_scale[N_SCALES];
} prepared_set;

static void release(void *prepared) {
    prepared_set *set = prepared;
    if (!set) return;
    close_bench(&set->b);
    jsp_memory_free(set);
}

static jsp_status prepare(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, void **prepared, jsp_error *error) {
    prepared_set *set = jsp_memory_alloc(1, sizeof *set);
    *prepared = NULL;
    if (!set) return jsp_status_no_memory(error, sizeof *set, "features");
    jsp_status status = open_bench(&set->b, setup, node, n_parents, error);
    if (status == JSP_OK) {
        choose_set(&set->b, n_parents, parents);
        status = weigh_scales(&set->b, set->by_scale, error);
    }
    if (status != JSP_OK) {
        close_bench(&set->b);
        jsp_memory_free(set);
        return status;
    }
    *prepared = set;
    return JSP_OK;
}

static jsp_status draw_prepared(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, void *prepared, jsp_rng *rng,
                                jsp_model_draw *out, jsp_error *error) {
    (void)setup, (void)node, (void)n_parents, (void)parents;
    prepared_set *set = prepared;
    const double *by_scale = set->by_scale;
    int n = n_scales(&set->b), scale = choose_scale(n, by_scale, jsp_rng_uniform(rng));
    jsp_status status = draw_given_scale(&set->b, scale, rng, out, error);
    out->log_density += by_scale[scale] - log_mean(n, by_scale) - log(n);
    return status;
}

static int n_features(const jsp_model_setup *setup) {
    return (int)setup->field[N_FEATURES];
}

const jsp_model jsp_model_features = {
    .name = "features",
    .needs_rows = 1,
    .n_fields = 6,
    .fields = {{"n_features", 50},
               {"noise_scale", NAN},
               {"fourier", 0},
               {"weight_scale", 1.0},
               {"a", 1.0},
               {"b", 1.0}},
    .check = check,
    .tabulate = jsp_model_tabulate_all,
    .tabulate_sets = tabulate_sets,
    .evidence = evidence,
    .draw = jsp_model_draw_alone,
    .prepare = prepare,
    .draw_prepared = draw_prepared,
    .release = release,
    .n_extra = n_features,
};
