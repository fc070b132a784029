/* jsp_model.h - local models: the evidence of a parent set and draws of its parameters.
 *
 * One const struct of function pointers per model. A model sees one node and one parent
 * set at a time; a new model is one new file and one entry in the list of jsp_model.c. */
#ifndef JSP_MODEL_H
#define JSP_MODEL_H

#include "jsp_data.h"
#include "jsp_rng.h"

#define JSP_MODEL_MAX_FIELDS 6

/* A named setting of a model, e.g. {"noise_scale", 0.316}. NaN as default = computed
 * (see the model's file). */
typedef struct jsp_model_field {
    const char *name;
    double default_value;
} jsp_model_field;

typedef struct jsp_model jsp_model;
struct jsp_moments_mixture;
struct jsp_rows;

/* A model together with its settings and the data it is applied to. */
typedef struct jsp_model_setup {
    const jsp_model *model;
    const jsp_data *data;               /* borrowed */
    double field[JSP_MODEL_MAX_FIELDS]; /* values, in the order of model->fields */
    int intercept;                      /* 1 = integrate a flat intercept per node */
    const struct jsp_rows *rows;        /* borrowed: what functions at given parameters
                                            read; NULL = the moments of `data` */
} jsp_model_setup;

/* One draw of the parameters of one node given its parents. */
typedef struct jsp_model_draw {
    /* of (weights, noise variance) or of the table given parents and data; the intercept
     * is integrated out */
    double log_density;
    /* models of numbers */
    double *weight;     /* [n_parents], caller's memory, in the order of `parents` */
    double intercept;   /* 0 when the model has none */
    double noise_scale; /* standard deviation */
    /* [jsp_model_n_extra] what else there is, zeros included, caller's memory: weights of
     * random features, zeros (which do not count in the density) where the mechanism is
     * linear; or all parameters of a node's network as log_joint lists them, with a row of
     * w1 for every variable */
    double *extra;
    /* models of discrete data: [q, r] P(state | configuration of the parents), caller's
     * memory of jsp_data_table_size numbers. Configurations are numbered like the digits
     * of a number, the last parent fastest. */
    double *table;
} jsp_model_draw;

struct jsp_model {
    const char *name; /* "linear", "nig", "bge", "bdeu", "features", "mlp" */
    int is_discrete;  /* works on codes of states, not on numbers */
    int needs_rows;   /* wants data with kept rows */
    int is_costly;    /* a parent set takes milliseconds */
    int n_fields;
    jsp_model_field fields[JSP_MODEL_MAX_FIELDS];

    /* Checks field values against D and the data: JSP_ERROR_VALUE names the field. */
    jsp_status (*check)(const jsp_model_setup *setup, jsp_error *error);

    /* log_evidence[S] for every local mask S over candidates[0 .. K-1] with at most
     * max_parents members; other entries are set to -inf. log_evidence [2^K].
     * JSP_ERROR_NUMERICAL when a matrix is not positive definite, naming the node. */
    jsp_status (*tabulate)(const jsp_model_setup *setup, int node, int K,
                           const int *candidates, int max_parents, double *log_evidence,
                           jsp_error *error);

    /* log_evidence[S] for the n listed masks S alone; other entries are left. For models
     * whose sets take long one by one; the others have NULL, for they walk. */
    jsp_status (*tabulate_sets)(const jsp_model_setup *setup, int node, int K,
                                const int *candidates, int n, const uint32_t *sets,
                                double *log_evidence, jsp_error *error);

    /* log evidence of one parent set, in the order of `parents`, computed afresh: for a
     * single set, and to check tabulate. */
    jsp_status (*evidence)(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence, jsp_error *error);

    /* The same with its standard error. NULL where evidences are exact. */
    jsp_status (*estimate)(const jsp_model_setup *setup, int node, int n_parents,
                           const int *parents, double *log_evidence,
                           double *standard_error, jsp_error *error);

    /* Exact draw of theta_node | parents, data. rng is consumed. */
    jsp_status (*draw)(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, jsp_rng *rng, jsp_model_draw *out,
                       jsp_error *error);

