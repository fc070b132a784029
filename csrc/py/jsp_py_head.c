/* The type GnnHead: a head of the published method by itself, so that tests can hold it
 * against golden numbers. Arrays are dense here, (B, K, D, P) with [b, k, i, p] = parameter p of
 * node i, for linear models the weight of p in the equation of i; the core has lists. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <string.h>

#include "jsp_dag.h"
#include "jsp_gnn.h"
#include "jsp_head_normal.h"
#include "jsp_memory.h"
#include "jsp_py_gnn.h"

typedef struct jsp_py_head {
    PyObject_HEAD jsp_params layout;
    jsp_head head;
    jsp_real *params, *shared; /* owned */
    jsp_head_state state;      /* of the last forward pass */
    int B, K;
    char *memory; /* owned; what follows points into it */
    jsp_real *nodes, *globals;
    double *eps, *theta, *slope, *log_prob; /* lists over entries; log_prob [B, K] */
} jsp_py_head;

enum { H = JSP_GNN_WIDTH };

/* ---- life --------------------------------------------------------------------------- */

static PyObject *head_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind", "n_variables", "n_units", NULL};
    const char *kind;
    jsp_head_spec spec = {.n_units = 5};
    int D;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "si|i:GnnHead", names, &kind, &D,
                                     &spec.n_units)) {
        return NULL;
    }
    if (D < 1 || D > JSP_MAX_NETWORK_VARIABLES) {
        return PyErr_Format(PyExc_ValueError, "n_variables must be 1 to %d, got %d",
                            JSP_MAX_NETWORK_VARIABLES, D);
    }
    if (jsp_py_gnn_head_kind(kind, &spec.kind) < 0) return NULL;
    if (spec.n_units < 1 || spec.n_units > 1000) {
        return PyErr_Format(PyExc_ValueError, "n_units must be 1 to 1000, got %d",
                            spec.n_units);
    }
    jsp_py_head *self = (jsp_py_head *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    jsp_params_init(&self->layout);
    self->head = jsp_head_create(&self->layout, spec, D);
    self->params = jsp_memory_alloc(self->layout.size, sizeof *self->params);
    self->shared =
        jsp_memory_alloc(jsp_head_shared_size(&self->head), sizeof *self->shared);
    if (!self->params || !self->shared) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    jsp_params_fill(&self->layout, 0, self->params);
    return (PyObject *)self;
}

