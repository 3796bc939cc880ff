// SPDX-License-Identifier: Apache-2.0
/*
 * Changes: edits become documents (in the caller's thread, against a snapshot), documents become
 * operations (on the writer, against what is true then), services complete and check them.
 */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "core/internal.h"
#include "core/rights.h"
#include "core/system.h"

LOGGER_MODULE(change);

enum { CHANGE_EDITS_MAX = 1 << 20 };

struct prepared_op {
    char *path;
    const struct kind *kind;
    struct object *base; /* as decoded against; NULL: was not there */
    struct doc *doc;     /* NULL: deleted */
};

struct change_private {
    struct snap *base; /* what it was decoded against; NULL: not prepared */
    struct prepared_op *ops;
    size_t n_ops, cap_ops;
    size_t cap_edits;
    bool above; /* an edit reaches above objects: others' new objects matter to it */
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
        mem_free(p->ops[i].path);
        object_release(p->ops[i].base);
        doc_drop(p->ops[i].doc);
    }
    p->n_ops = 0;
    p->above = false;
    snap_release(p->base);
    p->base = NULL;
}

void change_free(struct change *ch) {
    if (ch == NULL) {
        return;
    }
    forget_prepared(ch->priv);
    mem_free(ch->priv->ops);
    mem_free(ch->priv);
    for (size_t i = 0; i < ch->n_targets; i++) {
        mem_free(ch->targets[i].name);
        mem_free(ch->targets[i].what);
    }
    mem_free(ch->targets);
    mem_free(ch->edits);
    mem_free(ch->comment);
    mem_free(ch->label);
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
    struct core *core;
    struct snap *now;
};

static struct doc *view_get(void *arg, const char *path) {
    const struct object *o = snap_get(((struct decode *)arg)->now, path);
    return o ? doc_hold(o->doc) : NULL;
}

