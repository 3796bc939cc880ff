// SPDX-License-Identifier: Apache-2.0
#include "north/cli/line.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 character at p, 0 when it is none (RFC 3629: no surrogates, shortest form).
 */
static size_t utf8_len(const uint8_t *p, size_t n) {
    size_t len = p[0] < 0x80                   ? 1
                 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
                 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3
                 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                               : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) {
        return 0;
    }
    return len;
}

static enum err_code check_bytes(const char *text, size_t n, size_t *where, struct err *e) {
    for (size_t i = 0; i < n;) {
        const uint8_t *p = (const uint8_t *)text + i;
        size_t len = utf8_len(p, n - i);
        *where = i;
        if (len == 0) {
            return err_set(e, ERR_MALFORMED, NULL, "byte 0x%02x is not UTF-8", p[0]);
        }
        if ((p[0] < 0x20 && p[0] != '\t') || p[0] == 0x7F ||
            (len == 2 && p[0] == 0xC2 && p[1] < 0xA0)) {
            return err_set(e, ERR_MALFORMED, NULL, "control character 0x%02x in the line",
                           len == 2 ? p[1] : p[0]);
        }
        i += len;
    }
    return ERR_OK;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* Reads one word at *i into `w`, its text to *room; false: its quote is never closed. */
static bool read_word(char **room, const char *text, size_t n, size_t *i, struct word *w,
                      char *open_quote) {
    char *out = *room;
    size_t len = 0;
    char quote = 0;
    w->start = *i;
    while (*i < n) {
        char c = text[*i];
        if (quote == 0 && (is_blank(c) || c == '|')) {
            break;
        }
        (*i)++;
        if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
            w->quoted = true;
        } else if (c == quote) {
            quote = 0;
        } else if (quote == '"' && c == '\\' && *i < n) {
            char next = text[(*i)++];
            out[len++] = next == 'n' ? '\n' : next == 't' ? '\t' : next == 'r' ? '\r' : next;
        } else {
            out[len++] = c;
        }
    }
    out[len] = '\0';
    w->end = *i;
    w->text = out;
    w->len = len;
    *room = out + len + 1;
    *open_quote = quote;
    return quote == 0;
}

enum err_code line_split(struct arena *a, const char *text, size_t n, bool partial,
                         struct line *out, size_t *where, struct err *e) {
    size_t ignored;
    where = where ? where : &ignored;
    *where = 0;
    memset(out, 0, sizeof *out);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) {
        n--;
    }
    if (n > CLI_LINE_MAX) {
        *where = CLI_LINE_MAX;
        return err_set(e, ERR_TOO_BIG, NULL, "the line is longer than %d bytes", CLI_LINE_MAX);
    }
    ERR_TRY(check_bytes(text, n, where, e));
    out->text = arena_strndup(a, text, n);
    out->len = n;
    /* A word is never longer than it was written, and the blank or | after it pays for the NUL. */
    char *room = arena_alloc(a, n + 2);
    size_t cap = 0;
    for (size_t i = 0;;) {
        while (i < n && is_blank(text[i])) {
            i++;
        }
        if (i == n && !(partial && (n == 0 || is_blank(text[n - 1])))) {
            break;
        }
        if (i < n && text[i] == '#' && out->n == 0) {
            break;
        }
        if (out->n == CLI_WORDS_MAX) {
            *where = i;
            return err_set(e, ERR_TOO_BIG, NULL, "more than %d words", CLI_WORDS_MAX);
        }
        if (out->n == cap) {
            struct word *more = arena_alloc(a, (cap * 2 + 16) * sizeof *more);
            if (cap > 0) {
                memcpy(more, out->words, cap * sizeof *more);
            }
            out->words = more;
            cap = cap * 2 + 16;
        }
        struct word *w = &out->words[out->n++];
        if (i == n) {
            *w = (struct word){.text = "", .start = n, .end = n};
            break;
        }
        if (text[i] == '|') {
            *w = (struct word){.text = "|", .len = 1, .start = i, .end = i + 1, .pipe = true};
            i++;
        } else if (!read_word(&room, text, n, &i, w, &out->open_quote) && !partial) {
            *where = w->start;
            return err_set(e, ERR_MALFORMED, NULL, "the quote %c is never closed", out->open_quote);
        }
    }
    return ERR_OK;
}

unsigned line_distance(const char *a, const char *b, unsigned max) {
    enum { LONGEST = 64 }; /* words longer than this are not worth a guess */
    size_t la = strlen(a), lb = strlen(b);
    if (la > LONGEST || lb > LONGEST || la > lb + max || lb > la + max) {
        return max + 1;
    }
    unsigned rows[3][LONGEST + 1];
    for (size_t j = 0; j <= lb; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= la; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    unsigned d = rows[la % 3][lb];
    return d > max ? max + 1 : d;
}
