/* jsp_gnn_loss.c - pairs of samples and the penalty on slopes.
 *
 * With a_k = log R - log P(theta'_k | G') on the side of G' and b_l the same on the side of
 * G, Delta_kl = a_k - b_l + c. In the quadratic zone
 *
 *   mean_kl Delta^2 = var a + var b + (mean a - mean b + c)^2
 *   mean_l Delta_kl = a_k - mean b + c
 *
 * so K^2 pairs cost K. Whether all pairs are in the zone is seen from the extremes. */
#include "jsp_gnn_loss.h"

#include <math.h>
#include <string.h>

#include "jsp_kernels.h"

typedef struct summary {
    double mean, variance, least, most;
} summary;

static summary summarise(int K, const double *x) {
    summary s = {0, 0, x[0], x[0]};
    for (int k = 0; k < K; k++) {
        s.mean += x[k] / K;
        s.least = fmin(s.least, x[k]);
        s.most = fmax(s.most, x[k]);
    }
    for (int k = 0; k < K; k++) s.variance += (x[k] - s.mean) * (x[k] - s.mean) / K;
    return s;
}

/* The general case; gradients of the mean, not divided by N yet. */
static double sum_pairs(double limit, double N, int K, double constant,
                        const double *before, const double *after, double *d_before,
                        double *d_after) {
    const double weight = 1.0 / K / K;
    double sum = 0;
    memset(d_before, 0, (size_t)K * sizeof *d_before);
    for (int k = 0; k < K; k++) {
        d_after[k] = weight * jsp_kernels_active()->huber_row((size_t)K, limit, 1 / N,
                                                              after[k] + constant,
                                                              before, d_before, &sum);
    }
    for (int l = 0; l < K; l++) d_before[l] *= weight;
    return sum * weight;
}

double jsp_gnn_loss_pairs(const jsp_gnn_loss_config *config, int K, double constant,
                          const double *before, const double *after, double *d_before,
                          double *d_after, double *d_constant,
                          jsp_gnn_loss_sums *sums) {
    const double N = config->residual_scale;
    const summary b = summarise(K, before), a = summarise(K, after);
    const double mean = a.mean - b.mean + constant;
    const double square = a.variance + b.variance + mean * mean;
    const double top =
        fmax(fabs(a.most - b.least + constant), fabs(a.least - b.most + constant));
    double value;
    sums->residual += mean;
    sums->residual_square += square;
    if (top <= N * config->delta) {
        value = 0.5 * square / (N * N);
        for (int k = 0; k < K; k++) {
            d_after[k] = (after[k] - b.mean + constant) / (N * K);
            d_before[k] = (before[k] - a.mean - constant) / (N * K);
        }
    } else {
        value =
            sum_pairs(config->delta, N, K, constant, before, after, d_before, d_after);
    }
    *d_constant = 0;
    for (int k = 0; k < K; k++) {
        d_after[k] /= N;
        d_before[k] /= N;
        *d_constant += d_after[k];
    }
    return value;
}

/* g of graph b; its slopes become their gradients, times weight. */
static double penalise(jsp_gnn_side *side, int b, double weight) {
    size_t first, end;
    jsp_head_entries_of(&side->head, b, &first, &end);
    const size_t K = (size_t)side->K;
    if (end == first) return 0;
    const double scale = 1 / (double)((end - first) * K);
    return scale * jsp_kernels_active()->square_and_scale((end - first) * K,
                                                          2 * scale * weight,
                                                          side->slope + first * K);
}

static int count_edges(size_t n, const uint8_t *cells) {
    int count = 0;
    for (size_t k = 0; k < n; k++) count += cells[k];
    return count;
}

void jsp_gnn_loss_transitions(const jsp_gnn_loss_config *config, const jsp_gnn_net *net,
                              double weight, const int *action, jsp_gnn_side *before,
                              jsp_gnn_side *after, double *scratch,
                              jsp_gnn_loss_sums *sums) {
    const int B = before->head.B, K = before->K;
    const size_t cells = (size_t)net->gnn.D * (size_t)net->gnn.D;
    const size_t stop = cells, n_actions = cells + 1;
    const double half = 0.5 * config->penalty_weight * weight;
    double *b_values = scratch, *a_values = scratch + K;
    double *d_before = scratch + 2 * K, *d_after = scratch + 3 * K;
    memset(before->shard.d_log_pi, 0, (size_t)B * n_actions * sizeof(double));
    if (!after->shard.stops_only) {
        memset(after->shard.d_log_pi, 0, (size_t)B * n_actions * sizeof(double));
    }
    for (int b = 0; b < B; b++) {
        const size_t row = (size_t)b * n_actions, at = (size_t)b * (size_t)K;
        const size_t edge = row + (size_t)action[b];
        double d;
        const double constant =
            before->shard.log_pi[row + stop] - before->shard.log_pi[edge] -
            after->shard.log_pi[row + stop] -
            log((double)count_edges(cells, after->adjacency + (size_t)b * cells));
        for (int k = 0; k < K; k++) {
            b_values[k] =
                before->log_reward[at + (size_t)k] - before->log_prob[at + (size_t)k];
            a_values[k] =
                after->log_reward[at + (size_t)k] - after->log_prob[at + (size_t)k];
        }
        sums->huber += jsp_gnn_loss_pairs(config, K, constant, b_values, a_values,
                                          d_before, d_after, &d, sums);
        for (int k = 0; k < K; k++) { /* log P(theta | G) enters with a minus */
            before->d_log_prob[at + (size_t)k] = -weight * d_before[k];
            after->d_log_prob[at + (size_t)k] = -weight * d_after[k];
        }
        before->shard.d_log_pi[row + stop] = weight * d;
        before->shard.d_log_pi[edge] = -weight * d;
        after->shard.d_log_pi[row + stop] = -weight * d;
        sums->penalty += 0.5 * (penalise(before, b, half) + penalise(after, b, half));
    }
}
