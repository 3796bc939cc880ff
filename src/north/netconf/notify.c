// SPDX-License-Identifier: Apache-2.0
/* Subscriptions (RFC 5277): events from core's ring, filtered, with replay. */
#include "base/clock.h"
#include "base/logger.h"
#include "north/netconf/filter.h"
#include "north/netconf/get.h"
#include "north/netconf/internal.h"

#include <stdio.h>
#include <string.h>

LOGGER_MODULE(netconf_events)

/* Made by a worker, then the loop's. The writer only posts what it brings. */
struct nc_subscription {
    struct nc_session *s; /* NULL: over */
    struct loop *loop;
    uint64_t handle;
    _Atomic unsigned refs; /* the session, and events on their way */
    int64_t start_s, stop_s;
    bool replay, has_stop, replayed;
    struct arena *a;            /* of the filter */
    const struct dom *filter;   /* a subtree; NULL: none */
    struct model_filter *xpath; /* NULL: none */
    struct loop_timer *stop;
};

struct delivery {
    struct nc_subscription *sub;
    int64_t time_s;
    char *name, *json; /* name NULL: the replay is over */
};

static void release(struct nc_subscription *sub) {
    if (atomic_fetch_sub(&sub->refs, 1) == 1) {
        model_filter_free(sub->xpath);
        arena_free(sub->a);
        mem_free(sub);
    }
}

/* ---- on the loop ------------------------------------------------------------------------------
 */

static void send_own(struct nc_session *s, const char *name) {
    char now[TIME_TEXT_MAX];
    struct buf b = BUF_INIT;
    time_format(clock_wall_s(core_clock(s->n->cfg.core)), 0, now);
    buf_printf(&b,
               "<notification xmlns=\"" NS_NOTIFICATION "\"><eventTime>%s</eventTime>"
               "<%s xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"/></notification>",
               now, name);
    nc_session_event(s, b.data, b.len);
    buf_free(&b);
}

static bool may_see(struct nc_session *s, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "/%s", name);
    struct snap *snap = core_snapshot(s->n->cfg.core);
    bool yes = rights_allow(snap, &s->who, RIGHT_READ, path);
    if (!yes) {
        rights_count_denied(RIGHT_READ);
    }
    snap_release(snap);
    return yes;
}

/* False: the filter leaves nothing of it. */
static bool by_filter(const struct nc_subscription *sub, const struct node *n, struct buf *text) {
    struct arena *a = arena_new();
    struct dom *d;
    struct err e;
    bool any = false;
    if (dom_parse(text->data, text->len, a, &d, &e) == ERR_OK) {
        for (struct dom *c = d->child; c != NULL; c = c->next) {
            if (strcmp(c->name, "eventTime") == 0) {
                c->mark = DOM_ALL;
                continue;
            }
            for (const struct dom *f = sub->filter->child; f != NULL; f = f->next) {
                struct nc_filters one = {.v = &f, .n = 1};
                bool same = strcmp(f->name, c->name) == 0 &&
                            (f->ns[0] == '\0' || strcmp(f->ns, c->ns) == 0);
                any |= same && nc_filter_mark(c, n, &one);
            }
        }
        d->mark = DOM_SOME;
        buf_clear(text);
        dom_print(d, nc_filter_keep, NULL, text);
    }
    arena_free(a);
    return any;
}

static void send_event(struct nc_subscription *sub, const struct delivery *d) {
    struct nc_session *s = sub->s;
    const struct node *n = model_notification(d->name);
    struct print_options o = {.format = FORMAT_XML};
    struct buf out = BUF_INIT;
    struct err e;
    if (n == NULL || !may_see(s, d->name) ||
        (sub->xpath != NULL &&
         !model_filter_matches(s->n->model, sub->xpath, n, d->json, strlen(d->json)))) {
        return;
    }
    if (notification_print(s->n->model, n, d->json, strlen(d->json), d->time_s * NS_PER_S, &o, &out,
                           &e) != ERR_OK) {
        L_WARN_RL(60, "event %s can't be shown: %s %s", d->name, e.path, e.text);
    } else if (sub->filter == NULL || by_filter(sub, n, &out)) {
        nc_session_event(s, out.data, out.len);
    }
    buf_free(&out);
}

static void deliver(void *arg) {
    struct delivery *d = arg;
    struct nc_subscription *sub = d->sub;
    if (sub->s != NULL && d->name == NULL) {
        send_own(sub->s, "replayComplete");
    } else if (sub->s != NULL) {
        bool too_early = sub->replay && d->time_s < sub->start_s;
        bool too_late = sub->has_stop && d->time_s > sub->stop_s;
        if (!too_early && !too_late) {
            send_event(sub, d);
        }
    }
    mem_free(d->name);
    mem_free(d->json);
    mem_free(d);
    release(sub);
}

static void on_stop(void *arg) {
    struct nc_subscription *sub = arg;
    struct nc_session *s = sub->s;
    if (s != NULL) {
        send_own(s, "notificationComplete");
        nc_unsubscribe(s);
    }
}

void nc_unsubscribe(struct nc_session *s) {
    struct nc_subscription *sub = s->subscription;
    if (sub != NULL) {
        s->subscription = NULL;
        sub->s = NULL;
        core_unsubscribe(s->n->cfg.core, sub->handle);
        loop_timer_free(sub->stop);
        sub->stop = NULL;
        release(sub);
    }
}

/* ---- on the writer ----------------------------------------------------------------------------
 */

