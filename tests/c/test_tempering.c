/* test_tempering.c - tempered chains, conditional edge probabilities, the sampler.
 *
 * The cold replica is compared with the exact posterior over all DAGs of three and four
 * nodes by chi-square; an ensemble whose swaps are wrong on purpose must fail. A round
 * is compared with one written out from the definition, the buffers of the sampler with
 * a plain record of every round.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "chi_square.h"
#include "sortable.h"
#include "jsp_conditional.h"
#include "jsp_mcmc.h"
#include "jsp_memory.h"

#define MOST 8

/* ---- tables and graphs ---- */

/* Tables for D <= MOST nodes; candidates all others, or with `few` not those where i +
 * j is a multiple of 3; 1 in 8 sets is excluded when asked for. */
static jsp_scores *make_scores(int D, int few, int exclude, double spread,
                               uint64_t seed) {
    static int member[MOST][MOST];
    const int *list[MOST];
    int n[MOST];
    double *table[MOST];
    jsp_rng rng;
    jsp_rng_init(&rng, seed, 0, 0, JSP_RNG_TEST);
    for (int j = 0; j < D; j++) {
        n[j] = 0;
        for (int i = 0; i < D; i++) {
            if (i != j && !(few && (i + j) % 3 == 0)) member[j][n[j]++] = i;
        }
        list[j] = member[j];
        table[j] = malloc(sizeof(double) << n[j]);
        for (size_t S = 0; S < (size_t)1 << n[j]; S++) {
            table[j][S] = spread * jsp_rng_normal(&rng);
            if (exclude && S && jsp_rng_next(&rng) % 8 == 0) table[j][S] = -INFINITY;
        }
    }
    jsp_scores *scores = NULL;
    jsp_scores_create_from_tables(D, list, n, (const double *const *)table, &scores,
                                  NULL);
    for (int j = 0; j < D; j++) free(table[j]);
    return scores;
}

static void graph_of_code(int D, int code, uint8_t *graph) {
    for (int c = 0; c < D * D; c++) graph[c] = code >> c & 1;
}

static int code_of_state(int D, const jsp_chain_state *state) {
    int code = 0;
    for (int j = 0; j < D; j++) {
        for (int i = 0; i < D; i++) {
            code |= jsp_bits_has(state->parents[j], i) << (D * i + j);
        }
    }
    return code;
}

/* probability[code] of all graphs, 0 for cyclic and excluded ones; D <= 4. */
static double *enumerate(const jsp_scores *scores) {
    const int D = scores->n_variables;
    const size_t n = (size_t)1 << (D * D);
    double *probability = calloc(n, sizeof *probability), total = 0;
    for (size_t code = 0; code < n; code++) {
        uint8_t graph[MOST * MOST];
        uint32_t local[MOST];
        graph_of_code(D, (int)code, graph);
        if (!is_sortable(D, graph)) continue;
        if (!jsp_scores_masks_of_graph(scores, graph, local)) continue;
        probability[code] = exp(jsp_scores_log_reward(scores, local));
        total += probability[code];
    }
    for (size_t code = 0; code < n; code++) probability[code] /= total;
    return probability;
}

/* ---- conditional edge probabilities ---- */

/* By summing over all parent sets of both ends that do not close a cycle. */
static double naive_conditional(const jsp_scores *scores, const uint8_t *graph, int j,
                                int bit) {
    const int D = scores->n_variables, i = scores->node[j].candidate[bit];
    double with = 0, total = 0;
    for (uint32_t S = 0; S < (uint32_t)1 << scores->node[j].K; S++) {
        for (uint32_t T = 0; T < (uint32_t)1 << scores->node[i].K; T++) {
            uint8_t changed[MOST * MOST];
            memcpy(changed, graph, sizeof changed);
            for (int k = 0; k < D; k++) changed[k * D + j] = changed[k * D + i] = 0;
            for (int k = 0; k < scores->node[j].K; k++)
                changed[scores->node[j].candidate[k] * D + j] = S >> k & 1;
            for (int k = 0; k < scores->node[i].K; k++)
                changed[scores->node[i].candidate[k] * D + i] = T >> k & 1;
            if (!is_sortable(D, changed)) continue;
            double weight = exp(scores->node[j].score[S] + scores->node[i].score[T]);
            total += weight;
            if (S >> bit & 1) with += weight;
        }
    }
    return with / total;
}

