/* The type Scores: data, model and prior of one problem, tabulated. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>

#include "jsp_candidates.h"
#include "jsp_conditional.h"
#include "jsp_dag.h"
#include "jsp_draws.h"
#include "jsp_memory.h"
#include "jsp_odds.h"

/* ---- candidates ------------------------------------------------------------------ */

static PyObject *list_candidates(int D, int K, const int *flat, const int *counts) {
    PyObject *lists = PyList_New(D);
    for (int j = 0; lists && j < D; j++) {
        PyObject *list = PyList_New(counts[j]);
        if (!list) {
            Py_CLEAR(lists);
            break;
        }
        PyList_SET_ITEM(lists, j, list);
        for (int k = 0; k < counts[j]; k++) {
            PyObject *item = PyLong_FromLong(flat[(size_t)j * (size_t)K + (size_t)k]);
            if (!item) {
                Py_CLEAR(lists);
                break;
            }
            PyList_SET_ITEM(list, k, item);
        }
    }
    return lists;
}

PyObject *jsp_py_scores_select_candidates(PyObject *module, PyObject *args,
                                          PyObject *kwargs) {
    static char *names[] = {
        "x",           "mask",         "model",     "model_fields", "graph_prior",
        "max_parents", "n_candidates", "intercept", "n_threads",    "edge_log_odds",
        "required",    "n_states",     NULL};
    PyObject *x, *mask, *fields, *limits, *lists = NULL;
    PyObject *log_odds, *required, *n_states;
    const char *model, *prior;
    int K, intercept, n_threads, counts[JSP_MAX_VARIABLES];
    jsp_scores_config config = {0};
    jsp_py_setup_lists memory = {.flat = NULL};
    jsp_model_setup setup;
    jsp_data *data = NULL;
    jsp_error error;
    jsp_py_module_state *state = PyModule_GetState(module);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO$sO!sOipiOOO:select_candidates",
                                     names, &x, &mask, &model, &PyDict_Type, &fields,
                                     &prior, &limits, &K, &intercept, &n_threads,
                                     &log_odds, &required, &n_states)) {
        return NULL;
    }
    if (K < 1 || K > JSP_MAX_CANDIDATES) {
        return PyErr_Format(PyExc_ValueError, "n_candidates must be 1 to %d, got %d",
                            JSP_MAX_CANDIDATES, K);
    }
    if (jsp_py_setup_read(state->scores_type, x, mask, model, fields, n_states,
                          intercept, 0, n_threads, &data, &setup) < 0 ||
        jsp_py_setup_read_config(prior, log_odds, required, limits,
                                 jsp_data_n_variables(data), &memory, &config) < 0) {
        jsp_data_destroy(data);
        return NULL;
    }
    const int D = jsp_data_n_variables(data);
    int *flat = jsp_memory_alloc((size_t)D * (size_t)K, sizeof *flat);
    if (!flat) {
        PyErr_NoMemory();
    } else {
        jsp_status status;
        Py_BEGIN_ALLOW_THREADS
        status =
            jsp_candidates_select(&setup, &config, K, n_threads, flat, counts, &error);
        Py_END_ALLOW_THREADS
        lists = status == JSP_OK ? list_candidates(D, K, flat, counts)
                                 : jsp_py_convert_raise(state->scores_type, &error);
    }
    jsp_memory_free(flat);
    jsp_data_destroy(data);
    return lists;
}

/* ---- life ------------------------------------------------------------------------ */

static int build_tables(jsp_py_scores *self, jsp_scores_config *config,
                        PyObject *progress) {
    jsp_error error;
    jsp_py_pulse pulse;
    config->pulse = jsp_py_pulse_begin(&pulse, progress);
    jsp_status status =
        jsp_scores_create(&self->setup, config, self->n_threads, &self->scores, &error);
    jsp_py_pulse_end(&pulse);
    config->pulse = NULL;
    if (PyErr_Occurred()) return -1;
    if (status == JSP_OK) return 0;
    jsp_py_convert_raise(Py_TYPE(self), &error);
    return -1;
}

