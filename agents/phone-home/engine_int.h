// SPDX-License-Identifier: Apache-2.0
/*
 * What the parts of the engine share. A run is a chain of steps: each gives at most one order and
 * names the function that goes on when it ended, or a timer, or both. Everything that must outlive
 * the process is in `r`, and phc_save writes it.
 *
 *   engine.c          events, actions, orders, timers, the beginning of a life, resumption
 *   engine_find.c     sources, findings, servers in order, back-off
 *   engine_fetch.c    requests to servers and their answers
 *   engine_trust.c    what an answer may do: the trust state, redirects, the beginning of a run
 *   engine_chassis.c  members, temporary configuration, upgrade, switchover
 *   engine_image.c    the image's download
 *   engine_apply.c    scripts, configuration, the end of a run, and everything undone
 *   engine_report.c   what servers and syslog are told
 */
#ifndef PHONE_HOME_ENGINE_INT_H
#define PHONE_HOME_ENGINE_INT_H

#include <syslog.h>

#include "base/mem.h"
#include "phone-home/chassis.h"
#include "phone-home/engine.h"
#include "phone-home/record.h"

enum {
    PHC_FINDINGS_MAX = 32,
    PHC_LEVELS_MAX = 66,        /* redirects_max is at most 64 */
    PHC_SERVERS_MAX = 256,      /* asked because of one finding */
    PHC_BODY_MAX = 48 << 20,    /* of an answer: Base64 of Base64 of a document */
    PHC_REQUEST_MS = 30 * 1000, /* PH-115 */
    PHC_GRACE_MS = 10 * 1000,   /* that an order may end later than its own deadline */
    PHC_PAUSE_MS = 5 * 1000,    /* between tries of the same (PH-115) */
    PHC_TRIES_PRERFC = 10,      /* PH-115 */
    PHC_TRIES_REPORT = 3,
    PHC_TRIES_MUST = 10,
    PHC_TRIES_UPGRADE = 2, /* reboots of one member in one run */
    PHC_TRIES_SYNC = 3,
    PHC_DRAIN_MS = 60 * 1000, /* for reports before a reboot and before a server is left */
    PHC_LOOKUP_MS = 300 * 1000,
    PHC_ELECTION_MS = 30 * 1000, /* for a backup to be elected before roles are held */
    PHC_SHORT_MS = 120 * 1000,   /* freeze, thaw, confirm, replicate, the order to reboot */
    PHC_LONG_MS = 600 * 1000,    /* apply, roll back, until the own reboot is felt */
    PHC_INSTALL_MS = 1800 * 1000,
    PHC_DOWNLOAD_MS = 6 * 3600 * 1000,
};

typedef void phc_step(struct phc_engine *g);
typedef void phc_done(struct phc_engine *g, const struct phc_event *ev);

struct phc_item { /* an action in the queue, with what it points to */
    struct phc_action a;
    struct arena *mem;
    struct buf bytes;
};

struct phc_level { /* a list of servers, and where in it we are */
    struct sztp_server *servers;
    size_t n, next;
    bool trusted;  /* its anchors count (PH-143) */
    bool built_in; /* its servers are those of the configuration (PH-140) */
    enum phc_dialect dialect;
    unsigned redirects; /* that led here */
};

struct phc_ask { /* the server that is asked now; host "": storage or DNS */
    char host[SZTP_NAME_MAX + 1];
    uint16_t port;
    enum phc_verify verify;
    struct buf anchor;
    enum phc_dialect dialect;
    char place[RECORD_PLACE_MAX + 1];
    unsigned redirects;
    unsigned tries;
    uint8_t nonce[SZTP_NONCE_MAX];
    size_t nonce_len;
    enum { CSR_NO, CSR_OFFERED, CSR_SENT } csr;
    enum sztp_form form; /* of its answer */
    enum sztp_level level;
};

struct phc_engine {
    struct phc_config c;
    struct phc_world w;
    struct record r;
    enum phc_state state;
    bool started, damaged; /* damaged: the record that we were given was */
    bool taken_over;       /* the record is the former primary's, to be cleared there */
    struct err unfit;      /* why the record was not used */
    char last_error[ERR_TEXT_MAX];

