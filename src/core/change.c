// SPDX-License-Identifier: Apache-2.0
/*
 * Changes: edits become documents (in the caller's thread, against a snapshot), documents become
 * operations (on the writer, against what is true then), services complete and check them.
 */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/rights.h"
#include "core/system.h"

LOGGER_MODULE(change);

enum {
    CHANGE_EDITS_MAX = 1 << 20,
    CHANGES_INDEXED = 16 /* objects in a change from which on they are found by hash */
};

struct prepared_op {
    const char *path;    /* that of base or doc */
    struct object *base; /* as decoded against; NULL: was not there */
    struct doc *doc;     /* NULL: deleted */
};

/* What an edit looked at, whether it changed it or not: "set to what it is already" was true of
 * that object only. */
struct looked_at {
    const char *path; /* in the change's arena */
    const struct kind *kind;
    struct object *base; /* reference held; NULL: was not there */
};

struct change_private {
    struct snap *base; /* what it was decoded against; NULL: not prepared */
    struct prepared_op *ops;
    size_t n_ops, cap_ops;
    struct looked_at *looked;
    size_t n_looked, cap_looked;
    size_t cap_edits;
    bool listed; /* an edit walked all objects of a kind: others' new objects matter to it */
    struct core *core;
    void (*done)(struct change *ch, void *arg);
    void *arg;
};

struct change *change_new(const struct actor *who) {
    struct change *ch = MEM_NEW(struct change);
    ch->who = *who;
    ch->bad_edit = SIZE_MAX;
    ch->arena = arena_new();
    ch->priv = MEM_NEW(struct change_private);
    return ch;
}

static void forget_prepared(struct change_private *p) {
    for (size_t i = 0; i < p->n_ops; i++) {
        object_release(p->ops[i].base);
        doc_drop(p->ops[i].doc);
    }
    for (size_t i = 0; i < p->n_looked; i++) {
        object_release(p->looked[i].base);
    }
    p->n_ops = p->n_looked = 0;
    p->listed = false;
    snap_release(p->base);
    p->base = NULL;
}

void change_free(struct change *ch) {
    if (ch == NULL) {
        return;
    }
    forget_prepared(ch->priv);
    mem_free(ch->priv->ops);
    mem_free(ch->priv->looked);
    mem_free(ch->priv);
    for (size_t i = 0; i < ch->n_targets; i++) {
        mem_free(ch->targets[i].name);
        mem_free(ch->targets[i].what);
    }
    mem_free(ch->targets);
    mem_free(ch->edits);
    mem_free(ch->comment);
    mem_free(ch->label);
    mem_free(ch->persist);
    mem_free(ch->confirmer.persist_id);
    buf_free(&ch->diff);
    buf_free(&ch->warnings);
    arena_free(ch->arena);
    mem_free(ch);
}

