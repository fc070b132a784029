/* jsp_exact_walk.h - the sum over T at one set U, in the inner loop of everything.
 *
 *     y(T) = factor B(U + T) prod_{j in T} tau_j(U),   sum of (-1)^(|T|+1) y(T)
 *
 * y never grows when T grows: y(T) weighs the event that all of T have their parents in
 * U. So T is built node by node and a branch is left where y falls below a threshold.
 * Nodes are tried in the order of y({j}), rare ones first: a rare node is then tried
 * from few sets, and the common ones last, where they mostly succeed. The last four are
 * not walked but summed as one block of 16 terms, a loop without branches.
 *
 * Terms are products of mantissas with integer exponents: one multiplication, one
 * addition of integers and one fetch of B per term. Fixing U rather than the set U + T
 * matters: all tau are those of U, so a product grows by one factor per step.
 *
 * Two uses. Backward: threshold relative to B(U), the sum is B(U). Forward: factor =
 * P(U is placed) / B(U), so y(T) is a probability in plain doubles; each term is also
 * added to P(U + T is placed), and for each j the sum over T with j is wanted. */
#ifndef JSP_EXACT_WALK_H
#define JSP_EXACT_WALK_H

#include "jsp_exact_inner.h"

#define JSP_EXACT_BLOCK_BITS 4
#define JSP_EXACT_BLOCK (1 << JSP_EXACT_BLOCK_BITS)

typedef struct jsp_exact_walk {
    const jsp_exact_number *B;
    double *placed; /* forward: the shard's sums, else NULL */
    double threshold;
    int n, n_high; /* nodes; those that are walked, the rest is the block */
    /* nodes by increasing y({j}) */
    int node[JSP_EXACT_MAX_VARIABLES];
    uint32_t bit[JSP_EXACT_MAX_VARIABLES];
    double mantissa[JSP_EXACT_MAX_VARIABLES];
    int32_t exponent[JSP_EXACT_MAX_VARIABLES];
    double value[JSP_EXACT_MAX_VARIABLES]; /* y({j}) */
    /* the block: products over subsets of the last nodes, sign included */
    int block;
    uint32_t block_set[JSP_EXACT_BLOCK];
    double block_mantissa[JSP_EXACT_BLOCK];
    int32_t block_exponent[JSP_EXACT_BLOCK];
    /* results */
    double block_sum[JSP_EXACT_BLOCK];        /* over all walked sets, by subset */
    double node_sum[JSP_EXACT_MAX_VARIABLES]; /* over T with this walked node */
    jsp_exact_count count;
} jsp_exact_walk;

/* All nodes outside U that can come next, with tau_j(U) and value = tau_j(U) B(U + j)
 * 2^-E, where E, returned, is the largest exponent. */
int32_t jsp_exact_passes_collect(const jsp_exact *exact, uint32_t U,
                                 jsp_exact_walk *walk);

/* Leaves out nodes whose value is below the threshold: no T with them counts. */
void jsp_exact_passes_drop(jsp_exact_walk *walk);

/* Sorts nodes by value (insertion: there are few) and prepares the block. */
static inline void jsp_exact_walk_prepare(jsp_exact_walk *walk) {
    for (int a = 1; a < walk->n; a++) {
        int node = walk->node[a], b = a;
        uint32_t bit = walk->bit[a];
        double mantissa = walk->mantissa[a], value = walk->value[a];
        int32_t exponent = walk->exponent[a];
        for (; b > 0 && walk->value[b - 1] > value; b--) {
            walk->node[b] = walk->node[b - 1];
            walk->bit[b] = walk->bit[b - 1];
            walk->mantissa[b] = walk->mantissa[b - 1];
            walk->exponent[b] = walk->exponent[b - 1];
            walk->value[b] = walk->value[b - 1];
        }
        walk->node[b] = node;
        walk->bit[b] = bit;
        walk->mantissa[b] = mantissa;
        walk->exponent[b] = exponent;
        walk->value[b] = value;
    }
    int n_low = walk->n < JSP_EXACT_BLOCK_BITS ? walk->n : JSP_EXACT_BLOCK_BITS;
    walk->n_high = walk->n - n_low;
    walk->block = 1 << n_low;
    walk->block_set[0] = 0;
    walk->block_mantissa[0] = 1;
    walk->block_exponent[0] = 0;
    for (int a = 0; a < n_low; a++) {
        int source = walk->n_high + a;
        for (int k = 0; k < 1 << a; k++) {
            int with = k | 1 << a;
            walk->block_set[with] = walk->block_set[k] | walk->bit[source];
            walk->block_mantissa[with] =
                -walk->block_mantissa[k] * walk->mantissa[source];
            walk->block_exponent[with] =
                walk->block_exponent[k] + walk->exponent[source];
        }
    }
    for (int k = 0; k < walk->block; k++) walk->block_sum[k] = 0;
    for (int a = 0; a < walk->n_high; a++) walk->node_sum[a] = 0;
}

/* 2^d for d up to some dozens; 0 or nearly 0 stands for everything below 2^-1022. */
static inline double jsp_exact_walk_power(int32_t d) {
    uint64_t bits = (uint64_t)(uint32_t)(d < -1022 ? 1 : d + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Terms of T = (W - U) + subsets of the block; m 2^e is the signed product over W - U.
 * Returns their sum when forward, where sums over T with one node are wanted. Four
 * partial sums, or each addition would wait for the last. */
static inline double jsp_exact_walk_block(jsp_exact_walk *walk, uint32_t W, double m,
                                          int32_t e, int forward) {
    double sum[4] = {0};
    for (int k = 0; k < walk->block; k++) {
        uint32_t X = W | walk->block_set[k];
        const jsp_exact_number *B = &walk->B[X];
        double power = jsp_exact_walk_power(e + walk->block_exponent[k] + B->exponent);
        double y = m * walk->block_mantissa[k] * (B->mantissa * power);
        walk->block_sum[k] += y;
        if (forward) {
            sum[k & 3] += y;
            walk->placed[X] += y;
        }
    }
    walk->count.n_terms += walk->block;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* All T that contain W - U and otherwise nodes from number `next` on. */
static inline double jsp_exact_walk_children(jsp_exact_walk *walk, uint32_t W, double m,
                                             int32_t e, int next, int forward,
                                             double (*visit)(jsp_exact_walk *, uint32_t,
                                                             double, int32_t, int)) {
    double sum = jsp_exact_walk_block(walk, W, m, e, forward);
    for (int a = next; a < walk->n_high; a++) {
        uint32_t X = W | walk->bit[a];
        double mx = -m * walk->mantissa[a];
        int32_t ex = e + walk->exponent[a];
        const jsp_exact_number *B = &walk->B[X];
        double y = mx * B->mantissa * jsp_exact_walk_power(ex + B->exponent);
        double size = y < 0 ? -y : y;
        if (size < walk->threshold) {
            walk->count.cut += size * (double)((uint32_t)1 << (walk->n - 1 - a));
            continue;
        }
        double below = visit(walk, X, mx, ex, a + 1);
        if (forward) walk->node_sum[a] += below;
        sum += below;
    }
    return sum;
}

#endif