/* What the candidate lists leave out. */
static int estimate_discarded(jsp_py_scores *self, const jsp_scores_config *config) {
    jsp_error error;
    jsp_status status;
    self->discarded =
        jsp_memory_alloc((size_t)self->scores->n_variables, sizeof(double));
    if (!self->discarded) {
        PyErr_NoMemory();
        return -1;
    }
    if (self->setup.model->is_costly) { /* it would fit thousands of further sets */
        for (int j = 0; j < self->scores->n_variables; j++) {
            self->discarded[j] =
                self->scores->node[j].K + 1 < self->scores->n_variables ? NAN : 0;
        }
        return 0;
    }
    Py_BEGIN_ALLOW_THREADS
    status = jsp_candidates_discarded(&self->setup, config, self->scores,
                                      self->n_threads, self->discarded, &error);
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return 0;
    jsp_py_convert_raise(Py_TYPE(self), &error);
    return -1;
}

static PyObject *scores_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "x",           "mask",       "model",     "model_fields", "graph_prior",
        "max_parents", "candidates", "intercept", "n_threads",    "edge_log_odds",
        "required",    "n_states",   "keep_rows", "tabulate",     "evidences",
        "progress",    NULL};
    PyObject *progress = Py_None, *evidences = Py_None, *x, *mask, *fields = NULL,
             *limits = NULL, *lists = NULL;
    PyObject *log_odds = NULL, *required = NULL, *n_states = NULL;
    const char *model = NULL, *prior = NULL;
    int intercept = 0, n_threads = 1, keep_rows = 0, tabulate = 1;
    jsp_scores_config config = {0};
    jsp_py_setup_lists memory = {.flat = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$sO!sOOpiOOOppOO:Scores", names,
                                     &x, &mask, &model, &PyDict_Type, &fields, &prior,
                                     &limits, &lists, &intercept, &n_threads, &log_odds,
                                     &required, &n_states, &keep_rows, &tabulate,
                                     &evidences, &progress)) {
        return NULL;
    }
    if (!model || !fields || !prior || !limits || !lists || !log_odds || !required ||
        !n_states) {
        PyErr_SetString(PyExc_TypeError, "all settings but keep_rows, tabulate, "
                                         "evidences and progress must be given");
        return NULL;
    }
    jsp_py_scores *self = (jsp_py_scores *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->n_threads = n_threads;
    int failed = jsp_py_setup_read(type, x, mask, model, fields, n_states, intercept,
                                   keep_rows, n_threads, &self->data, &self->setup);
    if (!failed) {
        int D = jsp_data_n_variables(self->data);
        failed = jsp_py_setup_read_config(prior, log_odds, required, limits, D, &memory,
                                          &config) < 0 ||
                 jsp_py_setup_read_candidates(lists, D, &memory, &config) < 0 ||
                 jsp_py_setup_read_evidences(evidences, &self->setup, &config) < 0;
        if (!failed && tabulate) {
            failed = build_tables(self, &config, progress) < 0 ||
                     estimate_discarded(self, &config) < 0;
        }
    }
    jsp_memory_free(memory.flat);
    if (!failed) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static void scores_dealloc(PyObject *object) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_scores_destroy(self->scores);
    jsp_data_destroy(self->data);
    jsp_memory_free(self->discarded);
    type->tp_free(object);
    Py_DECREF(type);
}

int jsp_py_scores_need_tables(PyObject *scores) {
    const jsp_py_scores *self = (const jsp_py_scores *)scores;
    if (self->scores) return 0;
    PyErr_Format(PyExc_ValueError,
                 "there are no tables of scores for the model '%s' here",
                 self->setup.model->name);
    return -1;
}

/* ---- methods --------------------------------------------------------------------- */

/* The node number in `argument`, or -1 with an exception. */
static int read_node(const jsp_py_scores *self, long node) {
    if (jsp_py_scores_need_tables((PyObject *)self) < 0) return -1;
    if (node >= 0 && node < self->scores->n_variables) return (int)node;
    PyErr_Format(PyExc_ValueError, "node must be 0 to %d, got %ld",
                 self->scores->n_variables - 1, node);
    return -1;
}

