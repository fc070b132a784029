/* Parameters and saved states of GnnTrainer. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <string.h>

#include "jsp_py_gnn.h"

PyObject *jsp_py_gnn_state_parameters(PyObject *object, PyObject *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    (void)unused;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    PyObject *dict = jsp_py_state_tensors(&view.net->layout, view.adam->average);
    jsp_py_busy_leave(&self->busy);
    return dict;
}

PyObject *jsp_py_gnn_state_set_parameters(PyObject *object, PyObject *dict) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    int failed =
        jsp_py_state_set_tensors(&view.net->layout, view.params, dict) < 0 ||
        jsp_py_state_set_tensors(&view.net->layout, view.adam->average, dict) < 0;
    jsp_py_busy_leave(&self->busy);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

/* The last one only where there is a target network. */
enum { MAX_BLOCKS = 5 };
static const char *const block_name[MAX_BLOCKS] = {"params", "average", "first_moment",
                                                   "second_moment", "target_params"};

/* Returns how many there are. */
static int list_blocks(const jsp_gnn_trainer_view *view, jsp_real *block[MAX_BLOCKS]) {
    block[0] = view->params;
    block[1] = view->adam->average;
    block[2] = view->adam->first;
    block[3] = view->adam->second;
    block[4] = view->frozen;
    return view->frozen ? MAX_BLOCKS : MAX_BLOCKS - 1;
}

static PyObject *graphs_of_environments(const jsp_py_gnn_trainer *self,
                                        const jsp_gnn_trainer_view *view) {
    const npy_intp D = self->target.D;
    const npy_intp shape[3] = {view->config->n_environments, D, D};
    PyObject *array = PyArray_SimpleNew(3, shape, NPY_UINT8);
    for (npy_intp e = 0; array && e < shape[0]; e++) {
        uint8_t *cells = PyArray_DATA((PyArrayObject *)array);
        jsp_gnn_target_graph(&view->environment[e], cells + e * D * D);
    }
    return array;
}

PyObject *jsp_py_gnn_state_get_state(PyObject *object, PyObject *unused) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *dict = PyDict_New();
    (void)unused;
    if (!dict || jsp_py_busy_enter(&self->busy) < 0) {
        Py_XDECREF(dict);
        return NULL;
    }
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    const jsp_replay *replay = view.replay;
    const npy_intp size = (npy_intp)view.net->layout.size;
    const npy_intp packed[2] = {replay->n, (npy_intp)replay->n_words};
    jsp_real *block[MAX_BLOCKS];
    int failed = 0;
    const int n_blocks = list_blocks(&view, block);
    for (int k = 0; k < n_blocks && !failed; k++) {
        failed = jsp_py_state_put(dict, block_name[k],
                                  jsp_py_state_copy(1, &size, JSP_PY_REAL, block[k]));
    }
    failed =
        failed ||
        jsp_py_state_put(dict, "replay_graphs",
                         jsp_py_state_copy(2, packed, NPY_UINT32, replay->graph)) ||
        jsp_py_state_put(dict, "replay_actions",
                         jsp_py_state_copy(1, packed, NPY_UINT16, replay->action)) ||
        jsp_py_state_put(dict, "replay_next", PyLong_FromLong(replay->next)) ||
        jsp_py_state_put(dict, "environments", graphs_of_environments(self, &view)) ||
        jsp_py_state_put(dict, "iteration", PyLong_FromLong(*view.update)) ||
        jsp_py_state_put(dict, "adam_steps", PyLong_FromLong(view.adam->t)) ||
        jsp_py_state_put(dict, "gradient_norm_mean",
                         PyFloat_FromDouble(view.adam->norm_mean)) ||
        jsp_py_state_put(dict, "first_iteration",
                         PyLong_FromLong(view.config->first)) ||
        jsp_py_state_put(dict, "n_iter", PyLong_FromLong(view.config->n_updates)) ||
        jsp_py_state_put(dict, "exploration_start",
                         PyFloat_FromDouble(view.config->exploration_start));
    jsp_py_busy_leave(&self->busy);
    if (failed) Py_CLEAR(dict);
    return dict;
}

enum { ITERATION, ADAM_STEPS, FIRST, N_ITER, NEXT, NORM_MEAN, EXPLORATION, N_NUMBERS };

