// SPDX-License-Identifier: Apache-2.0
#include "north/netconf/shape.h"

#include <string.h>

#include "north/netconf/edit.h"

static bool is_default(const struct dom *d) {
    const char *v = dom_attr(d, NS_DEFAULT, "default");
    return v != NULL && strcmp(v, "true") == 0;
}

static void untag(struct dom *d) {
    for (struct dom_attr **p = &d->attrs; *p != NULL;) {
        if (strcmp((*p)->ns, NS_DEFAULT) == 0) {
            *p = (*p)->next;
        } else {
            p = &(*p)->next;
        }
    }
    for (struct dom_ns **p = &d->declared; *p != NULL;) {
        if (strcmp((*p)->uri, NS_DEFAULT) == 0) {
            *p = (*p)->next;
        } else {
            p = &(*p)->next;
        }
    }
}

/* What is below has the same unless it says otherwise (RFC 7952, RFC 8342 5.3.4). */
static void set_origin(struct dom *d, const char *origin, struct arena *a) {
    struct dom_attr *attr = arena_alloc(a, sizeof *attr);
    *attr = (struct dom_attr){.ns = NS_ORIGIN, .name = "origin", .value = origin, .next = d->attrs};
    d->attrs = attr;
}

/* True: something besides keys is left below `d`. */
static bool children(const struct nc_shape *s, struct dom *d, const struct node *n, unsigned depth,
                     struct arena *a) {
    bool any = false;
    struct dom *c = d->child;
    d->child = d->last_child = NULL;
    while (c != NULL) {
        struct dom *next = c->next;
        const struct node *is = nc_node(n, c);
        if (is == NULL || nc_shape(s, c, is, depth + 1, a)) {
            c->next = NULL;
            *(d->last_child != NULL ? &d->last_child->next : &d->child) = c;
            d->last_child = c;
            any |= is == NULL || !is->is_key;
        }
        c = next;
    }
    return any;
}

bool nc_shape(const struct nc_shape *s, struct dom *d, const struct node *n, unsigned depth,
              struct arena *a) {
    bool leaf = n->type == NODE_LEAF || n->type == NODE_LEAF_LIST, by_default = is_default(d);
    if (s->depth > 0 && depth > s->depth) {
        return false;
    }
    bool config = n->config;
    bool keep = !config || n->is_key || (leaf && !(by_default ? s->no_default : s->no_intended));
    if (!leaf) {
        bool any = children(s, d, n, depth, a);
        keep = !config || any || !s->no_intended;
    }
    if (s->origins && config && (by_default || d->parent == NULL)) {
        set_origin(d, by_default ? "or:default" : "or:intended", a);
    }
    if (!s->tags) {
        untag(d);
    }
    return keep;
}
