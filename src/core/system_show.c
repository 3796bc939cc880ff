// SPDX-License-Identifier: Apache-2.0
/* What the system service answers to show commands and to reads of /weft-system:system/state. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/mem.h"
#include "core/internal.h"
#include "core/rights.h"
#include "core/system_int.h"
#include "model/kinds.h"

enum { COMMITS_SHOWN = 50 };

static uint64_t resident_bytes(void) {
    unsigned long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static json_t *u64(uint64_t v) { /* RFC 7951: 64-bit numbers are strings */
    return json_sprintf("%" PRIu64, v);
}

static json_t *time_json(const struct system *sys, int64_t s) {
    char t[TIME_TEXT_MAX];
    return json_string(time_format(s, sys->utc_offset, t));
}

void call_table(struct buf *out, const char *const *cells, size_t n, const int *widths) {
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, i + 1 < n ? "%-*s  " : "%-*s", i + 1 < n ? widths[i] : 0, cells[i]);
    }
    buf_char(out, '\n');
}

/* ---- version --------------------------------------------------------------------------------- */

static json_t *version_json(const struct system *sys) {
    struct core *c = sys->core;
    struct commit_info last = {0};
    core_history(c, &last, 1);
    struct snap *s = core_snapshot(c);
    json_t *o = json_object();
    json_object_set_new(o, "version", json_string(WEFT_VERSION));
    json_object_set_new(o, "started", time_json(sys, sys->started_s));
    json_object_set_new(o, "commit", u64(last.index));
    json_object_set_new(o, "log-index", u64(core_head(c)));
    json_object_set_new(o, "objects", json_integer((json_int_t)snap_count(s)));
    json_object_set_new(o, "memory", u64(resident_bytes()));
    snap_release(s);
    return o;
}

static void show_version(const struct system *sys, struct call *cl) {
    json_t *o = version_json(sys);
    buf_printf(&cl->text,
               "Weft %s, running since %s\n  Last commit: %s\n  Log index  : %s\n"
               "  Objects    : %lld\n  Memory     : %" PRIu64 " MiB\n",
               WEFT_VERSION, json_string_value(json_object_get(o, "started")),
               json_string_value(json_object_get(o, "commit")),
               json_string_value(json_object_get(o, "log-index")),
               (long long)json_integer_value(json_object_get(o, "objects")),
               resident_bytes() >> 20);
    call_answer_json(&cl->json, o);
}

/* ---- commits --------------------------------------------------------------------------------- */

static const char *status_of(const struct system *sys, uint64_t index) {
    if (sys->core->confirm.mode != CONFIRM_NONE && sys->core->confirm.first_before <= index) {
        return "unconfirmed";
    }
    switch (commit_phase_of(sys->core, index, NULL)) {
    case COMMIT_PENDING:
        return "pending";
    case COMMIT_REFUSED:
        return "refused";
    case COMMIT_TAKEN_BACK:
        return "taken-back";
    default: /* of a version that did not record whom it concerned */
        return "applied";
    }
}

static json_t *commit_json(const struct system *sys, const struct commit_info *ci) {
    char dialect[16];
    json_t *o = json_object();
    snprintf(dialect, sizeof dialect, "%.*s", (int)strcspn(ci->source, " "), ci->source);
    json_object_set_new(o, "number", u64(ci->index));
    json_object_set_new(o, "time", time_json(sys, ci->time_s));
    json_object_set_new(o, "user", json_string(ci->user));
    json_object_set_new(o, "dialect", json_string(dialect));
    if (ci->comment[0] || ci->label[0]) {
        char both[REMARK_MAX];
        json_object_set_new(o, "comment", json_string(commit_remark(ci->label, ci->comment, both)));
    }
    json_object_set_new(o, "status", json_string(status_of(sys, ci->index)));
    const struct fate *f = history_fate(sys->core, ci->index);
    if (f != NULL) {
        if (f->by != 0) {
            json_object_set_new(o, "taken-back-by", u64(f->by));
        }
        json_object_set_new(o, "taken-back-time", time_json(sys, f->time_s));
        json_object_set_new(o, "taken-back-reason", json_string(f->why));
    }
    return o;
}

