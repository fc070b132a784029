/* Methods of Trainer that use its policy on other problems' terms: refinement of draws,
 * and a start from another trainer. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_dag.h"
#include "jsp_edges_transfer.h"
#include "jsp_memory.h"
#include "jsp_refine.h"

static int check_least(const char *name, long value, long least) {
    if (value >= least) return 0;
    PyErr_Format(PyExc_ValueError, "%s must be at least %ld, got %ld", name, least,
                 value);
    return -1;
}

/* Local masks of graphs that are all acyclic and allowed; NULL with an exception. */
static uint32_t *read_graphs(const jsp_scores *scores, PyObject *graphs) {
    uint32_t *masks;
    uint8_t *possible;
    if (jsp_py_convert_check_graphs(graphs, scores->n_variables) < 0) return NULL;
    PyArrayObject *array = (PyArrayObject *)graphs;
    const long n = (long)PyArray_DIM(array, 0);
    long bad = jsp_dag_find_cycle(scores->n_variables, n, PyArray_DATA(array));
    if (bad >= 0) {
        PyErr_Format(PyExc_ValueError, "graph in row %ld has a cycle", bad);
        return NULL;
    }
    if (jsp_py_convert_masks(scores, array, &masks, &possible) < 0) return NULL;
    for (bad = 0; bad < n && possible[bad];) bad++;
    jsp_memory_free(possible);
    if (bad == n) return masks;
    jsp_memory_free(masks);
    PyErr_Format(PyExc_ValueError, "graph in row %ld is excluded", bad);
    return NULL;
}

/* (graphs, accepted, sizes), from local masks and counters [n, JSP_REFINE_MAX_LEVELS]. */
static PyObject *pack(const jsp_scores *scores, npy_intp n, const uint32_t *masks,
                      const int32_t *accepted) {
    int size[JSP_REFINE_MAX_LEVELS];
    const int n_levels = jsp_refine_levels(scores->n_variables, size);
    const npy_intp shape[2] = {n, n_levels};
    PyObject *graphs = jsp_py_convert_graphs(scores, n, masks);
    PyObject *counts = PyArray_SimpleNew(2, shape, NPY_INT32);
    PyObject *sizes = PyList_New(n_levels);
    for (int k = 0; sizes && k < n_levels; k++) {
        PyObject *item = PyLong_FromLong(size[k]);
        if (!item) Py_CLEAR(sizes);
        if (sizes) PyList_SET_ITEM(sizes, k, item);
    }
    if (!graphs || !counts || !sizes) {
        Py_XDECREF(graphs);
        Py_XDECREF(counts);
        Py_XDECREF(sizes);
        return NULL;
    }
    int32_t *cell = PyArray_DATA((PyArrayObject *)counts);
    for (npy_intp s = 0; s < n; s++) {
        for (int k = 0; k < n_levels; k++) {
            *cell++ = accepted[s * JSP_REFINE_MAX_LEVELS + k];
        }
    }
    return Py_BuildValue("NNN", graphs, counts, sizes);
}

PyObject *jsp_py_refine_run(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"graphs",     "seed",        "n_sweeps",       "n_threads",
                            "first_draw", "first_sweep", "moves_per_pair", NULL};
    jsp_py_trainer *self = (jsp_py_trainer *)object;
    const jsp_scores *scores = ((jsp_py_scores *)self->scores)->scores;
    jsp_refine_config config = {.moves_per_pair = 10};
    uint64_t seed;
    PyObject *graphs, *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&li|lll:refine", names, &graphs,
                                     jsp_py_convert_seed, &seed, &config.n_sweeps,
                                     &config.n_threads, &config.first_draw,
                                     &config.first_sweep, &config.moves_per_pair) ||
        check_least("n_sweeps", config.n_sweeps, 0) < 0 ||
        check_least("moves_per_pair", config.moves_per_pair, 0) < 0 ||
        check_least("n_threads", config.n_threads, 1) < 0) {
        return NULL;
    }
    config.seed = seed;
    uint32_t *masks = read_graphs(scores, graphs);
    if (!masks) return NULL;
    const npy_intp n = PyArray_DIM((PyArrayObject *)graphs, 0);
    int32_t *accepted =
        jsp_memory_alloc((size_t)n * JSP_REFINE_MAX_LEVELS, sizeof *accepted);
    if (!accepted) {
        PyErr_NoMemory();
    } else if (jsp_py_busy_enter(&self->busy) == 0) {
        jsp_error error;
        jsp_status status;
        jsp_trainer_view view = jsp_trainer_state_open(self->trainer);
        Py_BEGIN_ALLOW_THREADS
        status = jsp_refine_run(view.edges, view.average, &config, (long)n, masks,
                                accepted, &error);
        Py_END_ALLOW_THREADS
        jsp_py_busy_leave(&self->busy);
        result = status == JSP_OK ? pack(scores, n, masks, accepted)
                                  : jsp_py_convert_raise(Py_TYPE(object), &error);
    }
    jsp_memory_free(masks);
    jsp_memory_free(accepted);
    return result;
}

PyObject *jsp_py_refine_start_from(PyObject *object, PyObject *other) {
    if (Py_TYPE(other) != Py_TYPE(object)) {
        PyErr_SetString(PyExc_TypeError, "start_from takes another Trainer");
        return NULL;
    }
    jsp_py_trainer *self = (jsp_py_trainer *)object, *source = (jsp_py_trainer *)other;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    if (self == source || jsp_py_busy_enter(&source->busy) < 0) {
        jsp_py_busy_leave(&self->busy);
        if (self == source) Py_RETURN_NONE;
        return NULL;
    }
    jsp_trainer_view to = jsp_trainer_state_open(self->trainer);
    jsp_trainer_view from = jsp_trainer_state_open(source->trainer);
    const int fits = to.scores->n_variables == from.scores->n_variables;
    if (fits) {
        jsp_edges_transfer(from.edges, from.average, to.edges, to.params);
        jsp_edges_transfer(from.edges, from.average, to.edges, to.average);
    }
    jsp_py_busy_leave(&source->busy);
    jsp_py_busy_leave(&self->busy);
    if (fits) Py_RETURN_NONE;
    PyErr_Format(PyExc_ValueError,
                 "start_from needs a trainer of %d variables, got one of %d",
                 to.scores->n_variables, from.scores->n_variables);
    return NULL;
}
