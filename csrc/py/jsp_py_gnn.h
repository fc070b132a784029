/* jsp_py_gnn.h - what the types GnnNetwork, GnnHead and GnnTrainer share. */
#ifndef JSP_PY_GNN_H
#define JSP_PY_GNN_H

#include "jsp_gnn_trainer.h"
#include "jsp_head.h"
#include "jsp_py.h"
#include "jsp_py_state.h"
#include "jsp_rows.h"

/* "diag", "full" or "mlp"; -1 with an exception for other names. */
int jsp_py_gnn_head_kind(const char *name, jsp_head_kind *kind);

/* Copies an array to `target` when type, dimensions and size are right; else -1. */
int jsp_py_gnn_read(PyObject *object, const char *name, int type, int n_dims,
                    size_t n_bytes, void *target);

/* Number of graphs uint8 (n, D, D) without a cycle, or -1 with an exception. */
npy_intp jsp_py_gnn_check_acyclic(int D, PyObject *graphs);

/* ---- GnnTrainer, shared with its states and its loss --------------------------------- */

typedef struct jsp_py_gnn_trainer {
    PyObject_HEAD PyObject *scores; /* owned reference: holds the data */
    jsp_gnn_target target;
    jsp_rows rows;            /* of the target, for models that need them */
    jsp_gnn_trainer *trainer; /* owned */
    atomic_int busy;          /* 1 while a call works on the trainer */
} jsp_py_gnn_trainer;

/* Its methods. */
PyObject *jsp_py_gnn_state_parameters(PyObject *object, PyObject *unused);
PyObject *jsp_py_gnn_state_set_parameters(PyObject *object, PyObject *dict);
PyObject *jsp_py_gnn_state_get_state(PyObject *object, PyObject *unused);
PyObject *jsp_py_gnn_state_set_state(PyObject *object, PyObject *state);
PyObject *jsp_py_gnn_loss(PyObject *object, PyObject *args, PyObject *kwargs);

#endif
