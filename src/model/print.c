// SPDX-License-Identifier: Apache-2.0
/*
 * Walks what is to be shown in schema order and hands it to a sink. Above objects nothing is held:
 * the view is asked for one object after the other.
 */
#include <string.h>

#include "model/internal.h"
#include "model/print_sink.h"

/* One name of a fields expression; no `inner`: all of it. */
struct field {
    const struct node *node;
    struct field *inner, *next;
};

struct printing {
    const struct model *m;
    const struct model_view *view;
    const struct model_state *state;
    const struct print_options *o;
    const char *wanted;
    struct sink sink;
    struct arena *a;
    struct err *e;
    bool one_leaf; /* the target is a leaf that is shown whatever `defaults` says */
};

/* ---- fields (RFC 8040 section 4.8.3) ----------------------------------------------------------
 */

static enum err_code parse_fields(const struct node *n, const char **p, unsigned depth,
                                  struct arena *a, struct field **out, struct err *e) {
    struct field **tail = out;
    if (depth > MODEL_DEPTH_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "The fields expression is nested too deep.");
    }
    for (;;) {
        const struct node *at = n;
        struct field **where = tail, *last = NULL;
        for (;;) {
            size_t len = strcspn(*p, "/;()");
            const struct node *c = len > 0 ? node_child(at, *p, len) : NULL;
            if (c == NULL) {
                return err_set(e, ERR_INVALID, NULL, "fields: \"%.*s\" is unknown in %s.",
                               (int)(len > 60 ? 60 : len), *p,
                               at->name[0] != '\0' ? at->name : "the datastore");
            }
            last = arena_alloc(a, sizeof *last);
            last->node = at = c;
            *where = last;
            where = &last->inner;
            *p += len;
            if (**p != '/') {
                break;
            }
            ++*p;
        }
        if (**p == '(') {
            ++*p;
            ERR_TRY(parse_fields(at, p, depth + 1, a, &last->inner, e));
            if (**p != ')') {
                return err_set(e, ERR_INVALID, NULL, "fields: a ) is missing.");
            }
            ++*p;
        }
        tail = &(*tail)->next;
        if (**p != ';') {
            return ERR_OK;
        }
        ++*p;
    }
}

/* False: this child is not asked for. `inner`: what is asked for below it, NULL for all. */
static bool asked(const struct field *f, const struct node *c, const struct field **inner) {
    *inner = NULL;
    if (f == NULL || c->is_key) {
        return true;
    }
    /* Alternatives for one node, "a/b;a/c", are chained by the caller of merge_fields. */
    for (; f != NULL; f = f->next) {
        if (f->node == c) {
            *inner = f->inner;
            return true;
        }
    }
    return false;
}

/* "a/b;a/c" means a(b;c): brings alternatives of the same name together. */
static void merge_fields(struct field *f) {
    for (; f != NULL; f = f->next) {
        struct field **p = &f->next;
        while (*p != NULL) {
            if ((*p)->node != f->node) {
                p = &(*p)->next;
                continue;
            }
            struct field *other = *p;
            *p = other->next;
            if (f->inner == NULL || other->inner == NULL) {
                f->inner = NULL;
            } else {
                struct field *end = f->inner;
                while (end->next != NULL) {
                    end = end->next;
                }
                end->next = other->inner;
            }
        }
        merge_fields(f->inner);
    }
}

/* ---- trees ------------------------------------------------------------------------------------
 */

static enum err_code walk_members(struct printing *p, const struct node *n, const json_t *tree,
                                  const char *path, const struct field *f, unsigned level);

static bool too_deep(const struct printing *p, unsigned level) {
    return p->o->depth > 0 && level > p->o->depth;
}

static bool reports_defaults(const struct printing *p) {
    return p->o->defaults == WD_REPORT_ALL || p->o->defaults == WD_REPORT_ALL_TAGGED;
}

static bool default_shown(const struct node *parent, const struct node *c, const json_t *tree) {
    if (c->choice == NULL) {
        return true;
    }
    for (size_t i = 0; tree != NULL && i < parent->n_children; i++) {
        const struct node *x = parent->children[i];
        if (x->choice == c->choice && tree_get(tree, parent, x) != NULL) {
            return strcmp(x->case_name, c->case_name) == 0;
        }
    }
    return c->choice->default_case != NULL && strcmp(c->choice->default_case, c->case_name) == 0;
}

