/* jsp_py_gnn.h - what the types GnnNetwork and GnnHead share. */
#ifndef JSP_PY_GNN_H
#define JSP_PY_GNN_H

#include "jsp_head.h"
#include "jsp_py.h"

/* "diag", "full" or "mlp"; -1 with an exception for other names. */
int jsp_py_gnn_head_kind(const char *name, jsp_head_kind *kind);

/* A new array with a copy of these values. */
PyObject *jsp_py_gnn_array(int n_dims, const npy_intp *shape, int type,
                           const void *values);

/* A block of the layout as a dict of arrays (rows, columns). */
PyObject *jsp_py_gnn_as_dict(const jsp_params *layout, const jsp_real *block);

/* Replaces the tensors that the dict names; -1 with an exception when one does not fit. */
int jsp_py_gnn_from_dict(const jsp_params *layout, jsp_real *block, PyObject *dict);

/* Copies an array to `target` when type, dimensions and size are right; else -1. */
int jsp_py_gnn_read(PyObject *object, const char *name, int type, int n_dims,
                    size_t n_bytes, void *target);

#endif
