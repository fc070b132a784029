#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <string.h>

#include "jsp_py_state.h"

/* ---- writing ------------------------------------------------------------------------ */

PyObject *jsp_py_state_copy(int n_dims, const npy_intp *shape, int type,
                            const void *values) {
    PyObject *array = PyArray_SimpleNew(n_dims, shape, type);
    if (array) {
        memcpy(PyArray_DATA((PyArrayObject *)array), values,
               (size_t)PyArray_NBYTES((PyArrayObject *)array));
    }
    return array;
}

int jsp_py_state_put(PyObject *dict, const char *name, PyObject *value) {
    if (!value) return -1;
    int failed = PyDict_SetItemString(dict, name, value);
    Py_DECREF(value);
    return failed;
}

PyObject *jsp_py_state_tensors(const jsp_params *layout, const jsp_real *block) {
    PyObject *dict = PyDict_New();
    for (int t = 0; dict && t < layout->n_tensors; t++) {
        const jsp_params_tensor *tensor = &layout->tensor[t];
        const npy_intp shape[2] = {tensor->shape[0], tensor->shape[1]};
        PyObject *array =
            jsp_py_state_copy(2, shape, JSP_PY_REAL, block + tensor->offset);
        if (!array || PyDict_SetItemString(dict, tensor->name, array) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(array);
    }
    return dict;
}

PyObject *jsp_py_state_n_parameters(const jsp_params *layout) {
    long n = 0;
    for (int k = 0; k < layout->n_tensors; k++) {
        n += (long)layout->tensor[k].shape[0] * layout->tensor[k].shape[1];
    }
    return PyLong_FromLong(n);
}

/* ---- reading ------------------------------------------------------------------------ */

static int set_tensor(const jsp_params *layout, jsp_real *block, PyObject *key,
                      PyObject *value) {
    const char *name = PyUnicode_AsUTF8(key);
    if (!name) return -1;
    const jsp_params_tensor *tensor = jsp_params_find(layout, name);
    if (!tensor) {
        PyErr_Format(PyExc_ValueError, "the network has no parameter '%s'", name);
        return -1;
    }
    if (jsp_py_convert_check(value, name, JSP_PY_REAL, 2) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)value;
    if (PyArray_DIM(array, 0) != tensor->shape[0] ||
        PyArray_DIM(array, 1) != tensor->shape[1]) {
        PyErr_Format(PyExc_ValueError, "%s must have shape (%d, %d), got (%zd, %zd)",
                     name, tensor->shape[0], tensor->shape[1],
                     (Py_ssize_t)PyArray_DIM(array, 0),
                     (Py_ssize_t)PyArray_DIM(array, 1));
        return -1;
    }
    memcpy(block + tensor->offset, PyArray_DATA(array), (size_t)PyArray_NBYTES(array));
    return 0;
}

int jsp_py_state_set_tensors(const jsp_params *layout, jsp_real *block,
                             PyObject *dict) {
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "parameters must be a dict, got %s",
                     Py_TYPE(dict)->tp_name);
        return -1;
    }
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (set_tensor(layout, block, key, value) < 0) return -1;
    }
    return 0;
}

int jsp_py_state_check(PyObject *value, const char *name, const char *owner, int type,
                       int n_dims, const npy_intp *shape) {
    if (jsp_py_convert_check(value, name, type, n_dims) < 0) return -1;
    for (int k = 0; k < n_dims; k++) {
        if (shape[k] < 0 || PyArray_DIM((PyArrayObject *)value, k) == shape[k])
            continue;
        PyErr_Format(PyExc_ValueError, "'%s' of the %s belongs to another problem",
                     name, owner);
        return -1;
    }
    return 0;
}

static PyObject *find(PyObject *state, const char *name) {
    PyObject *value = PyDict_GetItemString(state, name);
    if (!value) PyErr_Format(PyExc_ValueError, "the state lacks '%s'", name);
    return value;
}

PyArrayObject *jsp_py_state_array(PyObject *state, const char *name, int type,
                                  int n_dims, const npy_intp *shape) {
    PyObject *value = find(state, name);
    if (!value || jsp_py_state_check(value, name, "state", type, n_dims, shape) < 0) {
        return NULL;
    }
    return (PyArrayObject *)value;
}

const void *jsp_py_state_data(PyObject *state, const char *name, int type, int n_dims,
                              const npy_intp *shape) {
    PyArrayObject *array = jsp_py_state_array(state, name, type, n_dims, shape);
    return array ? PyArray_DATA(array) : NULL;
}

int jsp_py_state_number(PyObject *state, const char *name, double least, double most,
                        double *number) {
    PyObject *value = find(state, name);
    if (!value) return -1;
    *number = PyFloat_AsDouble(value);
    if (PyErr_Occurred()) return -1;
    if (*number >= least && *number <= most) return 0;
    PyErr_Format(PyExc_ValueError, "'%s' of the state is out of range", name);
    return -1;
}
