// SPDX-License-Identifier: Apache-2.0
/*
 * GET and HEAD of data.
 *
 * Small objects are printed on the loop. Everything else is printed by a worker, which holds one
 * object at a time and hands pieces to the loop; when more than the connection's queue waits, the
 * worker stops until the reader has caught up or is gone. So a reader costs a queue and, while it
 * is slow, a printer thread (their number bounds them all); its connection is cut when it takes
 * nothing for http_limits.write_stall_ms, or very little for SLOW_MS while others wait for a
 * thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "north/restconf/internal.h"

LOGGER_MODULE(restconf_get);

enum { PIECE = 64 << 10, WAITING_MAX = 256 << 10, SLOW_MS = 5000, MAKE_ROOM_MS = 1000 };

/* ---- what a user sees ------------------------------------------------------------------------ */

struct doc *filtered_get(void *arg, const char *path) {
    const struct filtered *f = arg;
    const struct object *o = snap_get(f->snap, path);
    return o != NULL && rights_allow(f->snap, f->who, RIGHT_READ, path) ? doc_hold(o->doc) : NULL;
}

struct doc *filtered_next(void *arg, const struct kind *k, const struct doc *after) {
    const struct filtered *f = arg;
    const struct object *o;
    if (after == NULL) {
        o = snap_first_of(f->snap, k);
    } else {
        struct object probe = {.doc = (struct doc *)(uintptr_t)after};
        o = snap_next(f->snap, &probe);
    }
    while (o != NULL && o->doc->kind == k &&
           !rights_allow(f->snap, f->who, RIGHT_READ, o->doc->path)) {
        o = snap_next(f->snap, o);
    }
    return o != NULL && o->doc->kind == k ? doc_hold(o->doc) : NULL;
}

/* ---- state ----------------------------------------------------------------------------------- */

struct look_wait {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
};

static void looked(struct look *l, void *arg) {
    struct look_wait *w = arg;
    (void)l;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ready);
    pthread_mutex_unlock(&w->lock);
}

enum err_code state_get(void *arg, const struct node *node, const char *path, const char *wanted,
                        struct buf *json, struct err *e) {
    struct request *q = arg;
    (void)wanted;
    if (!rights_allow(q->snap, &q->who, RIGHT_READ, path)) {
        return err_set(e, ERR_ABSENT, path, "is not for %s to read", q->who.user);
    }
    if (meta_state(q, node, json)) {
        return ERR_OK;
    }
    struct look_wait w = {.done = false};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.ready, NULL);
    struct look *l = look_new(&q->who, path);
    core_look(q->rc->cfg.core, l, looked, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.ready, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.ready);
    enum err_code rc = l->err.code;
    if (rc == ERR_OK) {
        buf_add(json, l->json.data, l->json.len);
    } else if (rc == ERR_UNSUPPORTED) {
        rc = err_set(e, ERR_ABSENT, path, "%s", l->err.text); /* no service here keeps it */
    } else {
        *e = l->err;
    }
    look_free(l);
    return rc;
}

/* ---- printing -------------------------------------------------------------------------------- */

struct printer {
    struct request *q;
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct buf ready; /* printed, not taken by the loop yet */
    bool posted;      /* a flush is under way to the loop */
    bool full;        /* the connection's queue is full */
    bool gone;        /* the reader is */
    int64_t full_ns;  /* the loop's: since when it is full, or 0 */
    bool finished;
    struct err err;
    enum err_code rc;
    /* the worker's own */
    struct buf piece;
    bool head_only;
    bool several; /* XML: more than one element would come out */
};

static void flush_piece(void *arg);
static void finish(void *arg);

static void hand_over(struct printer *p) {
    pthread_mutex_lock(&p->lock);
    while (p->ready.len + p->piece.len > WAITING_MAX && !p->gone) {
        pthread_cond_wait(&p->room, &p->lock);
    }
    if (!p->gone) {
        buf_add(&p->ready, p->piece.data, p->piece.len);
    }
    bool post = !p->posted && !p->full;
    p->posted |= post;
    pthread_mutex_unlock(&p->lock);
    buf_clear(&p->piece);
    if (post) {
        loop_post(p->q->rc->cfg.loop, flush_piece, p->q);
    }
}

