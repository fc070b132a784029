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