struct change_edit *change_add(struct change *ch, enum edit_op op, const char *path,
                               const char *body, size_t len, enum model_format format) {
    if (ch->n_edits == ch->priv->cap_edits) {
        ch->priv->cap_edits = ch->priv->cap_edits ? ch->priv->cap_edits * 2 : 4;
        ch->edits = mem_array(ch->edits, ch->priv->cap_edits, sizeof *ch->edits);
    }
    char *copy = NULL;
    if (body != NULL) {
        copy = arena_alloc(ch->arena, len + 1);
        memcpy(copy, body, len);
    }
    struct change_edit *ed = &ch->edits[ch->n_edits++];
    *ed = (struct change_edit){.edit = {.op = op,
                                        .target = arena_strdup(ch->arena, path),
                                        .body = copy,
                                        .len = len,
                                        .format = format}};
    return ed;
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* Edits are decoded one after the other, each seeing the result of those before. */
struct decode {
    struct change *change;
    struct snap *base, *now;
};

static void remember_look(struct decode *d, const struct kind *k, const char *path,
                          const struct object *base) {
    struct change_private *p = d->change->priv;
    if (p->n_looked > 0 && strcmp(p->looked[p->n_looked - 1].path, path) == 0) {
        return; /* many edits inside one object */
    }
    if (p->n_looked == p->cap_looked) {
        p->cap_looked = p->cap_looked ? p->cap_looked * 2 : 4;
        p->looked = mem_array(p->looked, p->cap_looked, sizeof *p->looked);
    }
    p->looked[p->n_looked++] =
        (struct looked_at){arena_strdup(d->change->arena, path), k, object_hold(base)};
}

static struct doc *view_get(void *arg, const char *path) {
    struct decode *d = arg;
    const struct kind *k = path_kind(path);
    if (k == NULL) {
        return NULL;
    }
    const struct object *o = snap_find(d->now, k, path);
    remember_look(d, k, path, d->now == d->base ? o : snap_find(d->base, k, path));
    return o ? doc_hold(o->doc) : NULL;
}

static struct doc *view_next(void *arg, const struct kind *k, const struct doc *after) {
    struct decode *d = arg;
    struct snap *s = d->now;
    const struct object *o;
    d->change->priv->listed = true;
    if (after == NULL) {
        o = snap_first_of(s, k);
    } else {
        struct object probe = {.doc = (struct doc *)(uintptr_t)after};
        o = snap_next(s, &probe);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

static void add_prepared(struct change_private *p, const struct object *base,
                         const struct doc *doc) {
    if (p->n_ops == p->cap_ops) {
        p->cap_ops = p->cap_ops ? p->cap_ops * 2 : 4;
        p->ops = mem_array(p->ops, p->cap_ops, sizeof *p->ops);
    }
    p->ops[p->n_ops++] = (struct prepared_op){.path = doc ? doc->path : base->doc->path,
                                              .base = object_hold(base),
                                              .doc = doc ? doc_hold(doc) : NULL};
}

static enum err_code take_result(void *arg, struct doc *old, struct doc *new_doc, struct err *e) {
    struct decode *d = arg;
    (void)e;
    if (d->change->n_edits == 1) {
        /* Within one edit every object comes once, and none of what came is looked at again. */
        const struct change_private *p = d->change->priv;
        const struct object *base = NULL;
        if (old != NULL) {
            const struct object *last = p->n_looked ? p->looked[p->n_looked - 1].base : NULL;
            base =
                last != NULL && last->doc == old ? last : snap_find(d->base, old->kind, old->path);
        }
        add_prepared(d->change->priv, base, new_doc);
        return ERR_OK;
    }
    const struct object *was = snap_get(d->now, old ? old->path : new_doc->path);
    struct object *o = new_doc ? object_new(new_doc, NULL, 0, 0) : NULL;
    d->now = snap_replace(d->now, was, o);
    object_release(o);
    return ERR_OK;
}

static void collect_op(const struct object *in_a, const struct object *in_b, void *arg) {
    struct change_private *p = arg;
    if (in_a != NULL && in_b != NULL && doc_equal(in_a->doc, in_b->doc)) {
        return;
    }
    add_prepared(p, in_a, in_b ? in_b->doc : NULL);
}

/* The object that holds `path` must have this modified index: see struct change_edit. */
static enum err_code check_generation(struct core *c, const char *path, uint64_t wanted,
                                      const struct snap *s, struct err *e) {
    struct arena *a = arena_new();
    struct target where;
    enum err_code rc = path_parse(c->model, path, a, &where, e);
    if (rc == ERR_OK) {
        const struct object *o = where.object ? snap_get(s, where.object) : NULL;
        uint64_t have = where.object == NULL ? snap_index(s) : o ? o->modified : 0;
        if (wanted == CHANGE_ANY) {
            rc = have != 0 ? ERR_OK : err_set(e, ERR_ABSENT, where.path, "does not exist");
        } else if (have != wanted) {
            rc = err_set(e, ERR_CONFLICT, where.path,
                         "was changed meanwhile: it is at %llu, the request was made for %llu",
                         (unsigned long long)have, (unsigned long long)wanted);
        }
    }
    arena_free(a);
    return rc;
}

static enum err_code decode(struct core *c, struct change *ch, struct snap *base, struct err *e) {
    struct change_private *p = ch->priv;
    forget_prepared(p);
    struct decode d = {ch, base, snap_hold(base)};
    struct model_view view = {view_get, view_next, &d};
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < ch->n_edits && rc == ERR_OK; i++) {
        struct change_edit *ed = &ch->edits[i];
        rc = model_edit(c->model, &view, &ed->edit, ch->arena, take_result, &d, &ed->result, e);
        ch->bad_edit = rc == ERR_OK ? SIZE_MAX : i;
    }
    if (rc == ERR_OK) {
        if (ch->n_edits != 1) {
            snap_diff(base, d.now, collect_op, p);
        }
        p->base = snap_hold(base);
    }
    snap_release(d.now);
    return rc;
}

enum err_code core_change_prepare(struct core *c, struct change *ch) {
    if (ch->n_edits > CHANGE_EDITS_MAX) {
        return err_set(&ch->err, ERR_TOO_BIG, NULL, "%zu edits in one change; the limit is %d",
                       ch->n_edits, CHANGE_EDITS_MAX);
    }
    struct snap *s = core_snapshot(c);
    ch->err.code = ERR_OK;
    enum err_code rc = decode(c, ch, s, &ch->err);
    snap_release(s);
    return rc;
}

/* ---- on the writer --------------------------------------------------------------------------- */

static const struct doc *op_doc(const struct txn_op *op) {
    return op->old ? op->old->doc : op->new_->doc;
}

static void index_change(struct txn *t, size_t i) {
    const struct doc *d = op_doc(&t->changes[i]);
    map_put_n(&t->change_index, d->path, d->path_len, (void *)(uintptr_t)(i + 1));
}

/* SIZE_MAX: not touched yet. Most changes are small; large ones get an index. */
static size_t find_change(struct txn *t, const struct doc *d) {
    if (t->n_changes < CHANGES_INDEXED) {
        for (size_t i = 0; i < t->n_changes; i++) {
            const struct doc *x = op_doc(&t->changes[i]);
            if (x->path_len == d->path_len && memcmp(x->path, d->path, d->path_len) == 0) {
                return i;
            }
        }
        return SIZE_MAX;
    }
    if (t->change_index.count != t->n_changes) {
        map_free(&t->change_index, NULL);
        for (size_t i = 0; i < t->n_changes; i++) {
            index_change(t, i);
        }
    }
    return (size_t)(uintptr_t)map_get_n(&t->change_index, d->path, d->path_len) - 1;
}

/* An object touched twice in one change counts once, from its first old to its last new; one that
 * was made and removed again does not count at all. */
static void add_change(struct txn *t, const struct object *old, const struct object *new_) {
    size_t at = find_change(t, old ? old->doc : new_->doc);
    if (at != SIZE_MAX) {
        struct txn_op *op = &t->changes[at];
        struct object *was = (struct object *)(uintptr_t)op->new_;
        op->new_ = object_hold(new_);
        if (op->old == NULL && op->new_ == NULL) {
            memmove(op, op + 1, (--t->n_changes - at) * sizeof *op);
        }
        object_release(was);
        return;
    }
    if (t->n_changes == t->cap_changes) {
        t->cap_changes = t->cap_changes ? t->cap_changes * 2 : 4;
        t->changes = mem_array(t->changes, t->cap_changes, sizeof *t->changes);
    }
    t->changes[t->n_changes++] = (struct txn_op){object_hold(old), object_hold(new_)};
    if (t->change_index.count == t->n_changes - 1 && t->n_changes > CHANGES_INDEXED) {
        index_change(t, t->n_changes - 1);
    }
}

static enum err_code put(struct txn *t, const struct object *old, struct doc *doc,
                         const char *owner, uint64_t created, struct err *e) {
    if (t->sealed) {
        return err_set(e, ERR_INTERNAL, doc ? doc->path : old->doc->path,
                       "a service changed an object after the change was complete");
    }
    struct object *o = doc != NULL ? object_new(doc, owner, created, t->index) : NULL;
    struct object *keep = object_hold(old); /* the tree may hold the only reference */
    add_change(t, keep, o);
    txn_apply_object(t, keep, o);
    object_release(keep);
    object_release(o);
    return ERR_OK;
}

enum err_code change_put(struct txn *t, const struct object *old, struct doc *doc,
                         const char *owner, struct err *e) {
    if (old != NULL && old->owner != NULL && (owner == NULL || strcmp(owner, old->owner) != 0)) {
        return err_set(e, ERR_DENIED, old->doc->path,
                       "was made by %s and goes with it; change that one instead", old->owner);
    }
    if (old != NULL && old->owner == NULL && owner != NULL) {
        return err_set(e, ERR_EXISTS, old->doc->path,
                       "is an operator's own; %s can't make it as well", owner);
    }
    return put(t, old, doc, owner, old ? old->created : t->index, e);
}

enum err_code change_restore(struct txn *t, const struct object *now, const struct object *then,
                             struct err *e) {
    return put(t, now, then ? then->doc : NULL, then ? then->owner : NULL, then ? then->created : 0,
               e);
}

enum err_code txn_put_object(struct txn *t, struct doc *doc, const char *owner, struct err *e) {
    return change_put(t, snap_get(t->core->tip, doc->path), doc, owner, e);
}

enum err_code txn_delete_object(struct txn *t, const char *path, struct err *e) {
    const struct object *old = snap_get(t->core->tip, path);
    if (old == NULL) {
        return err_set(e, ERR_ABSENT, path, "there is no such object");
    }
    return change_put(t, old, NULL, old->owner, e);
}

struct cascade {
    struct txn *t;
    struct err *e;
    enum err_code rc;
};

static void delete_made(const char *path, void *arg) {
    struct cascade *cs = arg;
    const struct object *o = snap_get(cs->t->core->tip, path);
    if (cs->rc == ERR_OK && o != NULL) {
        cs->rc = change_put(cs->t, o, NULL, o->owner, cs->e);
    }
}

/* Made objects go with their maker; their own made objects follow as the loop reaches them. */
static enum err_code cascade_deletes(struct txn *t, struct err *e) {
    struct cascade cs = {t, e, ERR_OK};
    for (size_t i = 0; i < t->n_changes && cs.rc == ERR_OK;) {
        size_t n = t->n_changes;
        if (t->changes[i].new_ == NULL) {
            refs_each_made(t->core, t->changes[i].old->doc->path, delete_made, &cs);
        }
        /* One that was made in this very change is out of the list: look at all again. */
        i = t->n_changes < n ? 0 : i + 1;
    }
    return cs.rc;
}

enum err_code change_finish(struct txn *t, struct err *e) {
    struct core *c = t->core;
    if (t->sealed) {
        return ERR_OK;
    }
    ERR_TRY(cascade_deletes(t, e));
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->complete != NULL) {
            ERR_TRY(c->services[i].service->complete(c->services[i].self, t, e));
        }
    }
    ERR_TRY(cascade_deletes(t, e)); /* of what the services deleted */
    t->sealed = true;
    ERR_TRY(refs_check(t, e));
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->check != NULL) {
            ERR_TRY(c->services[i].service->check(c->services[i].self, t, e));
        }
    }
    for (size_t i = 0; i < t->n_changes; i++) {
        txn_fold_object(t, t->changes[i].old, t->changes[i].new_);
    }
    if (!t->dry_run) {
        txn_encode_changes(t);
    }
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->changed != NULL) {
            c->services[i].service->changed(c->services[i].self, t);
        }
    }
    return ERR_OK;
}

