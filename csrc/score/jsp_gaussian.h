/* jsp_gaussian.h - what all linear-Gaussian models share: quadratic forms of one node.
 *
 * For node j with parents S a model needs only
 *     log det A_SS   and   residual = c - b_S^T A_SS^-1 b_S
 * of a positive definite matrix A, a vector b and a number c made from moments:
 *     A[i, k] = scale (scatter[i, k] + mean_weight mean[i] mean[k]) + ridge [i = k]
 *     b[i]    = scale (scatter[i, j] + mean_weight mean[i] mean[j])
 *     c       = scale (scatter[j, j] + mean_weight mean[j]^2) + child_ridge
 *
 * They are never added up: far from 0 the means would swamp the scatter. Scatter and
 * means are eliminated side by side, see jsp_gaussian_choose.
 */
#ifndef JSP_GAUSSIAN_H
#define JSP_GAUSSIAN_H

#include <math.h>

#include "jsp_data.h"

typedef struct jsp_gaussian_form {
    double scale;
    double mean_weight;
    double ridge;
    double child_ridge;
    double prior_residual; /* what of residual + 2 b is prior alone; 0 = known noise */
} jsp_gaussian_form;

/* Smallest pivot of C that is accepted, from its diagonal before elimination. Rounding
 * leaves a few 1e-16 of the diagonal in every pivot. Where 8 digits are gone and nothing
 * but the ridge is left (fewer rows than parents, large columns) the evidence hangs on
 * that noise. Elsewhere dependent columns (R^2 = 1 - 1e-10) have been refused before. */
static inline double jsp_gaussian_smallest_pivot(double diagonal, double ridge) {
    double lost = 1e-8 * diagonal, bare = 4 * ridge, dependent = 5e-11 * diagonal;
    double least = lost < bare ? lost : bare;
    return least > dependent ? least : dependent;
}

/* What elimination knows of node j itself: c = residual + weight mean^2. */
typedef struct jsp_gaussian_child {
    double residual; /* of the scatter alone */
    double mean;
    double weight; /* of products of means */
} jsp_gaussian_child;

/* For n parents in the given order
 *     A = C + child->weight m m^T,  b + child->weight child->mean m,  c as above.
 *   C [n (n + 1) / 2] out, packed rows of the lower triangle
 *   b [n] out, of the scatter alone   m [n] out, means   *child out */
void jsp_gaussian_build(const jsp_gaussian_form *form, const jsp_data *data, int node,
                        int n, const int *parents, double *C, double *b, double *m,
                        jsp_gaussian_child *child);

/* The child after a parent v is chosen: pivot d = C[v, v] > 0, b[v] and m[v] are those of
 * the level before. *pivot = A[v, v]. When C, b and m of the other parents u become
 *     C[u, k] - C[u, v] C[v, k] / d,  b[u] - C[u, v] b[v] / d,  m[u] - C[u, v] m[v] / d,
 * they and the new child are again the parts of A, b and c after elimination of v: the
 * mean is eliminated as if it were one more row that comes last. No two large numbers
 * are subtracted, wherever the means are. */
static inline jsp_gaussian_child jsp_gaussian_choose(jsp_gaussian_child child, double d,
                                                     double b, double m,
                                                     double *pivot) {
    double t = b / d;
    *pivot = d + child.weight * m * m;
    child.residual -= b * t;
    child.mean -= m * t;
    child.weight *= d / *pivot;
    return child;
}

/* c */
static inline double jsp_gaussian_residual(jsp_gaussian_child child) {
    return child.residual + child.weight * child.mean * child.mean;
}

/* The same for the node itself, without means of its own: the residual below which it is
 * rounding, `whole` being that of the scatter without parents: means are eliminated apart
 * from it, so that their size costs no digits. */
static inline double jsp_gaussian_smallest_residual(const jsp_gaussian_form *form,
                                                    double whole) {
    double outside = form->prior_residual - form->child_ridge;
    double lost = 1e-8 * whole - outside, bare = 4 * form->prior_residual - outside;
    return form->prior_residual > 0 ? (lost < bare ? lost : bare) : -INFINITY;
}

/* JSP_ERROR_NUMERICAL: A is not positive definite for some parents of this node. */
jsp_status jsp_gaussian_refuse(int node, jsp_error *error);

/* log evidence from the number of parents, log det A_SS and the residual; NaN or
 * infinite = refused. */
typedef double (*jsp_gaussian_evidence)(const void *context, int n_parents,
                                        double log_det, double residual);

/* log_evidence[S] [2^K] for every local mask S with at most max_parents members, -inf
 * for the others. JSP_ERROR_NUMERICAL when a matrix is not positive definite. */
jsp_status jsp_gaussian_tabulate(const jsp_gaussian_form *form, const jsp_data *data,
                                 int node, int K, const int *candidates,
                                 int max_parents, jsp_gaussian_evidence evidence,
                                 const void *context, double *log_evidence,
                                 jsp_error *error);

/* One parent set: A_SS = L L^T. */
typedef struct jsp_gaussian_solution {
    int n_parents;
    double log_det;
    double residual;
    double mean[JSP_MAX_PARENTS];                               /* A_SS^-1 b_S */
    double factor[JSP_MAX_PARENTS * (JSP_MAX_PARENTS + 1) / 2]; /* rows of L */
} jsp_gaussian_solution;

jsp_status jsp_gaussian_solve(const jsp_gaussian_form *form, const jsp_data *data,
                              int node, int n_parents, const int *parents,
                              jsp_gaussian_solution *solution, jsp_error *error);

/* weight = mean + scale L^-T z, a draw of N(mean, scale^2 A_SS^-1) when z is standard
 * normal.   z, weight [n_parents]; they may be the same memory. */
void jsp_gaussian_combine(const jsp_gaussian_solution *solution, double scale,
                          const double *z, double *weight);

#endif