static void head_dealloc(PyObject *object) {
    jsp_py_head *self = (jsp_py_head *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_memory_free(self->params);
    jsp_memory_free(self->shared);
    jsp_memory_free(self->memory);
    jsp_head_state_destroy(&self->state);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *head_parameters(PyObject *object, PyObject *unused) {
    jsp_py_head *self = (jsp_py_head *)object;
    (void)unused;
    return jsp_py_state_tensors(&self->layout, self->params);
}

static PyObject *head_set_parameters(PyObject *object, PyObject *dict) {
    jsp_py_head *self = (jsp_py_head *)object;
    if (jsp_py_state_set_tensors(&self->layout, self->params, dict) < 0) return NULL;
    Py_RETURN_NONE;
}

/* ---- dense arrays and lists --------------------------------------------------------- */

/* Position in a dense (B, K, D, P) array of sample l of an entry of row n. */
static size_t dense_index(const jsp_py_head *self, int n, int entry, int l) {
    const jsp_head_state *state = &self->state;
    const size_t sample = (size_t)(state->graph[n] * self->K + l);
    return (sample * (size_t)self->head.D + (size_t)state->node[n]) *
               (size_t)self->head.P +
           (size_t)state->index[entry];
}

static void dense_to_list(const jsp_py_head *self, const double *dense, double *list) {
    for (int n = 0; n < self->state.n_rows; n++) {
        for (int e = self->state.first[n]; e < self->state.first[n + 1]; e++) {
            for (int l = 0; l < self->K; l++) {
                list[e * self->K + l] = dense[dense_index(self, n, e, l)];
            }
        }
    }
}

static PyObject *list_as_dense(const jsp_py_head *self, const double *list) {
    const npy_intp shape[4] = {self->B, self->K, self->head.D, self->head.P};
    PyObject *array = PyArray_ZEROS(4, shape, NPY_DOUBLE, 0);
    if (!array) return NULL;
    double *dense = PyArray_DATA((PyArrayObject *)array);
    for (int n = 0; n < self->state.n_rows; n++) {
        for (int e = self->state.first[n]; e < self->state.first[n + 1]; e++) {
            for (int l = 0; l < self->K; l++) {
                dense[dense_index(self, n, e, l)] = list[e * self->K + l];
            }
        }
    }
    return array;
}

/* One number per entry as (B, D, P), 0 for those that are not active. */
static PyObject *collect_entries(const jsp_py_head *self, const double *list) {
    const npy_intp P = self->head.P, shape[3] = {self->B, self->head.D, P};
    PyObject *array = PyArray_ZEROS(3, shape, NPY_DOUBLE, 0);
    if (!array) return NULL;
    double *dense = PyArray_DATA((PyArrayObject *)array);
    for (int n = 0; n < self->state.n_rows; n++) {
        for (int e = self->state.first[n]; e < self->state.first[n + 1]; e++) {
            dense[n * P + self->state.index[e]] = list[e];
        }
    }
    return array;
}

/* U (B, D, D, D), rows and columns of those who are not parents from the unit matrix; of
 * `mlp` the diagonal of U^-1, (B, D, P). */
static PyObject *collect_factor(const jsp_py_head *self) {
    const int D = self->head.D;
    const npy_intp shape[4] = {self->B, D, D, D};
    if (self->head.spec.kind == JSP_HEAD_MLP) {
        return collect_entries(self, self->state.inverse);
    }
    PyObject *array = PyArray_ZEROS(4, shape, NPY_DOUBLE, 0);
    if (!array) return NULL;
    double *U = PyArray_DATA((PyArrayObject *)array);
    for (int n = 0; n < self->state.n_rows; n++, U += D * D) {
        const int first = self->state.first[n], k = self->state.first[n + 1] - first;
        const int *parent = self->state.index + first;
        const double *factor = self->state.factor + self->state.factor_first[n];
        for (int j = 0; j < D; j++) U[j * D + j] = 1;
        for (int a = 0; a < k; a++) {
            const int end = self->head.spec.kind == JSP_HEAD_DIAG ? a + 1 : k;
            for (int c = a; c < end; c++) U[parent[a] * D + parent[c]] = *factor++;
        }
    }
    return array;
}

/* ---- passes ------------------------------------------------------------------------- */

static int hold_inputs(jsp_py_head *self, PyObject *nodes, PyObject *globals) {
    const size_t B = (size_t)self->B, D = (size_t)self->head.D, K = (size_t)self->K;
    const size_t list = B * jsp_head_max_entries(&self->head) * K + 1;
    const size_t features = B * (D + 1) * H;
    jsp_error error;
    jsp_memory_free(self->memory);
    jsp_head_state_destroy(&self->state);
    self->memory = jsp_memory_alloc((3 * list + B * K) * sizeof(double) +
                                        features * sizeof(jsp_real),
                                    1);
    if (!self->memory) {
        PyErr_NoMemory();
        return -1;
    }
    self->eps = (double *)(void *)self->memory;
    self->theta = self->eps + list;
    self->slope = self->theta + list;
    self->log_prob = self->slope + list;
    self->nodes = (jsp_real *)(void *)(self->log_prob + B * K);
    self->globals = self->nodes + B * D * H;
    if (jsp_head_state_create(&self->head, self->B, &self->state, &error) != JSP_OK) {
        jsp_py_convert_raise(Py_TYPE(self), &error);
        return -1;
    }
    if (jsp_py_gnn_read(nodes, "node_features", JSP_PY_REAL, 3,
                        B * D * H * sizeof(jsp_real), self->nodes) < 0) {
        return -1;
    }
    return jsp_py_gnn_read(globals, "global_features", JSP_PY_REAL, 2,
                           B * H * sizeof(jsp_real), self->globals);
}

static PyObject *head_forward(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"adjacency", "node_features", "global_features", "eps",
                            NULL};
    jsp_py_head *self = (jsp_py_head *)object;
    PyObject *adjacency, *nodes, *globals, *eps;
    const int D = self->head.D;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:forward", names, &adjacency,
                                     &nodes, &globals, &eps) ||
        jsp_py_convert_check_graphs(adjacency, D) < 0 ||
        jsp_py_convert_check(eps, "eps", NPY_DOUBLE, 4) < 0) {
        return NULL;
    }
    const uint8_t *graphs = PyArray_DATA((PyArrayObject *)adjacency);
    const npy_intp B = PyArray_DIM((PyArrayObject *)adjacency, 0);
    const npy_intp K = PyArray_DIM((PyArrayObject *)eps, 1);
    if (PyArray_SIZE((PyArrayObject *)eps) != B * K * D * self->head.P || B > 10000 ||
        K > 10000) {
        return PyErr_Format(PyExc_ValueError, "eps must have shape (%zd, K, %d, %d)",
                            (Py_ssize_t)B, D, self->head.P);
    }
    if (jsp_dag_find_cycle(D, (long)B, graphs) >= 0) {
        return PyErr_Format(PyExc_ValueError, "graphs must be acyclic");
    }
    self->B = (int)B;
    self->K = (int)K;
    if (hold_inputs(self, nodes, globals) < 0) {
        self->B = 0;
        return NULL;
    }
    jsp_head_shared_forward(&self->head, self->params, self->shared);
    jsp_head_forward(&self->head, self->params, self->shared, &self->state, self->B,
                     graphs, NULL, self->nodes, self->globals);
    dense_to_list(self, PyArray_DATA((PyArrayObject *)eps), self->eps);
    const int rows = self->state.n_rows;
    jsp_head_normal_sample(&self->head, &self->state, 0, rows, self->K, self->eps,
                           self->theta);
    memset(self->log_prob, 0, (size_t)(B * K) * sizeof *self->log_prob);
    jsp_head_normal_log_prob(&self->head, &self->state, 0, rows, self->K, self->eps,
                             self->log_prob);
    jsp_head_normal_slope(&self->head, &self->state, 0, rows, self->K, self->eps,
                          self->slope);
    const npy_intp samples[2] = {B, K};
    return Py_BuildValue("NNNNN", collect_entries(self, self->state.loc),
                         collect_factor(self), list_as_dense(self, self->theta),
                         jsp_py_state_copy(2, samples, NPY_DOUBLE, self->log_prob),
                         list_as_dense(self, self->slope));
}

