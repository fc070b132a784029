/* jsp_mcmc.c - the sampler: several independent tempered chains and what they saw.
 *
 * One task per chain; each writes only its own slices of the buffers. Counters that are
 * the same for all chains are advanced by a function of the round number, once per
 * chain on a copy, so that chains need not wait for each other at joints.
 */
#include "jsp_mcmc.h"

#include <string.h>

#include "jsp_conditional.h"
#include "jsp_memory.h"
#include "jsp_parallel.h"

/* Beyond this many variables a chain gains more from moves than from smoother looks: at 100
 * looks at both ends of each edge left it with 0.4 times the moves and, after 8 s, with 1.2
 * to 2.3 times the error; at 50 with 0.6 times the moves and no larger error. */
#define MOST_FOR_PAIRS 64

/* Where a chain stands in its buffers. */
typedef struct cursor {
    int n_full;
    long batch_rounds, n_partial;
    int n_states;
    long thinning, until_next; /* rounds until a state is stored, 0 = after this one */
} cursor;

struct jsp_mcmc {
    const jsp_scores *scores; /* borrowed */
    jsp_mcmc_config config;
    jsp_chain_moves moves;   /* owned */
    jsp_tempering *ensemble; /* [n_chains] owned */
    cursor *at;              /* [n_chains] owned; equal between calls */
    double *count, *sum;     /* [n_chains, n_batches, n_moves] owned */
    uint32_t *stored;        /* [n_chains, n_stored, D] owned */
    long n_rounds;           /* made */
    long n_next;             /* rounds of the present call */
};

/* ---- life ---- */

static size_t batch_cells(const jsp_mcmc_config *config, size_t n_moves) {
    return (size_t)config->n_chains * (size_t)config->n_batches * n_moves;
}

static size_t stored_cells(const jsp_mcmc_config *config, int n_variables) {
    return (size_t)config->n_chains * (size_t)config->n_stored * (size_t)n_variables;
}

size_t jsp_mcmc_size(int n_variables, size_t n_moves, const jsp_mcmc_config *config) {
    size_t replicas = (size_t)config->n_chains * (size_t)config->plan.n_temperatures;
    return batch_cells(config, n_moves) * 2 * sizeof(double) +
           stored_cells(config, n_variables) * sizeof(uint32_t) +
           replicas * (size_t)n_variables * (sizeof(jsp_bits) + sizeof(uint32_t));
}

typedef struct start {
    jsp_mcmc *mcmc;
    jsp_status *status; /* [n_chains] */
    jsp_error *error;   /* [n_chains] */
} start;

static void start_chain(void *context, int chain, int worker) {
    start *s = context;
    jsp_mcmc *mcmc = s->mcmc;
    (void)worker;
    s->status[chain] =
        jsp_tempering_create(&mcmc->ensemble[chain], mcmc->scores, &mcmc->moves,
                             &mcmc->config.plan, mcmc->config.seed, (uint32_t)chain,
                             &s->error[chain]);
    mcmc->at[chain] = (cursor){.batch_rounds = 1, .thinning = 1};
}

/* The error of the first chain that failed, so that it does not depend on threads. */
static jsp_status start_chains(jsp_mcmc *mcmc, jsp_error *error) {
    const int n = mcmc->config.n_chains;
    jsp_status status = JSP_OK;
    start s = {mcmc, jsp_memory_alloc((size_t)n, sizeof *s.status),
               jsp_memory_alloc((size_t)n, sizeof *s.error)};
    if (!s.status || !s.error) {
        status = jsp_status_no_memory(error, (size_t)n * sizeof *s.error, "chains");
        goto done;
    }
    jsp_parallel_for(mcmc->config.n_threads, n, start_chain, &s);
    for (int c = 0; c < n && status == JSP_OK; c++) {
        status = s.status[c];
        if (status != JSP_OK && error) *error = s.error[c];
    }
done:
    jsp_memory_free(s.status);
    jsp_memory_free(s.error);
    return status;
}