static enum err_code take_piece(void *arg, const char *s, size_t n, struct err *e) {
    struct printer *p = arg;
    buf_add(&p->piece, s, n);
    if (p->head_only) {
        return p->piece.len > 0 ? err_set(e, ERR_TIMEOUT, NULL, "enough seen") : ERR_OK;
    }
    if (p->piece.len >= PIECE) {
        hand_over(p);
        pthread_mutex_lock(&p->lock);
        bool gone = p->gone;
        pthread_mutex_unlock(&p->lock);
        if (gone) {
            return err_set(e, ERR_TIMEOUT, NULL, "the reader is gone");
        }
    }
    return ERR_OK;
}

static struct print_options options_of(const struct request *q, enum model_format format) {
    const struct rc_query *u = &q->uri.query;
    struct print_options o = {.format = format,
                              .defaults = u->defaults,
                              .content = u->content,
                              .depth = u->depth,
                              .fields = u->fields,
                              .in_use = true};
    if (q->target.node->type == NODE_ROOT) {
        o.wrap = "ietf-restconf:data";
        o.wrap_ns = NS_RESTCONF;
    }
    return o;
}

static enum err_code print(struct request *q, enum model_format format, model_write write,
                           void *arg, struct err *e) {
    struct filtered f = {q->snap, &q->who};
    struct model_view view = {filtered_get, filtered_next, &f};
    struct model_state state = {state_get, q};
    struct print_options o = options_of(q, format);
    return model_print(q->rc->model, &view, &state, q->target.path, &o, write, arg, e);
}

static bool list_as_whole(const struct request *q) {
    const struct node *n = q->target.node;
    return !q->target.entry && (n->type == NODE_LIST || n->type == NODE_LEAF_LIST);
}

static bool may_show_nothing(const struct request *q) {
    const struct node *n = q->target.node;
    return list_as_whole(q) || n->type == NODE_LEAF || n->type == NODE_LEAF_LIST;
}

/* A list or leaf-list without keys is no XML document when it has several entries (RFC 8040 4.3).
 */
static bool several_entries(struct request *q) {
    const struct node *n = q->target.node;
    if (!rc_media_is_xml(q->accept) || !list_as_whole(q)) {
        return false;
    }
    if (n->kind != NULL) {
        struct filtered f = {q->snap, &q->who};
        struct doc *first = filtered_next(&f, n->kind, NULL);
        struct doc *second = first != NULL ? filtered_next(&f, n->kind, first) : NULL;
        bool several = second != NULL;
        doc_drop(first);
        doc_drop(second);
        return several;
    }
    struct buf text = BUF_INIT;
    struct err ignore;
    enum err_code rc = print(q, FORMAT_JSON, model_write_buf, &text, &ignore);
    json_t *root = rc == ERR_OK ? json_loadb((char *)text.data, text.len, 0, NULL) : NULL;
    json_t *list = root != NULL ? json_object_iter_value(json_object_iter(root)) : NULL;
    bool several = json_is_array(list) && json_array_size(list) > 1;
    json_decref(root);
    buf_free(&text);
    return several;
}

static void print_job(void *arg) {
    struct printer *p = arg;
    p->several = several_entries(p->q);
    if (!p->several) {
        p->rc = print(p->q, rc_media_format(p->q->accept), take_piece, p, &p->err);
        if (p->head_only && p->piece.len > 0) {
            p->rc = ERR_OK;
        }
    }
    pthread_mutex_lock(&p->lock);
    if (!p->gone && p->rc == ERR_OK && !p->head_only) {
        buf_add(&p->ready, p->piece.data, p->piece.len);
    }
    p->finished = true;
    pthread_mutex_unlock(&p->lock);
    loop_post(p->q->rc->cfg.loop, finish, p->q);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void printer_free(struct printer *p) {
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->room);
    buf_free(&p->ready);
    buf_free(&p->piece);
    mem_free(p);
}

/* Is there `config false` data at or below the target that the answer shows? */
static bool has_state(const struct node *n, unsigned depth) {
    if (!n->config) {
        return true;
    }
    if (n->kind != NULL) {
        return n->kind->has_state;
    }
    for (size_t i = 0; i < n->n_children; i++) {
        const struct node *c = n->children[i];
        bool data = c->type != NODE_RPC && c->type != NODE_NOTIFICATION;
        if (data && has_state(c, depth + 1)) {
            return true;
        }
    }
    return false;
}

