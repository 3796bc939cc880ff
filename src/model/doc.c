// SPDX-License-Identifier: Apache-2.0
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "model/internal.h"

struct doc *doc_hold(const struct doc *d) {
    struct doc *w = (struct doc *)(uintptr_t)d; /* only the counter is ever changed */
    atomic_fetch_add_explicit(&w->count, 1, memory_order_relaxed);
    return w;
}

void doc_drop(struct doc *d) {
    if (d != NULL && atomic_fetch_sub_explicit(&d->count, 1, memory_order_acq_rel) == 1) {
        mem_free(d);
    }
}

bool doc_equal(const struct doc *a, const struct doc *b) {
    return a == b || (a != NULL && b != NULL && a->hash == b->hash && a->kind == b->kind &&
                      a->json_len == b->json_len && strcmp(a->path, b->path) == 0 &&
                      memcmp(a->json, b->json, a->json_len) == 0);
}

/* FNV-1a, 64 bits, the same everywhere: these hashes leave the process as ETags. */
static uint64_t hash(uint64_t h, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)p[i]) * UINT64_C(1099511628211);
    }
    return h;
}

static void add_ref(struct refs *r, const struct node *leaf, const json_t *v,
                    const struct buf *path) {
    struct buf b = BUF_INIT, tmp = BUF_INIT;
    const char *key = value_text(v, &tmp);
    path_object(leaf->ref_kind, &key, &b);
    r->v = mem_array(r->v, r->n + 1, sizeof *r->v);
    struct buf at = *path;
    r->v[r->n].target = arena_strdup(r->a, buf_cstr(&b));
    r->v[r->n].at = arena_strndup(r->a, (const char *)at.data, at.len);
    r->v[r->n++].leaf = leaf;
    buf_free(&b);
    buf_free(&tmp);
}

void refs_collect(struct refs *r, const struct node *n, const json_t *tree, struct buf *path) {
    size_t mark = path->len;
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        if (node_is_leaf(c) && c->ref_kind == NULL) {
            continue;
        }
        const json_t *v = tree_get(tree, n, c);
        if (v == NULL || !c->config) {
            continue;
        }
        path_add_node(path, c);
        size_t inner = path->len;
        if (c->type == NODE_LEAF) {
            add_ref(r, c, v, path);
        } else if (c->type == NODE_CONTAINER) {
            refs_collect(r, c, v, path);
        } else if (c->type == NODE_LIST || c->type == NODE_LEAF_LIST) {
            for (size_t k = 0; k < json_array_size(v); k++) {
                const json_t *entry = json_array_get(v, k);
                tree_add_entry(path, c, entry);
                if (c->type == NODE_LIST) {
                    refs_collect(r, c, entry, path);
                } else {
                    add_ref(r, c, entry, path);
                }
                path->len = inner;
            }
        }
        path->len = mark;
    }
}

/* One block of memory holds the document and all it points to: measured first, then filled. */
static struct doc *place(struct bump *b, const struct kind *k, const json_t *tree,
                         const struct buf *path, const struct buf *json, const char *const *keys,
                         const struct refs *refs) {
    struct doc *d = bump_take(b, sizeof *d, alignof(struct doc));
    const char *p = bump_str(b, (const char *)path->data, path->len);
    const char *j = bump_str(b, (const char *)json->data, json->len);
    const char **ks = bump_take(b, k->n_keys * sizeof *ks, alignof(char *));
    for (size_t i = 0; i < k->n_keys; i++) {
        const char *s = bump_str(b, keys[i], strlen(keys[i]));
        if (ks != NULL) {
            ks[i] = s;
        }
    }
    struct doc_ref *rs = bump_take(b, refs->n * sizeof *rs, alignof(struct doc_ref));
    for (size_t i = 0; i < refs->n; i++) {
        struct doc_ref r = {bump_str(b, refs->v[i].target, strlen(refs->v[i].target)),
                            bump_str(b, refs->v[i].at, strlen(refs->v[i].at)), refs->v[i].leaf};
        if (rs != NULL) {
            rs[i] = r;
        }
    }
    char *data = bump_take(b, k->struct_size, alignof(max_align_t));
    pack_struct(b, k->node, tree, data);
    if (d != NULL) {
        d->kind = k;
        d->path = p;
        d->path_len = path->len;
        d->json = j;
        d->json_len = json->len;
        d->data = data;
        d->keys = ks;
        d->refs = rs;
        d->n_refs = refs->n;
        d->mem = b->used;
        d->count = 1;
    }
    return d;
}

