// SPDX-License-Identifier: Apache-2.0
/* <edit-config>, <copy-config>, <delete-config>, <validate>. */
#include "north/netconf/edit.h"
#include "north/netconf/internal.h"

#include <string.h>

/* ---- presence ----------------------------------------------------------------------
 */

/* Operation none: the way to what is changed must be there (RFC 6241 7.2). */
static enum err_code expected(struct nc_rpc *r, const struct snap *s, const struct nc_edits *edits,
                              struct err *e) {
    for (size_t i = 0; i < edits->n; i++) {
        struct target where;
        if (!edits->expect[i]) {
            continue;
        }
        ERR_TRY(path_parse(r->n->model, edits->v[i].target, r->a, &where, e));
        if (where.object != NULL && snap_get(s, where.object) == NULL) {
            return err_set(e, ERR_ABSENT, where.object, "does not exist");
        }
    }
    return ERR_OK;
}

/* Applies all or nothing to a candidate; `one_by_one`: what fails is left out, and the first error
 * comes back after all. */
static enum err_code apply(struct nc_rpc *r, struct candidate *c, const struct nc_edits *edits,
                           bool one_by_one, struct err *e) {
    struct model_edit *v = arena_alloc(r->a, (edits->n + 1) * sizeof *v);
    size_t n = 0, bad;
    for (size_t i = 0; i < edits->n; i++) {
        if (!edits->expect[i]) {
            v[n++] = edits->v[i];
        }
    }
    if (!one_by_one) {
        return candidate_edit(c, &r->s->who, v, n, &bad, e);
    }
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < n; i++) {
        struct err why;
        if (candidate_edit(c, &r->s->who, &v[i], 1, &bad, &why) != ERR_OK && rc == ERR_OK) {
            *e = why;
            rc = why.code;
        }
    }
    return rc;
}

/* ---- through core -----------------------------------------------------------------------------
 */

/* The candidate as one change of the running configuration. */
static enum err_code make(struct nc_rpc *r, struct candidate *c, enum change_mode mode,
                          const char *label, struct err *e) {
    struct change *ch = change_new(&r->s->who);
    struct snap *sent = NULL;
    ch->mode = mode;
    ch->label = mem_strdup(label);
    ch->confirmer.session = r->s->id;
    enum err_code rc = candidate_change(c, ch, &sent, e);
    if (rc == ERR_OK) {
        blocking_change(&r->n->core, ch);
        rc = ch->err.code;
        if (rc != ERR_OK) {
            *e = ch->err;
        }
    }
    if (rc == ERR_OK && mode == CHANGE_COMMIT) {
        candidate_committed(c, sent);
    } else {
        snap_release(sent);
    }
    change_free(ch);
    return rc;
}

static enum err_code may_edit(struct nc_rpc *r, struct err *e) {
    return candidates_may_edit(r->n->cfg.candidates, r->s->id, e);
}

/* Everything that is not said goes. */
static enum err_code clear(struct nc_rpc *r, struct candidate *c, struct err *e) {
    struct snap *none = snap_empty();
    enum err_code rc = candidate_set(c, &r->s->who, none, e);
    snap_release(none);
    return rc;
}

/* A private candidate with what <config> says, and nothing else. */
static enum err_code private_of(struct nc_rpc *r, const struct dom *config, struct candidate **out,
                                struct err *e) {
    struct nc_edits edits;
    ERR_TRY(nc_edits_of(config, NC_MERGE, r->a, &edits, e));
    struct candidate *c = candidate_private(r->n->cfg.candidates);
    enum err_code rc = clear(r, c, e);
    if (rc == ERR_OK) {
        rc = apply(r, c, &edits, false, e);
    }
    if (rc != ERR_OK) {
        candidate_release(c);
        return rc;
    }
    *out = c;
    return ERR_OK;
}

/* ---- edit-config ------------------------------------------------------------------------------
 */

static enum err_code bad_word(struct nc_rpc *r, const char *element, const char *word,
                              struct err *e) {
    return nc_fail(r, ERR_INVALID, NULL,
                   arena_printf(r->a, "<bad-element>%s</bad-element>", element), NULL, e,
                   "%s can't be \"%.64s\"", element, word);
}

static enum err_code parameters_of(struct nc_rpc *r, struct nc_parameters *p, struct err *e) {
    const char *test = dom_child_text(r->op, NS_NETCONF, "test-option");
    const char *on_error = dom_child_text(r->op, NS_NETCONF, "error-option");
    ERR_TRY(nc_store_of(r, "target", &p->target, NULL, e));
    p->test_only = test != NULL && strcmp(test, "test-only") == 0;
    p->test = test == NULL || strcmp(test, "test-then-set") == 0;
    if (!p->test_only && !p->test && strcmp(test, "set") != 0) {
        return bad_word(r, "test-option", test, e);
    }
    p->one_by_one = on_error != NULL && strcmp(on_error, "continue-on-error") == 0;
    if (on_error != NULL && !p->one_by_one && strcmp(on_error, "stop-on-error") != 0 &&
        strcmp(on_error, "rollback-on-error") != 0) {
        return bad_word(r, "error-option", on_error, e);
    }
    p->config = dom_child(r->op, NS_NETCONF, "config");
    if (dom_child(r->op, NS_NETCONF, "url") != NULL) {
        return nc_fail(r, ERR_UNSUPPORTED, NULL, NULL, NULL, e, "the capability :url is not there");
    }
    return p->config != NULL ? ERR_OK : nc_missing(r, "config", e);
}

