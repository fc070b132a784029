/* The type Trainer: the edges generator in training, and the policy it has reached. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>

#include "jsp_dag.h"
#include "jsp_memory.h"
#include "jsp_py_state.h"

/* ---- one call at a time ---------------------------------------------------------- */

static int enter(jsp_py_trainer *self) {
    return jsp_py_busy_enter(&self->busy);
}

static void leave(jsp_py_trainer *self) {
    jsp_py_busy_leave(&self->busy);
}

static const jsp_scores *scores_of(const jsp_py_trainer *self) {
    return ((jsp_py_scores *)self->scores)->scores;
}

/* ---- life ------------------------------------------------------------------------ */

static int check_positive(const char *name, long value) {
    if (value >= 1) return 0;
    PyErr_Format(PyExc_ValueError, "%s must be at least 1, got %ld", name, value);
    return -1;
}

static int check_rates(double learning_rate, double likelihood_fraction) {
    if (!(learning_rate > 0) || !isfinite(learning_rate)) {
        PyErr_SetString(PyExc_ValueError, "learning_rate must be positive and finite");
        return -1;
    }
    if (!(likelihood_fraction >= 0 && likelihood_fraction <= 1)) {
        PyErr_SetString(PyExc_ValueError, "likelihood_fraction must be from 0 to 1");
        return -1;
    }
    return 0;
}

/* Overwrites the entries that a dict names. */
static int read_tuning(PyObject *dict, jsp_trainer_tuning *tuning) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "tuning must be a dict");
        return -1;
    }
    while (PyDict_Next(dict, &place, &key, &value)) {
        const char *name = PyUnicode_AsUTF8(key);
        int k = 0;
        if (!name) return -1;
        while (k < JSP_TRAINER_TUNINGS && strcmp(name, jsp_trainer_tuning_name(k))) k++;
        if (k == JSP_TRAINER_TUNINGS) {
            PyErr_Format(PyExc_ValueError, "tuning has no entry '%s'", name);
            return -1;
        }
        ((double *)tuning)[k] = PyFloat_AsDouble(value);
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "scores", "n_iter", "batch_size", "learning_rate", "likelihood_fraction",
        "seed",   "order",  "n_threads",  "tuning",        NULL};
    jsp_trainer_config config = {0};
    uint64_t seed = 0;
    PyObject *scores, *tuning = NULL;
    jsp_error error;
    jsp_py_module_state *state = jsp_py_module_state_of(type);
    if (!state) return NULL;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!|$liddO&iiO:Trainer", names, state->scores_type, &scores,
            &config.schedule.n_updates, &config.batch_size,
            &config.schedule.learning_rate, &config.schedule.likelihood_fraction,
            jsp_py_convert_seed, &seed, &config.order, &config.n_threads, &tuning)) {
        return NULL;
    }
    config.seed = seed;
    jsp_trainer_tuning_default(config.batch_size,
                               ((jsp_py_scores *)scores)->scores->n_variables,
                               &config.tuning);
    if (tuning && read_tuning(tuning, &config.tuning) < 0) return NULL;
    if (check_rates(config.schedule.learning_rate,
                    config.schedule.likelihood_fraction) < 0 ||
        check_positive("n_iter", config.schedule.n_updates) < 0 ||
        check_positive("batch_size", config.batch_size) < 0 ||
        check_positive("n_threads", config.n_threads) < 0) {
        return NULL;
    }
    if (jsp_py_scores_need_tables(scores) < 0) return NULL;
    jsp_py_trainer *self = (jsp_py_trainer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->scores = Py_NewRef(scores);
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status = jsp_trainer_create(scores_of(self), &config, &self->trainer, &error);
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return (PyObject *)self;
    jsp_py_convert_raise(type, &error);
    Py_DECREF(self);
    return NULL;
}

static void trainer_dealloc(PyObject *object) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_trainer_destroy(self->trainer);
    Py_XDECREF(self->scores);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- training -------------------------------------------------------------------- */