static bool shows_state(const struct request *q) {
    return q->uri.query.content != CONTENT_CONFIG && has_state(q->target.node, 0);
}

static bool shows_config(const struct request *q) {
    return q->target.node->config && q->uri.query.content != CONTENT_NONCONFIG;
}

/* Of a list as a whole the tag would be the first entry's (RFC 8040 4.3), which says nothing of the
 * others: there is none. */
static bool has_version(const struct request *q) {
    return (shows_config(q) && !list_as_whole(q)) || is_constant(q);
}

static void head_fields(struct request *q, struct fields *fs, char etag[32], char date[40]) {
    field_add(fs, "content-type", rc_media_name(q->accept));
    if (has_version(q)) {
        add_version_fields(q, fs, version_of(q), etag, date);
    }
    field_add(fs, "cache-control", "no-cache");
}

static void answer_whole(struct request *q, struct buf *body) {
    struct fields fs = {.n = 0};
    char etag[32], date[40];
    head_fields(q, &fs, etag, date);
    buf_char(body, '\n');
    http_respond_fields(q->http, 200, fs.f, fs.n, body->data, body->len);
}

static void print_failed(struct request *q, const struct err *e) {
    struct err shown = *e;
    if (e->code == ERR_ABSENT && shown.path[0] == '\0') {
        err_set(&shown, ERR_ABSENT, q->target.path, "%s", e->text);
    }
    if (http_started(q->http)) {
        http_abort(q->http, 2 /* INTERNAL_ERROR */);
    } else {
        answer_error(q, &shown);
    }
}

/* A list without entries, or a leaf that the content asked for leaves out, is not there: `{}` would
 * say nothing, and no XML is no document. */
static bool nothing_shown(const struct request *q, const struct buf *out) {
    return may_show_nothing(q) && !http_started(q->http) &&
           (out->len == 0 || (out->len <= 3 && memcmp(out->data, "{}", 2) == 0));
}

static void nothing(const struct request *q, struct err *e) {
    err_set(e, ERR_ABSENT, q->target.path,
            list_as_whole(q) ? "there are no entries" : "there is no such content");
}

static void printed(struct request *q) {
    struct printer *p = q->printer;
    if (p->rc == ERR_OK && !p->several && !p->head_only && nothing_shown(q, &p->ready)) {
        p->rc = ERR_ABSENT;
        nothing(q, &p->err);
    }
    if (p->several) {
        answer_status(q, 400, "invalid-value",
                      "the list has several entries, which are no XML document; ask for one by its "
                      "key, or for JSON");
    } else if (p->rc != ERR_OK) {
        print_failed(q, &p->err);
    } else if (p->head_only) {
        struct fields fs = {.n = 0};
        char etag[32], date[40];
        head_fields(q, &fs, etag, date);
        http_start(q->http, 200, fs.f, fs.n, -1);
        http_end(q->http);
    } else if (!http_started(q->http)) {
        answer_whole(q, &p->ready);
    } else {
        buf_char(&p->ready, '\n');
        http_write(q->http, p->ready.data, p->ready.len);
        http_end(q->http);
    }
}

static void flush_some(struct request *q) {
    struct printer *p = q->printer;
    struct buf out = BUF_INIT;
    if (!http_started(q->http)) {
        struct fields fs = {.n = 0};
        char etag[32], date[40];
        head_fields(q, &fs, etag, date);
        http_start(q->http, 200, fs.f, fs.n, -1);
    }
    pthread_mutex_lock(&p->lock);
    out = p->ready;
    p->ready = (struct buf)BUF_INIT;
    pthread_mutex_unlock(&p->lock);
    size_t queued = http_write(q->http, out.data, out.len);
    buf_free(&out);
    pthread_mutex_lock(&p->lock);
    p->full = queued > http_queue_high(q->http);
    p->full_ns = p->full ? loop_now(q->rc->cfg.loop) : 0;
    pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
}

static void flush_piece(void *arg) {
    struct request *q = arg;
    struct printer *p = q->printer;
    pthread_mutex_lock(&p->lock);
    p->posted = false;
    bool finished = p->finished; /* its own message comes behind this one */
    pthread_mutex_unlock(&p->lock);
    if (!finished && q->http != NULL) {
        flush_some(q);
    }
}