    struct platform_identity own; /* as last looked at */
    struct platform_member live[SZTP_MEMBERS_MAX];
    size_t n_live;

    struct phc_item *queue;
    size_t n_queue, head;
    uint64_t last_order;
    struct {
        uint64_t order; /* 0: none */
        int64_t due;
        phc_done *done;
    } main;
    struct {
        int64_t due; /* -1: none */
        phc_step *then;
    } timer;
    bool woken;           /* in the middle of a round */
    phc_step *on_members; /* somebody waits for members */

    /* finding a server */
    enum phc_source source;
    struct phc_finding *findings;
    size_t n_findings, next_finding;
    struct phc_level levels[PHC_LEVELS_MAX];
    size_t n_levels;
    unsigned asked; /* servers, because of this finding */
    bool trust;     /* PH-140 */
    bool legacy;    /* this round saw options of the device's own provisioning */
    unsigned rounds;
    int64_t retry_after_ms;
    struct phc_ask ask;

    /* a run */
    struct conveyed info;
    bool has_info;
    char image_name[SZTP_NAME_MAX + 1];
    uint32_t rebooting;     /* members of the order to reboot: a bit for each of the record */
    bool singly;            /* such an order failed: one for each member */
    size_t current;         /* member that is being installed */
    bool more;              /* another member follows it */
    int64_t wait_due;       /* until members must be back; -1: nobody is awaited */
    int64_t inherited_wait; /* what a former life left of it; -1 */
    bool rechecked;         /* strict: looked once more after the deadline */
    unsigned tries;         /* of the step */
    struct {
        char path[1024]; /* "": not there */
        size_t uri;
        unsigned rounds[SZTP_URIS_MAX]; /* checksums that did not match */
        unsigned failures;              /* in a row */
        phc_step *then;
    } image;
    phc_step *elected;   /* after a backup was elected */
    phc_step *sync_then; /* after the record was handed to the backup */

    /* undoing */
    enum { AFTER_NEXT, AFTER_IDLE, AFTER_START } after;

    /* reports */
    struct {
        uint64_t order;
        int64_t due, retry_at;
        unsigned tries;
    } tell;
    struct {
        int64_t due;
        phc_step *then; /* NULL: nobody waits for the queue to be empty */
    } drain;
    struct {
        phc_step *arrived;
        phc_done *failed;
    } must;
};

/* ---- engine.c ---- */
int64_t phc_now(const struct phc_engine *g);
/* Appends an action; what it points to is to live in the item's arena or `bytes`. */
struct phc_item *phc_push(struct phc_engine *g, enum phc_action_kind kind);
/* The main order: the run goes on with `done`, at the latest after so many ms, then with an error.
 */
struct phc_item *phc_order(struct phc_engine *g, enum phc_action_kind kind, int64_t ms,
                           phc_done *done);
