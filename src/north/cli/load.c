// SPDX-License-Identifier: Apache-2.0
/*
 * load merge|override|replace|set: a whole text becomes edits of the candidate, or none of it does.
 *
 * Text with curly braces is brought to set statements word by word, and those go through the same
 * grammar as typed ones; so a file may be anything that `show` prints. For override and replace the
 * text is read into an empty configuration first: override puts it in the place of everything that
 * operators own, replace puts each of its objects in the place of the one with its name.
 *
 * What is shown leaves secrets out, so a mask in a text stands for the value of now.
 */
#include <inttypes.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "core/rights.h"
#include "north/cli/run.h"

enum load_mode { LOAD_MERGE, LOAD_OVERRIDE, LOAD_REPLACE, LOAD_SET };
enum { NESTING_MAX = 64, STATEMENT_MAX = CLI_LINE_MAX };

struct load {
    struct run *r;
    struct arena *arena; /* of one statement; renewed now and then */
    struct model_edit *edits;
    size_t n_edits, cap_edits;
    struct place *masked; /* the leaves that the text has a mask for */
    size_t n_masked, cap_masked;
    struct place start;
    struct model_view view;
    size_t line; /* at hand, 1.. */
    struct err err;
};

/* ---- statements to edits -----------------------------------------------------------------------
 */

static struct model_edit *keep_edit(struct load *l, enum edit_op op, const char *target,
                                    const char *value) {
    if (l->n_edits == l->cap_edits) {
        l->cap_edits = l->cap_edits * 2 + 64;
        struct model_edit *more = arena_alloc(l->r->arena, l->cap_edits * sizeof *more);
        if (l->n_edits > 0) {
            memcpy(more, l->edits, l->n_edits * sizeof *more);
        }
        l->edits = more;
    }
    char *body = op == EDIT_MERGE ? arena_strdup(l->r->arena, value ? value : "") : NULL;
    struct model_edit *edit = &l->edits[l->n_edits++];
    *edit = (struct model_edit){.op = op,
                                .target = arena_strdup(l->r->arena, target),
                                .body = body,
                                .len = body ? strlen(body) : 0,
                                .format = FORMAT_VALUE};
    return edit;
}

static void keep_mask(struct load *l, const struct place *at) {
    if (l->n_masked == l->cap_masked) {
        l->cap_masked = l->cap_masked * 2 + 16;
        struct place *more = arena_alloc(l->r->arena, l->cap_masked * sizeof *more);
        if (l->n_masked > 0) {
            memcpy(more, l->masked, l->n_masked * sizeof *more);
        }
        l->masked = more;
    }
    l->masked[l->n_masked] = *at;
    l->masked[l->n_masked++].path = arena_strdup(l->r->arena, at->path);
}

enum verb { VERB_SET, VERB_DELETE, VERB_INSERT };

/* Reads the words after the verb into edits. False: p says why. */
static bool take_words(struct load *l, enum verb verb, struct parse *p) {
    struct statement st;
    struct insertion in;
    if (verb == VERB_INSERT) {
        if (!insertion_parse(p, &l->start, &in) || !parse_end(p)) {
            return false;
        }
        struct model_edit *edit = keep_edit(l, EDIT_MERGE, in.what.at.path, NULL);
        edit->insert = in.before ? INSERT_BEFORE : INSERT_AFTER;
        edit->point = arena_strdup(l->r->arena, in.point);
        return true;
    }
    if (!statement_parse(p, verb == VERB_SET ? STATEMENT_SET : STATEMENT_DELETE, &l->start, NULL, 0,
                         &st) ||
        !parse_end(p)) {
        return false;
    }
    if (st.ask_secret) {
        return parse_fail(p, p->line->n, ERR_MISSING, "the value of %s is missing",
                          st.at.node->name);
    }
    if (verb == VERB_DELETE) {
        keep_edit(l, EDIT_DELETE, st.at.path, NULL);
    }
    for (size_t i = 0; i < st.n_values; i++) {
        const struct statement_value *v = &st.values[i];
        if (v->at.node->secret && v->value != NULL && strcmp(v->value, MODEL_SECRET_MASK) == 0) {
            keep_mask(l, &v->at);
        } else {
            keep_edit(l, EDIT_MERGE, v->at.path, v->value);
        }
    }
    return true;
}

