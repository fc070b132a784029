/* jsp_py_evidences.c - log evidences of models that fit parent sets one by one, as a list:
 * what several processes can share. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_evidences.h"
#include "jsp_memory.h"

/* Evidences `first` to `last` - 1 of a checked problem; NULL with an exception. */
static PyObject *fit_part(PyTypeObject *type, const jsp_model_setup *setup,
                          jsp_scores_config *config, Py_ssize_t first, Py_ssize_t last,
                          int n_threads, PyObject *progress) {
    const size_t n_sets =
        jsp_evidences_count(config, jsp_data_n_variables(setup->data));
    jsp_error error;
    jsp_py_pulse pulse;
    if (first < 0 || last < first || (size_t)last > n_sets) {
        return PyErr_Format(
            PyExc_ValueError,
            "first and last must be a part of %zu sets, got %zd and %zd", n_sets, first,
            last);
    }
    npy_intp size = last - first;
    PyObject *values = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    if (!values) return NULL;
    config->pulse = jsp_py_pulse_begin(&pulse, progress);
    jsp_status status =
        jsp_evidences_fit(setup, config, (size_t)first, (size_t)last, n_threads,
                          PyArray_DATA((PyArrayObject *)values), &error);
    jsp_py_pulse_end(&pulse);
    config->pulse = NULL;
    if (status == JSP_OK && !PyErr_Occurred()) return values;
    Py_DECREF(values);
    return PyErr_Occurred() ? NULL : jsp_py_convert_raise(type, &error);
}

PyObject *jsp_py_evidences_fit(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"x",           "mask",       "model",     "model_fields",
                            "max_parents", "candidates", "intercept", "first",
                            "last",        "n_threads",  "progress",  NULL};
    PyObject *x, *mask, *fields = NULL, *limits = NULL, *lists = NULL;
    PyObject *values = NULL, *progress = Py_None;
    const char *model = NULL;
    int intercept = 0, n_threads = 1;
    Py_ssize_t first = 0, last = -1;
    jsp_scores_config config = {0};
    jsp_py_setup_lists memory = {.flat = NULL};
    jsp_model_setup setup;
    jsp_data *data = NULL;
    jsp_error error;
    PyTypeObject *type =
        ((jsp_py_module_state *)PyModule_GetState(module))->scores_type;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$sO!OOpnniO:fit_evidences",
                                     names, &x, &mask, &model, &PyDict_Type, &fields,
                                     &limits, &lists, &intercept, &first, &last,
                                     &n_threads, &progress)) {
        return NULL;
    }
    if (!model || !fields || !limits || !lists) {
        PyErr_SetString(
            PyExc_TypeError,
            "model, model_fields, max_parents and candidates must be given");
        return NULL;
    }
    if (jsp_py_setup_read(type, x, mask, model, fields, Py_None, intercept, 0,
                          n_threads, &data, &setup) == 0) {
        const int D = jsp_data_n_variables(data);
        if (!setup.model->tabulate_sets) {
            PyErr_Format(PyExc_ValueError, "the model '%s' does not fit single sets",
                         model);
        } else if (jsp_py_setup_read_config("uniform", Py_None, Py_None, limits, D,
                                            &memory, &config) == 0 &&
                   jsp_py_setup_read_candidates(lists, D, &memory, &config) == 0) {
            values =
                jsp_scores_check(&setup, &config, &error) == JSP_OK
                    ? fit_part(type, &setup, &config, first, last, n_threads, progress)
                    : jsp_py_convert_raise(type, &error);
        }
    }
    jsp_memory_free(memory.flat);
    jsp_data_destroy(data);
    return values;
}
