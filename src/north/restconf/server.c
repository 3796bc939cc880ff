// SPDX-License-Identifier: Apache-2.0
/* The life of a request: address, login, body, dispatch, answer. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/rng.h"
#include "north/restconf/internal.h"

LOGGER_MODULE(restconf);

#define PATCH_TYPES                                                                                \
    "application/yang-data+json, application/yang-data+xml, application/yang-patch+json, "         \
    "application/yang-patch+xml"

struct restconf *restconf_new(const struct restconf_config *cfg) {
    struct restconf *rc = MEM_NEW(struct restconf);
    rc->cfg = *cfg;
    rc->model = core_model(cfg->core);
    rc->auth = (struct http_auth_config){.core = cfg->core,
                                         .loop = cfg->loop,
                                         .hashers = cfg->hashers,
                                         .dialect = "restconf",
                                         .clear_text = cfg->clear_text,
                                         .takes_due = true,
                                         .from_nodes = cfg->from_nodes};
    rc->started_s = clock_wall_s(core_clock(cfg->core));
    rc->history = mem_alloc(RC_HISTORY * sizeof *rc->history);
    rng_token(rc->boot, sizeof rc->boot - 1);
    list_init(&rc->requests);
    list_init(&rc->stream_clients);
    rc->crowded = loop_timer_new(cfg->loop, make_room, rc);
    rc->ended = loop_timer_new(cfg->loop, end_streams, rc);
    loop_timer_repeat(rc->ended, END_STREAMS_MS);
    return rc;
}

static void request_free(struct request *q) {
    list_remove(&q->link);
    q->rc->body_bytes -= q->body_counted;
    snap_release(q->snap);
    change_free(q->change);
    call_free(q->call);
    json_decref(q->output);
    mem_free(q->wait_text);
    buf_free(&q->body);
    arena_free(q->arena);
    mem_free(q);
}

void restconf_free(struct restconf *rc) {
    if (rc == NULL) {
        return;
    }
    LIST_FOREACH_SAFE (l, &rc->requests) {
        request_free(CONTAINER_OF(l, struct request, link));
    }
    loop_timer_free(rc->crowded);
    loop_timer_free(rc->ended);
    buf_free(&rc->openapi);
    mem_free(rc->history);
    mem_free(rc);
}

static void request_release(struct request *q) {
    if (q->http == NULL && q->pending == 0) {
        request_free(q);
    }
}

bool request_back(struct request *q) {
    q->pending--;
    if (q->http != NULL) {
        return true;
    }
    request_release(q);
    return false;
}

void request_taken(struct request *q) {
    q->http = NULL;
    request_release(q);
}

/* ---- answers --------------------------------------------------------------------------------- */

void field_add(struct fields *fs, const char *name, const char *value) {
    if (fs->n < RC_FIELDS_MAX) {
        fs->f[fs->n++] = (struct http_field){name, value};
    }
}

void answer(struct request *q, int status, struct fields *fs, const char *content_type,
            const void *body, size_t n) {
    struct fields none = {.n = 0};
    fs = fs != NULL ? fs : &none;
    if (content_type != NULL) {
        field_add(fs, "content-type", content_type);
    }
    field_add(fs, "cache-control", "no-cache");
    struct buf whole = BUF_INIT;
    if (n > 0 && ((const char *)body)[n - 1] != '\n') { /* a prompt comes below it */
        buf_add(&whole, body, n);
        buf_char(&whole, '\n');
        body = whole.data;
        n = whole.len;
    }
    http_respond_fields(q->http, status, fs->f, fs->n, body, n);
    buf_free(&whole);
}

/* Methods that the request's resource knows, as far as it is known which it is. */
static unsigned allowed(const struct request *q) {
    bool data = q->uri.resource == RC_DATA && q->target.node != NULL;
    return (data ? rc_data_methods(&q->target) : rc_methods(q->uri.resource, q->uri.path)) &
           rc_store_methods(q->uri.store);
}