static PyObject *scores_candidates(PyObject *object, PyObject *argument) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    long number = PyLong_AsLong(argument);
    if (number == -1 && PyErr_Occurred()) return NULL;
    int node = read_node(self, number);
    if (node < 0) return NULL;
    const jsp_scores_node *table = &self->scores->node[node];
    PyObject *list = PyList_New(table->K);
    for (int k = 0; list && k < table->K; k++) {
        PyObject *item = PyLong_FromLong(table->candidate[k]);
        if (!item) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, k, item);
    }
    return list;
}

static PyObject *scores_local_scores(PyObject *object, PyObject *argument) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    long number = PyLong_AsLong(argument);
    if (number == -1 && PyErr_Occurred()) return NULL;
    int node = read_node(self, number);
    if (node < 0) return NULL;
    const jsp_scores_node *table = &self->scores->node[node];
    npy_intp size = (npy_intp)1 << table->K;
    PyObject *copy = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    if (!copy) return NULL;
    memcpy(PyArray_DATA((PyArrayObject *)copy), table->score,
           (size_t)size * sizeof(double));
    return copy;
}

static PyObject *scores_restricted_sum(PyObject *object, PyObject *args) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    long number;
    unsigned int S, U;
    if (!PyArg_ParseTuple(args, "lII:restricted_sum", &number, &S, &U)) return NULL;
    int node = read_node(self, number);
    if (node < 0) return NULL;
    if ((S & U) || ((uint64_t)(S | U) >> self->scores->node[node].K)) {
        PyErr_SetString(PyExc_ValueError,
                        "parents and undecided must be disjoint masks of candidates");
        return NULL;
    }
    return PyFloat_FromDouble(jsp_odds_restricted_sum(self->scores, node, S, U));
}

static PyObject *scores_log_reward(PyObject *object, PyObject *graphs) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    if (jsp_py_scores_need_tables(object) < 0) return NULL;
    const size_t D = (size_t)self->scores->n_variables;
    uint32_t *masks;
    uint8_t *possible;
    if (jsp_py_convert_check_graphs(graphs, (int)D) < 0) return NULL;
    npy_intp n = PyArray_DIM((PyArrayObject *)graphs, 0);
    PyObject *result = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (!result) return NULL;
    if (jsp_py_convert_masks(self->scores, (PyArrayObject *)graphs, &masks, &possible) <
        0) {
        Py_DECREF(result);
        return NULL;
    }
    double *log_reward = PyArray_DATA((PyArrayObject *)result);
    for (npy_intp s = 0; s < n; s++) {
        log_reward[s] =
            possible[s] ? jsp_scores_log_reward(self->scores, masks + s * (npy_intp)D)
                        : -INFINITY;
    }
    jsp_memory_free(masks);
    jsp_memory_free(possible);
    return result;
}

/* Row of the first graph that is cyclic or excluded, or -1; -2 with MemoryError. */
static npy_intp find_impossible(const jsp_scores *scores, PyArrayObject *graphs) {
    const npy_intp n = PyArray_DIM(graphs, 0), D = scores->n_variables;
    npy_intp row = jsp_dag_find_cycle((int)D, (long)n, PyArray_DATA(graphs));
    uint32_t *masks;
    uint8_t *possible;
    if (row >= 0) return row;
    if (jsp_py_convert_masks(scores, graphs, &masks, &possible) < 0) return -2;
    for (row = 0; row < n; row++) {
        if (!possible[row] ||
            !isfinite(jsp_scores_log_reward(scores, masks + row * D))) {
            break;
        }
    }
    jsp_memory_free(masks);
    jsp_memory_free(possible);
    return row < n ? row : -1;
}

