// SPDX-License-Identifier: Apache-2.0
/*
 * The built-in service `system`: settings, logging levels, guard rails, history, targets, sessions,
 * audit, tokens, passwords, backup and check. weftd puts &system_service first in its list.
 */
#ifndef CORE_SYSTEM_H
#define CORE_SYSTEM_H

#include "core/service.h"

extern const struct service system_service;

/* Where `request system backup NAME` puts files given without a slash; before core_open. */
void system_set_backup_folder(const char *path);

/* Where log files go; before core_open. Without it none are written. */
void system_set_log_folder(const char *path);

/* ---- sessions: who is logged in; from any thread --------------------------------------------- */

/* May this one begin another session? ERR_LIMIT with how many there are. */
enum err_code session_admit(struct core *c, const struct actor *who, struct err *e);
/* Returns a number to close it with. `dialect` "cli", "rest"; `from` an address or "local". */
uint64_t session_open(const char *user, const char *dialect, const char *from);
void session_configuring(uint64_t id, bool on);
void session_close(uint64_t id);

/* ---- audit ------------------------------------------------------------------------------------
 * Commits, rpcs that change or act. Kept durably, newest AUDIT_KEPT; beside them the newest
 * AUDIT_LOGINS_KEPT records of failed logins (core/logins.h). */
enum { AUDIT_KEPT = 20000, AUDIT_LOGINS_KEPT = 2000 };
/* From any thread; for what is no transaction of its own (refused requests). */
void audit_note(struct core *c, const struct actor *who, const char *action, const char *result);
/* Inside a transaction: becomes durable with it. */
void audit_put(struct txn *t, const char *action, const char *result);
/* The commit that the transaction makes: "commit N: REMARK". */
void audit_commit(struct txn *t);
/* Label and comment of a commit as one line; "" without either. */
enum { REMARK_MAX = 336 };
const char *commit_remark(const char *label, const char *comment, char out[REMARK_MAX]);
/* A login of `user` that failed; and the event. */
void audit_put_login(struct txn *t, const char *user, const char *source, const char *result);

/* ---- the last log lines -----------------------------------------------------------------------
 */
enum { LOGRING_KEPT = 10000 };
void logring_install(void); /* keeps what the logger writes, besides standard error */
/* Calls fn for the lines after the first *seen of all that were ever written, and moves *seen on.
 * UINT64_MAX: from now on. */
void logring_after(uint64_t *seen, void (*fn)(const char *line, void *arg), void *arg);
/* Calls fn for kept lines, oldest first. `level` enum logger_level, `module` NULL: all. */
void logring_each(int level, const char *module, size_t last,
                  void (*fn)(const char *line, void *arg), void *arg);

#endif
