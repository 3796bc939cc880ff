// SPDX-License-Identifier: Apache-2.0
/*
 * A session of a node that follows, and its twin at the leader. Most lines are answered here. One
 * that only the leader can do is done in the twin, and while that is in configuration mode all are:
 *
 *     execute  --whose?--> here
 *                 |
 *                 +--> open the twin, where there is none --> execute there --> its events, as they
 *                                    ^                             |            come
 *                                    +---- it was gone (404, 410) -+
 *
 * A twin is lost with its leader. In configuration mode the edits of a private candidate go with
 * it, so the line is refused and the session is in operational mode again; else the next one opens
 * anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "north/cli/http_int.h"

static const struct relay_leg_ops open_ops, execute_ops;

static struct relay_leg *leg_new(struct session *s, const char *method, const char *rest,
                                 const void *body, size_t n, const struct relay_leg_ops *ops,
                                 void *arg) {
    static const struct http_field json = {"content-type", "application/json"};
    const struct actor *who = cli_session_actor(s->cli);
    struct buf actor = BUF_INIT;
    char *path =
        mem_printf(BASE_PATH "%s%s%s", s->twin.token[0] != '\0' ? "/" : "", s->twin.token, rest);
    http_auth_actor_print(who, &actor);
    struct relay_request rq = {.kind = RELAY_SESSION,
                               .method = method,
                               .path = path,
                               .actor_name = HTTP_AUTH_ACTOR,
                               .actor = buf_cstr(&actor),
                               .peer = who->source,
                               .fields = &json,
                               .n_fields = n > 0 ? 1 : 0};
    struct relay_leg *leg = relay_leg_new(s->h->relay, &rq, ops, arg);
    if (n > 0) {
        relay_leg_write(leg, body, n);
    }
    relay_leg_end(leg);
    mem_free(path);
    buf_free(&actor);
    return leg;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static void finish(struct session *s) {
    buf_free(&s->twin.in);
    s->twin.owed = 0;
    s->twin.ended = false;
    cli_http_executed(s);
}

static void add_error(struct session *s, const char *code, const char *text) {
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"error\":{\"code\":");
    text_json(&b, code);
    buf_str(&b, ",\"text\":");
    text_json(&b, text);
    buf_str(&b, ",\"path\":\"\",\"shown\":");
    text_json(&b, text);
    buf_str(&b, "}}");
    cli_http_event(s, (const char *)b.data, b.len);
    buf_free(&b);
}

/* The line was not carried out there, or nobody knows. */
static void fail(struct session *s, const char *code, const char *text) {
    if (s->twin.configuring) {
        char more[700];
        snprintf(
            more, sizeof more,
            "%s; configuration mode is left, and private edits that were not committed are lost",
            text);
        add_error(s, code, more);
    } else {
        add_error(s, code, text);
    }
    s->twin.token[0] = '\0';
    s->twin.configuring = false;
    cli_http_end_event(s, CLI_FAILED);
    finish(s);
}

/* {"error":{"code":...,"text":...}}, the body of a refusal. */
static void fail_as_told(struct session *s) {
    json_t *o = json_loadb((const char *)s->twin.in.data, s->twin.in.len, 0, NULL);
    const json_t *e = json_object_get(o, "error");
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *text = json_string_value(json_object_get(e, "text"));
    fail(s, code != NULL ? code : "operation-failed",
         text != NULL ? text : "the leader's answer is not understood");
    json_decref(o);
}

static void open_twin(struct session *s) {
    struct cli_screen screen = cli_session_screen(s->cli);
    char body[160];
    snprintf(body, sizeof body, "{\"interactive\":%s,\"json\":%s,\"rows\":%u,\"columns\":%u}",
             s->interactive ? "true" : "false", cli_session_json(s->cli) ? "true" : "false",
             screen.rows, screen.columns);
    s->twin.token[0] = '\0';
    s->twin.opening = true;
    s->twin.leg = leg_new(s, "POST", "", body, strlen(body), &open_ops, s);
}

static void execute_there(struct session *s) {
    struct buf body = BUF_INIT;
    buf_str(&body, "{\"line\":");
    text_json(&body, s->line);
    buf_char(&body, '}');
    s->twin.opening = false;
    s->twin.leg = leg_new(s, "POST", "/execute", body.data, body.len, &execute_ops, s);
    mem_wipe(body.data, body.len); /* it may have a password */
    buf_free(&body);
}

