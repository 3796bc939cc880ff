// SPDX-License-Identifier: Apache-2.0
#include "core/candidate.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/go_back.h"
#include "core/rights.h"

struct candidates {
    struct core *core;
    pthread_mutex_t lock;
    struct candidate *shared;
    uint64_t holder; /* session that holds the exclusive lock; 0: none */
    char holder_name[128];
};

enum { EDITORS_MAX = 8 }; /* more are not told by name */

struct candidate {
    struct candidates *all;
    pthread_mutex_t lock;
    _Atomic uint32_t refs;
    bool is_private;
    struct snap *base, *work; /* the same pointer while nothing was edited */
    char editors[EDITORS_MAX][64];
    size_t n_editors;         /* EDITORS_MAX + 1: others as well */
    struct snap *rolled_back; /* what rollback made of it; NULL: it began otherwise */
    uint64_t rolled_back_to;
};

struct candidates *candidates_new(struct core *c) {
    struct candidates *cs = MEM_NEW(struct candidates);
    cs->core = c;
    pthread_mutex_init(&cs->lock, NULL);
    return cs;
}

static struct candidate *make(struct candidates *cs, bool is_private) {
    struct candidate *c = MEM_NEW(struct candidate);
    c->all = cs;
    pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->refs, 1);
    c->is_private = is_private;
    c->base = core_snapshot(cs->core);
    c->work = snap_hold(c->base);
    return c;
}

struct candidate *candidate_private(struct candidates *cs) {
    return make(cs, true);
}

struct candidate *candidate_shared(struct candidates *cs) {
    pthread_mutex_lock(&cs->lock);
    if (cs->shared == NULL) {
        cs->shared = make(cs, false);
    }
    struct candidate *c = cs->shared;
    atomic_fetch_add(&c->refs, 1);
    pthread_mutex_unlock(&cs->lock);
    return c;
}

void candidate_release(struct candidate *c) {
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1) {
        return;
    }
    snap_release(c->base);
    snap_release(c->work);
    snap_release(c->rolled_back);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

void candidates_free(struct candidates *cs) {
    if (cs == NULL) {
        return;
    }
    candidate_release(cs->shared);
    pthread_mutex_destroy(&cs->lock);
    mem_free(cs);
}

bool candidate_is_private(const struct candidate *c) {
    return c->is_private;
}

/* ---- the exclusive lock -----------------------------------------------------------------------
 */

enum err_code candidates_lock_running(struct candidates *cs, uint64_t session, const char *who,
                                      uint64_t *holder, struct err *e) {
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&cs->lock);
    *holder = cs->holder;
    if (cs->holder != 0) {
        rc = err_set(e, ERR_LOCKED, NULL, "the configuration is locked by %s", cs->holder_name);
    } else {
        cs->holder = session;
        snprintf(cs->holder_name, sizeof cs->holder_name, "%s", who);
    }
    pthread_mutex_unlock(&cs->lock);
    return rc;
}

enum err_code candidates_lock(struct candidates *cs, uint64_t session, const char *who,
                              struct err *e) {
    struct candidate *shared = candidate_shared(cs);
    bool changed = candidate_changed(shared);
    uint64_t holder;
    candidate_release(shared);
    ERR_TRY(candidates_lock_running(cs, session, who, &holder, e));
    if (changed) {
        candidates_unlock(cs, session, NULL);
        return err_set(e, ERR_LOCKED, NULL,
                       "the shared candidate has changes that are not committed");
    }
    return ERR_OK;
}

enum err_code candidates_unlock(struct candidates *cs, uint64_t session, struct err *e) {
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&cs->lock);
    if (cs->holder != session || session == 0) {
        rc = err_set(e, ERR_ABSENT, NULL, "this session does not hold the lock");
    } else {
        cs->holder = 0;
    }
    pthread_mutex_unlock(&cs->lock);
    return rc;
}

enum err_code candidates_may_edit(struct candidates *cs, uint64_t session, struct err *e) {
    enum err_code rc = ERR_OK;
    pthread_mutex_lock(&cs->lock);
    if (cs->holder != 0 && cs->holder != session) {
        rc = err_set(e, ERR_LOCKED, NULL, "the configuration is locked by %s", cs->holder_name);
    }
    pthread_mutex_unlock(&cs->lock);
    return rc;
}

/* ---- views of snapshots -----------------------------------------------------------------------
 */