/* With the parents of j alone. */
static double naive_child(const jsp_scores *scores, const uint8_t *graph, int j,
                          int bit) {
    const int D = scores->n_variables;
    const jsp_scores_node *node = &scores->node[j];
    double with = 0, total = 0;
    for (uint32_t S = 0; S < (uint32_t)1 << node->K; S++) {
        uint8_t changed[MOST * MOST];
        memcpy(changed, graph, sizeof changed);
        for (int i = 0; i < D; i++) changed[i * D + j] = 0;
        for (int k = 0; k < node->K; k++)
            changed[node->candidate[k] * D + j] = S >> k & 1;
        if (!is_sortable(D, changed)) continue;
        total += exp(node->score[S]);
        if (S >> bit & 1) with += exp(node->score[S]);
    }
    return with / total;
}

static int test_conditional(void) {
    for (int c = 0; c < 8; c++) {
        const int D = 3 + c % 4;
        jsp_scores *scores = make_scores(D, c >= 4, c % 2, 2, (uint64_t)(10 + c));
        jsp_chain_moves moves;
        jsp_rng rng;
        uint32_t local[MOST];
        jsp_bits parents[MOST];
        jsp_chain_state state = {local, parents};
        jsp_rng_init(&rng, (uint64_t)c, 0, 0, JSP_RNG_TEST);
        CHECK(scores && jsp_chain_moves_create(&moves, scores, NULL) == JSP_OK);
        jsp_chain_reset(scores, &state);
        for (int s = 0; s < 50; s++) {
            double sum[MOST * MOST] = {0}, child[MOST * MOST] = {0};
            uint8_t graph[MOST * MOST] = {0};
            jsp_chain_step(scores, &moves, 0.3, 20, &rng, &state);
            for (int j = 0; j < D; j++) {
                for (int i = 0; i < D; i++) {
                    graph[i * D + j] = (uint8_t)jsp_bits_has(parents[j], i);
                }
            }
            jsp_conditional_add(scores, parents, 0.5, sum);
            jsp_conditional_add_children(scores, parents, 2, child);
            for (int m = 0; m < moves.n_moves; m++) {
                const int j = moves.child[m], bit = moves.bit[m];
                CHECK_NEAR(2 * sum[m], naive_conditional(scores, graph, j, bit), 1e-5);
                CHECK_NEAR(child[m] / 2, naive_child(scores, graph, j, bit), 1e-5);
            }
        }
        jsp_chain_moves_destroy(&moves);
        jsp_scores_destroy(scores);
    }
    return 0;
}

/* Two nodes that want each other by `depth` nats, node 1 by log(3) more: 0 -> 1 has three
 * times the odds of 1 -> 0. */
static int check_depth(double depth, int is_counted) {
    const double table[2][2] = {{0, depth}, {0, depth + log(3)}};
    const double *tables[] = {table[0], table[1]};
    const int first[] = {1}, second[] = {0}, n_candidates[] = {1, 1};
    const int *candidates[] = {first, second};
    jsp_scores *scores = NULL;
    double sum[2] = {0}; /* of 1 -> 0 and 0 -> 1 */
    CHECK(jsp_scores_create_from_tables(2, candidates, n_candidates, tables, &scores,
                                        NULL) == JSP_OK);
    for (int child = 0; child < 2; child++) {
        jsp_bits parents[2] = {jsp_bits_empty(), jsp_bits_empty()};
        jsp_bits_add(&parents[child], 1 - child);
        jsp_conditional_add(scores, parents, child ? 3 : 1, sum);
    }
    jsp_scores_destroy(scores);
    CHECK_NEAR(sum[0], 1, is_counted ? 0 : 4e-3);
    CHECK_NEAR(sum[1], 3, is_counted ? 0 : 4e-3);
    return 0;
}

