/* jsp_py.h - what the files of the extension module share.
 *
 * Only this folder sees Python and NumPy. Each type checks its arguments, releases the
 * interpreter lock around the core and turns a jsp_error into a Python exception. */
#ifndef JSP_PY_H
#define JSP_PY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_1_23_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL jsp_py_array_api
#ifndef JSP_PY_IMPORT_ARRAY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <stdatomic.h>

#include "jsp_scores.h"
#include "jsp_trainer.h"

#ifdef JSP_REAL_DOUBLE
#define JSP_PY_REAL NPY_DOUBLE
#else
#define JSP_PY_REAL NPY_FLOAT
#endif

typedef struct jsp_py_module_state {
    PyObject *numerical_error;
    PyTypeObject *scores_type;
    PyTypeObject *trainer_type;
    PyTypeObject *chains_type;
    PyTypeObject *exact_type;
} jsp_py_module_state;

extern struct PyModuleDef jsp_py_module_def;

/* State of the module that defined `type`; NULL with an exception set. */
jsp_py_module_state *jsp_py_module_state_of(PyTypeObject *type);

/* ---- Scores, shared with Trainer ------------------------------------------------- */

typedef struct jsp_py_scores {
    PyObject_HEAD jsp_data *data; /* owned */
    jsp_scores *scores;           /* owned; NULL when made with tabulate=False */
    jsp_model_setup setup;        /* points into data */
    double *discarded; /* [D] share of each node's mass outside its candidates, owned */
    int n_threads;
} jsp_py_scores;

/* ---- Trainer, shared with refinement ---------------------------------------------- */

typedef struct jsp_py_trainer {
    PyObject_HEAD PyObject
        *scores;          /* owned reference: the tables must outlive the trainer */
    jsp_trainer *trainer; /* owned */
    atomic_int busy;      /* 1 while a call works on the trainer */
} jsp_py_trainer;

/* Its methods refine and start_from (jsp_py_refine.c). */
PyObject *jsp_py_refine_run(PyObject *object, PyObject *args, PyObject *kwargs);
PyObject *jsp_py_refine_start_from(PyObject *object, PyObject *other);

/* -1 with an exception when there are no tables. */
int jsp_py_scores_need_tables(PyObject *scores);

extern PyType_Spec jsp_py_scores_spec;
extern PyType_Spec jsp_py_trainer_spec;
extern PyType_Spec jsp_py_chain_spec;
extern PyType_Spec jsp_py_exact_spec;
extern PyType_Spec jsp_py_gnn_spec;
extern PyType_Spec jsp_py_head_spec;
extern PyType_Spec jsp_py_gnn_trainer_spec;

/* Functions of the module that need no object: candidates, kernels, configuration. */
PyObject *jsp_py_scores_select_candidates(PyObject *module, PyObject *args,
                                          PyObject *kwargs);
