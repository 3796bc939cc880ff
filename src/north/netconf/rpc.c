// SPDX-License-Identifier: Apache-2.0
/* One message: what it asks for, who serves that, and the frame of its answer. */
#include "base/text.h"
#include "north/netconf/internal.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *ns, *name;
    nc_op *fn;
    const char *module; /* of the right to it; NULL: always allowed (RFC 8341 3.2.4) */
} operations[] = {
    {NS_NETCONF, "get", nc_op_get, "ietf-netconf"},
    {NS_NETCONF, "get-config", nc_op_get_config, "ietf-netconf"},
    {NS_NETCONF, "edit-config", nc_op_edit_config, "ietf-netconf"},
    {NS_NETCONF, "copy-config", nc_op_copy_config, "ietf-netconf"},
    {NS_NETCONF, "delete-config", nc_op_delete_config, "ietf-netconf"},
    {NS_NETCONF, "validate", nc_op_validate, "ietf-netconf"},
    {NS_NETCONF, "commit", nc_op_commit, "ietf-netconf"},
    {NS_NETCONF, "cancel-commit", nc_op_cancel_commit, "ietf-netconf"},
    {NS_NETCONF, "discard-changes", nc_op_discard, "ietf-netconf"},
    {NS_NETCONF, "lock", nc_op_lock, "ietf-netconf"},
    {NS_NETCONF, "unlock", nc_op_unlock, "ietf-netconf"},
    {NS_NETCONF, "close-session", nc_op_close, NULL},
    {NS_NETCONF, "kill-session", nc_op_kill, "ietf-netconf"},
    {NS_NMDA, "get-data", nc_op_get_data, "ietf-netconf-nmda"},
    {NS_NMDA, "edit-data", nc_op_edit_data, "ietf-netconf-nmda"},
    {NS_MONITORING, "get-schema", nc_op_get_schema, "ietf-netconf-monitoring"},
    {NS_NOTIFICATION, "create-subscription", nc_op_subscribe, "notifications"},
};

/* ---- the answer -------------------------------------------------------------------------------
 */

/* All attributes of <rpc> come back (RFC 6241 4.1). */
static void begin_reply(struct nc_rpc *r) {
    buf_str(&r->head, "<rpc-reply xmlns=\"" NS_NETCONF "\"");
    if (r->rpc != NULL) {
        for (const struct dom_ns *n = r->rpc->declared; n != NULL; n = n->next) {
            if (n->prefix[0] != '\0') {
                buf_printf(&r->head, " xmlns:%s=\"", n->prefix);
                text_xml(&r->head, n->uri, XML_ATTRIBUTE);
                buf_char(&r->head, '"');
            }
        }
        for (const struct dom_attr *a = r->rpc->attrs; a != NULL; a = a->next) {
            const char *prefix = "";
            for (const struct dom_ns *n = r->rpc->declared; n != NULL && a->ns[0] != '\0';
                 n = n->next) {
                if (strcmp(n->uri, a->ns) == 0 && n->prefix[0] != '\0') {
                    prefix = n->prefix;
                }
            }
            if (a->ns[0] != '\0' && prefix[0] == '\0') {
                continue;
            }
            buf_printf(&r->head, " %s%s%s=\"", prefix, prefix[0] ? ":" : "", a->name);
            text_xml(&r->head, a->value, XML_ATTRIBUTE);
            buf_char(&r->head, '"');
        }
    }
    buf_char(&r->head, '>');
}

static enum err_code send(struct nc_rpc *r, const void *p, size_t n, struct err *e) {
    struct buf framed = BUF_INIT;
    nc_frame_piece(r->s->base11, p, n, &framed);
    enum err_code rc =
        framed.len > 0 ? feed_write(r->out, (char *)framed.data, framed.len, e) : ERR_OK;
    buf_free(&framed);
    r->started = true;
    return rc;
}

/* Small answers stay in `head` until their end, so that an error can take their place. */
enum err_code nc_write(void *arg, const char *p, size_t n, struct err *e) {
    enum { HELD = 32768 };
    struct nc_rpc *r = arg;
    buf_add(&r->head, p, n);
    if (r->head.len < HELD) {
        return ERR_OK;
    }
    enum err_code rc = send(r, r->head.data, r->head.len, e);
    buf_clear(&r->head);
    return rc;
}

