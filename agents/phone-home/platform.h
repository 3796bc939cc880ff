// SPDX-License-Identifier: Apache-2.0
/*
 * What the client needs of a device, the same for one box and for a virtual chassis: who it is, its
 * members, and orders that take time. A platform does what it is told and decides nothing about
 * bootstrapping. Everything happens on one loop's thread.
 *
 * Orders are safe to repeat: one that was given before a loss of power and is given again ends as
 * if it had been given once. `done` is called exactly once for each, never from inside the call
 * that gave it; after platform_free none is called.
 */
#ifndef PHONE_HOME_PLATFORM_H
#define PHONE_HOME_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/conveyed.h"

struct platform; /* the first member of each platform's own struct is `const struct platform_ops *`
                  */

struct platform_identity {
    char serial[CMS_SERIAL_MAX + 1]; /* of the device; of a chassis: of the member that runs us */
    char model[SZTP_NAME_MAX + 1], os_name[SZTP_NAME_MAX + 1], os_version[SZTP_NAME_MAX + 1];
    bool chassis;         /* part of a virtual chassis that has formed, of one member or more */
    bool primary;         /* this member is its primary; true for a standalone device */
    bool factory_default; /* nothing was configured */
    bool clock_ok;        /* the wall's clock can be trusted (RFC 8572 section 5.4) */
    bool frozen;          /* what `freeze` puts in force is: a run was not finished */
    int member_id;        /* own; 0 for a standalone device */
};

struct platform_member {
    int id; /* 0..SZTP_MEMBERS_MAX - 1 */
    char serial[CMS_SERIAL_MAX + 1];
    enum sztp_role role;
    bool up; /* operational; a member that was seen and is away stays listed as not up */
    char os_version[SZTP_NAME_MAX + 1]; /* that runs */
};

enum platform_script { PLATFORM_PRE, PLATFORM_POST };
struct platform_script_result {
    int status;        /* exit status; -1: killed, by time or a signal */
    struct buf output; /* its last 64 KiB, of stdout and stderr together */
};

/* The result of an order: `e` NULL for success, valid during the call. */
typedef void platform_done(void *arg, uint64_t order, const struct err *e);

struct platform_ops {
    const char *name; /* "linux-stack" */
    void (*free)(struct platform *p);

    /* ---- what it knows, at once ---- */
    enum err_code (*identity)(struct platform *p, struct platform_identity *out, struct err *e);
    enum err_code (*members)(struct platform *p, struct platform_member *out, size_t max, size_t *n,
                             struct err *e);
    /* The record that the former primary left for this member with `replicate`; ERR_ABSENT: none.
     */
    enum err_code (*inherited)(struct platform *p, struct buf *out, struct err *e);
    void (*inherited_clear)(struct platform *p);

    /* ---- orders; `order` comes back with done ---- */
    /* Roles of the chassis stay as they are until `thaw`, a new primary excepted when the primary
     * itself is away (PH-036). Marked as ours, so that `thaw` after a restart finds it. */
    void (*freeze)(struct platform *p, uint64_t order);
    void (*thaw)(struct platform *p, uint64_t order);
    /* Puts the image (a file, verified) on the member; it runs it from its next boot on. */
    void (*install)(struct platform *p, uint64_t order, int member, const char *image,
                    const char *os_version);
    /* Reboots them, all at the same time. Done when the order is given, not when they are back;
     * when the own member is among them done may never come. */
    void (*reboot)(struct platform *p, uint64_t order, const int *members, size_t n);
    /* `deadline_ms` for the whole run; done's error when it failed, exit status other than 0
     * included. The last result is read with `script_result`. */
    void (*script)(struct platform *p, uint64_t order, enum platform_script which, const void *text,
                   size_t n, int64_t deadline_ms);
    /* Keeps the private key (PEM) of the certificate that the next `apply` brings (RFC 9646): the
     * device alone has it. It goes where that configuration goes, and back with it. NULL: the
     * device keeps none, and offers no certificate request. */
    void (*key)(struct platform *p, uint64_t order, const void *pem, size_t n);
    /* Puts the configuration in force, as one change, to be taken back by itself after
     * `confirm_ms` unless `confirm` comes first. */
    void (*apply)(struct platform *p, uint64_t order, const void *config, size_t n,
                  enum sztp_handling handling, int64_t confirm_ms);
    void (*confirm)(struct platform *p, uint64_t order);
    /* Back to what was in force before `apply`; nothing when it was not applied. */
    void (*rollback)(struct platform *p, uint64_t order);
    /* Hands a record to the backup member, durable there when done (PH-042, PH-054). */
    void (*replicate)(struct platform *p, uint64_t order, const void *record, size_t n);
    /* Back to factory default, and reboots. */
    void (*zeroize)(struct platform *p, uint64_t order);

    const struct platform_script_result *(*script_result)(struct platform *p);
    /* Statements of a received configuration that would give members other roles or make the
     * chassis elect again (PH-055); one line each in `out`. */
    void (*lint)(struct platform *p, const void *config, size_t n, struct buf *out);
};

struct platform_events {
    platform_done *done;
    void (*members_changed)(void *arg); /* ask `members` again */
    void (*primary_changed)(void *arg); /* ask `identity` again */
    void *arg;
};

#endif