static void post(struct nc_subscription *sub, int64_t time_s, const char *name, const char *json) {
    struct delivery *d = MEM_NEW(struct delivery);
    *d = (struct delivery){.sub = sub, .time_s = time_s};
    if (name != NULL) {
        d->name = mem_strdup(name);
        d->json = mem_strdup(json);
    }
    atomic_fetch_add(&sub->refs, 1);
    loop_post(sub->loop, deliver, d);
}

static void on_event(const struct event *ev, void *arg) {
    struct nc_subscription *sub = arg;
    if (atomic_load(&sub->refs) < 2 * CORE_EVENTS_KEPT) { /* a loop that far behind loses some */
        post(sub, ev->time_s, ev->name, ev->json);
    }
}

/* ---- create-subscription ----------------------------------------------------------------------
 */

/* Subscribing happens on the loop, behind the answer, so that no event comes before it. */
void nc_subscribe_begin(struct nc_session *s, struct nc_subscription *sub) {
    if (s->conn == NULL || s->ending || s->subscription != NULL) {
        release(sub);
        return;
    }
    sub->s = s;
    s->subscription = sub;
    sub->handle = core_subscribe(s->n->cfg.core, sub->replay ? CORE_EVENTS_ALL : 0, on_event, sub);
    if (sub->replay) {
        post(sub, 0, NULL, NULL);
    }
    if (sub->has_stop) {
        int64_t left = sub->stop_s - clock_wall_s(core_clock(s->n->cfg.core));
        sub->stop = loop_timer_new(sub->loop, on_stop, sub);
        loop_timer_start(sub->stop, left > 0 ? left * 1000 + 1000 : 1000);
    }
}

static enum err_code time_of(struct nc_rpc *r, const char *name, bool *given, int64_t *s,
                             struct err *e) {
    const char *text = dom_child_text(r->op, NS_NOTIFICATION, name);
    *given = text != NULL;
    if (text != NULL && !time_parse(text, s)) {
        return nc_fail(r, ERR_INVALID, NULL,
                       arena_printf(r->a, "<bad-element>%s</bad-element>", name), NULL, e,
                       "%s is no date and time: %.64s", name, text);
    }
    return ERR_OK;
}

/* The message goes, the filter stays. */
static enum err_code subtree_filter(const struct dom *f, struct nc_subscription *sub,
                                    struct err *e) {
    struct buf text = BUF_INIT;
    struct dom *copy;
    dom_print(f, NULL, NULL, &text);
    enum err_code rc = dom_parse(text.data, text.len, sub->a, &copy, e);
    buf_free(&text);
    ERR_TRY(rc);
    sub->filter = copy;
    return ERR_OK;
}

/* True or a node of the notification: it is sent (RFC 5277 2.1.1). */
static enum err_code xpath_filter(const struct dom *f, const char *select,
                                  struct nc_subscription *sub, struct err *e) {
    struct buf text = BUF_INIT;
    enum err_code rc = nc_xpath_modules(f, select, &text, e);
    if (rc == ERR_OK) {
        rc = model_filter_new(buf_cstr(&text), &sub->xpath, e);
    }
    buf_free(&text);
    return rc;
}

static enum err_code filter(struct nc_rpc *r, struct nc_subscription *sub, struct err *e) {
    const struct dom *f = dom_child(r->op, NS_NOTIFICATION, "filter");
    const char *type = NULL, *select = NULL;
    if (f == NULL) {
        return ERR_OK;
    }
    nc_filter_attributes(f, &type, &select);
    if (type == NULL || strcmp(type, "subtree") == 0) {
        return subtree_filter(f, sub, e);
    }
    ERR_TRY(nc_xpath_select(r, type, select, e));
    return xpath_filter(f, select, sub, e);
}

static enum err_code parameters(struct nc_rpc *r, struct nc_subscription *sub, struct err *e) {
    const char *stream = dom_child_text(r->op, NS_NOTIFICATION, "stream");
    int64_t now = clock_wall_s(core_clock(r->n->cfg.core));
    if (stream != NULL && strcmp(stream, "NETCONF") != 0) {
        return nc_fail(r, ERR_INVALID, NULL, "<bad-element>stream</bad-element>", NULL, e,
                       "there is no event stream %.64s", stream);
    }
    ERR_TRY(time_of(r, "startTime", &sub->replay, &sub->start_s, e));
    ERR_TRY(time_of(r, "stopTime", &sub->has_stop, &sub->stop_s, e));
    if (sub->has_stop && !sub->replay) {
        return nc_fail(r, ERR_MISSING, NULL, "<bad-element>startTime</bad-element>", NULL, e,
                       "stopTime goes with startTime");
    }
    if ((sub->replay && sub->start_s > now) || (sub->has_stop && sub->stop_s < sub->start_s)) {
        return nc_fail(r, ERR_INVALID, "bad-element",
                       sub->start_s > now ? "<bad-element>startTime</bad-element>"
                                          : "<bad-element>stopTime</bad-element>",
                       NULL, e, "startTime lies in the past, and stopTime after it");
    }
    return filter(r, sub, e);
}

enum err_code nc_op_subscribe(struct nc_rpc *r, struct err *e) {
    struct nc_session *s = r->s;
    if (s->subscription != NULL) {
        return nc_fail(r, ERR_REFUSED, NULL, NULL, NULL, e, "this session has a subscription");
    }
    struct nc_subscription *sub = MEM_NEW(struct nc_subscription);
    sub->a = arena_new();
    sub->loop = r->n->cfg.loop;
    atomic_init(&sub->refs, 1);
    enum err_code rc = parameters(r, sub, e);
    if (rc != ERR_OK) {
        release(sub);
        return rc;
    }
    r->subscription = sub;
    return ERR_OK;
}