/* On the shared candidate, or on a private one that becomes a change or is only tried. */
static enum err_code edit(struct nc_rpc *r, const struct nc_parameters *p,
                          const struct nc_edits *edits, struct err *e) {
    bool shared = p->target == NC_CANDIDATE && !p->test_only;
    struct candidate *c = shared ? r->s->candidate : candidate_private(r->n->cfg.candidates);
    struct snap *before = candidate_snapshot(p->target == NC_CANDIDATE ? r->s->candidate : c);
    enum err_code rc = expected(r, before, edits, e);
    if (rc == ERR_OK && !shared && p->target == NC_CANDIDATE) {
        rc = candidate_set(c, &r->s->who, before, e);
    }
    if (rc == ERR_OK && p->replace_all) {
        rc = clear(r, c, e);
    }
    if (rc == ERR_OK) {
        rc = apply(r, c, edits, p->one_by_one, e);
        if (rc != ERR_OK && p->replace_all) {
            struct err ignore;
            candidate_set(c, &r->s->who, before, &ignore);
        }
    }
    if (rc == ERR_OK && !shared) {
        rc = make(r, c, p->test_only ? CHANGE_DRY_RUN : CHANGE_COMMIT, "edit-config", e);
    }
    snap_release(before);
    if (!shared) {
        candidate_release(c);
    }
    return rc;
}

enum err_code nc_edit(struct nc_rpc *r, struct nc_parameters *p, const char *by_default,
                      struct err *e) {
    struct nc_edits edits;
    p->by_default = NC_MERGE;
    if (by_default != NULL) {
        if (!nc_operation_of(by_default, &p->by_default) || p->by_default == NC_CREATE ||
            p->by_default == NC_DELETE || p->by_default == NC_REMOVE) {
            return bad_word(r, "default-operation", by_default, e);
        }
        p->replace_all = p->by_default == NC_REPLACE;
    }
    ERR_TRY(may_edit(r, e));
    /* With everything gone before, replacing and merging come to the same. */
    ERR_TRY(nc_edits_of(p->config, p->replace_all ? NC_MERGE : p->by_default, r->a, &edits, e));
    return edit(r, p, &edits, e);
}

enum err_code nc_op_edit_config(struct nc_rpc *r, struct err *e) {
    struct nc_parameters p = {.test = false};
    const char *by_default = dom_child_text(r->op, NS_NETCONF, "default-operation");
    ERR_TRY(parameters_of(r, &p, e));
    return nc_edit(r, &p, by_default, e);
}

/* ---- copy-config, delete-config ---------------------------------------------------------------
 */

enum err_code nc_op_copy_config(struct nc_rpc *r, struct err *e) {
    enum nc_store from, to;
    const struct dom *config = NULL;
    ERR_TRY(nc_store_of(r, "target", &to, NULL, e));
    ERR_TRY(nc_store_of(r, "source", &from, &config, e));
    ERR_TRY(may_edit(r, e));
    if (from == to) {
        return nc_fail(r, ERR_INVALID, NULL, NULL, NULL, e, "source and target are the same");
    }
    struct candidate *c = NULL;
    if (from == NC_INLINE) {
        ERR_TRY(private_of(r, config, &c, e));
    } else if (from == NC_RUNNING) {
        return nc_take_edits_back(r, e);
    } else {
        return make(r, r->s->candidate, CHANGE_COMMIT, "copy-config", e);
    }
    enum err_code rc = ERR_OK;
    if (to == NC_RUNNING) {
        rc = make(r, c, CHANGE_COMMIT, "copy-config", e);
    } else {
        struct snap *s = candidate_snapshot(c);
        rc = candidate_set(r->s->candidate, &r->s->who, s, e);
        snap_release(s);
    }
    candidate_release(c);
    return rc;
}

enum err_code nc_op_delete_config(struct nc_rpc *r, struct err *e) {
    enum nc_store target;
    ERR_TRY(nc_store_of(r, "target", &target, NULL, e));
    return nc_fail(r, ERR_UNSUPPORTED, NULL, NULL, NULL, e, "the %s configuration can't be deleted",
                   target == NC_RUNNING ? "running" : "candidate");
}

/* ---- validate ---------------------------------------------------------------------------------
 */

enum err_code nc_op_validate(struct nc_rpc *r, struct err *e) {
    enum nc_store source;
    const struct dom *config = NULL;
    ERR_TRY(nc_store_of(r, "source", &source, &config, e));
    if (source == NC_RUNNING) {
        return ERR_OK; /* nothing gets there that is not valid */
    }
    if (source == NC_INLINE) {
        struct candidate *c;
        ERR_TRY(private_of(r, config, &c, e));
        enum err_code rc = make(r, c, CHANGE_DRY_RUN, "validate", e);
        candidate_release(c);
        return rc;
    }
    return make(r, r->s->candidate, CHANGE_DRY_RUN, "validate", e);
}
