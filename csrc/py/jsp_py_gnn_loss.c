/* The loss of GnnTrainer by itself, on given transitions, for tests. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <string.h>

#include "jsp_memory.h"
#include "jsp_py_gnn.h"

/* Sides with graphs, masks and draws from dense arrays; -1 with an exception. */
static int fill_side(jsp_py_gnn_trainer *self, jsp_gnn_side *side, PyObject *graphs,
                     PyObject *mask) {
    const size_t cells = (size_t)PyArray_SIZE((PyArrayObject *)graphs);
    if (jsp_py_convert_check_graphs(mask, self->target.D) < 0) return -1;
    if ((size_t)PyArray_SIZE((PyArrayObject *)mask) != cells) {
        PyErr_SetString(PyExc_ValueError, "masks must have the shape of graphs");
        return -1;
    }
    memcpy(side->adjacency, PyArray_DATA((PyArrayObject *)graphs), cells);
    memcpy(side->mask, PyArray_DATA((PyArrayObject *)mask), cells);
    return 0;
}

/* eps from dense[b, k, i, index] */
static void fill_noise(const jsp_gnn_net *net, jsp_gnn_side *side,
                       const double *dense) {
    const jsp_head_state *head = &side->head;
    const int D = net->gnn.D, K = side->K;
    for (int n = 0; n < head->n_rows; n++) {
        for (int e = head->first[n]; e < head->first[n + 1]; e++) {
            for (int k = 0; k < K; k++) {
                const size_t row = (size_t)(head->graph[n] * K + k) * (size_t)D +
                                   (size_t)head->node[n];
                side->eps[e * K + k] =
                    dense[row * (size_t)net->head.P + (size_t)head->index[e]];
            }
        }
    }
}

/* Value and gradient; `block` holds the gradients, then rows of the graphs. */
static PyObject *compute_loss(jsp_py_gnn_trainer *self, int B, jsp_gnn_side side[2],
                              PyObject *const noise[2], const int *action,
                              double *scratch, jsp_real *block) {
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_gnn_net *net = view.net;
    jsp_gnn_loss_sums sums = {0};
    jsp_graphnet_pairs_reset(&net->shared.pairs, self->target.D);
    for (int s = 0; s < 2; s++) {
        jsp_graphnet_pairs_collect(&net->shared.pairs, self->target.D, B,
                                   side[s].adjacency);
    }
    jsp_graphnet_pairs_finish(&net->shared.pairs, self->target.D);
    jsp_gnn_net_forward(net, view.params);
    jsp_graphnet_pull pull =
        jsp_graphnet_pull_place(&net->gnn.graphnet, B,
                                block + jsp_gnn_net_gradient_size(net));
    pull.adjacency = side[0].adjacency;
    pull.action = action;
    const jsp_gnn_net_gradient gradient = jsp_gnn_net_gradient_place(net, block, pull);
    for (int s = 0; s < 2; s++) {
        if (s == 0) {
            jsp_gnn_side_forward(net, view.params, &side[0], B,
                                 view.config->logit_scale);
        } else {
            jsp_gnn_side_forward_next(net, view.params, &side[0], &side[1], action,
                                      view.config->logit_scale);
        }
        fill_noise(net, &side[s], PyArray_DATA((PyArrayObject *)noise[s]));
        jsp_gnn_side_sample(net, &self->target, &side[s]);
    }
    jsp_gnn_loss_transitions(&view.config->loss, net, 1.0 / B, action, &side[0],
                             &side[1], scratch, &sums);
    jsp_gnn_side_backward_pair(net, &self->target, view.params, &side[0], &side[1],
                               action, &gradient);
    jsp_gnn_net_backward(net, view.params, &gradient);
    return Py_BuildValue("{sdsdsdsd}N", "huber", sums.huber / B, "penalty",
                         sums.penalty / B, "residual", sums.residual / B,
                         "residual_square", sums.residual_square / B,
                         jsp_py_state_tensors(&net->layout, block));
}

