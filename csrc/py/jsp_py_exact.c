/* The type Exact: the exact posterior over all DAGs on score tables. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include "jsp_exact.h"
#include "jsp_moments.h"

typedef struct jsp_py_exact {
    PyObject_HEAD PyObject *scores; /* owned reference: the tables must stay */
    jsp_exact *exact;               /* owned */
    int n_threads;
    int has_posterior;
    int is_done;
    atomic_int busy; /* 1 while a call works on it */
} jsp_py_exact;

static const jsp_scores *tables_of(const jsp_py_exact *self) {
    return ((const jsp_py_scores *)self->scores)->scores;
}

/* ---- life ------------------------------------------------------------------------ */

static PyObject *exact_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scores", "posterior", "n_threads", NULL};
    PyObject *scores;
    int posterior, n_threads;
    jsp_error error;
    jsp_py_module_state *state = jsp_py_module_state_of(type);
    if (!state) return NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!$pi:Exact", names,
                                     state->scores_type, &scores, &posterior,
                                     &n_threads)) {
        return NULL;
    }
    if (jsp_py_scores_need_tables(scores) < 0) return NULL;
    jsp_py_exact *self = (jsp_py_exact *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->scores = Py_NewRef(scores);
    self->n_threads = n_threads;
    self->has_posterior = posterior;
    jsp_status status;
    jsp_exact_goal goal = posterior ? JSP_EXACT_POSTERIOR : JSP_EXACT_PARTITION;
    const jsp_scores *tables = tables_of(self);
    PyThreadState *thread = PyEval_SaveThread();
    status = jsp_exact_create(tables, goal, n_threads, &self->exact, &error);
    PyEval_RestoreThread(thread);
    if (status == JSP_OK) return (PyObject *)self;
    jsp_py_convert_raise(type, &error);
    Py_DECREF(self);
    return NULL;
}

static void exact_dealloc(PyObject *object) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_exact_destroy(self->exact);
    Py_XDECREF(self->scores);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *exact_plan(PyObject *type, PyObject *args) {
    PyObject *list;
    int posterior, n_threads, counts[JSP_EXACT_MAX_VARIABLES];
    (void)type;
    if (!PyArg_ParseTuple(args, "O!pi:plan", &PyList_Type, &list, &posterior,
                          &n_threads)) {
        return NULL;
    }
    Py_ssize_t D = PyList_GET_SIZE(list);
    if (D < 1 || D > JSP_EXACT_MAX_VARIABLES) {
        return PyErr_Format(PyExc_ValueError,
                            "the exact posterior takes 1 to %d variables, got %zd",
                            JSP_EXACT_MAX_VARIABLES, D);
    }
    for (Py_ssize_t j = 0; j < D; j++) {
        long count = PyLong_AsLong(PyList_GET_ITEM(list, j));
        if (count == -1 && PyErr_Occurred()) return NULL;
        if (count < 0 || count >= D) {
            return PyErr_Format(PyExc_ValueError, "n_candidates[%zd] is %ld", j, count);
        }
        counts[j] = (int)count;
    }
    return PyLong_FromSize_t(
        jsp_exact_size((int)D, counts,
                       posterior ? JSP_EXACT_POSTERIOR : JSP_EXACT_PARTITION,
                       n_threads));
}

/* ---- work ------------------------------------------------------------------------ */

static PyObject *refuse_range(PyTypeObject *type) {
    jsp_error error;
    jsp_status_set(
        &error, JSP_ERROR_NUMERICAL,
        "local scores span more than 10^7 nats, beyond the range of the exact "
        "sums: the assumed noise is far too small for the scale of the data; "
        "set LinearGaussian(noise_scale=...), rescale the columns, or use a "
        "model that learns the noise (model='bge')");
    return jsp_py_convert_raise(type, &error);
}

static PyObject *exact_step(PyObject *object, PyObject *argument) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    long n_units = PyLong_AsLong(argument);
    if (n_units == -1 && PyErr_Occurred()) return NULL;
    if (n_units < 1 || n_units > INT32_MAX) {
        return PyErr_Format(PyExc_ValueError, "n_units must be 1 to 2^31 - 1, got %ld",
                            n_units);
    }
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    double done = jsp_exact_step(self->exact, (int)n_units);
    PyEval_RestoreThread(thread);
    int out_of_range = done >= 1 && jsp_exact_get_report(self->exact).out_of_range;
    self->is_done = done >= 1 && !out_of_range;
    jsp_py_busy_leave(&self->busy);
    if (out_of_range) return refuse_range(Py_TYPE(object));
    return PyFloat_FromDouble(done);
}