static void say_fate(const struct system *sys, uint64_t index, struct buf *out) {
    const struct fate *f = history_fate(sys->core, index);
    if (f == NULL) {
        return;
    }
    char by[64] = "by later commits", when[TIME_TEXT_MAX];
    if (f->by != 0) {
        snprintf(by, sizeof by, "by commit %" PRIu64, f->by);
    }
    buf_printf(out, "  Undone : %s at %s: %s\n", by, time_format(f->time_s, sys->utc_offset, when),
               f->why);
}

static void show_commits(const struct system *sys, struct call *cl) {
    static const int widths[] = {8, 8, 20, 16, 8, 11, 0};
    static const char *const head[] = {"Rollback", "Commit", "Time",   "User",
                                       "By",       "Status", "Comment"};
    struct commit_info ci[COMMITS_SHOWN];
    size_t n = core_history(sys->core, ci, COMMITS_SHOWN);
    json_t *list = json_array();
    call_table(&cl->text, head, 7, widths);
    for (size_t i = 0; i < n; i++) {
        json_t *o = commit_json(sys, &ci[i]);
        char rollback[16];
        snprintf(rollback, sizeof rollback, "%zu", i);
        const char *comment = json_string_value(json_object_get(o, "comment"));
        const char *cells[] = {rollback,
                               json_string_value(json_object_get(o, "number")),
                               json_string_value(json_object_get(o, "time")),
                               ci[i].user,
                               json_string_value(json_object_get(o, "dialect")),
                               json_string_value(json_object_get(o, "status")),
                               comment ? comment : ""};
        call_table(&cl->text, cells, 7, widths);
        json_object_set_new(o, "rollback", json_integer((json_int_t)i));
        json_array_append_new(list, o);
    }
    json_t *out = json_object();
    json_object_set_new(out, "commit", list);
    call_answer_json(&cl->json, out);
}

struct difference {
    struct core *core;
    const struct actor *who;
    struct buf *out;
};

static void add_difference(const struct object *a, const struct object *b, void *arg) {
    struct difference *d = arg;
    struct err ignore;
    if (!rights_allow(d->core->tip, d->who, RIGHT_READ, (b ? b : a)->doc->path)) {
        return;
    }
    doc_diff_text(d->core->model, a ? a->doc : NULL, b ? b->doc : NULL, FORMAT_SET, d->out,
                  &ignore);
}

static enum err_code show_commit(const struct system *sys, struct call *cl, struct err *e) {
    const struct system_show_commit_input *in = cl->in.data;
    struct commit_info ci[COMMITS_SHOWN];
    size_t n = core_history(sys->core, ci, COMMITS_SHOWN), i = 0;
    while (i < n && ci[i].index != in->number) {
        i++;
    }
    if (i == n) {
        return err_set(e, ERR_ABSENT, NULL, "commit %" PRIu64 " is not among the %zu that are kept",
                       in->number, n);
    }
    struct buf diff = BUF_INIT, targets = BUF_INIT;
    struct snap *after = NULL, *before = NULL;
    struct err ignore;
    if (core_snapshot_at(sys->core, in->number, &after, &ignore) == ERR_OK &&
        history_before(sys->core, in->number, &before, &ignore) == ERR_OK) {
        struct difference d = {sys->core, &cl->who, &diff};
        snap_diff(before, after, add_difference, &d);
    }
    snap_release(after);
    snap_release(before);
    commit_phase_of(sys->core, in->number, &targets);
    json_t *o = commit_json(sys, &ci[i]);
    const char *comment = json_string_value(json_object_get(o, "comment"));
    buf_printf(&cl->text, "Commit %" PRIu64 ": %s\n  Time   : %s\n  User   : %s (%s)\n", in->number,
               status_of(sys, in->number), json_string_value(json_object_get(o, "time")),
               ci[i].user, ci[i].source);
    if (comment != NULL) {
        buf_printf(&cl->text, "  Comment: %s\n", comment);
    }
    say_fate(sys, in->number, &cl->text);
    if (targets.len > 0) {
        buf_printf(&cl->text, "  Targets:\n");
        char *rest = NULL;
        for (char *line = strtok_r((char *)(uintptr_t)buf_cstr(&targets), "\n", &rest);
             line != NULL; line = strtok_r(NULL, "\n", &rest)) {
            buf_printf(&cl->text, "    %s\n", line);
        }
    }
    if (!in->status && diff.len > 0) {
        buf_printf(&cl->text, "  Changes:\n%s", buf_cstr(&diff));
    }
    json_object_set_new(o, "difference", json_string(buf_cstr(&diff)));
    call_answer_json(&cl->json, o);
    buf_free(&diff);
    buf_free(&targets);
    return ERR_OK;
}

