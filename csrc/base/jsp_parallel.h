/* jsp_parallel.h - the only parallel construct of the core: a loop over tasks.
 *
 * Results must not depend on the number of threads, so work is cut into a fixed number of
 * tasks, each with memory of its own; which thread runs a task is open. `worker` only picks
 * scratch memory and caches whose content never changes a result. */
#ifndef JSP_PARALLEL_H
#define JSP_PARALLEL_H

#include "jspgfn.h"

typedef void (*jsp_parallel_task)(void *context, int task, int worker);

/* Threads that stay together for many loops. */
typedef struct jsp_parallel_team jsp_parallel_team;

typedef void (*jsp_parallel_driver)(void *context, jsp_parallel_team *team);

/* Runs driver(context, team) on the calling thread while up to n_threads - 1 others wait
 * for its loops. With n_threads <= 1, without OpenMP, or in a child that was forked after
 * teams had been formed no OpenMP function is called and loops are plain. */
void jsp_parallel_run(int n_threads, jsp_parallel_driver driver, void *context);

/* Runs task(context, t, worker) for t = 0 .. n_tasks-1, 0 <= worker < n_threads of the
 * team; to be called by the driver. Tasks are handed out one by one. Without a team (NULL)
 * the loop is plain. */
void jsp_parallel_team_for(jsp_parallel_team *team, int n_tasks, jsp_parallel_task task,
                           void *context);

/* One loop with a team of its own, 0 <= worker < max(1, n_threads). */
void jsp_parallel_for(int n_threads, int n_tasks, jsp_parallel_task task,
                      void *context);

/* 1 when built with OpenMP. */
int jsp_parallel_has_openmp(void);

/* Threads OpenMP would use by itself (OMP_NUM_THREADS and limits included); 1 without. */
int jsp_parallel_max_threads(void);

#endif
