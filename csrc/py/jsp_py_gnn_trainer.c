/* The type GnnTrainer: the published method in training, and the policy it has reached. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>
#include <string.h>

#include "jsp_gnn_sampler.h"
#include "jsp_gnn_trainer.h"
#include "jsp_memory.h"
#include "jsp_py_gnn.h"
#include "jsp_rows.h"

typedef struct jsp_py_gnn_trainer {
    PyObject_HEAD PyObject *scores; /* owned reference: holds the data */
    jsp_gnn_target target;
    jsp_rows rows;            /* of the target, for models that need them */
    jsp_gnn_trainer *trainer; /* owned */
    atomic_int busy;          /* 1 while a call works on the trainer */
} jsp_py_gnn_trainer;

static int enter(jsp_py_gnn_trainer *self) {
    return jsp_py_busy_enter(&self->busy);
}

static void leave(jsp_py_gnn_trainer *self) {
    jsp_py_busy_leave(&self->busy);
}

/* ---- life --------------------------------------------------------------------------- */

static int check_number(const char *name, double value, double least, double most) {
    if (value >= least && value <= most) return 0;
    char text[160];
    PyOS_snprintf(text, sizeof text, "%s must be %g to %g, got %g", name, least, most,
                  value);
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

static int check_config(const jsp_gnn_trainer_config *c) {
    const double huge = 1e300, tiny = 1e-300, count = 1e9;
    return check_number("batch_size", c->batch_size, 1, 1e5) < 0 ||
           check_number("n_theta_samples", c->n_theta_samples, 1, 1e4) < 0 ||
           check_number("n_environments", c->n_environments, 1, 1e4) < 0 ||
           check_number("replay_capacity", c->replay_capacity, 1, count) < 0 ||
           check_number("n_prefill", c->n_prefill, 0, count) < 0 ||
           check_number("n_iter", (double)c->n_updates, 1, count) < 0 ||
           check_number("learning_rate", c->learning_rate, tiny, huge) < 0 ||
           check_number("decay", c->decay, 0, 1) < 0 ||
           check_number("beta2", c->beta2, 0, 1) < 0 ||
           check_number("clip_ratio", c->clip_ratio, tiny, INFINITY) < 0 ||
           check_number("average_decay", c->average_decay, 0, 1) < 0 ||
           check_number("exploration_start", c->exploration_start, 0, 1) < 0 ||
           check_number("exploration_end", c->exploration_end, 0, 1) < 0 ||
           check_number("logit_scale", c->logit_scale, tiny, huge) < 0 ||
           check_number("init_scale", c->init_scale, 0, huge) < 0 ||
           check_number("residual_scale", c->loss.residual_scale, tiny, huge) < 0 ||
           check_number("delta", c->loss.delta, tiny, huge) < 0 ||
           check_number("penalty_weight", c->loss.penalty_weight, 0, huge) < 0 ||
           check_number("minibatch_rows", c->minibatch_rows, 0, count) < 0 ||
           check_number("target_period", (double)c->target_period, 0, count) < 0 ||
           check_number("head_spread", c->head_spread, 0, huge) < 0 ||
           check_number("n_threads", c->n_threads, 1, 1e5) < 0;
}

/* The array is (D, D) of this type; its data, or NULL with an exception. */
static const void *square_array(PyObject *object, const char *name, int type, int D) {
    if (jsp_py_convert_check(object, name, type, 2) < 0) return NULL;
    if (PyArray_DIM((PyArrayObject *)object, 0) == D &&
        PyArray_DIM((PyArrayObject *)object, 1) == D) {
        return PyArray_DATA((PyArrayObject *)object);
    }
    return PyErr_Format(PyExc_ValueError, "%s must have shape (%d, %d)", name, D, D);
}

static int read_target(jsp_py_gnn_trainer *self, const char *prior, PyObject *allowed,
                       PyObject *limits, PyObject *log_odds) {
    const jsp_py_scores *scores = (jsp_py_scores *)self->scores;
    jsp_gnn_target *target = &self->target;
    const int D = target->D = jsp_data_n_variables(scores->data);
    target->setup = scores->setup;
    const jsp_scores_prior kind =
        strcmp(prior, "fair") == 0 ? JSP_SCORES_FAIR : JSP_SCORES_UNIFORM;
    const uint8_t *cells = square_array(allowed, "allowed", NPY_UINT8, D);
    if (!cells) return -1;
    if (!PyList_Check(limits) || PyList_GET_SIZE(limits) != D) {
        PyErr_Format(PyExc_ValueError, "max_parents must be a list of %d integers", D);
        return -1;
    }
    for (int j = 0; j < D; j++) {
        const long limit = PyLong_AsLong(PyList_GET_ITEM(limits, j));
        if (limit == -1 && PyErr_Occurred()) return -1;
        target->max_parents[j] = limit < 0 ? 0 : limit < D ? (int)limit : D;
        target->log_weight[j] = jsp_scores_log_prior(kind, D, j);
        for (int i = 0; i < D; i++) {
            if (i != j && cells[i * D + j]) jsp_bits_add(&target->allowed[j], i);
        }
    }
    if (log_odds == Py_None) return 0;
    const double *odds = square_array(log_odds, "edge_log_odds", NPY_DOUBLE, D);
    if (!odds) return -1;
    target->log_odds = jsp_memory_alloc((size_t)(D * D), sizeof(double));
    if (!target->log_odds) {
        PyErr_NoMemory();
        return -1;
    }
    for (int k = 0; k < D * D; k++) {
        if (isfinite(odds[k])) {
            target->log_odds[k] = odds[k];
        } else if (odds[k] < 0) {
            jsp_bits_remove(&target->allowed[k % D], k / D);
        } else if (k % (D + 1)) {
            PyErr_SetString(PyExc_ValueError, "edges cannot be required here");
            return -1;
        }
    }
    return 0;
}

/* All rows, laid out for models that read them. */
static int read_rows(jsp_py_gnn_trainer *self) {
    jsp_model_setup *setup = &self->target.setup;
    jsp_error error;
    if (!setup->model->needs_rows) return 0;
    const int n_rows = jsp_data_n_rows(setup->data);
    if (jsp_rows_create(setup->data, n_rows, 0, &self->rows, &error) != JSP_OK) {
        jsp_py_convert_raise(Py_TYPE(self), &error);
        return -1;
    }
    jsp_rows_fill(&self->rows, setup->data, n_rows, NULL);
    setup->rows = &self->rows;
    return 0;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scores",
                            "head",
                            "allowed",
                            "max_parents",
                            "graph_prior",
                            "edge_log_odds",
                            "n_iter",
                            "batch_size",
                            "n_theta_samples",
                            "learning_rate",
                            "logit_scale",
                            "residual_scale",
                            "seed",
                            "n_threads",
                            "n_environments",
                            "replay_capacity",
                            "n_prefill",
                            "decay",
                            "beta2",
                            "clip_ratio",
                            "average_decay",
                            "exploration_start",
                            "exploration_end",
                            "init_scale",
                            "delta",
                            "penalty_weight",
                            "minibatch_rows",
                            "target_period",
                            "local_head",
                            "local_residual",
                            "head_spread",
                            NULL};
    jsp_gnn_trainer_config c = {
        .n_threads = 1,
        .n_environments = 8,
        .replay_capacity = 100000,
        .n_prefill = 1000,
        .beta2 = 0.999,
        .clip_ratio = INFINITY,
        .exploration_start = 1,
        .exploration_end = 0.1,
        .init_scale = 1,
        .loss = {.delta = 1, .penalty_weight = 1},
    };
    uint64_t seed = 0;
    const char *head = "diag", *prior = "uniform";
    PyObject *scores, *allowed = NULL, *limits = NULL, *log_odds = Py_None;
    jsp_error error;
    jsp_py_module_state *state = jsp_py_module_state_of(type);
    if (!state) return NULL;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!|$sOOsOliidddO&iiiidddddddddilppd:GnnTrainer", names,
            state->scores_type, &scores, &head, &allowed, &limits, &prior, &log_odds,
            &c.n_updates, &c.batch_size, &c.n_theta_samples, &c.learning_rate,
            &c.logit_scale, &c.loss.residual_scale, jsp_py_convert_seed, &seed,
            &c.n_threads, &c.n_environments, &c.replay_capacity, &c.n_prefill, &c.decay,
            &c.beta2, &c.clip_ratio, &c.average_decay, &c.exploration_start,
            &c.exploration_end, &c.init_scale, &c.loss.delta, &c.loss.penalty_weight,
            &c.minibatch_rows, &c.target_period, &c.head.is_local, &c.is_partial,
            &c.head_spread)) {
        return NULL;
    }
    if (!allowed || !limits) {
        PyErr_SetString(PyExc_TypeError, "allowed and max_parents must be given");
        return NULL;
    }
    const jsp_model_setup *setup = &((jsp_py_scores *)scores)->setup;
    if (jsp_py_gnn_head_kind(head, &c.head.kind) < 0) return NULL;
    if (setup->model->n_units) c.head.n_units = setup->model->n_units(setup);
    c.seed = seed;
    if (check_config(&c)) return NULL;
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->scores = Py_NewRef(scores);
    if (read_target(self, prior, allowed, limits, log_odds) < 0 ||
        read_rows(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status = jsp_gnn_trainer_create(&self->target, &c, &self->trainer, &error);
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return (PyObject *)self;
    jsp_py_convert_raise(type, &error);
    Py_DECREF(self);
    return NULL;
}

static void trainer_dealloc(PyObject *object) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_gnn_trainer_destroy(self->trainer);
    jsp_memory_free(self->target.log_odds);
    jsp_rows_destroy(&self->rows);
    Py_XDECREF(self->scores);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- training ------------------------------------------------------------------------ */

static PyObject *trainer_step(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n_updates", "time_fraction", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    long n_updates, n_done;
    double time_fraction = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "l|d:step", names, &n_updates,
                                     &time_fraction) ||
        check_number("n_updates", (double)n_updates, 1, 1e9) < 0) {
        return NULL;
    }
    const npy_intp shape[2] = {n_updates, JSP_GNN_TRAINER_METRICS};
    PyObject *records = PyArray_ZEROS(2, shape, NPY_DOUBLE, 0);
    if (!records || enter(self) < 0) {
        Py_XDECREF(records);
        return NULL;
    }
    jsp_error error;
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status =
        jsp_gnn_trainer_step(self->trainer, n_updates, time_fraction,
                             PyArray_DATA((PyArrayObject *)records), &n_done, &error);
    Py_END_ALLOW_THREADS
    leave(self);
    if (status == JSP_OK) return records;
    Py_DECREF(records);
    return jsp_py_convert_raise(Py_TYPE(object), &error);
}

