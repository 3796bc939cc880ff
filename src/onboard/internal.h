// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of the onboarding service share.
 *
 *     request --loop--> parsed, a `struct ask` --writer--> decide.c: who is it, may it, which rule;
 *                                                          what it did is recorded
 *             --worker-> answer.c: what the rule names becomes a document, signed where it has to
 * be
 *             --loop---> sent
 *
 * Records (all JSON): onboard/device/SERIAL, what is known of a device; onboard/log/SERIAL/N, what
 * it did, the newest ONBOARD_LOG_KEPT in places that are used again; onboard/request/N, all
 * requests, the same way. Memory holds them as their text.
 */
#ifndef ONBOARD_INTERNAL_H
#define ONBOARD_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "core/core.h"
#include "core/job.h"
#include "core/target.h"
#include "core/txn.h"
#include "model/kinds.h"
#include "onboard/onboard.h"
#include "sztp/conveyed.h"
#include "sztp/message.h"
#include "sztp/prerfc.h"

enum {
    ONBOARD_LOG_KEPT = 64,          /* entries for each device */
    ONBOARD_REQUESTS_KEPT = 10000,  /* of all devices and strangers */
    ONBOARD_PENDING_MAX = 10000,    /* devices that nobody entered */
    ONBOARD_REPORT_LIMIT_S = 14400, /* of devices without a type */
    ONBOARD_KEYS_TEXT_MAX = 65536,  /* bytes kept of what comes with bootstrap-complete, each */
    ONBOARD_WHAT_MAX = 160,         /* what a device is given, in words */
    ONBOARD_BECAUSE_MAX = 768,      /* ... and why */
};

extern struct onboard_paths onboard_paths;

/* ---- memory ---------------------------------------------------------------------------------- */

enum run_stage { RUN_ANSWER, RUN_IMAGE, RUN_PRE_SCRIPT, RUN_CONFIGURATION, RUN_POST_SCRIPT };

struct known { /* a device that has been here */
    char *serial;
    char *json; /* its record; NULL: none, there is a log only */
    enum onboard_onboarding_status status;
    bool stranger; /* counted among those that nobody entered */
    char *log[ONBOARD_LOG_KEPT];
    uint64_t log_number[ONBOARD_LOG_KEPT]; /* of each; 0: none */
    struct target_session *target;         /* NULL: not configured, or the service does not run */
    uint64_t given;                        /* revision of what it was given; 0: nothing */
    /* its run, see runs.c */
    uint64_t job; /* the last one's; 0: none */
    enum run_stage stage;
    bool open;   /* has not ended: among open_runs */
    bool failed; /* \"run-failed\" is in its record */
    struct list run_link;
    struct job_effect *effect; /* the job's step that waits for a report; NULL: none */
    char *said;                /* the report that came last; NULL: none */
    int64_t heard_s;           /* when, monotonic */
};

struct onboard {
    struct core *core;
    bool started;
    struct map devices; /* serial -> struct known */
    size_t n_strangers;
    struct list open_runs; /* of struct known */
    char *requests[ONBOARD_REQUESTS_KEPT];
    uint64_t next_request; /* its number */
    json_t *putting;       /* the record that is being put, borrowed; NULL: none */
    /* Counted since the start, by what came of it. */
    uint64_t answered, redirected, waited, refused, reports, completed, failed;
};

/* ---- records (records.c) --------------------------------------------------------------------- */

bool onboard_state_encode(void *self, const char *key, size_t n, struct buf *out);
enum err_code onboard_state_fold(void *self, const char *key, size_t n, const void *value,
                                 size_t len, struct err *e);
struct known *known_get(const struct onboard *ob, const char *serial); /* NULL: never seen */
struct known *known_make(struct onboard *ob, const char *serial);
void known_drop_if_empty(struct onboard *ob, struct known *k);
void known_free(void *p);
/* The record, to be changed and put; a new one when there is none. */
json_t *known_load(const struct known *k);
/* A text in it, borrowed; "" where there is none. */
const char *known_text(const json_t *record, const char *name);
void known_put(struct txn *t, const char *serial, json_t *record); /* takes the reference */
/* Returns the entry's number. */
uint64_t known_log(struct onboard *ob, struct txn *t, const char *serial, const char *event,
                   const char *text);