void answer_rc_error(struct request *q, const struct rc_error *er) {
    struct fields fs = {.n = 0};
    struct buf body = BUF_INIT;
    char allow[64];
    enum rc_media m = q->accept != RC_MEDIA_NONE ? q->accept : rc_media_accept(NULL, q->media);
    rc_errors_body(er, rc_media_format(m), &body);
    if (er->status == 401) {
        field_add(&fs, "www-authenticate", HTTP_AUTH_CHALLENGE);
    } else if (er->status == 405) {
        field_add(&fs, "allow", rc_method_names(allowed(q), allow));
    } else if (er->status == 415 && q->uri.method == RC_PATCH) {
        field_add(&fs, "accept-patch", PATCH_TYPES); /* RFC 5789 2.2 */
    } else if (er->status == 503) {
        field_add(&fs, "retry-after", "1");
    }
    answer(q, er->status, &fs, rc_media_name(m), body.data, body.len);
    buf_free(&body);
}

void answer_error(struct request *q, const struct err *e) {
    struct rc_error er;
    rc_error_of(e, &er);
    answer_rc_error(q, &er);
}

void answer_status(struct request *q, int status, const char *tag, const char *fmt, ...) {
    struct rc_error er = {.status = status, .tag = tag, .type = "protocol"};
    va_list ap;
    va_start(ap, fmt);
    err_setv(&er.err, ERR_INVALID, NULL, fmt, ap);
    va_end(ap);
    answer_rc_error(q, &er);
}

