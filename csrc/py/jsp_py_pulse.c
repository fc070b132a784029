/* jsp_py_pulse.c - Ctrl-C and progress while the core works without the interpreter lock. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

#include <math.h>
#include <time.h>

#define SECONDS_BETWEEN 0.05

static double now(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int listen(void *context, double share) {
    jsp_py_pulse *self = context;
    if (PyThread_get_thread_ident() != self->thread) return 0;
    const double time = now();
    if (fabs(time - self->last) < SECONDS_BETWEEN) return 0;
    self->last = time;
    PyEval_RestoreThread(self->state);
    int stops = PyErr_CheckSignals() < 0;
    if (!stops && self->progress != Py_None) {
        PyObject *answer = PyObject_CallFunction(self->progress, "d", share);
        stops = !answer || PyObject_IsTrue(answer);
        Py_XDECREF(answer);
    }
    self->state = PyEval_SaveThread();
    return stops;
}

jsp_pulse *jsp_py_pulse_begin(jsp_py_pulse *self, PyObject *progress) {
    *self = (jsp_py_pulse){.pulse = {.ask = listen, .context = self},
                           .thread = PyThread_get_thread_ident(),
                           .progress = progress,
                           .last = now()};
    self->state = PyEval_SaveThread();
    return &self->pulse;
}

void jsp_py_pulse_end(jsp_py_pulse *self) {
    PyEval_RestoreThread(self->state);
}