static PyObject *trainer_step(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n_updates", "time_fraction", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    long n_updates, n_done;
    double time_fraction = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "l|d:step", names, &n_updates,
                                     &time_fraction) ||
        check_positive("n_updates", n_updates) < 0) {
        return NULL;
    }
    const npy_intp shape[2] = {n_updates, JSP_TRAINER_METRICS};
    PyObject *records = PyArray_ZEROS(2, shape, NPY_DOUBLE, 0);
    if (!records || enter(self) < 0) {
        Py_XDECREF(records);
        return NULL;
    }
    jsp_error error;
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status = jsp_trainer_step(self->trainer, n_updates, time_fraction,
                              PyArray_DATA((PyArrayObject *)records), &n_done, &error);
    Py_END_ALLOW_THREADS
    leave(self);
    if (status == JSP_OK) return records;
    Py_DECREF(records);
    return jsp_py_convert_raise(Py_TYPE(object), &error);
}

static PyObject *trainer_set_schedule(PyObject *object, PyObject *args,
                                      PyObject *kwargs) {
    static char *names[] = {"first_iteration", "n_iter", "likelihood_fraction", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    long first, n_updates;
    double fraction;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "lld:set_schedule", names, &first,
                                     &n_updates, &fraction) ||
        check_positive("n_iter", n_updates) < 0 || enter(self) < 0) {
        return NULL;
    }
    jsp_schedule *schedule = jsp_trainer_state_open(self->trainer).schedule;
    schedule->first = first;
    schedule->n_updates = n_updates;
    schedule->likelihood_fraction = fraction;
    leave(self);
    Py_RETURN_NONE;
}

/* ---- using the policy ------------------------------------------------------------ */

static PyObject *trainer_sample(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", "seed", "n_threads", "first_draw", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    const size_t D = (size_t)scores_of(self)->n_variables;
    Py_ssize_t n;
    uint64_t seed;
    int n_threads;
    long first_draw = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nO&i|l:sample", names, &n,
                                     jsp_py_convert_seed, &seed, &n_threads,
                                     &first_draw) ||
        check_positive("n", (long)n) < 0) {
        return NULL;
    }
    const npy_intp length = n;
    PyObject *log_q = PyArray_SimpleNew(1, &length, NPY_DOUBLE);
    PyObject *log_reward = PyArray_SimpleNew(1, &length, NPY_DOUBLE);
    PyObject *graphs = NULL;
    uint32_t *parents = jsp_memory_alloc((size_t)n * D, sizeof *parents);
    if (!parents) PyErr_NoMemory();
    if (parents && log_q && log_reward && enter(self) == 0) {
        jsp_error error;
        jsp_status status;
        Py_BEGIN_ALLOW_THREADS
        status =
            jsp_trainer_draws_sample(self->trainer, (long)n, seed, first_draw,
                                     n_threads, parents,
                                     PyArray_DATA((PyArrayObject *)log_q),
                                     PyArray_DATA((PyArrayObject *)log_reward), &error);
        Py_END_ALLOW_THREADS
        leave(self);
        graphs = status == JSP_OK
                     ? jsp_py_convert_graphs(scores_of(self), length, parents)
                     : jsp_py_convert_raise(Py_TYPE(object), &error);
    }
    jsp_memory_free(parents);
    if (graphs) return Py_BuildValue("NNN", graphs, log_q, log_reward);
    Py_XDECREF(log_q);
    Py_XDECREF(log_reward);
    return NULL;
}

