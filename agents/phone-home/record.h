// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine remembers over a loss of power, and what a primary hands to the next one
 * (PH-054): one struct, which the engine works on directly, and its stored form. The stored form
 * begins with a magic number, a version and a CRC-32C over all that follows; every number in it has
 * a bound, so that bytes that were damaged or forged never become a record.
 */
#ifndef PHONE_HOME_RECORD_H
#define PHONE_HOME_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "phone-home/engine.h"

enum {
    RECORD_VERSION = 1,
    RECORD_MAX = 64 << 20,                /* bytes of a stored one */
    RECORD_REPORTS_MAX = 64,              /* that wait to be sent */
    RECORD_AVOID_MAX = 64,                /* servers that failed in this round */
    RECORD_PLACE_MAX = SZTP_NAME_MAX + 8, /* "host:port", or a finding's origin, cut */
};

/* Where a member stands in the upgrade. Each is saved before the order it names is given. */
enum record_step {
    STEP_NEW,       /* nothing was done */
    STEP_SAME,      /* runs the wanted version already */
    STEP_INSTALL,   /* the order to install was given */
    STEP_INSTALLED, /* the image is there, the member runs the former one */
    STEP_REBOOT,    /* the order to reboot was given, it is awaited */
    STEP_UP,        /* came back with the image */
    STEP_FAILED,    /* given up: see the result */
    STEP_COUNT
};
enum record_result {
    RESULT_NONE,
    RESULT_OK,
    RESULT_INSTALL, /* the image could not be installed */
    RESULT_ABSENT,  /* did not come back in time, or as another device */
    RESULT_VERSION, /* came back with the former version */
    RESULT_UNSAFE,  /* not rebooted: nobody could have taken over */
    RESULT_COUNT
};
const char *record_step_name(enum record_step s);     /* "reboot" */
const char *record_result_name(enum record_result r); /* "absent" */

/* The order of upgrades (PH-042). What a member was when the run began decides, whatever it is now.
 */
enum record_stage { STAGE_LINECARD, STAGE_BACKUP, STAGE_PRIMARY, STAGE_COUNT };

struct record_member {
    int id; /* 0..SZTP_MEMBERS_MAX - 1 */
    char serial[CMS_SERIAL_MAX + 1];
    enum sztp_role role; /* last seen */
    enum record_stage stage;
    enum record_step step;
    enum record_result result;
    unsigned tries;                 /* reboots ordered */
    bool seen_down;                 /* since the reboot was ordered */
    char before[SZTP_NAME_MAX + 1]; /* version before the upgrade */
};

struct record_report {
    uint64_t seq;
    enum sztp_progress progress;
    enum sztp_notification notification; /* SZTP_NOTIFICATION_COUNT: the older dialect has none */
    bool must;                           /* the run depends on its arrival */
    int member;                          /* id; -1: of none */
    char serial[CMS_SERIAL_MAX + 1];
    enum sztp_role role;
    char text[SZTP_MESSAGE_MAX + 1];
};

struct record {
    uint64_t run;         /* a random number for each run; 0: no run */
    int64_t saved_s;      /* wall's clock when it was saved */
    enum phc_state state; /* IDLE: no run; what to go on with otherwise */
    bool frozen;          /* temporary configuration may be in force */
    bool applied;         /* the received configuration may be in force */
    bool chassis;         /* the members are provisioned as one virtual chassis */
    bool strict;
    int64_t wait_ms; /* what was left of the state's deadline; -1: it has none */
    uint64_t seq;    /* of the last report */

    /* whose data these are */
    enum phc_source source;
    enum phc_dialect dialect;
    char place[RECORD_PLACE_MAX + 1]; /* for logs and the list below */
    char host[SZTP_NAME_MAX + 1];     /* "": from storage or DNS, nobody is told anything */
    uint16_t port;
    enum phc_verify verify;
    struct buf anchor;
    enum sztp_form form; /* of reports */
    enum sztp_level level;

    /* the data: conveyed information, or the whole document of the older dialect */
    enum sztp_form body_form;
    struct buf body;
    uint8_t digest[32]; /* SHA-256 of the body */

    size_t n_members;
    struct record_member members[SZTP_MEMBERS_MAX];

    size_t n_reports;
    struct record_report reports[RECORD_REPORTS_MAX];

    size_t n_avoid;
    char avoid[RECORD_AVOID_MAX][RECORD_PLACE_MAX + 1];

    /* A standalone device starts anew after its reboot (RFC 8572 section 5.6): what it installed,
     * so that an image that never runs is not installed for ever. */
    char tried[SZTP_NAME_MAX + 1]; /* version and name of the image; "": none */
    unsigned tries;

    struct buf csr_key; /* RFC 9646: the private key, PEM; empty: none */
};

void record_init(struct record *r);
void record_free(struct record *r); /* leaves an initialised one */
/* Ends the run: what must outlive it (avoided servers, the image that was tried, the number of
 * reports) stays. */
void record_end_run(struct record *r);

void record_print(const struct record *r, struct buf *out);
/* Makes the checksum of a stored one right again; for tests, here and where records are damaged. */
void record_reseal(struct buf *b);
/* ERR_MALFORMED: too short, another magic number, a wrong checksum, what no record has;
 * ERR_UNSUPPORTED: of another version. `out` is initialised and empty then. */
enum err_code record_parse(const void *p, size_t n, struct record *out, struct err *e);
/* PH-054: ERR_REFUSED when it was saved more than `max_age_ms` before `wall_s`. A clock that went
 * back tells nothing of an age, and refuses nothing. */
enum err_code record_check_age(const struct record *r, int64_t wall_s, int64_t max_age_ms,
                               struct err *e);

struct record_member *record_member_of(struct record *r, const char *serial); /* NULL: none */
/* Adds to the servers that failed; the oldest goes when there is no room. */
void record_avoid(struct record *r, const char *place);
bool record_avoids(const struct record *r, const char *place);

#endif
