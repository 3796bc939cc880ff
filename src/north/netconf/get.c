// SPDX-License-Identifier: Apache-2.0
#include "north/netconf/get.h"

#include <string.h>

#include "core/rights.h"
#include "north/netconf/filter.h"

struct walk {
    const struct nc_get *g;
    struct print_options options;
    struct model_view view;
    model_write write;
    void *arg;
    struct err *e;
    struct arena *a;                         /* of filters */
    const struct node *chain[DOM_DEPTH_MAX]; /* containers on the way */
    size_t n_chain, n_open;                  /* of them written already */
    struct buf chunk, out;
};

/* ---- what may be seen -------------------------------------------------------------------------
 */

static struct doc *seen_get(void *arg, const char *path) {
    const struct nc_get *g = arg;
    const struct object *o = snap_get(g->snap, path);
    return o != NULL && rights_allow(g->rights, g->who, RIGHT_READ, path) ? doc_hold(o->doc) : NULL;
}

static struct doc *seen_next(void *arg, const struct kind *k, const struct doc *after) {
    const struct nc_get *g = arg;
    const struct object *o;
    if (after == NULL) {
        o = snap_first_of(g->snap, k);
    } else {
        struct object probe = {.doc = (struct doc *)(uintptr_t)after};
        o = snap_next(g->snap, &probe);
    }
    while (o != NULL && o->doc->kind == k &&
           !rights_allow(g->rights, g->who, RIGHT_READ, o->doc->path)) {
        o = snap_next(g->snap, o);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void open_tag(const struct node *n, const struct node *outer, struct buf *out) {
    const struct module_info *m = model_module(n->module);
    if (outer == NULL || strcmp(outer->module, n->module) != 0) {
        buf_printf(out, "<%s xmlns=\"%s\">", n->name, m != NULL ? m->ns : "");
    } else {
        buf_printf(out, "<%s>", n->name);
    }
}

static void open_all(struct walk *w) {
    unsigned depth = w->g->shape.depth;
    size_t n = depth > 0 && depth < w->n_chain ? depth : w->n_chain;
    for (; w->n_open < n; w->n_open++) {
        open_tag(w->chain[w->n_open], w->n_open > 0 ? w->chain[w->n_open - 1] : NULL, &w->out);
    }
}

static enum err_code flush(struct walk *w) {
    enum err_code rc = ERR_OK;
    if (w->out.len > 0) {
        rc = w->write(w->arg, (const char *)w->out.data, w->out.len, w->e);
        buf_clear(&w->out);
    }
    return rc;
}

static void leave(struct walk *w) {
    if (w->n_open == w->n_chain) {
        buf_printf(&w->out, "</%s>", w->chain[--w->n_open]->name);
    }
    w->n_chain--;
}

/* What the filters leave of the element in w->chunk. */
static enum err_code by_filter(struct walk *w, const struct node *n, const struct nc_filters *f) {
    struct arena *a = arena_new();
    struct dom *d;
    enum err_code rc = dom_parse(w->chunk.data, w->chunk.len, a, &d, w->e);
    if (rc == ERR_OK && nc_filter_mark(d, n, f)) {
        open_all(w);
        dom_print_data(d, nc_filter_keep, NULL, &w->out);
    }
    arena_free(a);
    return rc;
}

static enum err_code by_xpath(struct walk *w) {
    struct buf whole = BUF_INIT, left = BUF_INIT;
    for (size_t i = 0; i < w->n_chain; i++) {
        open_tag(w->chain[i], i > 0 ? w->chain[i - 1] : NULL, &whole);
    }
    buf_add(&whole, w->chunk.data, w->chunk.len);
    for (size_t i = w->n_chain; i-- > 0;) {
        buf_printf(&whole, "</%s>", w->chain[i]->name);
    }
    enum err_code rc =
        model_xpath(w->g->model, w->g->xpath, buf_cstr(&whole), (unsigned)w->n_chain, &left, w->e);
    if (rc == ERR_OK && left.len > 0) {
        open_all(w);
        buf_add(&w->out, left.data, left.len);
    }
    buf_free(&whole);
    buf_free(&left);
    return rc;
}

/* What is wanted of the chunk's nodes; it is empty when that is nothing. */
static enum err_code shape(struct walk *w, const struct node *n) {
    struct arena *a = arena_new();
    struct dom *d;
    enum err_code rc = dom_parse(w->chunk.data, w->chunk.len, a, &d, w->e);
    if (rc == ERR_OK) {
        buf_clear(&w->chunk);
        if (nc_shape(&w->g->shape, d, n, (unsigned)w->n_chain + 1, a)) {
            dom_print_data(d, NULL, NULL, &w->chunk);
        }
    }
    arena_free(a);
    return rc;
}

/* One object, or one piece of state outside objects. */
static enum err_code print_one(struct walk *w, const struct node *n, const char *path,
                               const struct nc_filters *f) {
    buf_clear(&w->chunk);
    struct err why;
    enum err_code rc = model_print(w->g->model, &w->view, w->g->state, path, &w->options,
                                   model_write_buf, &w->chunk, &why);
    if (rc == ERR_ABSENT || (rc == ERR_OK && w->chunk.len == 0)) {
        return ERR_OK;
    }
    if (rc != ERR_OK) {
        *w->e = why;
        return rc;
    }
    if (w->g->shape.depth > 0 && w->n_chain >= w->g->shape.depth && f->all && w->g->xpath == NULL) {
        open_all(w); /* there is something, but only the way to it is wanted */
        return flush(w);
    }
    if (nc_shape_nodes(&w->g->shape)) {
        ERR_TRY(shape(w, n));
        if (w->chunk.len == 0) {
            return ERR_OK;
        }
    }
    if (!f->all) {
        ERR_TRY(by_filter(w, n, f));
    } else if (w->g->xpath != NULL) {
        ERR_TRY(by_xpath(w));
    } else {
        open_all(w);
        buf_add(&w->out, w->chunk.data, w->chunk.len);
    }
    return flush(w);
}

/* ---- walking ----------------------------------------------------------------------------------
 */

/* The filters name entries by their keys: only those are looked for. False: some don't. */
static bool by_keys(struct walk *w, const struct node *n, const struct nc_filters *f,
                    enum err_code *rc) {
    if (f->all || n->n_keys == 0 || n->type != NODE_LIST) {
        return false;
    }
    const char **paths = arena_alloc(w->a, f->n * sizeof *paths);
    for (size_t i = 0; i < f->n; i++) {
        const char *keys[MODEL_KEYS_MAX];
        for (size_t k = 0; k < n->n_keys; k++) {
            struct buf canonical = BUF_INIT;
            const char *key = nc_filter_key(f->v[i], n, k, w->a);
            if (key == NULL) {
                return false;
            }
            /* what is no value of the type names nothing */
            bool ok =
                value_check(w->g->model, n->keys[k], key, strlen(key), &canonical, NULL) == ERR_OK;
            keys[k] = ok ? arena_strdup(w->a, buf_cstr(&canonical)) : NULL;
            buf_free(&canonical);
            if (!ok) {
                break;
            }
        }
        bool whole = true;
        for (size_t k = 0; k < n->n_keys && whole; k++) {
            whole = keys[k] != NULL;
        }
        struct buf path = BUF_INIT;
        if (whole) {
            path_object(n->kind, keys, &path);
        }
        paths[i] = whole ? arena_strdup(w->a, buf_cstr(&path)) : NULL;
        buf_free(&path);
    }
    *rc = ERR_OK;
    for (size_t i = 0; i < f->n && *rc == ERR_OK; i++) {
        bool again = false;
        for (size_t j = 0; j < i && paths[i] != NULL && !again; j++) {
            again = paths[j] != NULL && strcmp(paths[i], paths[j]) == 0;
        }
        if (paths[i] != NULL && !again) {
            *rc = print_one(w, n, paths[i], f);
        }
    }
    return true;
}

static enum err_code objects(struct walk *w, const struct node *n, const struct nc_filters *f) {
    enum err_code rc = ERR_OK;
    if (by_keys(w, n, f, &rc)) {
        return rc;
    }
    struct doc *d = w->view.next(w->view.arg, n->kind, NULL);
    while (d != NULL && rc == ERR_OK) {
        rc = print_one(w, n, d->path, f);
        struct doc *next = rc == ERR_OK ? w->view.next(w->view.arg, n->kind, d) : NULL;
        doc_drop(d);
        d = next;
    }
    doc_drop(d);
    return rc;
}

static enum err_code children(struct walk *w, const struct node *parent, const char *path,
                              const struct nc_filters *f);

static enum err_code child(struct walk *w, const struct node *parent, const char *path,
                           const struct node *n, const struct nc_filters *f) {
    struct nc_filters below = nc_filters_below(f, parent, n, w->a);
    if (n->type == NODE_RPC || n->type == NODE_NOTIFICATION || (!below.all && below.n == 0)) {
        return ERR_OK;
    }
    if (n->kind != NULL) { /* which has no state inside */
        return w->g->only == NC_ONLY_STATE ? ERR_OK : objects(w, n, &below);
    }
    if (!n->config && (w->g->state == NULL || w->g->only == NC_ONLY_CONFIG)) {
        return ERR_OK;
    }
    struct buf here = BUF_INIT;
    buf_str(&here, path);
    path_add_node(&here, n);
    enum err_code rc;
    if (n->config && n->type == NODE_CONTAINER) {
        w->chain[w->n_chain++] = n;
        rc = children(w, n, buf_cstr(&here), &below);
        leave(w);
    } else {
        rc = rights_allow_below(w->g->rights, w->g->who, RIGHT_READ, buf_cstr(&here))
                 ? print_one(w, n, buf_cstr(&here), &below)
                 : ERR_OK;
    }
    buf_free(&here);
    return rc;
}

static enum err_code children(struct walk *w, const struct node *parent, const char *path,
                              const struct nc_filters *f) {
    if (w->n_chain >= DOM_DEPTH_MAX - 1) {
        return ERR_OK; /* the model is not that deep */
    }
    for (size_t i = 0; i < parent->n_children; i++) {
        ERR_TRY(child(w, parent, path, parent->children[i], f));
    }
    return ERR_OK;
}

enum err_code nc_get_print(const struct nc_get *g, model_write write, void *arg, struct err *e) {
    struct walk w = {.g = g, .write = write, .arg = arg, .e = e};
    w.options = (struct print_options){.format = FORMAT_XML,
                                       .defaults = g->defaults,
                                       .content = g->state == NULL || g->only == NC_ONLY_CONFIG
                                                      ? CONTENT_CONFIG
                                                  : g->only == NC_ONLY_STATE ? CONTENT_NONCONFIG
                                                                             : CONTENT_ALL};
    if (g->state == NULL && g->only == NC_ONLY_STATE) {
        return ERR_OK; /* a datastore of configuration has no state */
    }
    if (g->defaults == WD_REPORT_ALL && nc_shape_nodes(&g->shape)) {
        w.options.defaults = WD_REPORT_ALL_TAGGED; /* what is a default has another origin */
    }
    w.a = arena_new();
    w.view = (struct model_view){seen_get, seen_next, (void *)(uintptr_t)g};
    struct nc_filters root = {.v = (const struct dom **)(uintptr_t)&g->filter,
                              .n = g->filter != NULL,
                              .all = g->filter == NULL};
    enum err_code rc = children(&w, model_root(), "", &root);
    if (rc == ERR_OK) {
        rc = flush(&w);
    }
    buf_free(&w.chunk);
    buf_free(&w.out);
    arena_free(w.a);
    return rc;
}

/* ---- XPath ------------------------------------------------------------------------------------
 */

static const struct module_info *module_of(const char *ns) {
    size_t n;
    const struct module_info *all = model_modules(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].ns, ns) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* Literals stay as they are. */
enum err_code nc_xpath_modules(const struct dom *at, const char *text, struct buf *out,
                               struct err *e) {
    for (const char *p = text; *p != '\0';) {
        if (*p == '\'' || *p == '"') {
            const char *end = strchr(p + 1, *p);
            if (end == NULL) {
                return err_set(e, ERR_INVALID, NULL, "the XPath expression has an open literal");
            }
            buf_add(out, p, (size_t)(end + 1 - p));
            p = end + 1;
        } else if (name_char(*p)) {
            size_t n = 0;
            while (name_char(p[n])) {
                n++;
            }
            if (p[n] == ':' && p[n + 1] != ':') {
                const char *ns = dom_prefix(at, p, n);
                const struct module_info *m = ns != NULL ? module_of(ns) : NULL;
                if (m == NULL) {
                    return err_set(e, ERR_INVALID, NULL,
                                   "the XPath expression has the unknown prefix %.*s",
                                   (int)(n > 64 ? 64 : n), p);
                }
                buf_printf(out, "%s:", m->name);
                n++;
            } else {
                buf_add(out, p, n);
            }
            p += n;
        } else {
            buf_char(out, *p++);
        }
    }
    return ERR_OK;
}

/* Reads "module:name" or "name" of a child of `parent`. */
static const struct node *step_node(const struct node *parent, const char **p) {
    size_t n = 0;
    while (name_char((*p)[n]) || (*p)[n] == ':') {
        n++;
    }
    const struct node *c = n > 0 ? node_child(parent, *p, n) : NULL;
    *p += n;
    return c;
}

static struct dom *element(const struct node *n, struct dom *parent, struct arena *a) {
    struct dom *d = arena_alloc(a, sizeof *d);
    const struct module_info *m = model_module(n->module);
    d->name = n->name;
    d->ns = m != NULL ? m->ns : "";
    d->text = "";
    d->parent = parent;
    if (parent->last_child == NULL) {
        parent->child = parent->last_child = d;
    } else {
        parent->last_child->next = d;
        parent->last_child = d;
    }
    return d;
}

/* "/a:b/c[d='e']/f" as a subtree filter; NULL: it is something else. */
static const struct dom *simple(const char *p, struct arena *a) {
    struct dom *root = arena_alloc(a, sizeof *root), *at = root;
    const struct node *n = model_root();
    root->name = "filter";
    root->ns = NS_NETCONF;
    root->text = "";
    bool last_has_keys = false;
    while (*p == '/') {
        p++;
        n = step_node(n, &p);
        if (n == NULL) {
            return NULL;
        }
        at = element(n, at, a);
        last_has_keys = false;
        while (*p == '[') {
            p++;
            const struct node *k = step_node(n, &p);
            if (k == NULL || !k->is_key || *p++ != '=' || (*p != '\'' && *p != '"')) {
                return NULL;
            }
            const char *end = strchr(p + 1, *p);
            if (end == NULL || end[1] != ']' || end == p + 1) {
                return NULL;
            }
            struct dom *key = element(k, at, a);
            key->text = arena_strndup(a, p + 1, (size_t)(end - p - 1));
            p = end + 2;
            last_has_keys = true;
        }
    }
    (void)last_has_keys; /* an entry with nothing but keys in its filter is shown whole */
    return *p == '\0' && at != root ? root : NULL;
}

enum err_code nc_xpath(const struct model *m, const struct dom *at, const char *text,
                       struct arena *a, const struct dom **subtree, const char **expr,
                       struct err *e) {
    struct buf out = BUF_INIT;
    enum err_code rc = nc_xpath_modules(at, text, &out, e);
    if (rc == ERR_OK) {
        *expr = arena_strndup(a, buf_cstr(&out), out.len);
        *subtree = simple(*expr, a);
        if (*subtree != NULL) {
            *expr = NULL;
        } else {
            rc = model_xpath_check(*expr, e);
        }
    }
    buf_free(&out);
    return rc;
}
