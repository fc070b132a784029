/* The type GnnNetwork: the network of the published method by itself, so that tests can hold
 * it against golden numbers. Training uses the core directly. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <string.h>

#include "jsp_dag.h"
#include "jsp_gnn_maps.h"
#include "jsp_memory.h"
#include "jsp_py_gnn.h"

typedef struct jsp_py_gnn {
    PyObject_HEAD jsp_params layout;
    jsp_gnn gnn;
    jsp_real *params; /* owned, [layout.size] */
    jsp_gnn_shared shared;
    jsp_gnn_shard shard; /* of the last forward pass */
    uint8_t *graphs;     /* owned: adjacency, then mask of the last forward pass */
    int is_ready;        /* 1 between a forward pass and its backward pass */
} jsp_py_gnn;

/* ---- life --------------------------------------------------------------------------- */

static PyObject *gnn_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n_variables", "seed", NULL};
    int D;
    uint64_t seed = 0;
    jsp_error error;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$O&:GnnNetwork", names, &D,
                                     jsp_py_convert_seed, &seed)) {
        return NULL;
    }
    if (D < 1 || D > JSP_MAX_NETWORK_VARIABLES) {
        return PyErr_Format(PyExc_ValueError, "n_variables must be 1 to %d, got %d",
                            JSP_MAX_NETWORK_VARIABLES, D);
    }
    jsp_py_gnn *self = (jsp_py_gnn *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    jsp_params_init(&self->layout);
    self->gnn = jsp_gnn_create(&self->layout, D);
    self->params = jsp_memory_alloc(self->layout.size, sizeof *self->params);
    if (!self->params) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    jsp_params_fill(&self->layout, seed, self->params);
    if (jsp_gnn_shared_create(&self->gnn, &self->shared, &error) == JSP_OK) {
        return (PyObject *)self;
    }
    jsp_py_convert_raise(type, &error);
    Py_DECREF(self);
    return NULL;
}

