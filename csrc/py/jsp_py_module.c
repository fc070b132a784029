/* The extension module jspgfn._core: multi-phase initialisation, heap types, no globals
 * besides static tables. */
#define JSP_PY_IMPORT_ARRAY
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_dag.h"
#include "jsp_gnn_trainer.h"
#include "jsp_kernels.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

#ifndef JSPGFN_VERSION
#define JSPGFN_VERSION "unknown"
#endif

jsp_py_module_state *jsp_py_module_state_of(PyTypeObject *type) {
    return PyType_GetModuleState(type);
}

static PyObject *module_find_cycle(PyObject *module, PyObject *graphs) {
    (void)module;
    if (!PyArray_Check(graphs) || PyArray_NDIM((PyArrayObject *)graphs) != 3) {
        PyErr_SetString(PyExc_ValueError, "graphs must be an array of shape (n, D, D)");
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)graphs;
    const npy_intp D = PyArray_DIM(array, 1);
    if (D < 1 || D > JSP_MAX_VARIABLES) {
        PyErr_Format(PyExc_ValueError, "graphs must have 1 to %d variables, got %zd",
                     JSP_MAX_VARIABLES, (Py_ssize_t)D);
        return NULL;
    }
    if (jsp_py_convert_check_graphs(graphs, (int)D) < 0) return NULL;
    return PyLong_FromLong(
        jsp_dag_find_cycle((int)D, (long)PyArray_DIM(array, 0), PyArray_DATA(array)));
}

static PyObject *module_select_simd(PyObject *module, PyObject *argument) {
    (void)module;
    const char *name = PyUnicode_AsUTF8(argument);
    if (!name) return NULL;
    if (jsp_kernels_select(name) == 0) Py_RETURN_NONE;
    PyErr_Format(
        PyExc_ValueError,
        "instruction set '%s' is unknown or not offered by this processor and build",
        name);
    return NULL;
}

static PyObject *list_simd(void) {
    PyObject *names = PyList_New(0);
    for (int k = 0; names && jsp_kernels_available(k); k++) {
        PyObject *name = PyUnicode_FromString(jsp_kernels_available(k));
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *module_config(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    PyObject *simd = list_simd();
    if (!simd) return NULL;
#ifdef __VERSION__
    const char *compiler = __VERSION__;
#else
    const char *compiler = "unknown";
#endif
    return Py_BuildValue("{sssssssNsNsiss}", "version", JSPGFN_VERSION, "real",
                         sizeof(jsp_real) == 4 ? "float" : "double", "simd",
                         jsp_kernels_active()->name, "simd_available", simd, "openmp",
                         PyBool_FromLong(jsp_parallel_has_openmp()), "max_threads",
                         jsp_parallel_max_threads(), "compiler", compiler);
}

static PyObject *module_fail_allocation(PyObject *module, PyObject *argument) {
    (void)module;
    long n = PyLong_AsLong(argument);
    if (n == -1 && PyErr_Occurred()) return NULL;
    return PyLong_FromLong(jsp_memory_fail_at(n));
}

static PyObject *module_live_allocations(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyLong_FromLong(jsp_memory_live());
}

static PyMethodDef module_methods[] = {
    {"find_cycle", module_find_cycle, METH_O, "Row of the first cyclic graph, or -1."},
    {"select_candidates", (PyCFunction)(void (*)(void))jsp_py_scores_select_candidates,
     METH_VARARGS | METH_KEYWORDS, "Best candidate parents of every node."},
    {"moments", jsp_py_moments_of, METH_VARARGS, "Moments of a table."},
    {"fit_evidences", (PyCFunction)(void (*)(void))jsp_py_evidences_fit,
     METH_VARARGS | METH_KEYWORDS, "Log evidences of a part of all parent sets."},
    {"select_simd", module_select_simd, METH_O,
     "Chooses the instruction set of kernels."},
    {"config", module_config, METH_NOARGS, "How the core was built and runs."},
    {"fail_allocation", module_fail_allocation, METH_O,
     "Lets the n-th allocation of the core from now on fail (0 = none), for tests."},
    {"live_allocations", module_live_allocations, METH_NOARGS,
     "Blocks of memory that the core holds, for tests."},
    {"kernel", jsp_py_kernels_call, METH_VARARGS, "Calls one kernel, for tests."},
    {NULL, NULL, 0, NULL},
};

/* JSPGFN_SIMD forces an instruction set; a name that cannot be had is an error rather
 * than a silent fall-back. */
static int choose_simd(void) {
    const char *name = getenv("JSPGFN_SIMD");
    if (!name || !*name || jsp_kernels_select(name) == 0) return 0;
    PyErr_Format(PyExc_ImportError,
                 "JSPGFN_SIMD=%s is unknown or not offered by this processor and build",
                 name);
    return -1;
}

/* A type that no other part of the module needs to know. */
static int add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = !type || PyModule_AddType(module, (PyTypeObject *)type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

/* Takes over the reference to `names`. */
static int add_names(PyObject *module, const char *name, PyObject *names) {
    int failed = !names || PyModule_AddObjectRef(module, name, names) < 0;
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

static int module_exec(PyObject *module) {
    jsp_py_module_state *state = PyModule_GetState(module);
    if (choose_simd() < 0) return -1;
    state->numerical_error =
        PyErr_NewExceptionWithDoc("jspgfn.NumericalError",
                                  "NaN or divergence; names the step and the quantity.",
                                  PyExc_ArithmeticError, NULL);
    if (!state->numerical_error ||
        PyModule_AddObjectRef(module, "NumericalError", state->numerical_error) < 0) {
        return -1;
    }
    state->scores_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &jsp_py_scores_spec, NULL);
    if (!state->scores_type || PyModule_AddType(module, state->scores_type) < 0)
        return -1;
    state->trainer_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &jsp_py_trainer_spec, NULL);
    if (!state->trainer_type || PyModule_AddType(module, state->trainer_type) < 0)
        return -1;
    state->chains_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &jsp_py_chain_spec, NULL);
    if (!state->chains_type || PyModule_AddType(module, state->chains_type) < 0)
        return -1;
    state->exact_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &jsp_py_exact_spec, NULL);
    if (!state->exact_type || PyModule_AddType(module, state->exact_type) < 0)
        return -1;
    if (add_type(module, &jsp_py_gnn_spec) < 0) return -1;
    if (add_type(module, &jsp_py_head_spec) < 0) return -1;
    if (add_type(module, &jsp_py_gnn_trainer_spec) < 0) return -1;
    if (add_names(module, "GNN_METRICS",
                  jsp_py_convert_names(jsp_gnn_trainer_metric_name)) < 0)
        return -1;
    return add_names(module, "METRICS", jsp_py_convert_names(jsp_trainer_metric_name));
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    jsp_py_module_state *state = PyModule_GetState(module);
    Py_VISIT(state->numerical_error);
    Py_VISIT(state->scores_type);
    Py_VISIT(state->trainer_type);
    Py_VISIT(state->chains_type);
    Py_VISIT(state->exact_type);
    return 0;
}

static int module_clear(PyObject *module) {
    jsp_py_module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->numerical_error);
    Py_CLEAR(state->scores_type);
    Py_CLEAR(state->trainer_type);
    Py_CLEAR(state->chains_type);
    Py_CLEAR(state->exact_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef jsp_py_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "jspgfn._core",
    .m_doc = "The compiled core of jspgfn.",
    .m_size = sizeof(jsp_py_module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__core(void) {
    import_array();
    return PyModuleDef_Init(&jsp_py_module_def);
}
