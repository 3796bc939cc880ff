// SPDX-License-Identifier: Apache-2.0
#include "north/cli/http.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/logger.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/workers.h"
#include "north/cli/http_int.h"

LOGGER_MODULE(cli);

enum { SWEEP_MS = 5000, WORKERS = CLI_SESSIONS_MAX + 8 };

static void free_http(struct cli_http *h) {
    pthread_mutex_destroy(&h->lock);
    mem_free(h->mail);
    mem_free(h);
}

/* Loop. False: there was none. */
static bool serve_mail(struct cli_http *h) {
    pthread_mutex_lock(&h->lock);
    struct mail *list = h->mail;
    size_t n = h->n_mail;
    h->mail = NULL;
    h->n_mail = h->cap_mail = 0;
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < n; i++) {
        list[i].fn(list[i].arg);
    }
    mem_free(list);
    return n > 0;
}

static void on_mail(void *arg) {
    struct cli_http *h = arg;
    if (h->gone) {
        free_http(h);
        return;
    }
    pthread_mutex_lock(&h->lock);
    h->posted = false;
    pthread_mutex_unlock(&h->lock);
    serve_mail(h);
}

static void send_mail(struct cli_http *h, loop_fn *fn, void *arg) {
    pthread_mutex_lock(&h->lock);
    if (h->n_mail == h->cap_mail) {
        h->cap_mail = h->cap_mail * 2 + 8;
        h->mail = mem_array(h->mail, h->cap_mail, sizeof *h->mail);
    }
    h->mail[h->n_mail++] = (struct mail){fn, arg};
    bool post = !h->posted;
    h->posted = true;
    pthread_mutex_unlock(&h->lock);
    if (post) {
        loop_post(h->auth.loop, on_mail, h);
    }
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

static void respond_json(struct http_req *r, int status, json_t *body) {
    char *text = json_dumps(body, JSON_COMPACT);
    http_respond(r, status, "application/json", text, strlen(text));
    free(text);
    json_decref(body);
}

static void respond_error(struct http_req *r, int status, const struct err *e) {
    json_t *body =
        json_pack("{s:{s:s,s:s}}", "error", "code", err_code_tag(e->code), "text", e->text);
    if (status == 401) {
        char *text = json_dumps(body, JSON_COMPACT);
        const struct http_field f[] = {{"content-type", "application/json"},
                                       {"www-authenticate", HTTP_AUTH_CHALLENGE}};
        http_respond_fields(r, 401, f, 2, text, strlen(text));
        free(text);
        json_decref(body);
        return;
    }
    respond_json(r, status, body);
}

void cli_http_refuse(struct http_req *r, enum err_code code, const char *text) {
    struct err e;
    err_set(&e, code, NULL, "%s", text);
    respond_error(r, err_code_http(code), &e);
}

/* ---- output: from the command's thread to the request
 * ---------------------------------------------- */

/* Loop. */
void cli_http_flush(struct session *s) {
    struct http_req *r = s->q != NULL ? s->q->r : NULL;
    struct buf out = BUF_INIT;
    bool finished = false;
    pthread_mutex_lock(&s->lock);
    s->posted = false;
    if (r == NULL || http_queued(r) < http_queue_high(r)) {
        out = s->out;
        s->out = (struct buf)BUF_INIT;
        /* Not before the session is ready for the next command: the end of the answer asks for it.
         */
        finished = s->finished && !s->executing;
        pthread_cond_broadcast(&s->cond);
    }
    pthread_mutex_unlock(&s->lock);
    if (r != NULL && out.len > 0) {
        http_write(r, out.data, out.len);
        cli_remote_taken(s);
    }
    if (r != NULL && finished) {
        s->q->s = NULL;
        s->q = NULL;
        http_end(r);
    }
    buf_free(&out);
}

static void free_if_done(struct session *s);

static void flush_posted(void *arg) {
    cli_http_flush(arg);
    free_if_done(arg);
}

/* The command's thread, locked. */
static void announce(struct session *s) {
    if (!s->posted) {
        s->posted = true;
        send_mail(s->h, flush_posted, s);
    }
}

/* Waits until the peer has taken enough. Locked. */
static void wait_for_room(struct session *s) {
    while (s->out.len > CLI_OUT_HIGH && !s->stop) {
        pthread_cond_wait(&s->cond, &s->lock);
    }
}

static void sink_write(void *arg, const char *p, size_t n) {
    enum { PIECE = 16384 };
    struct session *s = arg;
    pthread_mutex_lock(&s->lock);
    while (n > 0 && !s->stop) {
        size_t part = n < PIECE ? n : PIECE;
        char piece[PIECE + sizeof s->carry];
        memcpy(piece, s->carry, s->n_carry);
        memcpy(piece + s->n_carry, p, part);
        size_t len = s->n_carry + part;
        buf_str(&s->out, "{\"text\":\"");
        s->n_carry = text_json_part(&s->out, piece, len);
        memcpy(s->carry, piece + len - s->n_carry, s->n_carry);
        buf_str(&s->out, "\"}\n");
        announce(s);
        wait_for_room(s);
        p += part;
        n -= part;
    }
    pthread_mutex_unlock(&s->lock);
}

static void add_event(struct session *s, const char *name, const char *text) {
    pthread_mutex_lock(&s->lock);
    buf_printf(&s->out, "{\"%s\":", name);
    text_json(&s->out, text);
    buf_str(&s->out, "}\n");
    announce(s);
    pthread_mutex_unlock(&s->lock);
}

void cli_http_event(struct session *s, const char *json, size_t n) {
    pthread_mutex_lock(&s->lock);
    buf_add(&s->out, json, n);
    buf_char(&s->out, '\n');
    announce(s);
    pthread_mutex_unlock(&s->lock);
}

static void sink_note(void *arg, const char *text) {
    add_event(arg, "note", text);
}

static void sink_save(void *arg, const char *file) {
    add_event(arg, "save", file);
}

static void sink_paging(void *arg, bool on) {
    struct session *s = arg;
    pthread_mutex_lock(&s->lock);
    buf_printf(&s->out, "{\"paging\":%s}\n", on ? "true" : "false");
    pthread_mutex_unlock(&s->lock);
}

static void sink_fault(void *arg, const struct err *e, const char *shown, bool has_place,
                       size_t start, size_t end) {
    struct session *s = arg;
    pthread_mutex_lock(&s->lock);
    buf_printf(&s->out, "{\"error\":{\"code\":\"%s\",\"text\":", err_code_tag(e->code));
    text_json(&s->out, e->text);
    buf_str(&s->out, ",\"path\":");
    text_json(&s->out, e->path);
    buf_str(&s->out, ",\"shown\":");
    text_json(&s->out, shown);
    if (has_place) {
        buf_printf(&s->out, ",\"start\":%zu,\"end\":%zu", start, end);
    }
    buf_str(&s->out, "}}\n");
    announce(s);
    pthread_mutex_unlock(&s->lock);
}

static bool sink_stopped(void *arg) {
    struct session *s = arg;
    pthread_mutex_lock(&s->lock);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static enum err_code sink_ask(void *arg, const struct cli_ask *ask, struct buf *answer,
                              struct err *e) {
    static const char *const kinds[] = {"confirm", "secret", "text", "file"};
    struct session *s = arg;
    enum err_code rc;
    pthread_mutex_lock(&s->lock);
    buf_printf(&s->out, "{\"ask\":{\"kind\":\"%s\",\"prompt\":", kinds[ask->kind]);
    text_json(&s->out, ask->prompt ? ask->prompt : "");
    buf_str(&s->out, ",\"file\":");
    text_json(&s->out, ask->file ? ask->file : "");
    buf_str(&s->out, "}}\n");
    s->asking = true;
    s->answered = false;
    announce(s);
    while (!s->answered && !s->stop) {
        pthread_cond_wait(&s->cond, &s->lock);
    }
    s->asking = false;
    if (!s->answered) {
        rc = err_set(e, ERR_TIMEOUT, NULL, "interrupted");
    } else if (s->answer_rc != ERR_OK) {
        rc = err_set(e, s->answer_rc, NULL, "%s", s->answer_why);
    } else {
        buf_add(answer, s->answer.data, s->answer.len);
        rc = ERR_OK;
    }
    mem_wipe(s->answer.data, s->answer.len);
    buf_free(&s->answer);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- sessions
 * --------------------------------------------------------------------------------------- */

static void stop(struct session *s) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static int64_t now_ms(const struct session *s) {
    return loop_now(s->h->auth.loop) / NS_PER_MS;
}

static void free_if_done(struct session *s) {
    if (!s->dead || s->jobs > 0 || s->posted || s->q != NULL) {
        return;
    }
    cli_session_free(s->cli);
    buf_free(&s->out);
    buf_free(&s->answer);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->line);
    mem_free(s);
}

/* Out of the map; the command that runs is stopped. */
static void end_session(struct session *s) {
    if (!s->dead) {
        map_del(&s->h->sessions, s->token);
        s->dead = true;
        cli_remote_end(s);
        cli_session_end(s->cli);
        stop(s);
    }
    free_if_done(s);
}

static void sweep(void *arg) {
    struct cli_http *h = arg;
    MAP_FOREACH (e, &h->sessions) {
        struct session *s = e->value;
        int64_t idle_s = (now_ms(s) - s->used_ms) / 1000;
        unsigned limit = s->interactive ? cli_session_idle_timeout(s->cli) : CLI_ONE_SHOT_IDLE_S;
        if (cli_session_ended(s->cli) || !cli_session_stands(s->cli) ||
            (s->jobs == 0 && limit > 0 && idle_s > limit)) {
            end_session(s);
        }
    }
}

/* ---- requests
 * --------------------------------------------------------------------------------------- */

static void request_closed(struct http_req *r, bool aborted, void *arg) {
    struct request *q = arg;
    (void)r;
    (void)aborted;
    if (q->ticket != NULL) {
        http_auth_cancel(q->ticket);
    }
    if (q->leg != NULL) {
        relay_leg_cancel(q->leg);
    }
    buf_free(&q->answer);
    if (q->s != NULL) { /* the terminal is gone: so is its command */
        struct session *s = q->s;
        s->q = NULL;
        stop(s);
        s->jobs++; /* it is needed to the end of this */
        cli_remote_cut(s);
        s->jobs--;
        free_if_done(s);
    }
    q->r = NULL;
    if (q->held == 0) {
        mem_free(q);
    }
}

static void request_drained(struct http_req *r, void *arg) {
    struct request *q = arg;
    (void)r;
    if (q->s != NULL) {
        struct session *s = q->s;
        cli_http_flush(s);
        free_if_done(s);
    }
}

static json_t *prompt_json(struct session *s) {
    struct buf prompt = BUF_INIT;
    cli_prompt(s->cli, &prompt);
    json_t *j = json_string(buf_cstr(&prompt));
    buf_free(&prompt);
    return j;
}

static unsigned number(const json_t *o, const char *name, unsigned fallback) {
    const json_t *v = json_object_get(o, name);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    return n >= 0 && n <= 10000 ? (unsigned)n : fallback;
}

static void open_session(struct request *q, const json_t *body) {
    struct cli_terminal t = {.interactive = json_is_true(json_object_get(body, "interactive")),
                             .json = json_is_true(json_object_get(body, "json")),
                             .rows = number(body, "rows", 24),
                             .columns = number(body, "columns", 80)};
    struct cli_session *cs;
    struct err e;
    if (q->h->closing) {
        cli_http_refuse(q->r, ERR_UNAVAILABLE, "the daemon is stopping");
        return;
    }
    if (cli_session_new(q->h->cli, &q->who, &t, &cs, &e) != ERR_OK) {
        respond_error(q->r, 503, &e);
        return;
    }
    struct session *s = MEM_NEW(struct session);
    s->h = q->h;
    s->cli = cs;
    s->interactive = t.interactive;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    memcpy(s->token, q->h->run, RUN_LEN);
    rng_token(s->token + RUN_LEN, TOKEN_LEN - RUN_LEN);
    s->used_ms = now_ms(s);
    map_put(&q->h->sessions, s->token, s);
    struct buf notice = BUF_INIT;
    rights_notice(q->h->auth.core, &q->who, &notice);
    respond_json(q->r, 201,
                 json_pack("{s:s,s:s,s:I,s:s,s:o}", "notice", buf_cstr(&notice), "id", s->token,
                           "number", (json_int_t)cli_session_id(cs), "user", q->who.user, "prompt",
                           prompt_json(s)));
    buf_free(&notice);
}

/* ---- execute */

void cli_http_executed(struct session *s) {
    s->executing = false;
    s->jobs--;
    s->used_ms = now_ms(s);
    cli_http_flush(s);
    if (cli_session_ended(s->cli)) {
        end_session(s);
    } else {
        free_if_done(s);
    }
}

static void executed(void *arg) {
    cli_http_executed(arg);
}

void cli_http_end_event(struct session *s, int status) {
    struct buf prompt = BUF_INIT, way_back = BUF_INIT;
    cli_prompt(s->cli, &prompt);
    cli_way_back(s->cli, &way_back);
    pthread_mutex_lock(&s->lock);
    if (s->n_carry > 0) {
        buf_str(&s->out, "{\"text\":\"\\ufffd\"}\n");
        s->n_carry = 0;
    }
    buf_printf(&s->out, "{\"end\":{\"status\":%d,\"prompt\":", status);
    text_json(&s->out, buf_cstr(&prompt));
    buf_str(&s->out, ",\"way-back\":");
    text_json(&s->out, buf_cstr(&way_back));
    struct cli_screen screen = cli_session_screen(s->cli);
    struct snap *now = core_snapshot(s->h->auth.core);
    buf_printf(&s->out, ",\"index\":%" PRIu64, snap_index(now));
    snap_release(now);
    buf_printf(&s->out,
               ",\"ended\":%s,\"secret\":%s,\"rows\":%u,\"columns\":%u,"
               "\"complete-on-space\":%s}}\n",
               cli_session_ended(s->cli) ? "true" : "false",
               cli_session_secret(s->cli) ? "true" : "false", screen.rows, screen.columns,
               screen.complete_on_space ? "true" : "false");
    s->finished = true;
    pthread_mutex_unlock(&s->lock);
    buf_free(&way_back);
    buf_free(&prompt);
}

static void passed_on(void *arg) {
    cli_remote_execute(arg);
}

static void execute_job(void *arg) {
    struct session *s = arg;
    if (s->remote ||
        (relay_follows(s->h->relay) && cli_is_leaders(s->cli, s->line, strlen(s->line)))) {
        send_mail(s->h, passed_on, s);
        return;
    }
    const struct cli_sink sink = {sink_write,  sink_note, sink_fault,   sink_save,
                                  sink_paging, sink_ask,  sink_stopped, s};
    cli_http_end_event(s, cli_execute(s->cli, s->line, strlen(s->line), &sink));
    send_mail(s->h, executed, s);
}

static void execute(struct request *q, struct session *s, const json_t *body) {
    const char *line = json_string_value(json_object_get(body, "line"));
    if (line == NULL) {
        cli_http_refuse(q->r, ERR_MISSING, "the body must be {\"line\":\"...\"}");
        return;
    }
    if (s->executing) {
        cli_http_refuse(q->r, ERR_IN_USE, "a command runs in this session");
        return;
    }
    mem_free(s->line);
    s->line = mem_strdup(line);
    pthread_mutex_lock(&s->lock);
    s->stop = s->finished = false;
    buf_clear(&s->out);
    pthread_mutex_unlock(&s->lock);
    s->executing = true;
    s->remote = s->twin.configuring;
    s->jobs++;
    if (!workers_run(q->h->workers, execute_job, s)) {
        s->executing = false;
        s->jobs--;
        cli_http_refuse(q->r, ERR_UNAVAILABLE, "too many commands run");
        return;
    }
    static const struct http_field f[] = {{"content-type", "application/jsonl"},
                                          {"cache-control", "no-store"},
                                          {"x-accel-buffering", "no"}};
    s->q = q;
    q->s = s;
    http_start(q->r, 200, f, 3, -1);
}

/* ---- complete */

struct completion {
    struct request *q;
    struct session *s;
    char *line;
    size_t cursor;
    char *answer;
};

static void completed(void *arg) {
    struct completion *c = arg;
    c->s->jobs--;
    c->q->held--;
    if (c->q->r != NULL) {
        http_respond(c->q->r, 200, "application/json", c->answer, strlen(c->answer));
    } else { /* it was closed meanwhile */
        mem_free(c->q);
    }
    free_if_done(c->s);
    free(c->answer);
    mem_free(c->line);
    mem_free(c);
}

static void complete_job(void *arg) {
    static const char *const kinds[] = {"word", "value", "type", "file", "enter", "pipe"};
    struct completion *c = arg;
    struct cli_completion out;
    cli_complete(c->s->cli, c->line, strlen(c->line), c->cursor, &out);
    json_t *items = json_array();
    for (size_t i = 0; i < out.n; i++) {
        json_t *item =
            json_pack("{s:s,s:s}", "kind", kinds[out.items[i].kind], "word", out.items[i].word);
        if (out.items[i].help != NULL) {
            json_object_set_new(item, "help", json_string(out.items[i].help));
        }
        json_array_append_new(items, item);
    }
    json_t *root = json_pack("{s:I,s:o,s:b}", "from", (json_int_t)out.from, "items", items, "more",
                             (int)out.more);
    if (out.insert != NULL) {
        json_object_set_new(root, "insert", json_string(out.insert));
    }
    if (out.err.code != ERR_OK) {
        json_object_set_new(root, "error",
                            json_pack("{s:s,s:s,s:I,s:I}", "code", err_code_tag(out.err.code),
                                      "text", out.err.text, "start", (json_int_t)out.err_start,
                                      "end", (json_int_t)out.err_end));
    }
    c->answer = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    arena_free(out.arena);
    send_mail(c->s->h, completed, c);
}

static void complete(struct request *q, struct session *s, const json_t *body) {
    const char *line = json_string_value(json_object_get(body, "line"));
    const json_t *cursor = json_object_get(body, "cursor");
    if (line == NULL) {
        cli_http_refuse(q->r, ERR_MISSING, "the body must be {\"line\":\"...\",\"cursor\":n}");
        return;
    }
    if (s->executing) {
        cli_http_refuse(q->r, ERR_IN_USE, "a command runs in this session");
        return;
    }
    struct completion *c = MEM_NEW(struct completion);
    c->q = q;
    c->s = s;
    c->line = mem_strdup(line);
    size_t n = strlen(line);
    c->cursor = json_is_integer(cursor) && json_integer_value(cursor) >= 0 &&
                        (size_t)json_integer_value(cursor) < n
                    ? (size_t)json_integer_value(cursor)
                    : n;
    s->jobs++;
    q->held++;
    if (!workers_run(q->h->workers, complete_job, c)) {
        s->jobs--;
        q->held--;
        mem_free(c->line);
        mem_free(c);
        cli_http_refuse(q->r, ERR_UNAVAILABLE, "too many commands run");
    }
}

/* ---- input and the rest */

static void input(struct request *q, struct session *s, struct buf *body) {
    char *none = http_query_get(q->r, "none");
    pthread_mutex_lock(&s->lock);
    bool asked = s->asking && !s->answered;
    if (asked) {
        buf_free(&s->answer);
        s->answer_rc = none != NULL ? ERR_ABSENT : ERR_OK;
        snprintf(s->answer_why, sizeof s->answer_why, "%s", none && *none ? none : "end of input");
        if (none == NULL) {
            s->answer = *body;
            *body = (struct buf)BUF_INIT;
        }
        s->answered = true;
        pthread_cond_broadcast(&s->cond);
    }
    pthread_mutex_unlock(&s->lock);
    mem_free(none);
    if (asked) {
        http_respond(q->r, 204, NULL, NULL, 0);
    } else {
        cli_http_refuse(q->r, ERR_EXISTS, "nothing was asked");
    }
}

/* The session that the path names, and what follows it. False: refused. */
static bool find_session(const struct request *q, struct session **s, const char **rest) {
    const char *p = http_path(q->r) + strlen(BASE_PATH);
    char token[TOKEN_LEN + 1] = "";
    if (*p == '/') {
        snprintf(token, sizeof token, "%.*s", (int)strcspn(p + 1, "/"), p + 1);
        p += 1 + strcspn(p + 1, "/");
    }
    *rest = p;
    *s = map_get(&q->h->sessions, token);
    if (*s != NULL) {
        const struct actor *whose = cli_session_actor((*s)->cli);
        /* root of the machine may well be called like a user of ours */
        if (strcmp(whose->user, q->who.user) != 0 || whose->superuser != q->who.superuser) {
            *s = NULL;
        }
    }
    if (*s == NULL && strlen(token) == TOKEN_LEN && strncmp(token, q->h->run, RUN_LEN) != 0) {
        struct err e;
        err_set(&e, ERR_ABSENT, NULL,
                "the daemon was restarted: the session is gone, and the line was not carried out");
        respond_error(q->r, 410, &e);
        return false;
    }
    if (token[0] != '\0' && *s == NULL) {
        cli_http_refuse(q->r, ERR_ABSENT,
                        "there is no such session; it may have been idle for too long");
        return false;
    }
    return true;
}

/* Is a request about the session for its twin at the leader? */
static bool is_remote(const struct session *s, const char *rest) {
    bool runs = s->twin.leg != NULL && !s->twin.opening;
    return strcmp(rest, "/complete") == 0 ? s->twin.configuring && !s->executing
           : strcmp(rest, "/input") == 0  ? runs
                                          : strcmp(rest, "/interrupt") == 0 && runs;
}

static void dispatch(struct request *q, struct buf *body) {
    const char *rest, *method = http_method(q->r);
    bool post = strcmp(method, "POST") == 0;
    struct session *s;
    if (!find_session(q, &s, &rest)) {
        return;
    }
    if (s != NULL) {
        s->used_ms = now_ms(s);
    }
    bool wants_json = post && (strcmp(rest, "") == 0 || strcmp(rest, "/execute") == 0 ||
                               strcmp(rest, "/complete") == 0 || strcmp(rest, "/terminal") == 0);
    json_error_t why;
    json_t *json = NULL;
    if (wants_json && body->len > 0) {
        json = json_loadb((const char *)body->data, body->len, JSON_REJECT_DUPLICATES, &why);
        if (!json_is_object(json)) {
            json_decref(json);
            cli_http_refuse(q->r, ERR_MALFORMED, "the body is not a JSON object");
            return;
        }
    }
    if (s != NULL && post && strcmp(rest, "/execute") != 0 && is_remote(s, rest)) {
        cli_remote_forward(q, s, rest, body->data, body->len);
    } else if (post && strcmp(rest, "") == 0 && s == NULL) {
        open_session(q, json);
    } else if (post && s != NULL && strcmp(rest, "/execute") == 0) {
        execute(q, s, json);
    } else if (post && s != NULL && strcmp(rest, "/complete") == 0) {
        complete(q, s, json);
    } else if (post && s != NULL && strcmp(rest, "/input") == 0) {
        input(q, s, body);
    } else if (post && s != NULL && strcmp(rest, "/interrupt") == 0) {
        stop(s);
        http_respond(q->r, 204, NULL, NULL, 0);
    } else if (post && s != NULL && strcmp(rest, "/terminal") == 0) {
        cli_session_resize(s->cli, number(json, "rows", 24), number(json, "columns", 80));
        cli_remote_tell(s, "POST", "/terminal", buf_cstr(body));
        http_respond(q->r, 204, NULL, NULL, 0);
    } else if (strcmp(method, "DELETE") == 0 && s != NULL && *rest == '\0') {
        end_session(s);
        http_respond(q->r, 204, NULL, NULL, 0);
    } else if (strcmp(rest, "") == 0 || strcmp(rest, "/execute") == 0 ||
               strcmp(rest, "/complete") == 0 || strcmp(rest, "/input") == 0 ||
               strcmp(rest, "/interrupt") == 0 || strcmp(rest, "/terminal") == 0) {
        cli_http_refuse(q->r, ERR_METHOD, "that method means nothing here");
    } else {
        cli_http_refuse(q->r, ERR_ABSENT, "there is nothing at this path");
    }
    json_decref(json);
}

static void collected(struct http_req *r, struct buf *body, void *arg) {
    (void)r;
    dispatch(arg, body);
}

static void authenticated(void *arg, const struct actor *who, const struct err *e) {
    struct request *q = arg;
    q->ticket = NULL;
    http_req_pause(q->r, false);
    if (e != NULL) {
        respond_error(q->r, err_code_http(e->code), e);
        return;
    }
    q->who = *who;
    struct session *s;
    const char *rest;
    if (!find_session(q, &s, &rest)) {
        return;
    }
    bool asked = false;
    if (s != NULL && strcmp(rest, "/input") == 0) { /* much is taken only where it was asked for */
        pthread_mutex_lock(&s->lock);
        asked = (s->asking && !s->answered) || is_remote(s, rest);
        pthread_mutex_unlock(&s->lock);
    }
    http_collect(q->r, asked ? CLI_INPUT_MAX : CLI_BODY_MAX, collected, q);
}

void cli_http_write_error(struct http_req *r, int status, const char *why) {
    struct err e;
    err_set(&e,
            status == 413   ? ERR_TOO_BIG
            : status == 503 ? ERR_UNAVAILABLE
            : status == 408 ? ERR_TIMEOUT
                            : ERR_MALFORMED,
            NULL, "%s", why);
    respond_error(r, status, &e);
}

bool cli_http_mine(const struct http_req *r) {
    const char *path = http_path(r);
    size_t n = strlen(BASE_PATH);
    return strncmp(path, BASE_PATH, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

void cli_http_handle(struct cli_http *h, struct http_req *r) {
    static const struct http_req_ops ops = {.closed = request_closed, .drained = request_drained};
    struct request *q = MEM_NEW(struct request);
    q->h = h;
    q->r = r;
    http_req_set_ops(r, &ops, q);
    http_req_pause(r, true); /* nobody unknown fills our memory */
    q->ticket = http_auth(&h->auth, r, authenticated, q);
}

/* ---- all of it
 * --------------------------------------------------------------------------------------- */

void cli_http_set_relay(struct cli_http *h, struct relay *relay) {
    h->relay = relay;
}

struct cli_http *cli_http_new(struct cli *cli, const struct http_auth_config *auth) {
    struct cli_http *h = MEM_NEW(struct cli_http);
    h->cli = cli;
    pthread_mutex_init(&h->lock, NULL);
    h->auth = *auth;
    h->auth.dialect = "cli";
    h->auth.takes_due = true;
    rng_token(h->run, RUN_LEN);
    h->workers = workers_new("cli", WORKERS, (size_t)WORKERS * 2);
    h->sweep = loop_timer_new(auth->loop, sweep, h);
    loop_timer_repeat(h->sweep, SWEEP_MS);
    return h;
}

void cli_http_free(struct cli_http *h) {
    if (h == NULL) {
        return;
    }
    h->closing = true;
    loop_timer_free(h->sweep);
    for (;;) {
        struct session *s = NULL;
        MAP_FOREACH (e, &h->sessions) {
            s = e->value;
            break;
        }
        if (s == NULL) {
            break;
        }
        end_session(s);
    }
    workers_free(h->workers);
    while (serve_mail(h)) { /* what the last commands had to say; it frees their sessions */
    }
    map_free(&h->sessions, NULL);
    h->gone = true;
    if (!h->posted) {
        free_http(h);
    }
}