/* In place of that entry; a new one where it is not kept any more. */
void known_log_amend(struct onboard *ob, struct txn *t, const char *serial, uint64_t number,
                     const char *event, const char *text);
void known_delete(struct onboard *ob, struct txn *t, const char *serial);
const char *status_name(enum onboard_onboarding_status s);
/* Into the record, with the time when that changes ("since"). */
void known_set_status(struct txn *t, json_t *record, enum onboard_onboarding_status s);

struct request_note { /* for `show onboard requests` */
    const char *source, *method, *path, *serial, *outcome;
    int status;
};
/* Returns its number. */
uint64_t request_note(struct onboard *ob, struct txn *t, const struct request_note *n);
/* What came of it after all; nothing when it is not kept any more. */
void request_amend(struct onboard *ob, struct txn *t, uint64_t number, int status,
                   const char *outcome);

/* ---- a request (decide.c) -------------------------------------------------------------------- */

enum { PLAN_BUNDLE = 1, PLAN_REDIRECT = 2 };
enum ask_kind { ASK_GET, ASK_REPORT, ASK_RENEW };

struct ask {
    /* in */
    enum ask_kind kind;
    bool prerfc;         /* the older dialect */
    enum sztp_form form; /* of the answer */
    unsigned gives;      /* what the listener is for: PLAN_* */
    char source[96], method[16], path[192];
    char address[SZTP_NAME_MAX + 1]; /* how the device reaches this listener, without port */
    uint16_t port;
    bool has_cert; /* one that verified */
    struct buf cert;
    char fingerprint[65];
    bool has_basic;
    char user[256], password[512];
    char path_serial[CMS_SERIAL_MAX + 1]; /* the older dialect names it in the path; or "" */
    struct sztp_get get;
    enum sztp_progress progress;
    char message[SZTP_MESSAGE_MAX + 256];
    struct buf host_keys, anchors;
    bool has_member; /* the report is about that member of a chassis */
    struct sztp_member member;
    /* what decide() has read in the certificate, and where (CMS_SERIAL_*; 0: not yet) */
    unsigned cert_from;
    char cert_serial[CMS_SERIAL_MAX + 1];
    /* out */
    int status;              /* of HTTP; 0: ask answer.c */
    bool stranger_fault;     /* counts against the source */
    const char *tag;         /* error-tag */
    char text[ERR_TEXT_MAX]; /* error-message */
    bool want_csr;           /* the error is a wish for a certificate request */
    char serial[CMS_SERIAL_MAX + 1];
    uint64_t number; /* of its note among the requests */
    uint64_t logged; /* of what it is given, in the device's log */
    struct sztp_profile profile;
    struct plan *plan;
};
void ask_clear(struct ask *a);

/* What is to be given, all of one commit: answer.c makes it from this without the writer. */
struct plan {
    struct snap *snap;
    char serial[CMS_SERIAL_MAX + 1];
    char bundle[64], redirect_list[64]; /* one of them; "" none */
    char rule[160], signer[64], topology[64];
    bool sign;             /* asked for, or ordered */
    bool sign_optional;    /* unsigned where it can't be signed */
    bool needs_trust;      /* it may not be given as it is */
    bool to_self;          /* a signed redirect to this server */
    bool encrypt;          /* for the device's certificate */
    bool encrypt_optional; /* not for a certificate that can't be encrypted for */
    bool failed_before;    /* its last answer could not be made: told when this one was */
    bool previews_ldevid;  /* for a look: a word stands where the certificate will */
    uint8_t nonce[SZTP_NONCE_MAX];
    size_t nonce_len;
    uint16_t certificate_days; /* > 0: sign the request that came */
    char hw_model[SZTP_NAME_MAX + 1], os_name[SZTP_NAME_MAX + 1], os_version[SZTP_NAME_MAX + 1];
    char type[64];
};
void plan_free(struct plan *p);        /* NULL is allowed */
bool plan_gives(const struct plan *p); /* is there anything to send? NULL: no */

