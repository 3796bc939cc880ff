// SPDX-License-Identifier: Apache-2.0
/* The requests of maintenance; what it means stands in core/maintenance.c. */
#include <stdio.h>
#include <string.h>

#include "admin/internal.h"
#include "base/text.h"

static json_t *state_json(const struct core_maintenance *m, size_t jobs) {
    char since[TIME_TEXT_MAX];
    json_t *o = json_object();
    json_object_set_new(o, "mode", json_string(m->on ? "maintenance" : "operation"));
    if (m->on) {
        json_object_set_new(o, "since", json_string(time_format(m->since_s, 0, since)));
        json_object_set_new(o, "user", json_string(m->user));
        json_object_set_new(o, "reason", json_string(m->reason));
    }
    json_object_set_new(o, "jobs", json_integer((json_int_t)jobs));
    return o;
}

static void answer(const struct core_maintenance *m, size_t jobs, struct call *cl) {
    char since[TIME_TEXT_MAX];
    if (m->on) {
        buf_printf(&cl->text, "Mode  : maintenance\nSince : %s\nUser  : %s\nReason: %s\n",
                   time_format(m->since_s, 0, since), m->user, m->reason);
    } else {
        buf_str(&cl->text, "Mode  : operation\n");
    }
    buf_printf(&cl->text, "Jobs  : %zu not ended\n", jobs);
    admin_json(&cl->json, state_json(m, jobs));
}

static void tell(struct txn *t, const struct core_maintenance *m, size_t jobs) {
    struct buf json = BUF_INIT;
    admin_json(&json, state_json(m, jobs));
    txn_event(t, "weft-admin:maintenance", buf_cstr(&json));
    buf_free(&json);
}

static enum err_code check_idle(struct core *c, size_t jobs, struct err *e) {
    int64_t deadline;
    uint64_t pending = core_confirm_pending(c, &deadline);
    if (jobs > 0) {
        return err_set(e, ERR_REFUSED, "if-idle", "%zu %s not ended: see show job", jobs,
                       text_plural(jobs, "job has", "jobs have"));
    }
    return pending != 0
               ? err_set(e, ERR_REFUSED, "if-idle", "commit %llu waits for its confirmation",
                         (unsigned long long)pending)
               : ERR_OK;
}

static enum err_code on(struct core *c, struct txn *t, struct call *cl, struct err *e) {
    const struct admin_maintenance_on_input *in = cl->in.data;
    size_t jobs = jobs_live(c);
    struct core_maintenance m;
    if (core_maintenance(c, &m)) {
        return err_set(e, ERR_EXISTS, NULL, "%s has put it into maintenance already: %s", m.user,
                       m.reason);
    }
    if (in->if_idle) {
        ERR_TRY(check_idle(c, jobs, e));
    }
    core_maintenance_set(t, in->reason);
    core_maintenance(c, &m);
    tell(t, &m, jobs);
    answer(&m, jobs, cl);
    return ERR_OK;
}

enum err_code maintenance_call(struct core *c, struct txn *t, struct call *cl, struct err *e) {
    struct core_maintenance m;
    if (cl->in.rpc == admin_maintenance_on_rpc) {
        return on(c, t, cl, e);
    }
    if (cl->in.rpc == admin_maintenance_off_rpc && core_maintenance(c, &m)) {
        core_maintenance_set(t, NULL);
        core_maintenance(c, &m);
        tell(t, &m, jobs_live(c));
    }
    core_maintenance(c, &m);
    answer(&m, jobs_live(c), cl);
    return ERR_OK;
}