    /* What many draws given one parent set share: `prepare` computes it, `draw_prepared`
     * takes it (and may use it as scratch: one thread at a time), `release` frees it. NULL,
     * all three, where a draw alone costs as little; draw is then what there is. */
    jsp_status (*prepare)(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, void **prepared, jsp_error *error);
    jsp_status (*draw_prepared)(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, void *prepared, jsp_rng *rng,
                                jsp_model_draw *out, jsp_error *error);
    void (*release)(void *prepared);

    /* Mean and variance of every weight given parents and data, noise integrated out,
     * in the order of `parents`; *noise = mean of the noise variance. NULL when the
     * model has no weights.   mean, variance [n_parents] out */
    jsp_status (*moments)(const jsp_model_setup *setup, int node, int n_parents,
                          const int *parents, double *mean, double *variance,
                          double *noise, jsp_error *error);

    /* The same, mixed over all parent sets at once; fills first, second and noise of
     * the mixture (jsp_moments.h). NULL when the model has no weights. */
    jsp_status (*mix)(const jsp_model_setup *setup, int node,
                      struct jsp_moments_mixture *mixture, jsp_error *error);

    /* What follows is at given parameters: K samples of each side by side, theta
     * [n_theta, K]; NULL when the model does not offer it. In linear models theta holds
     * one weight per parent. With an intercept it is integrated out, noise is known.
     * Rows that stand for more than one count that often (setup->rows).
     *   log_joint [K] += log P(x_node | theta, parents) + log P(theta)
     *   slope [n_theta, K] overwritten by the derivatives of that; no overlap */
    void (*log_joint)(const jsp_model_setup *setup, int node, int n_parents,
                      const int *parents, int K, const double *theta, double *log_joint,
                      double *slope);

    /* d_theta [n_theta, K] overwritten: the second derivatives of log_joint at theta
     * applied to d_slope [n_theta, K] */
    void (*pull_slope)(const jsp_model_setup *setup, int node, int n_parents,
                       const int *parents, int K, const double *theta,
                       const double *d_slope, double *d_theta);

    /* Numbers in `extra` of a draw; NULL = none. */
    int (*n_extra)(const jsp_model_setup *setup);

    /* Hidden units per node, whose weights theta holds; NULL = none. */
    int (*n_units)(const jsp_model_setup *setup);

    /* Fills intercept (drawn given out->weight; rng is consumed) and noise_scale. */
    void (*complete)(const jsp_model_setup *setup, int node, int n_parents,
                     const int *parents, jsp_rng *rng, jsp_model_draw *out);
};

/* The models, each in the file of its name. */
extern const jsp_model jsp_model_linear;
extern const jsp_model jsp_model_nig;
extern const jsp_model jsp_model_bge;
extern const jsp_model jsp_model_bdeu;
extern const jsp_model jsp_model_features;
extern const jsp_model jsp_model_mlp;

/* The model called `name`, or NULL. */
const jsp_model *jsp_model_find(const char *name);

/* Numbers in `extra` of a draw. */
int jsp_model_n_extra(const jsp_model_setup *setup);

/* The random features of a parent set, which must not be empty; model features only.
 *   direction [M, n_parents], offset [M] out */
void jsp_model_features_map(const jsp_model_setup *setup, int node, int n_parents,
                            const int *parents, double *direction, double *offset);

/* Masks over K candidates with at most max_parents members, increasing; returns their
 * number. sets [2^K] out, or NULL to count. */
int jsp_model_list_sets(int K, int max_parents, uint32_t *sets);

/* `tabulate` of models with tabulate_sets. */
jsp_status jsp_model_tabulate_all(const jsp_model_setup *setup, int node, int K,
                                  const int *candidates, int max_parents,
                                  double *log_evidence, jsp_error *error);

/* `draw` of models that prepare, for a single draw. */
jsp_status jsp_model_draw_alone(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, jsp_rng *rng, jsp_model_draw *out,
                                jsp_error *error);

/* k-th model of the library, NULL after the last. */
const jsp_model *jsp_model_at(int k);

#endif
