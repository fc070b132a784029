/* jsp_head_normal.c - the Normal densities and their gradients with respect to loc and U.
 *
 * Samples are made from eps, so U (theta - loc) is eps itself and never computed. With
 * z = theta - loc = U^-1 eps:
 *
 *   d log P / d loc = U^T eps,   d log P / d U_ac = [a = c] / U_aa - eps_a z_c   (theta fixed)
 *   slope = U^T eps:             d slope_c / d U_ac = eps_a
 *   theta = loc + U^-1 eps:      d theta = d loc - U^-1 dU z
 *
 * Loops run over entries (a, c) of U outside and over the K samples inside. */
#include "jsp_head_normal.h"

#include <math.h>

#include "jsp_kernels.h"
#include "jsp_special.h"

/* What the functions below need of one node. */
typedef struct node_view {
    int k, is_diag;
    size_t first; /* entry of its first parent */
    const double *loc, *factor, *inverse;
    double *d_loc, *d_factor;
} node_view;

static node_view view_node(const jsp_head *head, const jsp_head_state *s, int n) {
    const int first = s->first[n], factor = s->factor_first[n];
    return (node_view){
        .k = s->first[n + 1] - first,
        .is_diag = head->spec.kind != JSP_HEAD_FULL,
        .first = (size_t)first,
        .loc = s->loc + first,
        .factor = s->factor + factor,
        .inverse = s->inverse + factor,
        .d_loc = s->d_loc + first,
        .d_factor = s->d_factor + factor,
    };
}

/* Last column + 1 of row a of U that is stored. */
static int row_end(const node_view *v, int a) {
    return v->is_diag ? a + 1 : v->k;
}

static double dot(int K, const double *x, const double *y) {
    return jsp_kernels_active()->sum_products((size_t)K, NULL, x, y, 0);
}

void jsp_head_normal_sample(const jsp_head *head, const jsp_head_state *state,
                            int begin, int end, int K, const double *eps,
                            double *theta) {
    const jsp_kernels *kernels = jsp_kernels_active();
    for (int n = begin; n < end; n++) {
        const node_view v = view_node(head, state, n);
        const size_t first = v.first * (size_t)K;
        const double *inverse = v.inverse;
        if (v.is_diag) {
            kernels->scale_rows(v.k, (size_t)K, v.loc, inverse, eps + first,
                                theta + first);
            continue;
        }
        for (int a = 0; a < v.k; inverse += v.k - a, a++) {
            const size_t row = first + (size_t)(a * K);
            kernels->combine_rows(v.k - a, (size_t)K, v.loc[a], inverse, eps + row,
                                  theta + row);
        }
    }
}

void jsp_head_normal_log_prob(const jsp_head *head, const jsp_head_state *state,
                              int begin, int end, int K, const double *eps,
                              double *log_prob) {
    for (int n = begin; n < end; n++) {
        const node_view v = view_node(head, state, n);
        double *total = log_prob + (size_t)state->graph[n] * (size_t)K;
        const double *factor = v.factor;
        double constant = 0;
        for (int a = 0; a < v.k; factor += row_end(&v, a) - a, a++) {
            constant += log(*factor) - 0.5 * JSP_SPECIAL_LOG_2PI;
        }
        for (int l = 0; l < K; l++) total[l] += constant;
        jsp_kernels_active()->add_squares(v.k, (size_t)K, -0.5,
                                          eps + v.first * (size_t)K, total);
    }
}

void jsp_head_normal_slope(const jsp_head *head, const jsp_head_state *state, int begin,
                           int end, int K, const double *eps, double *slope) {
    const jsp_kernels *kernels = jsp_kernels_active();
    for (int n = begin; n < end; n++) {
        const node_view v = view_node(head, state, n);
        const size_t first = v.first * (size_t)K;
        const double *factor = v.factor;
        if (v.is_diag) {
            kernels->scale_rows(v.k, (size_t)K, NULL, factor, eps + first,
                                slope + first);
            continue;
        }
        for (int a = 0; a < v.k; factor += v.k - a, a++) {
            const size_t row = first + (size_t)(a * K);
            kernels->add_outer(v.k - a, (size_t)K, factor, eps + row, slope + row);
        }
    }
}

/* Rows of a node whose sums are taken at once. */
enum { ROWS = 64 };

