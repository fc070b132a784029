/* jsp_kernels.h - flat loops on raw arrays; the only place for SIMD code.
 *
 * One table of function pointers per instruction set. All of them are compiled from
 * jsp_kernels_template.inc; the widest one that the processor offers is chosen once,
 * or the one that the caller names. Matrices are row-major without gaps; no
 * alignment is assumed; outputs must not overlap inputs unless said. Every row of a
 * result is computed in the same order of operations whatever B is, so a row's bits
 * do not depend on the rows beside it. */
#ifndef JSP_KERNELS_H
#define JSP_KERNELS_H

#include "jsp_real.h"
#include "jspgfn.h"

/* Largest hidden layer of `units`. */
#define JSP_KERNELS_MAX_UNITS 32
/* Networks side by side in `layer_...`; a multiple of every vector's lanes. */
#define JSP_KERNELS_NETWORKS 16

typedef struct jsp_kernels_adam {
    jsp_real learning_rate;
    jsp_real beta1, beta2; /* decay of the first and second moment */
    jsp_real correction1;  /* 1 / (1 - beta1^t) */
    jsp_real correction2;  /* 1 / (1 - beta2^t) */
    jsp_real epsilon;
    jsp_real gradient_scale; /* multiplies the gradient first (clipping) */
    jsp_real average_decay;  /* decay of the running average of the parameters */
} jsp_kernels_adam;