/* Beyond the reach of float logarithms edges are counted; at a million nats the odds
 * would be exp(1.125) or so. */
static int test_conditional_far_down(void) {
    CHECK(check_depth(100, 0) == 0);
    CHECK(check_depth(32000, 0) == 0);
    CHECK(check_depth(1e6, 1) == 0);
    CHECK(check_depth(1e11, 1) == 0);
    return 0;
}

/* ---- stationary distribution ---- */

static void exchange_coldest(jsp_tempering *ensemble) {
    jsp_chain_state state = ensemble->state[0];
    double log_reward = ensemble->log_reward[0];
    ensemble->state[0] = ensemble->state[1];
    ensemble->log_reward[0] = ensemble->log_reward[1];
    ensemble->state[1] = state;
    ensemble->log_reward[1] = log_reward;
}

/* Chi-square of 10,000 thinned cold states. `broken` swaps the two coldest replicas
 * after every 100th round whatever their scores. */
static double cold_statistic(const jsp_scores *scores, int broken, uint64_t seed,
                             int *cells) {
    enum { STATES = 10000, THIN = 3 };
    const int D = scores->n_variables;
    jsp_tempering_plan plan;
    jsp_chain_moves moves;
    jsp_tempering ensemble;
    double *probability = enumerate(scores);
    double *visits = calloc((size_t)1 << (D * D), sizeof *visits);
    jsp_tempering_plan_geometric(&plan, 4, 0.4, 40, 20);
    if (jsp_chain_moves_create(&moves, scores, NULL) ||
        jsp_tempering_create(&ensemble, scores, &moves, &plan, seed, 0, NULL)) {
        return NAN;
    }
    for (int s = 0; s < STATES; s++) {
        for (int r = 0; r < THIN; r++) jsp_tempering_step(&ensemble);
        if (broken && s % 4 == 0) exchange_coldest(&ensemble);
        visits[code_of_state(D, &ensemble.state[0])]++;
    }
    double statistic =
        chi_square_statistic(1 << (D * D), probability, visits, STATES, cells);
    jsp_tempering_destroy(&ensemble);
    jsp_chain_moves_destroy(&moves);
    free(probability);
    free(visits);
    return statistic;
}

static int test_stationary(void) {
    for (int c = 0; c < 4; c++) {
        jsp_scores *scores =
            make_scores(3 + c % 2, c == 2, c == 3, 1, (uint64_t)(30 + c));
        int cells;
        CHECK(scores != NULL);
        CHECK(cold_statistic(scores, 0, 7, &cells) < chi_square_limit(cells));
        CHECK(cold_statistic(scores, 1, 7, &cells) > chi_square_limit(cells));
        jsp_scores_destroy(scores);
    }
    return 0;
}

/* ---- one round, written out ---- */

enum { TEMPERATURES = 5 };

/* States of the twin, in the order of temperatures. */
typedef struct twin {
    uint32_t local[TEMPERATURES][MOST];
    jsp_bits parents[TEMPERATURES][MOST];
} twin;