static PyObject *trainer_log_prob(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"graphs", "n_threads", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    PyObject *graphs;
    int n_threads;
    uint32_t *masks;
    uint8_t *possible;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi:log_prob", names, &graphs,
                                     &n_threads) ||
        jsp_py_convert_check_graphs(graphs, scores_of(self)->n_variables) < 0) {
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)graphs;
    const npy_intp n = PyArray_DIM(array, 0);
    PyObject *result = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (!result ||
        jsp_py_convert_masks(scores_of(self), array, &masks, &possible) < 0) {
        Py_XDECREF(result);
        return NULL;
    }
    double *log_q = PyArray_DATA((PyArrayObject *)result);
    if (enter(self) < 0) {
        Py_CLEAR(result);
    } else {
        jsp_error error;
        jsp_status status;
        Py_BEGIN_ALLOW_THREADS
        status = jsp_trainer_draws_log_prob(self->trainer, (long)n, masks, n_threads,
                                            log_q, &error);
        Py_END_ALLOW_THREADS
        leave(self);
        if (status != JSP_OK) {
            Py_CLEAR(result);
            jsp_py_convert_raise(Py_TYPE(object), &error);
        }
    }
    for (npy_intp s = 0; result && s < n; s++) {
        if (!possible[s]) log_q[s] = -INFINITY;
    }
    jsp_memory_free(masks);
    jsp_memory_free(possible);
    return result;
}

static PyObject *trainer_chain_graphs(PyObject *object, PyObject *unused) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    jsp_trainer_view view = jsp_trainer_state_open(self->trainer);
    PyObject *graphs =
        jsp_py_convert_graphs(view.scores, view.n_chains, view.chain_parents);
    leave(self);
    return graphs;
}

/* ---- parameters and state -------------------------------------------------------- */

static PyObject *trainer_parameters(PyObject *object, PyObject *unused) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const jsp_trainer_view view = jsp_trainer_state_open(self->trainer);
    PyObject *dict = jsp_py_state_tensors(view.layout, view.average);
    leave(self);
    return dict;
}

static PyObject *trainer_perturb(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scale", "seed", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    double scale;
    uint64_t seed;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "dO&:perturb", names, &scale,
                                     jsp_py_convert_seed, &seed) ||
        enter(self) < 0) {
        return NULL;
    }
    jsp_trainer_view view = jsp_trainer_state_open(self->trainer);
    for (int k = 0; k < view.layout->n_tensors; k++) {
        const jsp_params_tensor *tensor = &view.layout->tensor[k];
        jsp_rng rng;
        jsp_rng_init(&rng, seed, 0, (uint32_t)k, JSP_RNG_TEST);
        for (int m = 0; m < tensor->shape[0] * tensor->shape[1]; m++) {
            view.average[tensor->offset + (size_t)m] +=
                (jsp_real)(scale * jsp_rng_normal(&rng));
        }
    }
    leave(self);
    Py_RETURN_NONE;
}

/* The blocks of numbers that a saved state holds, by name. */
enum { N_BLOCKS = 5 };
static const char *const block_name[N_BLOCKS] = {"params", "average", "first_moment",
                                                 "second_moment", "good"};

static void list_blocks(const jsp_trainer_view *view, jsp_real *block[N_BLOCKS]) {
    block[0] = view->params;
    block[1] = view->average;
    block[2] = view->first_moment;
    block[3] = view->second_moment;
    block[4] = view->good;
}

/* dict["kept"], dict["kept_counts"] */
static int put_kept(PyObject *dict, const jsp_trainer *trainer,
                    const jsp_trainer_view *view) {
    const npy_intp shape[2] = {view->n_kept, view->scores->n_variables};
    const npy_intp n_counts = view->n_counts;
    PyObject *graphs = PyArray_SimpleNew(2, shape, NPY_UINT32);
    PyObject *counts = PyArray_SimpleNew(1, &n_counts, NPY_INT32);
    if (graphs && counts) {
        jsp_trainer_state_get_kept(trainer, PyArray_DATA((PyArrayObject *)graphs),
                                   PyArray_DATA((PyArrayObject *)counts));
    }
    const int failed = jsp_py_state_put(dict, "kept", graphs);
    return jsp_py_state_put(dict, "kept_counts", counts) || failed ? -1 : 0;
}