static bool moved(const struct txn *t, const struct change_private *p) {
    if (p->base == NULL) {
        return true;
    }
    if (snap_index(p->base) == snap_index(t->core->tip)) {
        return false;
    }
    if (p->listed) {
        return true;
    }
    for (size_t i = 0; i < p->n_looked; i++) {
        const struct looked_at *l = &p->looked[i];
        if (snap_find(t->core->tip, l->kind, l->path) != l->base) {
            return true;
        }
    }
    return false;
}

static void fill_diff(struct txn *t, struct change *ch) {
    struct err ignore;
    for (size_t i = 0; i < t->n_changes; i++) {
        const struct txn_op *op = &t->changes[i];
        doc_diff_text(t->core->model, op->old ? op->old->doc : NULL,
                      op->new_ ? op->new_->doc : NULL, FORMAT_SET, &ch->diff, &ignore);
    }
}

static void fill_out(struct txn *t, struct change *ch) {
    for (size_t i = 0; i < t->n_touched; i++) {
        ch->targets = mem_array(ch->targets, ch->n_targets + 1, sizeof *ch->targets);
        ch->targets[ch->n_targets++] =
            (struct change_target){mem_strdup(t->touched[i].name), mem_strdup(t->touched[i].what)};
    }
    buf_add(&ch->warnings, t->warnings.data, t->warnings.len);
}