static void walk_leaf(struct printing *p, const struct node *n, const struct node *c,
                      const json_t *tree, const json_t *v) {
    struct buf tmp = BUF_INIT;
    bool wants = p->o->content != CONTENT_NONCONFIG || !c->config || c->is_key;
    bool has_default = c->default_value != NULL || c->n_default_values > 0;
    if (!wants || (c->terminal && !p->o->terminal)) {
        return;
    }
    if (v == NULL) {
        bool asked_for = p->one_leaf || reports_defaults(p);
        if (asked_for && has_default && c->config && default_shown(n, c, tree)) {
            json_t *d;
            if (c->type == NODE_LEAF) {
                d = value_to_json(c->base, c->default_value, strlen(c->default_value));
                sink_leaf(&p->sink, c, d, true);
            } else {
                d = json_array();
                for (size_t i = 0; i < c->n_default_values; i++) {
                    json_array_append_new(d, value_to_json(c->base, c->default_values[i],
                                                           strlen(c->default_values[i])));
                }
                sink_leaf_list(&p->sink, c, d, true);
            }
            json_decref(d);
        }
        return;
    }
    if (c->type == NODE_LEAF_LIST) {
        sink_leaf_list(&p->sink, c, v, false);
        return;
    }
    bool is_default =
        c->default_value != NULL && strcmp(value_text(v, &tmp), c->default_value) == 0;
    if (!(is_default && p->o->defaults == WD_TRIM && !c->is_key && !p->one_leaf)) {
        sink_leaf(&p->sink, c, v, is_default);
    }
    buf_free(&tmp);
}

static enum err_code walk_entry(struct printing *p, const struct node *n, const json_t *entry,
                                struct buf *path, const struct field *f, unsigned level) {
    size_t mark = path->len;
    tree_add_entry(path, n, entry);
    char *at = mem_strdup(buf_cstr(path));
    sink_entry(&p->sink, n, entry);
    enum err_code rc = walk_members(p, n, entry, at, f, level + 1);
    sink_close(&p->sink);
    mem_free(at);
    path->len = mark;
    return rc;
}

static enum err_code walk_child(struct printing *p, const struct node *n, const struct node *c,
                                const json_t *tree, const json_t *v, const char *path,
                                const struct field *f, unsigned level) {
    if (node_is_leaf(c)) {
        walk_leaf(p, n, c, tree, v);
        return p->sink.rc;
    }
    if (c->type == NODE_ANYDATA) {
        return ERR_OK;
    }
    struct buf below = BUF_INIT;
    buf_str(&below, path);
    path_add_node(&below, c);
    enum err_code rc = ERR_OK;
    if (c->type == NODE_CONTAINER) {
        bool there = v != NULL || !c->presence;
        if (there &&
            (v != NULL || reports_defaults(p) || c->owner == NULL || c->owner->has_state)) {
            sink_container(&p->sink, c,
                           v != NULL && (c->presence || (p->o->depth > 0 && level == p->o->depth)));
            rc = walk_members(p, c, v, buf_cstr(&below), f, level + 1);
            sink_close(&p->sink);
        }
    } else if (v != NULL) {
        sink_list(&p->sink, c);
        for (size_t i = 0; i < json_array_size(v) && rc == ERR_OK; i++) {
            rc = walk_entry(p, c, json_array_get(v, i), &below, f, level);
        }
        sink_close(&p->sink);
    }
    buf_free(&below);
    return rc != ERR_OK ? rc : p->sink.rc;
}

/* Asks for the state at a place where configuration ends. NULL tree: nothing there. */
static enum err_code state_tree(struct printing *p, const struct node *c, const char *path,
                                json_t **out) {
    struct buf json = BUF_INIT;
    json_t *raw = NULL;
    enum err_code rc;
    *out = NULL;
    bool provider = p->state != NULL && p->state->get != NULL;
    rc = provider ? p->state->get(p->state->arg, c, path, p->wanted, &json, p->e) : ERR_ABSENT;
    if (rc != ERR_OK && strcmp(c->module, "ietf-yang-library") == 0) {
        /* A dialect that can say where the modules' texts are has answered itself. */
        buf_clear(&json);
        model_yang_library(strcmp(c->name, "modules-state") == 0, &json);
        rc = ERR_OK;
    }
    if (rc == ERR_ABSENT || (rc == ERR_OK && json.len == 0)) {
        buf_free(&json);
        return ERR_OK;
    }
    if (rc == ERR_OK) {
        rc = tree_parse((const char *)json.data, json.len, MODEL_BODY_MAX, &raw, p->e);
    }
    if (rc == ERR_OK && (c->type == NODE_LIST || c->type == NODE_LEAF_LIST)) {
        json_t *all = json_array();
        for (size_t i = 0; i < json_array_size(raw) && rc == ERR_OK; i++) {
            json_t *v = NULL;
            rc = tree_check(p->m, c, json_array_get(raw, i), TREE_STATE | TREE_TRUSTED, path, &v,
                            p->e);
            if (rc == ERR_OK) {
                json_array_append_new(all, v);
            }
        }
        *out = all;
    } else if (rc == ERR_OK) {
        rc = tree_check(p->m, c, raw, TREE_STATE | TREE_TRUSTED, path, out, p->e);
    }
    if (rc != ERR_OK) {
        json_decref(*out);
        *out = NULL;
    }
    json_decref(raw);
    buf_free(&json);
    return rc;
}

