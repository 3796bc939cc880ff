// SPDX-License-Identifier: Apache-2.0
/*
 * Event streams: /streams/NETCONF/{json,xml} as server-sent events (RFC 8040 6), with replay from
 * core's ring. An event's id is "BOOT-SEQ": a client that comes back with Last-Event-ID gets what
 * it missed; `event: resync` tells it that something was lost (a slow reader, a restart, too long
 * away) and that it has to read the state again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "north/restconf/internal.h"

LOGGER_MODULE(streams);

enum { STREAM_QUEUED_MAX = 2 << 20 /* bytes waiting for one client */ };

struct stream_client {
    struct list link;
    struct restconf *rc;
    struct actor who;
    enum model_format format;
    struct model_filter *filter; /* NULL: everything */
    struct http_events *events;  /* NULL once closed; the loop's thread only */
    uint64_t subscription;
    _Atomic unsigned in_flight; /* events posted and not delivered yet */
    bool closed;
    int64_t start_s, stop_s; /* 0: none */
    uint64_t last_id;        /* replay after this */
    struct loop_timer *stop;
};

struct delivery {
    struct stream_client *client;
    uint64_t seq;
    int64_t time_s;
    char *name, *json;
};

static void client_release(struct stream_client *c) {
    if (c->closed && atomic_load(&c->in_flight) == 0) {
        model_filter_free(c->filter);
        mem_free(c);
    }
}

/* A stream lasts as long as its login would be let in again; its end is all that it is told. */
static bool wanted(struct stream_client *c, const struct delivery *d) {
    char path[256];
    snprintf(path, sizeof path, "/%s", d->name);
    struct snap *s = core_snapshot(c->rc->cfg.core);
    bool stands = rights_stands(c->rc->cfg.core, s, &c->who);
    bool yes = stands && rights_allow(s, &c->who, RIGHT_READ, path);
    snap_release(s);
    if (!stands) {
        http_events_end(c->events);
        c->events = NULL; /* client_closed() follows */
        return false;
    }
    return yes && (c->start_s == 0 || d->time_s >= c->start_s) &&
           (c->stop_s == 0 || d->time_s <= c->stop_s);
}

static void send_event(struct stream_client *c, const struct delivery *d) {
    char id[64];
    snprintf(id, sizeof id, "%s-%" PRIu64, c->rc->boot, d->seq);
    if (strcmp(d->name, "resync") == 0) {
        http_events_send(c->events, id, "resync", "{}");
        return;
    }
    const struct node *n = model_notification(d->name);
    struct print_options o = {.format = c->format};
    struct buf out = BUF_INIT;
    struct err e;
    if (n == NULL) {
        L_WARN_RL(60, "event %s is not in the model and is not shown", d->name);
    } else if (wanted(c, d) &&
               (c->filter == NULL ||
                model_filter_matches(c->rc->model, c->filter, n, d->json, strlen(d->json)))) {
        if (notification_print(c->rc->model, n, d->json, strlen(d->json), d->time_s * NS_PER_S, &o,
                               &out, &e) == ERR_OK) {
            http_events_send(c->events, id, NULL, buf_cstr(&out));
        } else {
            L_WARN_RL(60, "event %s can't be shown: %s %s", d->name, e.path, e.text);
        }
    }
    buf_free(&out);
}

static void deliver(void *arg) {
    struct delivery *d = arg;
    struct stream_client *c = d->client;
    if (c->events != NULL) {
        send_event(c, d);
    }
    mem_free(d->name);
    mem_free(d->json);
    mem_free(d);
    atomic_fetch_sub(&c->in_flight, 1);
    client_release(c);
}

/* On the writer. What waits for the loop is bounded: a loop that is that far behind gives its
 * client a resync instead. */
static void on_event(const struct event *ev, void *arg) {
    struct stream_client *c = arg;
    unsigned n = atomic_fetch_add(&c->in_flight, 1);
    if (n > 2 * CORE_EVENTS_KEPT) {
        atomic_fetch_sub(&c->in_flight, 1);
        return;
    }
    struct delivery *d = MEM_NEW(struct delivery);
    bool last = n == 2 * CORE_EVENTS_KEPT;
    *d = (struct delivery){.client = c,
                           .seq = ev->seq,
                           .time_s = ev->time_s,
                           .name = mem_strdup(last ? "resync" : ev->name),
                           .json = mem_strdup(last ? "{}" : ev->json)};
    loop_post(c->rc->cfg.loop, deliver, d);
}

static void client_closed(void *arg) {
    struct stream_client *c = arg;
    core_unsubscribe(c->rc->cfg.core, c->subscription);
    loop_timer_free(c->stop);
    c->events = NULL;
    c->closed = true;
    c->rc->streams--;
    list_remove(&c->link);
    client_release(c);
}

