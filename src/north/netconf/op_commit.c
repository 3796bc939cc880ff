// SPDX-License-Identifier: Apache-2.0
/* <commit>, <cancel-commit>, <discard-changes> (RFC 6241 8.3, 8.4). */
#include "north/netconf/internal.h"

#include <stdlib.h>
#include <string.h>

static enum err_code timeout_of(struct nc_rpc *r, uint32_t *seconds, struct err *e) {
    const char *text = dom_child_text(r->op, NS_NETCONF, "confirm-timeout");
    *seconds = 600;
    if (text == NULL) {
        return ERR_OK;
    }
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || v < 1 || v > CORE_CONFIRM_SECONDS_MAX) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>confirm-timeout</bad-element>", NULL, e,
                       "confirm-timeout is a number of seconds from 1 to %d",
                       CORE_CONFIRM_SECONDS_MAX);
    }
    *seconds = (uint32_t)v;
    return ERR_OK;
}

/* The errors that a confirmed commit of somebody else gives have tags of their own. */
static enum err_code confirmed_error(struct nc_rpc *r, enum err_code rc) {
    if (rc == ERR_ABSENT) {
        r->tag = "operation-failed";
    }
    return rc;
}

static enum err_code commit(struct nc_rpc *r, struct change *ch, struct err *e) {
    struct snap *sent = NULL;
    enum err_code rc = candidate_change(r->s->candidate, ch, &sent, e);
    if (rc == ERR_OK) {
        blocking_change(&r->n->core, ch);
        rc = ch->err.code;
        if (rc != ERR_OK) {
            *e = ch->err;
        }
    }
    if (rc == ERR_OK) {
        candidate_committed(r->s->candidate, sent);
    } else {
        snap_release(sent);
    }
    return rc;
}

enum err_code nc_op_commit(struct nc_rpc *r, struct err *e) {
    bool confirmed = dom_child(r->op, NS_NETCONF, "confirmed") != NULL;
    const char *persist = dom_child_text(r->op, NS_NETCONF, "persist");
    const char *persist_id = dom_child_text(r->op, NS_NETCONF, "persist-id");
    uint32_t seconds;
    ERR_TRY(candidates_may_edit(r->n->cfg.candidates, r->s->id, e));
    ERR_TRY(timeout_of(r, &seconds, e));
    if (persist != NULL && !confirmed) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>persist</bad-element>", NULL, e,
                       "persist goes with confirmed");
    }
    if (persist != NULL && (persist[0] == '\0' || strlen(persist) > CORE_PERSIST_MAX)) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>persist</bad-element>", NULL, e,
                       "persist has 1 to %d bytes", CORE_PERSIST_MAX);
    }
    struct change *ch = change_new(&r->s->who);
    ch->confirmer.session = r->s->id;
    ch->confirmer.persist_id = persist_id != NULL ? mem_strdup(persist_id) : NULL;
    if (confirmed) {
        ch->confirm = CONFIRM_BY_PERSON;
        ch->confirm_s = seconds;
        ch->persist = persist != NULL ? mem_strdup(persist) : NULL;
    }
    enum err_code rc = commit(r, ch, e);
    change_free(ch);
    return confirmed_error(r, rc);
}

enum err_code nc_op_cancel_commit(struct nc_rpc *r, struct err *e) {
    const char *persist_id = dom_child_text(r->op, NS_NETCONF, "persist-id");
    struct confirmer by = {.session = r->s->id, .persist_id = (char *)(uintptr_t)persist_id};
    return confirmed_error(r, blocking_confirm_cancel(&r->n->core, &r->s->who, &by, e));
}

/* The candidate is everybody's: who takes edits back needs the right to write what they are on. */
enum err_code nc_take_edits_back(struct nc_rpc *r, struct err *e) {
    struct buf said = BUF_INIT;
    enum err_code rc = candidate_rollback(r->s->candidate, &r->s->who, 0, &said, e);
    buf_free(&said);
    return rc;
}

enum err_code nc_op_discard(struct nc_rpc *r, struct err *e) {
    ERR_TRY(candidates_may_edit(r->n->cfg.candidates, r->s->id, e));
    return nc_take_edits_back(r, e);
}
