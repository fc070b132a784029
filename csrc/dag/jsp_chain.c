/* jsp_chain.c - structure MCMC, made for many cheap moves.
 *
 * Nearly all moves are refused, so the order of the tests decides the speed: one table
 * look-up (scores of the current parent sets are kept at hand), then bounds of exp()
 * that need no exp(), then exp(), and only for moves that pass all of this the search
 * for a cycle. The search follows parent sets upwards, one set of nodes per round;
 * keeping the transitive closure instead would make accepted deletions expensive.
 *
 * A move takes one uniform number u of 53 bits: the integer part of 2 n_moves u picks
 * pair and kind, the fraction (at least 40 bits, uniform given the integer part)
 * decides the acceptance. So a move takes two words of the random stream, whatever
 * happens.
 */
#include "jsp_chain.h"

#include <math.h>

#include "jsp_memory.h"

#define BLOCK 256      /* uniforms drawn at once */
#define REFUSED (-40.) /* moves down by more nats than this are never accepted */

jsp_status jsp_chain_moves_create(jsp_chain_moves *moves, const jsp_scores *scores,
                                  jsp_error *error) {
    size_t n = 0;
    for (int j = 0; j < scores->n_variables; j++) n += (size_t)scores->node[j].K;
    moves->n_moves = (int)n;
    moves->child = jsp_memory_alloc(n, sizeof(int16_t));
    moves->bit = jsp_memory_alloc(n, sizeof(int8_t));
    moves->parent = jsp_memory_alloc(n, sizeof(int16_t));
    if (!moves->child || !moves->bit || !moves->parent) {
        jsp_chain_moves_destroy(moves);
        return jsp_status_no_memory(error, n * 5, "the moves of a chain");
    }
    size_t m = 0;
    for (int j = 0; j < scores->n_variables; j++) {
        for (int k = 0; k < scores->node[j].K; k++, m++) {
            moves->child[m] = (int16_t)j;
            moves->bit[m] = (int8_t)k;
            moves->parent[m] = (int16_t)scores->node[j].candidate[k];
        }
    }
    return JSP_OK;
}

void jsp_chain_moves_destroy(jsp_chain_moves *moves) {
    jsp_memory_free(moves->child);
    jsp_memory_free(moves->bit);
    jsp_memory_free(moves->parent);
    moves->n_moves = 0;
    moves->child = NULL;
    moves->bit = NULL;
    moves->parent = NULL;
}

static void set_parents(const jsp_scores *scores, int j, uint32_t local,
                        jsp_chain_state *state) {
    state->local[j] = local;
    state->parents[j] = jsp_bits_empty();
    for (uint32_t left = local; left; left &= left - 1) {
        int k = jsp_bits_lowest64(left);
        jsp_bits_add(&state->parents[j], scores->node[j].candidate[k]);
    }
}

void jsp_chain_reset(const jsp_scores *scores, jsp_chain_state *state) {
    for (int j = 0; j < scores->n_variables; j++) {
        set_parents(scores, j, scores->node[j].required, state);
    }
}

void jsp_chain_set(const jsp_scores *scores, const uint32_t *local,
                   jsp_chain_state *state) {
    for (int j = 0; j < scores->n_variables; j++) {
        set_parents(scores, j, local[j], state);
    }
}

/* 1 when a path leads from node `from` to node `to` (from != to). */
static inline int search_path(int n_words, const jsp_bits *parents, int from, int to) {
    uint64_t seen[JSP_BITS_WORDS], fresh[JSP_BITS_WORDS], found = 0;
    for (int w = 0; w < n_words; w++) {
        seen[w] = fresh[w] = parents[to].word[w];
        found |= fresh[w];
    }
    while (found) {
        if (seen[from >> 6] >> (from & 63) & 1) return 1;
        jsp_bits next;
        for (int w = 0; w < n_words; w++) next.word[w] = 0;
        for (int w = 0; w < n_words; w++) {
            for (uint64_t left = fresh[w]; left; left &= left - 1) {
                jsp_bits_join(n_words, &next,
                              &parents[64 * w + jsp_bits_lowest64(left)]);
            }
        }
        found = 0;
        for (int w = 0; w < n_words; w++) {
            fresh[w] = next.word[w] & ~seen[w];
            seen[w] |= next.word[w];
            found |= fresh[w];
        }
    }
    return 0;
}

