// SPDX-License-Identifier: Apache-2.0
/* How the targets are; and the attempt that somebody asks for. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "core/system.h"
#include "forward/internal.h"

static const char *const types[] = {"webhook", "syslog", "snmp"};

static const char *state_of(const struct receiver *t) {
    static const char *const names[] = {"idle", "working", "failing"};
    const struct forward_target *c = t->config->doc->data;
    return c->disabled ? "disabled" : names[t->health];
}

static size_t waiting_for(const struct forward *f, const struct receiver *t) {
    size_t n = f->n_events - forward_first_after(f, t->now.done);
    for (size_t i = 0; i < f->n_beside; i++) {
        n += f->beside[i]->id > t->beside;
    }
    return n;
}

static void add_time(json_t *o, const char *name, int64_t s) {
    char text[TIME_TEXT_MAX];
    if (s != 0) {
        json_object_set_new(o, name, json_string(time_format(s, 0, text)));
    }
}

/* Locked. */
static json_t *health(const struct forward *f, const struct receiver *t) {
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(t->name));
    json_object_set_new(o, "state", json_string(state_of(t)));
    json_object_set_new(o, "delivered", json_sprintf("%" PRIu64, t->delivered));
    json_object_set_new(o, "waiting", json_integer((json_int_t)waiting_for(f, t)));
    json_object_set_new(o, "lost", json_sprintf("%" PRIu64, t->lost));
    add_time(o, "last-delivery", t->last_s);
    if (t->health == HEALTH_FAILING) {
        add_time(o, "failing-since", t->failing_since_s);
        json_object_set_new(o, "reason", json_string(t->reason));
    }
    return o;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(struct receiver *const *)a)->name, (*(struct receiver *const *)b)->name);
}

/* Locked. */
static json_t *all_health(struct forward *f, struct buf *text) {
    struct receiver *sorted[FORWARD_TARGETS_MAX];
    json_t *list = json_array();
    memcpy(sorted, f->targets, f->n_targets * sizeof sorted[0]);
    qsort(sorted, f->n_targets, sizeof sorted[0], by_name);
    if (text != NULL && f->n_targets > 0) {
        buf_printf(text, "%-16s  %-8s  %-8s  %10s  %8s  %6s  %s\n", "Target", "Type", "State",
                   "Delivered", "Waiting", "Lost", "Reason");
    }
    for (size_t i = 0; i < f->n_targets; i++) {
        const struct receiver *t = sorted[i];
        const struct forward_target *c = t->config->doc->data;
        json_array_append_new(list, health(f, t));
        if (text != NULL) {
            buf_printf(text, "%-16s  %-8s  %-8s  %10" PRIu64 "  %8zu  %6" PRIu64 "%s%s\n", t->name,
                       types[c->type], state_of(t), t->delivered, waiting_for(f, t), t->lost,
                       t->health == HEALTH_FAILING ? "  " : "",
                       t->health == HEALTH_FAILING ? t->reason : "");
        }
    }
    return list;
}

static void answer(struct buf *out, json_t *list) {
    json_t *o = json_object();
    json_object_set_new(o, "health", list);
    char *text = json_dumps(o, JSON_COMPACT);
    buf_str(out, text);
    free(text); /* jansson's */
    json_decref(o);
}

enum err_code forward_call(void *self, struct txn *t, struct call *cl, struct err *e) {
    struct forward *f = self;
    (void)t;
    (void)e;
    if (cl->in.rpc != forward_show_event_forwarding_rpc) {
        return ERR_OK; /* the attempt was made in prepare() */
    }
    pthread_mutex_lock(&f->lock);
    json_t *list = all_health(f, &cl->text);
    pthread_mutex_unlock(&f->lock);
    if (cl->text.len == 0) {
        buf_str(&cl->text, "Events are sent nowhere.\n");
    }
    answer(&cl->json, list);
    return ERR_OK;
}

enum err_code forward_look(void *self, struct txn *t, struct look *l, struct err *e) {
    struct forward *f = self;
    (void)t;
    (void)e;
    pthread_mutex_lock(&f->lock);
    json_t *list = all_health(f, NULL);
    pthread_mutex_unlock(&f->lock);
    answer(&l->json, list);
    return ERR_OK;
}

bool forward_slow(const struct node *rpc) {
    return rpc == forward_event_forwarding_test_rpc;
}

/* In the request's own thread: it may take as long as a receiver does. */
enum err_code forward_prepare(void *self, struct call *cl, struct err *e) {
    struct forward *f = self;
    const struct forward_event_forwarding_test_input *in = cl->in.data;
    atomic_bool go_on = false;
    struct sender s = {.controller = f->controller, .started_s = f->started_s, .stop = &go_on};
    struct buf json = BUF_INIT;
    pthread_mutex_lock(&f->lock);
    struct receiver *t = forward_find(f, in->target);
    const struct object *config = t != NULL ? object_hold(t->config) : NULL;
    pthread_mutex_unlock(&f->lock);
    if (config == NULL) {
        return err_set(e, ERR_ABSENT, "target", "there is no target %s", in->target);
    }
    buf_str(&json, "{\"user\":");
    text_json(&json, cl->who.user);
    buf_char(&json, '}');
    struct message m = {.time_s = clock_wall_s(&clock_real),
                        .name = "weft-forward:test",
                        .json = buf_cstr(&json),
                        .severity = FORWARD_SEVERITY_INFO};
    enum err_code rc = ERR_OK;
    if (sender_send(&s, config->doc->data, &m, 1, e) == 1) {
        buf_printf(&cl->text, "%s has taken a test event.\n", in->target);
    } else {
        rc = e->code;
    }
    sender_close(&s);
    object_release((struct object *)(uintptr_t)config);
    buf_free(&json);
    return rc;
}

static void figure(struct buf *out, const struct receiver *t, const char *name, uint64_t v) {
    buf_printf(out, "weft_forward_%s{target=\"%s\"} %" PRIu64 "\n", name, t->name, v);
}

void forward_metrics(void *self, struct buf *out) {
    struct forward *f = self;
    static const char *const heads[] = {
        "# HELP weft_forward_delivered_total Events that a target has taken.\n"
        "# TYPE weft_forward_delivered_total counter\n",
        "# HELP weft_forward_lost_total Events that could not wait any longer.\n"
        "# TYPE weft_forward_lost_total counter\n",
        "# HELP weft_forward_waiting Events that wait.\n# TYPE weft_forward_waiting gauge\n",
        "# HELP weft_forward_failing 1 while a target takes no events.\n"
        "# TYPE weft_forward_failing gauge\n"};
    static const char *const names[] = {"delivered_total", "lost_total", "waiting", "failing"};
    pthread_mutex_lock(&f->lock);
    for (size_t k = 0; k < 4 && f->n_targets > 0; k++) {
        buf_str(out, heads[k]);
        for (size_t i = 0; i < f->n_targets; i++) {
            const struct receiver *t = f->targets[i];
            uint64_t values[] = {t->delivered, t->lost, waiting_for(f, t),
                                 t->health == HEALTH_FAILING};
            figure(out, t, names[k], values[k]);
        }
    }
    pthread_mutex_unlock(&f->lock);
}