void end_streams(void *arg) {
    struct restconf *rc = arg;
    if (list_empty(&rc->stream_clients)) {
        return;
    }
    struct snap *s = core_snapshot(rc->cfg.core);
    LIST_FOREACH_SAFE (l, &rc->stream_clients) {
        struct stream_client *c = CONTAINER_OF(l, struct stream_client, link);
        if (c->events != NULL && !rights_stands(rc->cfg.core, s, &c->who)) {
            atomic_fetch_add(&c->in_flight, 1); /* client_closed() may follow at once */
            http_events_end(c->events);
            c->events = NULL;
            atomic_fetch_sub(&c->in_flight, 1);
            client_release(c);
        }
    }
    snap_release(s);
}

static void stop_time(void *arg) {
    struct stream_client *c = arg;
    if (c->events != NULL) {
        http_events_end(c->events);
    }
}

/* Where a replay begins: SIZE_MAX none; 0 means everything that is kept. */
static uint64_t replay_after(struct request *q, bool *stranger) {
    const char *id = http_header(q->http, "last-event-id");
    size_t n = strlen(q->rc->boot);
    *stranger = false;
    if (id != NULL && strncmp(id, q->rc->boot, n) == 0 && id[n] == '-') {
        return strtoull(id + n + 1, NULL, 10);
    }
    *stranger = id != NULL;
    return q->uri.query.has_start ? 0 : UINT64_MAX;
}

/* Takes `filter` over. */
static void start(struct request *q, enum model_format format, struct model_filter *filter) {
    struct restconf *rc = q->rc;
    struct stream_client *c = MEM_NEW(struct stream_client);
    bool stranger;
    uint64_t after = replay_after(q, &stranger);
    c->rc = rc;
    c->who = q->who;
    c->format = format;
    c->start_s = q->uri.query.has_start ? q->uri.query.start_s : 0;
    c->filter = filter;
    c->stop_s = q->uri.query.has_stop ? q->uri.query.stop_s : 0;
    rc->streams++;
    list_append(&rc->stream_clients, &c->link);
    /* The stream takes the request over: nothing of it is asked for any more. */
    c->events = http_events_start(q->http, NULL, 0, STREAM_QUEUED_MAX, client_closed, c);
    if (stranger) {
        http_events_send(c->events, NULL, "resync", "{}");
    }
    if (c->stop_s != 0) {
        int64_t left = c->stop_s - clock_wall_s(core_clock(rc->cfg.core));
        c->stop = loop_timer_new(rc->cfg.loop, stop_time, c);
        loop_timer_start(c->stop, left > 0 ? left * 1000 + 1000 : 1000);
    }
    c->subscription = core_subscribe(rc->cfg.core,
                                     after == UINT64_MAX ? 0
                                     : after == 0        ? CORE_EVENTS_ALL
                                                         : after,
                                     on_event, c);
    request_taken(q);
}

static unsigned streams_of(const struct restconf *rc, const char *user) {
    unsigned n = 0;
    LIST_FOREACH (l, &rc->stream_clients) {
        n += strcmp(CONTAINER_OF(l, struct stream_client, link)->who.user, user) == 0;
    }
    return n;
}

void get_stream(struct request *q) {
    bool xml = strcmp(q->uri.path, "NETCONF/xml") == 0 || strcmp(q->uri.path, "NETCONF") == 0;
    if (!xml && strcmp(q->uri.path, "NETCONF/json") != 0) {
        answer_status(q, 404, "invalid-value", "there is no event stream %.64s", q->uri.path);
        return;
    }
    if (!rc_media_accepts(http_header(q->http, "accept"), "text/event-stream")) {
        answer_status(q, 406, "invalid-value", "only text/event-stream can be had here");
        return;
    }
    int64_t now = clock_wall_s(core_clock(q->rc->cfg.core));
    if (q->uri.query.has_start && q->uri.query.start_s > now) {
        answer_status(q, 400, "invalid-value", "\"start-time\" lies in the future");
        return;
    }
    if (q->uri.method != RC_HEAD && q->rc->streams >= RESTCONF_STREAMS_MAX) {
        answer_status(q, 503, "resource-denied", "too many event streams are open");
        return;
    }
    if (q->uri.method != RC_HEAD && streams_of(q->rc, q->who.user) >= RESTCONF_STREAMS_OF_USER) {
        answer_status(q, 503, "resource-denied", "%s has %d event streams open", q->who.user,
                      RESTCONF_STREAMS_OF_USER);
        return;
    }
    struct model_filter *filter = NULL;
    struct err e;
    if (q->uri.query.filter != NULL &&
        model_filter_new(q->uri.query.filter, &filter, &e) != ERR_OK) {
        answer_error(q, &e);
    } else if (q->uri.method == RC_HEAD) {
        model_filter_free(filter);
        answer(q, 200, NULL, "text/event-stream", NULL, 0);
    } else {
        start(q, xml ? FORMAT_XML : FORMAT_JSON, filter);
    }
}