/* 0 when the result can be read; the caller then leaves. */
static int enter_result(jsp_py_exact *self, int needs_posterior) {
    if (jsp_py_busy_enter(&self->busy) < 0) return -1;
    if (self->is_done && (self->has_posterior || !needs_posterior)) return 0;
    PyErr_SetString(PyExc_RuntimeError, self->is_done
                                            ? "only the partition function was computed"
                                            : "the work is not done: call step");
    jsp_py_busy_leave(&self->busy);
    return -1;
}

/* ---- results --------------------------------------------------------------------- */

static PyObject *exact_log_partition(PyObject *object, PyObject *unused) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    (void)unused;
    if (enter_result(self, 0) < 0) return NULL;
    double value = jsp_exact_log_partition(self->exact);
    jsp_py_busy_leave(&self->busy);
    return PyFloat_FromDouble(value);
}

static PyObject *exact_report(PyObject *object, PyObject *unused) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    (void)unused;
    if (enter_result(self, 0) < 0) return NULL;
    jsp_exact_report report = jsp_exact_get_report(self->exact);
    jsp_py_busy_leave(&self->busy);
    return Py_BuildValue("{sdsdsdsdsd}", "n_terms_backward", report.n_terms_backward,
                         "n_terms_forward", report.n_terms_forward, "cut_partition",
                         report.cut_partition, "cut_posterior", report.cut_posterior,
                         "closure", report.closure);
}

static PyObject *exact_edges(PyObject *object, PyObject *unused) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    const npy_intp D = tables_of(self)->n_variables, shape[2] = {D, D};
    (void)unused;
    if (enter_result(self, 1) < 0) return NULL;
    PyObject *edges = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    if (edges) jsp_exact_edges(self->exact, PyArray_DATA((PyArrayObject *)edges));
    jsp_py_busy_leave(&self->busy);
    return edges;
}

static PyObject *exact_parent_sets(PyObject *object, PyObject *argument) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    const jsp_scores *scores = tables_of(self);
    long node = PyLong_AsLong(argument);
    if (node == -1 && PyErr_Occurred()) return NULL;
    if (node < 0 || node >= scores->n_variables) {
        return PyErr_Format(PyExc_ValueError, "node must be 0 to %d, got %ld",
                            scores->n_variables - 1, node);
    }
    if (enter_result(self, 1) < 0) return NULL;
    const npy_intp size = (npy_intp)1 << scores->node[node].K;
    PyObject *copy = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    if (copy) {
        memcpy(PyArray_DATA((PyArrayObject *)copy),
               jsp_exact_parent_sets(self->exact, (int)node),
               (size_t)size * sizeof(double));
    }
    jsp_py_busy_leave(&self->busy);
    return copy;
}

/* first, second [D, D] zeroed, noise [D] */
static jsp_status mix_all(const jsp_py_exact *self, double *first, double *second,
                          double *noise, jsp_error *error) {
    const jsp_scores *scores = tables_of(self);
    const jsp_model_setup *setup = &((const jsp_py_scores *)self->scores)->setup;
    const int D = scores->n_variables;
    jsp_status status = JSP_OK;
    for (int j = 0; j < D && status == JSP_OK; j++) {
        double one[JSP_MAX_CANDIDATES], two[JSP_MAX_CANDIDATES];
        const jsp_scores_node *node = &scores->node[j];
        jsp_moments_mixture mixture = {.K = node->K,
                                       .candidates = node->candidate,
                                       .probability =
                                           jsp_exact_parent_sets(self->exact, j),
                                       .n_threads = self->n_threads,
                                       .first = one,
                                       .second = two,
                                       .noise = &noise[j]};
        status = jsp_moments_mix(setup, j, &mixture, error);
        for (int k = 0; k < node->K && status == JSP_OK; k++) {
            first[node->candidate[k] * D + j] = one[k];
            second[node->candidate[k] * D + j] = two[k];
        }
    }
    return status;
}

