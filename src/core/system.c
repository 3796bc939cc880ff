// SPDX-License-Identifier: Apache-2.0
/* The system service: folds its settings, keeps the audit trail, carries out its requests. */
#include "core/system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/internal.h"
#include "core/passwords.h"
#include "core/rights.h"
#include "core/system_int.h"
#include "model/kinds.h"

LOGGER_MODULE(system);

enum { DELETE_OBJECTS_DEFAULT = 100 };

static void *create(struct core *c) {
    struct system *sys = MEM_NEW(struct system);
    sys->core = c;
    sys->started_s = clock_wall_s(core_clock(c));
    sys->delete_objects = DELETE_OBJECTS_DEFAULT;
    nodes_init(&sys->nodes);
    c->nodes = &sys->nodes;
    return sys;
}

static enum err_code start(void *self, struct err *e) {
    struct system *sys = self;
    system_backup_register(sys);
    if (snap_get(sys->core->tip, "/weft-system:system/logging") == NULL) {
        system_fold_logging(NULL); /* the defaults */
    }
    return ERR_OK;
}

static void destroy(void *self) {
    struct system *sys = self;
    trail_free(&sys->audit);
    trail_free(&sys->logins);
    sys->core->nodes = NULL;
    nodes_free(&sys->nodes);
    mem_free(sys);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void fold_settings(struct system *sys, const struct object *o) {
    const struct system_settings *s = o ? o->doc->data : NULL;
    sys->utc_offset = s ? s->utc_offset : 0;
    sys->delete_objects = s ? s->guard_rails.delete_objects : DELETE_OBJECTS_DEFAULT;
    sys->core->options.history = s ? s->history.rollbacks : HISTORY_DEFAULT;
}

static void config(void *self, const struct object *old, const struct object *new_) {
    const struct kind *k = (new_ ? new_ : old)->doc->kind;
    if (k == &system_logging_kind) {
        system_fold_logging(new_);
    } else if (k == &system_settings_kind) {
        fold_settings(self, new_);
    }
}

/* Why a right on `path` would never decide anything; NULL: it may. A right that is written for
 * nothing, above all one that was to deny something, must not pass for one. */
static const char *idle_right(const struct model *m, const char *path, struct arena *a) {
    struct target t;
    struct err e;
    size_t n = strlen(path);
    if (strcmp(path, "/") == 0) {
        return NULL;
    }
    if (path[n - 1] == ':' && strchr(path + 1, '/') == NULL) {
        const struct module_info *module = model_module(arena_strndup(a, path + 1, n - 2));
        return module != NULL && module->implemented ? NULL : "there is no such module";
    }
    if (model_rpc(path + 1) != NULL || model_notification(path + 1) != NULL ||
        rights_is_operation(path)) {
        return NULL;
    }
    if (path_parse(m, path, a, &t, &e) != ERR_OK) {
        return arena_strdup(a, e.text);
    }
    if (strcmp(t.path, path) != 0) {
        return arena_printf(a, "write it as %s", t.path);
    }
    if (!t.node->config) {
        bool top = t.node->parent == NULL || t.node->parent->config;
        return top ? NULL : "rights on state are on all that is below one place or on none of it";
    }
    return t.object != NULL && !t.is_object ? "rights are on whole objects" : NULL;
}

static enum err_code check_role(const struct core *c, const struct object *o, struct err *e) {
    const struct system_role *role = o->doc->data;
    struct arena *a = arena_new();
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < role->n_right && rc == ERR_OK; i++) {
        const char *why = idle_right(c->model, role->right[i].path, a);
        if (why != NULL) {
            struct buf place = BUF_INIT;
            buf_printf(&place, "%s/right", o->doc->path);
            path_add_key(&place, true, role->right[i].path);
            rc = err_set(e, ERR_INVALID, buf_cstr(&place), "a right on %s has no meaning: %s",
                         role->right[i].path, why);
            buf_free(&place);
        }
    }
    arena_free(a);
    return rc;
}

static enum err_code check(void *self, struct txn *t, struct err *e) {
    struct system *sys = self;
    size_t deletes = 0;
    for (size_t i = 0; i < txn_n_ops(t); i++) {
        struct txn_op op = txn_op(t, i);
        deletes += op.new_ == NULL;
        if (op.new_ != NULL && op.new_->doc->kind == &system_role_kind) {
            ERR_TRY(check_role(sys->core, op.new_, e));
        }
    }
    if (deletes > sys->delete_objects && !txn_force(t)) {
        return err_rail(
            e,
            err_set(e, ERR_REFUSED, "/weft-system:system/settings/guard-rails/delete-objects",
                    "this would delete %zu objects, the guard rail is %u; commit with force if it "
                    "is meant",
                    deletes, sys->delete_objects));
    }
    return ERR_OK;
}

