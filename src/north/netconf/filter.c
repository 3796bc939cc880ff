// SPDX-License-Identifier: Apache-2.0
#include "north/netconf/filter.h"

#include <string.h>

#include "north/netconf/edit.h"

static size_t trim(const char **s) {
    static const char blank[] = " \t\r\n";
    *s += strspn(*s, blank);
    size_t n = strlen(*s);
    while (n > 0 && strchr(blank, (*s)[n - 1]) != NULL) {
        n--;
    }
    return n;
}

static bool is_match(const struct dom *f) { /* a content match node */
    const char *s = f->text;
    return f->child == NULL && trim(&s) > 0;
}

static bool has_attribute(const struct dom *f) {
    for (const struct dom_attr *a = f->attrs; a != NULL; a = a->next) {
        if (a->ns[0] == '\0') {
            return true; /* no data here has attributes, so it matches none */
        }
    }
    return false;
}

static bool same_name(const struct dom *f, const struct dom *d) {
    return strcmp(f->name, d->name) == 0 && (f->ns[0] == '\0' || strcmp(f->ns, d->ns) == 0);
}

static bool same_text(const struct dom *f, const struct dom *d) {
    const char *a = f->text, *b = d->text;
    size_t n = trim(&a), m = trim(&b);
    return n == m && memcmp(a, b, n) == 0;
}

struct nc_filters nc_filters_below(const struct nc_filters *from, const struct node *parent,
                                   const struct node *child, struct arena *a) {
    struct nc_filters out = {.all = from->all};
    for (size_t i = 0; i < from->n && !out.all; i++) {
        const struct dom *f = from->v[i];
        out.all = f->child == NULL && !is_match(f) && parent->type != NODE_ROOT;
        for (const struct dom *c = f->child; c != NULL && !out.all; c = c->next) {
            if (nc_node(parent, c) != child || has_attribute(c)) {
                continue;
            }
            const struct dom **v = arena_alloc(a, (out.n + 1) * sizeof *v);
            if (out.n > 0) {
                memcpy(v, out.v, out.n * sizeof *v);
            }
            v[out.n++] = c;
            out.v = v;
        }
    }
    return out;
}

static bool mark_one(struct dom *d, const struct node *node, const struct dom *f, unsigned depth);

/* All content match nodes of `f` must be true. */
static bool matches(const struct dom *d, const struct dom *f) {
    for (const struct dom *c = f->child; c != NULL; c = c->next) {
        bool found = !is_match(c);
        for (const struct dom *e = d->child; e != NULL && !found; e = e->next) {
            found = e->child == NULL && same_name(c, e) && same_text(c, e);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void mark_keys(struct dom *d, const struct node *node) {
    for (struct dom *c = d->child; c != NULL && node != NULL; c = c->next) {
        const struct node *n = nc_node(node, c);
        if (n != NULL && n->is_key) {
            c->mark = DOM_ALL;
        }
    }
}

static bool mark_children(struct dom *d, const struct node *node, const struct dom *f,
                          unsigned depth) {
    bool any = false;
    for (struct dom *c = d->child; c != NULL; c = c->next) {
        const struct node *n = node != NULL ? nc_node(node, c) : NULL;
        for (const struct dom *fc = f->child; fc != NULL; fc = fc->next) {
            if (same_name(fc, c)) {
                any |= mark_one(c, n, fc, depth + 1);
            }
        }
    }
    return any;
}

static bool mark_one(struct dom *d, const struct node *node, const struct dom *f, unsigned depth) {
    if (has_attribute(f) || depth > DOM_DEPTH_MAX) {
        return false;
    }
    if (f->child == NULL) {
        if (is_match(f) && !(d->child == NULL && same_text(f, d))) {
            return false;
        }
        d->mark = DOM_ALL;
        return true;
    }
    if (!matches(d, f)) {
        return false;
    }
    bool only_matches = true;
    for (const struct dom *c = f->child; c != NULL; c = c->next) {
        only_matches &= is_match(c);
    }
    if (only_matches) {
        d->mark = DOM_ALL;
        return true;
    }
    if (!mark_children(d, node, f, depth)) {
        return false;
    }
    if (d->mark == 0) {
        d->mark = DOM_SOME;
    }
    mark_keys(d, node);
    return true;
}

bool nc_filter_mark(struct dom *d, const struct node *node, const struct nc_filters *f) {
    if (f->all) {
        d->mark = DOM_ALL;
        return true;
    }
    bool any = false;
    for (size_t i = 0; i < f->n; i++) {
        any |= mark_one(d, node, f->v[i], 0);
    }
    return any;
}

bool nc_filter_keep(const struct dom *child, void *arg) {
    (void)arg;
    if (child->parent != NULL && child->parent->mark == DOM_ALL) {
        ((struct dom *)(uintptr_t)child)->mark = DOM_ALL; /* for its own children */
    }
    return child->mark != 0;
}

const char *nc_filter_key(const struct dom *f, const struct node *list, size_t k, struct arena *a) {
    for (const struct dom *c = f->child; c != NULL; c = c->next) {
        if (is_match(c) && nc_node(list, c) == list->keys[k]) {
            const char *s = c->text;
            size_t n = trim(&s);
            return arena_strndup(a, s, n);
        }
    }
    return NULL;
}