/* sum [moves] += weight of the graph times its conditionals, over all graphs. */
static void add_conditionals(const jsp_scores *scores, PyArrayObject *graphs,
                             const double *weight, double *sum) {
    const int D = scores->n_variables;
    const npy_intp n = PyArray_DIM(graphs, 0);
    const uint8_t *cell = PyArray_DATA(graphs);
    jsp_bits parents[JSP_MAX_VARIABLES];
    for (npy_intp s = 0; s < n; s++) {
        for (int j = 0; j < D; j++) parents[j] = jsp_bits_empty();
        for (int i = 0; i < D; i++) {
            for (int j = 0; j < D; j++) {
                if (*cell++) jsp_bits_add(&parents[j], i);
            }
        }
        jsp_conditional_add(scores, parents, weight[s], sum);
    }
}

static PyObject *scores_edge_conditionals(PyObject *object, PyObject *args) {
    const jsp_scores *scores = ((jsp_py_scores *)object)->scores;
    PyObject *graphs, *weights;
    if (!PyArg_ParseTuple(args, "OO:edge_conditionals", &graphs, &weights)) return NULL;
    if (jsp_py_scores_need_tables(object) < 0) return NULL;
    const npy_intp D = scores->n_variables, shape[2] = {D, D};
    if (jsp_py_convert_check_graphs(graphs, (int)D) < 0) return NULL;
    PyArrayObject *array = (PyArrayObject *)graphs;
    const npy_intp row = find_impossible(scores, array);
    if (row == -2) return NULL;
    if (row >= 0) {
        return PyErr_Format(PyExc_ValueError,
                            "graph in row %zd has a cycle or is excluded", row);
    }
    PyArrayObject *weight = (PyArrayObject *)PyArray_FROMANY(weights, NPY_DOUBLE, 1, 1,
                                                             NPY_ARRAY_CARRAY_RO);
    if (!weight) return NULL;
    double *sum = NULL;
    PyObject *result = NULL;
    size_t n_moves = 0, m = 0;
    for (int j = 0; j < D; j++) n_moves += (size_t)scores->node[j].K;
    if (PyArray_DIM(weight, 0) != PyArray_DIM(array, 0)) {
        PyErr_SetString(PyExc_ValueError, "weights must have one entry per graph");
    } else if (!(sum = jsp_memory_alloc(n_moves + 1, sizeof *sum))) {
        PyErr_NoMemory();
    } else {
        result = PyArray_ZEROS(2, shape, NPY_DOUBLE, 0);
    }
    if (result) {
        double *cell = PyArray_DATA((PyArrayObject *)result);
        Py_BEGIN_ALLOW_THREADS
        add_conditionals(scores, array, PyArray_DATA(weight), sum);
        Py_END_ALLOW_THREADS
        for (int j = 0; j < D; j++) {
            for (int k = 0; k < scores->node[j].K; k++)
                cell[scores->node[j].candidate[k] * D + j] = sum[m++];
        }
    }
    jsp_memory_free(sum);
    Py_DECREF(weight);
    return result;
}

/* Index of the first edge of every graph, [n + 1]; the caller frees it, may be NULL. */
static long *count_edges(PyArrayObject *graphs) {
    const npy_intp n = PyArray_DIM(graphs, 0);
    const npy_intp cells = PyArray_DIM(graphs, 1) * PyArray_DIM(graphs, 2);
    const uint8_t *cell = PyArray_DATA(graphs);
    long *first = jsp_memory_alloc((size_t)n + 1, sizeof *first);
    for (npy_intp s = 0; first && s < n; s++) {
        first[s + 1] = first[s];
        for (npy_intp k = 0; k < cells; k++) first[s + 1] += *cell++ != 0;
    }
    return first;
}

static PyObject *refuse_model(const jsp_py_scores *self) {
    const char *name = self->setup.model->name;
    return PyErr_Format(PyExc_ValueError, "the model '%s' has other parameters", name);
}

