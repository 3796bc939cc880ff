// SPDX-License-Identifier: Apache-2.0
/*
 * The engine of weft-stackd: frames and the time in, frames and orders to the host out. Without
 * I/O, so that test/sim/stack_test.c runs many of them against each other.
 *
 * Members say hello on each link and flood what they are and whom they hear (link state), so each
 * knows all that it reaches. The ready member of the highest priority becomes primary when nobody
 * has been it for the settling time; a primary stays it, whatever comes later. Where two meet (a
 * cut ring was mended) the one of higher priority stays, else the one that has been it longer, else
 * the lower serial number. The primary numbers the members (a number is kept for good), names the
 * backup, which takes over at once when the primary is gone, and may freeze both roles. What it
 * decides is a small document (struct stack_chassis) that all keep durably; the newer one counts.
 *
 * Times are milliseconds of one monotonic clock. Calls don't nest: the host must not call the
 * engine from inside its own callbacks.
 */
#ifndef PHONE_HOME_STACK_ENGINE_H
#define PHONE_HOME_STACK_ENGINE_H

#include "phone-home/stack/wire.h"

enum {
    STACK_ORDERS_MAX = 16,            /* under way at once */
    STACK_FILE_MAX_RECORD = 20 << 20, /* bytes of each kind of file */
    STACK_FILE_MAX_CONFIG = 20 << 20,
};
#define STACK_FILE_MAX_IMAGE (UINT64_C(4) << 30)

struct stack_settings {
    stack_serial serial;
    stack_text model, os_name, os_version;
    uint8_t priority; /* 0: never primary; 128 is usual */
    bool factory;     /* nothing was configured */
    unsigned n_links; /* 0: a standalone device, its own primary at once */
    stack_port ports[STACK_LINKS_MAX];
    int64_t hello_ms;  /* 250 */
    int64_t dead_ms;   /* a neighbour that was not heard for so long is gone; 1000 */
    int64_t settle_ms; /* nothing changes for so long, then a primary is elected; 2000 */
    int64_t lost_ms;   /* what is under way with a member that can't be reached ends; 15000 */
};
void stack_settings_default(struct stack_settings *s);

enum stack_role { STACK_ROLE_NONE, STACK_PRIMARY, STACK_BACKUP, STACK_LINECARD };
const char *stack_role_name(enum stack_role r); /* "none", "primary", "backup", "linecard" */

struct stack_host {
    void (*send)(void *arg, unsigned link, const void *frame, size_t n);
    /* Durable when it returns; replaces the former one. */
    void (*save)(void *arg, const void *state, size_t n);
    void (*changed)(void *arg); /* members, roles or the chassis */
    /* `n` bytes at `offset` of the file that order `order` sends; false: can't be read. */
    bool (*read)(void *arg, uint64_t order, uint64_t offset, void *p, size_t n);
    /* A file comes. How much of the one with that digest is there from a former try. */
    uint64_t (*part)(void *arg, enum stack_file file, const uint8_t digest[STACK_DIGEST]);
    bool (*write)(void *arg, enum stack_file file, uint64_t offset, const void *p, size_t n);
    /* All is there: check it, put it where it belongs, durably, then stack_engine_finished. */
    void (*finish)(void *arg, uint64_t ticket, enum stack_file file,
                   const uint8_t digest[STACK_DIGEST], uint64_t size, const char *text);
    void (*reboot)(void *arg, bool zeroize); /* this member, when what was said is on its way */
    void (*done)(void *arg, uint64_t order, const struct err *e);
    void (*log)(void *arg, const char *line);
    void *arg;
};

struct stack_engine;
/* `state`: what `save` kept last; n 0: none. ERR_MALFORMED when it is damaged: nothing is made. */
enum err_code stack_engine_new(const struct stack_settings *s, const struct stack_host *host,
                               const void *state, size_t n, int64_t now, struct stack_engine **out,
                               struct err *e);
void stack_engine_free(struct stack_engine *g);

void stack_engine_frame(struct stack_engine *g, int64_t now, unsigned link, const void *p,
                        size_t n);
/* Does what is due; returns when it wants to be called again at the latest. */
int64_t stack_engine_tick(struct stack_engine *g, int64_t now);
/* The member's image is up, or not any more: only a ready one has a role. At first it is not. */
void stack_engine_ready(struct stack_engine *g, int64_t now, bool ready);
void stack_engine_factory(struct stack_engine *g, int64_t now, bool factory);

/* ---- orders: host.done is called once for each, later ------------------------------------------
 */

void stack_engine_freeze(struct stack_engine *g, int64_t now, uint64_t order, bool frozen);
/* Sends a file, which host.read gives, to a member (of that id; RECORD: to the backup) and waits
 * until it is in its place there. */
void stack_engine_send(struct stack_engine *g, int64_t now, uint64_t order, enum stack_file file,
                       int member, uint64_t size, const uint8_t digest[STACK_DIGEST],
                       const char *text);
/* The end of host.finish; e NULL: success. */
void stack_engine_finished(struct stack_engine *g, int64_t now, uint64_t ticket,
                           const struct err *e);
/* Members by id; the own one goes last, when the others have heard. Of members that can't be
 * reached the order fails, when the others were told. */
void stack_engine_reboot(struct stack_engine *g, int64_t now, uint64_t order, const int *ids,
                         size_t n, bool zeroize);

/* ---- what is known -----------------------------------------------------------------------------
 */

struct stack_member {
    stack_serial serial;
    int id; /* -1: none yet */
    enum stack_role role;
    bool reachable, up; /* up: reachable and ready */
    bool factory;       /* nothing was configured */
    uint64_t incarnation;
    uint8_t priority;
    stack_text model, os_name, os_version; /* "" not known */
    size_t n_neighbours;
    struct {
        stack_port port;
        stack_serial serial;
    } neighbours[STACK_LINKS_MAX];
};
/* By id, those without one last; the own one is always among them. At most 2 * STACK_MEMBERS_MAX.
 */
size_t stack_engine_members(const struct stack_engine *g, struct stack_member *out, size_t max);
bool stack_engine_primary(const struct stack_engine *g); /* this member is it */
/* It is about to reboot, or to tell others to before it does itself. */
bool stack_engine_leaves(const struct stack_engine *g);
bool stack_engine_formed(const struct stack_engine *g); /* a primary is known */
const struct stack_chassis *stack_engine_chassis(const struct stack_engine *g);
int stack_engine_id(const struct stack_engine *g, const char *serial); /* -1: none */
const char *stack_engine_serial(const struct stack_engine *g);

#endif