/* `conditions`: evaluate must and when. */
static enum err_code doc_from_tree(const struct model *m, const struct kind *k, const json_t *tree,
                                   bool conditions, struct doc **out, struct err *e) {
    struct buf path = BUF_INIT, json = BUF_INIT;
    struct arena *a = arena_new();
    struct refs refs = {NULL, 0, a};
    const char *keys[MODEL_KEYS_MAX];
    tree_keys(k->node, tree, a, keys);
    path_object(k, keys, &path);
    tree_dump(tree, &json);
    enum err_code rc = ERR_OK;
    if (path.len > MODEL_PATH_MAX) {
        rc = err_set(e, ERR_TOO_BIG, NULL, "The keys of this %s make a path of more than %d bytes.",
                     k->short_name, MODEL_PATH_MAX);
    } else if (json.len > MODEL_OBJECT_MAX) {
        rc = err_set(e, ERR_TOO_BIG, buf_cstr(&path), "An object has %d bytes at most.",
                     MODEL_OBJECT_MAX);
    } else if (k->has_xpath && conditions) {
        rc = xpath_check(m, k, buf_cstr(&path), buf_cstr(&json), json.len, e);
    }
    if (rc == ERR_OK) {
        if (k->n_refs > 0) {
            struct buf at = BUF_INIT;
            buf_add(&at, path.data, path.len);
            refs_collect(&refs, k->node, tree, &at);
            buf_free(&at);
        }
        struct bump b = {NULL, 0};
        place(&b, k, tree, &path, &json, keys, &refs);
        b = (struct bump){mem_alloc(b.used), 0};
        struct doc *d = place(&b, k, tree, &path, &json, keys, &refs);
        d->hash = hash(UINT64_C(14695981039346656037), d->path, d->path_len + 1);
        d->hash = hash(d->hash, d->json, d->json_len);
        *out = d;
    }
    mem_free(refs.v);
    arena_free(a);
    buf_free(&path);
    buf_free(&json);
    return rc;
}

enum err_code doc_from_value(const struct model *m, const struct kind *k, const json_t *value,
                             unsigned flags, const char *path, struct doc **out, struct err *e) {
    json_t *tree = NULL;
    ERR_TRY(tree_check(m, k->node, value, flags, path != NULL ? path : k->prefix, &tree, e));
    enum err_code rc = doc_from_tree(m, k, tree, (flags & TREE_PARTIAL) == 0, out, e);
    json_decref(tree);
    return rc;
}

json_t *doc_tree(const struct doc *d) {
    return json_loadb(d->json, d->json_len, 0, NULL);
}

enum err_code doc_parse(const struct model *m, const struct kind *k, const char *json, size_t len,
                        struct doc **out, struct err *e) {
    json_t *value = NULL;
    *out = NULL;
    ERR_TRY(tree_parse(json, len, MODEL_OBJECT_MAX, &value, e));
    enum err_code rc = doc_from_value(m, k, value, 0, NULL, out, e);
    json_decref(value);
    return rc;
}