static PyObject *exact_weight_moments(PyObject *object, PyObject *unused) {
    jsp_py_exact *self = (jsp_py_exact *)object;
    const npy_intp D = tables_of(self)->n_variables, shape[2] = {D, D};
    (void)unused;
    if (enter_result(self, 1) < 0) return NULL;
    PyObject *first = PyArray_ZEROS(2, shape, NPY_DOUBLE, 0);
    PyObject *second = PyArray_ZEROS(2, shape, NPY_DOUBLE, 0);
    PyObject *noise = PyArray_ZEROS(1, shape, NPY_DOUBLE, 0);
    jsp_error error;
    jsp_status status = JSP_ERROR_MEMORY;
    if (first && second && noise) {
        double *one = PyArray_DATA((PyArrayObject *)first);
        double *two = PyArray_DATA((PyArrayObject *)second);
        double *variance = PyArray_DATA((PyArrayObject *)noise);
        PyThreadState *thread = PyEval_SaveThread();
        status = mix_all(self, one, two, variance, &error);
        PyEval_RestoreThread(thread);
        if (status != JSP_OK) jsp_py_convert_raise(Py_TYPE(object), &error);
    }
    jsp_py_busy_leave(&self->busy);
    if (status == JSP_OK) return Py_BuildValue("NNN", first, second, noise);
    Py_XDECREF(first);
    Py_XDECREF(second);
    Py_XDECREF(noise);
    return NULL;
}

static PyObject *exact_sample(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", "seed", "first_draw", NULL};
    jsp_py_exact *self = (jsp_py_exact *)object;
    const jsp_scores *scores = tables_of(self);
    long n, first_draw = 0;
    uint64_t seed;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "lO&|l:sample", names, &n,
                                     jsp_py_convert_seed, &seed, &first_draw)) {
        return NULL;
    }
    if (n < 0 || n > INT32_MAX) {
        return PyErr_Format(PyExc_ValueError, "n must be 0 to 2^31 - 1, got %ld", n);
    }
    if (enter_result(self, 1) < 0) return NULL;
    const npy_intp shape[2] = {n, scores->n_variables};
    PyObject *masks = PyArray_SimpleNew(2, shape, NPY_UINT32), *graphs = NULL;
    if (masks) {
        uint32_t *cells = PyArray_DATA((PyArrayObject *)masks);
        jsp_error error;
        jsp_py_pulse pulse;
        jsp_pulse *asked = jsp_py_pulse_begin(&pulse, Py_None);
        jsp_status status = jsp_exact_sample(self->exact, n, seed, first_draw,
                                             self->n_threads, cells, asked, &error);
        jsp_py_pulse_end(&pulse);
        if (PyErr_Occurred()) {
            Py_DECREF(masks);
            jsp_py_busy_leave(&self->busy);
            return NULL;
        }
        graphs = status == JSP_OK ? jsp_py_convert_graphs(scores, n, cells)
                                  : jsp_py_convert_raise(Py_TYPE(object), &error);
        Py_DECREF(masks);
    }
    jsp_py_busy_leave(&self->busy);
    return graphs;
}

static PyMethodDef exact_methods[] = {
    {"plan", exact_plan, METH_VARARGS | METH_STATIC, "Bytes that Exact will allocate."},
    {"step", exact_step, METH_O, "Runs some work; returns the share done."},
    {"log_partition", exact_log_partition, METH_NOARGS, "log Z."},
    {"report", exact_report, METH_NOARGS, "Terms, bounds on what was cut, rounding."},
    {"edges", exact_edges, METH_NOARGS, "P(i -> j)."},
    {"parent_sets", exact_parent_sets, METH_O, "P(Pa = S) of a node, by local mask."},
    {"weight_moments", exact_weight_moments, METH_NOARGS,
     "Means of weights, of their squares, and of noise variances."},
    {"sample", (PyCFunction)(void (*)(void))exact_sample, METH_VARARGS | METH_KEYWORDS,
     "Independent draws of graphs."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot exact_slots[] = {
    {Py_tp_doc, "The exact posterior over all DAGs."},
    {Py_tp_new, exact_new},
    {Py_tp_dealloc, exact_dealloc},
    {Py_tp_methods, exact_methods},
    {0, NULL},
};

PyType_Spec jsp_py_exact_spec = {
    .name = "jspgfn._core.Exact",
    .basicsize = sizeof(jsp_py_exact),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = exact_slots,
};
