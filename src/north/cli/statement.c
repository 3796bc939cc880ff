// SPDX-License-Identifier: Apache-2.0
#include "north/cli/statement.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct walk {
    struct parse *p;
    enum statement_mode mode;
    const struct option *stop;
    size_t n_stop;
    struct statement *out;
    size_t cap_values;
};

static char *join(struct arena *a, const char *path, const struct node *n) {
    struct buf b = BUF_INIT;
    buf_str(&b, strcmp(path, "/") == 0 ? "" : path);
    bool module = n->parent == NULL || n->parent->type == NODE_ROOT ||
                  strcmp(n->parent->module, n->module) != 0;
    buf_char(&b, '/');
    if (module) {
        buf_printf(&b, "%s:", n->module);
    }
    buf_str(&b, n->name);
    char *s = arena_strdup(a, buf_cstr(&b));
    buf_free(&b);
    return s;
}

static char *join_key(struct arena *a, const char *path, bool first, const char *value) {
    struct buf b = BUF_INIT;
    buf_str(&b, path);
    path_add_key(&b, first, value);
    char *s = arena_strdup(a, buf_cstr(&b));
    buf_free(&b);
    return s;
}

/* ---- entries that exist ------------------------------------------------------------------------
 */

struct list_at { /* behind option.ptr: which key of which list is asked for */
    const struct node *list;
    const char *path; /* of the list, without keys */
    size_t key;
    const char *given[MODEL_KEYS_MAX];
};

static const char *json_text(const json_t *v, char *room, size_t n) {
    if (json_is_string(v)) {
        return json_string_value(v);
    }
    if (json_is_integer(v)) {
        snprintf(room, n, "%lld", (long long)json_integer_value(v));
        return room;
    }
    return json_is_true(v) ? "true" : json_is_false(v) ? "false" : NULL;
}

static void suggest_inner_entries(struct parse *p, const struct list_at *l) {
    struct buf json = BUF_INIT;
    struct err e;
    struct print_options o = {.format = FORMAT_JSON};
    if (model_print(p->model, p->view, NULL, l->path, &o, model_write_buf, &json, &e) == ERR_OK) {
        json_t *root = json_loadb((const char *)json.data, json.len, JSON_DECODE_ANY, NULL);
        const char *member;
        json_t *array, *entry;
        json_object_foreach(root, member, array) {
            size_t i;
            json_array_foreach(array, i, entry) {
                char room[32];
                const char *text = NULL;
                bool fits = true;
                if (l->list->type == NODE_LEAF_LIST) {
                    text = json_text(entry, room, sizeof room);
                } else {
                    for (size_t k = 0; k < l->key && fits; k++) {
                        const char *v = json_text(json_object_get(entry, l->list->keys[k]->name),
                                                  room, sizeof room);
                        fits = v != NULL && strcmp(v, l->given[k]) == 0;
                    }
                    text = json_text(json_object_get(entry, l->list->keys[l->key]->name), room,
                                     sizeof room);
                }
                if (fits && text != NULL) {
                    parse_suggest(p, SUGGEST_VALUE, text, NULL);
                }
            }
        }
        json_decref(root);
    }
    buf_free(&json);
}