static PyObject *scores_draw_parameters(PyObject *object, PyObject *args,
                                        PyObject *kwargs) {
    static char *names[] = {"graphs", "seed", "first_draw", NULL};
    jsp_py_scores *self = (jsp_py_scores *)object;
    PyObject *graphs;
    uint64_t seed;
    long first_draw = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&|l:draw_parameters", names,
                                     &graphs, jsp_py_convert_seed, &seed,
                                     &first_draw)) {
        return NULL;
    }
    if (jsp_py_scores_need_tables(object) < 0) return NULL;
    if (self->setup.model->is_discrete) return refuse_model(self);
    if (jsp_py_convert_check_graphs(graphs, self->scores->n_variables) < 0) return NULL;
    PyArrayObject *array = (PyArrayObject *)graphs;
    long *first_edge = count_edges(array);
    if (!first_edge) return PyErr_NoMemory();
    const int n_extra = jsp_model_n_extra(&self->setup);
    const npy_intp shape[3] = {PyArray_DIM(array, 0), PyArray_DIM(array, 1), n_extra};
    const npy_intp n_edges = first_edge[shape[0]];
    PyObject *weights = PyArray_SimpleNew(1, &n_edges, NPY_DOUBLE);
    PyObject *intercepts = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    PyObject *noise = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    PyObject *density = PyArray_SimpleNew(1, shape, NPY_DOUBLE);
    PyObject *extra = PyArray_SimpleNew(3, shape, NPY_DOUBLE);
    jsp_error error = {JSP_ERROR_MEMORY, "could not allocate the draws"};
    jsp_status status = JSP_ERROR_MEMORY;
    if (weights && intercepts && noise && density && extra) {
        double *extra_cells = n_extra ? PyArray_DATA((PyArrayObject *)extra) : NULL;
        jsp_py_pulse pulse;
        jsp_pulse *asked = jsp_py_pulse_begin(&pulse, Py_None);
        status =
            jsp_draws_parameters(&self->setup, (long)shape[0], PyArray_DATA(array),
                                 seed, first_draw, self->n_threads, first_edge,
                                 PyArray_DATA((PyArrayObject *)weights),
                                 PyArray_DATA((PyArrayObject *)intercepts),
                                 PyArray_DATA((PyArrayObject *)noise), extra_cells,
                                 PyArray_DATA((PyArrayObject *)density), asked, &error);
        jsp_py_pulse_end(&pulse);
    }
    jsp_memory_free(first_edge);
    if (PyErr_Occurred()) status = JSP_INTERRUPTED; /* perhaps after the last draw */
    if (status == JSP_OK && n_extra) {
        return Py_BuildValue("NNNNN", weights, intercepts, noise, density, extra);
    }
    Py_XDECREF(extra);
    if (status == JSP_OK)
        return Py_BuildValue("NNNN", weights, intercepts, noise, density);
    Py_XDECREF(weights);
    Py_XDECREF(intercepts);
    Py_XDECREF(noise);
    Py_XDECREF(density);
    return PyErr_Occurred() ? NULL : jsp_py_convert_raise(Py_TYPE(object), &error);
}

/* A list of increasing variables other than the node; returns their number or -1. */
static int read_parents(PyObject *list, int D, int node, int *parents) {
    if (!PyList_Check(list) || PyList_GET_SIZE(list) < 1 ||
        PyList_GET_SIZE(list) >= D) {
        PyErr_SetString(PyExc_ValueError, "parents must be a list of variables");
        return -1;
    }
    int n = (int)PyList_GET_SIZE(list);
    if (n > JSP_MAX_PARENTS) {
        PyErr_Format(PyExc_ValueError, "a variable has at most %d parents, got %d",
                     JSP_MAX_PARENTS, n);
        return -1;
    }
    for (int k = 0; k < n; k++) {
        long i = PyLong_AsLong(PyList_GET_ITEM(list, k));
        if (i == -1 && PyErr_Occurred()) return -1;
        if (i < 0 || i >= D || i == node || (k > 0 && i <= parents[k - 1])) {
            PyErr_Format(PyExc_ValueError,
                         "parents must be increasing and without the node, got %ld", i);
            return -1;
        }
        parents[k] = (int)i;
    }
    return n;
}