void cli_remote_execute(struct session *s) {
    s->twin.opened_anew = s->twin.ended = false;
    if (s->q == NULL) { /* its client has gone meanwhile */
        finish(s);
    } else if (!relay_follows(s->h->relay)) {
        fail(s, err_code_tag(ERR_UNAVAILABLE), "no node leads that could be asked from here");
    } else if (s->twin.token[0] != '\0') {
        execute_there(s);
    } else {
        open_twin(s);
    }
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static void on_head(void *arg, int status, const struct http_field *f, size_t nf) {
    struct session *s = arg;
    (void)f;
    (void)nf;
    s->twin.status = status;
}

/* Small answers, and refusals. */
static void on_whole(void *arg, const uint8_t *p, size_t n) {
    struct session *s = arg;
    buf_add(&s->twin.in, p, n); /* at most a window: no credit is given */
}

static void opened(void *arg, enum relay_end end, const char *why) {
    struct session *s = arg;
    s->twin.leg = NULL;
    if (end != RELAY_DONE) {
        fail(s, err_code_tag(ERR_UNAVAILABLE), why);
        return;
    }
    if (s->twin.status != 201) {
        fail_as_told(s);
        return;
    }
    json_t *o = json_loadb((const char *)s->twin.in.data, s->twin.in.len, 0, NULL);
    const char *id = json_string_value(json_object_get(o, "id"));
    bool good = id != NULL && strlen(id) == TOKEN_LEN;
    if (good) {
        snprintf(s->twin.token, sizeof s->twin.token, "%s", id);
    }
    json_decref(o);
    buf_free(&s->twin.in);
    if (good) {
        execute_there(s);
    } else {
        fail(s, "operation-failed", "the leader's answer is not understood");
    }
}

static const struct relay_leg_ops open_ops = {.head = on_head, .body = on_whole, .closed = opened};

static bool shown(const struct session *s) {
    struct snap *now = core_snapshot(s->h->auth.core);
    bool has = snap_index(now) >= s->twin.index;
    snap_release(now);
    return has;
}

/* In operational mode the session is where this node is. */
static void give_end(struct session *s) {
    const char *line = (const char *)s->twin.last.data;
    json_t *o = json_loadb(line, s->twin.last.len, 0, NULL);
    if (s->twin.configuring) {
        cli_http_event(s, line, s->twin.last.len);
        pthread_mutex_lock(&s->lock);
        s->finished = true;
        pthread_mutex_unlock(&s->lock);
    } else {
        const json_t *end = json_object_get(o, "end");
        cli_http_end_event(s, (int)json_integer_value(json_object_get(end, "status")));
    }
    json_decref(o);
    buf_free(&s->twin.last);
    loop_timer_free(s->twin.wait);
    s->twin.wait = NULL;
    if (s->twin.leg == NULL) {
        finish(s);
    }
}

static void look(void *arg) {
    struct session *s = arg;
    if (shown(s) || loop_now(s->h->auth.loop) >= s->twin.hold_until) {
        give_end(s);
    }
}

/* {"end":{...}}: where the twin is now. */
static void on_end(struct session *s, const char *line, size_t n) {
    enum { LOOK_MS = 10 };
    json_t *o = json_loadb(line, n, 0, NULL);
    const json_t *end = json_object_get(o, "end");
    const char *way_back = json_string_value(json_object_get(end, "way-back"));
    s->twin.configuring = way_back != NULL && way_back[0] != '\0';
    s->twin.index = (uint64_t)json_integer_value(json_object_get(end, "index"));
    s->twin.hold_until = loop_now(s->h->auth.loop) + RELAY_SHOWN_MS * NS_PER_MS;
    s->twin.ended = true;
    buf_add(&s->twin.last, line, n);
    if (json_is_true(json_object_get(end, "secret"))) {
        cli_session_set_secret(s->cli);
    }
    if (json_is_true(json_object_get(end, "ended"))) {
        s->twin.token[0] = '\0';
        cli_session_end(s->cli);
    }
    json_decref(o);
    if (shown(s)) {
        give_end(s);
    } else {
        s->twin.wait = loop_timer_new(s->h->auth.loop, look, s);
        loop_timer_repeat(s->twin.wait, LOOK_MS);
    }
}

static void on_events(void *arg, const uint8_t *p, size_t n) {
    static const char end[] = "{\"end\":";
    struct session *s = arg;
    struct buf *in = &s->twin.in;
    s->twin.owed += n;
    buf_add(in, p, n);
    size_t at = 0;
    for (const uint8_t *nl; s->twin.status == 200 && !s->twin.ended && at < in->len &&
                            (nl = memchr(in->data + at, '\n', in->len - at)) != NULL;) {
        const char *line = (const char *)in->data + at;
        size_t len = (size_t)((const char *)nl - line);
        if (len >= sizeof end - 1 && memcmp(line, end, sizeof end - 1) == 0) {
            on_end(s, line, len);
        } else {
            cli_http_event(s, line, len);
        }
        at += len + 1;
    }
    buf_consume(in, at);
}

void cli_remote_taken(struct session *s) {
    if (s->twin.leg != NULL && s->twin.owed > 0) {
        relay_leg_taken(s->twin.leg, s->twin.owed);
        s->twin.owed = 0;
    }
}

static void executed(void *arg, enum relay_end end, const char *why) {
    struct session *s = arg;
    s->twin.leg = NULL;
    bool gone = s->twin.status == 404 || s->twin.status == 410;
    if (s->twin.ended) {
        if (s->twin.wait == NULL) {
            finish(s);
        }
    } else if (end != RELAY_DONE) {
        fail(s, err_code_tag(ERR_UNAVAILABLE), why);
    } else if (gone && !s->twin.configuring && !s->twin.opened_anew) {
        s->twin.opened_anew = true;
        buf_free(&s->twin.in);
        open_twin(s);
    } else if (gone && s->twin.configuring) {
        fail(s, err_code_tag(ERR_ABSENT), "the session at the leader is gone");
    } else if (s->twin.status != 200) {
        fail_as_told(s);
    } else {
        fail(s, "operation-failed", "the leader's answer ended early; look whether it was done");
    }
}

static const struct relay_leg_ops execute_ops = {
    .head = on_head, .body = on_events, .closed = executed};

/* ---- requests beside it -----------------------------------------------------------------------
 */

static void forward_head(void *arg, int status, const struct http_field *f, size_t nf) {
    struct request *q = arg;
    (void)f;
    (void)nf;
    q->status = status;
}

static void forward_body(void *arg, const uint8_t *p, size_t n) {
    struct request *q = arg;
    buf_add(&q->answer, p, n);
    relay_leg_taken(q->leg, n);
}

static void forwarded(void *arg, enum relay_end end, const char *why) {
    struct request *q = arg;
    q->leg = NULL;
    if (end == RELAY_DONE) {
        http_respond(q->r, q->status, q->answer.len > 0 ? "application/json" : NULL, q->answer.data,
                     q->answer.len);
    } else {
        cli_http_refuse(q->r, ERR_UNAVAILABLE, why);
    }
}

static const struct relay_leg_ops forward_ops = {
    .head = forward_head, .body = forward_body, .closed = forwarded};

void cli_remote_forward(struct request *q, struct session *s, const char *rest, const void *body,
                        size_t n) {
    const char *query = http_query(q->r);
    char *path = mem_printf("%s%s%s", rest, query[0] != '\0' ? "?" : "", query);
    q->leg = leg_new(s, "POST", path, body, n, &forward_ops, q);
    mem_free(path);
}

static void told_head(void *arg, int status, const struct http_field *f, size_t nf) {
    (void)arg;
    (void)status;
    (void)f;
    (void)nf;
}
static void told_body(void *arg, const uint8_t *p, size_t n) {
    (void)arg; /* it is short, or stays on its way until the leg is over */
    (void)p;
    (void)n;
}
static void told(void *arg, enum relay_end end, const char *why) {
    (void)arg;
    (void)end;
    (void)why;
}
static const struct relay_leg_ops tell_ops = {.head = told_head, .body = told_body, .closed = told};

void cli_remote_tell(struct session *s, const char *method, const char *rest, const char *body) {
    if (s->twin.token[0] != '\0') {
        leg_new(s, method, rest, body, strlen(body), &tell_ops, NULL);
    }
}

void cli_remote_cut(struct session *s) {
    if (s->twin.leg != NULL) {
        relay_leg_cancel(s->twin.leg); /* the leader stops the command, as this node would */
        s->twin.leg = NULL;
    } else if (s->twin.wait == NULL) {
        return;
    }
    loop_timer_free(s->twin.wait);
    s->twin.wait = NULL;
    buf_free(&s->twin.last);
    finish(s);
}

void cli_remote_end(struct session *s) {
    cli_remote_tell(s, "DELETE", "", "");
    s->twin.token[0] = '\0';
    s->twin.configuring = false;
}
