/* The type Chains: structure MCMC with parallel tempering on score tables. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>

#include "jsp_dag.h"
#include "jsp_mcmc.h"
#include "jsp_memory.h"
#include "jsp_py_state.h"

typedef struct jsp_py_chain {
    PyObject_HEAD PyObject
        *scores;     /* owned reference: the tables must outlive the chains */
    jsp_mcmc *mcmc;  /* owned */
    atomic_int busy; /* 1 while a call works on the chains */
} jsp_py_chain;

/* ---- life --------------------------------------------------------------------------- */

static int check_range(const char *name, long value, long least, long most) {
    if (value >= least && value <= most) return 0;
    PyErr_Format(PyExc_ValueError, "%s must be from %ld to %ld, got %ld", name, least,
                 most, value);
    return -1;
}

/* Batches and stored states are halved when full, so their numbers must be even. */
static int check_config(jsp_mcmc_config *config, int n_temperatures, double ratio,
                        long cold_moves, long hot_moves) {
    const long most = 1000000000;
    if (check_range("n_chains", config->n_chains, 1, 1000000) < 0 ||
        check_range("n_temperatures", n_temperatures, 1, JSP_TEMPERING_MAX) < 0 ||
        check_range("cold_moves", cold_moves, 1, most) < 0 ||
        check_range("hot_moves", hot_moves, 1, most) < 0 ||
        check_range("n_batches", config->n_batches, 2, most) < 0 ||
        check_range("n_stored", config->n_stored, 2, most) < 0 ||
        check_range("n_threads", config->n_threads, 1, most) < 0) {
        return -1;
    }
    if (config->n_batches % 2 || config->n_stored % 2) {
        PyErr_SetString(PyExc_ValueError, "n_batches and n_stored must be even");
        return -1;
    }
    if (!(ratio > 0 && ratio < 1)) {
        PyErr_SetString(PyExc_ValueError, "ratio must be between 0 and 1");
        return -1;
    }
    jsp_tempering_plan_geometric(&config->plan, n_temperatures, ratio, cold_moves,
                                 hot_moves);
    return 0;
}

static PyObject *chain_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"scores",    "n_chains",   "n_temperatures",
                            "ratio",     "cold_moves", "hot_moves",
                            "n_batches", "n_stored",   "seed",
                            "n_threads", NULL};
    jsp_mcmc_config config = {0};
    int n_temperatures;
    double ratio;
    long cold_moves, hot_moves;
    uint64_t seed;
    PyObject *scores;
    jsp_error error;
    jsp_py_module_state *state = jsp_py_module_state_of(type);
    if (!state) return NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!$iidlliiO&i:Chains", names,
                                     state->scores_type, &scores, &config.n_chains,
                                     &n_temperatures, &ratio, &cold_moves, &hot_moves,
                                     &config.n_batches, &config.n_stored,
                                     jsp_py_convert_seed, &seed, &config.n_threads) ||
        check_config(&config, n_temperatures, ratio, cold_moves, hot_moves) < 0) {
        return NULL;
    }
    config.seed = seed;
    if (jsp_py_scores_need_tables(scores) < 0) return NULL;
    jsp_py_chain *self = (jsp_py_chain *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->scores = Py_NewRef(scores);
    jsp_status status;
    Py_BEGIN_ALLOW_THREADS
    status = jsp_mcmc_create(((jsp_py_scores *)scores)->scores, &config, &self->mcmc,
                             &error);
    Py_END_ALLOW_THREADS
    if (status == JSP_OK) return (PyObject *)self;
    jsp_py_convert_raise(type, &error);
    Py_DECREF(self);
    return NULL;
}

static void chain_dealloc(PyObject *object) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    PyTypeObject *type = Py_TYPE(object);
    jsp_mcmc_destroy(self->mcmc);
    Py_XDECREF(self->scores);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- walking ------------------------------------------------------------------------ */

static PyObject *chain_step(PyObject *object, PyObject *argument) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    long n_rounds = PyLong_AsLong(argument);
    if (n_rounds == -1 && PyErr_Occurred()) return NULL;
    if (n_rounds < 1) {
        return PyErr_Format(PyExc_ValueError, "n_rounds must be at least 1, got %ld",
                            n_rounds);
    }
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    jsp_mcmc_step(self->mcmc, n_rounds);
    Py_END_ALLOW_THREADS
    jsp_py_busy_leave(&self->busy);
    Py_RETURN_NONE;
}

/* ---- results ------------------------------------------------------------------------ */

