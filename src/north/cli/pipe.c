// SPDX-License-Identifier: Apache-2.0
#include "north/cli/pipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc's matcher backtracks for back references and unfolds counted repetitions, so both could be
 * made to cost anything: the first are refused, the second bounded. */
enum err_code pipe_regex(const char *pattern, regex_t *out, struct err *e) {
    enum { REPEAT_MAX = 1000 };
    if (strlen(pattern) > PIPE_PATTERN_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "the pattern is longer than %d bytes",
                       PIPE_PATTERN_MAX);
    }
    uint64_t repeats = 1;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
            if (*p >= '1' && *p <= '9') {
                return err_set(e, ERR_UNSUPPORTED, NULL,
                               "back references (\\%c) are not supported in patterns", *p);
            }
        } else if (*p == '{') {
            uint64_t most = 1;
            char *end;
            uint64_t low = strtoull(p + 1, &end, 10);
            uint64_t high = *end == ',' ? strtoull(end + 1, NULL, 10) : 0;
            most = low > most ? low : most;
            most = high > most ? high : most;
            repeats = most > REPEAT_MAX ? REPEAT_MAX + 1 : repeats * most;
            if (repeats > REPEAT_MAX) {
                return err_set(e, ERR_TOO_BIG, NULL,
                               "the counted repetitions of the pattern multiply to more than %d",
                               REPEAT_MAX);
            }
        }
    }
    int rc = regcomp(out, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB);
    if (rc != 0) {
        char text[128];
        regerror(rc, out, text, sizeof text);
        return err_set(e, ERR_INVALID, NULL, "not a regular expression: %s", text);
    }
    return ERR_OK;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool read_number(struct parse *p, uint64_t min, uint64_t max, const char *label,
                        const char *help, uint64_t *out) {
    struct option o = {.label = label, .help = help};
    size_t at = p->at;
    if (parse_pick(p, &o, 1) < 0) {
        return false;
    }
    char *end;
    *out = strtoull(p->value, &end, 10);
    if (p->value[0] < '0' || p->value[0] > '9' || *end != '\0' || *out < min || *out > max) {
        return parse_fail(p, at, ERR_INVALID,
                          "a number from %" PRIu64 " to %" PRIu64 " is expected here", min, max);
    }
    return true;
}

static bool read_format(struct parse *p, struct pipes *out) {
    static const struct option formats[] = {
        {.word = "json", .help = "JSON (RFC 7951)", .id = FORMAT_JSON},
        {.word = "set", .help = "Set commands", .id = FORMAT_SET},
        {.word = "text", .help = "Text, with curly braces for configuration", .id = FORMAT_TEXT},
        {.word = "xml", .help = "XML (RFC 7950)", .id = FORMAT_XML},
        {.word = "curly", .help = "The same as text", .id = FORMAT_TEXT, .hidden = true},
    };
    int i = parse_pick(p, formats, sizeof formats / sizeof *formats);
    if (i < 0) {
        return false;
    }
    out->display = true;
    out->format = (enum model_format)formats[i].id;
    return true;
}

static bool read_compare(struct parse *p, struct pipes *out) {
    static const struct option rollback = {.word = "rollback", .help = "With an earlier commit"};
    out->compare = true;
    out->compare_rollback = -1;
    if (parse_may_end(p)) {
        return true;
    }
    if (parse_pick(p, &rollback, 1) < 0) {
        return false;
    }
    uint64_t n;
    if (!read_number(p, 0, 49, "number", "Which one; 0 is the newest", &n)) {
        return false;
    }
    out->compare_rollback = (int64_t)n;
    return true;
}

enum { WORD_DISPLAY = 100, WORD_COMPARE, WORD_NO_MORE, WORD_SAVE, WORD_REFRESH };