static PyObject *scores_feature_map(PyObject *object, PyObject *args) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    long number;
    PyObject *list;
    int parents[JSP_MAX_VARIABLES], M = jsp_model_n_extra(&self->setup);
    if (!PyArg_ParseTuple(args, "lO:feature_map", &number, &list)) return NULL;
    if (self->setup.model != &jsp_model_features) return refuse_model(self);
    int node = read_node(self, number);
    if (node < 0) return NULL;
    int p = read_parents(list, self->scores->n_variables, node, parents);
    if (p < 0) return NULL;
    const npy_intp shape[2] = {M, p};
    PyObject *direction = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    PyObject *offset = PyArray_SimpleNew(1, shape, NPY_DOUBLE);
    if (!direction || !offset) {
        Py_XDECREF(direction);
        Py_XDECREF(offset);
        return NULL;
    }
    jsp_model_features_map(&self->setup, node, p, parents,
                           PyArray_DATA((PyArrayObject *)direction),
                           PyArray_DATA((PyArrayObject *)offset));
    return Py_BuildValue("NN", direction, offset);
}

static PyObject *scores_evidence(PyObject *object, PyObject *args) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    long number;
    PyObject *list;
    int parents[JSP_MAX_VARIABLES], D = jsp_data_n_variables(self->data), p = 0;
    double value = 0, standard_error = 0;
    jsp_error error;
    jsp_status status;
    if (!PyArg_ParseTuple(args, "lO!:evidence", &number, &PyList_Type, &list))
        return NULL;
    if (number < 0 || number >= D) {
        return PyErr_Format(PyExc_ValueError, "node must be 0 to %d, got %ld", D - 1,
                            number);
    }
    if (PyList_GET_SIZE(list) > 0) p = read_parents(list, D, (int)number, parents);
    if (p < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    const jsp_model *model = self->setup.model;
    if (model->estimate) {
        status = model->estimate(&self->setup, (int)number, p, parents, &value,
                                 &standard_error, &error);
    } else {
        status = model->evidence(&self->setup, (int)number, p, parents, &value, &error);
    }
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return Py_BuildValue("dd", value, standard_error);
    return jsp_py_convert_raise(Py_TYPE(object), &error);
}

static PyObject *scores_table_sizes(PyObject *object, PyObject *graphs) {
    jsp_py_scores *self = (jsp_py_scores *)object;
    if (jsp_py_scores_need_tables(object) < 0) return NULL;
    if (!self->setup.model->is_discrete) return refuse_model(self);
    if (jsp_py_convert_check_graphs(graphs, self->scores->n_variables) < 0) return NULL;
    PyArrayObject *array = (PyArrayObject *)graphs;
    PyObject *sizes = PyArray_SimpleNew(2, PyArray_DIMS(array), NPY_INT64);
    if (!sizes) return NULL;
    jsp_draws_table_sizes(self->data, (long)PyArray_DIM(array, 0), PyArray_DATA(array),
                          PyArray_DATA((PyArrayObject *)sizes));
    return sizes;
}

static PyObject *scores_draw_tables(PyObject *object, PyObject *args,
                                    PyObject *kwargs) {
    static char *names[] = {"graphs", "seed", "first_draw", NULL};
    jsp_py_scores *self = (jsp_py_scores *)object;
    PyObject *graphs;
    uint64_t seed;
    long first_draw = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&|l:draw_tables", names, &graphs,
                                     jsp_py_convert_seed, &seed, &first_draw)) {
        return NULL;
    }
    PyObject *offsets = scores_table_sizes(object, graphs);
    if (!offsets) return NULL;
    PyArrayObject *array = (PyArrayObject *)graphs;
    int64_t *first_cell = PyArray_DATA((PyArrayObject *)offsets);
    npy_intp n_cells = 0;
    for (npy_intp k = 0; k < PyArray_SIZE((PyArrayObject *)offsets); k++) {
        int64_t size = first_cell[k];
        first_cell[k] = n_cells;
        n_cells = size > NPY_MAX_INTP - n_cells ? NPY_MAX_INTP : n_cells + size;
    }
    PyObject *tables = PyArray_SimpleNew(1, &n_cells, NPY_DOUBLE);
    PyObject *density = PyArray_SimpleNew(1, PyArray_DIMS(array), NPY_DOUBLE);
    jsp_error error = {JSP_ERROR_MEMORY, "could not allocate the draws"};
    jsp_status status = JSP_ERROR_MEMORY;
    if (tables && density) {
        jsp_py_pulse pulse;
        jsp_pulse *asked = jsp_py_pulse_begin(&pulse, Py_None);
        status =
            jsp_draws_tables(&self->setup, (long)PyArray_DIM(array, 0),
                             PyArray_DATA(array), seed, first_draw, self->n_threads,
                             first_cell, PyArray_DATA((PyArrayObject *)tables),
                             PyArray_DATA((PyArrayObject *)density), asked, &error);
        jsp_py_pulse_end(&pulse);
        if (PyErr_Occurred()) status = JSP_INTERRUPTED;
    }
    if (status == JSP_OK) return Py_BuildValue("NNN", tables, offsets, density);
    Py_XDECREF(tables);
    Py_XDECREF(density);
    Py_DECREF(offsets);
    return PyErr_Occurred() ? NULL : jsp_py_convert_raise(Py_TYPE(object), &error);
}

