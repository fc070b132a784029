/* jsp_status.h - the error record: a status code and one sentence for a person.
 *
 * Every function that can fail returns a jsp_status and writes the sentence into the
 * record its caller passed. There is no global state and nothing is printed. */
#ifndef JSP_STATUS_H
#define JSP_STATUS_H

#include "jspgfn.h"

typedef struct jsp_error {
    jsp_status code;
    char message[240];
} jsp_error;

/* Fills the record (error may be NULL) like snprintf and returns `code`, so that a
 * caller can write `return jsp_status_set(error, JSP_ERROR_VALUE, "...")`. */
jsp_status jsp_status_set(jsp_error *error, jsp_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Shorthand for "could not allocate <size> bytes for <what>". */
jsp_status jsp_status_no_memory(jsp_error *error, size_t size, const char *what);

#endif