static bool read_stage(struct parse *p, int id, struct pipes *out) {
    struct pipe_stage *s = &out->stages[out->n];
    static const struct option pattern = {.label = "pattern",
                                          .help = "A regular expression; upper and lower case "
                                                  "are the same"};
    static const struct option file = {.label = "file", .help = "Name of the file", .file = true};
    switch (id) {
    case WORD_NO_MORE:
        out->no_more = true;
        return true;
    case WORD_REFRESH: {
        uint64_t seconds = REFRESH_S;
        if (!parse_may_end(p) &&
            !read_number(p, 1, 3600, "seconds", "How often; every 5 seconds unless given",
                         &seconds)) {
            return false;
        }
        out->refresh_s = (unsigned)seconds;
        out->no_more = true;
        return true;
    }
    case WORD_SAVE:
        if (parse_pick(p, &file, 1) < 0) {
            return false;
        }
        out->save = p->value;
        return true;
    case WORD_DISPLAY:
        return read_format(p, out);
    case WORD_COMPARE:
        return read_compare(p, out);
    case PIPE_MATCH:
    case PIPE_EXCEPT:
    case PIPE_FIND: {
        size_t at = p->at;
        struct err e;
        if (parse_pick(p, &pattern, 1) < 0) {
            return false;
        }
        if (pipe_regex(p->value, &s->regex, &e) != ERR_OK) {
            return parse_fail(p, at, e.code, "%s", e.text);
        }
        s->has_regex = true;
        break;
    }
    case PIPE_LAST:
        s->n = 24;
        if (!parse_may_end(p) && !read_number(p, 1, PIPE_LAST_LINES, "lines",
                                              "How many lines; 24 unless given", &s->n)) {
            return false;
        }
        break;
    case PIPE_TRIM:
        if (!read_number(p, 1, 1000, "columns", "How many columns to take away at the left",
                         &s->n)) {
            return false;
        }
        break;
    default:
        break;
    }
    s->type = (enum pipe_type)id;
    out->n++;
    return true;
}

bool pipes_parse(struct parse *p, const struct pipe_allow *allow, struct pipes *out) {
    memset(out, 0, sizeof *out);
    out->format = FORMAT_TEXT;
    out->compare_rollback = -1;
    out->stages = arena_alloc(p->arena, PIPE_STAGES_MAX * sizeof *out->stages);
    while (!p->stopped && p->end < p->line->n) {
        size_t bar = p->end;
        p->at = bar + 1;
        p->end = p->at;
        while (p->end < p->line->n && !p->line->words[p->end].pipe) {
            p->end++;
        }
        struct option o[16];
        size_t n = 0;
        if (allow->compare) {
            o[n++] = (struct option){.word = "compare",
                                     .help = "Shows the difference to another configuration",
                                     .id = WORD_COMPARE};
        }
        o[n++] = (struct option){.word = "count", .help = "Counts lines", .id = PIPE_COUNT};
        if (allow->display) {
            o[n++] = (struct option){
                .word = "display", .help = "Shows in another format", .id = WORD_DISPLAY};
        }
        o[n++] = (struct option){
            .word = "except", .help = "Leaves out lines that match", .id = PIPE_EXCEPT};
        o[n++] = (struct option){.word = "find",
                                 .help = "Leaves out what comes before a line that matches",
                                 .id = PIPE_FIND};
        o[n++] = (struct option){.word = "last", .help = "Keeps the last lines", .id = PIPE_LAST};
        o[n++] =
            (struct option){.word = "match", .help = "Keeps lines that match", .id = PIPE_MATCH};
        o[n++] = (struct option){
            .word = "no-more", .help = "Doesn't stop at the end of the screen", .id = WORD_NO_MORE};
        if (allow->refresh) {
            o[n++] = (struct option){.word = "refresh",
                                     .help = "Shows it again and again, until interrupted",
                                     .id = WORD_REFRESH};
        }
        o[n++] = (struct option){
            .word = "save", .help = "Writes into a file at the terminal", .id = WORD_SAVE};
        o[n++] = (struct option){
            .word = "trim", .help = "Takes away columns at the left", .id = PIPE_TRIM};
        if (out->n == PIPE_STAGES_MAX) {
            parse_fail(p, bar, ERR_TOO_BIG, "more than %d pipes", PIPE_STAGES_MAX);
            break;
        }
        int i = parse_pick(p, o, n);
        if (i < 0 || !read_stage(p, o[i].id, out) || !parse_end(p)) {
            break;
        }
    }
    if (p->stopped) {
        pipes_free(out);
        return false;
    }
    return true;
}

/* ---- running -----------------------------------------------------------------------------------
 */

static void feed(struct pipes *ps, size_t stage, const char *p, size_t n);