/* The same among D nodes; loops over one or two words are unrolled. */
static int has_path(int D, const jsp_bits *parents, int from, int to) {
    if (D <= 64) return search_path(1, parents, from, to);
    if (D <= 128) return search_path(2, parents, from, to);
    return search_path(jsp_bits_n_words(D), parents, from, to);
}

/* u < min(1, exp(change)) for u in [0, 1); a NaN (0 times -inf) is refused. */
static inline int is_accepted(double u, double change) {
    if (change >= 0) return 1;
    if (!(change > REFUSED)) return 0;
    if (u <= 1 + change) return 1; /* 1 + x <= exp(x) */
    double x = -change;            /* exp(x) >= its series cut short, for x >= 0 */
    double series = 1 + x * (1 + x * (1. / 2 + x * (1. / 6 + x * (1. / 24))));
    if (u * series >= 1) return 0;
    return u < exp(change);
}

typedef struct walk {
    const jsp_scores *scores;
    double beta;
    uint32_t *local;
    jsp_bits *parents;
    double current[JSP_MAX_VARIABLES]; /* l_j of the present parent sets */
} walk;

static inline int toggle(walk *w, int i, int j, int bit, double u) {
    uint32_t set = w->local[j] ^ (uint32_t)1 << bit;
    double score = w->scores->node[j].score[set];
    if (!is_accepted(u, w->beta * (score - w->current[j]))) return 0;
    int adds = (int)(set >> bit & 1);
    if (adds && has_path(w->scores->n_variables, w->parents, j, i)) return 0;
    w->local[j] = set;
    w->current[j] = score;
    if (adds) {
        jsp_bits_add(&w->parents[j], i);
    } else {
        jsp_bits_remove(&w->parents[j], i);
    }
    return 1;
}

/* i -> j, known to be present, becomes j -> i. */
static int reverse(walk *w, int i, int j, int bit, double u) {
    int D = w->scores->n_variables;
    int other = w->scores->local_index[(size_t)j * D + i];
    if (other < 0) return 0;
    uint32_t set_j = w->local[j] ^ (uint32_t)1 << bit;
    uint32_t set_i = w->local[i] | (uint32_t)1 << other;
    double score_j = w->scores->node[j].score[set_j];
    double score_i = w->scores->node[i].score[set_i];
    double change = score_j - w->current[j] + (score_i - w->current[i]);
    if (!is_accepted(u, w->beta * change)) return 0;
    jsp_bits_remove(&w->parents[j], i);
    if (has_path(D, w->parents, i, j)) { /* by another way: j -> i closes a cycle */
        jsp_bits_add(&w->parents[j], i);
        return 0;
    }
    jsp_bits_add(&w->parents[i], j);
    w->local[j] = set_j;
    w->local[i] = set_i;
    w->current[j] = score_j;
    w->current[i] = score_i;
    return 1;
}

long jsp_chain_step(const jsp_scores *scores, const jsp_chain_moves *moves, double beta,
                    long n_moves, jsp_rng *rng, jsp_chain_state *state) {
    walk w = {.scores = scores,
              .beta = beta,
              .local = state->local,
              .parents = state->parents};
    double u[BLOCK], range = 2.0 * moves->n_moves;
    long accepted = 0;
    if (moves->n_moves == 0) return 0;
    for (int j = 0; j < scores->n_variables; j++) {
        w.current[j] = scores->node[j].score[state->local[j]];
    }
    for (long done = 0; done < n_moves; done += BLOCK) {
        int n = n_moves - done < BLOCK ? (int)(n_moves - done) : BLOCK;
        jsp_rng_fill_uniform(rng, n, u);
        for (int k = 0; k < n; k++) {
            double x = u[k] * range;
            int pick = (int)x, m = pick >> 1;
            int i = moves->parent[m], j = moves->child[m], bit = moves->bit[m];
            if (pick & 1) {
                if (!(w.local[j] >> bit & 1)) continue;
                accepted += reverse(&w, i, j, bit, x - pick);
            } else {
                accepted += toggle(&w, i, j, bit, x - pick);
            }
        }
    }
    return accepted;
}

void jsp_chain_anneal(const jsp_scores *scores, const jsp_chain_moves *moves,
                      int n_temperatures, long moves_per_temperature, jsp_rng *rng,
                      jsp_chain_state *state) {
    for (int t = n_temperatures - 1; t >= 0; t--) {
        jsp_chain_step(scores, moves, pow(0.7, t), moves_per_temperature, rng, state);
    }
}
