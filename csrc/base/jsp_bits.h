/* jsp_bits.h - sets of variables as bit words. Header only: every function is a few
 * instructions and sits in the innermost loops.
 *
 * Sets have room for JSP_MAX_VARIABLES members; those of D variables use the first
 * jsp_bits_n_words(D) words and keep the others 0. Loops that decide the speed look at
 * these words only, and take sets by address:
 *
 *     for (int w = 0; w < n_words; w++)
 *         for (uint64_t left = a->word[w] & b->word[w]; left; left &= left - 1)
 *             visit(64 * w + jsp_bits_lowest64(left));
 */
#ifndef JSP_BITS_H
#define JSP_BITS_H

#include "jspgfn.h"

#define JSP_BITS_WORDS (JSP_MAX_VARIABLES / 64)

typedef struct jsp_bits {
    uint64_t word[JSP_BITS_WORDS];
} jsp_bits;

static inline int jsp_bits_n_words(int D) {
    return (D + 63) / 64;
}

/* Position of the lowest set bit; x must not be 0. */
static inline int jsp_bits_lowest64(uint64_t x) {
#if defined(__GNUC__)
    return __builtin_ctzll(x);
#else
    int n = 0;
    while (!(x & 1)) {
        x >>= 1;
        n++;
    }
    return n;
#endif
}

/* Number of set bits. The plain form below is turned into popcnt where it exists. */
static inline int jsp_bits_count64(uint64_t x) {
    x = x - ((x >> 1) & 0x5555555555555555u);
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int)((x * 0x0101010101010101u) >> 56);
}

static inline jsp_bits jsp_bits_empty(void) {
    jsp_bits set = {{0}};
    return set;
}

static inline jsp_bits jsp_bits_single(int i) {
    jsp_bits set = {{0}};
    set.word[i >> 6] = (uint64_t)1 << (i & 63);
    return set;
}

/* {0, 1, ..., n - 1} */
static inline jsp_bits jsp_bits_first(int n) {
    jsp_bits set = {{0}};
    for (int w = 0; w < JSP_BITS_WORDS; w++) {
        int left = n - 64 * w;
        set.word[w] = left >= 64 ? ~(uint64_t)0
                      : left > 0 ? ((uint64_t)1 << left) - 1
                                 : 0;
    }
    return set;
}

static inline int jsp_bits_has(jsp_bits set, int i) {
    return (int)(set.word[i >> 6] >> (i & 63) & 1);
}

static inline void jsp_bits_add(jsp_bits *set, int i) {
    set->word[i >> 6] |= (uint64_t)1 << (i & 63);
}

static inline void jsp_bits_remove(jsp_bits *set, int i) {
    set->word[i >> 6] &= ~((uint64_t)1 << (i & 63));
}

static inline jsp_bits jsp_bits_or(jsp_bits a, jsp_bits b) {
    for (int w = 0; w < JSP_BITS_WORDS; w++) a.word[w] |= b.word[w];
    return a;
}

static inline jsp_bits jsp_bits_and(jsp_bits a, jsp_bits b) {
    for (int w = 0; w < JSP_BITS_WORDS; w++) a.word[w] &= b.word[w];
    return a;
}

/* a without the members of b */
static inline jsp_bits jsp_bits_minus(jsp_bits a, jsp_bits b) {
    for (int w = 0; w < JSP_BITS_WORDS; w++) a.word[w] &= ~b.word[w];
    return a;
}

static inline int jsp_bits_any(jsp_bits a) {
    uint64_t all = 0;
    for (int w = 0; w < JSP_BITS_WORDS; w++) all |= a.word[w];
    return all != 0;
}

static inline int jsp_bits_equal(jsp_bits a, jsp_bits b) {
    uint64_t differ = 0;
    for (int w = 0; w < JSP_BITS_WORDS; w++) differ |= a.word[w] ^ b.word[w];
    return differ == 0;
}

static inline int jsp_bits_count(jsp_bits a) {
    int n = 0;
    for (int w = 0; w < JSP_BITS_WORDS; w++) n += jsp_bits_count64(a.word[w]);
    return n;
}

/* Members of both; only the first n_words words are looked at. Most pairs of sets have
 * none in common. */
static inline int jsp_bits_count_common(int n_words, const jsp_bits *a,
                                        const jsp_bits *b) {
    int n = 0;
    for (int w = 0; w < n_words; w++) {
        uint64_t both = a->word[w] & b->word[w];
        if (both) n += jsp_bits_count64(both);
    }
    return n;
}

/* a |= b; only the first n_words words are looked at. */
static inline void jsp_bits_join(int n_words, jsp_bits *a, const jsp_bits *b) {
    for (int w = 0; w < n_words; w++) a->word[w] |= b->word[w];
}

/* Removes the lowest member and returns it; -1 when the set is empty:
 *     for (int i; (i = jsp_bits_pop(&set)) >= 0;) ... */
static inline int jsp_bits_pop(jsp_bits *set) {
    for (int w = 0; w < JSP_BITS_WORDS; w++) {
        if (set->word[w]) {
            int i = 64 * w + jsp_bits_lowest64(set->word[w]);
            set->word[w] &= set->word[w] - 1;
            return i;
        }
    }
    return -1;
}

#endif