static int read_numbers(PyObject *state, double number[N_NUMBERS]) {
    static const char *const name[N_NUMBERS] = {
        "iteration",   "adam_steps",         "first_iteration",  "n_iter",
        "replay_next", "gradient_norm_mean", "exploration_start"};
    for (int k = 0; k < N_NUMBERS; k++) {
        const double most = k == EXPLORATION ? 1 : k == NORM_MEAN ? 1e300 : 1e9;
        if (jsp_py_state_number(state, name[k], k == N_ITER, most, &number[k]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Every transition must be legal, or the core would write outside its lists. */
static int check_replay(const jsp_py_gnn_trainer *self, npy_intp n,
                        const uint32_t *graphs, size_t n_words,
                        const uint16_t *action) {
    const int D = self->target.D;
    jsp_dag_batch batch;
    uint8_t cells[JSP_MAX_NETWORK_VARIABLES * JSP_MAX_NETWORK_VARIABLES];
    if (jsp_dag_batch_create(&batch, 1, D, 0, NULL) != JSP_OK) {
        PyErr_NoMemory();
        return -1;
    }
    int fits = 1;
    for (npy_intp k = 0; k < n && fits; k++) {
        for (int c = 0; c < D * D; c++) {
            cells[c] = graphs[(size_t)k * n_words + (size_t)c / 32] >> (c % 32) & 1;
        }
        fits = action[k] < D * D && jsp_dag_find_cycle(D, 1, cells) < 0;
        if (!fits) break;
        jsp_gnn_target_dag(cells, batch.dag);
        fits = jsp_bits_has(jsp_dag_legal_parents(batch.dag, action[k] % D),
                            action[k] / D);
    }
    jsp_dag_batch_destroy(&batch);
    if (fits) return 0;
    PyErr_SetString(PyExc_ValueError,
                    "'replay_graphs' of the state belongs to another problem");
    return -1;
}

static int write_state(const jsp_py_gnn_trainer *self, PyObject *state) {
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_replay *replay = view.replay;
    const npy_intp size = (npy_intp)view.net->layout.size, D = self->target.D;
    const npy_intp any[2] = {-1, -1},
                   of_graphs[3] = {view.config->n_environments, D, D};
    PyArrayObject *source[MAX_BLOCKS];
    jsp_real *block[MAX_BLOCKS];
    double number[N_NUMBERS];
    const int n_blocks = list_blocks(&view, block);
    for (int k = 0; k < n_blocks; k++) {
        source[k] = jsp_py_state_array(state, block_name[k], JSP_PY_REAL, 1, &size);
        if (!source[k]) return -1;
    }
    PyArrayObject *packed =
        jsp_py_state_array(state, "replay_graphs", NPY_UINT32, 2, any);
    if (!packed) return -1;
    const npy_intp n = PyArray_DIM(packed, 0);
    PyArrayObject *action =
        jsp_py_state_array(state, "replay_actions", NPY_UINT16, 1, &n);
    PyArrayObject *graphs =
        jsp_py_state_array(state, "environments", NPY_UINT8, 3, of_graphs);
    if (!action || !graphs ||
        jsp_py_gnn_check_acyclic((int)D, (PyObject *)graphs) < 0 ||
        read_numbers(state, number) < 0) {
        return -1;
    }
    /* While there is room the next transition goes behind the last one. An empty replay is
     * that of a trainer that may add no edge. */
    if (n > replay->capacity || (n == 0) != (replay->n == 0) ||
        number[NEXT] >= replay->capacity ||
        (n < replay->capacity && number[NEXT] != (double)n) ||
        PyArray_DIM(packed, 1) != (npy_intp)replay->n_words) {
        PyErr_SetString(PyExc_ValueError,
                        "'replay_graphs' of the state belongs to another problem");
        return -1;
    }
    if (check_replay(self, n, PyArray_DATA(packed), replay->n_words,
                     PyArray_DATA(action)) < 0) {
        return -1;
    }
    /* everything is checked: from here on nothing fails */
    for (int k = 0; k < n_blocks; k++) {
        memcpy(block[k], PyArray_DATA(source[k]), (size_t)size * sizeof(jsp_real));
    }
    memcpy(replay->graph, PyArray_DATA(packed), (size_t)PyArray_NBYTES(packed));
    memcpy(replay->action, PyArray_DATA(action), (size_t)PyArray_NBYTES(action));
    replay->n = (int)n;
    replay->next = (int)number[NEXT];
    const uint8_t *cells = PyArray_DATA(graphs);
    for (int e = 0; e < view.config->n_environments; e++) {
        jsp_gnn_target_dag(cells + e * D * D, &view.environment[e]);
    }
    *view.update = (long)number[ITERATION];
    view.adam->t = (long)number[ADAM_STEPS];
    view.adam->norm_mean = number[NORM_MEAN];
    view.config->first = (long)number[FIRST];
    view.config->n_updates = (long)number[N_ITER];
    view.config->exploration_start = number[EXPLORATION];
    return 0;
}

PyObject *jsp_py_gnn_state_set_state(PyObject *object, PyObject *state) {
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    if (!PyDict_Check(state)) {
        PyErr_SetString(PyExc_TypeError, "state must be a dict made by get_state");
        return NULL;
    }
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    int failed = write_state(self, state);
    jsp_py_busy_leave(&self->busy);
    if (failed) return NULL;
    Py_RETURN_NONE;
}
