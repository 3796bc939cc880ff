// SPDX-License-Identifier: Apache-2.0
/*
 * The tree is a treap whose priorities are hashes of the paths: its shape depends on the set of
 * paths only, so two snapshots that differ little share nearly all of their nodes, and a difference
 * walks just the rest. Nodes are never changed once another thread can see them.
 */
#include "core/object.h"

#include <stdatomic.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/secrets.h"

/* A record with a secret is one of version 2: its document is sealed (core/secrets.h). */
enum { RECORD_CLEAR = 1, RECORD_SEALED = 2, RECORD_VERSION = RECORD_SEALED };

struct object *object_new(struct doc *doc, const char *owner, uint64_t created, uint64_t modified) {
    struct object *o = MEM_NEW(struct object);
    atomic_init(&o->refs, 1);
    o->doc = doc_hold(doc);
    o->owner = owner ? mem_strdup(owner) : NULL;
    o->created = created;
    o->modified = modified;
    return o;
}

struct object *object_hold(const struct object *o) {
    struct object *m = (struct object *)(uintptr_t)o;
    if (m != NULL) {
        atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    }
    return m;
}

void object_release(struct object *o) {
    if (o == NULL || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    doc_drop(o->doc);
    mem_free(o->owner);
    mem_free(o);
}

void object_encode(const struct object *o, struct buf *out) {
    bool seal = o->doc->kind->has_secret && secrets_ready();
    buf_u8(out, seal ? RECORD_SEALED : RECORD_CLEAR);
    buf_blob_str(out, o->doc->kind->name);
    buf_var(out, o->doc->kind->version);
    buf_blob_str(out, o->owner ? o->owner : "");
    buf_var(out, o->created);
    if (seal) {
        struct buf sealed = BUF_INIT;
        secrets_seal(o->doc->path, o->doc->json, o->doc->json_len, &sealed);
        buf_blob(out, sealed.data, sealed.len);
        buf_free(&sealed);
    } else {
        buf_blob(out, o->doc->json, o->doc->json_len);
    }
}

enum err_code object_decode(const struct model *m, const char *path, const void *p, size_t n,
                            uint64_t modified, struct object **out, struct err *e) {
    struct cur c = cur_of(p, n);
    uint8_t version = cur_u8(&c);
    if (c.bad || version == 0 || version > RECORD_VERSION) {
        return err_set(
            e, ERR_UNSUPPORTED, path,
            "record version %u: this program reads up to %u; it was written by a newer one",
            version, RECORD_VERSION);
    }
    char *kind = cur_blob_strdup(&c);
    uint32_t kind_version = (uint32_t)cur_var(&c);
    char *owner = cur_blob_strdup(&c);
    uint64_t created = cur_var(&c);
    struct cur json = cur_blob(&c);
    enum err_code rc = ERR_OK;
    struct doc *doc = NULL;
    struct buf clear = BUF_INIT;
    if (c.bad || cur_left(&c) != 0) {
        rc = err_set(e, ERR_MALFORMED, path, "the stored record is damaged");
        goto out;
    }
    if (version == RECORD_SEALED) {
        ERR_GOTO(rc, secrets_open(path ? path : "", json, &clear, e), out);
        json = cur_of(buf_cstr(&clear), clear.len);
    }
    rc = doc_parse_stored(m, kind, kind_version, (const char *)json.p, cur_left(&json), &doc, e);
    if (rc != ERR_OK) {
        goto out;
    }
    if (path != NULL && strcmp(doc->path, path) != 0) {
        rc = err_set(e, ERR_MALFORMED, path, "the stored record is that of %s", doc->path);
        goto out;
    }
    *out = object_new(doc, owner[0] ? owner : NULL, created, modified);
out:
    if (clear.data != NULL) {
        mem_wipe(clear.data, clear.len);
    }
    buf_free(&clear);
    doc_drop(doc);
    mem_free(kind);
    mem_free(owner);
    return rc;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct tnode {
    _Atomic uint32_t refs;
    struct object *object;
    struct tnode *left, *right;
    uint64_t priority;
    const struct kind *kind; /* the object's, here for the searches: one miss less a step */
    const char *path;
};

struct snap {
    _Atomic uint32_t refs;
    struct tnode *root;
    uint64_t index;
    size_t count;
};

static struct tnode *tnode_hold(struct tnode *n) {
    if (n != NULL) {
        atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    }
    return n;
}

static void tnode_release(struct tnode *n) {
    while (n != NULL && atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1) {
        struct tnode *right = n->right;
        tnode_release(n->left);
        object_release(n->object);
        mem_free(n);
        n = right;
    }
}

/* Takes over the references to the children; adds one to the object. */
static struct tnode *tnode_new(const struct object *o, uint64_t priority, struct tnode *left,
                               struct tnode *right) {
    struct tnode *n = MEM_NEW(struct tnode);
    atomic_init(&n->refs, 1);
    n->object = object_hold(o);
    n->kind = o->doc->kind;
    n->path = o->doc->path;
    n->priority = priority;
    n->left = left;
    n->right = right;
    return n;
}

static int cmp(const struct kind *k, const char *path, const struct tnode *n) {
    return path_cmp(k, path, n->kind, n->path);
}

/* A node that may be changed: `n` itself while nobody else can see it, else a copy. A node with one
 * reference that was reached through such nodes only is ours alone: whoever else could reach it
 * would hold one further up, and copying a node adds references to its children. Takes `n` over. */
static struct tnode *writable(struct tnode *n) {
    if (atomic_load_explicit(&n->refs, memory_order_acquire) == 1) {
        return n;
    }
    struct tnode *copy =
        tnode_new(n->object, n->priority, tnode_hold(n->left), tnode_hold(n->right));
    tnode_release(n);
    return copy;
}

/* put, join and del take their trees over. */
static struct tnode *put(struct tnode *n, const struct object *o, uint64_t priority) {
    if (n == NULL) {
        return tnode_new(o, priority, NULL, NULL);
    }
    n = writable(n);
    int c = cmp(o->doc->kind, o->doc->path, n);
    if (c == 0) {
        struct object *old = n->object;
        n->object = object_hold(o);
        n->path = o->doc->path;
        object_release(old);
        return n;
    }
    if (c < 0) {
        struct tnode *l = n->left = put(n->left, o, priority);
        if (l->priority > n->priority) { /* it is new, so it is ours */
            n->left = l->right;
            l->right = n;
            return l;
        }
    } else {
        struct tnode *r = n->right = put(n->right, o, priority);
        if (r->priority > n->priority) {
            n->right = r->left;
            r->left = n;
            return r;
        }
    }
    return n;
}

/* Joins two trees, all of `a` before all of `b`. */
static struct tnode *join(struct tnode *a, struct tnode *b) {
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    if (a->priority > b->priority) {
        a = writable(a);
        a->right = join(a->right, b);
        return a;
    }
    b = writable(b);
    b->left = join(a, b->left);
    return b;
}

/* It is there: the caller has looked. */
static struct tnode *del(struct tnode *n, const struct kind *k, const char *path) {
    int c = cmp(k, path, n);
    n = writable(n);
    if (c < 0) {
        n->left = del(n->left, k, path);
    } else if (c > 0) {
        n->right = del(n->right, k, path);
    } else {
        struct tnode *rest = join(n->left, n->right);
        n->left = n->right = NULL;
        tnode_release(n);
        return rest;
    }
    return n;
}

/* Parts of `n` before and after the object `at` (which is not in it). */
static void split(struct tnode *n, const struct object *at, struct tnode **before,
                  struct tnode **after) {
    if (n == NULL) {
        *before = *after = NULL;
        return;
    }
    struct tnode *rest;
    if (cmp(at->doc->kind, at->doc->path, n) < 0) {
        split(n->left, at, before, &rest);
        *after = tnode_new(n->object, n->priority, rest, tnode_hold(n->right));
    } else {
        split(n->right, at, &rest, after);
        *before = tnode_new(n->object, n->priority, tnode_hold(n->left), rest);
    }
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static struct snap *snap_new(struct tnode *root, uint64_t index, size_t count) {
    struct snap *s = MEM_NEW(struct snap);
    atomic_init(&s->refs, 1);
    s->root = root;
    s->index = index;
    s->count = count;
    return s;
}

struct snap *snap_empty(void) {
    return snap_new(NULL, 0, 0);
}

struct snap *snap_hold(const struct snap *s) {
    struct snap *m = (struct snap *)(uintptr_t)s;
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void snap_release(struct snap *s) {
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        tnode_release(s->root);
        mem_free(s);
    }
}

uint64_t snap_index(const struct snap *s) {
    return s->index;
}

void snap_set_index(struct snap *s, uint64_t index) {
    s->index = index;
}

struct snap *snap_at_index(const struct snap *s, uint64_t index) {
    return snap_new(tnode_hold(s->root), index, s->count);
}

size_t snap_count(const struct snap *s) {
    return s->count;
}

const struct object *snap_find(const struct snap *s, const struct kind *k, const char *path) {
    for (struct tnode *n = s->root; n != NULL;) {
        int c = cmp(k, path, n);
        if (c == 0) {
            return n->object;
        }
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

const struct object *snap_get(const struct snap *s, const char *path) {
    const struct kind *k = path_kind(path);
    return k ? snap_find(s, k, path) : NULL;
}

struct snap *snap_put(const struct snap *s, const struct object *o) {
    return snap_replace(snap_at_index(s, s->index), snap_find(s, o->doc->kind, o->doc->path), o);
}

struct snap *snap_del(const struct snap *s, const struct kind *kind, const char *path) {
    const struct object *old = snap_find(s, kind, path);
    struct snap *next = snap_at_index(s, s->index);
    return old != NULL ? snap_replace(next, old, NULL) : next;
}

struct snap *snap_replace(struct snap *s, const struct object *old, const struct object *o) {
    if (atomic_load_explicit(&s->refs, memory_order_acquire) != 1) {
        struct snap *copy = snap_at_index(s, s->index);
        snap_release(s);
        s = copy;
    }
    if (o != NULL) {
        s->root = put(s->root, o, map_hash(o->doc->path, o->doc->path_len));
        s->count += old == NULL;
    } else {
        /* The tree may hold the only reference to what names the place. */
        struct object *keep = object_hold(old);
        s->root = del(s->root, keep->doc->kind, keep->doc->path);
        s->count--;
        object_release(keep);
    }
    return s;
}

const struct object *snap_next(const struct snap *s, const struct object *after) {
    const struct object *best = NULL;
    for (struct tnode *n = s->root; n != NULL;) {
        if (after == NULL || cmp(after->doc->kind, after->doc->path, n) < 0) {
            best = n->object;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

const struct object *snap_first_of(const struct snap *s, const struct kind *kind) {
    const struct object *best = NULL;
    for (struct tnode *n = s->root; n != NULL;) {
        if (n->kind->id >= kind->id) {
            best = n->object;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best != NULL && best->doc->kind == kind ? best : NULL;
}

struct diff_walk {
    void (*fn)(const struct object *, const struct object *, void *);
    void *arg;
};

static void all(struct tnode *n, bool in_a, const struct diff_walk *w) {
    for (; n != NULL; n = n->right) {
        all(n->left, in_a, w);
        w->fn(in_a ? n->object : NULL, in_a ? NULL : n->object, w->arg);
    }
}

static void diff(struct tnode *a, struct tnode *b, const struct diff_walk *w) {
    if (a == b) {
        return;
    }
    if (a == NULL || b == NULL) {
        all(a ? a : b, a != NULL, w);
        return;
    }
    int c = cmp(a->kind, a->path, b);
    if (c == 0) {
        diff(a->left, b->left, w);
        if (a->object != b->object) {
            w->fn(a->object, b->object, w->arg);
        }
        diff(a->right, b->right, w);
        return;
    }
    /* Equal paths have equal priorities: the root with the higher one is missing in the other. */
    struct tnode *before, *after;
    if (a->priority > b->priority || (a->priority == b->priority && c < 0)) {
        split(b, a->object, &before, &after);
        diff(a->left, before, w);
        w->fn(a->object, NULL, w->arg);
        diff(a->right, after, w);
    } else {
        split(a, b->object, &before, &after);
        diff(before, b->left, w);
        w->fn(NULL, b->object, w->arg);
        diff(after, b->right, w);
    }
    tnode_release(before);
    tnode_release(after);
}

void snap_diff(const struct snap *a, const struct snap *b,
               void (*fn)(const struct object *in_a, const struct object *in_b, void *arg),
               void *arg) {
    struct diff_walk w = {fn, arg};
    diff(a->root, b->root, &w);
}
