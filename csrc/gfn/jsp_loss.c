#include "jsp_loss.h"

#include <math.h>

/* Rare draws can be hundreds of nats off; beyond this residual they pull no harder. */
#define CLIP 10.0

static double clip(double x) {
    return fmin(CLIP, fmax(-CLIP, x));
}

double jsp_loss_likelihood(int T, const double *log_q, double *weight) {
    double sum = 0;
    for (int t = 0; t < T; t++) {
        sum += log_q[t];
        weight[t] = -1.0 / T;
    }
    return -sum / T;
}

double jsp_loss_centre(int T, const double *log_q, const double *log_reward) {
    double centre = 0;
    for (int t = 0; t < T; t++) centre += (log_q[t] - log_reward[t]) / T;
    for (int round = 0; round < 3; round++) {
        double shift = 0;
        for (int t = 0; t < T; t++) shift += clip(log_q[t] - log_reward[t] - centre);
        centre += shift / T;
    }
    return centre;
}

double jsp_loss_balance(int T, const double *log_q, const double *log_reward,
                        double centre, double low, double high, int total,
                        double *weight) {
    double loss = 0;
    for (int t = 0; t < T; t++) {
        double residual = log_q[t] - log_reward[t] - centre;
        residual = fmin(high, fmax(low, residual));
        weight[t] = residual / total;
        loss += 0.5 * residual * residual / total;
    }
    return loss;
}

double jsp_loss_share(double residual, const double squares[2], double most) {
    const double half_pi = 1.5707963267948966;
    const double balance = half_pi * residual * residual * squares[0];
    const double sum = balance + squares[1];
    return sum > 0 ? fmin(most, balance / sum) : 0;
}

void jsp_loss_mix(int T, const double *log_q, const double *log_reward, double centre,
                  double share, int total, double *weight, double *conditional) {
    for (int t = 0; t < T; t++) {
        const double residual = log_q[t] - log_reward[t] - centre;
        weight[t] *= 1 - share;
        conditional[t] = -share / total * 2 / (1 + exp(residual));
    }
}