static PyObject *trainer_set_schedule(PyObject *object, PyObject *args,
                                      PyObject *kwargs) {
    static char *names[] = {"first_iteration", "n_iter", "exploration_start", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    long first, n_updates;
    double exploration;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "lld:set_schedule", names, &first,
                                     &n_updates, &exploration) ||
        check_number("n_iter", (double)n_updates, 1, 1e9) < 0 ||
        check_number("exploration_start", exploration, 0, 1) < 0 || enter(self) < 0) {
        return NULL;
    }
    jsp_gnn_trainer_config *config = jsp_gnn_trainer_open(self->trainer).config;
    config->first = first;
    config->n_updates = n_updates;
    config->exploration_start = exploration;
    leave(self);
    Py_RETURN_NONE;
}

/* ---- using the policy ---------------------------------------------------------------- */

/* A sampler with the averaged parameters; NULL with an exception. */
static jsp_gnn_sampler *make_sampler(jsp_py_gnn_trainer *self, int n_threads) {
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_gnn_sampler *sampler = NULL;
    jsp_error error;
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status =
        jsp_gnn_sampler_create(&self->target, view.config->head, view.adam->average,
                               view.config->logit_scale, n_threads, &sampler, &error);
    Py_END_ALLOW_THREADS
    if (status != JSP_OK) jsp_py_convert_raise(Py_TYPE(self), &error);
    return sampler;
}

