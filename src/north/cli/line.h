// SPDX-License-Identifier: Apache-2.0
/*
 * A command line as words. Blanks separate words; "..." and '...' make one word of what is between
 * them (inside "..." a backslash makes \" \\ \n and \t); `|` outside quotes is a word of its own; a
 * line whose first character is # is a comment. Bytes are UTF-8; control characters are refused, so
 * what is echoed can't drive a terminal.
 */
#ifndef NORTH_CLI_LINE_H
#define NORTH_CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum { CLI_LINE_MAX = 65536, CLI_WORDS_MAX = 4096 };

struct word {
    const char *text; /* without quotes and escapes, NUL-terminated; in the arena */
    size_t len;
    size_t start, end; /* bytes of the line it was written in, quotes included */
    bool quoted;
    bool pipe; /* an unquoted | */
};

struct line {
    const char *text; /* NUL-terminated copy */
    size_t len;
    struct word *words;
    size_t n;
    char open_quote; /* the quote that is never closed; 0: none */
};

/* Splits n bytes. For completion the caller passes the line up to the cursor and `partial`: an open
 * quote is then allowed, and when the line ends in a blank (or is empty) an empty last word stands
 * at the end. Errors: ERR_TOO_BIG, ERR_MALFORMED with *where the offending byte. */
enum err_code line_split(struct arena *a, const char *text, size_t n, bool partial,
                         struct line *out, size_t *where, struct err *e);

/* How far apart two words are (insertions, deletions, replacements, exchanged neighbours), counted
 * up to `max`; beyond it max + 1. For "did you mean". */
unsigned line_distance(const char *a, const char *b, unsigned max);

#endif