static void twin_round(const jsp_scores *scores, const jsp_chain_moves *moves,
                       const jsp_tempering_plan *plan, uint64_t seed, uint32_t index,
                       uint32_t round, twin *t) {
    jsp_rng rng;
    for (int k = 0; k < plan->n_temperatures; k++) {
        jsp_chain_state state = {t->local[k], t->parents[k]};
        jsp_rng_init(&rng, seed, round + 1, index * JSP_TEMPERING_MAX + (uint32_t)k,
                     JSP_RNG_TEMPERING);
        jsp_chain_step(scores, moves, plan->beta[k], plan->moves[k], &rng, &state);
    }
    jsp_rng_init(&rng, seed, round, index, JSP_RNG_SWAP);
    for (int a = round % 2; a + 1 < plan->n_temperatures; a += 2) {
        double cold = jsp_scores_log_reward(scores, t->local[a]);
        double hot = jsp_scores_log_reward(scores, t->local[a + 1]);
        double ratio = exp((plan->beta[a] - plan->beta[a + 1]) * (hot - cold));
        if (jsp_rng_uniform(&rng) < ratio) {
            uint32_t local[MOST];
            memcpy(local, t->local[a], sizeof local);
            jsp_chain_state lower = {t->local[a], t->parents[a]};
            jsp_chain_state upper = {t->local[a + 1], t->parents[a + 1]};
            jsp_chain_set(scores, t->local[a + 1], &lower);
            jsp_chain_set(scores, local, &upper);
        }
    }
}

static int test_round(void) {
    const int D = 6;
    jsp_scores *scores = make_scores(D, 0, 1, 3, 50);
    jsp_tempering_plan plan;
    jsp_chain_moves moves;
    jsp_tempering ensemble;
    static twin t;
    jsp_tempering_plan_geometric(&plan, TEMPERATURES, 0.6, 30, 10);
    CHECK_NEAR(plan.beta[2], 0.36, 1e-15);
    CHECK(plan.beta[0] == 1 && plan.moves[0] == 30 && plan.moves[4] == 10);
    CHECK(jsp_chain_moves_create(&moves, scores, NULL) == JSP_OK);
    CHECK(jsp_tempering_create(&ensemble, scores, &moves, &plan, 3, 2, NULL) == JSP_OK);
    for (int k = 0; k < TEMPERATURES; k++) {
        jsp_chain_state state = {t.local[k], t.parents[k]};
        jsp_chain_set(scores, ensemble.state[k].local, &state);
    }
    for (uint32_t round = 0; round < 500; round++) {
        jsp_tempering_step(&ensemble);
        twin_round(scores, &moves, &plan, 3, 2, round, &t);
        for (int k = 0; k < TEMPERATURES; k++) {
            const jsp_chain_state *state = &ensemble.state[k];
            CHECK(!memcmp(state->local, t.local[k], D * sizeof(uint32_t)));
            CHECK(!memcmp(state->parents, t.parents[k], D * sizeof(jsp_bits)));
            CHECK(ensemble.log_reward[k] == jsp_scores_log_reward(scores, t.local[k]));
        }
    }
    for (int k = 0; k + 1 < TEMPERATURES; k++) {
        CHECK(ensemble.tried_swaps[k] == 250);
        CHECK(ensemble.accepted_swaps[k] > 25 && ensemble.accepted_swaps[k] < 250);
    }
    CHECK(ensemble.round == 500 && ensemble.round_trips > 2);
    jsp_tempering_destroy(&ensemble);
    jsp_chain_moves_destroy(&moves);
    jsp_scores_destroy(scores);
    return 0;
}

/* ---- the sampler ---- */

static jsp_mcmc_config small_config(int n_threads) {
    jsp_mcmc_config config = {.n_chains = 3,
                              .n_batches = 4,
                              .n_stored = 6,
                              .seed = 11,
                              .n_threads = n_threads};
    jsp_tempering_plan_geometric(&config.plan, 3, 0.5, 20, 10);
    return config;
}

/* Every round of one chain, kept. */
enum { ROUNDS = 100 };