static PyObject *trainer_get_state(PyObject *object, PyObject *unused) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    (void)unused;
    PyObject *dict = PyDict_New();
    if (!dict || enter(self) < 0) {
        Py_XDECREF(dict);
        return NULL;
    }
    jsp_trainer_view view = jsp_trainer_state_open(self->trainer);
    jsp_real *block[N_BLOCKS];
    list_blocks(&view, block);
    const npy_intp size = (npy_intp)view.layout->size;
    const npy_intp n_guard = JSP_TRAINER_GUARD;
    const npy_intp chains[2] = {view.n_chains, view.scores->n_variables};
    int failed = 0;
    for (int k = 0; k < N_BLOCKS && !failed; k++) {
        failed = jsp_py_state_put(dict, block_name[k],
                                  jsp_py_state_copy(1, &size, JSP_PY_REAL, block[k]));
    }
    failed =
        failed ||
        jsp_py_state_put(dict, "policy", PyLong_FromLong(view.edges->policy)) ||
        jsp_py_state_put(dict, "seed", PyLong_FromUnsignedLongLong(*view.seed)) ||
        jsp_py_state_put(dict, "chains",
                         jsp_py_state_copy(2, chains, NPY_UINT32,
                                           view.chain_parents)) ||
        put_kept(dict, self->trainer, &view) ||
        jsp_py_state_put(dict, "guard",
                         jsp_py_state_copy(1, &n_guard, NPY_DOUBLE, view.guard)) ||
        jsp_py_state_put(dict, "iteration", PyLong_FromLong(*view.update)) ||
        jsp_py_state_put(dict, "adam_steps", PyLong_FromLong(*view.adam_steps)) ||
        jsp_py_state_put(dict, "gradient_norm_mean",
                         PyFloat_FromDouble(*view.gradient_norm_mean)) ||
        jsp_py_state_put(dict, "first_iteration",
                         PyLong_FromLong(view.schedule->first)) ||
        jsp_py_state_put(dict, "n_iter", PyLong_FromLong(view.schedule->n_updates)) ||
        jsp_py_state_put(dict, "likelihood_fraction",
                         PyFloat_FromDouble(view.schedule->likelihood_fraction)) ||
        jsp_py_state_put(dict, "learning_rate",
                         PyFloat_FromDouble(view.schedule->learning_rate));
    leave(self);
    if (failed) Py_CLEAR(dict);
    return dict;
}

/* Every graph [n, D] of a saved state must hold allowed parent sets without a cycle. */
static int check_chains(const jsp_trainer_view *view, const char *name, int n,
                        const uint32_t *chains) {
    const int D = view->scores->n_variables;
    int fits = 1;
    for (int k = 0; k < n * D; k++) {
        const jsp_scores_node *node = &view->scores->node[k % D];
        fits = fits && !((uint64_t)chains[k] >> node->K) &&
               isfinite(node->score[chains[k]]);
    }
    if (fits) {
        PyObject *graphs = jsp_py_convert_graphs(view->scores, n, chains);
        if (!graphs) return -1;
        const uint8_t *cells = PyArray_DATA((PyArrayObject *)graphs);
        fits = jsp_dag_find_cycle(D, n, cells) < 0;
        Py_DECREF(graphs);
    }
    if (fits) return 0;
    PyErr_Format(PyExc_ValueError, "'%s' of the state belongs to another problem",
                 name);
    return -1;
}

/* Numbers of a saved state. Counts come first. */
enum {
    ITERATION,
    ADAM_STEPS,
    FIRST_ITERATION,
    N_ITER,
    N_COUNTS,
    NORM_MEAN = N_COUNTS,
    FRACTION,
    LEARNING_RATE,
    N_NUMBERS
};

