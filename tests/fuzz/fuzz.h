/* fuzz.h - bytes of libFuzzer as decisions, and what must hold.
 *
 * When the bytes are used up every decision is 0, so that short inputs are complete. */
#ifndef FUZZ_H
#define FUZZ_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,          \
                    #condition);                                                       \
            abort();                                                                   \
        }                                                                              \
    } while (0)

typedef struct fuzz_input {
    const uint8_t *at, *end;
} fuzz_input;

static inline int fuzz_byte(fuzz_input *in) {
    return in->at < in->end ? *in->at++ : 0;
}

/* A number from 0 to below - 1. */
static inline int fuzz_below(fuzz_input *in, int below) {
    return fuzz_byte(in) % below;
}

/* A double: small integers, fractions, special values or any bits. */
static inline double fuzz_real(fuzz_input *in) {
    static const double special[] = {0,      -0.0,   INFINITY, -INFINITY, NAN,  1e308,
                                     -1e308, 1e-320, 1e30,     -1e30,     -745, -700,
                                     1e7,    -1e7,   1e16,     0x1p-1022};
    const int kind = fuzz_byte(in), value = fuzz_byte(in);
    if (kind < 100) return value - 128;
    if (kind < 180) return (value - 128) * 0.37;
    if (kind < 220) return (value - 128) * 97.0;
    if (kind < 250) return special[value % (int)(sizeof special / sizeof *special)];
    uint64_t bits = (uint64_t)value;
    for (int k = 0; k < 7; k++) bits = bits << 8 | (uint64_t)fuzz_byte(in);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

/* A double that data may hold. */
static inline double fuzz_finite(fuzz_input *in) {
    const double real = fuzz_real(in);
    return isfinite(real) && fabs(real) < 1e100 ? real : 1;
}

#endif
