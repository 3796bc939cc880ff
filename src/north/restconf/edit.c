// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of data: POST, PUT, PATCH, DELETE. The conditions are evaluated against the snapshot, and
 * what they saw is pinned as the edit's generation, so that the writer refuses when it is no longer
 * true: no update is lost.
 */
#include <stdio.h>
#include <string.h>

#include "north/restconf/internal.h"

/* ---- answers --------------------------------------------------------------------------------- */

static const char *phase_name(enum commit_phase p) {
    static const char *const names[] = {"pending", "applied", "refused", "taken-back", "unknown"};
    return names[p];
}

/* A header value is one line. */
static char *one_line(struct arena *a, const char *text) {
    char *s = arena_strdup(a, text);
    for (char *p = s; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = p[1] == '\0' ? '\0' : ' ';
        }
    }
    return s;
}

void commit_fields(struct request *q, struct fields *fs) {
    const struct change *ch = q->change;
    if (q->uri.method != RC_DELETE && !ch->unchanged) {
        char *etag = arena_alloc(q->arena, 32), *date = arena_alloc(q->arena, 40);
        etag_of(ch->index, rc_media_is_xml(q->media), etag);
        date_text(ch->time_s, date);
        field_add(fs, "etag", etag);
        field_add(fs, "last-modified", date);
    }
    field_add(fs, "weft-commit", arena_printf(q->arena, "%llu", (unsigned long long)ch->index));
    if (q->waited) {
        field_add(fs, "weft-commit-status", phase_name(q->phase));
        if (q->wait_text != NULL && q->wait_text[0] != '\0') {
            field_add(fs, "weft-commit-detail", one_line(q->arena, q->wait_text));
        }
    }
    if (ch->warnings.len > 0) {
        field_add(fs, "weft-warning",
                  one_line(q->arena, buf_cstr((struct buf *)(uintptr_t)&ch->warnings)));
    }
}

static void add_lines(struct buf *out, const char *name, struct buf *lines) {
    buf_printf(out, "\"%s\":[", name);
    const char *p = buf_cstr(lines);
    for (bool first = true; *p != '\0'; first = false) {
        size_t n = strcspn(p, "\n");
        char *line = mem_strndup(p, n);
        buf_str(out, first ? "" : ",");
        text_json(out, line);
        mem_free(line);
        p += n + (p[n] == '\n');
    }
    buf_char(out, ']');
}

static void answer_dry_run(struct request *q) {
    struct change *ch = q->change;
    struct buf out = BUF_INIT;
    buf_char(&out, '{');
    add_lines(&out, "difference", &ch->diff);
    buf_str(&out, ",\"targets\":[");
    for (size_t i = 0; i < ch->n_targets; i++) {
        buf_printf(&out, "%s{\"name\":", i > 0 ? "," : "");
        text_json(&out, ch->targets[i].name);
        buf_str(&out, ",\"what\":");
        text_json(&out, ch->targets[i].what);
        buf_char(&out, '}');
    }
    buf_str(&out, "],");
    add_lines(&out, "warnings", &ch->warnings);
    buf_str(&out, "}\n");
    answer(q, 200, NULL, "application/json", out.data, out.len);
    buf_free(&out);
}

static void answer_done(struct request *q) {
    struct change *ch = q->change;
    struct change_edit *ed = &ch->edits[0];
    struct fields fs = {.n = 0};
    commit_fields(q, &fs);
    bool made = ed->result.created && (q->uri.method == RC_POST || q->uri.method == RC_PUT);
    if (q->uri.method == RC_POST && ed->result.path != NULL) {
        field_add(&fs, "location",
                  arena_printf(q->arena, "%s/restconf/data%s", request_base(q), ed->result.path));
    }
    answer(q, made ? 201 : 204, &fs, NULL, NULL, 0);
}

static void answer_refused(struct request *q) {
    struct rc_error er;
    rc_error_of(&q->change->err, &er);
    if (er.err.code == ERR_EXISTS && q->uri.method == RC_POST) {
        er.tag = "resource-denied"; /* the word of RFC 8040 4.4.1; ours says which denial it is */
        err_tag(&er.err, ERR_EXISTS, "data-exists", NULL);
    }
    answer_rc_error(q, &er);
}

static void answer_change(struct request *q) {
    struct change *ch = q->change;
    bool dry = ch->err.code == ERR_OK && ch->mode == CHANGE_DRY_RUN;
    if (q->patch != NULL && !dry) {
        patch_answer(q);
    } else if (ch->err.code != ERR_OK) {
        if (ch->err.code == ERR_ABSENT && q->match_any) {
            ch->err.code = ERR_CONFLICT;
        }
        answer_refused(q);
    } else if (dry) {
        answer_dry_run(q);
    } else {
        answer_done(q);
    }
}

/* ---- the way through core -------------------------------------------------------------------- */

static void change_back(void *arg) {
    struct request *q = arg;
    if (request_back(q)) {
        answer_change(q);
    }
}

static void waited(void *arg, enum commit_phase phase, const char *text) {
    struct request *q = arg;
    q->phase = phase;
    q->waited = true;
    q->wait_text = mem_strdup(text != NULL ? text : "");
    loop_post(q->rc->cfg.loop, change_back, q);
}

/* On the writer, or wherever a change was refused without it. */
static void changed(struct change *ch, void *arg) {
    struct request *q = arg;
    if (ch->err.code == ERR_OK && ch->mode == CHANGE_COMMIT && q->uri.query.wait_s > 0) {
        core_commit_wait(q->rc->cfg.core, ch->index, (int64_t)q->uri.query.wait_s * NS_PER_S,
                         waited, q);
        return;
    }
    loop_post(q->rc->cfg.loop, change_back, q);
}