static void gnn_dealloc(PyObject *object) {
    jsp_py_gnn *self = (jsp_py_gnn *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_memory_free(self->params);
    jsp_memory_free(self->graphs);
    jsp_gnn_shared_destroy(&self->shared);
    jsp_gnn_shard_destroy(&self->shard);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- parameters --------------------------------------------------------------------- */

static PyObject *gnn_parameters(PyObject *object, PyObject *unused) {
    jsp_py_gnn *self = (jsp_py_gnn *)object;
    (void)unused;
    return jsp_py_state_tensors(&self->layout, self->params);
}

static PyObject *gnn_set_parameters(PyObject *object, PyObject *dict) {
    jsp_py_gnn *self = (jsp_py_gnn *)object;
    self->is_ready = 0;
    if (jsp_py_state_set_tensors(&self->layout, self->params, dict) < 0) return NULL;
    Py_RETURN_NONE;
}

int jsp_py_gnn_read(PyObject *object, const char *name, int type, int n_dims,
                    size_t n_bytes, void *target) {
    if (jsp_py_convert_check(object, name, type, n_dims) < 0) return -1;
    if ((size_t)PyArray_NBYTES((PyArrayObject *)object) != n_bytes) {
        PyErr_Format(PyExc_ValueError, "%s must have the shape of the output", name);
        return -1;
    }
    memcpy(target, PyArray_DATA((PyArrayObject *)object), n_bytes);
    return 0;
}

npy_intp jsp_py_gnn_check_acyclic(int D, PyObject *graphs) {
    if (jsp_py_convert_check_graphs(graphs, D) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)graphs;
    const npy_intp n = PyArray_DIM(array, 0);
    if (n < 1000000000 && jsp_dag_find_cycle(D, (long)n, PyArray_DATA(array)) < 0) {
        return n;
    }
    PyErr_SetString(PyExc_ValueError, "graphs must be acyclic");
    return -1;
}

int jsp_py_gnn_head_kind(const char *name, jsp_head_kind *kind) {
    static const char *const names[] = {"diag", "full", "mlp"};
    for (int k = 0; k < 3; k++) {
        if (strcmp(name, names[k])) continue;
        *kind = (jsp_head_kind)k;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "head must be 'diag', 'full' or 'mlp', got '%s'",
                 name);
    return -1;
}

/* ---- passes ------------------------------------------------------------------------- */

/* Room for B graphs; keeps copies of both arrays. */
static int hold_graphs(jsp_py_gnn *self, int B, const uint8_t *adjacency,
                       const uint8_t *mask) {
    const size_t cells = (size_t)B * (size_t)self->gnn.D * (size_t)self->gnn.D;
    jsp_error error;
    if (B > self->shard.capacity || !self->graphs) {
        jsp_gnn_shard_destroy(&self->shard);
        if (jsp_gnn_shard_create(&self->gnn, B, &self->shard, &error) != JSP_OK) {
            jsp_py_convert_raise(Py_TYPE(self), &error);
            return -1;
        }
    }
    jsp_memory_free(self->graphs);
    self->graphs = jsp_memory_alloc(2 * cells, 1);
    if (!self->graphs) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(self->graphs, adjacency, cells);
    memcpy(self->graphs + cells, mask, cells);
    return 0;
}

static void run_forward(jsp_py_gnn *self, int B, double logit_scale) {
    const int D = self->gnn.D;
    const uint8_t *mask = self->graphs + (size_t)B * (size_t)D * (size_t)D;
    jsp_graphnet_pairs_reset(&self->shared.pairs, D);
    jsp_graphnet_pairs_collect(&self->shared.pairs, D, B, self->graphs);
    jsp_graphnet_pairs_finish(&self->shared.pairs, D);
    jsp_gnn_shared_forward(&self->gnn, self->params, &self->shared);
    jsp_gnn_shard_forward(&self->gnn, self->params, &self->shared, &self->shard, B,
                          self->graphs, mask, logit_scale);
}

/* (log_pi, node features, global features) */
static PyObject *collect_outputs(const jsp_py_gnn *self) {
    const npy_intp B = self->shard.B, D = self->gnn.D;
    const npy_intp actions[2] = {B, D * D + 1}, nodes[3] = {B, D, JSP_GNN_WIDTH},
                   graphs[2] = {B, JSP_GNN_WIDTH};
    PyObject *log_pi = jsp_py_state_copy(2, actions, NPY_DOUBLE, self->shard.log_pi);
    PyObject *node =
        jsp_py_state_copy(3, nodes, JSP_PY_REAL, self->shard.node_features);
    PyObject *global =
        jsp_py_state_copy(2, graphs, JSP_PY_REAL, self->shard.global_features);
    if (log_pi && node && global) return Py_BuildValue("NNN", log_pi, node, global);
    Py_XDECREF(log_pi);
    Py_XDECREF(node);
    Py_XDECREF(global);
    return NULL;
}

static PyObject *gnn_forward(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"adjacency", "mask", "logit_scale", NULL};
    jsp_py_gnn *self = (jsp_py_gnn *)object;
    PyObject *adjacency, *mask;
    double logit_scale;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOd:forward", names, &adjacency,
                                     &mask, &logit_scale) ||
        jsp_py_convert_check_graphs(adjacency, self->gnn.D) < 0 ||
        jsp_py_convert_check_graphs(mask, self->gnn.D) < 0) {
        return NULL;
    }
    const npy_intp B = PyArray_DIM((PyArrayObject *)adjacency, 0);
    const uint8_t *cells = PyArray_DATA((PyArrayObject *)adjacency);
    const int D = self->gnn.D;
    if (PyArray_DIM((PyArrayObject *)mask, 0) != B || B > 100000) {
        return PyErr_Format(
            PyExc_ValueError,
            "mask must have as many graphs as adjacency, at most 100000");
    }
    for (npy_intp k = 0; k < B * D * D; k++) {
        if (cells[k] && k % (D * D) % (D + 1) == 0) {
            return PyErr_Format(PyExc_ValueError, "graphs must not have self-loops");
        }
    }
    self->is_ready = 0;
    if (hold_graphs(self, (int)B, cells, PyArray_DATA((PyArrayObject *)mask)) < 0) {
        return NULL;
    }
    run_forward(self, (int)B, logit_scale);
    self->is_ready = 1;
    return collect_outputs(self);
}

