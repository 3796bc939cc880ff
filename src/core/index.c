// SPDX-License-Identifier: Apache-2.0
/* Indexes over leaves that are marked weft:index: which objects have a value. As refs.c, over the
 * writer's tree, changed with each object, so that undoing a change undoes this too. */
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

struct indexed {
    const struct node *leaf;
    char *path; /* inside the object */
};
struct kind_index {
    struct indexed *v;
    size_t n;
};

static void collect(struct kind_index *ki, const struct node *parent, const char *above) {
    for (size_t i = 0; i < parent->n_children; i++) {
        const struct node *n = parent->children[i];
        if (n->type == NODE_LEAF && n->index) {
            ki->v = mem_array(ki->v, ki->n + 1, sizeof *ki->v);
            ki->v[ki->n++] = (struct indexed){n, mem_printf("%s%s", above, n->name)};
        } else if (n->type == NODE_CONTAINER) {
            char *path = mem_printf("%s%s/", above, n->name);
            collect(ki, n, path);
            mem_free(path);
        }
    }
}

void index_start(struct core *c) {
    size_t n;
    const struct kind *const *kinds = model_kinds(&n);
    c->indexes = mem_alloc((n + 1) * sizeof *c->indexes);
    for (size_t i = 0; i < n; i++) {
        collect(&c->indexes[kinds[i]->id], kinds[i]->node, "");
    }
}

static void key_of(struct buf *key, const struct node *leaf, const char *value) {
    buf_clear(key);
    buf_printf(key, "%u=%s", leaf->id, value);
}

static void each_value(struct core *c, const struct object *o, bool there) {
    const struct kind_index *ki = &c->indexes[o->doc->kind->id];
    if (ki->n == 0) {
        return;
    }
    struct arena *a = arena_new();
    struct buf key = BUF_INIT;
    for (size_t i = 0; i < ki->n; i++) {
        const char *value = doc_value(c->model, o->doc, ki->v[i].path, a);
        if (value == NULL) {
            continue;
        }
        key_of(&key, ki->v[i].leaf, value);
        struct map *m = map_get(&c->by_value, buf_cstr(&key));
        if (there && m == NULL) {
            m = MEM_NEW(struct map);
            map_put(&c->by_value, buf_cstr(&key), m);
        }
        if (there) {
            map_put(m, o->doc->path, c);
        } else if (m != NULL) {
            map_del(m, o->doc->path);
            if (m->count == 0) {
                map_free(m, NULL);
                mem_free(map_del(&c->by_value, buf_cstr(&key)));
            }
        }
    }
    buf_free(&key);
    arena_free(a);
}

void index_swap(struct core *c, const struct object *old, const struct object *new_) {
    if (old != NULL) {
        each_value(c, old, false);
    }
    if (new_ != NULL) {
        each_value(c, new_, true);
    }
}

void txn_lookup(struct txn *t, const struct node *leaf, const char *value,
                void (*fn)(const struct object *o, void *arg), void *arg) {
    struct core *c = t->core;
    struct buf key = BUF_INIT;
    key_of(&key, leaf, value);
    struct map *m = map_get(&c->by_value, buf_cstr(&key));
    buf_free(&key);
    if (m == NULL) {
        return;
    }
    MAP_FOREACH (e, m) {
        const struct object *o = snap_find(c->tip, leaf->owner, e->key);
        if (o != NULL) {
            fn(o, arg);
        }
    }
}

static void free_map(void *p) {
    map_free(p, NULL);
    mem_free(p);
}

void index_free(struct core *c) {
    size_t n;
    model_kinds(&n);
    for (size_t i = 0; c->indexes != NULL && i < n; i++) {
        for (size_t k = 0; k < c->indexes[i].n; k++) {
            mem_free(c->indexes[i].v[k].path);
        }
        mem_free(c->indexes[i].v);
    }
    mem_free(c->indexes);
    map_free(&c->by_value, free_map);
}
