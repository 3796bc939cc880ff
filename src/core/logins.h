// SPDX-License-Identifier: Apache-2.0
/*
 * Failed logins in the audit trail, without letting those who fail decide how much is written: the
 * first failure of a user from a source is recorded at once, those that follow once a minute with
 * their number, and more users and sources than LOGINS_SLOTS in one number. What can't be written
 * (a full disk, a node that follows) is counted on and written later. Records have a trail of their
 * own, so that a flood of them displaces nothing else.
 *
 * A name that is nobody's is not kept: now and then it is a password, typed into the wrong field.
 */
#ifndef CORE_LOGINS_H
#define CORE_LOGINS_H

#include "core/core.h"

enum {
    LOGINS_SLOTS = 32,  /* users and sources told apart in a minute */
    LOGINS_EVERY_S = 60 /* between two records about the same ones */
};

struct logins;

/* From any thread. `user` NULL: nobody's name. `source` as in struct actor; ports are left out.
 * `why` without secrets; it must stay. */
void login_failed(struct core *c, const char *user, const char *source, const char *why);

struct logins *logins_new(struct core *c);
/* Queues what is not recorded yet; `all`: also what waits for its minute to be over. */
void logins_flush(struct logins *l, bool all);
void logins_free(struct logins *l); /* NULL is allowed */

#endif