jsp_status jsp_mcmc_create(const jsp_scores *scores, const jsp_mcmc_config *config,
                           jsp_mcmc **out, jsp_error *error) {
    const size_t n_chains = (size_t)config->n_chains;
    jsp_status status;
    jsp_mcmc *mcmc = jsp_memory_alloc(1, sizeof *mcmc);
    *out = NULL;
    if (!mcmc) return jsp_status_no_memory(error, sizeof *mcmc, "a sampler");
    mcmc->scores = scores;
    mcmc->config = *config;
    status = jsp_chain_moves_create(&mcmc->moves, scores, error);
    if (status != JSP_OK) goto done;
    const size_t n_cells = batch_cells(config, (size_t)mcmc->moves.n_moves);
    mcmc->ensemble = jsp_memory_alloc(n_chains, sizeof *mcmc->ensemble);
    mcmc->at = jsp_memory_alloc(n_chains, sizeof *mcmc->at);
    mcmc->count = jsp_memory_alloc(n_cells, sizeof(double));
    mcmc->sum = jsp_memory_alloc(n_cells, sizeof(double));
    mcmc->stored =
        jsp_memory_alloc(stored_cells(config, scores->n_variables), sizeof(uint32_t));
    if (!mcmc->ensemble || !mcmc->at || !mcmc->count || !mcmc->sum || !mcmc->stored) {
        status =
            jsp_status_no_memory(error,
                                 jsp_mcmc_size(scores->n_variables,
                                               (size_t)mcmc->moves.n_moves, config),
                                 "a sampler");
        goto done;
    }
    status = start_chains(mcmc, error);
done:
    if (status != JSP_OK) {
        jsp_mcmc_destroy(mcmc);
    } else {
        *out = mcmc;
    }
    return status;
}

void jsp_mcmc_destroy(jsp_mcmc *mcmc) {
    if (!mcmc) return;
    for (int c = 0; mcmc->ensemble && c < mcmc->config.n_chains; c++) {
        jsp_tempering_destroy(&mcmc->ensemble[c]);
    }
    jsp_chain_moves_destroy(&mcmc->moves);
    jsp_memory_free(mcmc->ensemble);
    jsp_memory_free(mcmc->at);
    jsp_memory_free(mcmc->count);
    jsp_memory_free(mcmc->sum);
    jsp_memory_free(mcmc->stored);
    jsp_memory_free(mcmc);
}

/* ---- walking ---- */

/* batch [n_batches, n_moves]: batches 2k and 2k + 1 become batch k. */
static void join_batches(double *batch, int n_batches, size_t n_moves) {
    for (int k = 0; k < n_batches / 2; k++) {
        const double *first = batch + (size_t)(2 * k) * n_moves;
        double *joined = batch + (size_t)k * n_moves;
        for (size_t m = 0; m < n_moves; m++) joined[m] = first[m] + first[m + n_moves];
    }
    memset(batch + (size_t)(n_batches / 2) * n_moves, 0,
           (size_t)(n_batches - n_batches / 2) * n_moves * sizeof(double));
}

static void look(jsp_mcmc *mcmc, int chain, cursor *at) {
    const size_t n_moves = (size_t)mcmc->moves.n_moves;
    const int n_batches = mcmc->config.n_batches;
    const size_t base = (size_t)chain * (size_t)n_batches * n_moves;
    const jsp_chain_state *cold = &mcmc->ensemble[chain].state[0];
    if (at->n_full == n_batches) {
        join_batches(mcmc->count + base, n_batches, n_moves);
        join_batches(mcmc->sum + base, n_batches, n_moves);
        at->n_full /= 2;
        at->batch_rounds *= 2;
    }
    const size_t slice = base + (size_t)at->n_full * n_moves;
    double *count = mcmc->count + slice;
    for (int j = 0; j < mcmc->scores->n_variables; j++) {
        for (uint32_t left = cold->local[j]; left; left &= left - 1) {
            count[jsp_bits_lowest64(left)] += 1;
        }
        count += mcmc->scores->node[j].K;
    }
    if (mcmc->scores->n_variables <= MOST_FOR_PAIRS)
        jsp_conditional_add(mcmc->scores, cold->parents, 1, mcmc->sum + slice);
    else
        jsp_conditional_add_children(mcmc->scores, cold->parents, 1, mcmc->sum + slice);
    if (++at->n_partial == at->batch_rounds) {
        at->n_partial = 0;
        at->n_full++;
    }
}

static void store(jsp_mcmc *mcmc, int chain, cursor *at) {
    const size_t D = (size_t)mcmc->scores->n_variables;
    const int n_stored = mcmc->config.n_stored;
    uint32_t *states = mcmc->stored + (size_t)chain * (size_t)n_stored * D;
    if (at->until_next > 0) {
        at->until_next--;
        return;
    }
    if (at->n_states == n_stored) { /* keep states 0, 2, 4, ...; the next one is even */
        for (int s = 1; s < n_stored / 2; s++) {
            memcpy(states + (size_t)s * D, states + (size_t)(2 * s) * D,
                   D * sizeof *states);
        }
        at->n_states = n_stored / 2;
        at->thinning *= 2;
    }
    memcpy(states + (size_t)at->n_states * D, mcmc->ensemble[chain].state[0].local,
           D * sizeof *states);
    at->n_states++;
    at->until_next = at->thinning - 1;
}