static PyObject *gnn_backward(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"d_log_pi", "d_node_features", "d_global_features", NULL};
    jsp_py_gnn *self = (jsp_py_gnn *)object;
    PyObject *log_pi, *node, *global, *result = NULL;
    const size_t B = (size_t)self->shard.B, D = (size_t)self->gnn.D;
    const size_t of_graphs = B * JSP_GNN_WIDTH * sizeof(jsp_real);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:backward", names, &log_pi,
                                     &node, &global)) {
        return NULL;
    }
    if (!self->is_ready) {
        PyErr_SetString(PyExc_RuntimeError,
                        "backward() needs a forward pass before it");
        return NULL;
    }
    if (jsp_py_gnn_read(log_pi, "d_log_pi", NPY_DOUBLE, 2,
                        B * (D * D + 1) * sizeof(double), self->shard.d_log_pi) < 0 ||
        jsp_py_gnn_read(node, "d_node_features", JSP_PY_REAL, 3, D * of_graphs,
                        self->shard.d_node_features) < 0 ||
        jsp_py_gnn_read(global, "d_global_features", JSP_PY_REAL, 2, of_graphs,
                        self->shard.d_global_features) < 0) {
        return NULL;
    }
    const jsp_graphnet *graphnet = &self->gnn.graphnet;
    jsp_real *gradient = jsp_memory_alloc(self->layout.size, sizeof *gradient);
    jsp_real *d_maps = jsp_memory_alloc(jsp_gnn_maps_size(), sizeof *d_maps);
    jsp_real *rows =
        jsp_memory_alloc(jsp_graphnet_pull_size(graphnet, (int)B), sizeof *rows);
    if (gradient && d_maps && rows) {
        jsp_graphnet_pull pull = jsp_graphnet_pull_place(graphnet, (int)B, rows);
        pull.adjacency = self->graphs;
        self->is_ready = 0;
        jsp_gnn_shard_backward(&self->gnn, self->params, &self->shared, &self->shard,
                               &pull, gradient, d_maps);
        jsp_gnn_shared_backward(&self->gnn, self->params, &self->shared, &pull, d_maps,
                                gradient);
        result = jsp_py_state_tensors(&self->layout, gradient);
    } else {
        PyErr_NoMemory();
    }
    jsp_memory_free(gradient);
    jsp_memory_free(d_maps);
    jsp_memory_free(rows);
    return result;
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void)) function

static PyMethodDef gnn_methods[] = {
    {"parameters", gnn_parameters, METH_NOARGS, "Copies of the parameters by name."},
    {"set_parameters", gnn_set_parameters, METH_O,
     "Replaces the parameters that the dict names."},
    {"forward", WITH_KEYWORDS(gnn_forward), METH_VARARGS | METH_KEYWORDS,
     "Log-probabilities of actions, node features, global features."},
    {"backward", WITH_KEYWORDS(gnn_backward), METH_VARARGS | METH_KEYWORDS,
     "Gradients of the parameters, given those of the outputs."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot gnn_slots[] = {
    {Py_tp_doc, "The network of the published method, for tests."},
    {Py_tp_new, gnn_new},
    {Py_tp_dealloc, gnn_dealloc},
    {Py_tp_methods, gnn_methods},
    {0, NULL},
};

PyType_Spec jsp_py_gnn_spec = {
    .name = "jspgfn._core.GnnNetwork",
    .basicsize = sizeof(jsp_py_gnn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = gnn_slots,
};