static enum err_code walk_state(struct printing *p, const struct node *n, const struct node *c,
                                const char *path, const struct field *f, unsigned level) {
    json_t *v = NULL;
    struct buf at = BUF_INIT;
    if (p->o->content == CONTENT_CONFIG) {
        return ERR_OK;
    }
    buf_str(&at, strcmp(path, "/") == 0 ? "" : path);
    path_add_node(&at, c);
    enum err_code rc = state_tree(p, c, buf_cstr(&at), &v);
    if (rc == ERR_OK && v != NULL) {
        rc = walk_child(p, n, c, NULL, v, path, f, level);
    }
    json_decref(v);
    buf_free(&at);
    return rc;
}

static enum err_code walk_members(struct printing *p, const struct node *n, const json_t *tree,
                                  const char *path, const struct field *f, unsigned level) {
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n->n_children && rc == ERR_OK; i++) {
        const struct node *c = n->children[i];
        const struct field *inner;
        if (!asked(f, c, &inner) || (too_deep(p, level) && !c->is_key)) {
            continue;
        }
        if (!c->config && n->config && n->type != NODE_INPUT) {
            rc = walk_state(p, n, c, path, inner, level);
        } else {
            rc = walk_child(p, n, c, tree, tree != NULL ? tree_get(tree, n, c) : NULL, path, inner,
                            level);
        }
    }
    return rc;
}

/* ---- objects and above ------------------------------------------------------------------------
 */

static enum err_code walk_object(struct printing *p, const struct doc *d, const struct field *f,
                                 unsigned level) {
    json_t *tree = doc_tree(d);
    const struct node *n = d->kind->node;
    if (n->type == NODE_LIST) {
        sink_entry(&p->sink, n, tree);
    } else {
        sink_container(&p->sink, n, true);
    }
    enum err_code rc = walk_members(p, n, tree, d->path, f, level + 1);
    sink_close(&p->sink);
    json_decref(tree);
    return rc != ERR_OK ? rc : p->sink.rc;
}

static enum err_code walk_kind(struct printing *p, const struct kind *k, const struct field *f,
                               unsigned level) {
    enum err_code rc = ERR_OK;
    if (k->n_keys > 0) {
        sink_list(&p->sink, k->node);
    }
    struct doc *d = p->view->next(p->view->arg, k, NULL);
    while (d != NULL) {
        rc = walk_object(p, d, f, level);
        struct doc *next = rc == ERR_OK ? p->view->next(p->view->arg, k, d) : NULL;
        doc_drop(d);
        d = next;
    }
    if (k->n_keys > 0) {
        sink_close(&p->sink);
    }
    return rc;
}

static enum err_code walk_above(struct printing *p, const struct node *n, const char *path,
                                const struct field *f, unsigned level) {
    enum err_code rc = ERR_OK;
    struct buf below = BUF_INIT;
    for (size_t i = 0; i < n->n_children && rc == ERR_OK; i++) {
        const struct node *c = n->children[i];
        const struct field *inner;
        if (!asked(f, c, &inner) || too_deep(p, level)) {
            continue;
        }
        if (!c->config) {
            rc = walk_state(p, n, c, path, inner, level);
        } else if (c->kind != NULL) {
            bool skip = p->o->content == CONTENT_NONCONFIG && !c->kind->has_state;
            rc = skip ? ERR_OK : walk_kind(p, c->kind, inner, level);
        } else if (c->type == NODE_CONTAINER) {
            buf_clear(&below);
            buf_str(&below, strcmp(path, "/") == 0 ? "" : path);
            path_add_node(&below, c);
            char *at = mem_strdup(buf_cstr(&below));
            sink_container(&p->sink, c, p->o->depth > 0 && level == p->o->depth);
            rc = walk_above(p, c, at, inner, level + 1);
            sink_close(&p->sink);
            mem_free(at);
        }
    }
    buf_free(&below);
    return rc;
}