/* ---- in words (explain.c) -------------------------------------------------------------------- */

/* "bundle b, signed" */
void plan_what(const struct plan *p, bool is_signed, char out[ONBOARD_WHAT_MAX]);
/* Why a device gets that: the rules that were passed over, the one that holds, what is signed and
 * with what. `p`: of plan_make for the same; NULL: no rule holds. */
void explain_plan(const struct onboard_device *d, const struct onboard_device_type *type,
                  const struct sztp_get *g, unsigned gives, const struct plan *p,
                  char out[ONBOARD_BECAUSE_MAX]);

/* Work for core_run; `arg` is a struct ask. Always ERR_OK when it could be recorded. */
enum err_code decide(struct txn *t, void *arg, struct err *e);

/* An event about a device; `members`: pairs of name and text, NULL ends; those without text are
 * left out. */
void device_event(struct txn *t, const char *name, const char *serial, const char *const *members);

/* ---- a chassis (chassis.c) ------------------------------------------------------------------- */

typedef void chassis_member(void *arg, const char *serial);
/* The members of a chassis: those that it lists, and in default mode also the configured devices
 * that name it. Of those that it lists the configured ones alone, unless `all` says otherwise. */
void chassis_members(const struct snap *s, const struct onboard_topology *t, bool all,
                     chassis_member *fn, void *arg);
/* The device whose `record` it is, not yet put, is given the plan; nothing without a topology. */
void chassis_given(struct onboard *ob, struct txn *t, const struct plan *p, json_t *record);
/* It reports; `record` is its own, not yet put. What follows for the member that it is about, and
 * for all of them, is recorded, and their targets are told. */
void chassis_reported(struct onboard *ob, struct txn *t, const struct ask *a, json_t *record,
                      enum onboard_onboarding_status status);
/* The run of the one who asked ended without a report; its record was put. True: it was of a
 * chassis, and runs of other members may have ended as well. */
bool chassis_run_over(struct onboard *ob, struct txn *t, const char *serial, const char *event,
                      const char *why);
/* How far a device that reports this is. */
enum onboard_onboarding_status status_after(enum sztp_progress p);

struct rule_view { /* a rule of a device or of a type */
    const char *name;
    const char *const *hw_model, *const *os_name, *const *os_version;
    size_t n_hw_model, n_os_name, n_os_version;
    bool has_signed, wants_signed, has_nonce, nonce;
    const char *bundle, *redirect_list;
};
/* Of a device's or a type's rule. */
#define RULE_VIEW(r)                                                                               \
    ((struct rule_view){.name = (r)->name,                                                         \
                        .hw_model = (r)->hw_model,                                                 \
                        .n_hw_model = (r)->n_hw_model,                                             \
                        .os_name = (r)->os_name,                                                   \
                        .n_os_name = (r)->n_os_name,                                               \
                        .os_version = (r)->os_version,                                             \
                        .n_os_version = (r)->n_os_version,                                         \
                        .has_signed = (r)->has_signed_data_preferred,                              \
                        .wants_signed = (r)->signed_data_preferred,                                \
                        .has_nonce = (r)->has_nonce,                                               \
                        .nonce = (r)->nonce,                                                       \
                        .bundle = (r)->bundle,                                                     \
                        .redirect_list = (r)->redirect_list})
bool rule_matches(const struct rule_view *r, const struct sztp_get *g);
/* ... and is it one for a listener that gives that? What a listener is not for is passed over. */
bool rule_fits(const struct rule_view *r, const struct sztp_get *g, unsigned gives);
/* Chooses for a configured device, among rules that give what `gives` allows. NULL: none holds; a
 * plan without bundle and redirect list: nothing yet. */
struct plan *plan_make(struct snap *s, const struct onboard_device *d,
                       const struct onboard_device_type *type, const struct sztp_get *g,
                       unsigned gives);
