// SPDX-License-Identifier: Apache-2.0
/*
 * The client's state machine (spec 5.1): fed with events and the time, it returns actions. No I/O,
 * no clock, no randomness of its own.
 *
 *   IDLE -> DISCOVER -> CONNECT -> FETCH -> (REDIRECT -> CONNECT)* -> VALIDATE -> TOPOLOGY ->
 * TEMPCFG
 *        -> IMAGE -> UPGRADE_LC -> WAIT_LC -> UPGRADE_BK -> WAIT_BK -> SYNC_STATE -> UPGRADE_PR
 *        -> (switchover) RESUME -> WAIT_OLD_PR -> PRE -> CONFIG -> POST -> REPORT -> DONE
 *   FAIL -> next server -> next source -> back-off -> DISCOVER
 *
 * The driver's contract: it does the actions in the order given. PHC_SAVE is durable before the
 * next action is begun. Every action with an order ends in exactly one PHC_EV_DONE with that order,
 * unless PHC_CANCEL named it before; after a restart no order of the former life ends. What an
 * action must carry points into the engine and is valid until the next phc_event.
 */
#ifndef PHONE_HOME_ENGINE_H
#define PHONE_HOME_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "phone-home/platform.h"
#include "sztp/message.h"
#include "sztp/prerfc.h"
#include "sztp/trust.h"

#define PHC_STATES(X)                                                                              \
    X(IDLE)                                                                                        \
    X(DISCOVER)                                                                                    \
    X(CONNECT)                                                                                     \
    X(FETCH)                                                                                       \
    X(REDIRECT)                                                                                    \
    X(VALIDATE)                                                                                    \
    X(TOPOLOGY)                                                                                    \
    X(TEMPCFG)                                                                                     \
    X(IMAGE)                                                                                       \
    X(UPGRADE_LC)                                                                                  \
    X(WAIT_LC)                                                                                     \
    X(UPGRADE_BK)                                                                                  \
    X(WAIT_BK)                                                                                     \
    X(SYNC_STATE)                                                                                  \
    X(UPGRADE_PR) X(RESUME) X(WAIT_OLD_PR) X(PRE) X(CONFIG) X(POST) X(REPORT) X(DONE) X(FAIL)
enum phc_state {
#define X(name) PHC_ST_##name,
    PHC_STATES(X)
#undef X
};
const char *phc_state_name(enum phc_state s); /* "WAIT_LC" */

/* In the standard's order (RFC 8572 section 4; PH-153). */
enum phc_source { PHC_STORAGE, PHC_DNS, PHC_DHCP, PHC_CONFIGURED, PHC_SOURCES };
const char *phc_source_name(enum phc_source s); /* "removable storage" ... */

enum phc_dialect { PHC_RFC8572, PHC_PRERFC };
enum phc_precedence {
    PHC_PHONE_HOME,
    PHC_ZTP,
    PHC_FIRST_SUCCESS,
    PHC_PRECEDENCE_AUTO
}; /* PH-093 */

struct phc_config {           /* what the device's owner or factory set; see docs/phone-home.md */
    enum phc_dialect dialect; /* of configured servers; others speak RFC 8572 */
    unsigned sources;         /* bit 1 << enum phc_source; 0: all */
    char configured[SZTP_SERVERS_MAX][SZTP_URI_MAX + 1]; /* https://host[:port] */
    size_t n_configured;
    unsigned redirects_max; /* 1..64; 10 */
    int64_t detection_ms;   /* member detection: 60..7200 s; 1800 s (PH-043) */
    int64_t settle_ms;      /* members that appear within this count as detected; 5 s */
    int64_t script_ms;      /* 600 s (PH-062) */
    int64_t confirm_ms;     /* configuration confirmed within; 120 s */
    int64_t backoff_min_ms, backoff_max_ms; /* 5 s .. 300 s, with jitter (PH-041, PH-153) */
    int64_t record_max_age_ms; /* an inherited record that is older is void; 2 h (PH-054) */
    unsigned assertions;       /* of vouchers; 0: all */
    enum phc_precedence precedence;
    unsigned checksum_rounds; /* 3: of one URI (PH-041) */
    bool lenient;             /* members of documents that the module does not have are borne, and
                               * trusted servers that take no reports */
    bool once;                /* one round: whoever runs it ends after that */
    bool user_to_untrusted;   /* servers that nobody vouches for are told the user, too */
};
void phc_config_default(struct phc_config *c);

/* ---- one source's finding ----------------------------------------------------------------------
 */

/* A source gives, in the order to try, signed artifacts or servers. Untrusted, whatever it is. */
struct phc_finding {
    struct buf ci, owner, voucher; /* DER; from storage and DNS TXT; empty when `servers` count */
    struct sztp_server *servers;   /* of DHCP, SRV and the configured ones, best first */
    size_t n_servers;
    enum phc_dialect dialect;
    bool anchored; /* configured servers: their certificates are to validate to the anchors that the
                      device was built with, which makes them trusted (PH-140) */
    char origin[SZTP_URI_MAX + 1]; /* for logs: a path, "TXT 123._sztp.local", an interface */
    bool legacy_ztp;               /* DHCP also had the options of PH-092 */
};
void phc_finding_free(struct phc_finding *f);

/* ---- actions -----------------------------------------------------------------------------------
 */

