// SPDX-License-Identifier: Apache-2.0
/* What the files of the system service share. */
#ifndef CORE_SYSTEM_INT_H
#define CORE_SYSTEM_INT_H

#include <jansson.h>

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "core/system.h"
#include "core/trail.h"
#include "log/log.h"

#define AUDIT_PREFIX "system/audit/"
#define LOGIN_PREFIX "system/logins/"
enum { AUDIT_VERSION = 1 };

struct session {
    struct list link;
    uint64_t id;
    char user[64], dialect[16], from[96];
    int64_t since_s;
    bool configuring;
};
void sessions_each(void (*fn)(const struct session *s, void *arg), void *arg);

struct nodes { /* system_nodes.c; the writer changes it, under the lock */
    pthread_mutex_t lock;
    struct map known;            /* name -> struct known */
    char heir[LOG_NODE_MAX + 1]; /* who is to lead next; "": whoever is first */
};

struct system {
    struct core *core;
    struct nodes nodes;
    int64_t started_s;
    int utc_offset;             /* minutes */
    uint32_t delete_objects;    /* guard rail */
    struct trail audit, logins; /* numbered as one; logins: those that failed */
};

/* system_show.c: the answers */
enum err_code system_show(struct system *sys, struct txn *t, struct call *cl, struct err *e);
enum err_code system_look(void *self, struct txn *t, struct look *l, struct err *e);
/* system_backup.c; in the request's thread */
enum err_code system_backup(struct system *sys, struct call *cl, struct err *e);
enum err_code system_backup_job(struct txn *t, struct call *cl, struct err *e);
void system_backup_register(struct system *sys);
/* system_cluster.c */
bool system_cluster_slow(const struct node *rpc);
enum err_code system_cluster_prepare(struct system *sys, struct call *cl, struct err *e);
enum err_code system_cluster_call(struct system *sys, struct txn *t, struct call *cl,
                                  struct err *e);
bool system_cluster_slow_write(const struct node *rpc);
void system_cluster_announce(struct core *c); /* tells the other nodes of this one */
/* system_nodes.c */
void nodes_init(struct nodes *n);
void nodes_free(struct nodes *n);
bool nodes_mine(const char *key, size_t len);
bool nodes_encode(const struct nodes *n, const char *key, size_t len, struct buf *out);
enum err_code nodes_fold(struct nodes *n, const char *key, size_t key_len, const void *value,
                         size_t len, struct err *e);
/* Any thread. */
void nodes_each_lost(struct nodes *n, void (*each)(const char *name, int64_t since_s, void *arg),
                     void *arg);
/* Of one that is not there: it is not looked for any more. ERR_ABSENT. */
enum err_code nodes_forget(struct nodes *n, struct txn *t, const char *name, struct err *e);
void nodes_put_heir(struct txn *t, const char *name); /* NULL: none any more */
/* The writer's thread. False: none was named. */
bool nodes_has_heir(struct nodes *n, char out[LOG_NODE_MAX + 1]);
/* system_logging.c */
void system_fold_logging(const struct object *o);
/* Puts a jansson object into cl->json and releases it. */
void call_answer_json(struct buf *out, json_t *o);
/* A line of a table; the last cell has no width. */
void call_table(struct buf *out, const char *const *cells, size_t n, const int *widths);

#endif
