/* jsp_py_setup.c - arguments that describe a problem: data, model, prior, candidates. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_evidences.h"
#include "jsp_memory.h"

/* Fields of the model from a dict; names that are not in it keep their defaults. */
static int read_fields(PyObject *dict, jsp_model_setup *setup) {
    Py_ssize_t n_read = 0;
    for (int k = 0; k < setup->model->n_fields; k++) {
        const jsp_model_field *field = &setup->model->fields[k];
        setup->field[k] = field->default_value;
        PyObject *value = PyDict_GetItemString(dict, field->name);
        if (!value) continue;
        setup->field[k] = PyFloat_AsDouble(value);
        if (PyErr_Occurred()) return -1;
        n_read++;
    }
    if (n_read == PyDict_Size(dict)) return 0;
    PyErr_Format(PyExc_ValueError, "model_fields of '%s' has unknown names: %R",
                 setup->model->name, dict);
    return -1;
}

static int read_prior(const char *name, jsp_scores_prior *prior) {
    if (!strcmp(name, "uniform")) {
        *prior = JSP_SCORES_UNIFORM;
    } else if (!strcmp(name, "fair")) {
        *prior = JSP_SCORES_FAIR;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "graph_prior must be 'uniform' or 'fair', got '%s'", name);
        return -1;
    }
    return 0;
}

/* Cells of an array [D, D], or NULL for None. */
static int read_matrix(PyObject *array, const char *name, int type, int D,
                       const void **cells) {
    *cells = NULL;
    if (array == Py_None) return 0;
    if (jsp_py_convert_check(array, name, type, 2) < 0) return -1;
    const npy_intp shape[2] = {D, D};
    if (!PyArray_CompareLists(PyArray_DIMS((PyArrayObject *)array), shape, 2)) {
        PyErr_Format(PyExc_ValueError, "%s must have shape (%d, %d)", name, D, D);
        return -1;
    }
    *cells = PyArray_DATA((PyArrayObject *)array);
    return 0;
}

int jsp_py_setup_check_table(PyObject *x, PyObject *mask, int type,
                             const uint8_t **cells) {
    if (jsp_py_convert_check(x, "x", type, 2) < 0) return -1;
    PyArrayObject *table = (PyArrayObject *)x;
    *cells = NULL;
    if (mask != Py_None) {
        if (jsp_py_convert_check(mask, "mask", NPY_UINT8, 2) < 0) return -1;
        if (!PyArray_SAMESHAPE(table, (PyArrayObject *)mask)) {
            PyErr_SetString(PyExc_ValueError, "mask must have the shape of x");
            return -1;
        }
        *cells = PyArray_DATA((PyArrayObject *)mask);
    }
    if (PyArray_DIM(table, 1) < 1 || PyArray_DIM(table, 1) > JSP_MAX_VARIABLES ||
        PyArray_DIM(table, 0) > INT32_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "x must have 1 to %d columns and fewer than 2^31 rows",
                     JSP_MAX_VARIABLES);
        return -1;
    }
    return 0;
}

/* A list of D integers. */
static int read_integers(PyObject *list, const char *name, int D, int *values) {
    if (!PyList_Check(list) || PyList_GET_SIZE(list) != D) {
        PyErr_Format(PyExc_ValueError, "%s must be a list of %d integers", name, D);
        return -1;
    }
    for (int j = 0; j < D; j++) {
        long value = PyLong_AsLong(PyList_GET_ITEM(list, j));
        if (value == -1 && PyErr_Occurred()) return -1;
        if (value < 0 || value > INT_MAX) {
            PyErr_Format(PyExc_ValueError, "%s[%d] is out of range: %ld", name, j,
                         value);
            return -1;
        }
        values[j] = (int)value;
    }
    return 0;
}

/* Moments (set_of, n_rows, mean, scatter) in place of x. */
static int read_moments(PyTypeObject *type, PyObject *x, PyObject *fields,
                        int keep_rows, jsp_data **data, jsp_model_setup *setup) {
    jsp_error error;
    if (setup->model->is_discrete || setup->model->needs_rows || keep_rows) {
        PyErr_Format(PyExc_ValueError, "the model '%s' needs rows, got moments",
                     setup->model->name);
        return -1;
    }
    if (read_fields(fields, setup) < 0) return -1;
    jsp_status status = jsp_py_moments_read(x, data, &error);
    setup->data = *data;
    if (status == JSP_OK) status = setup->model->check(setup, &error);
    if (status == JSP_OK) return 0;
    if (!PyErr_Occurred()) jsp_py_convert_raise(type, &error);
    return -1;
}

