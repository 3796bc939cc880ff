// SPDX-License-Identifier: Apache-2.0
/* <lock>, <unlock>, <close-session>, <kill-session>. Core has one lock for all configuration; the
 * two that NETCONF knows are two names for holding it. */
#include "base/clock.h"
#include "north/netconf/internal.h"

#include <stdio.h>
#include <stdlib.h>

static bool *flag_of(struct nc_session *s, enum nc_store store) {
    return store == NC_RUNNING ? &s->lock_running : &s->lock_candidate;
}

enum err_code nc_op_lock(struct nc_rpc *r, struct err *e) {
    enum nc_store store;
    struct nc_session *s = r->s;
    ERR_TRY(nc_store_of(r, "target", &store, NULL, e));
    bool *mine = flag_of(s, store);
    if (!rights_allow_below(r->snap, &s->who, RIGHT_WRITE, "/")) {
        return err_set(e, ERR_DENIED, NULL, "%s may change nothing, so neither keep others from it",
                       s->who.user);
    }
    if (*mine) {
        return nc_fail(
            r, ERR_LOCKED, NULL,
            arena_printf(r->a, "<session-id>%llu</session-id>", (unsigned long long)s->id), NULL, e,
            "this session holds that lock already");
    }
    if (store == NC_CANDIDATE && candidate_changed(s->candidate)) {
        return nc_fail(r, ERR_LOCKED, NULL, "<session-id>0</session-id>", NULL, e,
                       "the candidate has changes that are not committed");
    }
    if (!s->lock_running && !s->lock_candidate) {
        uint64_t holder = 0;
        char who[160];
        snprintf(who, sizeof who, "%s (NETCONF session %llu)", s->who.user,
                 (unsigned long long)s->id);
        if (candidates_lock_running(r->n->cfg.candidates, s->id, who, &holder, e) != ERR_OK) {
            r->info =
                arena_printf(r->a, "<session-id>%llu</session-id>", (unsigned long long)holder);
            return ERR_LOCKED;
        }
    }
    *mine = true;
    s->locked_s = clock_wall_s(core_clock(r->n->cfg.core));
    return ERR_OK;
}

enum err_code nc_op_unlock(struct nc_rpc *r, struct err *e) {
    enum nc_store store;
    struct nc_session *s = r->s;
    ERR_TRY(nc_store_of(r, "target", &store, NULL, e));
    bool *mine = flag_of(s, store);
    if (!*mine) {
        return nc_fail(r, ERR_REFUSED, NULL, NULL, NULL, e, "this session does not hold that lock");
    }
    *mine = false;
    if (store == NC_CANDIDATE) {
        candidate_discard(s->candidate); /* RFC 6241 8.3.5.2 */
    }
    if (!s->lock_running && !s->lock_candidate) {
        return candidates_unlock(r->n->cfg.candidates, s->id, e);
    }
    return ERR_OK;
}

void nc_unlock_all(struct nc_session *s) {
    struct err ignore;
    if (s->lock_candidate) {
        candidate_discard(s->candidate);
    }
    if (s->lock_running || s->lock_candidate) {
        candidates_unlock(s->n->cfg.candidates, s->id, &ignore);
    }
    s->lock_running = s->lock_candidate = false;
}

enum err_code nc_op_close(struct nc_rpc *r, struct err *e) {
    (void)e;
    r->end_session = true;
    return ERR_OK;
}

enum err_code nc_op_kill(struct nc_rpc *r, struct err *e) {
    const char *text = dom_child_text(r->op, NS_NETCONF, "session-id");
    if (text == NULL) {
        return nc_missing(r, "session-id", e);
    }
    char *end;
    unsigned long long id = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || id == r->s->id) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>session-id</bad-element>", NULL, e,
                       "session-id is the number of another session");
    }
    bool found = false;
    pthread_mutex_lock(&r->n->lock);
    LIST_FOREACH (pos, &r->n->sessions) {
        struct nc_session *s = CONTAINER_OF(pos, struct nc_session, link);
        if (s->id == id && !s->left) {
            s->killed = true; /* its loop sees to the rest */
            found = true;
        }
    }
    pthread_mutex_unlock(&r->n->lock);
    if (!found) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>session-id</bad-element>", NULL, e,
                       "there is no NETCONF session %llu", id);
    }
    audit_note(r->n->cfg.core, &r->s->who, "kill-session", text);
    return ERR_OK;
}