static void finish(void *arg) {
    struct request *q = arg;
    if (q->http != NULL) {
        printed(q);
    }
    printer_free(q->printer);
    q->printer = NULL;
    request_back(q);
}

void get_drained(struct request *q) {
    struct printer *p = q->printer;
    if (p != NULL) {
        pthread_mutex_lock(&p->lock);
        p->full = false;
        p->full_ns = 0;
        bool some = p->ready.len > 0 && !p->posted && !p->finished;
        pthread_mutex_unlock(&p->lock);
        if (some) {
            flush_some(q);
        }
    }
}

void get_closed(struct request *q) {
    struct printer *p = q->printer;
    if (p != NULL) {
        pthread_mutex_lock(&p->lock);
        p->gone = true;
        pthread_cond_signal(&p->room);
        pthread_mutex_unlock(&p->lock);
    }
}

/* While requests wait for a printer, readers that hold one and hardly read have to go. */
void make_room(void *arg) {
    struct restconf *rc = arg;
    size_t wanted = workers_waiting(rc->cfg.printers);
    if (wanted == 0) {
        loop_timer_stop(rc->crowded);
        return;
    }
    int64_t now = loop_now(rc->cfg.loop);
    LIST_FOREACH_SAFE (l, &rc->requests) {
        struct request *q = CONTAINER_OF(l, struct request, link);
        const struct printer *p = q->printer;
        if (wanted > 0 && q->http != NULL && p != NULL && p->full_ns != 0 &&
            now - p->full_ns > SLOW_MS * NS_PER_MS) {
            L_WARN_RL(10, "%s hardly reads its answer while others wait, and is cut off",
                      q->who.source);
            http_abort(q->http, 11 /* ENHANCE_YOUR_CALM */);
            wanted--;
        }
    }
}

static void print_on_worker(struct request *q) {
    struct printer *p = MEM_NEW(struct printer);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->room, NULL);
    p->q = q;
    /* Whether there is anything of a list or leaf shows at the end only. */
    p->head_only = q->uri.method == RC_HEAD && !may_show_nothing(q);
    request_base(q); /* the worker may not ask the connection */
    q->printer = p;
    q->pending++;
    if (!workers_run(q->rc->cfg.printers, print_job, p)) {
        q->printer = NULL;
        q->pending--;
        printer_free(p);
        answer_status(q, 503, "resource-denied", "too many requests at once; try again");
    } else if (workers_waiting(q->rc->cfg.printers) > 0) {
        loop_timer_repeat(q->rc->crowded, MAKE_ROOM_MS);
    }
}

static bool small(const struct request *q) {
    if (q->target.object == NULL || shows_state(q) || !q->target.node->config || list_as_whole(q)) {
        return false;
    }
    const struct object *o = snap_get(q->snap, q->target.object);
    return o == NULL || o->doc->json_len <= RC_INLINE_OBJECT;
}

void get_data(struct request *q) {
    struct err e;
    bool unmodified;
    q->snap = core_snapshot(q->rc->cfg.core);
    if (!rights_allow_below(q->snap, &q->who, RIGHT_READ, q->target.path)) {
        err_set(&e, ERR_DENIED, q->target.path, "%s has no right to read this", q->who.user);
        answer_error(q, &e);
        return;
    }
    if (conditions(q, &unmodified, &e) != ERR_OK) {
        answer_error(q, &e);
        return;
    }
    if (unmodified && has_version(q) && (is_constant(q) || !shows_state(q))) {
        struct fields fs = {.n = 0};
        char etag[32], date[40];
        add_version_fields(q, &fs, version_of(q), etag, date);
        answer(q, 304, &fs, NULL, NULL, 0);
        return;
    }
    if (!q->target.node->config && q->uri.query.content == CONTENT_CONFIG) {
        nothing(q, &e);
        answer_error(q, &e);
        return;
    }
    if (!small(q)) {
        print_on_worker(q);
        return;
    }
    struct buf out = BUF_INIT;
    if (print(q, rc_media_format(q->accept), model_write_buf, &out, &e) != ERR_OK) {
        print_failed(q, &e);
    } else if (nothing_shown(q, &out)) {
        nothing(q, &e);
        print_failed(q, &e);
    } else {
        answer_whole(q, &out);
    }
    buf_free(&out);
}