static void suggest_entries(struct parse *p, const struct option *o) {
    const struct list_at *l = o->ptr;
    if (p->view == NULL) {
        return;
    }
    if (l->list->kind == NULL) {
        suggest_inner_entries(p, l);
        return;
    }
    struct doc *d = p->view->next(p->view->arg, l->list->kind, NULL);
    while (d != NULL && !p->more_suggestions) {
        bool fits = true;
        for (size_t k = 0; k < l->key && fits; k++) {
            fits = strcmp(d->keys[k], l->given[k]) == 0;
        }
        if (fits) {
            parse_suggest(p, SUGGEST_VALUE, d->keys[l->key], NULL);
        }
        struct doc *next = p->view->next(p->view->arg, l->list->kind, d);
        doc_drop(d);
        d = next;
    }
    doc_drop(d);
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

static void add_value(struct walk *w, const struct place *at, const char *value) {
    struct statement *s = w->out;
    if (s->n_values == w->cap_values) {
        size_t cap = w->cap_values * 2 + 8;
        struct statement_value *more = arena_alloc(w->p->arena, cap * sizeof *more);
        if (s->n_values > 0) {
            memcpy(more, s->values, s->n_values * sizeof *more);
        }
        s->values = more;
        w->cap_values = cap;
    }
    s->values[s->n_values++] = (struct statement_value){*at, value};
}

/* Did a word that ends the statement come? */
static bool at_stop(const struct walk *w) {
    const char *word = parse_peek(w->p);
    if (word == NULL || parse_here(w->p) || w->p->line->words[w->p->at].quoted) {
        return false;
    }
    for (size_t i = 0; i < w->n_stop; i++) {
        if (strcmp(word, w->stop[i].word) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_stop_here(const struct walk *w, const struct place *at) {
    switch (w->mode) {
    case STATEMENT_SET:
        return at->entry || (at->node->type == NODE_CONTAINER && at->node->presence);
    case STATEMENT_DELETE:
    case STATEMENT_SHOW:
        return true;
    case STATEMENT_EDIT:
        return at->node->type == NODE_CONTAINER || at->entry;
    case STATEMENT_ENTRY:
    case STATEMENT_NEW:
        return at->entry;
    }
    return false;
}

static bool offered(const struct walk *w, const struct node *n) {
    if (!n->config || n->is_key || n->type == NODE_ANYDATA || n->type == NODE_RPC ||
        n->type == NODE_NOTIFICATION) {
        return false;
    }
    bool leaf = n->type == NODE_LEAF || n->type == NODE_LEAF_LIST;
    switch (w->mode) {
    case STATEMENT_EDIT:
        return !leaf;
    case STATEMENT_ENTRY:
    case STATEMENT_NEW:
        return n->type != NODE_LEAF;
    default:
        return true;
    }
}

/* Children of `n` as options, plus the words that end the statement. */
static struct option *child_options(struct walk *w, const struct node *n, bool stops,
                                    size_t *count) {
    struct arena *a = w->p->arena;
    struct option *o = arena_alloc(a, (n->n_children + w->n_stop + 1) * sizeof *o);
    size_t k = 0;
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (!offered(w, c)) {
            continue;
        }
        bool twin = false; /* the same name from another module */
        for (size_t j = 0; j < n->n_children && !twin; j++) {
            twin = j != i && n->children[j]->config && strcmp(n->children[j]->name, c->name) == 0;
        }
        o[k].word = twin ? arena_printf(a, "%s:%s", c->module, c->name) : c->name;
        o[k].help = c->deprecated_since != NULL ? arena_printf(a, "%s (deprecated since %s)",
                                                               c->description, c->deprecated_since)
                                                : c->description;
        o[k++].ptr = c;
    }
    for (size_t i = 0; stops && i < w->n_stop; i++) {
        o[k] = w->stop[i];
        o[k++].ptr = NULL;
    }
    *count = k;
    return o;
}

static bool read_keys(struct walk *w, struct place *at) {
    struct parse *p = w->p;
    struct list_at l = {.list = at->node, .path = at->path};
    w->out->parent = at->path;
    for (size_t k = 0; k < at->node->n_keys; k++) {
        l.key = k;
        struct option o = {.leaf = at->node->keys[k],
                           .help = at->node->keys[k]->description,
                           .values = suggest_entries,
                           .ptr = &l};
        /* Whole lists may be deleted and shown. */
        if (k == 0 && (w->mode == STATEMENT_DELETE || w->mode == STATEMENT_SHOW) &&
            (at_stop(w) || parse_may_end(p))) {
            return true;
        }
        if (parse_pick(p, &o, 1) < 0) {
            return false;
        }
        l.given[k] = p->value;
        at->path = join_key(p->arena, at->path, k == 0, p->value);
    }
    at->entry = true;
    return true;
}

static bool read_leaf_list(struct walk *w, const struct place *at) {
    struct parse *p = w->p;
    struct list_at l = {.list = at->node, .path = at->path};
    struct option o[] = {
        {.leaf = at->node, .help = at->node->description, .values = suggest_entries, .ptr = &l},
        {.word = "[", .help = "Several values, closed by ]"},
    };
    struct place value = *at;
    w->out->parent = at->path;
    value.entry = true;
    if (w->mode != STATEMENT_SET) {
        if ((w->mode == STATEMENT_DELETE || w->mode == STATEMENT_SHOW) && parse_may_end(p)) {
            return true;
        }
        if (w->mode == STATEMENT_SHOW) {
            return parse_end(p);
        }
        if (parse_pick(p, o, 1) < 0) {
            return false;
        }
        value.path = join_key(p->arena, at->path, true, p->value);
        w->out->at = value;
        return true;
    }
    o[0].values = NULL;
    int i = parse_pick(p, o, 2);
    if (i == 0) {
        value.path = join_key(p->arena, at->path, true, p->value);
        w->out->at = value;
        add_value(w, &value, NULL);
        return true;
    }
    if (i < 0) {
        return false;
    }
    o[1] = (struct option){.word = "]", .help = "End of the values"};
    while ((i = parse_pick(p, o, 2)) == 0) {
        value.path = join_key(p->arena, at->path, true, p->value);
        w->out->at = value;
        add_value(w, &value, NULL);
    }
    return i == 1;
}

static bool read_leaf(struct walk *w, const struct place *at) {
    struct parse *p = w->p;
    if (w->mode != STATEMENT_SET) {
        return true; /* a leaf is deleted or shown without its value */
    }
    if (at->node->base == BASE_EMPTY) {
        add_value(w, at, "");
        return true;
    }
    if (at->node->secret && !p->completing && !parse_more(p)) {
        w->out->ask_secret = true;
        return true;
    }
    struct option o = {.leaf = at->node, .help = at->node->description};
    if (parse_pick(p, &o, 1) < 0) {
        return false;
    }
    add_value(w, at, p->value);
    return true;
}

bool statement_parse(struct parse *p, enum statement_mode mode, const struct place *start,
                     const struct option *stop, size_t n_stop, struct statement *out) {
    struct walk w = {.p = p, .mode = mode, .stop = stop, .n_stop = n_stop, .out = out};
    memset(out, 0, sizeof *out);
    out->at = *start;
    out->parent = start->path;
    struct place at = *start; /* the container or entry whose children may come */
    bool pending = false;     /* an entry or presence container not added yet */
    for (bool first = true;; first = false) {
        bool stops = (!first && may_stop_here(&w, &out->at)) || (!first && out->n_values > 0) ||
                     (first && (mode == STATEMENT_DELETE || mode == STATEMENT_SHOW));
        if (stops && (at_stop(&w) || parse_may_end(p))) {
            break;
        }
        /* After a leaf only `set` goes on, with its siblings. */
        if (!first && mode != STATEMENT_SET && out->at.path != at.path) {
            if (n_stop == 0 && !parse_end(p)) {
                return false;
            }
            break; /* what else may come is the caller's */
        }
        size_t n;
        struct option *o = child_options(&w, at.node, stops, &n);
        if (n == 0) {
            if (!parse_here(p) && !parse_more(p)) {
                return parse_fail(p, p->at, ERR_MISSING,
                                  "there is nothing here that could be named");
            }
            return parse_end(p);
        }
        int i = parse_pick(p, o, n);
        if (i < 0) {
            return false;
        }
        const struct node *c = o[i].ptr;
        if (c == NULL) { /* an abbreviated stop word: the caller's */
            p->at--;
            break;
        }
        struct place child = {c, join(p->arena, at.path, c), false};
        out->parent = at.path;
        out->at = child;
        switch (c->type) {
        case NODE_LEAF:
            pending = false;
            if (!read_leaf(&w, &child)) {
                return false;
            }
            break;
        case NODE_LEAF_LIST:
            pending = false;
            if (!read_leaf_list(&w, &child)) {
                return false;
            }
            break;
        case NODE_LIST:
            if (!read_keys(&w, &child)) {
                return false;
            }
            out->at = at = child;
            pending = true;
            break;
        default:
            at = child;
            pending = c->presence;
            break;
        }
        if (out->ask_secret) {
            break;
        }
    }
    if (mode == STATEMENT_SET && pending) {
        add_value(&w, &out->at, NULL);
    }
    return true;
}

bool insertion_parse(struct parse *p, const struct place *start, struct insertion *out) {
    static const struct option where[] = {{.word = "after", .help = "Behind another one"},
                                          {.word = "before", .help = "In front of another one"}};
    if (!statement_parse(p, STATEMENT_ENTRY, start, where, 2, &out->what)) {
        return false;
    }
    int side = parse_pick(p, where, 2);
    if (side < 0) {
        return false;
    }
    out->before = side == 1;
    const struct node *list = out->what.at.node;
    if (!list->user_ordered) {
        return parse_fail(p, p->at - 1, ERR_UNSUPPORTED, "%s is sorted by itself", list->name);
    }
    /* The neighbour is named by the list and its keys, or by the keys alone. */
    const char *word = parse_peek(p);
    struct option name = {.word = list->name, .help = list->description};
    if ((parse_here(p) || (word != NULL && strcmp(word, list->name) == 0)) &&
        parse_pick(p, &name, 1) < 0) {
        return false;
    }
    struct list_at l = {.list = list, .path = out->what.parent};
    out->point = out->what.parent;
    for (size_t k = 0; k < (list->type == NODE_LIST ? list->n_keys : 1); k++) {
        l.key = k;
        struct option o = {.leaf = list->type == NODE_LIST ? list->keys[k] : list,
                           .help = "The one that it is moved next to",
                           .values = suggest_entries,
                           .ptr = &l};
        if (parse_pick(p, &o, 1) < 0) {
            return false;
        }
        l.given[k] = p->value;
        out->point = join_key(p->arena, out->point, k == 0, p->value);
    }
    return true;
}

/* ---- places ------------------------------------------------------------------------------------
 */

struct place place_up(struct arena *a, const struct place *pl) {
    if (pl->node->type == NODE_ROOT) {
        return *pl;
    }
    const char *slash = strrchr(pl->path, '/'); /* blanks and slashes in keys are encoded */
    const struct node *up = pl->node->parent;
    if (slash == pl->path || up == NULL || up->type == NODE_ROOT) {
        return (struct place){model_root(), "/", false};
    }
    return (struct place){up, arena_strndup(a, pl->path, (size_t)(slash - pl->path)),
                          up->type == NODE_LIST};
}

static void add_decoded(struct buf *out, const char *p, size_t n) {
    struct buf value = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (p[i] == '%' && i + 2 < n && sscanf(p + i + 1, "%2x", &byte) == 1) {
            buf_char(&value, (char)byte);
            i += 2;
        } else {
            buf_char(&value, p[i]);
        }
    }
    buf_char(out, ' ');
    text_word(out, buf_cstr(&value));
    buf_free(&value);
}

void place_words(const struct model *m, const char *path, struct buf *out) {
    (void)m;
    size_t start = out->len;
    while (*path == '/') {
        const char *end = strchrnul(path + 1, '/');
        const char *name = path + 1;
        size_t n = (size_t)(end - name);
        const char *eq = memchr(name, '=', n);
        size_t len = eq ? (size_t)(eq - name) : n;
        const char *colon = memchr(name, ':', len);
        if (colon != NULL) {
            len -= (size_t)(colon + 1 - name);
            name = colon + 1;
        }
        if (len > 0) {
            buf_str(out, out->len > start ? " " : "");
            buf_add(out, name, len);
        }
        while (eq != NULL && eq < end) {
            const char *comma = memchr(eq + 1, ',', (size_t)(end - eq - 1));
            comma = comma ? comma : end;
            add_decoded(out, eq + 1, (size_t)(comma - eq - 1));
            eq = comma;
        }
        path = end;
    }
}

/* Length of the instance path at the beginning of `p`; 0: there is none. */
static size_t path_here(const struct model *m, const char *p) {
    size_t n = *p == '/' ? strcspn(p, " \n\"'()<>;") : 0;
    while (n > 1 && strchr(",.:", p[n - 1]) != NULL) {
        n--;
    }
    if (n < 2) {
        return 0;
    }
    struct arena *a = arena_new();
    struct target t;
    struct err e;
    bool ok = path_parse(m, arena_strndup(a, p, n), a, &t, &e) == ERR_OK;
    arena_free(a);
    return ok ? n : 0;
}

void place_text(const struct model *m, const char *text, struct buf *out) {
    for (const char *p = text; *p != '\0';) {
        bool begins = p == text || strchr(" \n\"'(", p[-1]) != NULL;
        size_t n = begins ? path_here(m, p) : 0;
        if (n > 0) {
            char *path = mem_strndup(p, n);
            place_words(m, path, out);
            mem_free(path);
            p += n;
        } else {
            buf_char(out, *p++);
        }
    }
}
