/* Single kernels called from Python, so that tests can hold them against slow twins. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_kernels.h"

/* Up to 8 arrays of reals; None stands for NULL. */
enum { MAX_ARRAYS = 8 };

typedef struct kernel_call {
    jsp_real *data[MAX_ARRAYS];
    npy_intp dims[MAX_ARRAYS][2]; /* a vector has dims {n, 1} */
    int n;
} kernel_call;

static int read_arrays(PyObject *args, kernel_call *call) {
    call->n = (int)PyTuple_GET_SIZE(args) - 1;
    if (call->n < 1 || call->n > MAX_ARRAYS) {
        PyErr_Format(PyExc_TypeError, "kernel() takes a name and 1 to %d arrays",
                     MAX_ARRAYS);
        return -1;
    }
    for (int k = 0; k < call->n; k++) {
        PyObject *item = PyTuple_GET_ITEM(args, k + 1);
        call->data[k] = NULL;
        if (item == Py_None) continue;
        int n_dims = PyArray_Check(item) ? PyArray_NDIM((PyArrayObject *)item) : 1;
        if (n_dims != 2) n_dims = 1;
        if (jsp_py_convert_check(item, "array", JSP_PY_REAL, n_dims) < 0) return -1;
        PyArrayObject *array = (PyArrayObject *)item;
        call->data[k] = PyArray_DATA(array);
        call->dims[k][0] = PyArray_DIM(array, 0);
        call->dims[k][1] = n_dims == 2 ? PyArray_DIM(array, 1) : 1;
    }
    return 0;
}

/* 1 when array k has this shape or is None. */
static int fits(const kernel_call *call, int k, npy_intp rows, npy_intp columns) {
    return k < call->n && (!call->data[k] ||
                           (call->dims[k][0] == rows && call->dims[k][1] == columns));
}

static PyObject *wrong_shapes(const char *name) {
    return PyErr_Format(PyExc_ValueError, "shapes of the arrays do not fit kernel '%s'",
                        name);
}

typedef void (*elementwise)(size_t n, const jsp_real *x, jsp_real *y);

/* kernel(name, x, y): y overwritten */
static PyObject *call_elementwise(const char *name, elementwise function,
                                  const kernel_call *call) {
    if (call->n != 2 || !call->data[0] || !call->data[1] ||
        !fits(call, 1, call->dims[0][0], call->dims[0][1])) {
        return wrong_shapes(name);
    }
    function((size_t)(call->dims[0][0] * call->dims[0][1]), call->data[0],
             call->data[1]);
    Py_RETURN_NONE;
}

/* kernel("dense_forward", x, W, b, offset, skip, y): no ReLU; "dense_forward_relu":
 * with */
static PyObject *call_forward(const kernel_call *call, int relu) {
    const char *name = "dense_forward";
    if (call->n != 6 || !call->data[0] || !call->data[1] || !call->data[5]) {
        return wrong_shapes(name);
    }
    const npy_intp B = call->dims[0][0], n_in = call->dims[1][0],
                   n_out = call->dims[1][1];
    if (!fits(call, 0, B, n_in) || !fits(call, 2, n_out, 1) ||
        !fits(call, 3, B, n_out) || !fits(call, 4, B, n_out) ||
        !fits(call, 5, B, n_out)) {
        return wrong_shapes(name);
    }
    jsp_kernels_active()->dense_forward((int)B, (int)n_in, (int)n_out, call->data[0],
                                        call->data[1], call->data[2], call->data[3],
                                        relu, call->data[4], call->data[5]);
    Py_RETURN_NONE;
}

/* kernel("dense_backward_input", dy, W, dx): dx overwritten */
static PyObject *call_backward_input(const kernel_call *call) {
    if (call->n != 3 || !call->data[0] || !call->data[1] || !call->data[2] ||
        !fits(call, 0, call->dims[0][0], call->dims[1][1]) ||
        !fits(call, 2, call->dims[0][0], call->dims[1][0])) {
        return wrong_shapes("dense_backward_input");
    }
    jsp_kernels_active()->dense_backward_input((int)call->dims[0][0],
                                               (int)call->dims[1][0],
                                               (int)call->dims[1][1], call->data[0],
                                               call->data[1], 0, call->data[2]);
    Py_RETURN_NONE;
}