static void walk(void *context, int chain, int worker) {
    jsp_mcmc *mcmc = context;
    cursor at = mcmc->at[chain];
    (void)worker;
    for (long r = 0; r < mcmc->n_next; r++) {
        jsp_tempering_step(&mcmc->ensemble[chain]);
        look(mcmc, chain, &at);
        store(mcmc, chain, &at);
    }
    mcmc->at[chain] = at;
}

void jsp_mcmc_step(jsp_mcmc *mcmc, long n_rounds) {
    mcmc->n_next = n_rounds;
    jsp_parallel_for(mcmc->config.n_threads, mcmc->config.n_chains, walk, mcmc);
    mcmc->n_rounds += n_rounds;
}

jsp_mcmc_view jsp_mcmc_open(const jsp_mcmc *mcmc) {
    const cursor *at = &mcmc->at[0];
    return (jsp_mcmc_view){
        .scores = mcmc->scores,
        .moves = &mcmc->moves,
        .config = &mcmc->config,
        .ensemble = mcmc->ensemble,
        .n_rounds = mcmc->n_rounds,
        .n_full = at->n_full,
        .batch_rounds = at->batch_rounds,
        .n_partial = at->n_partial,
        .count = mcmc->count,
        .sum = mcmc->sum,
        .n_states = at->n_states,
        .thinning = at->thinning,
        .stored = mcmc->stored,
    };
}

static void restore_chain(jsp_mcmc *mcmc, int chain, const jsp_mcmc_state *state,
                          const cursor *at) {
    const size_t c = (size_t)chain, D = (size_t)mcmc->scores->n_variables;
    const size_t n_moves = (size_t)mcmc->moves.n_moves;
    const size_t room = (size_t)mcmc->config.n_batches * n_moves;
    const size_t used = (size_t)(at->n_full + (at->n_partial > 0)) * n_moves;
    const size_t n_stored = (size_t)mcmc->config.n_stored * D;
    const size_t n_states = (size_t)at->n_states * D;
    const int T = mcmc->config.plan.n_temperatures;
    jsp_tempering *ensemble = &mcmc->ensemble[chain];
    mcmc->at[chain] = *at;
    memset(mcmc->count + c * room, 0, room * sizeof(double));
    memset(mcmc->sum + c * room, 0, room * sizeof(double));
    memcpy(mcmc->count + c * room, state->count + c * used, used * sizeof(double));
    memcpy(mcmc->sum + c * room, state->sum + c * used, used * sizeof(double));
    memcpy(mcmc->stored + c * n_stored, state->stored + c * n_states,
           n_states * sizeof(uint32_t));
    jsp_tempering_set(ensemble, (uint32_t)mcmc->n_rounds,
                      state->replica + c * (size_t)T * D);
    ensemble->round_trips = (long)state->round_trips[chain];
    for (int k = 0; k < T; k++) {
        ensemble->heading[k] = state->heading[chain * T + k];
        ensemble->accepted_moves[k] = (long)state->accepted_moves[chain * T + k];
    }
    for (int k = 0; k < T - 1; k++) {
        const int pair = chain * (T - 1) + k;
        ensemble->tried_swaps[k] = (long)state->tried_swaps[pair];
        ensemble->accepted_swaps[k] = (long)state->accepted_swaps[pair];
    }
}

void jsp_mcmc_restore(jsp_mcmc *mcmc, const jsp_mcmc_state *state) {
    mcmc->n_rounds = state->n_full * state->batch_rounds + state->n_partial;
    const cursor at = {.n_full = state->n_full,
                       .batch_rounds = state->batch_rounds,
                       .n_partial = state->n_partial,
                       .n_states = state->n_states,
                       .thinning = state->thinning,
                       /* the next one is stored after round n_states thinning + 1 */
                       .until_next =
                           state->n_states * state->thinning - mcmc->n_rounds};
    for (int c = 0; c < mcmc->config.n_chains; c++) {
        restore_chain(mcmc, c, state, &at);
    }
}