/* ---- targets ----------------------------------------------------------------------------------
 */

/* From a tree down the steps; NULL: not there. */
static const json_t *descend(const json_t *v, const struct node *from, const struct step *s,
                             size_t n) {
    struct buf tmp = BUF_INIT;
    for (size_t i = 0; i < n && v != NULL; i++) {
        v = tree_get(v, from, s[i].node);
        from = s[i].node;
        if (v == NULL || s[i].n_keys == 0) {
            continue;
        }
        const json_t *found = NULL;
        for (size_t k = 0; k < json_array_size(v) && found == NULL; k++) {
            const json_t *entry = json_array_get(v, k);
            bool same = true;
            for (size_t q = 0; q < s[i].n_keys && same; q++) {
                const json_t *x =
                    from->type == NODE_LEAF_LIST ? entry : tree_get(entry, from, from->keys[q]);
                same = x != NULL && strcmp(value_text(x, &tmp), s[i].keys[q]) == 0;
            }
            found = same ? entry : NULL;
        }
        v = found;
    }
    buf_free(&tmp);
    return v;
}

/* Are all steps that lead to nothing plain containers, which are there without a trace, so that the
 * defaults inside are in use (RFC 8040 3.5.4)? */
static bool only_plain(const json_t *v, const struct node *from, const struct step *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        v = v != NULL ? descend(v, from, &s[i], 1) : NULL;
        from = s[i].node;
        if (v == NULL && (from->type != NODE_CONTAINER || from->presence)) {
            return false;
        }
    }
    return true;
}

/* The value of the target itself, which is no object and not above one. */
static enum err_code print_value(struct printing *p, const struct target *t, const struct step *s,
                                 const struct node *parent, const json_t *owner, const json_t *v,
                                 const struct field *f) {
    const struct node *n = t->node;
    p->one_leaf = p->o->in_use && node_is_leaf(n) && !t->entry;
    bool has_default = n->default_value != NULL || n->n_default_values > 0;
    bool wanted = p->one_leaf || (n->type == NODE_LEAF && reports_defaults(p));
    if (v == NULL && !(wanted && has_default && n->config && default_shown(parent, n, owner))) {
        return err_set(p->e, ERR_ABSENT, t->path, "There is no such %s.", n->name);
    }
    if (n->type == NODE_LEAF_LIST && t->entry) {
        json_t *one = json_array();
        json_array_append(one, (json_t *)(uintptr_t)v);
        sink_leaf_list(&p->sink, n, one, false);
        json_decref(one);
        return p->sink.rc;
    }
    if (node_is_leaf(n)) {
        walk_leaf(p, parent, n, owner, v);
        return p->sink.rc;
    }
    bool bare = p->o->format == FORMAT_TEXT; /* curly text shows what is inside */
    enum err_code rc;
    if (n->type == NODE_CONTAINER) {
        if (bare) {
            sink_silent(&p->sink, n, NULL);
        } else {
            sink_container(&p->sink, n, true);
        }
        rc = walk_members(p, n, v, t->path, f, 2);
        sink_close(&p->sink);
        return rc;
    }
    if (t->entry) {
        if (bare) {
            sink_silent(&p->sink, n, v);
        } else {
            sink_list(&p->sink, n);
            sink_entry(&p->sink, n, v);
        }
        rc = walk_members(p, n, v, t->path, f, 2);
        sink_close(&p->sink);
        if (!bare) {
            sink_close(&p->sink);
        }
        return rc;
    }
    struct buf path = BUF_INIT;
    buf_str(&path, t->path);
    rc = ERR_OK;
    sink_list(&p->sink, n);
    for (size_t i = 0; i < json_array_size(v) && rc == ERR_OK; i++) {
        rc = walk_entry(p, n, json_array_get(v, i), &path, f, 1);
    }
    sink_close(&p->sink);
    buf_free(&path);
    return rc;
}

