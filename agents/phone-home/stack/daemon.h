// SPDX-License-Identifier: Apache-2.0
/*
 * The member process of weft-stackd: the engine on real links, files, the image that runs, and the
 * local socket. One loop, one thread. Its supervisor (supervise.h) starts it anew for each boot.
 *
 *   DIRECTORY/state        what the engine keeps        /record   that a primary left here
 *            /boot.json    see slots.h                  /config   in force; `pending` while not
 * confirmed /slots/a, b   images                       /part-N   files on their way
 */
#ifndef PHONE_HOME_STACK_DAEMON_H
#define PHONE_HOME_STACK_DAEMON_H

#include <sys/types.h>

#include "net/loop.h"
#include "phone-home/script.h"
#include "phone-home/stack/engine.h"
#include "phone-home/stack/ports.h"
#include "phone-home/stack/settings.h"
#include "phone-home/stack/slots.h"

/* How the member process ends, for the supervisor. */
enum { MEMBER_REBOOT = 70, MEMBER_ZEROIZE = 71 };

struct local;
struct local_ask;
struct install;
struct stackd {
    struct loop *loop;
    struct stackd_settings *settings;
    char slot[2];
    bool trial;
    struct slots slots;
    struct stack_engine *engine;
    struct ports *ports;
    struct local *local;
    struct loop_timer *tick, *trial_over, *again;
    struct loop_deferred poked, changed, spread;
    struct loop_signal *term, *interrupt, *child;
    struct script *init;
    pid_t services[SETTINGS_SERVICES_MAX];
    int64_t service_due[SETTINGS_SERVICES_MAX];
    struct loop_timer *service_timer;
    bool up;
    /* files.c */
    int part[STACK_FILE_CONFIG + 1]; /* descriptors; -1 */
    struct install *install;         /* an image is being unpacked */
    struct order_ref {
        uint64_t order;
        struct local_ask *ask; /* NULL: nobody waits any more */
        int fd;                /* that host.read reads; -1 */
        enum stack_file file;
    } orders[STACK_ORDERS_MAX];
    uint64_t next_order;
    struct hashing *hashing; /* list */
    /* config.c */
    struct config_job *config_job;
    struct loop_timer *confirm_by;
    bool pending; /* a configuration that was not confirmed is in force */
    bool kept;    /* one that was, and can be taken back until the other members have it */
    /* spread.c */
    struct {
        stack_serial serial;
        uint64_t incarnation;
    } given[STACK_MEMBERS_MAX];
    size_t n_given;
    struct loop_timer *spread_again;
};

int64_t stackd_now(const struct stackd *d);
/* Something was told to the engine: it is asked at the end of this turn what is due. */
void stackd_poke(struct stackd *d);
void stackd_path(const struct stackd *d, const char *name, char out[SETTINGS_PATH_MAX + 64]);
/* The member process; never returns. */
_Noreturn void stackd_run(struct stackd_settings *s, const char *slot, bool trial);

/* ---- boot.c: the image's init, its trial, services */
void stackd_boot(struct stackd *d);
void stackd_services_stop(struct stackd *d);
void stackd_on_child(void *arg);

/* ---- files.c */
void stackd_files_host(struct stack_host *h);
/* Orders of the local socket; `fd` is taken over. Each ends with local_answer. */
void stackd_send_file(struct stackd *d, struct local_ask *ask, enum stack_file file, int member,
                      int fd, const char *text);
struct order_ref *stackd_order(struct stackd *d, struct local_ask *ask);
void stackd_order_done(void *arg, uint64_t order, const struct err *e);
void stackd_forget_ask(struct stackd *d, const struct local_ask *ask); /* its asker has gone */
void stackd_files_start(struct stackd *d);

/* ---- config.c */
/* Rolls back what was not confirmed before the start; then `fn`. */
void stackd_config_start(struct stackd *d, void (*fn)(struct stackd *d));
bool stackd_configured(const struct stackd *d);
/* Forgets what was in force before: there is no way back any more. False: could not. */
bool stackd_config_final(struct stackd *d);
/* The key that goes with the next configuration; `fd` stays the caller's. Durable when it returns.
 */
enum err_code stackd_key(struct stackd *d, int fd, struct err *e);
/* WEFT_KEY=..., for hooks and the image's init. */
void stackd_key_environment(const struct stackd *d, char out[SETTINGS_PATH_MAX + 80]);
enum { STACKD_CONFIG_MAX = 16 << 20, STACKD_KEY_MAX = 65536 };
enum config_op { CONFIG_APPLY, CONFIG_CONFIRM, CONFIG_ROLLBACK };
/* `fd`: the configuration, taken over; `done` later. `handling` from another member: "merge" or
 * "replace", then, when a key stands before the configuration, a blank and its length. */
typedef void config_done(struct stackd *d, void *arg, const struct err *e);
void stackd_config(struct stackd *d, enum config_op op, int fd, const char *handling,
                   int64_t confirm_ms, config_done *done, void *arg);

/* ---- spread.c */
/* As primary: gives the configuration to the members that are to have it. Called whenever members,
 * roles or the configuration may have changed. */
void stackd_spread(struct stackd *d);
/* A member did not take it. */
void stackd_spread_failed(struct stackd *d);

/* ---- install.c */
typedef void install_done(struct stackd *d, void *arg, const struct err *e);
/* Unpacks and checks in a process of its own, then puts it into the other slot. `fd` is taken over.
 */
void stackd_install(struct stackd *d, int fd, const char *version, const uint8_t *digest,
                    install_done *done, void *arg);

/* ---- local.c */
enum err_code local_open(struct stackd *d, struct err *e);
void local_close(struct stackd *d);
void local_answer(struct local_ask *a, const struct err *e);
void local_changed(struct stackd *d);

#endif