static void submit(struct request *q) {
    q->pending++;
    core_change(q->rc->cfg.core, q->change, changed, q);
}

/* Decoding: on the loop when it is small, else on a worker. Fills q->change->err. */
static enum err_code build(struct request *q);

static void decoded(void *arg) {
    struct request *q = arg;
    if (!request_back(q)) {
        return;
    }
    if (q->change->err.code != ERR_OK) {
        answer_change(q);
    } else {
        submit(q);
    }
}

static void decode_job(void *arg) {
    struct request *q = arg;
    if (build(q) == ERR_OK) {
        core_change_prepare(q->rc->cfg.core, q->change);
    }
    loop_post(q->rc->cfg.loop, decoded, q);
}

/* ---- from request to change ------------------------------------------------------------------ */

static enum edit_op op_of(enum rc_method m) {
    return m == RC_POST    ? EDIT_CREATE
           : m == RC_PUT   ? EDIT_REPLACE
           : m == RC_PATCH ? EDIT_MERGE
                           : EDIT_DELETE;
}

/* What the conditions saw of the target must still be true when the writer comes to it. */
static void pin(struct request *q) {
    struct change *ch = q->change;
    bool if_match = http_header(q->http, "if-match") != NULL;
    bool none = http_header(q->http, "if-none-match") != NULL;
    bool since = http_header(q->http, "if-unmodified-since") != NULL;
    bool any = false, exact = false;
    if (if_match && q->match_any) {
        any = q->target.object != NULL;
    } else if (if_match || since) {
        exact = true;
    } else if (none) {
        exact = q->target.is_object && version_of(q) == 0;
    } else if (q->uri.method == RC_PATCH) {
        any = q->target.object != NULL; /* RFC 8040 4.6: a patch makes no target */
    }
    if (any || exact) {
        ch->pinned = q->target.path;
        ch->pinned_generation = any ? CHANGE_ANY : version_of(q);
    }
}

static void plain_edit(struct request *q) {
    bool has_body = q->uri.method != RC_DELETE;
    struct change_edit *ed = change_add(q->change, op_of(q->uri.method), q->target.path,
                                        has_body ? buf_cstr(&q->body) : NULL,
                                        has_body ? q->body.len : 0, rc_media_format(q->media));
    ed->edit.child = q->uri.method == RC_POST;
    ed->edit.insert = q->uri.query.insert;
    ed->edit.point = q->uri.query.point;
}

static enum err_code build(struct request *q) {
    struct err e;
    enum err_code rc = ERR_OK;
    if (q->media == RC_MEDIA_PATCH_JSON || q->media == RC_MEDIA_PATCH_XML) {
        rc = patch_build(q, &e);
    } else {
        plain_edit(q);
    }
    q->change->err.code = rc;
    if (rc != ERR_OK) {
        q->change->err = e;
    }
    return rc;
}

bool may_change(const struct request *q, const struct snap *now, struct err *e) {
    if (rights_allow_below(now, &q->who, RIGHT_WRITE, q->target.path)) {
        return true;
    }
    err_set(e, ERR_DENIED, q->target.path, "%s has no right to change this", q->who.user);
    return false;
}

/* Refuses what needs no decoding. */
static bool acceptable(struct request *q) {
    struct err e;
    bool unmodified;
    if (!may_change(q, q->snap, &e)) {
        /* e says it */
    } else if (q->uri.method != RC_DELETE && q->body.len == 0) {
        err_set(&e, ERR_INVALID, q->target.path, "the request lacks a body"); /* RFC 8040 4.5 */
    } else if (q->rc->cfg.candidates != NULL &&
               candidates_may_edit(q->rc->cfg.candidates, 0, &e) != ERR_OK) {
        /* somebody has locked the configuration (RFC 8040 1.4) */
    } else if (conditions(q, &unmodified, &e) != ERR_OK) {
        /* e says it */
    } else if (q->uri.method == RC_PATCH && !target_exists(q)) {
        err_set(&e, ERR_ABSENT, q->target.path,
                "does not exist, and a patch does not make its target; use PUT");
    } else {
        return true;
    }
    answer_error(q, &e);
    return false;
}

void edit_data(struct request *q) {
    const struct rc_query *u = &q->uri.query;
    q->snap = core_snapshot(q->rc->cfg.core);
    if (!acceptable(q)) {
        return;
    }
    struct change *ch = q->change = change_new(&q->who);
    ch->comment = u->comment != NULL ? mem_strdup(u->comment) : NULL;
    ch->mode = u->dry_run ? CHANGE_DRY_RUN : CHANGE_COMMIT;
    ch->force = u->force;
    ch->confirm_s = u->confirm_s;
    ch->confirm = u->confirm_s == 0    ? CONFIRM_NONE
                  : u->confirm_applied ? CONFIRM_BY_TARGETS
                                       : CONFIRM_BY_PERSON;
    request_base(q);
    pin(q);
    bool inside = q->target.object != NULL || q->uri.method == RC_POST;
    if (inside && q->body.len <= RC_INLINE_BODY) {
        if (build(q) != ERR_OK || core_change_prepare(q->rc->cfg.core, ch) != ERR_OK) {
            answer_change(q);
        } else {
            submit(q);
        }
        return;
    }
    q->pending++;
    if (!workers_run(q->rc->cfg.decoders, decode_job, q)) {
        q->pending--;
        answer_status(q, 503, "resource-denied", "too many changes at once; try again");
    }
}
