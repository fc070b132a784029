/* Moments of a table instead of the table, for data that come in batches. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_memory.h"

static PyObject *copy_array(int nd, const npy_intp *shape, const double *values) {
    PyObject *array = PyArray_SimpleNew(nd, shape, NPY_DOUBLE);
    if (array) {
        memcpy(PyArray_DATA((PyArrayObject *)array), values,
               (size_t)PyArray_NBYTES((PyArrayObject *)array));
    }
    return array;
}

/* (set_of, n_rows, mean, scatter) */
static PyObject *list_moments(const jsp_data *data) {
    const int D = jsp_data_n_variables(data), S = jsp_data_n_sets(data);
    const npy_intp n_nodes = D, shape[3] = {S, D, D};
    PyObject *sets = PyArray_SimpleNew(1, &n_nodes, NPY_INT32);
    double *n_rows = jsp_memory_alloc((size_t)S, sizeof *n_rows);
    if (!sets || !n_rows) {
        Py_XDECREF(sets);
        jsp_memory_free(n_rows);
        return PyErr_NoMemory();
    }
    int32_t *set_of = PyArray_DATA((PyArrayObject *)sets);
    for (int j = 0; j < D; j++) {
        set_of[j] = jsp_data_set_of(data, j);
        n_rows[set_of[j]] = jsp_data_node(data, j).n_rows;
    }
    /* sets lie one after the other, and node 0 belongs to the first */
    const jsp_data_moments first = jsp_data_node(data, 0);
    PyObject *result = Py_BuildValue("NNNN", sets, copy_array(1, shape, n_rows),
                                     copy_array(2, shape, first.mean),
                                     copy_array(3, shape, first.scatter));
    jsp_memory_free(n_rows);
    return result;
}

PyObject *jsp_py_moments_of(PyObject *module, PyObject *args) {
    PyObject *x, *mask;
    int n_threads;
    const uint8_t *cells;
    jsp_data *data;
    jsp_error error;
    jsp_status status;
    jsp_py_module_state *state = PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "OOi:moments", &x, &mask, &n_threads)) return NULL;
    if (jsp_py_setup_check_table(x, mask, NPY_DOUBLE, &cells) < 0) return NULL;
    PyArrayObject *table = (PyArrayObject *)x;
    const int N = (int)PyArray_DIM(table, 0), D = (int)PyArray_DIM(table, 1);
    Py_BEGIN_ALLOW_THREADS
    status =
        jsp_data_create(PyArray_DATA(table), cells, N, D, n_threads, &data, &error);
    Py_END_ALLOW_THREADS
    if (status != JSP_OK) return jsp_py_convert_raise(state->scores_type, &error);
    PyObject *result = list_moments(data);
    jsp_data_destroy(data);
    return result;
}

jsp_status jsp_py_moments_read(PyObject *tuple, jsp_data **data, jsp_error *error) {
    static const char *names[] = {"set_of", "n_rows", "mean", "scatter"};
    static const int types[] = {NPY_INT32, NPY_DOUBLE, NPY_DOUBLE, NPY_DOUBLE};
    static const int dimensions[] = {1, 1, 2, 3};
    *data = NULL;
    if (PyTuple_GET_SIZE(tuple) != 4) {
        return jsp_status_set(error, JSP_ERROR_VALUE, "moments are four arrays");
    }
    const void *cells[4];
    npy_intp D = 0, S = 0;
    for (int k = 0; k < 4; k++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, k);
        if (jsp_py_convert_check(item, names[k], types[k], dimensions[k]) < 0) {
            return JSP_INTERRUPTED; /* a Python error is set */
        }
        PyArrayObject *array = (PyArrayObject *)item;
        cells[k] = PyArray_DATA(array);
        if (k == 0) D = PyArray_DIM(array, 0);
        if (k == 1) S = PyArray_DIM(array, 0);
        int fits = k < 2 || PyArray_DIM(array, 0) == S;
        for (int axis = 1; axis < dimensions[k]; axis++) {
            fits = fits && PyArray_DIM(array, axis) == D;
        }
        if (!fits) {
            return jsp_status_set(error, JSP_ERROR_VALUE, "%s has a wrong shape",
                                  names[k]);
        }
    }
    if (D > JSP_MAX_VARIABLES || S > D) {
        return jsp_status_set(error, JSP_ERROR_VALUE, "moments of too many variables");
    }
    return jsp_data_create_moments((int)D, (int)S, cells[0], cells[1], cells[2],
                                   cells[3], data, error);
}