/* Set lines name the whole way, so the steps above the target are entered silently. */
static void enter_silently(struct printing *p, const struct steps *steps, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct step *s = &steps->v[i];
        json_t *entry = NULL;
        if (s->n_keys > 0) {
            /* kept by the arena's owner: a tiny object per step */
            entry = json_object();
            for (size_t k = 0; k < s->n_keys; k++) {
                tree_set_new(entry, s->node, s->node->keys[k], json_string(s->keys[k]));
            }
        }
        sink_silent(&p->sink, s->node, entry);
        if (p->o->format != FORMAT_SET) {
            /* names at the top are qualified whatever is above them */
            p->sink.frames[p->sink.n].node = NULL;
        }
        json_decref(entry);
    }
}

static void state_path(const struct steps *steps, size_t n, struct buf *out) {
    for (size_t i = 0; i < n; i++) {
        path_add_node(out, steps->v[i].node);
        for (size_t k = 0; k < steps->v[i].n_keys; k++) {
            path_add_key(out, k == 0, steps->v[i].keys[k]);
        }
    }
}

static enum err_code print_state_target(struct printing *p, const struct target *t,
                                        const struct steps *steps, const struct field *f) {
    size_t top = 0;
    struct buf path = BUF_INIT;
    json_t *v = NULL;
    while (steps->v[top].node->config) {
        top++;
    }
    if (t->object != NULL) {
        struct doc *d = p->view->get(p->view->arg, t->object);
        if (d == NULL) {
            return err_set(p->e, ERR_ABSENT, t->object, "There is no such object.");
        }
        doc_drop(d);
    }
    state_path(steps, top, &path);
    path_add_node(&path, steps->v[top].node);
    enum err_code rc = state_tree(p, steps->v[top].node, buf_cstr(&path), &v);
    if (rc == ERR_OK) {
        /* A list's value is the array of its entries: put it where descend looks for it. */
        const struct node *parent = steps->v[top].node->parent;
        json_t *holder = json_object();
        if (v != NULL) {
            tree_set_new(holder, parent, steps->v[top].node, json_incref(v));
        }
        const json_t *at = descend(holder, parent, &steps->v[top], steps->n - top);
        rc = print_value(p, t, &steps->v[steps->n - 1], t->node->parent, NULL, at, f);
        json_decref(holder);
    }
    json_decref(v);
    buf_free(&path);
    return rc;
}

static enum err_code print_target(struct printing *p, const struct target *t,
                                  const struct steps *steps, const struct field *f) {
    bool bare = p->o->format == FORMAT_TEXT;
    enum err_code rc;
    if (!t->node->config) {
        return print_state_target(p, t, steps, f);
    }
    if (t->object == NULL) {
        if (t->node->type == NODE_ROOT) {
            return walk_above(p, t->node, "/", f, 1);
        }
        if (t->node->kind != NULL) {
            return walk_kind(p, t->node->kind, f, 1);
        }
        if (bare) {
            sink_silent(&p->sink, t->node, NULL);
        } else {
            sink_container(&p->sink, t->node, p->o->format != FORMAT_SET);
        }
        rc = walk_above(p, t->node, t->path, f, 2);
        sink_close(&p->sink);
        return rc;
    }
    struct doc *d = p->view->get(p->view->arg, t->object);
    if (d == NULL) {
        return err_set(p->e, ERR_ABSENT, t->object, "There is no such %s.", t->kind->short_name);
    }
    json_t *tree = doc_tree(d);
    if (t->is_object) {
        rc = print_value(p, t, &steps->v[steps->n - 1], t->node->parent, NULL, tree, f);
    } else {
        size_t first = 0;
        while (steps->v[first].node->kind == NULL) {
            first++;
        }
        const json_t *owner =
            descend(tree, t->kind->node, &steps->v[first + 1], steps->n - first - 2);
        const json_t *v =
            owner != NULL ? descend(owner, t->node->parent, &steps->v[steps->n - 1], 1) : NULL;
        rc = owner == NULL &&
                     !only_plain(tree, t->kind->node, &steps->v[first + 1], steps->n - first - 2)
                 ? err_set(p->e, ERR_ABSENT, t->path, "There is no such %s.", t->node->name)
                 : print_value(p, t, &steps->v[steps->n - 1], t->node->parent, owner, v, f);
    }
    json_decref(tree);
    doc_drop(d);
    return rc;
}

