// SPDX-License-Identifier: Apache-2.0
/* What the tests of the log share: a directory of their own and assertions with the error's text.
 */
#ifndef LOG_TESTING_H
#define LOG_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "log/log.h"

extern struct err e_;
#define OK(expr)                                                                                   \
    do {                                                                                           \
        e_ = (struct err){0};                                                                      \
        if ((expr) != ERR_OK) {                                                                    \
            fail_msg("%s: %s: %s: %s", #expr, err_code_name(e_.code), e_.path, e_.text);           \
        }                                                                                          \
    } while (0)
#define FAILS(expr, want)                                                                          \
    do {                                                                                           \
        e_ = (struct err){0};                                                                      \
        enum err_code rc_ = (expr);                                                                \
        if (rc_ != (want) || e_.code != (want) || e_.text[0] == '\0') {                            \
            fail_msg("%s: %s, not %s: %s", #expr, err_code_name(rc_), err_code_name(want),         \
                     e_.text);                                                                     \
        }                                                                                          \
    } while (0)

/* A new directory under /tmp, removed with all in it by testing_remove. */
void testing_dir(char out[64]);
void testing_remove(const char *dir);
void testing_copy(const char *from, const char *to);

void testing_quiet(void); /* log lines go nowhere */

struct log_op testing_put(uint8_t space, const char *key, const char *value);

#endif
