// SPDX-License-Identifier: Apache-2.0
/* YANG Patch (RFC 8072): many edits, one change, and a status that names the edit at fault. */
#include <string.h>

#include "north/restconf/internal.h"
#include "north/restconf/yang_patch.h"

static enum edit_op op_of(enum patch_op op) {
    switch (op) {
    case PATCH_CREATE:
    case PATCH_INSERT:
        return EDIT_CREATE;
    case PATCH_DELETE:
        return EDIT_DELETE;
    case PATCH_REMOVE:
        return EDIT_REMOVE;
    case PATCH_REPLACE:
        return EDIT_REPLACE;
    case PATCH_MOVE:
        return EDIT_MOVE;
    default:
        return EDIT_MERGE;
    }
}

/* Path of a target below the resource. */
static const char *join(struct arena *a, const char *base, const char *below) {
    if (below[0] == '\0' || strcmp(below, "/") == 0) {
        return base;
    }
    return strcmp(base, "/") == 0 ? below : arena_printf(a, "%s%s", base, below);
}

enum err_code patch_build(struct request *q, struct err *e) {
    struct yang_patch *p = arena_alloc(q->arena, sizeof *p);
    enum model_format format = rc_media_format(q->media);
    ERR_TRY(yang_patch_parse(buf_cstr(&q->body), q->body.len, format, q->arena, p, e));
    if (p->comment != NULL && q->change->comment == NULL) {
        q->change->comment = mem_strdup(p->comment);
    }
    for (size_t i = 0; i < p->n_edits; i++) {
        const struct patch_edit *pe = &p->edits[i];
        const char *path = join(q->arena, q->target.path, pe->target);
        struct change_edit *ed =
            change_add(q->change, op_of(pe->op), path, pe->value, pe->value_len, format);
        ed->edit.insert = pe->where;
        ed->edit.point = pe->point != NULL ? join(q->arena, q->target.path, pe->point) : NULL;
    }
    q->patch = p;
    return ERR_OK;
}

static void status_json(const struct yang_patch *p, const struct rc_error *er, size_t bad,
                        struct buf *out) {
    buf_str(out, "{\"ietf-yang-patch:yang-patch-status\":{\"patch-id\":");
    text_json(out, p->id);
    if (er == NULL) {
        buf_str(out, ",\"ok\":[null]}}\n");
        return;
    }
    if (bad < p->n_edits) {
        buf_str(out, ",\"edit-status\":{\"edit\":[{\"edit-id\":");
        text_json(out, p->edits[bad].id);
    }
    buf_str(out, ",\"errors\":{\"error\":[");
    rc_error_json(er, out);
    buf_str(out, bad < p->n_edits ? "]}}]}}}\n" : "]}}}\n");
}

static void status_xml(const struct yang_patch *p, const struct rc_error *er, size_t bad,
                       struct buf *out) {
    buf_str(out, "<yang-patch-status xmlns=\"" NS_PATCH "\"><patch-id>");
    text_xml(out, p->id, XML_CONTENT);
    buf_str(out, "</patch-id>");
    if (er == NULL) {
        buf_str(out, "<ok/>");
    } else {
        if (bad < p->n_edits) {
            buf_str(out, "<edit-status><edit><edit-id>");
            text_xml(out, p->edits[bad].id, XML_CONTENT);
            buf_str(out, "</edit-id>");
        }
        buf_str(out, "<errors>");
        rc_error_xml(er, out);
        buf_str(out, "</errors>");
        buf_str(out, bad < p->n_edits ? "</edit></edit-status>" : "");
    }
    buf_str(out, "</yang-patch-status>\n");
}

void patch_answer(struct request *q) {
    const struct change *ch = q->change;
    struct rc_error er, *failed = NULL;
    if (ch->err.code != ERR_OK) {
        rc_error_of(&ch->err, &er);
        failed = &er;
        if (ch->err.code == ERR_ABSENT && ch->bad_edit < q->patch->n_edits) {
            /* The address is right; what an edit deletes or moves is missing (RFC 6241 7.2). */
            er.status = 409;
            er.tag = "data-missing";
        }
    }
    struct buf out = BUF_INIT;
    if (rc_media_is_xml(q->accept)) {
        status_xml(q->patch, failed, ch->bad_edit, &out);
    } else {
        status_json(q->patch, failed, ch->bad_edit, &out);
    }
    struct fields fs = {.n = 0};
    if (failed == NULL) {
        commit_fields(q, &fs);
    }
    answer(q, failed != NULL ? er.status : 200, &fs, rc_media_name(q->accept), out.data, out.len);
    buf_free(&out);
}