static PyObject *trainer_sample(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", "seed", "n_threads", "first_draw", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    Py_ssize_t n;
    uint64_t seed;
    int n_threads;
    long first_draw = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nO&i|l:sample", names, &n,
                                     jsp_py_convert_seed, &seed, &n_threads,
                                     &first_draw) ||
        check_number("n", (double)n, 1, 1e9) < 0) {
        return NULL;
    }
    const jsp_head *head = &jsp_gnn_trainer_open(self->trainer).net->head;
    const int is_mlp = head->spec.kind == JSP_HEAD_MLP;
    const npy_intp D = self->target.D, cells[3] = {n, D, D}, theta[3] = {n, D, head->P};
    enum { N_ARRAYS = 7, THETA = 2 };
    const int dims[N_ARRAYS] = {3, 1, 3, 2, 2, 1, 1};
    PyObject *array[N_ARRAYS], *result = NULL;
    void *data[N_ARRAYS];
    int failed = 0;
    for (int k = 0; k < N_ARRAYS; k++) {
        array[k] = PyArray_SimpleNew(dims[k], k == THETA ? theta : cells,
                                     k ? NPY_DOUBLE : NPY_UINT8);
        failed |= !array[k];
        data[k] = array[k] ? PyArray_DATA((PyArrayObject *)array[k]) : NULL;
    }
    if (!failed && enter(self) == 0) {
        jsp_gnn_sampler *sampler = make_sampler(self, n_threads);
        const jsp_gnn_sampler_draws draws = {.graphs = data[0],
                                             .log_prob = data[1],
                                             .weight = is_mlp ? NULL : data[THETA],
                                             .theta = is_mlp ? data[THETA] : NULL,
                                             .intercept = data[3],
                                             .noise_scale = data[4],
                                             .log_prob_theta = data[5],
                                             .log_reward_joint = data[6]};
        Py_BEGIN_ALLOW_THREADS
        if (sampler) jsp_gnn_sampler_draw(sampler, (long)n, seed, first_draw, &draws);
        Py_END_ALLOW_THREADS
        leave(self);
        if (sampler) result = PyTuple_New(N_ARRAYS);
        jsp_gnn_sampler_destroy(sampler);
    }
    for (int k = 0; k < N_ARRAYS; k++) {
        if (result) {
            PyTuple_SET_ITEM(result, k, array[k]);
        } else {
            Py_XDECREF(array[k]);
        }
    }
    return result;
}

