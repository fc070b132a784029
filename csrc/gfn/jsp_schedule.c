#include "jsp_schedule.h"

#include <math.h>

#define WARM_UP_UPDATES 50
#define LAST_RATE 0.01

double jsp_schedule_progress(const jsp_schedule *schedule, long update,
                             double time_fraction) {
    double done = schedule->n_updates > 0
                      ? (double)(update - schedule->first) / (double)schedule->n_updates
                      : 0;
    return fmin(1, fmax(0, fmax(done, time_fraction)));
}

int jsp_schedule_is_likelihood(const jsp_schedule *schedule, double progress) {
    return progress < schedule->likelihood_fraction;
}

double jsp_schedule_learning_rate(const jsp_schedule *schedule, long update,
                                  double progress) {
    const double pi = 3.14159265358979323846;
    double cosine = fmax(LAST_RATE, 0.5 * (1 + cos(pi * progress)));
    double warm_up = fmin(1, (double)(update - schedule->first + 1) / WARM_UP_UPDATES);
    return schedule->learning_rate * cosine * warm_up;
}
