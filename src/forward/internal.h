// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of the forwarding service share.
 *
 *     a change or an alarm  --seal-->  record forward/event/N in the same log entry
 *     durable               -------->  the event is ready; the couriers wake
 *     courier of a target   -------->  takes what is ready after its position, sends, moves its
 * position position saved        -------->  record forward/target/NAME; events that all targets
 * have go
 *
 * A position is saved after the delivery, so a crash between the two makes events come twice, never
 * not at all: each has an id by which the receiver knows. Too many waiting events (FORWARD_KEPT):
 * the oldest go, and in the same log entry the targets that lacked them have a gap, which they are
 * told before anything else.
 *
 * Records and what follows from them belong to the writer; everything below `lock` is shared with
 * the couriers.
 */
#ifndef FORWARD_INTERNAL_H
#define FORWARD_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/core.h"
#include "core/txn.h"
#include "forward/forward.h"
#include "model/kinds.h"

enum {
    FORWARD_KEPT = 10000,      /* events that wait at most */
    FORWARD_BESIDE_KEPT = 100, /* of them, those that are told beside the log */
    FORWARD_DROP = 100,        /* so many go at a time when there are more */
    FORWARD_TARGETS_MAX = 16,  /* each is a thread */
    FORWARD_BATCH = 100,       /* events that are sent at a time */
    FORWARD_SCAN = 1000,       /* events that are looked at for that */
    FORWARD_BACKOFF_MS = 1000, /* after the first failure; doubled up to ... */
    FORWARD_BACKOFF_MAX_MS = 60000,
};

/* ---- messages (message.c) -------------------------------------------------------------------- */

struct message {       /* borrowed texts */
    uint64_t id;       /* 0: it has none, because it is not in the log */
    uint64_t previous; /* id of the one that this target got before; 0: none */
    uint64_t index;    /* log index */
    int64_t time_s;
    const char *name; /* "weft-apm:alarm-raised" */
    const char *json; /* "{...}" */
    enum forward_severity severity;
};

enum forward_severity message_severity(const char *name, const char *json);
const char *message_severity_name(enum forward_severity s);
bool message_wanted(const struct forward_target *t, const char *name, enum forward_severity s);
/* {"controller":...,"events":[...]}. */
void message_json(const char *controller, const struct message *m, size_t n, struct buf *out);
/* RFC 5424: <PRI>1 ...; without framing. */
void message_syslog(const char *controller, uint8_t facility, const struct message *m,
                    struct buf *out);
/* "sha256=" and the HMAC-SHA256 of "TIMESTAMP.BODY" in hex. */
void message_sign(const char *secret, const char *timestamp, const char *body, size_t n,
                  char out[72]);

/* ---- senders ----------------------------------------------------------------------------------
 * Each blocks, for SENDER_S at most and not long after *stop. Returns how many of the messages,
 * from the first on, the receiver has taken; less than n with the reason in `e`. */
enum { SENDER_S = 10 };

struct sender {
    const char *controller; /* our host name */
    int64_t started_s;      /* when this process began; grows with each */
    const atomic_bool *stop;
    void *curl;               /* webhook: the connection stays */
    struct syslog_link *link; /* syslog: the same */
};
void sender_close(struct sender *s); /* gives up what it has open */
size_t sender_send(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e);
size_t webhook_send(struct sender *s, const struct forward_target *t, const struct message *m,
                    size_t n, struct err *e);
void webhook_close(struct sender *s);
size_t syslog_send(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e);
void syslog_close(struct sender *s);
size_t snmp_notify(struct sender *s, const struct forward_target *t, const struct message *m,
                   size_t n, struct err *e);

/* ---- the service ----------------------------------------------------------------------------- */

struct waiting { /* an event that waits; held by the list and by couriers at work */
    unsigned refs;
    uint64_t id, index;
    int64_t time_s;
    char *name, *json;
    bool ready; /* durable */
};

struct gap { /* events that went before the target had them; lost 0: none */
    uint64_t lost, first, last;
};

struct position {  /* the record of a target */
    uint64_t done; /* it has all events up to this one that it wants */
    uint64_t previous;
    struct gap gap;
};

enum health { HEALTH_IDLE, HEALTH_WORKING, HEALTH_FAILING };

struct receiver {
    char *name;
    const struct object *config; /* held */
    uint64_t generation;         /* of the configuration; +1 with each change */
    bool has_record;
    struct position stored; /* as the record has it */
    struct position now;    /* as the courier has it: further, and not saved yet */
    bool gap_told;          /* not saved yet */
    uint64_t beside;        /* has all up to this one of what was told beside the log */
    bool gone;
    /* for show */
    enum health health;
    uint64_t delivered, lost;
    int64_t last_s, failing_since_s;
    char reason[256];
    /* the courier */
    struct forward *forward;
    pthread_t thread;
    bool running, ended;
    atomic_bool stop;
};

struct forward {
    struct core *core;
    int64_t started_s;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct waiting **events; /* by id */
    size_t n_events, cap_events;
    uint64_t last; /* greatest id ever given in this run */
    /* Told beside the log, by this process alone: the log's numbers are not theirs, since another
     * node that leads after this one gives the next of them. Their ids count for themselves. */
    struct waiting *beside[FORWARD_BESIDE_KEPT];
    size_t n_beside;
    uint64_t last_beside;
    struct receiver *targets[FORWARD_TARGETS_MAX];
    size_t n_targets;
    struct receiver **past; /* gone ones whose courier may still be at work */
    size_t n_past, cap_past;
    bool started, saving;
    uint64_t subscription;
    char controller[256];
};

/* Locked. */
struct receiver *forward_find(struct forward *f, const char *name);
size_t forward_first_after(const struct forward *f,
                           uint64_t id); /* place of the first event after */
void waiting_release(struct waiting *w);

/* Locked: lets go of what was told beside the log and all targets have. */
void forward_trim_beside(struct forward *f);

/* From a courier, unlocked: positions are to be saved soon. */
void forward_save(struct forward *f);

void courier_start(struct receiver *t);
/* Unlocked: tells it to end and waits. */
void courier_join(struct receiver *t);

enum err_code forward_call(void *self, struct txn *t, struct call *cl, struct err *e);
enum err_code forward_prepare(void *self, struct call *cl, struct err *e);
bool forward_slow(const struct node *rpc);
enum err_code forward_look(void *self, struct txn *t, struct look *l, struct err *e);
void forward_metrics(void *self, struct buf *out);

#endif