PyObject *jsp_py_gnn_loss(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"before", "after", "mask",        "mask_after",
                            "action", "noise", "noise_after", NULL};
    jsp_py_gnn_trainer *self = (jsp_py_gnn_trainer *)object;
    PyObject *graphs[2], *mask[2], *noise[2], *action, *result = NULL;
    const int D = self->target.D;
    const int P = jsp_gnn_trainer_open(self->trainer).net->head.P;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOO:loss", names, &graphs[0],
                                     &graphs[1], &mask[0], &mask[1], &action, &noise[0],
                                     &noise[1]) ||
        jsp_py_convert_check(action, "action", NPY_INT32, 1) < 0) {
        return NULL;
    }
    const npy_intp B = jsp_py_gnn_check_acyclic(self->target.D, graphs[0]);
    if (B < 0 || jsp_py_gnn_check_acyclic(self->target.D, graphs[1]) < 0) return NULL;
    const uint8_t *cells = PyArray_DATA((PyArrayObject *)graphs[0]);
    const uint8_t *cells_after = PyArray_DATA((PyArrayObject *)graphs[1]);
    const int *edge = PyArray_DATA((PyArrayObject *)action);
    npy_intp K = 0;
    for (int s = 0; s < 2; s++) {
        if (jsp_py_convert_check(noise[s], "noise", NPY_DOUBLE, 4) < 0) return NULL;
        K = PyArray_DIM((PyArrayObject *)noise[0], 1);
        if (PyArray_SIZE((PyArrayObject *)noise[s]) != B * K * D * P || K < 1) {
            return PyErr_Format(PyExc_ValueError,
                                "noise must have shape (n, K, D, parameters)");
        }
    }
    if (PyArray_DIM((PyArrayObject *)action, 0) != B ||
        PyArray_DIM((PyArrayObject *)graphs[1], 0) != B) {
        return PyErr_Format(PyExc_ValueError, "graphs and actions must be as many");
    }
    for (npy_intp k = 0; k < B * D * D; k++) {
        const int is_edge = edge[k / (D * D)] == (int)(k % (D * D));
        if (is_edge ? cells[k] || !cells_after[k] : !cells[k] != !cells_after[k]) {
            return PyErr_Format(PyExc_ValueError,
                                "action must lead from graph to graph");
        }
    }
    if (jsp_py_busy_enter(&self->busy) < 0) return NULL;
    const jsp_gnn_trainer_view view = jsp_gnn_trainer_open(self->trainer);
    jsp_gnn_side side[2] = {{0}, {0}};
    jsp_error error;
    double *scratch = jsp_memory_alloc(4 * (size_t)K, sizeof *scratch);
    jsp_real *block =
        jsp_memory_alloc(jsp_gnn_net_gradient_size(view.net) +
                             jsp_graphnet_pull_size(&view.net->gnn.graphnet, (int)B),
                         sizeof *block);
    int failed = 0;
    for (int s = 0; s < 2 && !failed; s++) {
        if (jsp_gnn_side_create(view.net, (int)B, (int)K, &side[s], &error) != JSP_OK) {
            jsp_py_convert_raise(Py_TYPE(object), &error);
            failed = 1;
        } else {
            failed = fill_side(self, &side[s], graphs[s], mask[s]) < 0;
            side[s].is_partial = view.config->is_partial;
            side[s].shard.stops_only = s == 1;
            for (npy_intp b = 0; b < B; b++) side[s].only[b] = edge[b] % D;
        }
    }
    if (!scratch || !block) {
        PyErr_NoMemory();
    } else if (!failed) {
        result = compute_loss(self, (int)B, side, noise, edge, scratch, block);
    }
    jsp_gnn_side_destroy(&side[0]);
    jsp_gnn_side_destroy(&side[1]);
    jsp_memory_free(scratch);
    jsp_memory_free(block);
    jsp_py_busy_leave(&self->busy);
    return result;
}