static struct doc *view_next(void *arg, const struct kind *k, const struct doc *after) {
    struct snap *s = ((struct decode *)arg)->now;
    const struct object *o;
    if (after == NULL) {
        o = snap_first_of(s, k);
    } else {
        struct object probe = {.doc = (struct doc *)(uintptr_t)after};
        o = snap_next(s, &probe);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

static enum err_code take_result(void *arg, struct doc *old, struct doc *new_doc, struct err *e) {
    struct decode *d = arg;
    (void)e;
    struct snap *next;
    if (new_doc != NULL) {
        struct object *o = object_new(new_doc, NULL, 0, 0);
        next = snap_put(d->now, o);
        object_release(o);
    } else {
        next = snap_del(d->now, old->kind, old->path);
    }
    snap_release(d->now);
    d->now = next;
    return ERR_OK;
}

static void collect_op(const struct object *in_a, const struct object *in_b, void *arg) {
    struct change_private *p = arg;
    if (in_a != NULL && in_b != NULL && doc_equal(in_a->doc, in_b->doc)) {
        return;
    }
    const struct doc *d = in_b ? in_b->doc : in_a->doc;
    if (p->n_ops == p->cap_ops) {
        p->cap_ops = p->cap_ops ? p->cap_ops * 2 : 4;
        p->ops = mem_array(p->ops, p->cap_ops, sizeof *p->ops);
    }
    p->ops[p->n_ops++] = (struct prepared_op){.path = mem_strdup(d->path),
                                              .kind = d->kind,
                                              .base = object_hold(in_a),
                                              .doc = in_b ? doc_hold(in_b->doc) : NULL};
}

static enum err_code check_generation(struct core *c, const struct change_edit *ed,
                                      const struct snap *s, struct err *e) {
    if (!ed->check_generation) {
        return ERR_OK;
    }
    struct arena *a = arena_new();
    struct target where;
    enum err_code rc = path_parse(c->model, ed->edit.target, a, &where, e);
    if (rc == ERR_OK) {
        const struct object *o = where.object ? snap_get(s, where.object) : NULL;
        uint64_t have = where.object == NULL ? snap_index(s) : o ? o->modified : 0;
        if (ed->generation == CHANGE_ANY) {
            rc = have != 0 ? ERR_OK : err_set(e, ERR_ABSENT, where.path, "does not exist");
        } else if (have != ed->generation) {
            rc = err_set(e, ERR_CONFLICT, where.path,
                         "was changed meanwhile: it is at %llu, the request was made for %llu",
                         (unsigned long long)have, (unsigned long long)ed->generation);
        }
    }
    arena_free(a);
    return rc;
}

static bool above_objects(struct core *c, const char *target, struct arena *a) {
    struct target where;
    struct err ignore;
    return path_parse(c->model, target, a, &where, &ignore) != ERR_OK || where.object == NULL;
}

static enum err_code decode(struct core *c, struct change *ch, struct snap *base, struct err *e) {
    struct change_private *p = ch->priv;
    forget_prepared(p);
    struct decode d = {c, snap_hold(base)};
    struct model_view view = {view_get, view_next, &d};
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < ch->n_edits && rc == ERR_OK; i++) {
        struct change_edit *ed = &ch->edits[i];
        p->above |= ed->edit.child || above_objects(c, ed->edit.target, ch->arena);
        rc = model_edit(c->model, &view, &ed->edit, ch->arena, take_result, &d, &ed->result, e);
        ch->bad_edit = rc == ERR_OK ? SIZE_MAX : i;
    }
    if (rc == ERR_OK) {
        snap_diff(base, d.now, collect_op, p);
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

static void add_change(struct txn *t, const struct object *old, const struct object *new_) {
    /* An object touched twice in one change counts once, from its first old to its last new. */
    const char *path = old ? old->doc->path : new_->doc->path;
    if (t->in_change) {
        for (size_t i = 0; i < t->n_changes; i++) {
            struct txn_op *op = &t->changes[i];
            const char *p = op->old ? op->old->doc->path : op->new_->doc->path;
            if (strcmp(p, path) == 0) {
                object_release((struct object *)(uintptr_t)op->new_);
                op->new_ = object_hold(new_);
                return;
            }
        }
    }
    if (t->n_changes == t->cap_changes) {
        t->cap_changes = t->cap_changes ? t->cap_changes * 2 : 4;
        t->changes = mem_array(t->changes, t->cap_changes, sizeof *t->changes);
    }
    t->changes[t->n_changes++] = (struct txn_op){object_hold(old), object_hold(new_)};
}

enum err_code change_put(struct txn *t, const struct object *old, struct doc *doc,
                         const char *owner, struct err *e) {
    if (old != NULL && old->owner != NULL && (owner == NULL || strcmp(owner, old->owner) != 0)) {
        return err_set(e, ERR_DENIED, old->doc->path,
                       "was made by %s and goes with it; change that one instead", old->owner);
    }
    struct object *o = NULL;
    if (doc != NULL) {
        o = object_new(doc, owner, old ? old->created : t->index, t->index);
    }
    struct object *keep = object_hold(old); /* the tree may hold the only reference */
    add_change(t, keep, o);
    txn_apply_object(t, keep, o);
    object_release(keep);
    object_release(o);
    t->is_commit = true;
    return ERR_OK;
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
    for (size_t i = 0; i < t->n_changes && cs.rc == ERR_OK; i++) {
        if (t->changes[i].new_ == NULL) {
            refs_each_made(t->core, t->changes[i].old->doc->path, delete_made, &cs);
        }
    }
    return cs.rc;
}

enum err_code change_finish(struct txn *t, struct err *e) {
    struct core *c = t->core;
    t->in_change = true;
    ERR_TRY(cascade_deletes(t, e));
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->complete != NULL) {
            ERR_TRY(c->services[i].service->complete(c->services[i].self, t, e));
        }
    }
    ERR_TRY(refs_check(t, e));
    for (size_t i = 0; i < c->n_services; i++) {
        if (c->services[i].service->check != NULL) {
            ERR_TRY(c->services[i].service->check(c->services[i].self, t, e));
        }
    }
    for (size_t i = 0; i < t->n_changes; i++) {
        txn_fold_object(t, t->changes[i].old, t->changes[i].new_);
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
    if (p->above) {
        return true;
    }
    for (size_t i = 0; i < p->n_ops; i++) {
        if (snap_get(t->core->tip, p->ops[i].path) != p->ops[i].base) {
            return true;
        }
    }
    return p->n_ops == 0; /* "nothing to do" was true of another state */
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

static void set_confirm(struct txn *t, const struct change *ch) {
    struct core *c = t->core;
    if (ch->confirm == CONFIRM_NONE) {
        /* A plain commit confirms the one that waits for a person (RFC 6241 8.4.1). */
        if (c->confirm.mode == CONFIRM_BY_PERSON) {
            confirm_set(t, &(struct confirm){.mode = CONFIRM_NONE});
        }
        return;
    }
    struct confirm cf = {.index = t->index,
                         .first_before = c->confirm.mode ? c->confirm.first_before : t->index,
                         .deadline_s = txn_now_s(t) + ch->confirm_s,
                         .mode = (uint8_t)ch->confirm};
    snprintf(cf.user, sizeof cf.user, "%s", ch->who.user);
    confirm_set(t, &cf);
}

static enum err_code apply_ops(struct txn *t, struct change *ch, struct err *e) {
    struct change_private *p = ch->priv;
    for (size_t i = 0; i < p->n_ops; i++) {
        ERR_TRY(rights_check(t->core->tip, &ch->who, RIGHT_WRITE, p->ops[i].path, e));
    }
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct object *old = snap_get(t->core->tip, p->ops[i].path);
        if (old != NULL && p->ops[i].doc != NULL && doc_equal(old->doc, p->ops[i].doc)) {
            continue;
        }
        ERR_TRY(change_put(t, old, p->ops[i].doc, NULL, e));
    }
    return ERR_OK;
}

static enum err_code change_work(struct txn *t, void *arg, struct err *e) {
    struct change *ch = arg;
    t->force = ch->force;
    t->dry_run = ch->mode == CHANGE_DRY_RUN;
    for (size_t i = 0; i < ch->n_edits; i++) {
        ch->bad_edit = i;
        ERR_TRY(check_generation(t->core, &ch->edits[i], t->core->tip, e));
    }
    ch->bad_edit = SIZE_MAX;
    if (moved(t, ch->priv)) {
        t->core->stats.redecoded += ch->priv->base != NULL;
        ERR_TRY(decode(t->core, ch, t->core->tip, e));
    }
    snprintf(t->comment, sizeof t->comment, "%s", ch->comment ? ch->comment : "");
    snprintf(t->label, sizeof t->label, "%s", ch->label ? ch->label : "");
    ERR_TRY(apply_ops(t, ch, e));
    ch->unchanged = t->n_changes == 0;
    if (!ch->unchanged) {
        ERR_TRY(change_finish(t, e));
    }
    if (t->dry_run) {
        fill_diff(t, ch);
    } else if (!ch->unchanged) {
        set_confirm(t, ch);
        audit_put(t, ch->label ? ch->label : "commit", ch->comment ? ch->comment : "");
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
            L_INFO("commit %llu by %s (%s)%s%s", (unsigned long long)index, ch->who.user,
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
    core_run(c, &ch->who, change_work, change_done, ch);
}
