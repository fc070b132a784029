/* The type GnnTrainer: the published method in training, and the policy it has reached. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>
#include <string.h>

#include "jsp_gnn_density.h"
#include "jsp_memory.h"
#include "jsp_py_gnn.h"

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
    if (D > JSP_MAX_NETWORK_VARIABLES) {
        PyErr_Format(PyExc_ValueError,
                     "the data must have at most %d variables, got %d",
                     JSP_MAX_NETWORK_VARIABLES, D);
        return -1;
    }
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
    static char *names[] = {"n_updates", "time_fraction", "is_stopped", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    long n_updates, n_done;
    double time_fraction = 0;
    PyObject *is_stopped = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "l|dO:step", names, &n_updates,
                                     &time_fraction, &is_stopped) ||
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
    jsp_py_pulse pulse;
    jsp_pulse *asked = jsp_py_pulse_begin(&pulse, is_stopped);
    jsp_status status = jsp_gnn_trainer_step(self->trainer, n_updates, time_fraction,
                                             PyArray_DATA((PyArrayObject *)records),
                                             &n_done, asked, &error);
    jsp_py_pulse_end(&pulse);
    leave(self);
    const int failed = PyErr_Occurred() != NULL;
    if (status == JSP_OK && !failed) return records;
    if (status == JSP_INTERRUPTED && !failed) {
        PyObject *done = PySequence_GetSlice(records, 0, n_done);
        Py_DECREF(records);
        return done;
    }
    Py_DECREF(records);
    if (failed) return NULL;
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

static PyObject *trainer_log_prob(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"graphs", "n_runs", "seed", "n_threads", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *graphs;
    uint64_t seed;
    int n_runs, n_threads;
    jsp_error error;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OiO&i:log_prob", names, &graphs,
                                     &n_runs, jsp_py_convert_seed, &seed, &n_threads)) {
        return NULL;
    }
    const npy_intp n = jsp_py_gnn_check_acyclic(self->target.D, graphs);
    if (n < 0) return NULL;
    PyObject *values = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    PyObject *errors = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (values && errors && enter(self) == 0) {
        jsp_gnn_sampler *sampler = make_sampler(self, n_threads);
        jsp_status status = JSP_OK;
        Py_BEGIN_ALLOW_THREADS
        if (sampler) {
            status =
                jsp_gnn_density_log_prob(sampler, (long)n,
                                         PyArray_DATA((PyArrayObject *)graphs), n_runs,
                                         seed, PyArray_DATA((PyArrayObject *)values),
                                         PyArray_DATA((PyArrayObject *)errors), &error);
        }
        Py_END_ALLOW_THREADS
        leave(self);
        jsp_gnn_sampler_destroy(sampler);
        if (status != JSP_OK) jsp_py_convert_raise(Py_TYPE(object), &error);
        if (sampler && status == JSP_OK) return Py_BuildValue("NN", values, errors);
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
    const npy_intp n = jsp_py_gnn_check_acyclic(self->target.D, graphs);
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

/* ---- the type ------------------------------------------------------------------------- */

static PyObject *get_iteration(PyObject *object, void *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const long update = *jsp_gnn_trainer_open(self->trainer).update;
    leave(self);
    return PyLong_FromLong(update);
}

static PyObject *get_n_parameters(PyObject *object, void *unused) {
    (void)unused;
    return jsp_py_state_n_parameters(
        &jsp_gnn_trainer_open(((jsp_py_gnn_trainer *)object)->trainer).net->layout);
}

static PyObject *get_seconds(PyObject *object, void *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    const char *name;
    (void)unused;
    if (enter(self) < 0) return NULL;
    PyObject *dict = PyDict_New();
    for (int k = 0; dict && (name = jsp_gnn_trainer_part_name(k)); k++) {
        PyObject *value = PyFloat_FromDouble(jsp_gnn_trainer_seconds(self->trainer, k));
        if (jsp_py_state_put(dict, name, value)) Py_CLEAR(dict);
    }
    leave(self);
    return dict;
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
    {"loss", WITH_KEYWORDS(jsp_py_gnn_loss), METH_VARARGS | METH_KEYWORDS,
     "Terms and gradient of the loss on given transitions, for tests."},
    {"parameters", jsp_py_gnn_state_parameters, METH_NOARGS,
     "Averaged parameters by name."},
    {"set_parameters", jsp_py_gnn_state_set_parameters, METH_O,
     "Replaces the parameters that the dict names."},
    {"get_state", jsp_py_gnn_state_get_state, METH_NOARGS,
     "Everything needed to go on."},
    {"set_state", jsp_py_gnn_state_set_state, METH_O,
     "Goes back to a state of get_state."},
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
