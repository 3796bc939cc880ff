// SPDX-License-Identifier: Apache-2.0
/*
 * Maintenance: an operator has said that nothing is to be changed for now (ESC-543..551). Changes
 * of the configuration and requests that act are refused, those excepted that maintenance is for;
 * looking goes on, and so does what is under way already: jobs, confirmed commits, sessions. What
 * would change nothing is no change. It is a record, so a restart ends nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/internal.h"

enum { VERSION = 1 };

static const char *const allowed[] = {
    "weft-admin:maintenance-off", "weft-admin:maintenance-on", "weft-admin:archive",
    "weft-admin:save-config",     "weft-system:backup",        "weft-system:check",
    "weft-job:job-cancel",        "weft-admin:support-bundle",
};

bool core_maintenance(struct core *c, struct core_maintenance *out) {
    struct core_maintenance m;
    pthread_mutex_lock(&c->lock);
    m = c->maintenance;
    pthread_mutex_unlock(&c->lock);
    if (out != NULL) {
        *out = m;
    }
    return m.on;
}

enum err_code core_maintenance_refusal(struct core *c, struct err *e) {
    struct core_maintenance m;
    char since[TIME_TEXT_MAX];
    if (!core_maintenance(c, &m)) {
        return ERR_OK;
    }
    return err_set(e, ERR_UNAVAILABLE, NULL,
                   "the controller is in maintenance since %s, put there by %s: %s",
                   time_format(m.since_s, 0, since), m.user, m.reason);
}

enum err_code maintenance_allows(struct core *c, const struct node *rpc, struct err *e) {
    size_t n = strlen(rpc->module);
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strncmp(allowed[i], rpc->module, n) == 0 && allowed[i][n] == ':' &&
            strcmp(allowed[i] + n + 1, rpc->name) == 0) {
            return ERR_OK;
        }
    }
    return core_maintenance_refusal(c, e);
}

void core_maintenance_set(struct txn *t, const char *reason) {
    if (reason == NULL) {
        txn_delete_state(t, MAINTENANCE_KEY, strlen(MAINTENANCE_KEY));
        return;
    }
    struct buf b = BUF_INIT;
    buf_u8(&b, VERSION);
    buf_u64(&b, (uint64_t)txn_now_s(t));
    buf_blob_str(&b, txn_actor(t)->user);
    buf_blob_str(&b, reason);
    txn_put_state(t, MAINTENANCE_KEY, strlen(MAINTENANCE_KEY), buf_cstr(&b), b.len);
    buf_free(&b);
}

void maintenance_encode(const struct core *c, struct buf *out) {
    const struct core_maintenance *m = &c->maintenance;
    buf_u8(out, VERSION);
    buf_u64(out, (uint64_t)m->since_s);
    buf_blob_str(out, m->user);
    buf_blob_str(out, m->reason);
}

enum err_code maintenance_fold(struct core *c, const void *value, size_t len, struct err *e) {
    struct core_maintenance m = {.on = value != NULL};
    if (value != NULL) {
        struct cur r = cur_of(value, len);
        bool known = cur_u8(&r) == VERSION;
        m.since_s = (int64_t)cur_u64(&r);
        char *user = cur_blob_strdup(&r), *reason = cur_blob_strdup(&r);
        if (known && !r.bad && cur_left(&r) == 0) {
            snprintf(m.user, sizeof m.user, "%s", user);
            text_line(m.reason, sizeof m.reason, reason);
        } else {
            known = false;
        }
        mem_free(user);
        mem_free(reason);
        if (!known) {
            return err_set(e, ERR_MALFORMED, NULL,
                           "the record of maintenance is damaged or of a newer version");
        }
    }
    pthread_mutex_lock(&c->lock);
    c->maintenance = m;
    pthread_mutex_unlock(&c->lock);
    return ERR_OK;
}