/* The targets of all commits that would be taken back, so that a restart knows whom to wait for. */
static void confirm_targets(const struct txn *t, struct confirm *cf) {
    const struct confirm *was = &t->core->confirm;
    size_t max = t->n_touched + (was->mode ? was->n_targets : 0);
    cf->targets = mem_alloc((max + 1) * sizeof *cf->targets);
    for (size_t i = 0; i < t->n_touched; i++) {
        cf->targets[cf->n_targets++] = t->touched[i].name;
    }
    for (size_t i = 0; was->mode && i < was->n_targets; i++) {
        bool known = false;
        for (size_t k = 0; k < t->n_touched && !known; k++) {
            known = strcmp(was->targets[i], t->touched[k].name) == 0;
        }
        if (!known) {
            cf->targets[cf->n_targets++] = was->targets[i];
        }
    }
}

/* `empty`: a commit of nothing, which is how people confirm (or extend) what waits. */
static enum err_code set_confirm(struct txn *t, const struct change *ch, bool empty,
                                 struct err *e) {
    struct core *c = t->core;
    if (ch->confirm == CONFIRM_NONE) {
        /* A plain commit confirms the one that waits for a person (RFC 6241 8.4.1). */
        if (c->confirm.mode == CONFIRM_BY_PERSON) {
            ERR_TRY(confirm_allowed(t, &ch->who, &ch->confirmer, e));
            confirm_set(t, &(struct confirm){.mode = CONFIRM_NONE});
        }
        return ERR_OK;
    }
    if (empty && c->confirm.mode == CONFIRM_NONE) {
        return ERR_OK;
    }
    if (c->confirm.mode == CONFIRM_BY_PERSON) {
        ERR_TRY(confirm_allowed(t, &ch->who, &ch->confirmer, e));
    }
    struct confirm cf = {.index = empty ? c->confirm.index : t->index,
                         .first_before = c->confirm.mode ? c->confirm.first_before : t->index,
                         .deadline_s =
                             (t->now_ns + ch->confirm_s * NS_PER_S + NS_PER_S - 1) / NS_PER_S,
                         .given_s = ch->confirm_s,
                         .mode = (uint8_t)ch->confirm};
    text_line(cf.user, sizeof cf.user, ch->who.user);
    cf.session = ch->confirmer.session;
    snprintf(cf.persist, sizeof cf.persist, "%s", ch->persist != NULL ? ch->persist : "");
    confirm_targets(t, &cf);
    confirm_set(t, &cf);
    mem_free(cf.targets);
    return ERR_OK;
}