static int read_numbers(PyObject *state, double number[N_NUMBERS]) {
    static const char *const name[N_NUMBERS] = {
        "iteration",          "adam_steps",          "first_iteration", "n_iter",
        "gradient_norm_mean", "likelihood_fraction", "learning_rate"};
    for (int k = 0; k < N_NUMBERS; k++) {
        const double most = k < N_COUNTS ? 4e9 : 1e300;
        if (jsp_py_state_number(state, name[k], k == N_ITER, most, &number[k]) < 0) {
            return -1;
        }
    }
    return check_rates(number[LEARNING_RATE], number[FRACTION]);
}

static int read_seed(PyObject *state, uint64_t *seed) {
    PyObject *value = PyDict_GetItemString(state, "seed");
    if (!value) {
        PyErr_SetString(PyExc_ValueError, "the state lacks 'seed'");
        return -1;
    }
    *seed = PyLong_AsUnsignedLongLong(value);
    return PyErr_Occurred() ? -1 : 0;
}

/* States without the entry are of version 1. */
static int check_policy(PyObject *state, const jsp_edges *edges) {
    PyObject *value = PyDict_GetItemString(state, "policy");
    if (value && PyLong_AsLong(value) == edges->policy) return 0;
    if (PyErr_Occurred()) return -1;
    PyErr_SetString(PyExc_ValueError,
                    "this policy was trained by a version of jspgfn whose generator "
                    "'edges' gave parameters another meaning; fit again");
    return -1;
}

static int write_state(jsp_trainer *trainer, PyObject *state) {
    const jsp_trainer_view opened = jsp_trainer_state_open(trainer), *view = &opened;
    const npy_intp size = (npy_intp)view->layout->size;
    const npy_intp shape[2] = {view->n_chains, view->scores->n_variables};
    const void *source[N_BLOCKS];
    jsp_real *block[N_BLOCKS];
    double number[N_NUMBERS];
    uint64_t seed;
    if (check_policy(state, view->edges) < 0) return -1;
    for (int k = 0; k < N_BLOCKS; k++) {
        source[k] = jsp_py_state_data(state, block_name[k], JSP_PY_REAL, 1, &size);
        if (!source[k]) return -1;
    }
    const uint32_t *chains = jsp_py_state_data(state, "chains", NPY_UINT32, 2, shape);
    if (!chains || check_chains(view, "chains", view->n_chains, chains) < 0) return -1;
    const npy_intp kept_shape[2] = {view->n_kept, view->scores->n_variables};
    const npy_intp n_counts = view->n_counts;
    const uint32_t *kept = jsp_py_state_data(state, "kept", NPY_UINT32, 2, kept_shape);
    if (!kept || check_chains(view, "kept", view->n_kept, kept) < 0) return -1;
    const int32_t *counts =
        jsp_py_state_data(state, "kept_counts", NPY_INT32, 1, &n_counts);
    if (!counts) return -1;
    const npy_intp n_guard = JSP_TRAINER_GUARD;
    const double *guard = jsp_py_state_data(state, "guard", NPY_DOUBLE, 1, &n_guard);
    if (!guard) return -1;
    if (read_numbers(state, number) < 0 || read_seed(state, &seed) < 0) return -1;
    if (!jsp_trainer_state_set_kept(trainer, kept, counts)) {
        PyErr_SetString(PyExc_ValueError,
                        "'kept_counts' of the state belongs to another problem");
        return -1;
    }
    /* everything is checked: from here on nothing fails */
    memcpy(view->guard, guard, JSP_TRAINER_GUARD * sizeof *guard);
    list_blocks(view, block);
    for (int k = 0; k < N_BLOCKS; k++) {
        memcpy(block[k], source[k], (size_t)size * sizeof(jsp_real));
    }
    memcpy(view->chain_parents, chains, (size_t)(shape[0] * shape[1]) * sizeof *chains);
    *view->update = (long)number[ITERATION];
    *view->adam_steps = (long)number[ADAM_STEPS];
    *view->gradient_norm_mean = number[NORM_MEAN];
    *view->seed = seed;
    *view->schedule =
        (jsp_schedule){(long)number[FIRST_ITERATION], (long)number[N_ITER],
                       number[FRACTION], number[LEARNING_RATE]};
    return 0;
}