/* (d_node_features, d_global_features, gradients of the parameters by name) */
static PyObject *run_backward(jsp_py_head *self, jsp_real *d_features,
                              jsp_real *gradient, jsp_real *d_shared) {
    const npy_intp B = self->B, D = self->head.D, of_nodes[3] = {B, D, H},
                   of_graphs[2] = {B, H};
    jsp_real *d_globals = d_features + B * D * H;
    jsp_head_backward(&self->head, self->params, self->shared, &self->state, d_features,
                      d_globals, gradient, d_shared);
    jsp_head_shared_backward(&self->head, d_shared, gradient);
    return Py_BuildValue("NNN", jsp_py_state_copy(3, of_nodes, JSP_PY_REAL, d_features),
                         jsp_py_state_copy(2, of_graphs, JSP_PY_REAL, d_globals),
                         jsp_py_state_tensors(&self->layout, gradient));
}

static PyObject *head_backward(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"d_log_prob", "d_theta", "d_slope", NULL};
    jsp_py_head *self = (jsp_py_head *)object;
    PyObject *log_prob, *theta, *slope, *result = NULL;
    const size_t B = (size_t)self->B, D = (size_t)self->head.D, K = (size_t)self->K;
    const npy_intp dense = (npy_intp)(B * K * D * (size_t)self->head.P);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:backward", names, &log_prob,
                                     &theta, &slope) ||
        jsp_py_convert_check(theta, "d_theta", NPY_DOUBLE, 4) < 0 ||
        jsp_py_convert_check(slope, "d_slope", NPY_DOUBLE, 4) < 0) {
        return NULL;
    }
    if (!self->B || PyArray_SIZE((PyArrayObject *)theta) != dense ||
        PyArray_SIZE((PyArrayObject *)slope) != dense) {
        PyErr_SetString(PyExc_ValueError,
                        "gradients must have the shapes of the last forward pass");
        return NULL;
    }
    if (jsp_py_gnn_read(log_prob, "d_log_prob", NPY_DOUBLE, 2, B * K * sizeof(double),
                        self->log_prob) < 0) {
        return NULL;
    }
    const size_t entries = (size_t)jsp_head_entries(&self->state) * K;
    double *d = jsp_memory_alloc(2 * entries, sizeof *d);
    jsp_real *blocks = jsp_memory_alloc(B * (D + 1) * H + self->layout.size +
                                            jsp_head_shared_size(&self->head),
                                        sizeof *blocks);
    if (d && blocks) {
        jsp_real *gradient = blocks + B * (D + 1) * H;
        dense_to_list(self, PyArray_DATA((PyArrayObject *)theta), d);
        dense_to_list(self, PyArray_DATA((PyArrayObject *)slope), d + entries);
        jsp_head_normal_log_prob_backward(&self->head, &self->state, 0,
                                          self->state.n_rows, self->K, self->eps,
                                          self->theta, self->log_prob);
        jsp_head_normal_slope_backward(&self->head, &self->state, 0, self->state.n_rows,
                                       self->K, self->eps, self->theta, d, d + entries);
        result = run_backward(self, blocks, gradient, gradient + self->layout.size);
        self->B = 0; /* one backward pass per forward pass */
    } else {
        PyErr_NoMemory();
    }
    jsp_memory_free(d);
    jsp_memory_free(blocks);
    return result;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void)) function

static PyMethodDef head_methods[] = {
    {"parameters", head_parameters, METH_NOARGS, "Copies of the parameters by name."},
    {"set_parameters", head_set_parameters, METH_O,
     "Replaces the parameters that the dict names."},
    {"forward", WITH_KEYWORDS(head_forward), METH_VARARGS | METH_KEYWORDS,
     "loc, U, theta, log-probabilities, slopes."},
    {"backward", WITH_KEYWORDS(head_backward), METH_VARARGS | METH_KEYWORDS,
     "Gradients of features and parameters."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot head_slots[] = {
    {Py_tp_doc, "A head of the published method, for tests."},
    {Py_tp_new, head_new},
    {Py_tp_dealloc, head_dealloc},
    {Py_tp_methods, head_methods},
    {0, NULL},
};

PyType_Spec jsp_py_head_spec = {
    .name = "jspgfn._core.GnnHead",
    .basicsize = sizeof(jsp_py_head),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = head_slots,
};
