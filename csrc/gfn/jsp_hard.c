#include "jsp_hard.h"

#include <string.h>

#include "jsp_memory.h"

jsp_status jsp_hard_create(jsp_hard *hard, const jsp_scores *scores, int capacity,
                           jsp_error *error) {
    const size_t n = (size_t)capacity, D = (size_t)scores->n_variables;
    *hard = (jsp_hard){.capacity = capacity, .n_variables = scores->n_variables};
    hard->local = jsp_memory_alloc(n * D, sizeof *hard->local);
    hard->left = jsp_memory_alloc(n, sizeof *hard->left);
    if (!hard->local || !hard->left) {
        jsp_hard_destroy(hard);
        return jsp_status_no_memory(error, n * D * sizeof *hard->local, "hard graphs");
    }
    for (size_t k = 0; k < n * D; k++) hard->local[k] = scores->node[k % D].required;
    return JSP_OK;
}

void jsp_hard_destroy(jsp_hard *hard) {
    jsp_memory_free(hard->local);
    jsp_memory_free(hard->left);
    *hard = (jsp_hard){0};
}

int jsp_hard_take(jsp_hard *hard, int n, int *place) {
    int found = 0;
    const int begin = hard->next;
    for (int k = 0; k < hard->capacity && found < n; k++) {
        int p = (begin + k) % hard->capacity;
        if (hard->left[p] == 0) continue;
        hard->left[p]--;
        place[found++] = p;
        hard->next = (p + 1) % hard->capacity;
    }
    return found;
}

void jsp_hard_offer(jsp_hard *hard, const uint32_t *local, int32_t n_turns) {
    const size_t D = (size_t)hard->n_variables;
    if (!hard->capacity) return;
    for (int p = 0; p < hard->capacity; p++) {
        if (memcmp(hard->local + (size_t)p * D, local, D * sizeof *local)) continue;
        hard->left[p] = n_turns;
        return;
    }
    hard->newest = (hard->newest + 1) % hard->capacity;
    memcpy(hard->local + (size_t)hard->newest * D, local, D * sizeof *local);
    hard->left[hard->newest] = n_turns;
}