enum phc_action_kind {
    PHC_SAVE,     /* record: durable, replaces the former one; no order, no event */
    PHC_LOOKUP,   /* source: PHC_EV_FOUND, then PHC_EV_DONE */
    PHC_REQUEST,  /* request: a request to a server */
    PHC_DOWNLOAD, /* download: one image from one URI, into a file, resumed where it stopped */
    PHC_PLATFORM, /* order of the platform: op and its arguments */
    PHC_LOG,      /* priority and text for syslog; no order */
    PHC_LEGACY,   /* the device's own DHCP provisioning is to go on; we stop (PH-093) */
    PHC_DISABLE,  /* bootstrapping is switched off for good; durable; no order */
    PHC_CANCEL,   /* order: its end does not interest any more */
};
enum phc_op {
    PHC_FREEZE,
    PHC_THAW,
    PHC_INSTALL,
    PHC_REBOOT,
    PHC_SCRIPT,
    PHC_APPLY,
    PHC_CONFIRM,
    PHC_ROLLBACK,
    PHC_REPLICATE,
    PHC_KEY
};

enum phc_verify {
    PHC_PROVISIONAL, /* any certificate; the server stays untrusted */
    PHC_BUILT_IN,    /* to the anchors that the device was built with */
    PHC_ANCHOR,      /* to `anchor` */
};
struct phc_request {
    const char *host;
    uint16_t port;
    enum phc_verify verify;
    const struct buf *anchor; /* CMS certs (one certificate in the older dialect) */
    const char *method, *path, *accept, *content_type; /* content_type NULL: no body */
    const struct buf *body;
    const char *user; /* Basic: the serial number; the driver adds the password of its file */
    int64_t deadline_ms;
    size_t max_body;
};
struct phc_download {
    const char *uri;
    const struct sztp_verification *hashes; /* all must hold; 0: none given */
    size_t n_hashes;
    const char *name;       /* of the file below the state directory; "image" */
    enum phc_verify verify; /* of https URIs */
    const struct buf *anchor;
};
struct phc_action {
    enum phc_action_kind kind;
    uint64_t order;
    union {
        struct {
            const void *p;
            size_t n;
        } save;
        enum phc_source lookup;
        struct phc_request request;
        struct phc_download download;
        struct {
            enum phc_op op;
            int members[SZTP_MEMBERS_MAX];
            size_t n_members;
            const char *image, *os_version;
            enum platform_script which;
            const void *p;
            size_t n;
            enum sztp_handling handling;
            int64_t deadline_ms;
        } platform;
        struct {
            int priority;
            const char *text;
        } log; /* LOG_ERR ... of syslog(3) */
    } u;
};

/* ---- events ------------------------------------------------------------------------------------
 */

enum phc_event_kind {
    PHC_EV_START,   /* first of a life; also after a restart */
    PHC_EV_TIME,    /* the time of phc_deadline has come */
    PHC_EV_FOUND,   /* of a LOOKUP; none: PHC_EV_DONE alone */
    PHC_EV_DONE,    /* an order ended */
    PHC_EV_MEMBERS, /* the platform's members changed */
    PHC_EV_PRIMARY, /* the own role changed */
    PHC_EV_STOP,    /* an operator said so: temporary configuration goes, then IDLE */
    PHC_EV_WAKE,    /* sources may have more than they had: a pause between rounds ends */
};
struct phc_event {
    enum phc_event_kind kind;
    uint64_t order;
    const struct err *error; /* DONE: NULL success */
    int status;              /* DONE of a request: HTTP status; 0: no answer */
    const char *content_type;
    const void *body;
    size_t n;
    int64_t retry_after_ms;          /* 0: not said */
    const char *path;                /* DONE of a download: the file */
    bool checksum;                   /* ... failed: the bytes were not those wanted */
    const struct phc_finding *found; /* FOUND: valid during the call */
};

struct phc_engine;
/* What the engine asks at once. The platform is asked for identity, members, inherited, script
 * result and lint only: orders go through actions. */
struct phc_world {
    int64_t (*now_ms)(void *arg); /* monotonic */
    int64_t (*wall_s)(void *arg); /* seconds since 1970 */
    void (*random)(void *arg, void *p, size_t n);
    struct platform *platform;
    const struct cms_certs *voucher_anchors; /* may be empty */
    const struct cms_key *device;            /* IDevID; NULL: none */
    void *arg;
};

/* `record`: what PHC_SAVE kept last, or nothing (n 0); one that is damaged or too old is as none
 * (a line says so). */
struct phc_engine *phc_new(const struct phc_config *c, const struct phc_world *w,
                           const void *record, size_t n);
void phc_free(struct phc_engine *g);
void phc_event(struct phc_engine *g, const struct phc_event *ev);
/* The next action to do; false: none until the next event. */
bool phc_action(struct phc_engine *g, struct phc_action *out);
/* When PHC_EV_TIME is due, by now_ms; -1: never. */
int64_t phc_deadline(const struct phc_engine *g);
enum phc_state phc_state(const struct phc_engine *g);
/* Rounds through all sources, one behind the other, that came to nothing. */
unsigned phc_rounds(const struct phc_engine *g);
/* For `weft-phone-home status`, tests and logs: JSON with state, source, server, trust, mode,
 * members with step and result, last error. */
void phc_status(const struct phc_engine *g, struct buf *json);

#endif