static int test_buffers(void) {
    const int D = 5;
    jsp_scores *scores = make_scores(D, 0, 0, 1, 60);
    jsp_mcmc_config config = small_config(1);
    jsp_mcmc *mcmc;
    jsp_tempering ensemble;
    static double count[ROUNDS][MOST * MOST], sum[ROUNDS][MOST * MOST];
    static uint32_t local[ROUNDS][MOST];
    CHECK(jsp_mcmc_create(scores, &config, &mcmc, NULL) == JSP_OK);
    const jsp_chain_moves *moves = jsp_mcmc_open(mcmc).moves;
    const int chain = 1;
    CHECK(jsp_tempering_create(&ensemble, scores, moves, &config.plan, config.seed,
                               (uint32_t)chain, NULL) == JSP_OK);
    for (int r = 0; r < ROUNDS; r++) {
        jsp_tempering_step(&ensemble);
        const jsp_chain_state *cold = &ensemble.state[0];
        jsp_conditional_add(scores, cold->parents, 1, sum[r]);
        memcpy(local[r], cold->local, sizeof(uint32_t) * (size_t)D);
        for (int m = 0; m < moves->n_moves; m++) {
            count[r][m] = cold->local[moves->child[m]] >> moves->bit[m] & 1;
        }
        jsp_mcmc_step(mcmc, 1);
        const jsp_mcmc_view view = jsp_mcmc_open(mcmc);
        CHECK(view.n_rounds == r + 1);
        CHECK(view.n_full * view.batch_rounds + view.n_partial == r + 1);
        CHECK(view.n_full <= config.n_batches && view.n_partial < view.batch_rounds);
        for (int b = 0; b < config.n_batches; b++) {
            for (int m = 0; m < moves->n_moves; m++) {
                double n = 0, s = 0;
                for (long k = b * view.batch_rounds; k < (b + 1) * view.batch_rounds;
                     k++) {
                    if (k > r) break;
                    n += count[k][m];
                    s += sum[k][m];
                }
                size_t cell = (size_t)(chain * config.n_batches + b);
                cell = cell * (size_t)moves->n_moves + (size_t)m;
                CHECK(view.count[cell] == n);
                CHECK_NEAR(view.sum[cell], s, 1e-12);
            }
        }
        CHECK(view.n_states == r / view.thinning + 1 &&
              view.n_states <= config.n_stored);
        for (int s = 0; s < view.n_states; s++) {
            const uint32_t *state = view.stored + (chain * config.n_stored + s) * D;
            CHECK(
                !memcmp(state, local[s * view.thinning], sizeof(uint32_t) * (size_t)D));
        }
    }
    jsp_tempering_destroy(&ensemble);
    jsp_mcmc_destroy(mcmc);
    jsp_scores_destroy(scores);
    return 0;
}

/* Bits of everything a sampler knows, mixed into one number. */
static uint64_t digest(const jsp_mcmc *mcmc) {
    const jsp_mcmc_view view = jsp_mcmc_open(mcmc);
    const size_t D = (size_t)view.scores->n_variables;
    const size_t n_cells = (size_t)view.config->n_chains *
                           (size_t)view.config->n_batches * (size_t)view.moves->n_moves;
    const size_t n_stored = (size_t)view.config->n_chains *
                            (size_t)view.config->n_stored * D * sizeof(uint32_t);
    const uint8_t *block[3] = {(const uint8_t *)view.count, (const uint8_t *)view.sum,
                               (const uint8_t *)view.stored};
    const size_t size[3] = {n_cells * sizeof(double), n_cells * sizeof(double),
                            n_stored};
    uint64_t hash = 14695981039346656037u;
    for (int b = 0; b < 3; b++) {
        for (size_t k = 0; k < size[b]; k++) {
            hash = (hash ^ block[b][k]) * 1099511628211u;
        }
    }
    return hash;
}

