/* jsp_features.h - random features of the parents of a node.
 *
 * Feature k of the parents' values z is
 *     ReLU      max(0, u_k . z - c_k)        Fourier   sqrt(2) cos(u_k . z - c_k)
 * The directions are random in units of each parent's standard deviation s_i over the rows
 * that count:
 *     ReLU      u_ki = g_i / (|g| s_i), g standard normal; c_k = u_k . z of a random row
 *     Fourier   u_ki = g_i / (s_i sqrt(p h)), h ~ Gamma(3/2) / (3/2); c_k uniform on
 *               [0, 2 pi): the kernel is Matern 3/2 with length scale sqrt(p) (Rahimi and
 *               Recht, NeurIPS 2007; Rasmussen and Williams, Gaussian Processes, 4.2)
 * Kinks at rows put the features where data are. The stream of feature k is named by
 * (node, parent set, k), so a parent set has the same features wherever it is asked for,
 * and more features leave the first ones as they are. */
#ifndef JSP_FEATURES_H
#define JSP_FEATURES_H

#include "jsp_data.h"

#define JSP_FEATURES_MOST 1000

typedef enum jsp_features_kind {
    JSP_FEATURES_RELU = 0,
    JSP_FEATURES_FOURIER,
} jsp_features_kind;

/* Draws the features of increasing `parents`, at least one; data with kept rows.
 *   direction [n_features, n_parents] out   offset [n_features] out */
void jsp_features_draw(jsp_features_kind kind, const jsp_data *data, int node,
                       int n_parents, const int *parents, int n_features,
                       double *direction, double *offset);

/* Features of one row: z [n_parents], value [n_features] overwritten, no overlap. */
void jsp_features_evaluate(jsp_features_kind kind, int n_parents, int n_features,
                           const double *direction, const double *offset,
                           const double *z, double *value);

#endif
