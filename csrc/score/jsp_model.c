/* jsp_model.c - the list of local models. */
#include "jsp_model.h"

#include <string.h>

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