/* ---- audit records --------------------------------------------------------------------------- */

/* The trail that the key belongs to, and its number; NULL: none. */
static struct trail *trail_of(struct system *sys, const char *key, size_t len, uint64_t *n) {
    bool login = len > strlen(LOGIN_PREFIX) && memcmp(key, LOGIN_PREFIX, strlen(LOGIN_PREFIX)) == 0;
    const char *prefix = login ? LOGIN_PREFIX : AUDIT_PREFIX;
    size_t skip = strlen(prefix);
    char digits[24];
    if (len <= skip || len - skip >= sizeof digits || memcmp(key, prefix, skip) != 0) {
        return NULL;
    }
    snprintf(digits, sizeof digits, "%.*s", (int)(len - skip), key + skip);
    *n = strtoull(digits, NULL, 10);
    return login ? &sys->logins : &sys->audit;
}

static bool state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    const struct system *sys = self;
    uint64_t n;
    if (nodes_mine(key, key_len)) {
        return nodes_encode(&sys->nodes, key, key_len, out);
    }
    const struct trail *t = trail_of(self, key, key_len, &n);
    const struct trail_record *r = t != NULL ? trail_get(t, n) : NULL;
    if (r != NULL) {
        buf_add(out, r->bytes, r->len);
    }
    return r != NULL;
}

static enum err_code state_fold(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e) {
    struct system *sys = self;
    uint64_t n;
    if (nodes_mine(key, key_len)) {
        return nodes_fold(&sys->nodes, key, key_len, value, len, e);
    }
    struct trail *t = trail_of(self, key, key_len, &n);
    if (t == NULL) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "is not a record of this version");
    }
    trail_fold(t, n, value, len);
    return ERR_OK;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void say(struct call *cl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct call *cl, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&cl->text, fmt, ap);
    va_end(ap);
    buf_char(&cl->text, '\n');
}

void call_answer_json(struct buf *out, json_t *o) {
    char *s = json_dumps(o, JSON_COMPACT);
    buf_str(out, s ? s : "{}");
    free(s);
    json_decref(o);
}

/* An object of weft-system put by a request, with all that a change goes through. */
static enum err_code put_json(struct system *sys, struct txn *t, const struct kind *k, json_t *o,
                              const char *label, struct err *e) {
    char *json = json_dumps(o, JSON_COMPACT);
    struct doc *d = NULL;
    enum err_code rc = doc_parse(sys->core->model, k, json, strlen(json), &d, e);
    free(json);
    if (rc == ERR_OK) {
        snprintf(t->label, sizeof t->label, "%s", label);
        rc = txn_put_object(t, d, NULL, e);
    }
    doc_drop(d);
    return rc == ERR_OK ? change_finish(t, e) : rc;
}

/* Everybody may handle the own credentials; for those of somebody else it takes the right to change
 * that user, or the commands would be a way to become an administrator. */
static enum err_code may_act_for(const struct snap *s, const struct call *cl, const char *user,
                                 struct err *e) {
    if (strcmp(user, cl->who.user) == 0) {
        return ERR_OK;
    }
    struct buf path = BUF_INIT;
    path_object(&system_user_kind, &user, &path);
    enum err_code rc = rights_check(s, &cl->who, RIGHT_WRITE, buf_cstr(&path), e);
    buf_free(&path);
    return rc;
}

static enum err_code token_create(struct system *sys, struct txn *t, struct call *cl,
                                  struct err *e) {
    const struct system_token_create_input *in = cl->in.data;
    struct rights_token_text tok;
    char created[TIME_TEXT_MAX], expires[TIME_TEXT_MAX];
    const char *user = in->user ? in->user : cl->who.user;
    ERR_TRY(may_act_for(txn_snap(t), cl, user, e));
    rights_token_new(&tok);
    json_t *o = json_object();
    json_object_set_new(o, "id", json_string(tok.id));
    json_object_set_new(o, "user", json_string(user));
    json_object_set_new(o, "hash", json_string(tok.hash));
    if (in->description != NULL) {
        json_object_set_new(o, "description", json_string(in->description));
    }
    json_object_set_new(o, "created", json_string(time_format(txn_now_s(t), 0, created)));
    if (in->has_days) {
        time_format(txn_now_s(t) + (int64_t)in->days * 86400, 0, expires);
        json_object_set_new(o, "expires", json_string(expires));
    }
    enum err_code rc = put_json(sys, t, &system_token_kind, o, "token create", e);
    json_decref(o);
    ERR_TRY(rc);
    say(cl, "Token %s of %s, shown this once:\n%s", tok.id, user, tok.token);
    json_t *out = json_object();
    json_object_set_new(out, "id", json_string(tok.id));
    json_object_set_new(out, "token", json_string(tok.token));
    call_answer_json(&cl->json, out);
    mem_wipe(&tok, sizeof tok);
    return ERR_OK;
}