enum err_code model_print(const struct model *m, const struct model_view *view,
                          const struct model_state *state, const char *target,
                          const struct print_options *o, model_write write, void *arg,
                          struct err *e) {
    struct target t;
    struct steps steps;
    struct field *fields = NULL;
    struct arena *a = arena_new();
    enum err_code rc;
    struct printing *p = MEM_NEW(struct printing);
    ERR_GOTO(rc, path_steps(m, target, a, &steps, e), out);
    ERR_GOTO(rc, path_parse(m, target, a, &t, e), out);
    if (o->fields != NULL) {
        const char *s = o->fields;
        rc = parse_fields(t.node, &s, 0, a, &fields, e);
        if (rc == ERR_OK && *s != '\0') {
            rc = err_set(e, ERR_INVALID, NULL, "fields: \"%.60s\" is not understood.", s);
        }
        if (rc != ERR_OK) {
            goto out;
        }
        merge_fields(fields);
    }
    p->m = m;
    p->view = view;
    p->state = state;
    p->o = o;
    p->wanted = t.path;
    p->a = a;
    p->e = e;
    sink_init(&p->sink, o, write, arg, e);
    /* Nothing has been written before the target was found: an error leaves no half answer. */
    if (o->wrap != NULL) {
        sink_cover(&p->sink, o->wrap, o->wrap_ns, NULL);
    }
    if (o->format == FORMAT_SET && steps.n > 0) {
        enter_silently(p, &steps, steps.n - 1);
    }
    rc = print_target(p, &t, &steps, fields);
    while (p->sink.n > 0) {
        sink_close(&p->sink);
    }
    if (rc == ERR_OK) {
        rc = sink_end(&p->sink);
    } else {
        p->sink.rc = rc;
        sink_end(&p->sink);
    }
out:
    arena_free(a);
    mem_free(p);
    return rc;
}

enum err_code model_write_buf(void *arg, const char *p, size_t n, struct err *e) {
    buf_add(arg, p, n);
    return ERR_OK;
}

enum err_code print_tree(const struct model *m, const struct node *n, const json_t *tree,
                         const char *path, const struct print_options *o, struct buf *out,
                         struct err *e) {
    struct printing *p = MEM_NEW(struct printing);
    p->m = m;
    p->o = o;
    p->e = e;
    p->wanted = path;
    sink_init(&p->sink, o, model_write_buf, out, e);
    if (o->wrap != NULL) {
        sink_cover(&p->sink, o->wrap, o->wrap_ns, n);
    } else {
        sink_silent(&p->sink, n, NULL);
    }
    enum err_code rc = walk_members(p, n, tree, path, NULL, 1);
    sink_close(&p->sink);
    enum err_code end = sink_end(&p->sink);
    mem_free(p);
    return rc != ERR_OK ? rc : end;
}

void print_member(const struct node *n, const json_t *v, enum model_format format,
                  const struct buf *words, struct buf *out) {
    struct print_options o = {.format = format};
    struct printing *p = MEM_NEW(struct printing);
    p->o = &o;
    sink_init(&p->sink, &o, model_write_buf, out, NULL);
    sink_silent(&p->sink, NULL, NULL);
    buf_add(&p->sink.words, words->data, words->len);
    walk_child(p, n->parent, n, NULL, v, "", NULL, 1);
    sink_close(&p->sink);
    sink_end(&p->sink);
    mem_free(p);
}

enum err_code doc_print(const struct model *m, const struct doc *d, const struct print_options *o,
                        struct buf *out, struct err *e) {
    struct printing *p = MEM_NEW(struct printing);
    struct print_options config = *o;
    config.content = CONTENT_CONFIG;
    config.wrap = NULL;
    p->m = m;
    p->o = &config;
    p->e = e;
    p->wanted = d->path;
    const struct node *n = d->kind->node;
    enum err_code rc;
    sink_init(&p->sink, &config, model_write_buf, out, e);
    if (o->format == FORMAT_JSON) {
        json_t *tree = doc_tree(d);
        sink_silent(&p->sink, n, tree);
        rc = walk_members(p, n, tree, d->path, NULL, 1);
        sink_close(&p->sink);
        json_decref(tree);
    } else {
        const struct node *up[MODEL_DEPTH_MAX];
        size_t k = 0;
        for (const struct node *x = n->parent; x->type != NODE_ROOT && k < MODEL_DEPTH_MAX;
             x = x->parent) {
            up[k++] = x;
        }
        for (size_t i = k; o->format == FORMAT_SET && i-- > 0;) {
            sink_silent(&p->sink, up[i], NULL);
        }
        rc = walk_object(p, d, NULL, 1);
        while (p->sink.n > 0) {
            sink_close(&p->sink);
        }
    }
    enum err_code end = sink_end(&p->sink);
    mem_free(p);
    return rc != ERR_OK ? rc : end;
}
