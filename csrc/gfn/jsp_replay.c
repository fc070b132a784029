/* jsp_replay.c - a ring of packed transitions. Masks of legal edges are not stored: they
 * follow from the graph. */
#include "jsp_replay.h"

#include <assert.h>
#include <string.h>

#include "jsp_memory.h"

jsp_status jsp_replay_create(jsp_replay *replay, int capacity, int D,
                             jsp_error *error) {
    const size_t n_words = ((size_t)D * (size_t)D + 31) / 32, n = (size_t)capacity;
    *replay = (jsp_replay){.D = D, .n_words = n_words, .capacity = capacity};
    replay->graph = jsp_memory_alloc(n * n_words, sizeof *replay->graph);
    replay->action = jsp_memory_alloc(n, sizeof *replay->action);
    if (replay->graph && replay->action) return JSP_OK;
    return jsp_status_no_memory(error, n * (4 * n_words + 2), "the replay");
}

void jsp_replay_destroy(jsp_replay *replay) {
    if (!replay) return;
    jsp_memory_free(replay->graph);
    jsp_memory_free(replay->action);
    *replay = (jsp_replay){0};
}

void jsp_replay_push(jsp_replay *replay, const uint8_t *adjacency, int action) {
    uint32_t *graph = replay->graph + (size_t)replay->next * replay->n_words;
    memset(graph, 0, replay->n_words * sizeof *graph);
    for (int cell = 0; cell < replay->D * replay->D; cell++) {
        graph[cell / 32] |= (uint32_t)(adjacency[cell] != 0) << (cell % 32);
    }
    replay->action[replay->next] = (uint16_t)action;
    replay->next = (replay->next + 1) % replay->capacity;
    if (replay->n < replay->capacity) replay->n++;
}

static int contains(int n, const int *index, int value) {
    for (int k = 0; k < n; k++) {
        if (index[k] == value) return 1;
    }
    return 0;
}

/* Floyd's sampling without replacement: one random number each. */
void jsp_replay_sample(const jsp_replay *replay, jsp_rng *rng, int B, int *index) {
    assert(B <= replay->n);
    for (int k = 0; k < B; k++) {
        const int last = replay->n - B + k;
        const int pick = (int)(jsp_rng_uniform(rng) * (last + 1));
        index[k] = contains(k, index, pick) ? last : pick;
    }
}

int jsp_replay_read(const jsp_replay *replay, int index, uint8_t *adjacency) {
    const uint32_t *graph = replay->graph + (size_t)index * replay->n_words;
    for (int cell = 0; cell < replay->D * replay->D; cell++) {
        adjacency[cell] = graph[cell / 32] >> (cell % 32) & 1;
    }
    return replay->action[index];
}