struct phc_action *phc_platform(struct phc_engine *g, enum phc_op op, phc_done *done);
void phc_cancel(struct phc_engine *g, uint64_t order);
/* No order, timer and wait for members is left. */
void phc_quiet(struct phc_engine *g);
void phc_timer(struct phc_engine *g, int64_t ms, phc_step *then);
void phc_enter(struct phc_engine *g, enum phc_state s);
void phc_save(struct phc_engine *g);
void phc_log(struct phc_engine *g, int priority, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A log line of that priority that is shown as the last error as well. */
void phc_trouble(struct phc_engine *g, int priority, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t phc_below(struct phc_engine *g, uint64_t n); /* 0..n-1, of the world's chance */
/* min * 2^n, at most max, and of that between half and all (PH-041, PH-153). */
int64_t phc_backoff(struct phc_engine *g, unsigned n);
/* Asks the platform who we are and who else is there. False: it does not know. */
bool phc_look(struct phc_engine *g);
void phc_start(struct phc_engine *g);
void phc_after_clean(struct phc_engine *g); /* nothing of a former run is left in force (PH-036) */

/* ---- engine_find.c ---- */
void phc_discover(struct phc_engine *g);
void phc_wake(struct phc_engine *g); /* a pause between rounds ends */
void phc_found(struct phc_engine *g, const struct phc_finding *f);
void phc_next(struct phc_engine *g);            /* server, finding or source */
void phc_leave_recursion(struct phc_engine *g); /* PH-141: the next finding or source */
/* ERR_LIMIT: redirected too often. Takes the servers. */
enum err_code phc_redirect(struct phc_engine *g, struct sztp_server *servers, size_t n,
                           struct err *e);
void phc_find_clear(struct phc_engine *g);

/* ---- engine_fetch.c ---- */
void phc_ask(struct phc_engine *g);
void phc_request(struct phc_engine *g, struct phc_request *q, struct arena *mem, const char *host,
                 uint16_t port, enum phc_verify verify, const struct buf *anchor);
const char *phc_media(enum sztp_form form);
char *phc_prerfc_path(struct phc_engine *g, struct arena *mem, const char *more);

/* ---- engine_csr.c ---- */
/* A key (that of the record, or a new one put there) and a PKCS #10 request with it. */
enum err_code phc_csr_make(struct phc_engine *g, struct buf *der, struct err *e);
bool phc_keeps_keys(const struct phc_engine *g); /* the platform does */
void phc_csr_drop(struct phc_engine *g);         /* RFC 9646: the key is deleted */
void phc_csr_algorithms(struct buf *out);

/* ---- engine_trust.c ---- */
void phc_take_artifacts(struct phc_engine *g, const struct buf *ci, const struct buf *owner,
                        const struct buf *voucher);
void phc_take_document(struct phc_engine *g, const void *xml, size_t n);
/* Reads the record's body into `info`. */
enum err_code phc_parse_body(struct phc_engine *g, struct err *e);

/* ---- engine_chassis.c ---- */
void phc_topology(struct phc_engine *g);
void phc_freeze(struct phc_engine *g);
void phc_image(struct phc_engine *g);
void phc_upgrade(struct phc_engine *g);
/* After a restart or a switchover: what became of members whose reboot was ordered. */
void phc_resume_upgrade(struct phc_engine *g);

/* ---- engine_image.c ---- */
void phc_download(struct phc_engine *g, phc_step *then);

/* ---- engine_apply.c ---- */
void phc_pre(struct phc_engine *g);
void phc_config_apply(struct phc_engine *g);
void phc_post(struct phc_engine *g);
void phc_complete(struct phc_engine *g);
void phc_done_for_good(struct phc_engine *g);
/* Ends the run: an error report (SZTP_PROGRESS_COUNT: none), and phc_leave to the next server. */
void phc_fail(struct phc_engine *g, enum sztp_progress type, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void phc_leave(struct phc_engine *g, int after);
void phc_undo(struct phc_engine *g);
/* Saves the record, hands it to the backup if there is one, and goes on. */
void phc_sync(struct phc_engine *g, phc_step *then);

/* ---- engine_report.c ---- */
bool phc_reports(const struct phc_engine *g); /* PH-150: somebody is told */
void phc_tell(struct phc_engine *g, enum sztp_progress type, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and the run goes on with `arrived` or `failed` alone. */
void phc_tell_must(struct phc_engine *g, enum sztp_progress type, const char *text,
                   phc_step *arrived, phc_done *failed);
/* `ends`: the run ends with it, or the device reboots (spec 5.3). */
void phc_tell_member(struct phc_engine *g, const struct record_member *m,
                     enum sztp_notification type, bool ends, const char *text);
void phc_tell_chassis(struct phc_engine *g, const char *text); /* vc-bootstrap-failed */
void phc_tell_pump(struct phc_engine *g);
void phc_tell_done(struct phc_engine *g, const struct phc_event *ev);
void phc_tell_time(struct phc_engine *g);
void phc_tell_stop(struct phc_engine *g); /* what waits is forgotten */
/* Goes on when nothing is left to send, at the latest after PHC_DRAIN_MS. */
void phc_drain(struct phc_engine *g, phc_step *then);

#endif