/* ---- targets, sessions ----------------------------------------------------------------------- */

static json_t *targets_json(const struct system *sys, const char *only, struct buf *text) {
    static const int widths[] = {24, 8, 8, 8, 8, 20, 0};
    static const char *const head[] = {"Target",  "Type",  "State", "Wanted",
                                       "Applied", "Since", "Reason"};
    json_t *list = json_array();
    if (text != NULL) {
        call_table(text, head, 7, widths);
    }
    size_t n;
    struct target_session **all = targets_sorted(sys->core, &n);
    for (size_t i = 0; i < n; i++) {
        struct target_info ti;
        char wanted[24], applied[24], since[TIME_TEXT_MAX];
        target_info(all[i], &ti);
        if (only != NULL && strcmp(only, ti.name) != 0) {
            continue;
        }
        snprintf(wanted, sizeof wanted, "%" PRIu64, ti.desired);
        snprintf(applied, sizeof applied, "%" PRIu64, ti.applied);
        time_format(ti.since_s, sys->utc_offset, since);
        const char *cells[] = {ti.name, ti.type,  target_state_name(ti.state), wanted, applied,
                               since,   ti.reason};
        if (text != NULL) {
            call_table(text, cells, 7, widths);
        }
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(ti.name));
        json_object_set_new(o, "service", json_string(ti.type));
        json_object_set_new(o, "state", json_string(target_state_name(ti.state)));
        json_object_set_new(o, "wanted", u64(ti.desired));
        json_object_set_new(o, "applied", u64(ti.applied));
        json_object_set_new(o, "since", json_string(since));
        json_object_set_new(o, "reason", json_string(ti.reason));
        json_array_append_new(list, o);
    }
    mem_free(all);
    return list;
}

struct sessions_out {
    const struct system *sys;
    json_t *list;
    struct buf *text;
};

static const int session_widths[] = {6, 16, 8, 28, 20, 0};

static void add_session(const struct session *s, void *arg) {
    struct sessions_out *out = arg;
    char id[24], since[TIME_TEXT_MAX];
    snprintf(id, sizeof id, "%" PRIu64, s->id);
    time_format(s->since_s, out->sys->utc_offset, since);
    const char *cells[] = {id,      s->user, s->dialect,
                           s->from, since,   s->configuring ? "configuring" : ""};
    if (out->text != NULL) {
        call_table(out->text, cells, 6, session_widths);
    }
    json_t *o = json_object();
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "user", json_string(s->user));
    json_object_set_new(o, "dialect", json_string(s->dialect));
    json_object_set_new(o, "from", json_string(s->from));
    json_object_set_new(o, "since", json_string(since));
    json_object_set_new(o, "configuring", json_boolean(s->configuring));
    json_array_append_new(out->list, o);
}

static json_t *sessions_json(const struct system *sys, struct buf *text) {
    struct sessions_out out = {sys, json_array(), text};
    if (text != NULL) {
        call_table(text, (const char *const[]){"Id", "User", "By", "From", "Since", "Mode"}, 6,
                   session_widths);
    }
    sessions_each(add_session, &out);
    return out.list;
}

static void answer_list(struct call *cl, const char *name, json_t *list) {
    json_t *o = json_object();
    json_object_set_new(o, name, list);
    call_answer_json(&cl->json, o);
}

/* ---- log and audit --------------------------------------------------------------------------- */

struct lines_out {
    json_t *list;
    struct buf *text;
};

static void add_line(const char *line, void *arg) {
    struct lines_out *out = arg;
    buf_printf(out->text, "%s\n", line);
    json_array_append_new(out->list, json_string(line));
}

static void show_log(struct call *cl) {
    const struct system_show_log_input *in = cl->in.data;
    struct lines_out out = {json_array(), &cl->text};
    logring_each(in->has_level ? (int)in->level : (int)LOGGER_DEBUG, in->module, in->lines,
                 add_line, &out);
    json_t *o = json_object();
    json_object_set_new(o, "line", out.list);
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No such lines.\n");
    }
    call_answer_json(&cl->json, o);
}