static int test_determinism(void) {
    jsp_scores *scores = make_scores(6, 0, 0, 1, 70);
    const int n_threads[] = {1, 2, 3, 8};
    uint64_t first = 0;
    for (int t = 0; t < 4; t++) {
        jsp_mcmc_config config = small_config(n_threads[t]);
        jsp_mcmc *mcmc;
        CHECK(jsp_mcmc_create(scores, &config, &mcmc, NULL) == JSP_OK);
        for (long done = 0, n; done < 300; done += n) { /* other cuts each time */
            n = 300 - done < 60 * t + 7 ? 300 - done : 60 * t + 7;
            jsp_mcmc_step(mcmc, n);
        }
        if (t == 0) first = digest(mcmc);
        CHECK(digest(mcmc) == first);
        jsp_mcmc_destroy(mcmc);
    }
    jsp_scores_destroy(scores);
    return 0;
}

/* Edge probabilities from counts and from conditional sums against enumeration. */
static int test_edges(void) {
    const int D = 4;
    jsp_scores *scores = make_scores(D, 0, 0, 2, 80);
    double *probability = enumerate(scores);
    jsp_mcmc_config config = small_config(1);
    jsp_mcmc *mcmc;
    double counted_error = 0, summed_error = 0;
    CHECK(jsp_mcmc_create(scores, &config, &mcmc, NULL) == JSP_OK);
    jsp_mcmc_step(mcmc, 16384);
    const jsp_mcmc_view view = jsp_mcmc_open(mcmc);
    const int M = view.moves->n_moves;
    for (int m = 0; m < M; m++) {
        double exact = 0, counted = 0, summed = 0;
        int cell = D * view.moves->parent[m] + view.moves->child[m];
        for (int code = 0; code < 1 << (D * D); code++) {
            if (code >> cell & 1) exact += probability[code];
        }
        for (int b = 0; b < config.n_chains * config.n_batches; b++) {
            counted += view.count[b * M + m];
            summed += view.sum[b * M + m];
        }
        counted = counted / (3 * 16384) - exact;
        summed = summed / (3 * 16384) - exact;
        CHECK_NEAR(counted, 0, 0.03);
        CHECK_NEAR(summed, 0, 0.03);
        counted_error += counted * counted;
        summed_error += summed * summed;
    }
    CHECK(summed_error < counted_error);
    jsp_mcmc_destroy(mcmc);
    jsp_scores_destroy(scores);
    free(probability);
    return 0;
}

/* ---- edges of the domain, faults ---- */

static int test_smallest(void) {
    for (int D = 1; D <= 2; D++) {
        jsp_scores *scores = make_scores(D, 0, 0, 1, 90);
        jsp_mcmc_config config = small_config(2);
        jsp_mcmc *mcmc;
        config.plan.n_temperatures = 1;
        CHECK(jsp_mcmc_create(scores, &config, &mcmc, NULL) == JSP_OK);
        jsp_mcmc_step(mcmc, 50);
        const jsp_mcmc_view view = jsp_mcmc_open(mcmc);
        CHECK(view.n_rounds == 50 && view.moves->n_moves == D * (D - 1));
        CHECK(view.ensemble[0].round_trips == 0);
        CHECK(jsp_mcmc_size(D, (size_t)view.moves->n_moves, &config) > 0);
        jsp_mcmc_destroy(mcmc);
        jsp_scores_destroy(scores);
    }
    return 0;
}

static int test_faults(void) {
    jsp_scores *scores = make_scores(4, 0, 0, 1, 95);
    jsp_mcmc_config config = small_config(1);
    const long live = jsp_memory_live();
    jsp_status status = JSP_ERROR_MEMORY;
    long at = 1;
    for (; status != JSP_OK && at < 200; at++) {
        jsp_mcmc *mcmc;
        jsp_error error = {0};
        jsp_memory_fail_at(at);
        status = jsp_mcmc_create(scores, &config, &mcmc, &error);
        jsp_memory_fail_at(0);
        if (status == JSP_OK) {
            jsp_mcmc_destroy(mcmc);
        } else {
            CHECK(status == JSP_ERROR_MEMORY && !mcmc && error.message[0]);
        }
        CHECK(jsp_memory_live() == live);
    }
    CHECK(status == JSP_OK && at > 3 * 8 + 9);
    jsp_mcmc_destroy(NULL);
    jsp_scores_destroy(scores);
    return 0;
}