/* The type of a device: the one named, the one for the model, the one called default; NULL. */
const struct onboard_device_type *type_of(const struct snap *s, const struct onboard_device *d,
                                          const char *hw_model);
const struct object *object_of(const struct snap *s, const struct kind *k, const char *key);

/* ---- targets (targets.c) --------------------------------------------------------------------- */

void device_target_start(struct onboard *ob, struct known *k);
void onboard_changed(void *self, struct txn *t);
/* What it said of itself last, as a request. */
void known_as_get(const struct known *k, struct sztp_get *g);
/* A device has been given something; has reported. */
void target_given(struct onboard *ob, struct txn *t, const char *serial);
void target_reported(struct onboard *ob, struct txn *t, const char *serial,
                     enum onboard_onboarding_status status, uint64_t given, const char *why);

/* ---- runs (runs.c) --------------------------------------------------------------------------- */

void runs_start(struct onboard *ob);
void runs_stop(struct onboard *ob);
void run_drop(struct known *k);
/* The device's record was put: `o` NULL: it is gone. */
void run_fold(struct onboard *ob, struct known *k, const json_t *o);
enum run_stage run_stage_after(enum sztp_progress p, enum run_stage now);
/* Into the record, before it is put: it is given something (`elsewhere`: other servers); has
 * reported; can't go on. */
void run_given(struct onboard *ob, struct txn *t, json_t *record, const char *serial,
               bool elsewhere);
void run_reported(struct onboard *ob, struct txn *t, json_t *record, const char *serial,
                  enum sztp_progress p, bool failed, const char *message);
void run_failed(json_t *record, const char *why);
/* The run was completed: whatever the device does, until it is given something again, is none. */
void run_done(json_t *record);
/* After that: the job goes on when it is durable. */
void run_moved(struct onboard *ob, struct txn *t, const char *serial, const char *what,
               const char *message);
/* Once a second, on the controller that leads; from any thread. */
void onboard_runs_tick(struct core *c);

/* ---- the answer (answer.c) ------------------------------------------------------------------- */

struct given { /* what a plan came to */
    struct conveyed info;
    enum sztp_level level;
    struct buf owner, voucher; /* with signed data */
    struct cms_key *signer;    /* not NULL: to be signed */
    struct buf ldevid;         /* PEM of a certificate that was signed on the way */
    char image_name[SZTP_NAME_MAX + 1];
};
void given_free(struct given *g);
/* App-tag of an error: the device's request for a certificate is to blame. */
#define ANSWER_BAD_CSR "certificate-request"
/* On a worker. `csr` DER, may be empty. */
enum err_code answer_make(const struct plan *p, const char *address, uint16_t port,
                          const struct buf *csr, struct given *out, struct err *e);
/* Is it the name of a variable that every device has, without its configuration saying so? */
bool variable_built_in(const char *name);
/* The body for the device, in its dialect and form. */
enum err_code answer_print(const struct ask *a, struct given *g, struct buf *out, struct err *e);

/* The certificate of the plan's device for its request (DER), PEM, from the controller's authority.
 */
enum err_code answer_sign(const struct plan *p, const struct buf *csr, struct buf *pem,
                          struct err *e);

/* ---- renewals (renew.c) ---------------------------------------------------------------------- */

/* May this one renew its certificate? The ask has a plan then, else status and text. */
void renew_decide(struct onboard *ob, struct txn *t, struct ask *a);
/* On a worker: the certificate, and what is sent (Base64 of certificates in PKCS #7). */
enum err_code renew_make(const struct ask *a, struct buf *pem, struct buf *body, struct err *e);
/* What came of it; `error` NULL: it was signed. */
void renew_recorded(struct onboard *ob, struct txn *t, const struct ask *a, const char *pem,
                    int status, const char *error);
/* RFC 7030 section 4.1: the authority's certificates, as above. */
enum err_code renew_authority(struct buf *body, struct err *e);

/* A voucher with that nonce, from the signer's MASA; blocks for seconds (masa.c). */
enum err_code masa_voucher(const struct onboard_signer *s, const struct cms_key *signer,
                           const char *serial, const uint8_t *nonce, size_t n, struct buf *vcj,
                           struct err *e);

