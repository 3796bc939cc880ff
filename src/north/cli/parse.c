// SPDX-License-Identifier: Apache-2.0
#include "north/cli/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

void parse_init(struct parse *p, struct arena *a, const struct model *m, const struct line *l,
                bool completing) {
    memset(p, 0, sizeof *p);
    p->arena = a;
    p->model = m;
    p->line = l;
    p->completing = completing;
    while (p->end < l->n && !l->words[p->end].pipe) {
        p->end++;
    }
    p->pipes = true;
    if (completing && l->n > 0) {
        p->partial = l->words[l->n - 1].text;
        p->from = l->words[l->n - 1].start;
    } else {
        p->partial = "";
        p->from = l->len;
    }
}

bool parse_here(const struct parse *p) {
    return p->completing && p->at + 1 == p->line->n && p->at < p->end;
}

bool parse_more(const struct parse *p) {
    return !p->stopped && p->at < p->end;
}

const char *parse_peek(const struct parse *p) {
    return p->at < p->end ? p->line->words[p->at].text : NULL;
}

bool parse_fail(struct parse *p, size_t word, enum err_code code, const char *fmt, ...) {
    if (p->stopped) {
        return false;
    }
    va_list ap;
    va_start(ap, fmt);
    err_setv(&p->err, code, NULL, fmt, ap);
    va_end(ap);
    p->stopped = true;
    if (word < p->line->n) {
        p->err_start = p->line->words[word].start;
        p->err_end = p->line->words[word].end;
    } else {
        p->err_start = p->err_end = p->line->len;
    }
    return false;
}