/* kernel("dense_backward_weight", x, dy, dW, db): dW and db accumulate */
static PyObject *call_backward_weight(const kernel_call *call) {
    if (call->n != 4 || !call->data[0] || !call->data[1] || !call->data[2]) {
        return wrong_shapes("dense_backward_weight");
    }
    const npy_intp B = call->dims[0][0], n_in = call->dims[0][1],
                   n_out = call->dims[1][1];
    if (!fits(call, 1, B, n_out) || !fits(call, 2, n_in, n_out) ||
        !fits(call, 3, n_out, 1)) {
        return wrong_shapes("dense_backward_weight");
    }
    jsp_kernels_active()->dense_backward_weight((int)B, (int)n_in, (int)n_out,
                                                call->data[0], call->data[1],
                                                call->data[2], call->data[3]);
    Py_RETURN_NONE;
}

/* kernel("rows_dot", x, w, y) and kernel("rows_weighted_sum", x, c, y) */
static PyObject *call_rows(const kernel_call *call, int is_dot) {
    const char *name = is_dot ? "rows_dot" : "rows_weighted_sum";
    if (call->n != 3 || !call->data[0] || !call->data[1] || !call->data[2]) {
        return wrong_shapes(name);
    }
    const npy_intp B = call->dims[0][0], n = call->dims[0][1];
    if (!fits(call, 1, is_dot ? n : B, 1) || !fits(call, 2, is_dot ? B : n, 1)) {
        return wrong_shapes(name);
    }
    const jsp_kernels *kernels = jsp_kernels_active();
    (is_dot ? kernels->rows_dot
            : kernels->rows_weighted_sum)((int)B, (int)n, call->data[0], call->data[1],
                                          call->data[2]);
    Py_RETURN_NONE;
}

/* kernel("adam", settings[8], dp, p, m, v, average): settings in the order of the
 * struct */
static PyObject *call_adam(const kernel_call *call) {
    const npy_intp n = call->n == 6 ? call->dims[1][0] : 0;
    if (!n || !call->data[0] || !fits(call, 0, 8, 1)) return wrong_shapes("adam");
    for (int k = 1; k < 6; k++) {
        if (!call->data[k] || !fits(call, k, n, 1)) return wrong_shapes("adam");
    }
    const jsp_real *s = call->data[0];
    const jsp_kernels_adam step = {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]};
    jsp_kernels_active()->adam((size_t)n, &step, call->data[1], call->data[2],
                               call->data[3], call->data[4], call->data[5]);
    Py_RETURN_NONE;
}

PyObject *jsp_py_kernels_call(PyObject *module, PyObject *args) {
    const jsp_kernels *kernels = jsp_kernels_active();
    kernel_call call;
    (void)module;
    if (PyTuple_GET_SIZE(args) < 1 || !PyUnicode_Check(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "kernel() takes a name and arrays");
        return NULL;
    }
    const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args, 0));
    if (!name || read_arrays(args, &call) < 0) return NULL;
    const size_t n = call.data[0] ? (size_t)(call.dims[0][0] * call.dims[0][1]) : 0;
    if (!strcmp(name, "exp")) return call_elementwise(name, kernels->exp, &call);
    if (!strcmp(name, "log")) return call_elementwise(name, kernels->log, &call);
    if (!strcmp(name, "softplus"))
        return call_elementwise(name, kernels->softplus, &call);
    if (!strcmp(name, "add")) return call_elementwise(name, kernels->add, &call);
    if (!strcmp(name, "log_sum_exp")) {
        return PyFloat_FromDouble(kernels->log_sum_exp(n, call.data[0], NULL));
    }
    if (!strcmp(name, "sum_squares")) {
        return PyFloat_FromDouble(kernels->sum_squares(n, call.data[0]));
    }
    if (!strcmp(name, "dense_forward")) return call_forward(&call, 0);
    if (!strcmp(name, "dense_forward_relu")) return call_forward(&call, 1);
    if (!strcmp(name, "dense_backward_input")) return call_backward_input(&call);
    if (!strcmp(name, "dense_backward_weight")) return call_backward_weight(&call);
    if (!strcmp(name, "rows_dot")) return call_rows(&call, 1);
    if (!strcmp(name, "rows_weighted_sum")) return call_rows(&call, 0);
    if (!strcmp(name, "adam")) return call_adam(&call);
    return PyErr_Format(PyExc_ValueError, "unknown kernel '%s'", name);
}