/* Sums [n_chains, n_batches, n_moves] as an array (n_chains, n_used, D, D). */
static PyObject *copy_batches(const jsp_mcmc_view *view, const double *batch,
                              int n_used) {
    const npy_intp D = view->scores->n_variables, n_chains = view->config->n_chains;
    const npy_intp shape[4] = {n_chains, n_used, D, D};
    const size_t n_moves = (size_t)view->moves->n_moves;
    PyObject *copy = PyArray_ZEROS(4, shape, NPY_DOUBLE, 0);
    if (!copy) return NULL;
    double *cells = PyArray_DATA((PyArrayObject *)copy);
    for (npy_intp c = 0; c < n_chains; c++) {
        const double *row =
            batch + (size_t)c * (size_t)view->config->n_batches * n_moves;
        for (int b = 0; b < n_used; b++, row += n_moves, cells += D * D) {
            for (size_t m = 0; m < n_moves; m++) {
                cells[view->moves->parent[m] * D + view->moves->child[m]] = row[m];
            }
        }
    }
    return copy;
}

static PyObject *chain_batches(PyObject *object, PyObject *unused) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    (void)unused;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_mcmc_view view = jsp_mcmc_open(self->mcmc);
    const int n_used = view.n_full + (view.n_partial > 0);
    const npy_intp length = n_used;
    PyObject *rounds = PyArray_SimpleNew(1, &length, NPY_INT64);
    PyObject *counts = copy_batches(&view, view.count, n_used);
    PyObject *sums = copy_batches(&view, view.sum, n_used);
    jsp_py_busy_leave(&self->busy);
    if (!rounds || !counts || !sums) {
        Py_XDECREF(rounds);
        Py_XDECREF(counts);
        Py_XDECREF(sums);
        return NULL;
    }
    int64_t *length_of = PyArray_DATA((PyArrayObject *)rounds);
    for (int b = 0; b < n_used; b++) {
        length_of[b] = b < view.n_full ? view.batch_rounds : view.n_partial;
    }
    return Py_BuildValue("NNN", rounds, counts, sums);
}

static PyObject *chain_states(PyObject *object, PyObject *unused) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    (void)unused;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_mcmc_view view = jsp_mcmc_open(self->mcmc);
    const size_t D = (size_t)view.scores->n_variables;
    const npy_intp shape[3] = {view.config->n_chains, view.n_states, (npy_intp)D};
    PyObject *states = PyArray_SimpleNew(3, shape, NPY_UINT32);
    for (int c = 0; states && c < view.config->n_chains; c++) {
        const size_t n = (size_t)view.n_states * D,
                     room = (size_t)view.config->n_stored * D;
        memcpy((uint32_t *)PyArray_DATA((PyArrayObject *)states) + (size_t)c * n,
               view.stored + (size_t)c * room, n * sizeof(uint32_t));
    }
    jsp_py_busy_leave(&self->busy);
    return states;
}

/* long values [n] of each chain as an array (n_chains, n); `which` picks the block. */
enum counter { ACCEPTED_MOVES, TRIED_SWAPS, ACCEPTED_SWAPS };

static PyObject *copy_counter(const jsp_mcmc_view *view, enum counter which, int n) {
    const npy_intp shape[2] = {view->config->n_chains, n};
    PyObject *copy = PyArray_SimpleNew(2, shape, NPY_INT64);
    int64_t *cell = copy ? PyArray_DATA((PyArrayObject *)copy) : NULL;
    for (int c = 0; copy && c < view->config->n_chains; c++) {
        const jsp_tempering *ensemble = &view->ensemble[c];
        const long *block[] = {ensemble->accepted_moves, ensemble->tried_swaps,
                               ensemble->accepted_swaps};
        for (int k = 0; k < n; k++) *cell++ = block[which][k];
    }
    return copy;
}

static PyObject *list_round_trips(const jsp_mcmc_view *view) {
    PyObject *list = PyList_New(view->config->n_chains);
    for (int c = 0; list && c < view->config->n_chains; c++) {
        PyObject *item = PyLong_FromLong(view->ensemble[c].round_trips);
        if (!item) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, c, item);
    }
    return list;
}

static PyObject *chain_counters(PyObject *object, PyObject *unused) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    (void)unused;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_mcmc_view view = jsp_mcmc_open(self->mcmc);
    const int n = view.config->plan.n_temperatures;
    PyObject *result =
        Py_BuildValue("{slslsNsNsNsN}", "n_rounds", view.n_rounds, "thinning",
                      view.thinning, "accepted_moves",
                      copy_counter(&view, ACCEPTED_MOVES, n), "tried_swaps",
                      copy_counter(&view, TRIED_SWAPS, n - 1), "accepted_swaps",
                      copy_counter(&view, ACCEPTED_SWAPS, n - 1), "round_trips",
                      list_round_trips(&view));
    jsp_py_busy_leave(&self->busy);
    return result;
}