PyObject *jsp_py_evidences_fit(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *jsp_py_kernels_call(PyObject *module, PyObject *args);

/* ---- arguments that describe a problem (jsp_py_setup.c) --------------------------- */

/* Memory behind a jsp_scores_config. */
typedef struct jsp_py_setup_lists {
    int max_parents[JSP_MAX_VARIABLES];
    int n_candidates[JSP_MAX_VARIABLES];
    const int *candidates[JSP_MAX_VARIABLES];
    int *flat; /* [D, D] a jsp_memory block that the caller frees */
} jsp_py_setup_lists;

/* All return -1 with an exception. Checks shapes of a table of this type and gives the
 * cells of the mask, NULL for None. */
int jsp_py_setup_check_table(PyObject *x, PyObject *mask, int type,
                             const uint8_t **cells);

/* Checks x, a table or moments as of jsp_py_moments_of, and mask and reads model, fields and data into
 * a setup; the caller destroys *data, also after a failure. n_states: a list for models of
 * discrete data, whose x holds int32 codes; ignored by the others. */
int jsp_py_setup_read(PyTypeObject *type, PyObject *x, PyObject *mask,
                      const char *model, PyObject *fields, PyObject *n_states,
                      int intercept, int keep_rows, int n_threads, jsp_data **data,
                      jsp_model_setup *setup);

/* Data from a tuple (set_of, n_rows, mean, scatter); the caller destroys *data. Any other
 * status than JSP_OK comes with a Python error, or with `error`. */
jsp_status jsp_py_moments_read(PyObject *tuple, jsp_data **data, jsp_error *error);
PyObject *jsp_py_moments_of(PyObject *module, PyObject *args);

/* All of a config but candidates and evidences. */
int jsp_py_setup_read_config(const char *prior, PyObject *log_odds, PyObject *required,
                             PyObject *max_parents, int D, jsp_py_setup_lists *memory,
                             jsp_scores_config *config);

/* Candidates from a list of D lists. */
int jsp_py_setup_read_candidates(PyObject *lists, int D, jsp_py_setup_lists *memory,
                                 jsp_scores_config *config);

/* Evidences (jsp_evidences.h) from an array of the right length; None = none. The config
 * must have its candidates. */
int jsp_py_setup_read_evidences(PyObject *array, const jsp_model_setup *setup,
                                jsp_scores_config *config);

/* ---- signals and progress during long work (jsp_py_pulse.c) ----------------------- */

/* Lets Python handle signals, and tell about progress, while the core works: in the thread
 * that called, for it holds the state to come back to. */
typedef struct jsp_py_pulse {
    jsp_pulse pulse; /* for the core */
    PyThreadState *state;
    unsigned long thread;
    PyObject *progress; /* borrowed; None or a function of a share from 0 to 1, whose
                         * true answer stops the work */
    double last; /* time when it listened; another thread may hold the lock long */
} jsp_py_pulse;

/* Between the two the interpreter lock is released; returns the pulse for the core. After
 * the end PyErr_Occurred() tells whether a signal or `progress` raised. */
jsp_pulse *jsp_py_pulse_begin(jsp_py_pulse *self, PyObject *progress);
void jsp_py_pulse_end(jsp_py_pulse *self);

/* ---- one call at a time (jsp_py_busy.c) ------------------------------------------ */

/* Calls release the interpreter lock, so two threads could meet in one object: the
 * second gets a RuntimeError (and -1) instead of a race. Every 0 is paired with a
 * leave. */
int jsp_py_busy_enter(atomic_int *busy);
void jsp_py_busy_leave(atomic_int *busy);

/* ---- conversions (jsp_py_convert.c) ---------------------------------------------- */

/* 0 when `object` is a C-contiguous aligned array of exactly this type and number of
 * dimensions; else -1 with a TypeError or ValueError that names the argument. */
int jsp_py_convert_check(PyObject *object, const char *name, int type, int n_dims);

/* Like jsp_py_convert_check for graphs uint8 (n, D, D). */
int jsp_py_convert_check_graphs(PyObject *object, int n_variables);

/* Converter of a seed for "O&": an integer from 0 to 2^64 - 1 into a uint64_t. "K" would
 * take any integer and cut it off. */
int jsp_py_convert_seed(PyObject *object, void *seed);

/* Tuple of name(0), name(1), ... up to the first NULL. */
PyObject *jsp_py_convert_names(const char *(*name)(int k));

/* Raises the Python exception for a core error and returns NULL. */
PyObject *jsp_py_convert_raise(PyTypeObject *type, const jsp_error *error);

/* Local masks [n, D] of graphs that passed the check; possible[s] = 0 for excluded
 * ones. Both are jsp_memory blocks that the caller frees. -1 with MemoryError on
 * failure. */
int jsp_py_convert_masks(const jsp_scores *scores, PyArrayObject *graphs,
                         uint32_t **masks, uint8_t **possible);

/* New uint8 array (n, D, D) of parent sets given as local masks [n, D]. */
PyObject *jsp_py_convert_graphs(const jsp_scores *scores, npy_intp n,
                                const uint32_t *masks);

#endif