enum err_code doc_parse_stored(const struct model *m, const char *kind_name, uint32_t version,
                               const char *json, size_t len, struct doc **out, struct err *e) {
    const struct kind *k = model_kind(kind_name);
    *out = NULL;
    if (k == NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "A record of the unknown kind %s.", kind_name);
    }
    if (version > k->version) {
        return err_set(e, ERR_UNSUPPORTED, k->prefix,
                       "A record of version %u of %s; this release knows versions up to %u.",
                       version, kind_name, k->version);
    }
    json_t *value = NULL;
    ERR_TRY(tree_parse(json, len, MODEL_OBJECT_MAX, &value, e));
    enum err_code rc = version < k->version ? convert_record(k, version, value, e) : ERR_OK;
    json_t *tree = NULL;
    if (rc == ERR_OK) {
        rc = tree_check(m, k->node, value, 0, k->prefix, &tree, e);
    }
    if (rc == ERR_OK) {
        /* The conditions held when this version stored it; they take most of the time of a start.
         */
        rc = doc_from_tree(m, k, tree, version < k->version, out, e);
    }
    json_decref(tree);
    json_decref(value);
    return rc;
}

static void go_back_below(const struct node *n, json_t *then, const json_t *now, bool returns) {
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        json_t *is = now != NULL && c->config ? tree_get(now, n, c) : NULL;
        if (c->no_history) {
            tree_del(then, n, c);
            if (is != NULL) {
                tree_set_new(then, n, c, json_deep_copy(is));
            } else if (returns && c->returns_as != NULL) {
                tree_set_new(then, n, c,
                             value_to_json(c->base, c->returns_as, strlen(c->returns_as)));
            }
        } else if (c->config && c->type == NODE_CONTAINER) {
            json_t *was = tree_get(then, n, c);
            if (was == NULL && !c->presence) { /* it goes again when nothing comes in */
                was = json_object();
                tree_set_new(then, n, c, was);
            }
            if (was != NULL) {
                go_back_below(c, was, is, returns);
            }
        }
    }
}

enum err_code doc_go_back(const struct model *m, const struct doc *then, const struct doc *now,
                          struct doc **out, struct err *e) {
    json_t *tree = doc_tree(then), *is = now != NULL ? doc_tree(now) : NULL;
    go_back_below(then->kind->node, tree, is, now == NULL);
    enum err_code rc = doc_from_value(m, then->kind, tree, 0, then->path, out, e);
    json_decref(tree);
    json_decref(is);
    return rc;
}

const char *doc_value(const struct model *m, const struct doc *d, const char *path,
                      struct arena *a) {
    struct buf full = BUF_INIT, tmp = BUF_INIT;
    struct steps steps;
    const char *out = NULL;
    buf_printf(&full, "%s/%s", d->path, path);
    size_t above = 0;
    for (const struct node *n = d->kind->node; n->type != NODE_ROOT; n = n->parent) {
        above++;
    }
    if (path_steps(m, buf_cstr(&full), a, &steps, NULL) == ERR_OK && steps.n > above) {
        json_t *tree = doc_tree(d);
        const json_t *v = tree;
        const struct node *n = d->kind->node;
        for (size_t i = above; i < steps.n && v != NULL; i++) {
            const struct step *s = &steps.v[i];
            v = tree_get(v, n, s->node);
            if (s->node->type == NODE_LIST && v != NULL) {
                const json_t *found = NULL;
                for (size_t k = 0; k < json_array_size(v) && found == NULL; k++) {
                    const json_t *entry = json_array_get(v, k);
                    bool same = s->n_keys == s->node->n_keys;
                    for (size_t q = 0; q < s->n_keys && same; q++) {
                        const json_t *kv = tree_get(entry, s->node, s->node->keys[q]);
                        same = kv != NULL && strcmp(value_text(kv, &tmp), s->keys[q]) == 0;
                    }
                    found = same ? entry : NULL;
                }
                v = found;
            }
            n = s->node;
        }
        if (n->type == NODE_LEAF_LIST && v != NULL) {
            v = json_array_get(v, 0);
        }
        if (v != NULL && node_is_leaf(n)) {
            out = arena_strdup(a, value_text(v, &tmp));
        } else if (v == NULL && steps.v[steps.n - 1].node->type == NODE_LEAF) {
            out = steps.v[steps.n - 1].node->default_value;
        }
        json_decref(tree);
    }
    buf_free(&full);
    buf_free(&tmp);
    return out;
}
