/* One call at a time on each object of the core. */
#include "jsp_py.h" /* first: Python.h sets feature macros */

int jsp_py_busy_enter(atomic_int *busy) {
    int idle = 0;
    if (atomic_compare_exchange_strong(busy, &idle, 1)) return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    "this object is in use by another thread; one call at a time");
    return -1;
}

void jsp_py_busy_leave(atomic_int *busy) {
    atomic_store(busy, 0);
}
