// SPDX-License-Identifier: Apache-2.0
/*
 * Clients on a simulated virtual chassis, with servers that say what a test tells them: a driver
 * without I/O that obeys engine.h to the letter. It counts actions, and can end the client behind
 * any of them, as kill -9 or as a loss of power; what was saved is all that the next life has.
 */
#ifndef TEST_SIM_PHONE_HOME_RIG_H
#define TEST_SIM_PHONE_HOME_RIG_H

#include "phone-home/engine.h"
#include "phone-home/platform_sim.h"

enum { RIG_SERVERS = 32, RIG_FINDINGS = 8, RIG_REPORTS = 512, RIG_LINES = 2048 };

#define RIG_CONFIGURED "the device is configured"

struct rig_server {
    char host[64];
    uint16_t port;
    bool built_in;     /* its certificate validates to what devices are built with */
    struct buf anchor; /* ... to this one */
    int status;        /* of data; 0: it does not answer */
    const char *type;
    struct buf body;
    int report_status;     /* 204 */
    unsigned report_fails; /* so many get no answer */
    bool no_members;       /* 400 to reports that say whom of a chassis they are about */
    int64_t retry_after_ms;
    unsigned gets, posts;
    /* Instead of all that; true: status, type and body were set. */
    bool (*answer)(struct rig_server *s, const struct phc_request *q, void *arg);
    void *arg;
};

struct rig_report {
    char host[64];
    enum sztp_progress progress;         /* dialect B */
    enum sztp_notification notification; /* dialect A */
    bool prerfc;
    char text[SZTP_MESSAGE_MAX + 1];
    int member;
    char serial[CMS_SERIAL_MAX + 1];
    enum sztp_role role;
    struct buf raw;
};

enum rig_kill { RIG_NO_KILL, RIG_PROCESS, RIG_POWER };

struct rig_process {
    struct rig *rig;
    int member;
    struct phc_engine *g; /* NULL: not running */
    bool dead;            /* does nothing any more, about to be taken away */
    bool disabled;
    struct buf disk; /* what PHC_SAVE wrote last */
    uint64_t cancelled[64];
    size_t n_cancelled;
    uint64_t life;
};

struct rig {
    struct sim *sim;
    struct phc_config config;
    struct rng rng;
    int64_t wall_start_s; /* 1800000000 */
    const struct cms_certs *voucher_anchors;
    const struct cms_key *device;
    struct rig_process p[SZTP_MEMBERS_MAX];
    struct rig_server servers[RIG_SERVERS];
    size_t n_servers;
    struct phc_finding found[PHC_SOURCES][RIG_FINDINGS];
    size_t n_found[PHC_SOURCES];
    unsigned lookups[PHC_SOURCES];
    unsigned download_fails, checksum_fails;
    char downloaded[8][128]; /* URIs, in order */
    size_t n_downloads;
    unsigned actions; /* done, of all clients */
    unsigned kill_at; /* behind the action of this number; 0: never */
    enum rig_kill kill;
    bool killed;
    unsigned legacy;
    struct rig_report *reports;
    size_t n_reports;
    char **lines; /* of the log */
    size_t n_lines;
    const char *orders[512]; /* platform orders, by name */
    size_t n_orders;
};

struct rig *rig_new(size_t members, bool chassis, uint64_t seed);
void rig_free(struct rig *r);
struct rig_server *rig_server(struct rig *r, const char *host, uint16_t port);
/* The configured servers, which is all that a rig finds unless told otherwise. */
void rig_configured(struct rig *r, const char *host, uint16_t port);
struct phc_finding *rig_find(struct rig *r, enum phc_source s); /* an empty one to fill in */
/* The server's answer, in dialect B: conveyed information, not signed. */
void rig_answer(struct rig_server *s, const struct conveyed *c, enum sztp_level level);
void rig_answer_prerfc(struct rig_server *s, const struct conveyed *c, const char *image_name);
void rig_start(struct rig *r);
void rig_event(struct rig *r, int member, enum phc_event_kind kind);
/* Until `ms` have gone by, or the client of some member is done, or gave up for a pause when
 * `pause` says that this is an end. True: it ended so. */
bool rig_run(struct rig *r, int64_t ms, bool pause);
/* The engine of the primary; NULL: none runs. */
struct phc_engine *rig_engine(const struct rig *r);
enum phc_state rig_state(const struct rig *r);
bool rig_done(const struct rig *r);                      /* some member's client is done for good */
size_t rig_count(const struct rig *r, const char *text); /* reports with this text */
size_t rig_logged(const struct rig *r, const char *part);

#endif
