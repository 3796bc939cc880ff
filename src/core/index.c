// SPDX-License-Identifier: Apache-2.0
/* Which objects have a value in a leaf that is marked weft:index. An index over the writer's tree,
 * as those of refs.c: it changes with each object, so that undoing a change undoes this too. */
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

static char *key_of(const struct node *leaf, const char *value) {
    return mem_printf("%u=%s", leaf->id, value);
}

static void drop(struct core *c, const char *key, const char *path) {
    struct map *m = map_get(&c->by_value, key);
    if (m == NULL) {
        return;
    }
    map_del(m, path);
    if (m->count == 0) {
        map_del(&c->by_value, key);
        map_free(m, NULL);
        mem_free(m);
    }
}

static void add(struct core *c, const char *key, const char *path) {
    struct map *m = map_get(&c->by_value, key);
    if (m == NULL) {
        m = MEM_NEW(struct map);
        map_put(&c->by_value, key, m);
    }
    map_put(m, path, m); /* the value stands for nothing */
}

static void each_value(struct core *c, const struct object *o,
                       void (*fn)(struct core *c, const char *key, const char *path)) {
    const struct kind_index *ki = &c->indexes[o->doc->kind->id];
    struct arena *a = ki->n > 0 ? arena_new() : NULL;
    for (size_t i = 0; i < ki->n; i++) {
        const char *value = doc_value(c->model, o->doc, ki->v[i].path, a);
        if (value != NULL) {
            char *key = key_of(ki->v[i].leaf, value);
            fn(c, key, o->doc->path);
            mem_free(key);
        }
    }
    arena_free(a);
}

void index_swap(struct core *c, const struct object *old, const struct object *new_) {
    if (old != NULL) {
        each_value(c, old, drop);
    }
    if (new_ != NULL) {
        each_value(c, new_, add);
    }
}

void txn_lookup(struct txn *t, const struct node *leaf, const char *value,
                void (*fn)(const struct object *o, void *arg), void *arg) {
    char *key = key_of(leaf, value);
    struct map *m = map_get(&t->core->by_value, key);
    mem_free(key);
    if (m == NULL) {
        return;
    }
    MAP_FOREACH (e, m) {
        fn(txn_get(t, e->key), arg);
    }
}

static void free_paths(void *p) {
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
    map_free(&c->by_value, free_paths);
}
