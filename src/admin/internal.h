// SPDX-License-Identifier: Apache-2.0
/* What the files of the service share. */
#ifndef ADMIN_INTERNAL_H
#define ADMIN_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/job.h"
#include "core/txn.h"
#include "model/kinds.h"
#include "net/scp.h"

/* ---- archival ----------------------------------------------------------------------------------
 */

enum { ARCHIVE_WAITING_MAX = 50 }; /* commits that wait for a site; the oldest go (APM-146) */

/* The record admin/archival: memory is its fold. */
struct archive_record {
    uint64_t archived; /* newest commit that a site has; 0: none */
    int64_t archived_s;
    char site[256];
    int64_t failing_s; /* since when nothing goes; 0: all is well */
    char reason[ERR_TEXT_MAX];
    uint64_t skipped;
    uint64_t job;                          /* the last one that was started */
    uint64_t waiting[ARCHIVE_WAITING_MAX]; /* ascending */
    size_t n_waiting;
};

struct archive {
    struct core *core;
    pthread_mutex_t lock; /* of the record: steps read it on their threads */
    struct archive_record r;
    bool on_commit;
    int64_t interval_ns; /* 0: not by time */
    struct timer timer;
    uint64_t n_copied, n_failures; /* since the start */
};

void archive_init(struct archive *a, struct core *c);
void archive_free(struct archive *a);
void archive_start(struct archive *a);
void archive_stop(struct archive *a);
enum err_code archive_check(struct archive *a, struct txn *t, struct err *e);
void archive_config(struct archive *a, const struct object *new_);
void archive_changed(struct archive *a, struct txn *t);
bool archive_encode(struct archive *a, struct buf *out);
enum err_code archive_fold(struct archive *a, const void *value, size_t len, struct err *e);
enum err_code archive_call(struct archive *a, struct txn *t, struct call *cl, struct err *e);
void archive_metrics(struct archive *a, struct buf *out);

/* Connects to the archive site of that name, for `seconds`. */
enum err_code archive_site_open(const struct snap *s, const char *name, unsigned seconds,
                                struct scp **out, struct err *e);

/* ---- log files ---------------------------------------------------------------------------------
 */

void log_files_start(void);

/* ---- support bundle ----------------------------------------------------------------------------
 */

/* In the request's thread. */
enum err_code support_bundle(struct core *c, struct call *cl, struct err *e);

/* ---- certificates ------------------------------------------------------------------------------
 */

bool certificates_mine(const struct node *rpc);
/* In the request's thread. */
enum err_code certificates_call(struct call *cl, struct err *e);

/* ---- saving ------------------------------------------------------------------------------------
 */

/* In the request's thread. */
enum err_code save_config(struct core *c, struct call *cl, struct err *e);

/* ---- maintenance -------------------------------------------------------------------------------
 */

enum err_code maintenance_call(struct core *c, struct txn *t, struct call *cl, struct err *e);

struct admin {
    struct core *core;
    struct archive archive;
};

/* Puts a jansson object into `out` and releases it. */
void admin_json(struct buf *out, json_t *o);

#endif