/* One statement: its words, without the verb; what stands between quotes may have newlines. */
static bool take_statement(struct load *l, enum verb verb, const char *text, size_t n) {
    struct line words;
    struct parse p;
    size_t where;
    struct arena *a = arena_new();
    struct buf one = BUF_INIT;
    bool ok = false;
    text_one_line(&one, text, n);
    enum err_code rc = line_split(a, buf_cstr(&one), one.len, false, &words, &where, &l->err);
    mem_wipe(one.data, one.len); /* it may be a key */
    buf_free(&one);
    if (rc != ERR_OK) {
        goto out;
    }
    parse_init(&p, a, l->r->cli->model, &words, false);
    p.view = &l->view;
    p.masks = true;
    if (p.end < words.n) {
        parse_fail(&p, p.end, ERR_MALFORMED, "a | has no meaning here; quote it");
    }
    if (!take_words(l, verb, &p)) {
        l->err = p.err;
        if (p.err_end > p.err_start) {
            struct buf b = BUF_INIT;
            buf_printf(&b, "%.*s", (int)(p.err_end - p.err_start), words.text + p.err_start);
            err_set(&l->err, p.err.code, NULL, "\"%.100s\": %s", buf_cstr(&b), p.err.text);
            buf_free(&b);
        }
        goto out;
    }
    ok = true;
out:
    arena_free(a);
    return ok;
}

/* ---- set lines
 * ----------------------------------------------------------------------------------- */

/* Bytes up to the end of the line, or of the one on which its last quote is closed. */
static size_t line_length(const char *p, size_t n) {
    const char *end = memchr(p, '\n', n);
    size_t len = end != NULL ? (size_t)(end - p) : n;
    if (memchr(p, '"', len) == NULL && memchr(p, '\'', len) == NULL) {
        return len;
    }
    for (len = 0;;) {
        const char *nl = memchr(p + len, '\n', n - len);
        len = nl != NULL ? (size_t)(nl - p) : n;
        if (len == n || len > STATEMENT_MAX || text_one_line(NULL, p, len) == 0) {
            return len;
        }
        len++;
    }
}

static size_t newlines(const char *p, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += p[i] == '\n';
    }
    return count;
}

static bool read_set(struct load *l, const char *p, size_t n) {
    l->line = 1;
    while (n > 0) {
        size_t len = line_length(p, n), skip = len < n ? len + 1 : len;
        const char *text = p;
        size_t left = len;
        while (left > 0 && (*text == ' ' || *text == '\t')) {
            text++;
            left--;
        }
        while (left > 0 && (text[left - 1] == '\r' || text[left - 1] == ' ')) {
            left--;
        }
        static const char *const verbs[] = {"set ", "delete ", "insert "};
        size_t v = 0;
        while (v < 3 &&
               (left <= strlen(verbs[v]) || memcmp(text, verbs[v], strlen(verbs[v])) != 0)) {
            v++;
        }
        bool ok = left == 0 || *text == '#';
        if (!ok && v < 3) {
            ok = take_statement(l, (enum verb)v, text + strlen(verbs[v]), left - strlen(verbs[v]));
        } else if (!ok) {
            err_set(&l->err, ERR_MALFORMED, NULL, "a line begins with set, delete or insert");
        }
        if (!ok) {
            return false;
        }
        l->line += newlines(p, skip);
        p += skip;
        n -= skip;
    }
    return true;
}

/* ---- curly braces
 * ---------------------------------------------------------------------------------- */

struct curly {
    const char *p, *end;
    struct buf words;         /* of the statement so far, all levels */
    size_t mark[NESTING_MAX]; /* length of `words` at each level */
    size_t depth;
    bool empty[NESTING_MAX]; /* nothing stood inside the braces yet */
};

static bool curly_fail(struct load *l, const char *text) {
    err_set(&l->err, ERR_MALFORMED, NULL, "%s", text);
    return false;
}

static bool skip_blank(struct load *l, struct curly *c) {
    while (c->p < c->end) {
        if (*c->p == '\n') {
            l->line++;
            c->p++;
        } else if (*c->p == ' ' || *c->p == '\t' || *c->p == '\r') {
            c->p++;
        } else if (*c->p == '#') {
            const char *nl = memchr(c->p, '\n', (size_t)(c->end - c->p));
            c->p = nl ? nl : c->end;
        } else if (c->end - c->p >= 2 && memcmp(c->p, "/*", 2) == 0) {
            const char *close = memmem(c->p + 2, (size_t)(c->end - c->p - 2), "*/", 2);
            if (close == NULL) {
                return curly_fail(l, "the comment /* is never closed");
            }
            for (const char *q = c->p; q < close; q++) {
                l->line += *q == '\n';
            }
            c->p = close + 2;
        } else {
            break;
        }
    }
    return true;
}

