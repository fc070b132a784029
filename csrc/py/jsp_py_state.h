/* jsp_py_state.h - parameters and saved states as dicts of arrays and numbers. */
#ifndef JSP_PY_STATE_H
#define JSP_PY_STATE_H

#include "jsp_params.h"
#include "jsp_py.h"

/* ---- writing ------------------------------------------------------------------------ */

/* A new array with a copy of these values. */
PyObject *jsp_py_state_copy(int n_dims, const npy_intp *shape, int type,
                            const void *values);

/* dict[name] = value, taking over the reference to value (NULL = failed already); 0, or
 * -1 with an exception. */
int jsp_py_state_put(PyObject *dict, const char *name, PyObject *value);

/* A block of the layout as a dict of arrays (rows, columns). */
PyObject *jsp_py_state_tensors(const jsp_params *layout, const jsp_real *block);

/* How many parameters a layout has, without padding. */
PyObject *jsp_py_state_n_parameters(const jsp_params *layout);

/* ---- reading: NULL or -1 with an exception that names the entry --------------------- */

/* Replaces the tensors that the dict names. */
int jsp_py_state_set_tensors(const jsp_params *layout, jsp_real *block, PyObject *dict);

/* The array state[name] of this type and shape, borrowed; -1 in `shape` = any length. */
PyArrayObject *jsp_py_state_array(PyObject *state, const char *name, int type,
                                  int n_dims, const npy_intp *shape);

/* Its data. */
const void *jsp_py_state_data(PyObject *state, const char *name, int type, int n_dims,
                              const npy_intp *shape);

/* state[name], from least to most. */
int jsp_py_state_number(PyObject *state, const char *name, double least, double most,
                        double *number);

/* 0 when `value` has this type and shape, -1 in `shape` = any length; `owner` is a word
 * for the message. */
int jsp_py_state_check(PyObject *value, const char *name, const char *owner, int type,
                       int n_dims, const npy_intp *shape);

#endif