int jsp_py_setup_read(PyTypeObject *type, PyObject *x, PyObject *mask,
                      const char *model, PyObject *fields, PyObject *n_states,
                      int intercept, int keep_rows, int n_threads, jsp_data **data,
                      jsp_model_setup *setup) {
    jsp_error error;
    int states[JSP_MAX_VARIABLES];
    const uint8_t *cells;
    jsp_status status;
    *setup = (jsp_model_setup){.model = jsp_model_find(model), .intercept = intercept};
    if (!setup->model) {
        PyErr_Format(PyExc_ValueError, "unknown model '%s'", model);
        return -1;
    }
    if (PyTuple_Check(x)) return read_moments(type, x, fields, keep_rows, data, setup);
    int is_discrete = setup->model->is_discrete;
    if (jsp_py_setup_check_table(x, mask, is_discrete ? NPY_INT32 : NPY_DOUBLE,
                                 &cells) < 0)
        return -1;
    PyArrayObject *table = (PyArrayObject *)x;
    int N = (int)PyArray_DIM(table, 0), D = (int)PyArray_DIM(table, 1);
    if (is_discrete && read_integers(n_states, "n_states", D, states) < 0) return -1;
    if (read_fields(fields, setup) < 0) return -1;
    Py_BEGIN_ALLOW_THREADS
    if (is_discrete) {
        status = jsp_data_create_discrete(PyArray_DATA(table), cells, N, D, states,
                                          data, &error);
    } else {
        status =
            jsp_data_create(PyArray_DATA(table), cells, N, D, n_threads, data, &error);
        if (status == JSP_OK && (keep_rows || setup->model->needs_rows)) {
            status = jsp_data_keep_rows(*data, PyArray_DATA(table), cells, N, &error);
        }
    }
    setup->data = *data;
    if (status == JSP_OK) status = setup->model->check(setup, &error);
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return 0;
    jsp_py_convert_raise(type, &error);
    return -1;
}

int jsp_py_setup_read_config(const char *prior, PyObject *log_odds, PyObject *required,
                             PyObject *max_parents, int D, jsp_py_setup_lists *memory,
                             jsp_scores_config *config) {
    const void *odds_cells, *required_cells;
    if (read_prior(prior, &config->prior) < 0 ||
        read_matrix(log_odds, "edge_log_odds", NPY_DOUBLE, D, &odds_cells) < 0 ||
        read_matrix(required, "required", NPY_UINT8, D, &required_cells) < 0 ||
        read_integers(max_parents, "max_parents", D, memory->max_parents) < 0) {
        return -1;
    }
    config->edge_log_odds = odds_cells;
    config->required = required_cells;
    config->max_parents = memory->max_parents;
    return 0;
}

/* Candidate lists from a list of lists; `flat` [D, D] holds them one per row. */
static int fill_lists(PyObject *lists, int D, int *flat, const int **rows,
                      int *counts) {
    if (!PyList_Check(lists) || PyList_GET_SIZE(lists) != D) {
        PyErr_Format(PyExc_ValueError, "candidates must be a list of %d lists", D);
        return -1;
    }
    for (int j = 0; j < D; j++) {
        PyObject *list = PyList_GET_ITEM(lists, j);
        if (!PyList_Check(list) || PyList_GET_SIZE(list) >= D) {
            PyErr_Format(PyExc_ValueError,
                         "candidates[%d] must be a list of at most %d columns", j,
                         D - 1);
            return -1;
        }
        rows[j] = flat + j * D;
        counts[j] = (int)PyList_GET_SIZE(list);
        for (int k = 0; k < counts[j]; k++) {
            long i = PyLong_AsLong(PyList_GET_ITEM(list, k));
            if (i == -1 && PyErr_Occurred()) return -1;
            if (i < 0 || i >= D || i == j) {
                PyErr_Format(PyExc_ValueError, "candidates[%d] holds %ld, not a parent",
                             j, i);
                return -1;
            }
            flat[j * D + k] = (int)i;
        }
    }
    return 0;
}

int jsp_py_setup_read_candidates(PyObject *lists, int D, jsp_py_setup_lists *memory,
                                 jsp_scores_config *config) {
    memory->flat = jsp_memory_alloc((size_t)(D * D), sizeof *memory->flat);
    if (!memory->flat) {
        PyErr_NoMemory();
        return -1;
    }
    config->candidates = memory->candidates;
    config->n_candidates = memory->n_candidates;
    return fill_lists(lists, D, memory->flat, memory->candidates, memory->n_candidates);
}

int jsp_py_setup_read_evidences(PyObject *array, const jsp_model_setup *setup,
                                jsp_scores_config *config) {
    config->evidences = NULL;
    if (array == Py_None) return 0;
    if (jsp_py_convert_check(array, "evidences", NPY_DOUBLE, 1) < 0) return -1;
    if (!setup->model->tabulate_sets) {
        PyErr_Format(PyExc_ValueError, "the model '%s' makes its own evidences",
                     setup->model->name);
        return -1;
    }
    const int D = jsp_data_n_variables(setup->data);
    const size_t n = jsp_evidences_count(config, D);
    if ((size_t)PyArray_SIZE((PyArrayObject *)array) != n) {
        PyErr_Format(PyExc_ValueError, "evidences must have length %zu, got %zd", n,
                     (Py_ssize_t)PyArray_SIZE((PyArrayObject *)array));
        return -1;
    }
    config->evidences = PyArray_DATA((PyArrayObject *)array);
    return 0;
}