/* Adds one word as it stands, quotes included. */
static bool add_word(struct load *l, struct curly *c) {
    const char *start = c->p;
    size_t lines = 0;
    char quote = 0;
    while (c->p < c->end) {
        char ch = *c->p;
        if (quote == 0 && strchr(" \t\r\n;{}", ch) != NULL) {
            break;
        }
        c->p++;
        lines += ch == '\n';
        if (quote == 0 && (ch == '"' || ch == '\'')) {
            quote = ch;
        } else if (quote == ch) {
            quote = 0;
        } else if (quote == '"' && ch == '\\' && c->p < c->end) {
            lines += *c->p == '\n';
            c->p++;
        }
    }
    if (quote != 0) {
        return curly_fail(l, "a quote is never closed");
    }
    if (c->words.len + (size_t)(c->p - start) + 1 > STATEMENT_MAX) {
        return curly_fail(l, "the statement is too long");
    }
    l->line += lines;
    buf_char(&c->words, ' ');
    buf_add(&c->words, start, (size_t)(c->p - start));
    return true;
}

static bool statement_ends(struct load *l, struct curly *c) {
    if (c->words.len == c->mark[c->depth]) {
        return true; /* a stray ; */
    }
    c->empty[c->depth] = false;
    bool ok = take_statement(l, VERB_SET, (const char *)c->words.data, c->words.len);
    c->words.len = c->mark[c->depth];
    return ok;
}

static bool brace_opens(struct load *l, struct curly *c) {
    if (c->words.len == c->mark[c->depth]) {
        return curly_fail(l, "{ without a name before it");
    }
    if (c->depth + 1 == NESTING_MAX) {
        return curly_fail(l, "nested too deep");
    }
    c->empty[c->depth] = false;
    c->depth++;
    c->mark[c->depth] = c->words.len;
    c->empty[c->depth] = true;
    return true;
}

static bool brace_closes(struct load *l, struct curly *c) {
    if (c->depth == 0) {
        return curly_fail(l, "} without {");
    }
    if (c->words.len != c->mark[c->depth]) {
        return curly_fail(l, "the last statement before } has no ;");
    }
    /* "partition a { }": an entry with nothing in it but its name. Plain containers that hold
     * nothing are nothing. */
    bool ok = true;
    if (c->empty[c->depth]) {
        ok = take_statement(l, VERB_SET, (const char *)c->words.data, c->words.len) ||
             l->err.code == ERR_MISSING;
    }
    c->depth--;
    c->words.len = c->mark[c->depth];
    return ok;
}

static bool read_curly(struct load *l, const char *text, size_t n) {
    struct curly c = {.p = text, .end = text + n};
    bool ok = true;
    l->line = 1;
    while (ok) {
        ok = skip_blank(l, &c);
        if (!ok || c.p == c.end) {
            break;
        }
        switch (*c.p) {
        case ';':
            c.p++;
            ok = statement_ends(l, &c);
            break;
        case '{':
            c.p++;
            ok = brace_opens(l, &c);
            break;
        case '}':
            c.p++;
            ok = brace_closes(l, &c);
            break;
        default:
            ok = add_word(l, &c);
            break;
        }
    }
    if (ok && (c.depth > 0 || c.words.len > 0)) {
        ok = curly_fail(l, c.depth > 0 ? "a { is never closed" : "the last statement has no ;");
    }
    buf_free(&c.words);
    return ok;
}

/* ---- formats -----------------------------------------------------------------------------------
 */

static enum model_format format_of(const char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        if (strchr(" \t\r\n", p[i]) != NULL) {
            i++;
        } else if (p[i] == '#') {
            const char *nl = memchr(p + i, '\n', n - i);
            i = nl ? (size_t)(nl - p) : n;
        } else if (p[i] == '{' || p[i] == '[') {
            return FORMAT_JSON;
        } else if (p[i] == '<') {
            return FORMAT_XML;
        } else if ((n - i > 4 && memcmp(p + i, "set ", 4) == 0) ||
                   (n - i > 7 && memcmp(p + i, "delete ", 7) == 0) ||
                   (n - i > 7 && memcmp(p + i, "insert ", 7) == 0)) {
            return FORMAT_SET;
        } else {
            break;
        }
    }
    return FORMAT_TEXT;
}