void parse_suggest(struct parse *p, enum suggestion_kind kind, const char *word, const char *help) {
    if (kind != SUGGEST_TYPE && kind != SUGGEST_FILE &&
        strncmp(word, p->partial, strlen(p->partial)) != 0) {
        return;
    }
    for (size_t i = 0; i < p->n_suggestions; i++) {
        if (p->suggestions[i].kind == kind && strcmp(p->suggestions[i].word, word) == 0) {
            return;
        }
    }
    if (p->n_suggestions == PARSE_SUGGESTIONS_MAX) {
        p->more_suggestions = true;
        return;
    }
    if (p->n_suggestions == p->cap_suggestions) {
        size_t cap = p->cap_suggestions * 2 + 16;
        struct suggestion *more = arena_alloc(p->arena, cap * sizeof *more);
        if (p->n_suggestions > 0) {
            memcpy(more, p->suggestions, p->n_suggestions * sizeof *more);
        }
        p->suggestions = more;
        p->cap_suggestions = cap;
    }
    struct suggestion *s = &p->suggestions[p->n_suggestions++];
    *s = (struct suggestion){.kind = kind, .word = arena_strdup(p->arena, word)};
    if (help != NULL && *help != '\0') {
        size_t n = strlen(help);
        /* A single sentence needs no full stop in a list. */
        bool stop = help[n - 1] == '.' && strstr(help, ". ") == NULL;
        s->help = arena_strndup(p->arena, help, n - stop);
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

static void suggest_objects(struct parse *p, const struct kind *k) {
    if (p->view == NULL || k->n_keys != 1) {
        return;
    }
    struct doc *d = p->view->next(p->view->arg, k, NULL);
    while (d != NULL && !p->more_suggestions) {
        parse_suggest(p, SUGGEST_VALUE, d->keys[0], NULL);
        struct doc *next = p->view->next(p->view->arg, k, d);
        doc_drop(d);
        d = next;
    }
    doc_drop(d);
}

/* The values of a choice, with what they mean; the default is marked. */
static void suggest_choices(struct parse *p, const struct node *leaf) {
    const char *standard = leaf->default_value ? leaf->default_value : "";
    if (leaf->base == BASE_BOOL) {
        parse_suggest(p, SUGGEST_VALUE, "true", strcmp(standard, "true") == 0 ? "the default" : "");
        parse_suggest(p, SUGGEST_VALUE, "false",
                      strcmp(standard, "false") == 0 ? "the default" : "");
    }
    for (size_t i = 0; i < leaf->n_enums; i++) {
        const char *help = leaf->enums[i].description ? leaf->enums[i].description : "";
        if (leaf->base != BASE_BITS && strcmp(standard, leaf->enums[i].name) == 0) {
            help = arena_printf(p->arena, "%s%s(the default)", help, *help ? " " : "");
        }
        parse_suggest(p, SUGGEST_VALUE, leaf->enums[i].name, help);
    }
}

/* "How long a surplus must last. (a number from 0 to 86400, seconds; default 60)" */
static const char *value_help(struct parse *p, const struct option *o) {
    struct buf help = BUF_INIT, type = BUF_INIT;
    if (o->help != NULL) {
        buf_str(&help, o->help);
    }
    if (o->leaf != NULL) {
        const char *units = o->leaf->units, *standard = o->leaf->default_value;
        node_type_text(o->leaf, &type);
        buf_printf(&help, "%s(%s%s%s%s%s)", help.len > 0 ? " " : "", buf_cstr(&type),
                   units ? ", " : "", units ? units : "", standard ? "; default " : "",
                   standard ? standard : "");
    }
    const char *text = arena_strdup(p->arena, buf_cstr(&help));
    buf_free(&help);
    buf_free(&type);
    return text;
}

static void suggest_value(struct parse *p, const struct option *o) {
    char label[96];
    snprintf(label, sizeof label, "<%s>", o->label ? o->label : o->leaf ? o->leaf->name : "text");
    bool choices = o->leaf != NULL && !o->verbatim &&
                   (o->leaf->base == BASE_BOOL || o->leaf->base == BASE_ENUM ||
                    o->leaf->base == BASE_IDENTITY);
    if (!choices) {
        parse_suggest(p, o->file ? SUGGEST_FILE : SUGGEST_TYPE, label, value_help(p, o));
    }
    if (choices || (o->leaf != NULL && o->leaf->base == BASE_BITS)) {
        suggest_choices(p, o->leaf);
    } else if (o->leaf != NULL && o->leaf->ref_kind != NULL) {
        suggest_objects(p, o->leaf->ref_kind);
    }
    if (o->values != NULL) {
        o->values(p, o);
    }
}

/* The value when the word at hand is one; NULL with `e` set when it is not. */
static const char *match_value(struct parse *p, const struct option *o, const struct word *w,
                               struct err *e) {
    if (w->len > PARSE_VALUE_MAX) {
        err_set(e, ERR_TOO_BIG, NULL, "the value is longer than %d bytes", PARSE_VALUE_MAX);
        return NULL;
    }
    if (o->leaf == NULL || o->verbatim) {
        return w->text;
    }
    struct buf canonical = BUF_INIT;
    const char *found = NULL;
    const char *text = w->text;
    /* Choices may be abbreviated like words. */
    if (!w->quoted && (o->leaf->base == BASE_ENUM || o->leaf->base == BASE_BOOL)) {
        static const struct node_enum bools[] = {{"true", NULL, 1}, {"false", NULL, 0}};
        const struct node_enum *enums = o->leaf->base == BASE_BOOL ? bools : o->leaf->enums;
        size_t n = o->leaf->base == BASE_BOOL ? 2 : o->leaf->n_enums, hits = 0;
        const char *hit = NULL;
        for (size_t i = 0; i < n; i++) {
            if (strcmp(enums[i].name, text) == 0) {
                hits = 1;
                hit = text;
                break;
            }
            if (w->len > 0 && strncmp(enums[i].name, text, w->len) == 0) {
                hits++;
                hit = enums[i].name;
            }
        }
        if (hits == 1) {
            text = hit;
        }
    }
    if (p->masks && o->leaf->secret && strcmp(text, MODEL_SECRET_MASK) == 0) {
        found = MODEL_SECRET_MASK;
    } else if (value_check(p->model, o->leaf, text, strlen(text), &canonical, e) == ERR_OK) {
        found = arena_strdup(p->arena, buf_cstr(&canonical));
    }
    buf_free(&canonical);
    return found;
}

/* ---- picking ----------------------------------------------------------------------------------
 */

static int gather(struct parse *p, const struct option *o, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (o[i].word != NULL && !o[i].hidden) {
            parse_suggest(p, SUGGEST_WORD, o[i].word, o[i].help);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (o[i].word == NULL) {
            suggest_value(p, &o[i]);
        }
    }
    p->stopped = true;
    return -1;
}

static void list_options(struct buf *out, const struct option *o, size_t n, const char *prefix) {
    enum { SHOWN = 8 };
    size_t shown = 0, left = 0, len = strlen(prefix);
    for (size_t i = 0; i < n; i++) {
        if (o[i].hidden || (o[i].word != NULL && strncmp(o[i].word, prefix, len) != 0)) {
            continue;
        }
        if (shown == SHOWN) {
            left++;
            continue;
        }
        buf_str(out, shown > 0 ? ", " : "");
        if (o[i].word != NULL) {
            buf_str(out, o[i].word);
        } else {
            buf_printf(out, "<%s>", o[i].label ? o[i].label : o[i].leaf ? o[i].leaf->name : "text");
        }
        shown++;
    }
    if (left > 0) {
        buf_printf(out, " (and %zu more)", left);
    }
}

/* What the command lines of other makers call it, when we have it where `word` stands. */
static const char *cousin(const struct option *o, size_t n, const char *word) {
    static const char *const known[][2] = {
        {"no", "delete"},
        {"do", "run"},
        {"info", "show"},
        {"abort", "exit"},
        {"end", "exit"},
        {"logout", "exit"},
        {"discard", "rollback"},
        {"write", "commit"},
        {"save", "show | save"},
        {"running-config", "configuration"},
        {"candidate", "show | compare"},
        {"activate", "set"},
        {"deactivate", "delete"},
        {"include", "match"},
        {"begin", "find"},
        {"exclude", "except"},
        {"grep", "match"},
        {"tail", "last"},
        {"more", "no-more"},
        {"terminal", "cli"},
        {"environment", "cli"},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        const char *ours = known[k][1];
        size_t len = strcspn(ours, " ");
        for (size_t i = 0; strcmp(known[k][0], word) == 0 && i < n; i++) {
            if (o[i].word != NULL && strlen(o[i].word) == len &&
                memcmp(o[i].word, ours, len) == 0) {
                return ours;
            }
        }
    }
    return NULL;
}

static int fail_unknown(struct parse *p, const struct option *o, size_t n, const struct word *w) {
    struct buf near = BUF_INIT;
    unsigned max = w->len <= 4 ? 1 : 2;
    for (unsigned d = 0; d <= max && near.len == 0; d++) {
        for (size_t i = 0; i < n; i++) {
            if (o[i].word != NULL && !o[i].hidden && line_distance(o[i].word, w->text, max) == d) {
                buf_printf(&near, "%s%s", near.len > 0 ? " or " : "", o[i].word);
            }
        }
    }
    const char *ours = near.len == 0 ? cousin(o, n, w->text) : NULL;
    if (ours != NULL) {
        parse_fail(p, p->at, ERR_UNKNOWN, "unknown word; it is called %s here", ours);
    } else if (near.len > 0) {
        parse_fail(p, p->at, ERR_UNKNOWN, "unknown word; did you mean %s?", buf_cstr(&near));
    } else if (n == 0) {
        parse_fail(p, p->at, ERR_UNKNOWN, "nothing may follow here");
    } else {
        list_options(&near, o, n, "");
        parse_fail(p, p->at, ERR_UNKNOWN, "unknown word; possible here: %s", buf_cstr(&near));
    }
    buf_free(&near);
    return -1;
}

int parse_pick(struct parse *p, const struct option *o, size_t n) {
    if (p->stopped) {
        return -1;
    }
    if (parse_here(p)) {
        return gather(p, o, n);
    }
    if (p->at >= p->end) {
        struct buf list = BUF_INIT;
        list_options(&list, o, n, "");
        size_t at = p->end < p->line->n ? p->end : p->line->n;
        parse_fail(p, at, ERR_MISSING, "incomplete; expected %s", buf_cstr(&list));
        buf_free(&list);
        return -1;
    }
    const struct word *w = &p->line->words[p->at];
    int prefix = -1, value = -1;
    size_t prefixes = 0;
    for (size_t i = 0; i < n; i++) {
        if (o[i].word == NULL) {
            value = value < 0 ? (int)i : value;
        } else if (strcmp(o[i].word, w->text) == 0) {
            p->at++;
            return (int)i;
        } else if (!w->quoted && w->len > 0 && strncmp(o[i].word, w->text, w->len) == 0) {
            prefixes += !o[i].hidden;
            prefix = o[i].hidden && prefix >= 0 ? prefix : (int)i;
        }
    }
    struct err e = {0};
    if (value >= 0) {
        p->value = match_value(p, &o[value], w, &e);
        p->secret = p->secret || (o[value].leaf != NULL && o[value].leaf->secret);
        if (p->value != NULL) {
            p->at++;
            return value;
        }
    }
    if (prefixes == 1 || (prefixes == 0 && prefix >= 0)) {
        p->at++;
        return prefix;
    }
    if (prefixes > 1) {
        struct buf list = BUF_INIT;
        list_options(&list, o, n, w->text);
        parse_fail(p, p->at, ERR_UNKNOWN, "ambiguous: %s", buf_cstr(&list));
        buf_free(&list);
        return -1;
    }
    if (value >= 0) {
        parse_fail(p, p->at, e.code ? e.code : ERR_INVALID, "%s", e.text);
        return -1;
    }
    return fail_unknown(p, o, n, w);
}

bool parse_may_end(struct parse *p) {
    if (p->stopped) {
        return false;
    }
    if (parse_here(p)) {
        if (p->line->words[p->at].len == 0 && !p->line->words[p->at].quoted) {
            parse_suggest(p, SUGGEST_ENTER, "<Enter>", "Execute this command");
            if (p->pipes) {
                parse_suggest(p, SUGGEST_PIPE, "|", "Pipe through a command");
            }
        }
        return false;
    }
    return p->at >= p->end;
}

bool parse_end(struct parse *p) {
    if (parse_may_end(p)) {
        return true;
    }
    if (parse_here(p)) {
        p->stopped = true;
        return false;
    }
    return parse_fail(p, p->at, ERR_UNKNOWN, "nothing may follow here");
}

/* ---- what to show ---- */

static int by_word(const void *a, const void *b) {
    return strcmp(((const struct suggestion *)a)->word, ((const struct suggestion *)b)->word);
}

void parse_sort(struct parse *p) {
    static const enum suggestion_kind order[] = {SUGGEST_ENTER, SUGGEST_TYPE, SUGGEST_FILE,
                                                 SUGGEST_VALUE, SUGGEST_WORD, SUGGEST_PIPE};
    struct suggestion *sorted = arena_alloc(p->arena, (p->n_suggestions + 1) * sizeof *sorted);
    size_t n = 0;
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        size_t first = n;
        for (size_t i = 0; i < p->n_suggestions; i++) {
            if (p->suggestions[i].kind == order[k]) {
                sorted[n++] = p->suggestions[i];
            }
        }
        if (order[k] == SUGGEST_WORD) {
            qsort(sorted + first, n - first, sizeof *sorted, by_word);
        }
    }
    p->suggestions = sorted;
}

/* ---- what to insert ---------------------------------------------------------------------------
 */

char *parse_insertion(struct parse *p) {
    const char *first = NULL;
    size_t common = 0, count = 0;
    bool type = false;
    for (size_t i = 0; i < p->n_suggestions; i++) {
        const struct suggestion *s = &p->suggestions[i];
        if (s->kind == SUGGEST_TYPE || s->kind == SUGGEST_FILE) {
            type = true;
        }
        if (s->kind != SUGGEST_WORD && s->kind != SUGGEST_VALUE) {
            continue;
        }
        if (first == NULL) {
            first = s->word;
            common = strlen(first);
        }
        size_t same = 0;
        while (same < common && s->word[same] == first[same]) {
            same++;
        }
        common = same;
        count++;
    }
    /* Where anything may be typed, the only name there is must not be put into the user's mouth. */
    if (count == 0 || (count > 1 && common <= strlen(p->partial)) ||
        (type && p->partial[0] == '\0')) {
        return NULL;
    }
    while (common > 0 && ((unsigned char)first[common] & 0xC0) == 0x80) {
        common--; /* never half a character */
    }
    struct buf out = BUF_INIT;
    char *text = arena_strndup(p->arena, first, common);
    /* A word that the user began with a quote, or that needs one, is quoted as a whole. */
    text_word(&out, text);
    if (count > 1 && out.len > 0 && out.data[out.len - 1] == '"') {
        out.len--;
    }
    if (count == 1 && !p->more_suggestions) {
        buf_char(&out, ' ');
    }
    char *s = arena_strdup(p->arena, buf_cstr(&out));
    buf_free(&out);
    return s;
}