const char *request_base(struct request *q) {
    if (q->base == NULL) {
        const char *authority = http_authority(q->http);
        q->base = arena_printf(q->arena, "%s://%s", http_scheme(q->http),
                               authority[0] != '\0' ? authority : "localhost");
    }
    return q->base;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static void options(struct request *q) {
    struct fields fs = {.n = 0};
    char allow[64];
    field_add(&fs, "allow", rc_method_names(allowed(q), allow));
    if (allowed(q) & RC_PATCH) {
        field_add(&fs, "accept-patch", PATCH_TYPES);
    }
    answer(q, 200, &fs, NULL, NULL, 0);
}

/* RFC 8040 3.5.3: below the datastore a node's name carries its module. */
static enum err_code check_qualified(const char *path, struct err *e) {
    size_t n = path[0] == '/' ? strcspn(path + 1, "/=") : 0;
    return n == 0 || memchr(path + 1, ':', n) != NULL
               ? ERR_OK
               : err_set(e, ERR_INVALID, NULL,
                         "\"%.*s\" lacks its module: an address goes on with MODULE:NAME",
                         (int)(n > 60 ? 60 : n), path + 1);
}

/* What a data resource's address names. What is not in the model is not found: 404. */
static bool find_target(struct request *q) {
    struct err e;
    struct target t;
    enum err_code rc = check_qualified(q->uri.path, &e);
    if (rc == ERR_OK) {
        rc = path_parse(q->rc->model, q->uri.path, q->arena, &t, &e);
    }
    if (rc == ERR_OK && (t.node->type == NODE_RPC || t.node->type == NODE_NOTIFICATION)) {
        rc = err_set(&e, ERR_UNKNOWN, NULL,
                     "this is no data; operations are under "
                     "/restconf/operations");
    }
    if (rc == ERR_OK) {
        q->target = t;
        return true;
    }
    struct rc_error er;
    rc_error_of(&e, &er);
    if (rc == ERR_UNKNOWN || rc == ERR_NAMESPACE || rc == ERR_ABSENT) {
        er.status = 404;
        er.tag = "invalid-value";
    }
    answer_rc_error(q, &er);
    return false;
}

/* Is the method one for what the address names? */
static bool method_fits(struct request *q) {
    const struct node *n = q->target.node;
    struct err e;
    if (rc_data_methods(&q->target) & q->uri.method) {
        return true;
    }
    const char *why = !n->config             ? "is state, which can't be changed"
                      : n->type == NODE_ROOT ? "is the datastore, which is always there"
                      : !q->target.entry && (n->type == NODE_LIST || n->type == NODE_LEAF_LIST)
                          ? "is a list; name one entry by its key"
                      : n->is_key ? "is a key, which can't be taken away"
                                  : "has no children that could be created";
    err_set(&e, ERR_METHOD, q->target.path, "%s", why);
    answer_error(q, &e);
    return false;
}

static void dispatch(struct request *q) {
    if (q->uri.method == RC_OPTIONS) {
        options(q);
        return;
    }
    switch (q->uri.resource) {
    case RC_HOST_META:
        get_host_meta(q);
        break;
    case RC_API:
        get_api(q);
        break;
    case RC_DATA:
        if (q->uri.method & (RC_GET | RC_HEAD)) {
            get_data(q);
        } else {
            edit_data(q);
        }
        break;
    case RC_OPERATIONS:
        get_operations(q);
        break;
    case RC_OPERATION:
        run_operation(q);
        break;
    case RC_LIBRARY:
        get_library_version(q);
        break;
    case RC_STREAM:
        get_stream(q);
        break;
    case RC_SCHEMA:
        get_schema(q);
        break;
    case RC_OPENAPI:
        get_openapi(q);
        break;
    }
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void refuse_body(struct request *q, int status, const char *tag, const char *text) {
    q->refused = true;
    buf_free(&q->body);
    answer_status(q, status, tag, "%s", text);
}

static void on_body(struct http_req *r, const uint8_t *p, size_t n, void *arg) {
    struct request *q = arg;
    struct restconf *rc = q->rc;
    if (q->refused || http_started(r)) {
        return;
    }
    if (q->body.len + n > RESTCONF_BODY_MAX) {
        refuse_body(q, 413, "too-big", "the body has more than 64 MiB; split the change");
        return;
    }
    if (q->body.len + n > RC_BODY_FREE && rc->body_bytes + n > RESTCONF_BODIES_MAX) {
        refuse_body(q, 503, "resource-denied", "too many large bodies at once; try again");
        return;
    }
    rc->body_bytes += n;
    q->body_counted += n;
    buf_add(&q->body, p, n);
}

static void on_body_end(struct http_req *r, void *arg) {
    struct request *q = arg;
    if (!q->refused && !http_started(r)) {
        q->done_reading = true;
        dispatch(q);
    }
}

static void on_drained(struct http_req *r, void *arg) {
    (void)r;
    get_drained(arg);
}

static void on_closed(struct http_req *r, bool aborted, void *arg) {
    struct request *q = arg;
    (void)r;
    (void)aborted;
    http_auth_cancel(q->ticket);
    q->ticket = NULL;
    get_closed(q);
    q->http = NULL;
    request_release(q);
}

static const struct http_req_ops request_ops = {on_body, on_body_end, on_drained, on_closed};

/* Does the method bring a body, and do we know its form? */
static bool check_media(struct request *q) {
    bool wanted = q->uri.method & (RC_POST | RC_PUT | RC_PATCH);
    bool empty_rpc = q->uri.resource == RC_OPERATION && http_body_length(q->http) == 0;
    if (!wanted || (empty_rpc && q->media == RC_MEDIA_NONE)) {
        return true;
    }
    bool patch = q->media == RC_MEDIA_PATCH_JSON || q->media == RC_MEDIA_PATCH_XML;
    if (q->media == RC_MEDIA_NONE || q->media == RC_MEDIA_OTHER || q->media == RC_MEDIA_EVENTS ||
        (patch && q->uri.method != RC_PATCH)) {
        answer_status(q, 415, "operation-not-supported",
                      "the body's Content-Type must be application/yang-data+json or "
                      "application/yang-data+xml%s",
                      q->uri.method == RC_PATCH ? ", or application/yang-patch with the same" : "");
        return false;
    }
    return true;
}

static bool check_accept(struct request *q) {
    bool fixed = q->uri.resource == RC_STREAM || q->uri.resource == RC_SCHEMA ||
                 q->uri.resource == RC_OPENAPI || q->uri.resource == RC_HOST_META;
    if (q->accept != RC_MEDIA_NONE || fixed || q->uri.method == RC_OPTIONS) {
        return true;
    }
    answer_status(q, 406, "invalid-value",
                  "only application/yang-data+json and application/yang-data+xml can be had here");
    return false;
}

/* Nobody fills our memory with a change that he has no right to. */
static bool may_bring_body(struct request *q) {
    struct err e;
    if (!(q->uri.method & (RC_POST | RC_PUT | RC_PATCH))) {
        return true;
    }
    struct snap *now = core_snapshot(q->rc->cfg.core);
    bool may = may_change(q, now, &e);
    snap_release(now);
    if (!may) {
        answer_error(q, &e);
    }
    return may;
}

static bool is_leaders(const struct request *q) {
    if (q->uri.resource == RC_DATA && (q->uri.method & (RC_GET | RC_HEAD))) {
        return q->uri.query.content != CONTENT_CONFIG &&
               core_look_is_leaders(q->rc->cfg.core, q->target.path);
    }
    const struct node *rpc = q->uri.resource == RC_OPERATION ? model_rpc(q->uri.path) : NULL;
    if (!(q->uri.method & (RC_POST | RC_PUT | RC_PATCH | RC_DELETE))) {
        return false;
    }
    return q->uri.resource == RC_DATA ||
           (rpc != NULL && core_call_is_leaders(q->rc->cfg.core, rpc));
}

static bool passed_on(struct request *q) {
    const struct restconf_config *cfg = &q->rc->cfg;
    if (cfg->relay == NULL || !is_leaders(q) || !cfg->relay(q->http, &q->who, cfg->relay_arg)) {
        return false;
    }
    request_taken(q);
    return true;
}

/* Answers that the password has ended, for all but setting a new one. */
static bool due(struct request *q) {
    struct snap *s = core_snapshot(q->rc->cfg.core);
    struct err e;
    bool yes = rights_due(s, &q->who) && (q->uri.resource != RC_OPERATION ||
                                          strcmp(q->uri.path, &RIGHTS_OWN_PASSWORD[1]) != 0);
    snap_release(s);
    if (yes) {
        rights_due_error(&q->who, &e);
        answer_error(q, &e);
    }
    return yes;
}

static void authenticated(void *arg, const struct actor *who, const struct err *e) {
    struct request *q = arg;
    q->ticket = NULL;
    if (e != NULL) {
        answer_error(q, e);
        return;
    }
    q->who = *who;
    if (due(q)) {
        return;
    }
    if (!check_media(q) || !check_accept(q) ||
        (q->uri.resource == RC_DATA &&
         (!find_target(q) || !method_fits(q) || !may_bring_body(q)))) {
        return;
    }
    if (passed_on(q)) {
        return;
    }
    http_req_pause(q->http, false); /* now the body may come; on_body_end goes on */
}

void restconf_handle(struct http_req *r, void *restconf) {
    struct restconf *rc = restconf;
    struct request *q = MEM_NEW(struct request);
    struct err e;
    q->rc = rc;
    q->http = r;
    q->arena = arena_new();
    q->media = rc_media_of(http_header(r, "content-type"));
    q->accept = rc_media_accept(http_header(r, "accept"), q->media);
    list_append(&rc->requests, &q->link);
    http_req_set_ops(r, &request_ops, q);
    enum err_code code =
        rc_uri_parse(http_method(r), http_raw_path(r), http_query(r), q->arena, &q->uri, &e);
    if (code == ERR_ABSENT || q->uri.resource == RC_HOST_META) {
        /* What is public: where the API is, and that something else is not there. */
        http_req_pause(r, false);
        if (code != ERR_OK) {
            answer_error(q, &e);
        } else {
            dispatch(q);
        }
        return;
    }
    if (code != ERR_OK) {
        answer_error(q, &e);
        return;
    }
    http_req_pause(r, true); /* strangers' bodies are not read */
    q->pending++;            /* it may be passed on, and over, before this returns */
    q->ticket = http_auth(&rc->auth, r, authenticated, q);
    request_back(q);
}

void restconf_write_error(struct http_req *r, int status, const char *why, void *arg) {
    (void)arg;
    enum rc_media sent = rc_media_of(http_header(r, "content-type"));
    enum rc_media m = rc_media_accept(http_header(r, "accept"), sent);
    m = m == RC_MEDIA_NONE ? rc_media_accept(NULL, sent) : m;
    struct rc_error er = {.status = status,
                          .tag = status == 413   ? "too-big"
                                 : status == 400 ? "malformed-message"
                                                 : "operation-failed",
                          .type = "rpc"};
    err_set(&er.err, ERR_MALFORMED, NULL, "%s", why);
    struct buf body = BUF_INIT;
    rc_errors_body(&er, rc_media_format(m), &body);
    const struct http_field fs[] = {{"content-type", rc_media_name(m)},
                                    {"cache-control", "no-cache"}};
    http_respond_fields(r, status, fs, 2, body.data, body.len);
    buf_free(&body);
}