/* One chain, so that rooms of the view begin with what is used of them. */
static int test_restore(void) {
    enum { D = 5, T = 3 };
    jsp_scores *scores = make_scores(D, 0, 0, 1, 60);
    jsp_mcmc_config config = small_config(1);
    config.n_chains = 1;
    for (int n_rounds = 1; n_rounds <= 30; n_rounds++) {
        jsp_mcmc *whole, *part;
        uint32_t replica[T * D];
        int64_t accepted[T], tried[T], swaps[T], trips;
        CHECK(jsp_mcmc_create(scores, &config, &whole, NULL) == JSP_OK);
        CHECK(jsp_mcmc_create(scores, &config, &part, NULL) == JSP_OK);
        jsp_mcmc_step(whole, n_rounds);
        const jsp_mcmc_view seen = jsp_mcmc_open(whole);
        const jsp_tempering *ensemble = &seen.ensemble[0];
        for (int k = 0; k < T; k++) {
            memcpy(replica + k * D, ensemble->state[k].local, D * sizeof *replica);
            accepted[k] = ensemble->accepted_moves[k];
            tried[k] = k < T - 1 ? ensemble->tried_swaps[k] : 0;
            swaps[k] = k < T - 1 ? ensemble->accepted_swaps[k] : 0;
        }
        trips = ensemble->round_trips;
        const jsp_mcmc_state state = {
            .n_full = seen.n_full,
            .batch_rounds = seen.batch_rounds,
            .n_partial = seen.n_partial,
            .n_states = seen.n_states,
            .thinning = seen.thinning,
            .count = seen.count,
            .sum = seen.sum,
            .stored = seen.stored,
            .replica = replica,
            .heading = ensemble->heading,
            .accepted_moves = accepted,
            .tried_swaps = tried,
            .accepted_swaps = swaps,
            .round_trips = &trips,
        };
        jsp_mcmc_restore(part, &state);
        jsp_mcmc_step(whole, 25);
        jsp_mcmc_step(part, 25);
        const jsp_mcmc_view a = jsp_mcmc_open(whole), b = jsp_mcmc_open(part);
        const size_t n_cells = (size_t)config.n_batches * (size_t)a.moves->n_moves;
        const size_t n_local = (size_t)a.n_states * D;
        CHECK(a.n_rounds == b.n_rounds && a.n_full == b.n_full);
        CHECK(a.n_partial == b.n_partial && a.batch_rounds == b.batch_rounds);
        CHECK(a.n_states == b.n_states && a.thinning == b.thinning);
        CHECK(!memcmp(a.count, b.count, n_cells * sizeof(double)));
        CHECK(!memcmp(a.sum, b.sum, n_cells * sizeof(double)));
        CHECK(!memcmp(a.stored, b.stored, n_local * sizeof(uint32_t)));
        CHECK(a.ensemble[0].round_trips == b.ensemble[0].round_trips);
        for (int k = 0; k < T; k++) {
            CHECK(a.ensemble[0].heading[k] == b.ensemble[0].heading[k]);
            CHECK(a.ensemble[0].accepted_moves[k] == b.ensemble[0].accepted_moves[k]);
        }
        jsp_mcmc_destroy(whole);
        jsp_mcmc_destroy(part);
    }
    jsp_scores_destroy(scores);
    return 0;
}

static const check_test TESTS[] = {
    {"conditional", test_conditional},
    {"conditionals far down", test_conditional_far_down},
    {"stationary distribution", test_stationary},
    {"round", test_round},
    {"buffers", test_buffers},
    {"restore", test_restore},
    {"determinism", test_determinism},
    {"edges", test_edges},
    {"smallest", test_smallest},
    {"faults", test_faults},
};

int main(void) {
    return CHECK_RUN_AND_COUNT(TESTS, jsp_memory_live);
}
