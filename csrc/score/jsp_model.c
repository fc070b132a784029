/* jsp_model.c - the list of local models. */
#include "jsp_model.h"

#include <math.h>
#include <string.h>

#include "jsp_bits.h"
#include "jsp_memory.h"

static const jsp_model *const MODELS[] = {&jsp_model_linear,   &jsp_model_nig,
                                          &jsp_model_bge,      &jsp_model_bdeu,
                                          &jsp_model_features, &jsp_model_mlp};

#define N_MODELS ((int)(sizeof MODELS / sizeof MODELS[0]))

const jsp_model *jsp_model_find(const char *name) {
    for (int k = 0; k < N_MODELS; k++) {
        if (strcmp(MODELS[k]->name, name) == 0) return MODELS[k];
    }
    return NULL;
}

const jsp_model *jsp_model_at(int k) {
    return k >= 0 && k < N_MODELS ? MODELS[k] : NULL;
}

int jsp_model_n_extra(const jsp_model_setup *setup) {
    return setup->model->n_extra ? setup->model->n_extra(setup) : 0;
}

jsp_status jsp_model_draw_alone(const jsp_model_setup *setup, int node, int n_parents,
                                const int *parents, jsp_rng *rng, jsp_model_draw *out,
                                jsp_error *error) {
    void *prepared = NULL;
    jsp_status status =
        setup->model->prepare(setup, node, n_parents, parents, &prepared, error);
    if (status != JSP_OK) return status;
    status = setup->model->draw_prepared(setup, node, n_parents, parents, prepared, rng,
                                         out, error);
    setup->model->release(prepared);
    return status;
}

int jsp_model_list_sets(int K, int max_parents, uint32_t *sets) {
    int n = 0;
    for (uint64_t S = 0; S < (uint64_t)1 << K; S++) {
        if (jsp_bits_count64(S) > max_parents) continue;
        if (sets) sets[n] = (uint32_t)S;
        n++;
    }
    return n;
}

jsp_status jsp_model_tabulate_all(const jsp_model_setup *setup, int node, int K,
                                  const int *candidates, int max_parents,
                                  double *log_evidence, jsp_error *error) {
    const size_t size = (size_t)1 << K;
    uint32_t *sets = jsp_memory_alloc(size, sizeof *sets);
    if (!sets) return jsp_status_no_memory(error, size * sizeof *sets, "parent sets");
    for (size_t S = 0; S < size; S++) log_evidence[S] = -INFINITY;
    const int n = jsp_model_list_sets(K, max_parents, sets);
    jsp_status status = setup->model->tabulate_sets(setup, node, K, candidates, n, sets,
                                                    log_evidence, error);
    jsp_memory_free(sets);
    return status;
}