enum err_code nc_write_str(struct nc_rpc *r, const char *s, struct err *e) {
    return nc_write(r, s, strlen(s), e);
}

enum err_code nc_fail(struct nc_rpc *r, enum err_code code, const char *tag, const char *info,
                      const char *path, struct err *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, code, path, fmt, ap);
    va_end(ap);
    r->tag = tag;
    r->info = info != NULL ? arena_strdup(r->a, info) : NULL;
    return code;
}

enum err_code nc_missing(struct nc_rpc *r, const char *element, struct err *e) {
    return nc_fail(r, ERR_MISSING, NULL,
                   arena_printf(r->a, "<bad-element>%s</bad-element>", element), NULL, e,
                   "the element %s is missing", element);
}

/* RFC 6241 4.3, appendix A. What NETCONF calls otherwise than RESTCONF does is put right here. */
static const char *tag_of(const struct nc_rpc *r, const struct err *e) {
    if (r->tag != NULL) {
        return r->tag;
    }
    switch (e->code) {
    case ERR_ABSENT:
        return "data-missing";
    case ERR_MALFORMED:
        return r->s->base11 ? "malformed-message" : "operation-failed"; /* 1.0 has no such tag */
    case ERR_UNSUPPORTED:
    case ERR_METHOD:
        return "operation-not-supported";
    default:
        return err_code_tag(e->code);
    }
}

static const char *type_of(const struct nc_rpc *r, const struct err *e) {
    if (r->type != NULL) {
        return r->type;
    }
    switch (e->code) {
    case ERR_MALFORMED:
        return "rpc";
    case ERR_LOCKED:
    case ERR_DENIED:
    case ERR_UNSUPPORTED:
    case ERR_METHOD:
        return "protocol";
    default:
        return "application";
    }
}

static void write_error(struct nc_rpc *r, const struct err *e) {
    struct buf path = BUF_INIT, ns = BUF_INIT, *out = &r->head;
    bool exact, place = path_instance_id(e->path, FORMAT_XML, &path, &ns, &exact);
    buf_printf(out,
               "<rpc-error><error-type>%s</error-type><error-tag>%s</error-tag>"
               "<error-severity>error</error-severity>",
               type_of(r, e), tag_of(r, e));
    if (e->app_tag[0] != '\0') {
        buf_str(out, "<error-app-tag>");
        text_xml(out, e->app_tag, XML_CONTENT);
        buf_str(out, "</error-app-tag>");
    }
    if (place) {
        buf_printf(out, "<error-path%s>", buf_cstr(&ns));
        text_xml(out, buf_cstr(&path), XML_CONTENT);
        buf_str(out, "</error-path>");
    }
    buf_str(out, "<error-message xml:lang=\"en\">");
    if (!(place && exact) && e->path[0] != '\0') {
        text_xml(out, e->path, XML_CONTENT);
        buf_str(out, ": ");
    }
    text_xml(out, e->text[0] != '\0' ? e->text : err_code_text(e->code), XML_CONTENT);
    buf_str(out, "</error-message>");
    if (r->info != NULL) {
        buf_printf(out, "<error-info>%s</error-info>", r->info);
    }
    buf_str(out, "</rpc-error>");
    buf_free(&path);
    buf_free(&ns);
}

/* False: an error came when a part of the answer was sent already. Nothing can be said any more but
 * by ending the session. */
static bool finish(struct nc_rpc *r, enum err_code rc, const struct err *why, bool empty) {
    struct err e;
    if (rc != ERR_OK && r->started) {
        return false;
    }
    if (rc != ERR_OK) {
        buf_clear(&r->head);
        begin_reply(r);
        write_error(r, why);
        atomic_fetch_add(&r->s->count.out_rpc_errors, 1);
        atomic_fetch_add(&r->n->total.out_rpc_errors, 1);
    } else if (empty) {
        buf_str(&r->head, "<ok/>");
    }
    buf_str(&r->head, "</rpc-reply>");
    struct buf end = BUF_INIT; /* in one piece: some clients wake up for the first packet only */
    nc_frame_piece(r->s->base11, r->head.data, r->head.len, &end);
    nc_frame_end(r->s->base11, &end);
    rc = feed_write(r->out, (char *)end.data, end.len, &e);
    buf_free(&end);
    return rc == ERR_OK;
}