/* ---- where chains stand -------------------------------------------------------------- */

static PyObject *chain_replicas(PyObject *object, PyObject *unused) {
    jsp_py_chain *self = (jsp_py_chain *)object;
    (void)unused;
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_mcmc_view view = jsp_mcmc_open(self->mcmc);
    const int T = view.config->plan.n_temperatures, D = view.scores->n_variables;
    const npy_intp shape[3] = {view.config->n_chains, T, D};
    PyObject *replicas = PyArray_SimpleNew(3, shape, NPY_UINT32);
    PyObject *headings = PyArray_SimpleNew(2, shape, NPY_INT8);
    if (replicas && headings) {
        uint32_t *local = PyArray_DATA((PyArrayObject *)replicas);
        int8_t *heading = PyArray_DATA((PyArrayObject *)headings);
        for (int c = 0; c < view.config->n_chains; c++) {
            const jsp_tempering *ensemble = &view.ensemble[c];
            for (int k = 0; k < T; k++, local += D) {
                memcpy(local, ensemble->state[k].local, (size_t)D * sizeof *local);
                *heading++ = ensemble->heading[k];
            }
        }
    }
    jsp_py_busy_leave(&self->busy);
    if (replicas && headings) return Py_BuildValue("NN", replicas, headings);
    Py_XDECREF(replicas);
    Py_XDECREF(headings);
    return NULL;
}

static int refuse_state(const char *name) {
    PyErr_Format(PyExc_ValueError, "'%s' of the chains belongs to another problem",
                 name);
    return -1;
}

/* The data of an array of this type and shape, -1 = any length; NULL with an exception. */
static const void *state_array(PyObject *value, const char *name, int type, int n_dims,
                               const npy_intp *shape) {
    if (jsp_py_state_check(value, name, "chains", type, n_dims, shape) < 0) return NULL;
    return PyArray_DATA((PyArrayObject *)value);
}

/* How many rounds there were and where the next ones go, from the lengths of batches. */
static int read_rounds(const jsp_mcmc_view *view, const int64_t *rounds, npy_intp n,
                       npy_intp n_states, long thinning, jsp_mcmc_state *state) {
    const int64_t most = UINT32_MAX;
    int64_t total = 0;
    for (npy_intp b = 0; b < n; b++) {
        const int is_last = b == n - 1;
        if (rounds[b] < 1 || rounds[b] > rounds[0] ||
            (!is_last && rounds[b] != rounds[0]) || rounds[b] > most - total) {
            return refuse_state("rounds");
        }
        total += rounds[b];
    }
    const int is_partial = n > 0 && rounds[n - 1] < rounds[0];
    const npy_intp n_full = n - is_partial;
    if (n_full < 1 || n > view->config->n_batches) return refuse_state("rounds");
    if (n_states < 1 || n_states > view->config->n_stored || thinning < 1 ||
        thinning > most || n_states * thinning < total ||
        n_states * thinning - total >= thinning) {
        return refuse_state("states");
    }
    state->n_full = (int)n_full;
    state->batch_rounds = (long)rounds[0];
    state->n_partial = is_partial ? (long)rounds[n - 1] : 0;
    state->n_states = (int)n_states;
    state->thinning = thinning;
    return 0;
}

/* Replicas must be allowed graphs, or the core would read outside its tables. */
static int check_replicas(const jsp_mcmc_view *view, const uint32_t *replica,
                          const int8_t *heading) {
    const int D = view->scores->n_variables;
    const int n = view->config->n_chains * view->config->plan.n_temperatures;
    int fits = 1;
    for (int k = 0; k < n * D && fits; k++) {
        const jsp_scores_node *node = &view->scores->node[k % D];
        fits = !((uint64_t)replica[k] >> node->K) && isfinite(node->score[replica[k]]);
    }
    for (int k = 0; k < n; k++) fits = fits && heading[k] >= -1 && heading[k] <= 1;
    if (!fits) return refuse_state("replicas");
    PyObject *graphs = jsp_py_convert_graphs(view->scores, n, replica);
    if (!graphs) return -1;
    fits = jsp_dag_find_cycle(D, n, PyArray_DATA((PyArrayObject *)graphs)) < 0;
    Py_DECREF(graphs);
    return fits ? 0 : refuse_state("replicas");
}

/* Matrices (n_chains, n_used, D, D) as sums [n_chains, n_used, n_moves]. */
static double *compress(const jsp_mcmc_view *view, const double *cells, size_t n) {
    const size_t D = (size_t)view->scores->n_variables;
    const size_t n_moves = (size_t)view->moves->n_moves;
    double *sums = jsp_memory_alloc(n * n_moves, sizeof *sums);
    if (!sums) {
        PyErr_NoMemory();
        return NULL;
    }
    for (size_t b = 0; b < n; b++) {
        for (size_t m = 0; m < n_moves; m++) {
            const size_t i = (size_t)view->moves->parent[m];
            const size_t j = (size_t)view->moves->child[m];
            sums[b * n_moves + m] = cells[(b * D + i) * D + j];
        }
    }
    return sums;
}