/* Graphs (n, D, D) without a cycle; their number, or -1 with an exception. */
static npy_intp check_acyclic(const jsp_py_gnn_trainer *self, PyObject *graphs) {
    if (jsp_py_convert_check_graphs(graphs, self->target.D) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)graphs;
    const npy_intp n = PyArray_DIM(array, 0);
    if (n < 1000000000 &&
        jsp_dag_find_cycle(self->target.D, (long)n, PyArray_DATA(array)) < 0) {
        return n;
    }
    PyErr_SetString(PyExc_ValueError, "graphs must be acyclic");
    return -1;
}

static PyObject *trainer_log_prob(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"graphs", "n_orders", "seed", "n_threads", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *graphs;
    uint64_t seed;
    int n_orders, n_threads;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OiO&i:log_prob", names, &graphs,
                                     &n_orders, jsp_py_convert_seed, &seed,
                                     &n_threads)) {
        return NULL;
    }
    const npy_intp n = check_acyclic(self, graphs);
    if (n < 0) return NULL;
    PyObject *values = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    PyObject *errors = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (values && errors && enter(self) == 0) {
        jsp_gnn_sampler *sampler = make_sampler(self, n_threads);
        Py_BEGIN_ALLOW_THREADS
        if (sampler) {
            jsp_gnn_sampler_log_prob(sampler, (long)n,
                                     PyArray_DATA((PyArrayObject *)graphs), n_orders,
                                     seed, PyArray_DATA((PyArrayObject *)values),
                                     PyArray_DATA((PyArrayObject *)errors));
        }
        Py_END_ALLOW_THREADS
        leave(self);
        jsp_gnn_sampler_destroy(sampler);
        if (sampler) return Py_BuildValue("NN", values, errors);
    }
    Py_XDECREF(values);
    Py_XDECREF(errors);
    return NULL;
}

static PyObject *trainer_policy(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"graphs", "n_threads", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *graphs;
    int n_threads;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi:policy", names, &graphs,
                                     &n_threads)) {
        return NULL;
    }
    const npy_intp n = check_acyclic(self, graphs);
    if (n < 0) return NULL;
    const npy_intp shape[2] = {n, (npy_intp)self->target.D * self->target.D + 1};
    PyObject *log_pi = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    if (!log_pi || enter(self) < 0) {
        Py_XDECREF(log_pi);
        return NULL;
    }
    jsp_gnn_sampler *sampler = make_sampler(self, n_threads);
    Py_BEGIN_ALLOW_THREADS
    if (sampler) {
        jsp_gnn_sampler_policy(sampler, (long)n, PyArray_DATA((PyArrayObject *)graphs),
                               PyArray_DATA((PyArrayObject *)log_pi));
    }
    Py_END_ALLOW_THREADS
    leave(self);
    if (!sampler) Py_CLEAR(log_pi);
    jsp_gnn_sampler_destroy(sampler);
    return log_pi;
}

/* ---- the loss by itself, for tests ---------------------------------------------------- */

/* Sides with graphs, masks and draws from dense arrays; -1 with an exception. */
static int fill_side(jsp_py_gnn_trainer *self, jsp_gnn_side *side, PyObject *graphs,
                     PyObject *mask) {
    const size_t cells = (size_t)PyArray_SIZE((PyArrayObject *)graphs);
    if (jsp_py_convert_check_graphs(mask, self->target.D) < 0) return -1;
    if ((size_t)PyArray_SIZE((PyArrayObject *)mask) != cells) {
        PyErr_SetString(PyExc_ValueError, "masks must have the shape of graphs");
        return -1;
    }
    memcpy(side->adjacency, PyArray_DATA((PyArrayObject *)graphs), cells);
    memcpy(side->mask, PyArray_DATA((PyArrayObject *)mask), cells);
    return 0;
}

/* eps from dense[b, k, i, index] */
static void fill_noise(const jsp_gnn_net *net, jsp_gnn_side *side,
                       const double *dense) {
    const jsp_head_state *head = &side->head;
    const int D = net->gnn.D, K = side->K;
    for (int n = 0; n < head->n_rows; n++) {
        for (int e = head->first[n]; e < head->first[n + 1]; e++) {
            for (int k = 0; k < K; k++) {
                const size_t row = (size_t)(head->graph[n] * K + k) * (size_t)D +
                                   (size_t)head->node[n];
                side->eps[e * K + k] =
                    dense[row * (size_t)net->head.P + (size_t)head->index[e]];
            }
        }
    }
}

