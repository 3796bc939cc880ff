// SPDX-License-Identifier: Apache-2.0
/*
 * What a storage engine gives the log, and what it may rely on. Functions mean what log.h says of
 * the log_ function of that name. log.c has checked the arguments (sizes, n, NULL texts, times)
 * before it calls an engine. An engine embeds `struct log` as its first member.
 */
#ifndef LOG_ENGINE_H
#define LOG_ENGINE_H

#include <pthread.h>

#include "base/list.h"
#include "log/log.h"

struct log {
    const struct log_engine *engine;
    const struct clock *clock;
    pthread_mutex_t watch_lock;
    struct list watches;
    void (*on_turn)(void *arg); /* under watch_lock, like its argument */
    void *on_turn_arg;
    pthread_rwlock_t in_use; /* held for reading by every call, for writing by log_reopen */
};

struct log_engine {
    const char *scheme; /* "sqlite" in "sqlite:/path" */
    enum err_code (*open)(const char *rest, const struct log_options *options, struct log **out,
                          struct err *err);
    /* May be NULL. The log is complete: threads of the engine's may begin to use it. After an error
     * it is closed. */
    enum err_code (*started)(struct log *log, struct err *err);
    void (*stop)(struct log *log); /* may be NULL: what `started` began ends, before `close` */
    void (*close)(struct log *log);
    /* No other call runs meanwhile. */
    enum err_code (*reopen)(struct log *log, struct err *err);
    enum err_code (*restore)(const char *path, const char *rest, struct err *err);

    void (*id)(struct log *log, uint8_t out[LOG_ID_LEN]);
    uint64_t (*head)(struct log *log);
    uint64_t (*config_head)(struct log *log);
    enum err_code (*lease_acquire)(struct log *log, struct log_lease *lease, struct err *err);
    enum err_code (*lease_renew)(struct log *log, const struct log_lease *lease, struct err *err);
    enum err_code (*lease_release)(struct log *log, const struct log_lease *lease, struct err *err);
    /* Calls log_notify itself, before it lets the next append go on: watchers see the order. */
    enum err_code (*append)(struct log *log, uint64_t expected_head, uint64_t fence,
                            struct log_entry *entries, size_t n, struct err *err);
    enum err_code (*read)(struct log *log, uint64_t from, uint64_t to, log_read_fn *each, void *arg,
                          struct err *err);
    enum err_code (*snapshot)(struct log *log, enum log_space space, const void *prefix,
                              size_t prefix_len, uint64_t *at, log_snapshot_fn *each, void *arg,
                              struct err *err);
    enum err_code (*fold)(struct log *log, size_t max_ops, size_t *left, struct err *err);
    enum err_code (*trim)(struct log *log, const struct log_keep *keep, uint64_t *dropped,
                          struct err *err);
    void (*status)(struct log *log, struct log_status *out);
    enum err_code (*backup)(struct log *log, const char *path, uint64_t *at, struct err *err);
    enum err_code (*check)(struct log *log, log_finding_fn *finding, void *arg, size_t *findings,
                           struct err *err);

    /* May be asked at any time, also while `reopen` runs. */
    void (*turn)(struct log *log, struct log_turn *out);
    /* Engines with several nodes; NULL in others, for which log.c answers. */
    enum err_code (*announce)(struct log *log, const void *about, size_t len, struct err *err);
    enum err_code (*nodes)(struct log *log, log_node_fn *each, void *arg, struct err *err);
    enum err_code (*members)(struct log *log, log_member_fn *each, void *arg, struct err *err);
    enum err_code (*remove)(struct log *log, uint64_t fence, struct err *err);
};

extern const struct log_engine log_sqlite;

/* Makes log_open and log_restore know an engine that stands above this folder. At the start of the
 * program, before threads; at most LOG_ENGINES_MAX in all. */
enum { LOG_ENGINES_MAX = 4 };
void log_engine_add(const struct log_engine *engine);

/* Tells the watchers of a batch that has become durable. */
void log_notify(struct log *log, const struct log_entry *entries, size_t n);

/* Tells who asked by log_on_turn that log_turn answers something else now. */
void log_turned(struct log *log);

#endif
