// SPDX-License-Identifier: Apache-2.0
/* Rules for passwords that are set (`system settings passwords`). */
#ifndef CORE_PASSWORDS_H
#define CORE_PASSWORDS_H

#include "core/rights.h"

/* ERR_INVALID with the rule that `password` breaks. Slow when former ones are looked at: in a
 * worker. `user`: whose it is to be; nobody of that name: only the rules that need no user. */
enum err_code password_check(const struct snap *s, const char *user, const char *password,
                             struct err *e);
/* Puts the present hash of `user`, a jansson object that is changed, among the former ones, of
 * which as many are kept as the rules say. */
void password_retire(const struct snap *s, void *user);

#endif