/* Value and gradient; `block` holds the gradients. */
static PyObject *compute_loss(jsp_py_gnn_trainer *self, int B, jsp_gnn_side side[2],
                              PyObject *const noise[2], const int *action,
                              double *scratch, jsp_real *block) {
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_gnn_net *net = view.net;
    jsp_gnn_loss_sums sums = {0};
    jsp_graphnet_pairs_reset(&net->shared.pairs, self->target.D);
    for (int s = 0; s < 2; s++) {
        jsp_graphnet_pairs_collect(&net->shared.pairs, self->target.D, B,
                                   side[s].adjacency);
    }
    jsp_graphnet_pairs_finish(&net->shared.pairs, self->target.D);
    jsp_gnn_net_forward(net, view.params);
    const jsp_gnn_net_gradient gradient = jsp_gnn_net_gradient_place(net, block);
    for (int s = 0; s < 2; s++) {
        if (s == 0) {
            jsp_gnn_side_forward(net, view.params, &side[0], B,
                                 view.config->logit_scale);
        } else {
            jsp_gnn_side_forward_next(net, view.params, &side[0], &side[1], action,
                                      view.config->logit_scale);
        }
        fill_noise(net, &side[s], PyArray_DATA((PyArrayObject *)noise[s]));
        jsp_gnn_side_sample(net, &self->target, &side[s]);
    }
    jsp_gnn_loss_transitions(&view.config->loss, net, 1.0 / B, action, &side[0],
                             &side[1], scratch, &sums);
    jsp_gnn_side_backward_pair(net, &self->target, view.params, &side[0], &side[1],
                               action, &gradient);
    jsp_gnn_net_backward(net, view.params, &gradient);
    return Py_BuildValue("{sdsdsdsd}N", "huber", sums.huber / B, "penalty",
                         sums.penalty / B, "residual", sums.residual / B,
                         "residual_square", sums.residual_square / B,
                         jsp_py_gnn_as_dict(&net->layout, block));
}

static PyObject *trainer_loss(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"before", "after", "mask",        "mask_after",
                            "action", "noise", "noise_after", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *graphs[2], *mask[2], *noise[2], *action, *result = NULL;
    const int D = self->target.D;
    const int P = jsp_gnn_trainer_open(self->trainer).net->head.P;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOO:loss", names, &graphs[0],
                                     &graphs[1], &mask[0], &mask[1], &action, &noise[0],
                                     &noise[1]) ||
        jsp_py_convert_check(action, "action", NPY_INT32, 1) < 0) {
        return NULL;
    }
    const npy_intp B = check_acyclic(self, graphs[0]);
    if (B < 0 || check_acyclic(self, graphs[1]) < 0) return NULL;
    const uint8_t *cells = PyArray_DATA((PyArrayObject *)graphs[0]);
    const uint8_t *cells_after = PyArray_DATA((PyArrayObject *)graphs[1]);
    const int *edge = PyArray_DATA((PyArrayObject *)action);
    npy_intp K = 0;
    for (int s = 0; s < 2; s++) {
        if (jsp_py_convert_check(noise[s], "noise", NPY_DOUBLE, 4) < 0) return NULL;
        K = PyArray_DIM((PyArrayObject *)noise[0], 1);
        if (PyArray_SIZE((PyArrayObject *)noise[s]) != B * K * D * P || K < 1) {
            return PyErr_Format(PyExc_ValueError,
                                "noise must have shape (n, K, D, parameters)");
        }
    }
    if (PyArray_DIM((PyArrayObject *)action, 0) != B ||
        PyArray_DIM((PyArrayObject *)graphs[1], 0) != B) {
        return PyErr_Format(PyExc_ValueError, "graphs and actions must be as many");
    }
    for (npy_intp k = 0; k < B * D * D; k++) {
        const int is_edge = edge[k / (D * D)] == (int)(k % (D * D));
        if (is_edge ? cells[k] || !cells_after[k] : !cells[k] != !cells_after[k]) {
            return PyErr_Format(PyExc_ValueError,
                                "action must lead from graph to graph");
        }
    }
    if (enter(self) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_gnn_side side[2] = {{0}, {0}};
    jsp_error error;
    double *scratch = jsp_memory_alloc(4 * (size_t)K, sizeof *scratch);
    jsp_real *block =
        jsp_memory_alloc(jsp_gnn_net_gradient_capacity(view.net), sizeof *block);
    int failed = 0;
    for (int s = 0; s < 2 && !failed; s++) {
        if (jsp_gnn_side_create(view.net, (int)B, (int)K, &side[s], &error) != JSP_OK) {
            jsp_py_convert_raise(Py_TYPE(object), &error);
            failed = 1;
        } else {
            failed = fill_side(self, &side[s], graphs[s], mask[s]) < 0;
            side[s].is_partial = view.config->is_partial;
            for (npy_intp b = 0; b < B; b++) side[s].only[b] = edge[b] % D;
        }
    }
    if (!scratch || !block) {
        PyErr_NoMemory();
    } else if (!failed) {
        result = compute_loss(self, (int)B, side, noise, edge, scratch, block);
    }
    jsp_gnn_side_destroy(&side[0]);
    jsp_gnn_side_destroy(&side[1]);
    jsp_memory_free(scratch);
    jsp_memory_free(block);
    leave(self);
    return result;
}