static PyObject *trainer_set_state(PyObject *object, PyObject *state) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    if (!PyDict_Check(state)) {
        PyErr_SetString(PyExc_TypeError, "state must be a dict made by get_state");
        return NULL;
    }
    if (enter(self) < 0) return NULL;
    int failed = write_state(self->trainer, state);
    if (!failed) jsp_trainer_state_sync(self->trainer);
    leave(self);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_iteration(PyObject *object, void *unused) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const long update = *jsp_trainer_state_open(self->trainer).update;
    leave(self);
    return PyLong_FromLong(update);
}

static PyObject *get_n_parameters(PyObject *object, void *unused) {
    (void)unused;
    return jsp_py_state_n_parameters(
        jsp_trainer_state_open(((jsp_py_trainer *)object)->trainer).layout);
}

static PyObject *get_counters(PyObject *object, void *unused) {
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    (void)unused;
    if (enter(self) < 0) return NULL;
    const jsp_trainer_counters counters = jsp_trainer_count(self->trainer);
    leave(self);
    return Py_BuildValue("{sKsKsK}", "n_options",
                         (unsigned long long)counters.n_options, "n_rows",
                         (unsigned long long)counters.n_rows, "n_rows_computed",
                         (unsigned long long)counters.n_rows_computed);
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef trainer_methods[] = {
    {"set_schedule", WITH_KEYWORDS(trainer_set_schedule), METH_VARARGS | METH_KEYWORDS,
     "Lets the schedules run over n_iter updates from first_iteration."},
    {"step", WITH_KEYWORDS(trainer_step), METH_VARARGS | METH_KEYWORDS,
     "Runs updates; one row of metrics per update."},
    {"sample", WITH_KEYWORDS(trainer_sample), METH_VARARGS | METH_KEYWORDS,
     "Draws of the averaged policy: graphs, log q, log R."},
    {"log_prob", WITH_KEYWORDS(trainer_log_prob), METH_VARARGS | METH_KEYWORDS,
     "log q of acyclic graphs; -inf for excluded ones."},
    {"refine", WITH_KEYWORDS(jsp_py_refine_run), METH_VARARGS | METH_KEYWORDS,
     "Metropolis-Hastings on graphs with the policy as proposal: graphs, acceptances."},
    {"start_from", jsp_py_refine_start_from, METH_O,
     "Takes over what another trainer of as many variables has learned."},
    {"chain_graphs", trainer_chain_graphs, METH_NOARGS, "States of the chains."},
    {"parameters", trainer_parameters, METH_NOARGS, "Averaged parameters by name."},
    {"perturb", WITH_KEYWORDS(trainer_perturb), METH_VARARGS | METH_KEYWORDS,
     "Adds normal noise to the averaged policy, for tests."},
    {"get_state", trainer_get_state, METH_NOARGS, "Everything needed to go on."},
    {"set_state", trainer_set_state, METH_O, "Goes back to a state of get_state."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef trainer_getset[] = {
    {"iteration", get_iteration, NULL, "Updates done.", NULL},
    {"n_parameters", get_n_parameters, NULL, "Numbers in the network.", NULL},
    {"counters", get_counters, NULL, "Work done so far, for profiles.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot trainer_slots[] = {
    {Py_tp_doc,
     "The edges generator with its schedules, chains, optimiser and streams."},
    {Py_tp_new, trainer_new},
    {Py_tp_dealloc, trainer_dealloc},
    {Py_tp_methods, trainer_methods},
    {Py_tp_getset, trainer_getset},
    {0, NULL},
};

PyType_Spec jsp_py_trainer_spec = {
    .name = "jspgfn._core.Trainer",
    .basicsize = sizeof(jsp_py_trainer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = trainer_slots,
};
