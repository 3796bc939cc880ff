// SPDX-License-Identifier: Apache-2.0
/*
 * Logins that PAM decides (`system settings authentication`). PAM's modules run in a process of
 * their own, weft-pam: they may hang, crash, and talk to a directory as long as they like, and are
 * killed at the deadline. A worker waits for it, never a loop.
 */
#ifndef CORE_PAM_H
#define CORE_PAM_H

#include "base/buf.h"
#include "base/err.h"

enum {
    PAM_RUNNING_MAX = 4, /* at once: fewer than there are threads for logins, so that the users whom
                          * we know ourselves don't wait for a directory that is slow */
};

/* Looks for weft-pam: beside this program, or where it is installed. Once, before the first login;
 * without it PAM can't be asked. */
void pam_find(void);
/* Blocks for up to timeout_s seconds. ERR_OK: PAM lets `user` in, `groups` gets the names of his
 * groups, a line each. ERR_AUTH: it doesn't; ERR_UNAVAILABLE: it could not be asked. The reason is
 * for the log alone. `from`: the peer's address. */
enum err_code pam_ask(const char *service, unsigned timeout_s, const char *user,
                      const char *password, const char *from, struct buf *groups, struct err *e);

#endif