static json_t *audit_json(const struct system *sys, const struct trail_record *r,
                          const char *only_user, struct buf *text) {
    struct cur c = cur_of(r->bytes, r->len);
    json_t *o = NULL;
    if (cur_u8(&c) != AUDIT_VERSION) {
        return NULL;
    }
    int64_t when = (int64_t)cur_u64(&c);
    char *user = cur_blob_strdup(&c), *from = cur_blob_strdup(&c), *action = cur_blob_strdup(&c),
         *result = cur_blob_strdup(&c);
    if (!c.bad && (only_user == NULL || strcmp(user, only_user) == 0)) {
        char t[TIME_TEXT_MAX];
        time_format(when, sys->utc_offset, t);
        o = json_object();
        json_object_set_new(o, "index", u64(r->number));
        json_object_set_new(o, "time", json_string(t));
        json_object_set_new(o, "user", json_string(user));
        json_object_set_new(o, "from", json_string(from));
        json_object_set_new(o, "action", json_string(action));
        json_object_set_new(o, "result", json_string(result));
        buf_printf(text, "%s %s (%s) %s: %s\n", t, user, from, action, result);
    }
    mem_free(user);
    mem_free(from);
    mem_free(action);
    mem_free(result);
    return o;
}

/* Takes the newest record of both trails off; NULL: there are no more. */
static const struct trail_record *newest(const struct system *sys, size_t *audit, size_t *logins) {
    const struct trail_record *a = *audit > 0 ? trail_at(&sys->audit, *audit - 1) : NULL;
    const struct trail_record *l = *logins > 0 ? trail_at(&sys->logins, *logins - 1) : NULL;
    if (a != NULL && (l == NULL || a->number > l->number)) {
        --*audit;
        return a;
    }
    *logins -= l != NULL;
    return l;
}

static void show_audit(const struct system *sys, struct call *cl) {
    const struct system_show_audit_input *in = cl->in.data;
    size_t audit = sys->audit.n, logins = sys->logins.n, n = 0;
    const struct trail_record **found = mem_array(NULL, in->lines, sizeof *found), *r;
    struct buf scratch = BUF_INIT;
    while (n < in->lines && (r = newest(sys, &audit, &logins)) != NULL) {
        json_t *o = audit_json(sys, r, in->user, &scratch);
        if (o != NULL) {
            found[n++] = r;
        }
        json_decref(o);
    }
    buf_free(&scratch);
    json_t *list = json_array();
    while (n-- > 0) {
        json_array_append_new(list, audit_json(sys, found[n], in->user, &cl->text));
    }
    mem_free(found);
    if (cl->text.len == 0) {
        buf_str(&cl->text, "No such entries.\n");
    }
    answer_list(cl, "entry", list);
}

/* ---- entry points ---------------------------------------------------------------------------- */

enum err_code system_show(struct system *sys, struct txn *t, struct call *cl, struct err *e) {
    const struct node *rpc = cl->in.rpc;
    (void)t;
    if (rpc == system_show_version_rpc) {
        show_version(sys, cl);
    } else if (rpc == system_show_system_commit_rpc) {
        show_commits(sys, cl);
    } else if (rpc == system_show_commit_rpc) {
        return show_commit(sys, cl, e);
    } else if (rpc == system_show_system_targets_rpc) {
        const struct system_show_system_targets_input *in = cl->in.data;
        if (in->name != NULL && map_get(&sys->core->targets, in->name) == NULL) {
            return err_set(e, ERR_ABSENT, NULL, "there is no target \"%s\"", in->name);
        }
        answer_list(cl, "target", targets_json(sys, in->name, &cl->text));
    } else if (rpc == system_show_system_users_rpc) {
        answer_list(cl, "session", sessions_json(sys, &cl->text));
    } else if (rpc == system_show_log_rpc) {
        show_log(cl);
    } else if (rpc == system_show_audit_rpc) {
        show_audit(sys, cl);
    } else {
        return err_set(e, ERR_UNSUPPORTED, NULL, "\"%s\" is not answered by this version",
                       rpc->name);
    }
    return ERR_OK;
}

enum err_code system_look(void *self, struct txn *t, struct look *l, struct err *e) {
    const struct system *sys = self;
    (void)t;
    (void)e;
    json_t *o = version_json(sys);
    json_object_set_new(o, "target", targets_json(sys, NULL, NULL));
    json_object_set_new(o, "session", sessions_json(sys, NULL));
    call_answer_json(&l->json, o);
    return ERR_OK;
}
