/* jsp_status.c - writing error records. vsnprintf truncates long messages, which is
 * harmless: the sentence begins with what matters. */
#include "jsp_status.h"

#include <stdarg.h>
#include <stdio.h>

jsp_status jsp_status_set(jsp_error *error, jsp_status code, const char *format, ...) {
    if (!error) return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return code;
}

jsp_status jsp_status_no_memory(jsp_error *error, size_t size, const char *what) {
    return jsp_status_set(error, JSP_ERROR_MEMORY,
                          "could not allocate %zu bytes for %s", size, what);
}