/* Whole configurations have an element around them; a bare piece gets one. */
static void wrap_xml(struct load *l, const char **p, size_t *n) {
    const char *at = *p, *end = *p + *n;
    while (at < end && *at != '<') {
        at++;
    }
    if (end - at > 5 && memcmp(at, "<?xml", 5) == 0) {
        const char *close = memmem(at, (size_t)(end - at), "?>", 2);
        at = close ? close + 2 : end;
        while (at < end && *at != '<') {
            at++;
        }
    }
    size_t left = (size_t)(end - at);
    bool wrapped =
        (left > 7 && memcmp(at, "<config", 7) == 0) || (left > 5 && memcmp(at, "<data", 5) == 0);
    if (!wrapped && left > 0) {
        struct buf b = BUF_INIT;
        buf_str(&b, "<config xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">");
        buf_add(&b, at, left);
        buf_str(&b, "</config>");
        *n = b.len;
        *p = arena_strndup(l->r->arena, (const char *)b.data, b.len);
        buf_free(&b);
    }
}

static bool make_edits(struct load *l, enum load_mode mode, const char *p, size_t n) {
    enum model_format f = mode == LOAD_SET ? FORMAT_SET : format_of(p, n);
    switch (f) {
    case FORMAT_XML:
        if (strcmp(l->start.path, "/") == 0) {
            wrap_xml(l, &p, &n);
        }
        __attribute__((fallthrough));
    case FORMAT_JSON:
        keep_edit(l, EDIT_MERGE, l->start.path, NULL);
        l->edits[0].body = p;
        l->edits[0].len = n;
        l->edits[0].format = f;
        return true;
    case FORMAT_SET:
        return read_set(l, p, n);
    default:
        return read_curly(l, p, n);
    }
}

/* ---- the command
 * ---------------------------------------------------------------------------------- */

static enum err_code put_one(void *arg, struct doc *old, struct doc *new_doc, struct err *e) {
    struct snap **s = arg, *next;
    (void)e;
    if (new_doc != NULL) {
        struct object *o = object_new(new_doc, NULL, 0, 0);
        next = snap_put(*s, o);
        object_release(o);
    } else {
        next = snap_del(*s, old->kind, old->path);
    }
    snap_release(*s);
    *s = next;
    return ERR_OK;
}

/* The edits applied to nothing at all. */
static enum err_code read_alone(struct load *l, struct snap **out, struct err *e) {
    struct snap *s = snap_empty();
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < l->n_edits && rc == ERR_OK; i++) {
        struct arena *a = arena_new();
        struct snap *seen = snap_hold(s);
        struct model_view v = snap_view(seen);
        struct edit_result result;
        struct model_edit edit = l->edits[i];
        edit.draft = true;
        rc = model_edit(l->r->cli->model, &v, &edit, a, put_one, &s, &result, e);
        snap_release(seen);
        arena_free(a);
    }
    *out = s;
    return rc;
}

/* The object that holds `path` in s; *rest: what of the path is below it. NULL: none. */
static const struct object *holder(const struct snap *s, char *path, const char **rest) {
    for (char *slash = strrchr(path, '/'); slash != NULL && slash > path;) {
        *slash = '\0';
        const struct object *o = snap_get(s, path);
        if (o != NULL) {
            *rest = slash + 1;
            return o;
        }
        char *above = strrchr(path, '/');
        *slash = '/';
        slash = above;
    }
    return NULL;
}

/* A credential as a whole that is not there now: it was ended, and the text doesn't bring it back.
 */
static void drop_ended(struct load *l, const char *leaf) {
    size_t n = (size_t)(strrchr(leaf, '/') - leaf), kept = 0;
    for (size_t i = 0; i < l->n_edits; i++) {
        const char *t = l->edits[i].target;
        if (strncmp(t, leaf, n) != 0 || (t[n] != '/' && t[n] != '\0')) {
            l->edits[kept++] = l->edits[i];
        }
    }
    l->n_edits = kept;
}