static enum err_code apply_ops(struct txn *t, struct change *ch, struct err *e) {
    struct change_private *p = ch->priv;
    for (size_t i = 0; i < p->n_ops; i++) {
        ERR_TRY(rights_check(t->core->tip, &ch->who, RIGHT_WRITE, p->ops[i].path, e));
    }
    for (size_t i = 0; i < p->n_ops; i++) {
        /* Not moved, or decoded again: the base is what is there. */
        ERR_TRY(change_put(t, p->ops[i].base, p->ops[i].doc, NULL, e));
    }
    return ERR_OK;
}

static enum err_code change_work(struct txn *t, void *arg, struct err *e) {
    struct change *ch = arg;
    if (ch->confirm != CONFIRM_NONE &&
        (ch->confirm_s < 1 || ch->confirm_s > CORE_CONFIRM_SECONDS_MAX)) {
        return err_set(e, ERR_INVALID, NULL, "the time to confirm must be 1..%d seconds, not %u",
                       CORE_CONFIRM_SECONDS_MAX, ch->confirm_s);
    }
    t->force = ch->force;
    t->dry_run = ch->mode == CHANGE_DRY_RUN;
    if (ch->pinned != NULL) {
        ERR_TRY(check_generation(t->core, ch->pinned, ch->pinned_generation, t->core->tip, e));
    }
    for (size_t i = 0; i < ch->n_edits; i++) {
        const struct change_edit *ed = &ch->edits[i];
        ch->bad_edit = i;
        if (ed->check_generation) {
            ERR_TRY(check_generation(t->core, ed->edit.target, ed->generation, t->core->tip, e));
        }
    }
    ch->bad_edit = SIZE_MAX;
    if (moved(t, ch->priv)) {
        t->core->stats.redecoded += ch->priv->base != NULL;
        ERR_TRY(decode(t->core, ch, t->core->tip, e));
    }
    text_line(t->comment, sizeof t->comment, ch->comment ? ch->comment : "");
    text_line(t->label, sizeof t->label, ch->label ? ch->label : "");
    ERR_TRY(apply_ops(t, ch, e));
    if (t->n_changes > 0) {
        if (!t->dry_run) {
            ERR_TRY(core_maintenance_refusal(t->core, e));
        }
        ERR_TRY(change_finish(t, e));
    }
    ch->unchanged = t->n_changes == 0;
    ch->time_s = txn_now_s(t);
    if (t->dry_run) {
        fill_diff(t, ch);
    } else if (!ch->unchanged) {
        ERR_TRY(set_confirm(t, ch, false, e));
        audit_commit(t);
    } else if (ch->n_edits == 0) {
        ERR_TRY(set_confirm(t, ch, true, e));
    }
    fill_out(t, ch);
    return ERR_OK;
}

static void change_done(void *arg, uint64_t index, const struct err *e) {
    struct change *ch = arg;
    ch->err.code = ERR_OK;
    ch->index = 0;
    if (e != NULL) {
        ch->err = *e;
    } else if (ch->mode == CHANGE_COMMIT) {
        ch->index = index;
        if (!ch->unchanged) {
            L_DBG("commit %llu by %s (%s)%s%s", (unsigned long long)index, ch->who.user,
                  ch->who.source, ch->comment ? ": " : "", ch->comment ? ch->comment : "");
        }
    }
    ch->priv->done(ch, ch->priv->arg);
}

void core_change(struct core *c, struct change *ch, void (*done)(struct change *ch, void *arg),
                 void *arg) {
    ch->priv->core = c;
    ch->priv->done = done;
    ch->priv->arg = arg;
    if (ch->priv->base == NULL && core_change_prepare(c, ch) != ERR_OK) {
        done(ch, arg);
        return;
    }
    if (ch->mode == CHANGE_DRY_RUN) {
        core_run_look(c, &ch->who, change_work, change_done, ch);
    } else {
        core_run(c, &ch->who, change_work, change_done, ch);
    }
}
