// SPDX-License-Identifier: Apache-2.0
/* XPath filters of configuration and state, on one object with its ancestors at a time. */
#include "model/xpath.h"

#include <libyang/libyang.h>
#include <string.h>

#include "model/internal.h"

static enum err_code compile(const char *expr, struct arena *a, const struct xpath **x,
                             struct err *e) {
    if (strlen(expr) > MODEL_XPATH_MAX) {
        return err_set(e, ERR_INVALID, NULL, "An XPath expression has at most %d bytes.",
                       MODEL_XPATH_MAX);
    }
    ERR_TRY(xpath_compile(expr, a, x, e));
    return xpath_is_set(*x) ? ERR_OK
                            : err_set(e, ERR_INVALID, NULL,
                                      "The XPath expression selects no nodes: its value "
                                      "is a number, a text or a truth.");
}

enum err_code model_xpath_check(const char *expr, struct err *e) {
    struct arena *a = arena_new();
    const struct xpath *x;
    enum err_code rc = compile(expr, a, &x, e);
    arena_free(a);
    return rc;
}

static void add(struct xpath_document *d, uint32_t parent, struct lyd_node *n) {
    struct xpath_node x = {.name = n->schema->name, .module = n->schema->module->name, .origin = n};
    if ((n->schema->nodetype & LYD_NODE_TERM) != 0) {
        xpath_add_leaf(d, parent, &x, lyd_get_value(n));
        return;
    }
    uint32_t id = xpath_add(d, parent, &x);
    for (struct lyd_node *c = lyd_child(n); c != NULL; c = c->next) {
        add(d, id, c);
    }
    d->v[id].end = d->n;
}

static bool is_key(const struct xpath_node *n) {
    const struct lyd_node *l = n->origin;
    return l != NULL && lysc_is_key(l->schema);
}

/* Marks what is selected, what is below it, and the way to it with the keys of its lists. */
static char *mark(const struct xpath_document *d, const uint32_t *ids, size_t n) {
    enum { WAY = 1, WHOLE = 2 };
    char *marks = arena_alloc(d->a, d->n);
    memset(marks, 0, d->n);
    for (size_t i = 0; i < n; i++) {
        /* a text is its leaf */
        uint32_t id = d->v[ids[i]].text != NULL ? d->v[ids[i]].parent : ids[i];
        marks[id] = WHOLE;
        while (id != 0 && marks[d->v[id].parent] == 0) {
            id = d->v[id].parent;
            marks[id] = WAY;
        }
    }
    for (uint32_t i = 1; i < d->n; i++) { /* those above were looked at before */
        char up = marks[d->v[i].parent];
        if (up == WHOLE || (up == WAY && marks[i] == 0 && is_key(&d->v[i]))) {
            marks[i] = WHOLE;
        }
    }
    return marks;
}

/* Frees what has no mark. */
static void prune(const struct xpath_document *d, const char *marks) {
    for (uint32_t i = 1; i < d->n;) {
        if (marks[i] == 0 && d->v[i].origin != NULL) {
            lyd_free_tree(d->v[i].origin);
            i = d->v[i].end;
        } else {
            i++;
        }
    }
}

static void print(const struct lyd_node *n, struct buf *out) {
    char *text = NULL;
    if (lyd_print_mem(&text, n, LYD_XML, LYD_PRINT_SHRINK | LYD_PRINT_WD_EXPLICIT) == LY_SUCCESS &&
        text != NULL) {
        buf_str(out, text);
    }
    free(text);
}

enum err_code model_xpath(const struct model *m, const char *expr, const char *xml, unsigned depth,
                          struct buf *out, struct err *e) {
    struct lyd_node *tree = NULL;
    struct xpath_document d = {.a = arena_new()};
    const struct xpath *x;
    const uint32_t *ids;
    size_t n;
    enum err_code rc = compile(expr, d.a, &x, e);
    if (rc == ERR_OK &&
        lyd_parse_data_mem(m->ctx, xml, LYD_XML, LYD_PARSE_ONLY, 0, &tree) != LY_SUCCESS) {
        rc =
            err_set(e, ERR_INTERNAL, NULL, "what is filtered can't be read: %s", ly_errmsg(m->ctx));
    }
    if (rc != ERR_OK) {
        goto out;
    }
    xpath_add(&d, 0, &(struct xpath_node){.name = NULL});
    for (struct lyd_node *t = tree; t != NULL; t = t->next) {
        add(&d, 0, t);
    }
    d.v[0].end = d.n;
    uint32_t top = 0; /* the element itself is the first one below each other */
    for (unsigned i = 0; i <= depth && top + 1 < d.n; i++) {
        top++;
    }
    if (!xpath_select(x, &d, &ids, &n)) {
        rc = err_set(e, ERR_TOO_BIG, NULL, "The XPath expression takes too long to evaluate.");
    } else if (n > 0 && tree != NULL) {
        const char *marks = mark(&d, ids, n);
        if (marks[top] != 0) {
            prune(&d, marks);
            print(d.v[top].origin, out);
        }
    }
out:
    lyd_free_all(tree);
    xpath_document_free(&d);
    return rc;
}
