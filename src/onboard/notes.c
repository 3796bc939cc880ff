// SPDX-License-Identifier: Apache-2.0
/* Requests that the writer is not asked about, and connections that TLS refused, on their way to
 * `show onboard requests`. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/mem.h"
#include "base/text.h"
#include "onboard/server_int.h"

LOGGER_MODULE(onboard_notes);

enum {
    BATCH_MAX = 10,   /* notes in a second */
    SOURCE_MAX = 30,  /* ... of a source within AGAIN_MS */
    AGAIN_MS = 60000, /* the same of a source is counted so long */
    SEEN_MAX = 2000,  /* of those that are counted */
};

static const struct actor actor_server = {.user = "device", .source = "onboarding"};

struct written { /* a note, with texts of its own */
    char source[96], method[16], path[192], serial[CMS_SERIAL_MAX + 1], outcome[256];
    int status;
};

struct seen { /* of a source: what it was told, or all of it */
    int64_t since_ms;
    unsigned n;            /* notes */
    uint64_t more;         /* the same, not noted */
    struct written *first; /* NULL: all of a source */
};

struct notes {
    struct map seen; /* source [, status and outcome] -> struct seen */
    struct written waiting[BATCH_MAX];
    unsigned n;
    uint64_t lost; /* neither noted nor counted among `seen` */
    int64_t lost_ms;
};

struct batch { /* under way to the writer */
    struct onboard_server *server;
    unsigned n;
    struct written all[BATCH_MAX];
};

static int64_t now_ms(const struct onboard_server *s) {
    return loop_now(s->cfg.loop) / NS_PER_MS;
}

static void write_down(struct written *w, const struct request_note *n) {
    w->status = n->status;
    text_line(w->source, sizeof w->source, n->source);
    text_line(w->method, sizeof w->method, n->method);
    text_line(w->path, sizeof w->path, n->path);
    text_line(w->serial, sizeof w->serial, n->serial);
    text_line(w->outcome, sizeof w->outcome, n->outcome);
}

static void seen_free(void *p) {
    struct seen *s = p;
    mem_free(s->first);
    mem_free(s);
}

/* NULL: there are too many. */
static struct seen *seen_of(struct notes *n, const struct buf *key, int64_t now) {
    struct seen *s = map_get_n(&n->seen, key->data, key->len);
    if (s == NULL && n->seen.count < SEEN_MAX) {
        s = MEM_NEW(struct seen);
        s->since_ms = now;
        map_put_n(&n->seen, key->data, key->len, s);
    }
    return s;
}

static void lose(struct notes *n, int64_t now) {
    n->lost_ms = n->lost == 0 ? now : n->lost_ms;
    n->lost++;
}

void notes_add(struct onboard_server *s, const struct ip_addr *source,
               const struct request_note *note) {
    struct ip_addr a = *source;
    int64_t now = now_ms(s);
    struct written w;
    struct buf key = BUF_INIT;
    if (s->notes == NULL) {
        s->notes = MEM_NEW(struct notes);
    }
    if (a.family == 6) { /* who has one of them has all */
        memset(a.bytes + 8, 0, 8);
    }
    write_down(&w, note);
    buf_add(&key, &a, sizeof a);
    struct seen *all = seen_of(s->notes, &key, now), *same = NULL;
    buf_printf(&key, "%d %s", w.status, w.outcome);
    same = all != NULL ? seen_of(s->notes, &key, now) : NULL;
    buf_free(&key);
    if (same == NULL) {
        lose(s->notes, now);
    } else if (same->first != NULL) {
        same->more++;
    } else if (all->n >= SOURCE_MAX || s->notes->n == BATCH_MAX) {
        lose(s->notes, now);
    } else {
        all->n++;
        same->first = mem_dup(&w, sizeof w);
        s->notes->waiting[s->notes->n++] = w;
    }
}

static enum err_code write_all(struct txn *t, void *arg, struct err *e) {
    struct batch *b = arg;
    struct onboard *ob = core_service_state(txn_core(t), "onboard");
    (void)e;
    for (unsigned i = 0; i < b->n; i++) {
        const struct written *w = &b->all[i];
        request_note(ob, t,
                     &(struct request_note){.source = w->source,
                                            .method = w->method,
                                            .path = w->path,
                                            .serial = w->serial,
                                            .outcome = w->outcome,
                                            .status = w->status});
    }
    return ERR_OK;
}

static void batch_end(void *arg) {
    struct batch *b = arg;
    server_left(b->server);
    mem_free(b);
}

static void all_written(void *arg, uint64_t index, const struct err *e) {
    struct batch *b = arg;
    (void)index;
    if (e != NULL) {
        L_WARN_RL(1, "%u refused requests of devices were not noted: %s", b->n, e->text);
    }
    loop_post(b->server->cfg.loop, batch_end, b);
}

/* Those whose time is over are forgotten, with a word on how often they came. */
static void sum_up(struct notes *n, int64_t now) {
    MAP_FOREACH (e, &n->seen) {
        struct seen *s = e->value;
        if (now - s->since_ms < AGAIN_MS || (s->more > 0 && n->n == BATCH_MAX)) {
            continue;
        }
        if (s->more > 0) {
            struct written *w = &n->waiting[n->n++];
            *w = *s->first;
            text_linef(w->outcome, sizeof w->outcome, "%llu more within a minute: %s",
                       (unsigned long long)s->more, s->first->outcome);
        }
        map_del_n(&n->seen, e->key, e->key_len);
        seen_free(s);
    }
    if (n->lost > 0 && now - n->lost_ms >= AGAIN_MS && n->n < BATCH_MAX) {
        struct written *w = &n->waiting[n->n++];
        *w = (struct written){.source = "-", .method = "-"};
        text_linef(w->outcome, sizeof w->outcome,
                   "%llu more within a minute that were refused, from one address or more",
                   (unsigned long long)n->lost);
        n->lost = 0;
    }
}

void notes_tick(struct onboard_server *s) {
    struct notes *n = s->notes;
    struct core_turn turn;
    if (n == NULL) {
        return;
    }
    sum_up(n, now_ms(s));
    core_turn(s->cfg.core, &turn);
    if (n->n > 0 && turn.role == CORE_LEADS) {
        struct batch *b = MEM_NEW(struct batch);
        b->server = s;
        b->n = n->n;
        memcpy(b->all, n->waiting, n->n * sizeof n->waiting[0]);
        s->open++;
        core_run(s->cfg.core, &actor_server, write_all, all_written, b);
    }
    n->n = 0;
}

void notes_free(struct onboard_server *s) {
    if (s->notes != NULL) {
        map_free(&s->notes->seen, seen_free);
        mem_free(s->notes);
    }
}
