#include "jsp_features.h"

#include <math.h>

#include "jsp_rng.h"

#define TWO_PI 6.28318530717958647692
#define SHAPE 1.5 /* of the gamma mixture: twice it are the degrees of freedom */

/* 1 / standard deviation of a parent over the rows that count; 1 when it is constant. */
static double inverse_scale(const jsp_data_moments *m, int D, int i) {
    double variance = m->n_rows > 0 ? m->scatter[(size_t)i * D + i] / m->n_rows : 0;
    return variance > 0 ? 1 / sqrt(variance) : 1;
}

/* A random row that counts for the node, -1 when there is none. */
static int pick_row(const jsp_data *data, int node, double uniform) {
    const uint8_t *mask = jsp_data_mask(data, node);
    int n = jsp_data_n_rows(data), left;
    if (!mask) return n > 0 ? (int)(uniform * n) : -1;
    left = (int)(uniform * jsp_data_node(data, node).n_rows);
    for (int r = 0; r < n; r++) {
        if (!mask[r] && left-- == 0) return r;
    }
    return -1;
}

/* u . z of row r */
static double project(const jsp_data *data, int r, int n_parents, const int *parents,
                      const double *u) {
    double sum = 0;
    for (int i = 0; i < n_parents && r >= 0; i++) {
        sum += u[i] * jsp_data_values(data, parents[i])[r];
    }
    return sum;
}

void jsp_features_draw(jsp_features_kind kind, const jsp_data *data, int node,
                       int n_parents, const int *parents, int n_features,
                       double *direction, double *offset) {
    jsp_data_moments m = jsp_data_node(data, node);
    const int D = jsp_data_n_variables(data);
    const uint64_t seed = jsp_rng_hash(n_parents, parents);
    for (int k = 0; k < n_features; k++) {
        double *u = direction + (size_t)k * n_parents, squares = 0;
        jsp_rng rng;
        jsp_rng_init(&rng, seed, (uint32_t)node, (uint32_t)k, JSP_RNG_FEATURE);
        double uniform = jsp_rng_uniform(&rng);
        for (int i = 0; i < n_parents; i++) {
            u[i] = jsp_rng_normal(&rng);
            squares += u[i] * u[i];
        }
        double length = kind == JSP_FEATURES_RELU
                            ? sqrt(squares)
                            : sqrt(n_parents * jsp_rng_gamma(&rng, SHAPE) / SHAPE);
        for (int i = 0; i < n_parents; i++) {
            u[i] *= inverse_scale(&m, D, parents[i]) / length;
        }
        offset[k] =
            kind == JSP_FEATURES_RELU
                ? project(data, pick_row(data, node, uniform), n_parents, parents, u)
                : TWO_PI * uniform;
    }
}

void jsp_features_evaluate(jsp_features_kind kind, int n_parents, int n_features,
                           const double *direction, const double *offset,
                           const double *z, double *value) {
    for (int k = 0; k < n_features; k++) {
        const double *u = direction + (size_t)k * n_parents;
        double t = -offset[k];
        for (int i = 0; i < n_parents; i++) t += u[i] * z[i];
        if (kind == JSP_FEATURES_RELU) {
            value[k] = t > 0 ? t : 0;
        } else {
            value[k] = sqrt(2) * cos(t);
        }
    }
}