/* ---- parameters and state -------------------------------------------------------------- */

static PyObject *trainer_parameters(PyObject *object, PyObject *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    PyObject *dict = jsp_py_gnn_as_dict(&view.net->layout, view.adam->average);
    leave(self);
    return dict;
}

static PyObject *trainer_set_parameters(PyObject *object, PyObject *dict) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    if (enter(self) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    int failed = jsp_py_gnn_from_dict(&view.net->layout, view.params, dict) < 0 ||
                 jsp_py_gnn_from_dict(&view.net->layout, view.adam->average, dict) < 0;
    leave(self);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *copy_block(const void *data, int n_dims, const npy_intp *shape,
                            int type) {
    return jsp_py_gnn_array(n_dims, shape, type, data);
}

static int put(PyObject *dict, const char *name, PyObject *value) {
    int failed = !value || PyDict_SetItemString(dict, name, value) < 0;
    Py_XDECREF(value);
    return failed;
}

/* The last one only where there is a target network. */
enum { MAX_BLOCKS = 5 };
static const char *const block_name[MAX_BLOCKS] = {"params", "average", "first_moment",
                                                   "second_moment", "target_params"};

/* Returns how many there are. */
static int list_blocks(const jsp_gnn_trainer_view *view, jsp_real *block[MAX_BLOCKS]) {
    block[0] = view->params;
    block[1] = view->adam->average;
    block[2] = view->adam->first;
    block[3] = view->adam->second;
    block[4] = view->frozen;
    return view->frozen ? MAX_BLOCKS : MAX_BLOCKS - 1;
}

static PyObject *graphs_of_environments(const jsp_py_gnn_trainer *self,
                                        const jsp_gnn_trainer_view *view) {
    const npy_intp D = self->target.D;
    const npy_intp shape[3] = {view->config->n_environments, D, D};
    PyObject *array = PyArray_SimpleNew(3, shape, NPY_UINT8);
    for (npy_intp e = 0; array && e < shape[0]; e++) {
        uint8_t *cells = PyArray_DATA((PyArrayObject *)array);
        jsp_gnn_target_graph(&view->environment[e], cells + e * D * D);
    }
    return array;
}

static PyObject *trainer_get_state(PyObject *object, PyObject *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *dict = PyDict_New();
    (void)unused;
    if (!dict || enter(self) < 0) {
        Py_XDECREF(dict);
        return NULL;
    }
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    const jsp_replay *replay = view.replay;
    const npy_intp size = (npy_intp)view.net->layout.size;
    const npy_intp packed[2] = {replay->n, (npy_intp)replay->n_words};
    jsp_real *block[MAX_BLOCKS];
    int failed = 0;
    const int n_blocks = list_blocks(&view, block);
    for (int k = 0; k < n_blocks && !failed; k++) {
        failed = put(dict, block_name[k], copy_block(block[k], 1, &size, JSP_PY_REAL));
    }
    failed =
        failed ||
        put(dict, "replay_graphs", copy_block(replay->graph, 2, packed, NPY_UINT32)) ||
        put(dict, "replay_actions",
            copy_block(replay->action, 1, packed, NPY_UINT16)) ||
        put(dict, "replay_next", PyLong_FromLong(replay->next)) ||
        put(dict, "environments", graphs_of_environments(self, &view)) ||
        put(dict, "iteration", PyLong_FromLong(*view.update)) ||
        put(dict, "adam_steps", PyLong_FromLong(view.adam->t)) ||
        put(dict, "gradient_norm_mean", PyFloat_FromDouble(view.adam->norm_mean)) ||
        put(dict, "first_iteration", PyLong_FromLong(view.config->first)) ||
        put(dict, "n_iter", PyLong_FromLong(view.config->n_updates)) ||
        put(dict, "exploration_start",
            PyFloat_FromDouble(view.config->exploration_start));
    leave(self);
    if (failed) Py_CLEAR(dict);
    return dict;
}

/* The array state[name], borrowed, with `rows` rows unless that is -1. */
static PyArrayObject *state_array(PyObject *state, const char *name, int type,
                                  int n_dims, npy_intp rows) {
    PyObject *value = PyDict_GetItemString(state, name);
    if (!value) {
        PyErr_Format(PyExc_ValueError, "the state lacks '%s'", name);
        return NULL;
    }
    if (jsp_py_convert_check(value, name, type, n_dims) < 0) return NULL;
    if (rows < 0 || PyArray_DIM((PyArrayObject *)value, 0) == rows) {
        return (PyArrayObject *)value;
    }
    PyErr_Format(PyExc_ValueError, "'%s' of the state belongs to another problem",
                 name);
    return NULL;
}

enum { ITERATION, ADAM_STEPS, FIRST, N_ITER, NEXT, NORM_MEAN, EXPLORATION, N_NUMBERS };

static int read_numbers(PyObject *state, double number[N_NUMBERS]) {
    static const char *const name[N_NUMBERS] = {
        "iteration",   "adam_steps",         "first_iteration",  "n_iter",
        "replay_next", "gradient_norm_mean", "exploration_start"};
    for (int k = 0; k < N_NUMBERS; k++) {
        PyObject *value = PyDict_GetItemString(state, name[k]);
        if (!value) {
            PyErr_Format(PyExc_ValueError, "the state lacks '%s'", name[k]);
            return -1;
        }
        number[k] = PyFloat_AsDouble(value);
        if (PyErr_Occurred()) return -1;
        const double most = k == EXPLORATION ? 1 : k == NORM_MEAN ? 1e300 : 1e9;
        if (check_number(name[k], number[k], k == N_ITER, most) < 0) return -1;
    }
    return 0;
}

/* Every transition must be legal, or the core would write outside its lists. */
static int check_replay(const jsp_py_gnn_trainer *self, npy_intp n,
                        const uint32_t *graphs, size_t n_words,
                        const uint16_t *action) {
    const int D = self->target.D;
    jsp_dag_batch batch;
    uint8_t cells[JSP_MAX_VARIABLES * JSP_MAX_VARIABLES];
    if (jsp_dag_batch_create(&batch, 1, D, 0, NULL) != JSP_OK) {
        PyErr_NoMemory();
        return -1;
    }
    int fits = n > 0;
    for (npy_intp k = 0; k < n && fits; k++) {
        for (int c = 0; c < D * D; c++) {
            cells[c] = graphs[(size_t)k * n_words + (size_t)c / 32] >> (c % 32) & 1;
        }
        fits = action[k] < D * D && jsp_dag_find_cycle(D, 1, cells) < 0;
        if (!fits) break;
        jsp_gnn_target_dag(cells, batch.dag);
        fits = jsp_bits_has(jsp_dag_legal_parents(batch.dag, action[k] % D),
                            action[k] / D);
    }
    jsp_dag_batch_destroy(&batch);
    if (fits) return 0;
    PyErr_SetString(PyExc_ValueError,
                    "'replay_graphs' of the state belongs to another problem");
    return -1;
}

static int write_state(const jsp_py_gnn_trainer *self, PyObject *state) {
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_replay *replay = view.replay;
    const npy_intp size = (npy_intp)view.net->layout.size, D = self->target.D;
    PyArrayObject *source[MAX_BLOCKS];
    jsp_real *block[MAX_BLOCKS];
    double number[N_NUMBERS];
    const int n_blocks = list_blocks(&view, block);
    for (int k = 0; k < n_blocks; k++) {
        source[k] = state_array(state, block_name[k], JSP_PY_REAL, 1, size);
        if (!source[k]) return -1;
    }
    PyArrayObject *packed = state_array(state, "replay_graphs", NPY_UINT32, 2, -1);
    if (!packed) return -1;
    const npy_intp n = PyArray_DIM(packed, 0);
    PyArrayObject *action = state_array(state, "replay_actions", NPY_UINT16, 1, n);
    PyArrayObject *graphs =
        state_array(state, "environments", NPY_UINT8, 3, view.config->n_environments);
    if (!action || !graphs || check_acyclic(self, (PyObject *)graphs) < 0 ||
        read_numbers(state, number) < 0) {
        return -1;
    }
    /* while there is room the next transition goes behind the last one */
    if (n > replay->capacity || number[NEXT] >= replay->capacity ||
        (n < replay->capacity && number[NEXT] != (double)n) ||
        PyArray_DIM(packed, 1) != (npy_intp)replay->n_words) {
        PyErr_SetString(PyExc_ValueError,
                        "'replay_graphs' of the state belongs to another problem");
        return -1;
    }
    if (check_replay(self, n, PyArray_DATA(packed), replay->n_words,
                     PyArray_DATA(action)) < 0) {
        return -1;
    }
    /* everything is checked: from here on nothing fails */
    for (int k = 0; k < n_blocks; k++) {
        memcpy(block[k], PyArray_DATA(source[k]), (size_t)size * sizeof(jsp_real));
    }
    memcpy(replay->graph, PyArray_DATA(packed), (size_t)PyArray_NBYTES(packed));
    memcpy(replay->action, PyArray_DATA(action), (size_t)PyArray_NBYTES(action));
    replay->n = (int)n;
    replay->next = (int)number[NEXT];
    const uint8_t *cells = PyArray_DATA(graphs);
    for (int e = 0; e < view.config->n_environments; e++) {
        jsp_gnn_target_dag(cells + e * D * D, &view.environment[e]);
    }
    *view.update = (long)number[ITERATION];
    view.adam->t = (long)number[ADAM_STEPS];
    view.adam->norm_mean = number[NORM_MEAN];
    view.config->first = (long)number[FIRST];
    view.config->n_updates = (long)number[N_ITER];
    view.config->exploration_start = number[EXPLORATION];
    return 0;
}

static PyObject *trainer_set_state(PyObject *object, PyObject *state) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    if (!PyDict_Check(state)) {
        PyErr_SetString(PyExc_TypeError, "state must be a dict made by get_state");
        return NULL;
    }
    if (enter(self) < 0) return NULL;
    int failed = write_state(self, state);
    leave(self);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_iteration(PyObject *object, void *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const long update = *jsp_gnn_trainer_open(self->trainer).update;
    leave(self);
    return PyLong_FromLong(update);
}

static PyObject *get_n_parameters(PyObject *object, void *unused) {
    const jsp_params *layout =
        &jsp_gnn_trainer_open(((jsp_py_gnn_trainer *)object)->trainer).net->layout;
    long n = 0;
    (void)unused;
    for (int k = 0; k < layout->n_tensors; k++) {
        n += (long)layout->tensor[k].shape[0] * layout->tensor[k].shape[1];
    }
    return PyLong_FromLong(n);
}

static PyObject *get_seconds(PyObject *object, void *unused) {
    const jsp_gnn_trainer *trainer = ((jsp_py_gnn_trainer *)object)->trainer;
    PyObject *dict = PyDict_New();
    const char *name;
    (void)unused;
    for (int k = 0; dict && (name = jsp_gnn_trainer_part_name(k)); k++) {
        PyObject *value = PyFloat_FromDouble(jsp_gnn_trainer_seconds(trainer, k));
        if (put(dict, name, value)) Py_CLEAR(dict);
    }
    return dict;
}

PyObject *jsp_py_gnn_trainer_metrics(void) {
    PyObject *names = PyTuple_New(JSP_GNN_TRAINER_METRICS);
    for (int k = 0; names && k < JSP_GNN_TRAINER_METRICS; k++) {
        PyObject *name = PyUnicode_FromString(jsp_gnn_trainer_metric_name(k));
        if (!name) {
            Py_CLEAR(names);
        } else {
            PyTuple_SET_ITEM(names, k, name);
        }
    }
    return names;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef trainer_methods[] = {
    {"set_schedule", WITH_KEYWORDS(trainer_set_schedule), METH_VARARGS | METH_KEYWORDS,
     "Lets the schedules run over n_iter updates from first_iteration."},
    {"step", WITH_KEYWORDS(trainer_step), METH_VARARGS | METH_KEYWORDS,
     "Runs updates; one row of metrics per update."},
    {"sample", WITH_KEYWORDS(trainer_sample), METH_VARARGS | METH_KEYWORDS,
     "Draws of graphs and parameters with their densities."},
    {"log_prob", WITH_KEYWORDS(trainer_log_prob), METH_VARARGS | METH_KEYWORDS,
     "log q of acyclic graphs and its standard error."},
    {"policy", WITH_KEYWORDS(trainer_policy), METH_VARARGS | METH_KEYWORDS,
     "Log-probabilities of actions at acyclic graphs."},
    {"loss", WITH_KEYWORDS(trainer_loss), METH_VARARGS | METH_KEYWORDS,
     "Terms and gradient of the loss on given transitions, for tests."},
    {"parameters", trainer_parameters, METH_NOARGS, "Averaged parameters by name."},
    {"set_parameters", trainer_set_parameters, METH_O,
     "Replaces the parameters that the dict names."},
    {"get_state", trainer_get_state, METH_NOARGS, "Everything needed to go on."},
    {"set_state", trainer_set_state, METH_O, "Goes back to a state of get_state."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef trainer_getset[] = {
    {"iteration", get_iteration, NULL, "Updates done.", NULL},
    {"n_parameters", get_n_parameters, NULL, "Numbers in the network.", NULL},
    {"seconds", get_seconds, NULL, "Seconds by part of the updates so far.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot trainer_slots[] = {
    {Py_tp_doc, "The published method: network, head, replay, optimiser, streams."},
    {Py_tp_new, trainer_new},
    {Py_tp_dealloc, trainer_dealloc},
    {Py_tp_methods, trainer_methods},
    {Py_tp_getset, trainer_getset},
    {0, NULL},
};

PyType_Spec jsp_py_gnn_trainer_spec = {
    .name = "jspgfn._core.GnnTrainer",
    .basicsize = sizeof(jsp_py_gnn_trainer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = trainer_slots,
};