/* ---- rpcs of the model ------------------------------------------------------------------------
 */

static const struct node *model_rpc_of(const struct dom *op) {
    size_t n;
    const struct node *const *rpcs = model_rpcs(&n);
    for (size_t i = 0; i < n; i++) {
        const struct module_info *m = model_module(rpcs[i]->module);
        if (m != NULL && strcmp(rpcs[i]->name, op->name) == 0 && strcmp(m->ns, op->ns) == 0) {
            return rpcs[i];
        }
    }
    return NULL;
}

static enum err_code call_once(struct nc_rpc *r, struct call *cl, struct err *e) {
    blocking_call(&r->n->core, cl);
    if (cl->err.code != ERR_OK) {
        *e = cl->err;
        return e->code;
    }
    struct buf out = BUF_INIT;
    struct print_options o = {.format = FORMAT_XML};
    enum err_code rc =
        rpc_output_print(r->n->model, cl->in.rpc, buf_cstr(&cl->json), cl->json.len, &o, &out, e);
    /* <output xmlns="...">...</output>: its children are the reply's */
    const char *s = buf_cstr(&out);
    const char *from = strchr(s, '>'), *to = strrchr(s, '<');
    if (rc == ERR_OK && from != NULL && to > from) {
        struct arena *a = arena_new();
        struct dom *d;
        rc = dom_parse(s, out.len, a, &d, e);
        for (struct dom *c = rc == ERR_OK ? d->child : NULL; c != NULL && rc == ERR_OK;
             c = c->next) {
            struct buf piece = BUF_INIT;
            dom_print(c, NULL, NULL, &piece);
            rc = nc_write(r, buf_cstr(&piece), piece.len, e);
            buf_free(&piece);
        }
        arena_free(a);
    }
    buf_free(&out);
    return rc;
}

/* *empty: it has no output. */
static enum err_code call_rpc(struct nc_rpc *r, const struct node *rpc, bool *empty,
                              struct err *e) {
    struct call *cl = call_new(&r->s->who);
    struct buf body = BUF_INIT;
    enum err_code rc = ERR_OK;
    size_t before = r->head.len;
    buf_printf(&body, "<input xmlns=\"%s\">", r->op->ns);
    for (const struct dom *c = r->op->child; c != NULL; c = c->next) {
        dom_print(c, NULL, NULL, &body);
    }
    buf_str(&body, "</input>");
    rc = rpc_input_parse(r->n->model, rpc, buf_cstr(&body), body.len, FORMAT_XML, cl->arena,
                         &cl->in, e);
    while (rc == ERR_OK) {
        rc = call_once(r, cl, e);
        if (cl->cursor == NULL || rc != ERR_OK) {
            break;
        }
        buf_clear(&cl->json);
        buf_clear(&cl->text);
    }
    *empty = !r->started && r->head.len == before;
    buf_free(&body);
    call_free(cl);
    return rc;
}

/* ---- dispatch ---------------------------------------------------------------------------------
 */

/* RFC 8341 3.4.1 */
static enum err_code may(struct nc_rpc *r, const char *module, const char *name, struct err *e) {
    if (module == NULL) {
        return ERR_OK;
    }
    const char *path = arena_printf(r->a, "/%s:%s", module, name);
    if (rights_due(r->snap, &r->s->who)) {
        return rights_due_error(&r->s->who, e);
    }
    if (rights_allow_operation(r->snap, &r->s->who, path)) {
        return ERR_OK;
    }
    rights_count_denied(RIGHT_EXEC);
    return err_set(e, ERR_DENIED, NULL, "%s has no right to the operation %s", r->s->who.user,
                   name);
}