static enum err_code token_revoke(struct txn *t, struct call *cl, struct err *e) {
    const struct system_token_revoke_input *in = cl->in.data;
    struct buf path = BUF_INIT;
    path_object(&system_token_kind, &in->id, &path);
    const struct object *old = txn_get(t, buf_cstr(&path));
    enum err_code rc = ERR_OK;
    if (old != NULL) {
        rc = may_act_for(txn_snap(t), cl, ((const struct system_token *)old->doc->data)->user, e);
    }
    if (rc == ERR_OK) {
        rc = txn_delete_object(t, buf_cstr(&path), e);
    }
    buf_free(&path);
    ERR_TRY(rc);
    snprintf(t->label, sizeof t->label, "token revoke");
    ERR_TRY(change_finish(t, e));
    say(cl, "Token %s is no longer good.", in->id);
    return ERR_OK;
}

/* The hash was made in a worker (prepare) and waits in cl->cursor. */
static enum err_code set_password(struct system *sys, struct txn *t, struct call *cl,
                                  struct err *e) {
    const struct system_password_input *in = cl->in.data;
    const char *user = in->user ? in->user : cl->who.user;
    ERR_TRY(may_act_for(txn_snap(t), cl, user, e));
    struct buf path = BUF_INIT;
    path_object(&system_user_kind, &user, &path);
    const struct object *old = txn_get(t, buf_cstr(&path));
    enum err_code rc = ERR_OK;
    if (old == NULL) {
        rc = err_set(e, ERR_ABSENT, buf_cstr(&path), "there is no user \"%s\"", user);
    }
    buf_free(&path);
    ERR_TRY(rc);
    json_error_t je;
    json_t *o = json_loads(old->doc->json, 0, &je);
    password_retire(txn_snap(t), o);
    char now[TIME_TEXT_MAX];
    json_object_set_new(o, "password-hash", json_string(cl->cursor));
    json_object_set_new(o, "password-changed", json_string(time_format(txn_now_s(t), 0, now)));
    if (in->must_change) {
        json_object_set_new(o, "password-must-change", json_true());
    } else {
        json_object_del(o, "password-must-change");
    }
    rc = put_json(sys, t, &system_user_kind, o, "password", e);
    json_decref(o);
    mem_free(cl->cursor); /* core frees it when we refuse */
    cl->cursor = NULL;
    ERR_TRY(rc);
    say(cl, "The password of %s is set.", user);
    return ERR_OK;
}

static enum err_code hold(struct system *sys, struct txn *t, struct call *cl, const char *name,
                          bool held, struct err *e) {
    struct target_session *ts = map_get(&sys->core->targets, name);
    if (ts == NULL) {
        return err_set(e, ERR_ABSENT, NULL, "there is no target \"%s\"", name);
    }
    target_hold(ts, t, held);
    say(cl, "Target %s is %s.", name,
        held ? "held: nothing is sent to it until it is resumed" : "resumed");
    return ERR_OK;
}

static void add_finding(const char *where, const char *text, void *arg) {
    json_array_append_new(arg, json_sprintf("%s: %s", where, text));
}

/* Check, as backup, reads the whole store: in a worker, beside the writer. */
static enum err_code run_check(struct system *sys, struct call *cl, struct err *e) {
    json_t *problems = json_array();
    size_t n = 0;
    struct log_status st;
    enum err_code rc = log_check(sys->core->log, add_finding, problems, &n, e);
    if (rc != ERR_OK) {
        json_decref(problems);
        return rc;
    }
    log_status(sys->core->log, &st);
    struct snap *s = core_snapshot(sys->core);
    size_t objects = snap_count(s);
    snap_release(s);
    say(cl, "Log entries %" PRIu64 "..%" PRIu64 ", %zu %s: %zu %s.", st.oldest, st.head, objects,
        text_plural(objects, "object", "objects"), n, text_plural(n, "problem", "problems"));
    size_t i;
    json_t *p;
    json_array_foreach(problems, i, p) {
        say(cl, "  %s", json_string_value(p));
    }
    json_t *o = json_object();
    json_object_set_new(o, "entries", json_sprintf("%" PRIu64, st.head - st.oldest + 1));
    json_object_set_new(o, "objects", json_sprintf("%zu", objects));
    json_object_set_new(o, "problem", problems);
    call_answer_json(&cl->json, o);
    return ERR_OK;
}