/* Each mask becomes the value that the candidate has, or goes, with a remark. */
static void unmask(struct load *l) {
    struct snap *now = candidate_snapshot(l->r->s->candidate);
    for (size_t i = 0; i < l->n_masked; i++) {
        const char *leaf = l->masked[i].path, *rest = NULL, *value = NULL;
        char *path = arena_strdup(l->r->arena, leaf);
        const struct object *o = holder(now, path, &rest);
        if (o != NULL) {
            value = doc_value(l->r->cli->model, o->doc, rest, l->r->arena);
        }
        if (value != NULL) {
            keep_edit(l, EDIT_MERGE, leaf, value);
            continue;
        }
        struct buf words = BUF_INIT;
        place_words(l->r->cli->model, leaf, &words);
        run_note(l->r, "%s: a mask in the text, and no value now: left out", buf_cstr(&words));
        buf_free(&words);
        if (l->masked[i].node->parent->no_history) {
            drop_ended(l, leaf);
        }
    }
    snap_release(now);
}

static enum err_code apply_load(struct load *l, enum load_mode mode, struct err *e) {
    struct candidate *c = l->r->s->candidate;
    const struct actor *who = &l->r->s->who;
    ERR_TRY(candidates_may_edit(l->r->cli->o.candidates, l->r->s->id, e));
    unmask(l);
    if (mode == LOAD_MERGE || mode == LOAD_SET) {
        return candidate_edit(c, who, l->edits, l->n_edits, NULL, e);
    }
    struct snap *alone = NULL;
    enum err_code rc = read_alone(l, &alone, e);
    if (rc == ERR_OK && mode == LOAD_OVERRIDE && snap_count(alone) == 0) {
        rc = err_set(e, ERR_MISSING, NULL, /* a file that was not written, more likely than not */
                     "there is no configuration in it; delete all takes everything away");
    } else if (rc == ERR_OK) {
        rc = mode == LOAD_OVERRIDE ? candidate_set(c, who, alone, e)
                                   : candidate_put_all(c, who, alone, e);
    }
    snap_release(alone);
    return rc;
}

void cmd_load(struct run *r) {
    static const struct option modes[] = {
        {.word = "merge", .help = "Join it with the candidate", .id = LOAD_MERGE},
        {.word = "override", .help = "In place of the whole candidate", .id = LOAD_OVERRIDE},
        {.word = "replace",
         .help = "Each object in place of the one with its name",
         .id = LOAD_REPLACE},
        {.word = "set", .help = "Set, delete and insert lines", .id = LOAD_SET},
    };
    static const struct option sources[] = {
        {.word = "terminal", .help = "What is typed, up to Ctrl-D"},
        {.label = "file", .help = "Name of a file at the terminal", .file = true},
    };
    static const struct option relative = {.word = "relative",
                                           .help = "To this level, not to the top"};
    int mode = parse_pick(r->p, modes, 4);
    int source = mode < 0 ? -1 : parse_pick(r->p, sources, 2);
    if (source < 0) {
        return;
    }
    const char *file = source == 1 ? r->p->value : NULL;
    bool rel = false;
    if (mode != LOAD_OVERRIDE && !parse_may_end(r->p)) {
        if (parse_pick(r->p, &relative, 1) < 0) {
            return;
        }
        rel = true;
    }
    if (!run_ready(r, NULL)) {
        return;
    }
    struct buf text = BUF_INIT;
    struct cli_ask ask = {.kind = file ? CLI_ASK_FILE : CLI_ASK_TEXT,
                          .prompt = "[Type ^D at a new line to end input]",
                          .file = file};
    struct err e = {0};
    if (r->sink->ask(r->sink->arg, &ask, &text, &e) != ERR_OK) {
        run_fault(r, &e);
        buf_free(&text);
        return;
    }
    struct load l = {.r = r, .start = {model_root(), "/", false}, .view = r->view};
    if (rel) {
        l.start = session_place(r);
    }
    const char *bytes = buf_cstr(&text);
    if (!make_edits(&l, (enum load_mode)mode, bytes, text.len)) {
        err_set(&e, l.err.code, NULL, "line %zu: %s", l.line, l.err.text);
        run_fault(r, &e);
    } else if (apply_load(&l, (enum load_mode)mode, &e) != ERR_OK) {
        run_fault(r, &e);
    }
    if (r->status == CLI_OK) {
        run_printf(r, "load complete\n");
    } else {
        run_note(r, "load failed: the candidate is as it was");
    }
    buf_free(&text);
}