/* ---- texts (template.c) ---------------------------------------------------------------------- */

enum template_escape { TEMPLATE_PLAIN, TEMPLATE_XML };
/* Value of a variable; NULL: there is none. */
typedef const char *template_value(void *arg, const char *name);
/* ERR_INVALID with the line: a variable that is not known, {{ without }}, no name. ERR_TOO_BIG. */
enum err_code template_fill(const char *text, size_t n, enum template_escape escape,
                            template_value *value, void *arg, struct buf *out, struct err *e);
/* Calls `fn` (NULL: nobody) with each name in it, as often as it stands there. Errors as above. */
typedef void template_name(void *arg, const char *name);
enum err_code template_names(const char *text, size_t n, template_name *fn, void *arg,
                             struct err *e);

/* ---- files (files.c) ------------------------------------------------------------------------- */

/* A file of the onboarding folder; a name with a slash or dots in front is none. ERR_ABSENT. */
enum err_code files_open(const char *name, int *fd, uint64_t *size, struct err *e);
bool files_has(const char *name);
enum err_code files_read(const char *name, size_t max, struct buf *out, struct err *e);
struct digests {
    uint8_t sha256[32], sha1[20], md5[16];
};
/* Reckoned once for each version of the file. */
enum err_code files_digests(const char *name, struct digests *out, struct err *e);
void files_forget(void);

/* A version of a file in the URIs that devices are told (VERSION/NAME): the first digits of its
 * SHA-256, enough to tell it from others by accident. Devices check the whole. */
enum { FILES_VERSION = 16 };
void files_version(const struct digests *d, char out[FILES_VERSION + 1]);
/* The name in NAME or VERSION/NAME; `version` "" in the first. */
const char *files_split(const char *path, char version[FILES_VERSION + 1]);
enum files_match { FILES_SAME, FILES_OTHER, FILES_UNKNOWN };
/* Does the folder have that version? FILES_OTHER also where the file is not there; FILES_UNKNOWN:
 * it would have to be read, which may take seconds, and `reckon` is false. */
enum files_match files_match(const char *name, const char *version, bool reckon);

/* PEM as it is, or out of Base64. */
enum err_code pem_text(const char *text, struct buf *out, struct err *e);
/* Revocation lists as PEM: from PEM, or out of Base64 of PEM or DER. A certificate among them is an
 * error: it would be believed. */
enum err_code crl_text(const char *text, struct buf *out, struct err *e);

/* ---- at commit (check.c, warn.c) ------------------------------------------------------------- */

/* Does `a`, which stands first, hold for all that `b` holds for, on each listener? */
bool rule_covers(const struct rule_view *a, const struct rule_view *b);

/* What is wrong and no error, with those of whom it is: one warning for each text, which names the
 * first of them. Zeroed to begin with. */
enum { FINDINGS_MAX = 32 };
struct findings {
    struct finding {
        char *text;
        struct buf who;
        size_t n_who;
    } one[FINDINGS_MAX];
    size_t n, more;
};
void finding(struct findings *f, const char *who, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Warns of them, and frees them. */
void findings_end(struct findings *f, struct txn *t);

/* What devices would fail of only later, in what the change touches: templates that want variables
 * which devices lack, files that are not there, listeners whose certificate has another name. */
void onboard_warn(const struct onboard *ob, struct txn *t, struct findings *f);

/* ---- service --------------------------------------------------------------------------------- */

enum err_code onboard_check(void *self, struct txn *t, struct err *e);
enum err_code onboard_call(void *self, struct txn *t, struct call *cl, struct err *e);
bool onboard_slow(const struct node *rpc);
enum err_code onboard_prepare(void *self, struct call *cl, struct err *e);
enum err_code onboard_look(void *self, struct txn *t, struct look *l, struct err *e);
void onboard_values(void *self, struct txn *t, struct values *v);
void onboard_metrics(void *self, struct buf *out);

/* Listeners of this process, for shows: JSON array. From any thread (server.c). */
void onboard_listeners_json(json_t *list);

#endif
