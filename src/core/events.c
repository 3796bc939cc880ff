// SPDX-License-Identifier: Apache-2.0
/* Events: a ring of what happened, and those who want to be told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/internal.h"
#include "core/system.h"

static void event_clear(struct event *ev) {
    mem_free((char *)(uintptr_t)ev->name);
    mem_free((char *)(uintptr_t)ev->json);
}

static void tell(struct core *c, const struct event *ev) {
    LIST_FOREACH (l, &c->subscribers) {
        struct subscriber *s = CONTAINER_OF(l, struct subscriber, link);
        s->fn(ev, s->arg);
    }
}

static void publish(struct core *c, uint64_t index, int64_t time_s, const char *name,
                    const char *json, bool unstored) {
    if (c->ring == NULL) {
        c->ring = mem_alloc(CORE_EVENTS_KEPT * sizeof *c->ring);
    }
    struct event ev = {.seq = ++c->event_seq,
                       .index = index,
                       .time_s = time_s,
                       .unstored = unstored,
                       .name = mem_strdup(name),
                       .json = mem_strdup(json)};
    struct event *slot = &c->ring[ev.seq % CORE_EVENTS_KEPT];
    event_clear(slot);
    *slot = ev;
    c->ring_len += c->ring_len < CORE_EVENTS_KEPT;
    tell(c, &ev);
}

/* Members of the notification weft-system:commit. */
static void commit_json(const struct txn *t, struct buf *b) {
    char when[TIME_TEXT_MAX], dialect[16];
    snprintf(dialect, sizeof dialect, "%.*s", (int)strcspn(t->who.source, " "), t->who.source);
    buf_printf(b, "{\"number\":\"%" PRIu64 "\",\"time\":\"%s\",\"user\":", t->index,
               time_format(t->now_ns / NS_PER_S, 0, when));
    text_json(b, t->who.user);
    buf_str(b, ",\"dialect\":");
    text_json(b, dialect);
    if (t->comment[0] != '\0' || t->label[0] != '\0') {
        char both[REMARK_MAX];
        buf_str(b, ",\"comment\":");
        text_json(b, commit_remark(t->label, t->comment, both));
    }
    buf_printf(b, ",\"objects\":%zu}", t->n_changes);
}

void events_seal(struct txn *t) {
    struct core *c = t->core;
    if (t->is_commit) { /* comes before what came of it */
        struct buf b = BUF_INIT;
        commit_json(t, &b);
        txn_event(t, "weft-system:commit", buf_cstr(&b));
        struct pending_event commit = t->events[t->n_events - 1];
        memmove(t->events + 1, t->events, (t->n_events - 1) * sizeof *t->events);
        t->events[0] = commit;
        buf_free(&b);
    }
    /* What tells and writes nothing goes on while the store can't be written. */
    bool stored =
        t->n_events > 0 && !t->work->looks && !t->dry_run && (t->n_ops > 0 || c->store.writable);
    for (size_t i = 0; i < c->n_services && stored; i++) {
        if (c->services[i].service->seal != NULL) {
            c->services[i].service->seal(c->services[i].self, t);
        }
    }
}

size_t txn_n_events(struct txn *t) {
    return t->n_events;
}

const char *txn_event_name(struct txn *t, size_t i) {
    return t->events[i].name;
}

const char *txn_event_json(struct txn *t, size_t i) {
    return t->events[i].json;
}

void events_publish(struct txn *t) {
    struct core *c = t->core;
    if (t->n_events == 0) {
        return;
    }
    pthread_mutex_lock(&c->events_lock);
    int64_t now = t->now_ns / NS_PER_S;
    for (size_t i = 0; i < t->n_events; i++) {
        publish(c, t->index, now, t->events[i].name, t->events[i].json, false);
    }
    pthread_mutex_unlock(&c->events_lock);
}

void events_tell(struct core *c, const char *name, const char *json) {
    pthread_mutex_lock(&c->events_lock);
    publish(c, core_head(c), clock_wall_s(c->clock), name, json, true);
    pthread_mutex_unlock(&c->events_lock);
}

void core_tell(struct core *c, const char *name, const char *json) {
    events_tell(c, name, json);
}

uint64_t core_subscribe(struct core *c, uint64_t since,
                        void (*fn)(const struct event *ev, void *arg), void *arg) {
    pthread_mutex_lock(&c->events_lock);
    struct subscriber *s = MEM_NEW(struct subscriber);
    *s = (struct subscriber){.handle = ++c->next_handle, .fn = fn, .arg = arg};
    uint64_t oldest = c->event_seq - c->ring_len + 1;
    bool replay = since > 0, all = since == CORE_EVENTS_ALL;
    since = all ? 0 : since;
    if (replay && (since + 1 < oldest || since > c->event_seq)) {
        struct event lost = {.seq = c->event_seq,
                             .index = core_head(c),
                             .time_s = clock_wall_s(c->clock),
                             .name = "resync",
                             .json = "{}"};
        fn(&lost, arg);
    }
    for (uint64_t q = since + 1 > oldest ? since + 1 : oldest; replay && q <= c->event_seq; q++) {
        fn(&c->ring[q % CORE_EVENTS_KEPT], arg);
    }
    list_append(&c->subscribers, &s->link);
    uint64_t handle = s->handle;
    pthread_mutex_unlock(&c->events_lock);
    return handle;
}

void core_unsubscribe(struct core *c, uint64_t handle) {
    pthread_mutex_lock(&c->events_lock);
    LIST_FOREACH_SAFE (l, &c->subscribers) {
        struct subscriber *s = CONTAINER_OF(l, struct subscriber, link);
        if (s->handle == handle) {
            list_remove(l);
            mem_free(s);
        }
    }
    pthread_mutex_unlock(&c->events_lock);
}

void events_free(struct core *c) {
    LIST_FOREACH_SAFE (l, &c->subscribers) {
        list_remove(l);
        mem_free(CONTAINER_OF(l, struct subscriber, link));
    }
    for (size_t i = 0; c->ring != NULL && i < CORE_EVENTS_KEPT; i++) {
        event_clear(&c->ring[i]);
    }
    mem_free(c->ring);
}