typedef struct jsp_kernels {
    const char *name; /* "base", "avx2", "avx512" */

    /* y[k] = exp(x[k]); in place allowed. At most 2 ulp; exp(-inf) = 0, exp(inf) =
     * inf, NaN stays NaN; overflow gives inf, results below the smallest normal
     * number give 0. */
    void (*exp)(size_t n, const jsp_real *x, jsp_real *y);

    /* y[k] = log(x[k]); in place allowed. At most 2 ulp; log(0) = -inf, negative or NaN
     * gives NaN, log(inf) = inf. Subnormal input counts as 0. */
    void (*log)(size_t n, const jsp_real *x, jsp_real *y);

    /* y[k] = log(1 + exp(x[k])); in place allowed. At most 4 ulp;
     * results below the smallest normal number may be 0, NaN stays NaN. */
    void (*softplus)(size_t n, const jsp_real *x, jsp_real *y);

    /* log of the sum of exp(x[k]) over k with mask[k] != 0 (mask NULL = all). -inf
     * when nothing is selected or everything selected is -inf; inf if any is inf. */
    double (*log_sum_exp)(size_t n, const jsp_real *x, const uint8_t *mask);

    /* y = act(x W + b + offset) + skip,    act = relu if relu != 0, else the identity
     *   x [B, n_in]  W [n_in, n_out]  b [n_out] or NULL  offset [B, n_out] or NULL
     *   skip [B, n_out] or NULL  y [B, n_out] overwritten
     * Any n_in, n_out >= 1 works; n_out a multiple of 16 is fast. */
    void (*dense_forward)(int B, int n_in, int n_out, const jsp_real *x,
                          const jsp_real *W, const jsp_real *b, const jsp_real *offset,
                          int relu, const jsp_real *skip, jsp_real *y);

    /* dx = dy W^T (accumulate = 0) or dx += dy W^T (accumulate = 1)
     *   dy [B, n_out]  W [n_in, n_out]  dx [B, n_in] */
    void (*dense_backward_input)(int B, int n_in, int n_out, const jsp_real *dy,
                                 const jsp_real *W, int accumulate, jsp_real *dx);

    /* dW += x^T dy, db += column sums of dy (db may be NULL)
     *   x [B, n_in]  dy [B, n_out]  dW [n_in, n_out]  db [n_out] */
    void (*dense_backward_weight)(int B, int n_in, int n_out, const jsp_real *x,
                                  const jsp_real *dy, jsp_real *dW, jsp_real *db);

    /* y[r, c] = sum_k a[r, k] w[k, c], or y += the same with accumulate
     *   r < n_rows, k < n_sum, c < n_columns; a[r, k] is a[r * a_row + k * a_k], rows of
     *   w are w_row apart, rows of y are y_row apart. The other products of matrices are
     *   this one with strides of their own. */
    void (*product)(int n_rows, int n_sum, int n_columns, const jsp_real *a,
                    size_t a_row, size_t a_k, const jsp_real *w, size_t w_row,
                    int accumulate, jsp_real *y, size_t y_row);

    /* y[c, r] = x[r, c], r < n_rows, c < n_columns; rows of x are x_row apart, rows of y
     * y_row */
    void (*transpose)(int n_rows, int n_columns, const jsp_real *x, size_t x_row,
                      jsp_real *y, size_t y_row);

    /* y[b] = sum_k x[b, k] w[k]          x [B, n]  w [n]  y [B] overwritten */
    void (*rows_dot)(int B, int n, const jsp_real *x, const jsp_real *w, jsp_real *y);

    /* y[k] += sum_b c[b] x[b, k]         x [B, n]  c [B]  y [n] */
    void (*rows_weighted_sum)(int B, int n, const jsp_real *x, const jsp_real *c,
                              jsp_real *y);

    /* Backward pass of y[b] = h[b, :] . w for h = relu(z) + skip, given dy = dL/dy:
     *   dw[k] += sum_b dy[b] h[b, k],  dh[b, k] = dy[b] w[k],
     *   dz[b, k] = dh[b, k] where h[b, k] > skip[b, k], else 0
     *   dy [B]  w [n]  h, skip [B, n]  dw [n] accumulates  dh, dz [B, n] overwritten */
    void (*rows_dot_backward)(int B, int n, const jsp_real *dy, const jsp_real *w,
                              const jsp_real *h, const jsp_real *skip, jsp_real *dw,
                              jsp_real *dh, jsp_real *dz);

    /* y[b, k] = start[k] + sum_s x[s][index[b] * row[s] + k], s < S, in the order of s
     *   start [n]  x, row [S]  index [B]  y [B, n] overwritten */
    void (*rows_collect)(int B, int n, int S, const jsp_real *const *x,
                         const size_t *row, const int16_t *index, const jsp_real *start,
                         jsp_real *y);

    /* y[s][index[b] * row[s] + k] += x[b, k], total[k] += sum_b x[b, k]; an index may
     * occur again, the y do not overlap
     *   x [B, n]  index [B]  y, row [S]  total [n]; y and total accumulate */
    void (*rows_scatter)(int B, int n, int S, const jsp_real *x, const int16_t *index,
                         jsp_real *const *y, const size_t *row, jsp_real *total);

    /* y[k] += sum_a x[index[a], k], a < n in order; index NULL = the first n rows
     *   x [..., H]  y [H] accumulates */
    void (*rows_gather)(int n, int H, const jsp_real *x, const int *index, jsp_real *y);

    /* y[index[a], k] += x[k], a < n; index NULL = the first n rows
     *   x [H]  y [..., H] accumulates */
    void (*rows_spread)(int n, int H, const jsp_real *x, const int *index, jsp_real *y);

    /* y[k] += x[k] */
    void (*add)(size_t n, const jsp_real *x, jsp_real *y);

    /* dz[k] = dh[k] where h[k] > skip[k] (skip NULL: h[k] > 0), else 0, for h =
     * relu(z) + skip; dz may be dh. Where relu(z) is so small that h rounds to skip,
     * the gradient is 0. */
    void (*relu_backward)(size_t n, const jsp_real *h, const jsp_real *skip,
                          const jsp_real *dh, jsp_real *dz);

    /* One Adam step (Kingma and Ba 2015) on flat blocks of n numbers, and the running
     * average of the parameters:
     *   g = gradient_scale dp,  m = beta1 m + (1 - beta1) g,
     *   v = beta2 v + (1 - beta2) g^2,
     *   p -= learning_rate (m correction1) / (sqrt(v correction2) + epsilon),
     *   average = average_decay average + (1 - average_decay) p
     * Gradients and first moments below 1e-15 and second moments below 1e-30 count as 0. */
    void (*adam)(size_t n, const jsp_kernels_adam *step, const jsp_real *dp,
                 jsp_real *p, jsp_real *m, jsp_real *v, jsp_real *average);

    /* sum_k x[k]^2 in double, in a fixed order */
    double (*sum_squares)(size_t n, const jsp_real *x);

    /* y[b, k] = exp(factor x[b, k]) / sum_l exp(factor x[b, l]), factor >= 0
     *   x [B, n]  y [B, n] overwritten, may be x; n >= 1. A NaN makes its row NaN. */
    void (*softmax_rows)(int B, int n, jsp_real factor, const jsp_real *x, jsp_real *y);

    /* dx[b, k] = factor y[b, k] (dy[b, k] - sum_l y[b, l] dy[b, l]), y from the above;
     * 0 where that is below 1e-25, for products on subnormal numbers are slow
     *   dx [B, n] overwritten, may be dy */
    void (*softmax_rows_backward)(int B, int n, jsp_real factor, const jsp_real *y,
                                  const jsp_real *dy, jsp_real *dx);

    /* The next five in double; a < n_rows, rows of n; x, z [n_rows, n]; no overlap.
     *
     * y[k] = start + sum_a c[a] x[a, k], in the order of a       c [n_rows]  y [n] */
    void (*combine_rows)(int n_rows, size_t n, double start, const double *c,
                         const double *x, double *y);

    /* y[a, k] = start[a] + c[a] x[a, k], or y[a, k] += c[a] x[a, k] with start NULL */
    void (*scale_rows)(int n_rows, size_t n, const double *start, const double *c,
                       const double *x, double *y);

    /* y[a, k] += c[a] x[k] */
    void (*add_outer)(int n_rows, size_t n, const double *c, const double *x,
                      double *y);

    /* y[k] += c sum_a x[a, k]^2 */
    void (*add_squares)(int n_rows, size_t n, double c, const double *x, double *y);

    /* y[k] += sum_a x[a, k] (c[a] + z[a, k]) / 2 */
    void (*add_half_products)(int n_rows, size_t n, const double *c, const double *x,
                              const double *z, double *y);

    /* sum_k w[k] x[k] (y[k] - shift) in double, in a fixed order; w NULL = 1 */
    double (*sum_products)(size_t n, const double *w, const double *x, const double *y,
                           double shift);

    /* sums[a] = { sum_k w[k] x[a, k], sum_k w[k] x[a, k]^2 } in double, in a fixed order
     *   w [n]  x [n_rows, n]  sums [n_rows, 2] overwritten */
    void (*sum_rows)(int n_rows, size_t n, const double *w, const double *x,
                     double *sums);

    /* sums[a] = { sum_k x y, sum_k z, sum_k x z } of rows a in double, in a fixed order
     *   x, y, z [n_rows, n]  sums [n_rows, 3] overwritten */
    void (*sum_rows_against)(int n_rows, size_t n, const double *x, const double *y,
                             const double *z, double *sums);

    /* Returns sum_k x[k]^2 in double, in a fixed order; then x[k] *= c */
    double (*square_and_scale)(size_t n, double c, double *x);

    /* Huber losses of scale (shift - x[l]) beyond `limit`: adds sum_l to *value and
     * the negative derivatives c to d[l] -= c; returns sum_l c. In double, in a fixed order.
     *   x [n]  d [n] accumulates */
    double (*huber_row)(size_t n, double limit, double scale, double shift,
                        const double *x, double *d, double *value);

    /* out[0 .. n-1]: what jsp_rng_fill_normal makes of that counter and key, within 1e-6
     * (float build). The counter's first word is the number of the first block; n numbers
     * use (n + 3) / 4 blocks. */
    void (*normals)(size_t n, const uint32_t counter[4], const uint32_t key[2],
                    double *out);

    /* y[b, k] = (x[b, k] - mean_b) inverse_b scale[k] + offset[k],
     * inverse = 1 / sqrt(variance + 1e-5), variance with divisor n
     *   x, y [B, n]  scale, offset [n]  moments [B, 2] = mean, inverse; overwritten */
    void (*layernorm)(int B, int n, const jsp_real *x, const jsp_real *scale,
                      const jsp_real *offset, jsp_real *y, jsp_real *moments);

    /* dx [B, n] overwritten, may be dy; d_scale, d_offset [n] accumulate */
    void (*layernorm_backward)(int B, int n, const jsp_real *x, const jsp_real *scale,
                               const jsp_real *moments, const jsp_real *dy,
                               jsp_real *dx, jsp_real *d_scale, jsp_real *d_offset);

    /* One hidden layer of U <= JSP_KERNELS_MAX_UNITS units, K samples of its weights
     * theta [K, P] = b1 [U], w1 [n_in, U], b2, w2 [U], P = U (n_in + 2) + 1:
     *   z_u = b1_u + sum_p w1_pu x[input_p, r],  f = b2 + sum_u w2_u relu(z_u),
     *   e_r = counts[r] (y[r] - f), counts 0 or 1
     * direction NULL:   squares [K] += sum_r e_r^2,  sums [K, P] += sum_r e_r df/dtheta
     * direction [K, P]: sums += the derivative of those sums along it; squares unused
     *   x: rows of columns, x_row apart, each and y, counts [n]; n a multiple of 16 */
    void (*units)(int K, int U, int n_in, int n, const jsp_real *theta,
                  const jsp_real *direction, const jsp_real *x, size_t x_row,
                  const int *input, const jsp_real *y, const jsp_real *counts,
                  double *squares, double *sums);

    /* Unit u of L = JSP_KERNELS_NETWORKS networks with a hidden layer of U units, anew:
     *   a[r, l] = max(0, w[p, l] + sum_i w[i, l] z[i, r])
     *   sums[k, l] = sum_r a[r, l] c_k[r, l], c = the U units (u: a itself), ones, y
     *   z [p, n]  y [n]  w [p + 1, L]  activation [U, n, L]
     *   a [n, L], sums [U + 2, L] overwritten; a must not overlap activation */
    void (*layer_column)(int n, int p, int U, int u, const jsp_real *z,
                         const jsp_real *y, const jsp_real *w,
                         const jsp_real *activation, jsp_real *a, double *sums);

    /* Output weights ~ N(0, 1) integrated out: with A = M / s^2 + I (y's 1 left out), where
     * M [S, S, L] are moments, S = U + 2, lower triangle, row and column u taken from row
     * [S, L] (u = -1: none), and A_w its block of weights,
     *   log_det = log |A_w|,  residual = y'y / s^2 - b' A_w^-1 b,  b = the last row
     *   precision [L] = 1 / s^2  log_det, residual [L] overwritten */
    void (*layer_eliminate)(int S, int u, const double *moment, const double *row,
                            const double *precision, double *log_det, double *residual);

    /* proposal[k] = stay w[k] + radius normal[k] */
    void (*layer_propose)(size_t n, double stay, double radius, const jsp_real *w,
                          const double *normal, jsp_real *proposal);

    /* y[r, l] = x[r, l] where chosen[l] > 0        x, y [n, L]  chosen [L] */
    void (*layer_choose)(size_t n, const jsp_real *chosen, const jsp_real *x,
                         jsp_real *y);

    /* The same for row and column u of moments: row [S, L]  moment [S, S, L], its lower
     * triangle */
    void (*layer_choose_row)(int S, int u, const jsp_real *chosen, const double *row,
                             double *moment);
} jsp_kernels;

/* The table in use: the widest one this processor offers, unless jsp_kernels_select
 * chose another. Never NULL. */
const jsp_kernels *jsp_kernels_active(void);

/* Chooses a table by name, or the widest for "auto". Returns 0, or -1 (nothing
 * changed) when the name is unknown or this processor or build does not offer it.
 * Not to be called while another thread uses kernels. */
int jsp_kernels_select(const char *name);

/* Names of the tables that can be selected here; NULL after the last. */
const char *jsp_kernels_available(int k);

#endif