static enum err_code operate(struct nc_rpc *r, bool *empty, struct err *e) {
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (dom_is(r->op, operations[i].ns, operations[i].name)) {
            size_t before = r->head.len;
            ERR_TRY(may(r, operations[i].module, operations[i].name, e));
            enum err_code rc = operations[i].fn(r, e);
            *empty = !r->started && r->head.len == before;
            return rc;
        }
    }
    const struct node *rpc = model_rpc_of(r->op);
    if (rpc != NULL) {
        return call_rpc(r, rpc, empty, e);
    }
    return nc_fail(r, ERR_UNSUPPORTED, NULL, NULL, NULL, e, "there is no operation %.64s in %.128s",
                   r->op->name, r->op->ns[0] != '\0' ? r->op->ns : "no namespace");
}

static enum err_code look_at(struct nc_rpc *r, const struct buf *message, struct err *e) {
    r->type = "rpc";
    ERR_TRY(dom_parse(message->data, message->len, r->a, &r->rpc, e));
    if (!dom_is(r->rpc, NS_NETCONF, "rpc")) {
        struct dom *was = r->rpc;
        r->rpc = NULL;
        return nc_fail(r, ERR_UNKNOWN, NULL, NULL, NULL, e, "a message is an <rpc>, not <%.64s>",
                       was->name);
    }
    if (dom_attr(r->rpc, "", "message-id") == NULL) {
        return nc_fail(r, ERR_MISSING, "missing-attribute",
                       "<bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element>",
                       NULL, e, "the attribute message-id is missing");
    }
    r->op = r->rpc->child;
    if (r->op == NULL || r->op->next != NULL) {
        return nc_fail(r, ERR_INVALID, "missing-element", NULL, NULL, e,
                       "an <rpc> holds one operation");
    }
    r->type = NULL;
    return ERR_OK;
}

bool nc_serve(struct nc_session *s, struct feed *out, const struct buf *message,
              struct nc_subscription **sub) {
    struct nc_rpc r = {.s = s, .n = s->n, .a = arena_new(), .out = out};
    struct err e = {.code = ERR_OK};
    bool empty = false;
    r.snap = core_snapshot(s->n->cfg.core);
    enum err_code rc = look_at(&r, message, &e);
    bool malformed = rc != ERR_OK;
    atomic_fetch_add(malformed ? &s->count.in_bad_rpcs : &s->count.in_rpcs, 1);
    atomic_fetch_add(malformed ? &s->n->total.in_bad_rpcs : &s->n->total.in_rpcs, 1);
    begin_reply(&r);
    if (rc == ERR_OK) {
        rc = operate(&r, &empty, &e);
    }
    bool whole = finish(&r, rc, &e, empty);
    /* RFC 6241 4.3: what is no XML at all leaves nothing to go on with. */
    bool over = !whole || r.end_session || (rc == ERR_MALFORMED && r.rpc == NULL);
    *sub = r.subscription;
    snap_release(r.snap);
    buf_free(&r.head);
    arena_free(r.a);
    return over;
}

enum err_code nc_store_of(struct nc_rpc *r, const char *parameter, enum nc_store *out,
                          const struct dom **config, struct err *e) {
    const struct dom *p = dom_child(r->op, NS_NETCONF, parameter);
    if (p == NULL || p->child == NULL) {
        return nc_missing(r, parameter, e);
    }
    const struct dom *c = p->child;
    if (dom_is(c, NS_NETCONF, "running")) {
        *out = NC_RUNNING;
    } else if (dom_is(c, NS_NETCONF, "candidate")) {
        *out = NC_CANDIDATE;
    } else if (dom_is(c, NS_NMDA, "datastore")) {
        ERR_TRY(nc_datastore(r, c, out, e));
        if (*out == NC_OPERATIONAL) {
            return nc_fail(r, ERR_INVALID, NULL, "<bad-element>datastore</bad-element>", NULL, e,
                           "%s can't be the operational datastore here", parameter);
        }
    } else if (config != NULL && dom_is(c, NS_NETCONF, "config")) {
        *out = NC_INLINE;
        *config = c;
    } else {
        return nc_fail(r, ERR_INVALID, NULL,
                       arena_printf(r->a, "<bad-element>%s</bad-element>", c->name), NULL, e,
                       "%s can't be <%.64s> here", parameter, c->name);
    }
    return ERR_OK;
}
