// SPDX-License-Identifier: Apache-2.0
/* Rules for passwords that are set (`system settings passwords`). */
#ifndef CORE_PASSWORDS_H
#define CORE_PASSWORDS_H

#include "core/rights.h"

/* ERR_INVALID with the rule that `password` breaks. Slow when former ones are looked at: in a
 * worker. `user`: whose it is to be; nobody of that name: only the rules that need no user. */
enum err_code password_check(const struct snap *s, const char *user, const char *password,
                             int64_t now_s, struct err *e);
/* When the user's password ends, UTC seconds: 0 when it has to be changed anyway, INT64_MAX: never,
 * or there is none. *warn_s: how long before that people are told. */
int64_t password_ends(const struct snap *s, const char *user, int64_t *warn_s);
/* Puts the present hash of `user`, a jansson object that is changed, among the former ones, of
 * which as many are kept as the rules say. */
void password_retire(const struct snap *s, void *user);

#endif
