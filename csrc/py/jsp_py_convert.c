#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_memory.h"

int jsp_py_convert_check(PyObject *object, const char *name, int type, int n_dims) {
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be a NumPy array, got %s", name,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != type) {
        PyArray_Descr *wanted = PyArray_DescrFromType(type);
        PyErr_Format(PyExc_TypeError, "%s must have dtype %S, got %S", name,
                     (PyObject *)wanted, (PyObject *)PyArray_DESCR(array));
        Py_XDECREF(wanted);
        return -1;
    }
    if (PyArray_NDIM(array) != n_dims) {
        PyErr_Format(PyExc_ValueError, "%s must have %d dimensions, got %d", name,
                     n_dims, PyArray_NDIM(array));
        return -1;
    }
    if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISBEHAVED_RO(array)) {
        PyErr_Format(PyExc_ValueError,
                     "%s must be C-contiguous and in native byte order", name);
        return -1;
    }
    return 0;
}

int jsp_py_convert_check_graphs(PyObject *object, int n_variables) {
    if (jsp_py_convert_check(object, "graphs", NPY_UINT8, 3) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_DIM(array, 1) == n_variables && PyArray_DIM(array, 2) == n_variables)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "graphs must have shape (n, %d, %d), got (%zd, %zd, %zd)", n_variables,
                 n_variables, (Py_ssize_t)PyArray_DIM(array, 0),
                 (Py_ssize_t)PyArray_DIM(array, 1), (Py_ssize_t)PyArray_DIM(array, 2));
    return -1;
}

int jsp_py_convert_seed(PyObject *object, void *seed) {
    PyObject *integer = PyNumber_Index(object);
    if (!integer) return 0;
    *(uint64_t *)seed = PyLong_AsUnsignedLongLong(integer);
    Py_DECREF(integer);
    if (!PyErr_Occurred()) return 1;
    PyErr_Format(PyExc_ValueError, "seed must be from 0 to 2^64 - 1, got %R", object);
    return 0;
}

PyObject *jsp_py_convert_names(const char *(*name)(int k)) {
    Py_ssize_t n = 0;
    while (name((int)n)) n++;
    PyObject *names = PyTuple_New(n);
    for (Py_ssize_t k = 0; names && k < n; k++) {
        PyObject *text = PyUnicode_FromString(name((int)k));
        if (!text) {
            Py_CLEAR(names);
        } else {
            PyTuple_SET_ITEM(names, k, text);
        }
    }
    return names;
}

PyObject *jsp_py_convert_raise(PyTypeObject *type, const jsp_error *error) {
    PyObject *exception = PyExc_ValueError;
    if (error->code == JSP_ERROR_MEMORY) exception = PyExc_MemoryError;
    if (error->code == JSP_ERROR_NUMERICAL) {
        jsp_py_module_state *state = jsp_py_module_state_of(type);
        if (!state) return NULL;
        exception = state->numerical_error;
    }
    PyErr_SetString(exception, error->message);
    return NULL;
}

int jsp_py_convert_masks(const jsp_scores *scores, PyArrayObject *graphs,
                         uint32_t **masks, uint8_t **possible) {
    const size_t n = (size_t)PyArray_DIM(graphs, 0), D = (size_t)scores->n_variables;
    const uint8_t *cells = PyArray_DATA(graphs);
    *masks = jsp_memory_alloc(n * D, sizeof **masks);
    *possible = jsp_memory_alloc(n, sizeof **possible);
    if (!*masks || !*possible) {
        jsp_memory_free(*masks);
        jsp_memory_free(*possible);
        PyErr_NoMemory();
        return -1;
    }
    for (size_t s = 0; s < n; s++) {
        (*possible)[s] = (uint8_t)jsp_scores_masks_of_graph(scores, cells + s * D * D,
                                                            *masks + s * D);
    }
    return 0;
}

PyObject *jsp_py_convert_graphs(const jsp_scores *scores, npy_intp n,
                                const uint32_t *masks) {
    const npy_intp D = scores->n_variables;
    const npy_intp shape[3] = {n, D, D};
    PyObject *graphs = PyArray_ZEROS(3, shape, NPY_UINT8, 0);
    if (!graphs) return NULL;
    uint8_t *cells = PyArray_DATA((PyArrayObject *)graphs);
    for (npy_intp s = 0; s < n; s++) {
        for (npy_intp j = 0; j < D; j++) {
            for (uint32_t left = masks[s * D + j]; left; left &= left - 1) {
                int i = scores->node[j].candidate[jsp_bits_lowest64(left)];
                cells[(s * D + i) * D + j] = 1;
            }
        }
    }
    return graphs;
}
