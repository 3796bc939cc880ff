// SPDX-License-Identifier: Apache-2.0
#include "core/go_back.h"

#include "core/core.h"

struct going {
    const struct model *model;
    struct snap *to; /* owned: replaced at each object */
    struct buf *said;
    struct err *e;
    enum err_code rc;
};

static void put(struct going *g, const struct kind *k, const char *path, const struct object *o) {
    struct snap *s = o != NULL ? snap_put(g->to, o) : snap_del(g->to, k, path);
    snap_release(g->to);
    g->to = s;
}

static void say_what_is_gone(struct going *g, const struct doc *was, const struct doc *d) {
    const struct node *n = d->kind->node;
    if (g->said == NULL || doc_equal(was, d)) {
        return;
    }
    buf_printf(g->said, "%s comes back without ", d->path);
    bool first = true;
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->no_history && c->returns_as == NULL) {
            buf_printf(g->said, "%s%s", first ? "" : ", ", c->name);
            first = false;
        }
    }
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (c->returns_as != NULL) {
            buf_printf(g->said, "; %s is %s", c->name, c->returns_as);
        }
    }
    buf_char(g->said, '\n');
}

static void one_object(const struct object *now, const struct object *then, void *arg) {
    struct going *g = arg;
    const struct kind *k = (now != NULL ? now : then)->doc->kind;
    if (g->rc != ERR_OK || !k->no_history) {
        return;
    }
    if (k->node->no_history) {
        put(g, k, (now != NULL ? now : then)->doc->path, now);
        return;
    }
    if (then == NULL) {
        return; /* it goes, with all it has */
    }
    struct doc *d = NULL;
    g->rc = doc_go_back(g->model, then->doc, now != NULL ? now->doc : NULL, &d, g->e);
    if (g->rc == ERR_OK && !doc_equal(d, then->doc)) {
        struct object *o = object_new(d, then->owner, then->created, then->modified);
        put(g, k, d->path, o);
        object_release(o);
    }
    if (g->rc == ERR_OK && now == NULL) {
        say_what_is_gone(g, then->doc, d);
    }
    doc_drop(d);
}

/* What was kept goes where it would refer to what is not there. */
static void drop_dangling(struct going *g, const struct snap *now) {
    size_t n_kinds;
    const struct kind *const *kinds = model_kinds(&n_kinds);
    for (size_t i = 0; i < n_kinds; i++) {
        if (!kinds[i]->node->no_history || kinds[i]->n_refs == 0) {
            continue;
        }
        for (const struct object *o = snap_first_of(now, kinds[i]);
             o != NULL && o->doc->kind == kinds[i]; o = snap_next(now, o)) {
            for (size_t r = 0; r < o->doc->n_refs; r++) {
                if (snap_get(g->to, o->doc->refs[r].target) == NULL) {
                    put(g, kinds[i], o->doc->path, NULL);
                    break;
                }
            }
        }
    }
}

enum err_code snap_go_back(const struct model *m, const struct snap *now, struct snap **then,
                           struct buf *said, struct err *e) {
    struct going g = {m, snap_hold(*then), said, e, ERR_OK};
    snap_diff(now, *then, one_object, &g);
    if (g.rc != ERR_OK) {
        snap_release(g.to);
        return g.rc;
    }
    drop_dangling(&g, now);
    snap_release(*then);
    *then = g.to;
    return ERR_OK;
}