static bool slow(const struct node *rpc) {
    return rpc == system_backup_rpc || rpc == system_check_rpc || rpc == system_password_rpc ||
           system_cluster_slow(rpc);
}

static bool slow_write(const struct node *rpc) {
    return rpc == system_password_rpc || system_cluster_slow_write(rpc);
}

static enum err_code prepare(void *self, struct call *cl, struct err *e) {
    if (system_cluster_slow(cl->in.rpc)) {
        return system_cluster_prepare(self, cl, e);
    }
    cl->outside = cl->in.rpc != system_password_rpc;
    if (cl->in.rpc == system_backup_rpc) {
        return system_backup(self, cl, e);
    }
    if (cl->in.rpc == system_check_rpc) {
        return run_check(self, cl, e);
    }
    const struct system_password_input *in = cl->in.data;
    struct snap *s = core_snapshot(((struct system *)self)->core);
    const char *user = in->user != NULL ? in->user : cl->who.user;
    /* First: what is said about former passwords is for those who may set new ones. */
    enum err_code rc = may_act_for(s, cl, user, e);
    if (rc == ERR_OK) {
        rc = password_check(s, user, in->password,
                            clock_wall_s(core_clock(((struct system *)self)->core)), e);
    }
    snap_release(s);
    ERR_TRY(rc);
    mem_free(cl->cursor);
    cl->cursor = rights_hash(in->password);
    mem_wipe((char *)(uintptr_t)in->password, strlen(in->password));
    return cl->cursor != NULL
               ? ERR_OK
               : err_set(e, ERR_INVALID, "password", "the password is longer than %d bytes",
                         RIGHTS_PASSWORD_MAX - 1);
}

static enum err_code call(void *self, struct txn *t, struct call *cl, struct err *e) {
    struct system *sys = self;
    const struct node *rpc = cl->in.rpc;
    if (rpc == system_token_create_rpc) {
        return token_create(sys, t, cl, e);
    }
    if (rpc == system_token_revoke_rpc) {
        return token_revoke(t, cl, e);
    }
    if (rpc == system_password_rpc) {
        return set_password(sys, t, cl, e);
    }
    if (rpc == system_target_hold_rpc) {
        const struct system_target_hold_input *in = cl->in.data;
        return hold(sys, t, cl, in->target, true, e);
    }
    if (rpc == system_target_resume_rpc) {
        const struct system_target_resume_input *in = cl->in.data;
        return hold(sys, t, cl, in->target, false, e);
    }
    const struct system_backup_input *backup = cl->in.data;
    if (rpc == system_backup_rpc && backup->background) {
        return system_backup_job(t, cl, e);
    }
    if (slow(rpc)) { /* done in prepare, but for what only the writer may do */
        return system_cluster_call(sys, t, cl, e);
    }
    return system_show(sys, t, cl, e);
}

static void values(void *self, struct txn *t, struct values *v) {
    struct system *sys = self;
    const struct node *rpc = v->leaf->parent ? v->leaf->parent->parent : NULL;
    if (rpc == system_target_hold_rpc || rpc == system_target_resume_rpc ||
        rpc == system_show_system_targets_rpc) {
        size_t n;
        struct target_session **all = targets_sorted(sys->core, &n);
        for (size_t i = 0; i < n; i++) {
            struct target_info ti;
            target_info(all[i], &ti);
            buf_printf(&v->out, "%s\t%s, %s\n", ti.name, ti.type, target_state_name(ti.state));
        }
        mem_free(all);
    } else if (rpc == system_show_commit_rpc) {
        struct commit_info ci[50];
        size_t n = core_history(sys->core, ci, 50);
        (void)t;
        for (size_t i = 0; i < n; i++) {
            buf_printf(&v->out, "%" PRIu64 "\tby %s %s\n", ci[i].index, ci[i].user, ci[i].comment);
        }
    }
}

const struct service system_service = {
    .name = "system",
    .state_prefix = "system/",
    .module = "weft-system",
    .create = create,
    .destroy = destroy,
    .start = start,
    .check = check,
    .config = config,
    .state_encode = state_encode,
    .state_fold = state_fold,
    .slow = slow,
    .slow_write = slow_write,
    .prepare = prepare,
    .call = call,
    .provides = "/weft-system:system/state",
    .look = system_look,
    .values = values,
};