static void keep(struct pipe_stage *s, const char *p, size_t n) {
    if (s->kept == NULL) {
        s->kept = mem_alloc(s->n * sizeof *s->kept);
    }
    while (s->n_kept == s->n || (s->n_kept > 0 && s->kept_bytes + n > PIPE_LAST_BYTES)) {
        char **oldest = &s->kept[s->first];
        s->kept_bytes -= strlen(*oldest);
        mem_free(*oldest);
        *oldest = NULL;
        s->first = (s->first + 1) % s->n;
        s->n_kept--;
    }
    s->kept[(s->first + s->n_kept++) % s->n] = mem_strndup(p, n);
    s->kept_bytes += n;
}

/* One whole line, without its newline. */
static void one_line(struct pipes *ps, size_t stage, const char *p, size_t n) {
    struct pipe_stage *s = &ps->stages[stage];
    bool pass = true;
    switch (s->type) {
    case PIPE_MATCH:
    case PIPE_EXCEPT:
        pass = (regexec(&s->regex, p, 0, NULL, 0) == 0) == (s->type == PIPE_MATCH);
        break;
    case PIPE_FIND:
        s->found = s->found || regexec(&s->regex, p, 0, NULL, 0) == 0;
        pass = s->found;
        break;
    case PIPE_COUNT:
        s->n++;
        pass = false;
        break;
    case PIPE_LAST:
        keep(s, p, n);
        pass = false;
        break;
    case PIPE_TRIM: {
        size_t cut = 0;
        for (uint64_t i = 0; i < s->n && cut < n; i++) {
            do {
                cut++;
            } while (cut < n && ((unsigned char)p[cut] & 0xC0) == 0x80);
        }
        p += cut;
        n -= cut;
        break;
    }
    }
    if (pass) {
        feed(ps, stage + 1, p, n);
        feed(ps, stage + 1, "\n", 1);
    }
}

static void flush(struct pipes *ps, size_t stage) {
    struct pipe_stage *s = &ps->stages[stage];
    /* The buffer is the stage's own and grows no more while the line goes on. */
    one_line(ps, stage, buf_cstr(&s->line), s->line.len);
    buf_clear(&s->line);
}

static void feed(struct pipes *ps, size_t stage, const char *p, size_t n) {
    if (stage == ps->n) {
        if (n > 0) {
            ps->emit(ps->arg, p, n);
        }
        return;
    }
    struct pipe_stage *s = &ps->stages[stage];
    while (n > 0) {
        const char *nl = memchr(p, '\n', n);
        size_t part = nl ? (size_t)(nl - p) : n;
        if (part > PIPE_LINE_MAX - s->line.len) {
            part = PIPE_LINE_MAX - s->line.len;
            buf_add(&s->line, p, part);
            flush(ps, stage);
        } else {
            buf_add(&s->line, p, part);
            if (nl != NULL) {
                flush(ps, stage);
                part++;
            }
        }
        p += part;
        n -= part;
    }
}

void pipes_start(struct pipes *ps, void (*emit)(void *arg, const char *p, size_t n), void *arg) {
    ps->emit = emit;
    ps->arg = arg;
    for (size_t i = 0; i < ps->n; i++) {
        if (ps->stages[i].type == PIPE_COUNT) {
            ps->stages[i].n = 0;
        }
    }
}

void pipes_write(struct pipes *ps, const char *p, size_t n) {
    feed(ps, 0, p, n);
}

void pipes_end(struct pipes *ps) {
    for (size_t i = 0; i < ps->n; i++) {
        struct pipe_stage *s = &ps->stages[i];
        if (s->line.len > 0) {
            flush(ps, i);
        }
        if (s->type == PIPE_COUNT) {
            char text[64];
            int n = snprintf(text, sizeof text, "Count: %" PRIu64 " lines\n", s->n);
            feed(ps, i + 1, text, (size_t)n);
        }
        for (size_t k = 0; s->type == PIPE_LAST && k < s->n_kept; k++) {
            const char *line = s->kept[(s->first + k) % s->n];
            feed(ps, i + 1, line, strlen(line));
            feed(ps, i + 1, "\n", 1);
        }
    }
}

void pipes_free(struct pipes *ps) {
    for (size_t i = 0; ps->stages != NULL && i < PIPE_STAGES_MAX; i++) {
        struct pipe_stage *s = &ps->stages[i];
        if (s->has_regex) {
            regfree(&s->regex);
        }
        buf_free(&s->line);
        for (size_t k = 0; k < s->n_kept; k++) {
            mem_free(s->kept[(s->first + k) % s->n]);
        }
        mem_free(s->kept);
    }
    memset(ps, 0, sizeof *ps);
}
