// SPDX-License-Identifier: Apache-2.0
/* Who refers to whom, and who made whom. Indexes over the writer's tree. */
#include <string.h>

#include "core/internal.h"

static void add(struct map *index, const char *to, const char *from, const char *at) {
    struct map *m = map_get(index, to);
    if (m == NULL) {
        m = MEM_NEW(struct map);
        map_put(index, to, m);
    }
    mem_free(map_put(m, from, mem_strdup(at)));
}

static void drop(struct map *index, const char *to, const char *from) {
    struct map *m = map_get(index, to);
    if (m == NULL) {
        return;
    }
    mem_free(map_del(m, from));
    if (m->count == 0) {
        map_free(m, NULL);
        mem_free(map_del(index, to));
    }
}

void refs_swap(struct core *c, const struct object *old, const struct object *new_) {
    if (old != NULL) {
        for (size_t i = 0; i < old->doc->n_refs; i++) {
            drop(&c->referrers, old->doc->refs[i].target, old->doc->path);
        }
        if (old->owner != NULL) {
            drop(&c->made, old->owner, old->doc->path);
        }
    }
    if (new_ != NULL) {
        for (size_t i = 0; i < new_->doc->n_refs; i++) {
            add(&c->referrers, new_->doc->refs[i].target, new_->doc->path, new_->doc->refs[i].at);
        }
        if (new_->owner != NULL) {
            add(&c->made, new_->owner, new_->doc->path, "");
        }
    }
}

static void free_inner(void *p) {
    map_free(p, mem_free);
    mem_free(p);
}

void refs_free(struct core *c) {
    map_free(&c->referrers, free_inner);
    map_free(&c->made, free_inner);
}

const char *refs_referrer(struct core *c, const char *path, const char **at) {
    struct map *m = map_get(&c->referrers, path);
    size_t pos;
    struct map_entry *e = m ? map_first(m, &pos) : NULL;
    if (e != NULL && at != NULL) {
        *at = e->value;
    }
    return e ? e->key : NULL;
}

void refs_each_made(struct core *c, const char *owner, void (*fn)(const char *path, void *arg),
                    void *arg) {
    struct map *m = map_get(&c->made, owner);
    if (m == NULL) {
        return;
    }
    /* fn may delete what it is shown, and with it entries of this very map: work on a copy. */
    size_t n = 0;
    char **paths = mem_alloc(m->count * sizeof *paths);
    MAP_FOREACH (e, m) {
        paths[n++] = mem_strdup(e->key);
    }
    for (size_t i = 0; i < n; i++) {
        fn(paths[i], arg);
        mem_free(paths[i]);
    }
    mem_free(paths);
}

enum err_code refs_check(struct txn *t, struct err *e) {
    struct core *c = t->core;
    for (size_t i = 0; i < t->n_changes; i++) {
        const struct object *o = t->changes[i].new_;
        if (o != NULL && o->owner != NULL && snap_get(c->tip, o->owner) == NULL) {
            return err_set(e, ERR_REFERENCE, o->doc->path, "was made by %s, which does not exist",
                           o->owner);
        }
        for (size_t k = 0; o != NULL && k < o->doc->n_refs; k++) {
            const struct doc_ref *r = &o->doc->refs[k];
            if (snap_get(c->tip, r->target) == NULL) {
                return err_tag(e,
                               err_set(e, ERR_REFERENCE, r->at,
                                       "refers to %s, which does not exist", r->target),
                               "instance-required", NULL);
            }
        }
        if (o == NULL) {
            const char *at = "", *from;
            const char *path = t->changes[i].old->doc->path;
            if (snap_get(c->tip, path) == NULL && (from = refs_referrer(c, path, &at)) != NULL) {
                return err_set(e, ERR_IN_USE, path, "can't be deleted: %s refers to it", at);
            }
        }
    }
    return ERR_OK;
}