/* diag: theta - loc is eps / U, so that sums with eps are enough. d has the sum `total`. */
static void pull_log_prob(const node_view *v, int K, const double *eps, const double *d,
                          double total) {
    double sums[ROWS][2];
    for (int a = 0; a < v->k; a += ROWS) {
        const int n = v->k - a < ROWS ? v->k - a : ROWS;
        jsp_kernels_active()->sum_rows(n, (size_t)K, d,
                                       eps + (v->first + (size_t)a) * (size_t)K,
                                       sums[0]);
        for (int r = 0; r < n; r++) {
            v->d_factor[a + r] += (total - sums[r][1]) * v->inverse[a + r];
            v->d_loc[a + r] += v->factor[a + r] * sums[r][0];
        }
    }
}

static void pull_slope(const node_view *v, int K, const double *eps,
                       const double *d_theta, const double *d_slope) {
    double sums[ROWS][3];
    for (int a = 0; a < v->k; a += ROWS) {
        const int n = v->k - a < ROWS ? v->k - a : ROWS;
        const size_t row = (size_t)(a * K);
        jsp_kernels_active()->sum_rows_against(n, (size_t)K,
                                               eps + v->first * (size_t)K + row,
                                               d_slope + row, d_theta + row, sums[0]);
        for (int r = 0; r < n; r++) {
            const double inverse = v->inverse[a + r];
            v->d_loc[a + r] += sums[r][1];
            v->d_factor[a + r] += sums[r][0] - inverse * inverse * sums[r][2];
        }
    }
}

void jsp_head_normal_log_prob_backward(const jsp_head *head, jsp_head_state *state,
                                       int begin, int end, int K, const double *eps,
                                       const double *theta, const double *d_log_prob) {
    for (int n = begin; n < end; n++) {
        const node_view v = view_node(head, state, n);
        const double *d = d_log_prob + (size_t)state->graph[n] * (size_t)K;
        const double *factor = v.factor;
        double *d_factor = v.d_factor, total = 0;
        for (int l = 0; l < K; l++) total += d[l];
        if (v.is_diag) {
            pull_log_prob(&v, K, eps, d, total);
            continue;
        }
        for (int a = 0; a < v.k; a++) {
            const double *e = eps + (v.first + (size_t)a) * (size_t)K;
            const double d_e = dot(K, d, e);
            *d_factor += total / *factor;
            for (int c = a; c < v.k; c++) {
                const double *t = theta + (v.first + (size_t)c) * (size_t)K;
                *d_factor++ -=
                    jsp_kernels_active()->sum_products((size_t)K, d, e, t, v.loc[c]);
                v.d_loc[c] += *factor++ * d_e;
            }
        }
    }
}

/* full: gradient of U through theta: - (V^T d_theta)_a z_c for V = U^-1; row a of V^T d_theta
 * is made in pieces, one for each row b <= a of V. */
static void pull_samples(const node_view *v, int K, const double *theta,
                         const double *d_theta) {
    const int k = v->k;
    for (int b = 0; b < k; b++) {
        const double *d = d_theta + (size_t)(b * K);
        for (int l = 0; l < K; l++) v->d_loc[b] += d[l];
    }
    for (int c = 0; c < k; c++) {
        const double *t = theta + (v->first + (size_t)c) * (size_t)K;
        for (int b = 0; b <= c; b++) {
            const double *d = d_theta + (size_t)(b * K);
            const double *row_of_b = v->inverse + b * k - b * (b - 1) / 2;
            const double sum =
                jsp_kernels_active()->sum_products((size_t)K, NULL, d, t, v->loc[c]);
            for (int a = b; a <= c; a++) {
                v->d_factor[a * k - a * (a - 1) / 2 + c - a] -= row_of_b[a - b] * sum;
            }
        }
    }
}

void jsp_head_normal_slope_backward(const jsp_head *head, jsp_head_state *state,
                                    int begin, int end, int K, const double *eps,
                                    const double *theta, const double *d_theta,
                                    const double *d_slope) {
    for (int n = begin; n < end; n++) {
        const node_view v = view_node(head, state, n);
        const size_t row = (v.first - (size_t)state->first[begin]) * (size_t)K;
        double *d_factor = v.d_factor;
        if (v.is_diag) {
            pull_slope(&v, K, eps, d_theta + row, d_slope + row);
            continue;
        }
        for (int a = 0; a < v.k; a++) {
            const double *e = eps + (v.first + (size_t)a) * (size_t)K;
            for (int c = a; c < v.k; c++) {
                *d_factor++ += dot(K, e, d_slope + row + (size_t)(c * K));
            }
        }
        pull_samples(&v, K, theta, d_theta + row);
    }
}
