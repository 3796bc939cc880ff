// SPDX-License-Identifier: Apache-2.0
/* Which lines of a configuration may give members other roles (PH-055), by words that are looked
 * for without regard to case. At most 20 lines are told, one line each in `out`. */
#ifndef PHONE_HOME_PLATFORM_LINT_H
#define PHONE_HOME_PLATFORM_LINT_H

#include <stddef.h>

#include "base/buf.h"

void platform_lint(const char *const *words, size_t n_words, const void *config, size_t n,
                   struct buf *out);

#endif