static PyObject *chain_restore(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"rounds",         "counts",      "sums",
                            "states",         "thinning",    "replicas",
                            "heading",        "tried_swaps", "accepted_swaps",
                            "accepted_moves", "round_trips", NULL};
    jsp_py_chain *self = (jsp_py_chain *)object;
    PyObject *rounds, *counts, *sums, *states, *replicas, *heading, *tried, *swaps,
        *moves, *trips;
    long thinning;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$OOOOlOOOOOO:restore", names,
                                     &rounds, &counts, &sums, &states, &thinning,
                                     &replicas, &heading, &tried, &swaps, &moves,
                                     &trips) ||
        jsp_py_busy_enter(&self->busy) < 0) {
        return NULL;
    }
    const jsp_mcmc_view view = jsp_mcmc_open(self->mcmc);
    const npy_intp D = view.scores->n_variables, C = view.config->n_chains, any = -1;
    const npy_intp T = view.config->plan.n_temperatures;
    jsp_mcmc_state state;
    const int64_t *lengths = state_array(rounds, "rounds", NPY_INT64, 1, &any);
    const npy_intp n = lengths ? PyArray_DIM((PyArrayObject *)rounds, 0) : 0;
    const npy_intp of_batches[4] = {C, n, D, D}, of_states[3] = {C, -1, D};
    const npy_intp of_replicas[3] = {C, T, D}, of_pairs[2] = {C, T - 1};
    double *count = NULL, *sum = NULL;
    const double *cells[2] = {NULL, NULL};
    int is_good =
        lengths &&
        (cells[0] = state_array(counts, "counts", NPY_DOUBLE, 4, of_batches)) &&
        (cells[1] = state_array(sums, "sums", NPY_DOUBLE, 4, of_batches)) &&
        (state.stored = state_array(states, "states", NPY_UINT32, 3, of_states)) &&
        (state.replica =
             state_array(replicas, "replicas", NPY_UINT32, 3, of_replicas)) &&
        (state.heading = state_array(heading, "heading", NPY_INT8, 2, of_replicas)) &&
        (state.tried_swaps =
             state_array(tried, "tried_swaps", NPY_INT64, 2, of_pairs)) &&
        (state.accepted_swaps =
             state_array(swaps, "accepted_swaps", NPY_INT64, 2, of_pairs)) &&
        (state.accepted_moves =
             state_array(moves, "accepted_moves", NPY_INT64, 2, of_replicas)) &&
        (state.round_trips = state_array(trips, "round_trips", NPY_INT64, 1, &C)) &&
        read_rounds(&view, lengths, n, PyArray_DIM((PyArrayObject *)states, 1),
                    thinning, &state) == 0 &&
        check_replicas(&view, state.replica, state.heading) == 0 &&
        (count = compress(&view, cells[0], (size_t)(C * n))) &&
        (sum = compress(&view, cells[1], (size_t)(C * n)));
    if (is_good) {
        state.count = count;
        state.sum = sum;
        jsp_mcmc_restore(self->mcmc, &state);
    }
    jsp_memory_free(count);
    jsp_memory_free(sum);
    jsp_py_busy_leave(&self->busy);
    if (is_good) Py_RETURN_NONE;
    return NULL;
}

static PyMethodDef chain_methods[] = {
    {"step", chain_step, METH_O, "Runs n_rounds rounds of every chain."},
    {"batches", chain_batches, METH_NOARGS,
     "Rounds, edge counts and edge sums of batches."},
    {"states", chain_states, METH_NOARGS, "Stored states as local masks."},
    {"replicas", chain_replicas, METH_NOARGS, "States and headings by temperature."},
    {"restore", (PyCFunction)(void (*)(void))chain_restore,
     METH_VARARGS | METH_KEYWORDS,
     "Puts the chains where others of the same settings stood."},
    {"counters", chain_counters, METH_NOARGS, "Rounds, accepted moves and swaps."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot chain_slots[] = {
    {Py_tp_doc, "Structure MCMC with parallel tempering, several independent chains."},
    {Py_tp_new, chain_new},
    {Py_tp_dealloc, chain_dealloc},
    {Py_tp_methods, chain_methods},
    {0, NULL},
};

PyType_Spec jsp_py_chain_spec = {
    .name = "jspgfn._core.Chains",
    .basicsize = sizeof(jsp_py_chain),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = chain_slots,
};