static struct doc *view_get(void *arg, const char *path) {
    const struct object *o = snap_get(arg, path);
    return o != NULL ? doc_hold(o->doc) : NULL;
}

static struct doc *view_next(void *arg, const struct kind *k, const struct doc *after) {
    const struct object *o = NULL;
    if (after == NULL) {
        o = snap_first_of(arg, k);
    } else {
        struct object probe = {.doc = (struct doc *)(uintptr_t)after};
        o = snap_next(arg, &probe);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

struct model_view snap_view(const struct snap *s) {
    return (struct model_view){view_get, view_next, (void *)(uintptr_t)s};
}

struct diff_text {
    const struct model *model;
    enum model_format format;
    bool made;
    const char *below;
    bool (*readable)(void *arg, const char *path);
    void *arg;
    struct buf *out;
    size_t n;
    struct buf header; /* the last "[edit apm]" of what was written; text */
};

/* What begins at `start` of the output goes on under the last header when it has the same one. */
static void join_headers(struct diff_text *t, size_t start) {
    const char *piece = (const char *)t->out->data + start;
    size_t n = t->out->len - start, first = 0, last = 0;
    const char *nl = n > 0 && *piece == '[' ? memchr(piece, '\n', n) : NULL;
    if (nl == NULL) {
        return;
    }
    first = (size_t)(nl + 1 - piece);
    for (const char *p = piece; p != NULL && (size_t)(p - piece) < n;) {
        if (*p == '[') {
            last = (size_t)(p - piece);
        }
        p = memchr(p, '\n', n - (size_t)(p - piece));
        p = p != NULL ? p + 1 : NULL;
    }
    bool same = t->header.len == first && memcmp(t->header.data, piece, first) == 0;
    buf_clear(&t->header);
    nl = memchr(piece + last, '\n', n - last);
    buf_add(&t->header, piece + last, (size_t)(nl + 1 - (piece + last)));
    if (same) {
        memmove(t->out->data + start, piece + first, n - first);
        t->out->len -= first;
    }
}

static void diff_one(const struct object *a, const struct object *b, void *arg) {
    struct diff_text *t = arg;
    const struct object *any = a != NULL ? a : b;
    bool made = (a != NULL && a->owner != NULL) || (b != NULL && b->owner != NULL);
    if ((made && !t->made) || (a != NULL && b != NULL && doc_equal(a->doc, b->doc)) ||
        (t->below != NULL && !path_below(any->doc->path, t->below)) ||
        (t->readable != NULL && !t->readable(t->arg, any->doc->path))) {
        return;
    }
    t->n++;
    if (t->out == NULL) {
        return;
    }
    struct err e;
    size_t start = t->out->len;
    if (doc_diff_text(t->model, a ? a->doc : NULL, b ? b->doc : NULL, t->format, t->out, &e) !=
        ERR_OK) {
        buf_printf(t->out, "# %s: %s\n", any->doc->path, e.text);
    } else if (t->format == FORMAT_TEXT) {
        join_headers(t, start);
    }
}

size_t snap_diff_text(const struct model *m, const struct snap *from, const struct snap *to,
                      enum model_format format, bool made, const char *below,
                      bool (*readable)(void *arg, const char *path), void *arg, struct buf *out) {
    struct diff_text t = {.model = m,
                          .format = format,
                          .made = made,
                          .below = below,
                          .readable = readable,
                          .arg = arg,
                          .out = out};
    if (t.below != NULL && strcmp(t.below, "/") == 0) {
        t.below = NULL;
    }
    snap_diff(from, to, diff_one, &t);
    buf_free(&t.header);
    return t.n;
}

/* ---- content -----------------------------------------------------------------------------------
 */

static void replace(struct snap **slot, struct snap *s) {
    snap_release(*slot);
    *slot = s;
}

/* Nothing edited: be the newest configuration. Locked. */
static void follow(struct candidate *c) {
    if (c->work == c->base) {
        struct snap *now = core_snapshot(c->all->core);
        replace(&c->base, now);
        replace(&c->work, snap_hold(now));
        c->n_editors = 0;
        replace(&c->rolled_back, NULL);
    }
}

static void set_work(struct candidate *c, struct snap *work) {
    replace(&c->work, work);
}

struct snap *candidate_snapshot(struct candidate *c) {
    pthread_mutex_lock(&c->lock);
    follow(c);
    struct snap *s = snap_hold(c->work);
    pthread_mutex_unlock(&c->lock);
    return s;
}

static void count_one(const struct object *a, const struct object *b, void *arg) {
    size_t *n = arg;
    *n += a == NULL || b == NULL || !doc_equal(a->doc, b->doc);
}

static bool changed(const struct candidate *c) {
    size_t n = 0;
    if (c->work != c->base) {
        snap_diff(c->base, c->work, count_one, &n);
    }
    return n > 0;
}

bool candidate_changed(struct candidate *c) {
    pthread_mutex_lock(&c->lock);
    bool yes = changed(c);
    pthread_mutex_unlock(&c->lock);
    return yes;
}

/* Edits that came to nothing: be without changes again. Locked. */
static void settle(struct candidate *c) {
    if (!changed(c)) {
        set_work(c, snap_hold(c->base));
    }
}

/* ---- whose edits ------------------------------------------------------------------------------
 */

/* Locked. */
static void edited_by(struct candidate *c, const char *user) {
    size_t i = 0;
    while (i < c->n_editors && i < EDITORS_MAX && strcmp(c->editors[i], user) != 0) {
        i++;
    }
    if (i == c->n_editors && i < EDITORS_MAX) {
        snprintf(c->editors[c->n_editors++], sizeof c->editors[0], "%s", user);
    } else if (i == EDITORS_MAX) {
        c->n_editors = EDITORS_MAX + 1;
    }
}

void candidate_editors(struct candidate *c, const char *except, struct buf *out) {
    size_t start = out->len;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; changed(c) && i < c->n_editors; i++) {
        const char *name = i < EDITORS_MAX ? c->editors[i] : "others";
        if (except == NULL || strcmp(name, except) != 0) {
            buf_printf(out, "%s%s", out->len > start ? ", " : "", name);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- edits -------------------------------------------------------------------------------------
 */

struct emit {
    struct snap *work; /* owned: replaced at each object */
};

static void put_doc(struct snap **work, struct doc *d) {
    const struct object *old = snap_get(*work, d->path);
    struct object *o =
        object_new(d, old ? old->owner : NULL, old ? old->created : 0, old ? old->modified : 0);
    replace(work, snap_put(*work, o));
    object_release(o);
}

static enum err_code emit_one(void *arg, struct doc *old, struct doc *new_doc, struct err *e) {
    struct emit *em = arg;
    const char *path = new_doc ? new_doc->path : old->path;
    const struct object *was = snap_get(em->work, path);
    if (was != NULL && was->owner != NULL) {
        return err_set(e, ERR_DENIED, path, "made by %s and changed only by changing that",
                       was->owner);
    }
    if (new_doc != NULL) {
        put_doc(&em->work, new_doc);
    } else {
        replace(&em->work, snap_del(em->work, old->kind, path));
    }
    return ERR_OK;
}

static enum err_code edit_snap(const struct model *m, struct snap **work,
                               const struct model_edit *edit, struct err *e) {
    struct model_edit draft = *edit;
    draft.draft = true;
    struct arena *a = arena_new();
    /* The view must stay as it was while the edit walks it. */
    struct snap *seen = snap_hold(*work);
    struct model_view v = snap_view(seen);
    struct emit em = {snap_hold(*work)};
    struct edit_result result;
    enum err_code rc = model_edit(m, &v, &draft, a, emit_one, &em, &result, e);
    if (rc == ERR_OK) {
        replace(work, em.work);
    } else {
        snap_release(em.work);
    }
    snap_release(seen);
    arena_free(a);
    return rc;
}

struct may_write {
    const struct snap *now;
    const struct actor *who;
    struct err *e;
    enum err_code rc;
};

static void check_written(const struct object *a, const struct object *b, void *arg) {
    struct may_write *w = arg;
    if (w->rc == ERR_OK && (a == NULL || b == NULL || !doc_equal(a->doc, b->doc))) {
        w->rc = rights_check(w->now, w->who, RIGHT_WRITE, (a ? a : b)->doc->path, w->e);
    }
}

/* May `who` make `work` of the candidate? Locked. */
static enum err_code may_become(const struct candidate *c, const struct actor *who,
                                const struct snap *work, struct err *e) {
    struct may_write w = {core_snapshot(c->all->core), who, e, ERR_OK};
    snap_diff(c->work, work, check_written, &w);
    snap_release((struct snap *)(uintptr_t)w.now);
    return w.rc;
}

/* Whether something is there is not for everybody to learn: this is asked first. */
static enum err_code may_touch(const struct candidate *c, const struct actor *who, const char *path,
                               struct err *e) {
    struct snap *now = core_snapshot(c->all->core);
    enum err_code rc = rights_allow_below(now, who, RIGHT_WRITE, path)
                           ? ERR_OK
                           : rights_check(now, who, RIGHT_WRITE, path, e);
    snap_release(now);
    return rc;
}

enum err_code candidate_edit(struct candidate *c, const struct actor *who,
                             const struct model_edit *edits, size_t n, size_t *bad, struct err *e) {
    const struct model *m = core_model(c->all->core);
    pthread_mutex_lock(&c->lock);
    follow(c);
    struct snap *work = snap_hold(c->work);
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        rc = may_touch(c, who, edits[i].target, e);
        rc = rc == ERR_OK ? edit_snap(m, &work, &edits[i], e) : rc;
        if (rc != ERR_OK && bad != NULL) {
            *bad = i;
        }
    }
    rc = rc == ERR_OK ? may_become(c, who, work, e) : rc;
    if (rc == ERR_OK) {
        set_work(c, work);
        edited_by(c, who->user);
    } else {
        snap_release(work);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* `onto` with the operators' differences from `from` to `to` put in. */
struct transfer {
    struct snap *onto;
    bool deletions;
};

static void transfer_one(const struct object *a, const struct object *b, void *arg) {
    struct transfer *t = arg;
    const struct object *any = b != NULL ? b : a;
    const struct object *at = snap_get(t->onto, any->doc->path);
    if ((a != NULL && a->owner != NULL) || (b != NULL && b->owner != NULL) ||
        (at != NULL && at->owner != NULL)) {
        return;
    }
    if (b != NULL) {
        if (at == NULL || !doc_equal(at->doc, b->doc)) {
            put_doc(&t->onto, b->doc);
        }
    } else if (t->deletions && at != NULL) {
        replace(&t->onto, snap_del(t->onto, any->doc->kind, any->doc->path));
    }
}

/* `said` not NULL: `s` is a former configuration; see snap_go_back(). */
static enum err_code become(struct candidate *c, const struct actor *who, const struct snap *s,
                            bool deletions, struct buf *said, struct err *e) {
    pthread_mutex_lock(&c->lock);
    follow(c);
    /* From the base, so that objects which end as they were keep their identity. */
    struct transfer t = {snap_hold(deletions ? c->base : c->work), deletions};
    struct snap *from = deletions ? snap_hold(c->base) : snap_empty(), *to = snap_hold(s);
    enum err_code rc = ERR_OK;
    if (said != NULL) {
        rc = snap_go_back(core_model(c->all->core), c->base, &to, said, e);
    }
    if (rc == ERR_OK) {
        snap_diff(from, to, transfer_one, &t);
        rc = may_become(c, who, t.onto, e);
    }
    snap_release(from);
    snap_release(to);
    if (rc == ERR_OK) {
        set_work(c, t.onto);
        settle(c);
        c->n_editors = deletions ? 0 : c->n_editors; /* nobody else's are left */
        edited_by(c, who->user);
    } else {
        snap_release(t.onto);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

enum err_code candidate_set(struct candidate *c, const struct actor *who, const struct snap *s,
                            struct err *e) {
    return become(c, who, s, true, NULL, e);
}

enum err_code candidate_put_all(struct candidate *c, const struct actor *who, const struct snap *s,
                                struct err *e) {
    return become(c, who, s, false, NULL, e);
}

void candidate_discard(struct candidate *c) {
    pthread_mutex_lock(&c->lock);
    set_work(c, snap_hold(c->base));
    follow(c);
    pthread_mutex_unlock(&c->lock);
}

static enum err_code take_edits_back(struct candidate *c, const struct actor *who, struct err *e) {
    pthread_mutex_lock(&c->lock);
    enum err_code rc = may_become(c, who, c->base, e);
    if (rc == ERR_OK) {
        set_work(c, snap_hold(c->base));
        follow(c);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

enum err_code candidate_rollback(struct candidate *c, const struct actor *who, unsigned n,
                                 struct buf *said, struct err *e) {
    if (n == 0) {
        return take_edits_back(c, who, e);
    }
    struct commit_info *list = mem_alloc((n + 1) * sizeof *list);
    size_t have = core_history(c->all->core, list, n + 1);
    enum err_code rc = ERR_OK;
    struct snap *then = NULL;
    if (have <= n) {
        rc = err_set(e, ERR_ABSENT, NULL, "there is no rollback %u; the oldest kept is %zu", n,
                     have > 0 ? have - 1 : 0);
    } else {
        rc = core_snapshot_at(c->all->core, list[n].index, &then, e);
    }
    if (rc == ERR_OK) {
        rc = take_edits_back(c, who, e);
        rc = rc == ERR_OK ? become(c, who, then, true, said, e) : rc;
        snap_release(then);
    }
    if (rc == ERR_OK) {
        pthread_mutex_lock(&c->lock);
        replace(&c->rolled_back, snap_hold(c->work));
        c->rolled_back_to = list[n].index;
        pthread_mutex_unlock(&c->lock);
    }
    mem_free(list);
    return rc;
}

/* ---- others' changes ----------------------------------------------------------------------------
 */

static uint64_t generation(const struct snap *s, const char *path) {
    const struct object *o = snap_get(s, path);
    return o != NULL ? o->modified : 0;
}

struct update {
    const struct model *model;
    const struct snap *base, *now;
    struct snap *onto;
    struct buf *conflicts;
    enum err_code rc;
    struct err *e;
};

struct leaf_edits {
    struct update *u;
    const struct doc *mine;
    struct arena *arena;
};

/* A secret is masked in a difference: take it from the document. */
static const char *true_value(struct leaf_edits *l, const struct diff *d) {
    if (!d->node->secret || d->new_value == NULL) {
        return d->new_value;
    }
    return doc_value(l->u->model, l->mine, d->path + strlen(l->mine->path) + 1, l->arena);
}

static void leaf_edit(void *arg, const struct diff *d) {
    struct leaf_edits *l = arg;
    struct update *u = l->u;
    if (u->rc != ERR_OK || d->op == DIFF_MOVE) {
        return;
    }
    const char *value = true_value(l, d);
    struct model_edit edit = {.op = d->op == DIFF_DELETE ? EDIT_REMOVE : EDIT_MERGE,
                              .target = d->path,
                              .format = FORMAT_VALUE};
    if (edit.op == EDIT_MERGE) {
        edit.body = d->node->type == NODE_LEAF && value != NULL ? value : "";
        edit.len = strlen(edit.body);
    }
    u->rc = edit_snap(u->model, &u->onto, &edit, u->e);
}

static void update_one(const struct object *a, const struct object *b, void *arg) {
    struct update *u = arg;
    const struct object *any = b != NULL ? b : a;
    const char *path = any->doc->path;
    if (u->rc != ERR_OK || (a != NULL && b != NULL && doc_equal(a->doc, b->doc))) {
        return;
    }
    const struct object *now = snap_get(u->now, path);
    if ((now ? now->modified : 0) == (a ? a->modified : 0)) {
        if (b != NULL) {
            put_doc(&u->onto, b->doc);
        } else {
            replace(&u->onto, snap_del(u->onto, any->doc->kind, path));
        }
        return;
    }
    if (now != NULL && b != NULL && doc_equal(now->doc, b->doc)) {
        return; /* somebody did the same */
    }
    if (now == NULL && b == NULL) {
        return;
    }
    buf_printf(u->conflicts, "%s\n", path);
    if (b == NULL) {
        replace(&u->onto, snap_del(u->onto, any->doc->kind, path));
    } else if (now == NULL || a == NULL) {
        put_doc(&u->onto, b->doc);
    } else {
        struct leaf_edits l = {u, b->doc, arena_new()};
        struct err e;
        enum err_code rc = doc_diff(u->model, a->doc, b->doc, leaf_edit, &l, &e);
        if (rc != ERR_OK && u->rc == ERR_OK) {
            u->rc = rc;
            *u->e = e;
        }
        arena_free(l.arena);
    }
}

/* `work`'s differences from `base`, on top of the newest configuration. */
static enum err_code rebase(struct candidate *c, const struct snap *from, struct buf *conflicts,
                            struct err *e) {
    struct snap *now = core_snapshot(c->all->core);
    struct err ignored;
    struct buf nowhere = BUF_INIT;
    struct update u = {core_model(c->all->core),
                       from,
                       now,
                       snap_hold(now),
                       conflicts ? conflicts : &nowhere,
                       ERR_OK,
                       e ? e : &ignored};
    snap_diff(from, c->work, update_one, &u);
    buf_free(&nowhere);
    if (u.rc != ERR_OK) {
        snap_release(now);
        snap_release(u.onto);
        return u.rc;
    }
    replace(&c->base, now);
    set_work(c, u.onto);
    settle(c);
    return ERR_OK;
}

enum err_code candidate_update(struct candidate *c, struct buf *conflicts, struct err *e) {
    pthread_mutex_lock(&c->lock);
    enum err_code rc = rebase(c, c->base, conflicts, e);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* ---- commit -------------------------------------------------------------------------------------
 */

struct check {
    const struct model *model;
    enum err_code rc;
    struct err *e;
};

static void check_one(const struct object *a, const struct object *b, void *arg) {
    struct check *k = arg;
    if (k->rc != ERR_OK || b == NULL || (a != NULL && doc_equal(a->doc, b->doc))) {
        return;
    }
    struct doc *d = NULL;
    k->rc = doc_parse(k->model, b->doc->kind, b->doc->json, b->doc->json_len, &d, k->e);
    doc_drop(d);
}

enum err_code candidate_check(struct candidate *c, struct err *e) {
    pthread_mutex_lock(&c->lock);
    struct check k = {core_model(c->all->core), ERR_OK, e};
    snap_diff(c->base, c->work, check_one, &k);
    pthread_mutex_unlock(&c->lock);
    return k.rc;
}

enum { NAMED = 5 }; /* conflicts told by name */

struct build {
    struct change *ch;
    const struct snap *now;
    const char *first; /* path of the first conflict */
    struct buf others; /* those of the next ones */
    size_t n_conflicts;
};

static void build_one(const struct object *a, const struct object *b, void *arg) {
    struct build *bd = arg;
    if (a != NULL && b != NULL && doc_equal(a->doc, b->doc)) {
        return;
    }
    const struct doc *d = b != NULL ? b->doc : a->doc;
    uint64_t based_on = a != NULL ? a->modified : 0;
    if (generation(bd->now, d->path) != based_on) {
        if (bd->n_conflicts == 0) {
            bd->first = d->path;
        } else if (bd->n_conflicts < NAMED) {
            buf_printf(&bd->others, "%s%s", bd->others.len > 0 ? ", " : "", d->path);
        }
        bd->n_conflicts++;
        return;
    }
    struct change_edit *edit;
    if (b == NULL) {
        edit = change_add(bd->ch, EDIT_DELETE, d->path, NULL, 0, FORMAT_JSON);
    } else {
        const struct node *n = d->kind->node;
        bool list = n->type == NODE_LIST;
        struct buf body = BUF_INIT;
        buf_printf(&body, "{\"%s:%s\":%s", n->module, n->name, list ? "[" : "");
        buf_add(&body, d->json, d->json_len);
        buf_str(&body, list ? "]}" : "}");
        edit = change_add(bd->ch, EDIT_REPLACE, d->path, (const char *)body.data, body.len,
                          FORMAT_JSON);
        buf_free(&body);
    }
    edit->check_generation = true;
    edit->generation = based_on;
}

enum err_code candidate_change(struct candidate *c, struct change *ch, struct snap **sent,
                               struct err *e) {
    *sent = NULL;
    pthread_mutex_lock(&c->lock);
    follow(c);
    struct snap *now = core_snapshot(c->all->core);
    struct build b = {.ch = ch, .now = now};
    snap_diff(c->base, c->work, build_one, &b);
    enum err_code rc = ERR_OK;
    if (b.n_conflicts > 0) {
        rc = err_set(e, ERR_CONFLICT, b.first,
                     "changed by somebody else since this candidate began%s%s%s",
                     b.n_conflicts > 1 ? "; so were " : "", buf_cstr(&b.others),
                     b.n_conflicts > NAMED ? " and more" : "");
    } else {
        *sent = snap_hold(c->work);
        if (c->rolled_back != NULL && ch->label == NULL) {
            ch->label = mem_printf("rollback to commit %" PRIu64 "%s", c->rolled_back_to,
                                   c->work == c->rolled_back ? "" : " and edits");
        }
    }
    buf_free(&b.others);
    snap_release(now);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void candidate_committed(struct candidate *c, struct snap *sent) {
    pthread_mutex_lock(&c->lock);
    if (c->work == sent) {
        set_work(c, snap_hold(c->base));
        follow(c);
    } else {
        rebase(c, sent, NULL, NULL);
        replace(&c->rolled_back, NULL);
    }
    snap_release(sent);
    pthread_mutex_unlock(&c->lock);
}