static PyObject *get_discarded(PyObject *object, void *unused) {
    (void)unused;
    jsp_py_scores *self = (jsp_py_scores *)object;
    if (jsp_py_scores_need_tables(object) < 0) return NULL;
    npy_intp D = self->scores->n_variables;
    PyObject *copy = PyArray_SimpleNew(1, &D, NPY_DOUBLE);
    if (copy) {
        memcpy(PyArray_DATA((PyArrayObject *)copy), self->discarded,
               (size_t)D * sizeof(double));
    }
    return copy;
}

static PyObject *get_n_variables(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromLong(jsp_data_n_variables(((jsp_py_scores *)object)->data));
}

static PyObject *get_n_bytes(PyObject *object, void *unused) {
    (void)unused;
    const jsp_scores *scores = ((jsp_py_scores *)object)->scores;
    return PyLong_FromSize_t(scores ? scores->n_bytes : 0);
}

static PyMethodDef scores_methods[] = {
    {"candidates", scores_candidates, METH_O, "Candidate parents of a node."},
    {"local_scores", scores_local_scores, METH_O,
     "Copy of the local scores of a node."},
    {"restricted_sum", scores_restricted_sum, METH_VARARGS,
     "Restricted sum, for tests."},
    {"log_reward", scores_log_reward, METH_O, "log R of graphs; -inf when excluded."},
    {"edge_conditionals", scores_edge_conditionals, METH_VARARGS,
     "Weighted sum over graphs of edge probabilities given the rest of each."},
    {"draw_parameters", (PyCFunction)(void (*)(void))scores_draw_parameters,
     METH_VARARGS | METH_KEYWORDS, "Exact draws of parameters given graphs."},
    {"draw_tables", (PyCFunction)(void (*)(void))scores_draw_tables,
     METH_VARARGS | METH_KEYWORDS, "Exact draws of conditional probability tables."},
    {"feature_map", scores_feature_map, METH_VARARGS,
     "Directions and offsets of the random features of a parent set."},
    {"evidence", scores_evidence, METH_VARARGS,
     "Log evidence of one node and parent set, without tables, and standard error."},
    {"table_sizes", scores_table_sizes, METH_O, "Numbers in the table of every node."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef scores_getset[] = {
    {"discarded", get_discarded, NULL, "Mass outside the candidates, by node.", NULL},
    {"n_variables", get_n_variables, NULL, "Number of variables.", NULL},
    {"n_bytes", get_n_bytes, NULL, "Memory held by the tables.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot scores_slots[] = {
    {Py_tp_doc, "Local scores of all parent sets of all nodes."},
    {Py_tp_new, scores_new},
    {Py_tp_dealloc, scores_dealloc},
    {Py_tp_methods, scores_methods},
    {Py_tp_getset, scores_getset},
    {0, NULL},
};

PyType_Spec jsp_py_scores_spec = {
    .name = "jspgfn._core.Scores",
    .basicsize = sizeof(jsp_py_scores),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scores_slots,
};
