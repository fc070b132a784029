/* jsp_schedule.h - learning rate and phase as functions of the progress of a fit. */
#ifndef JSP_SCHEDULE_H
#define JSP_SCHEDULE_H

/* A plan of n_updates counted from update `first`. */
typedef struct jsp_schedule {
    long first;
    long n_updates;
    double likelihood_fraction; /* share of the plan spent on maximum likelihood */
    double learning_rate;       /* peak */
} jsp_schedule;

/* Share of the plan that is done, in [0, 1]: the larger of updates done and of the time
 * used (0 when there is no time budget). */
double jsp_schedule_progress(const jsp_schedule *schedule, long update,
                             double time_fraction);

/* 1 while the policy is fitted by maximum likelihood on chain states. */
int jsp_schedule_is_likelihood(const jsp_schedule *schedule, double progress);

/* Linear warm-up over 50 updates times a cosine from 1 down to 0.01. */
double jsp_schedule_learning_rate(const jsp_schedule *schedule, long update,
                                  double progress);

#endif
