// SPDX-License-Identifier: Apache-2.0
/*
 * Core's doors for a thread that may wait: a worker which serves one request from its beginning to
 * its end. Each call returns when the writer has answered. `pump` (NULL: core has threads) is what
 * moves an unthreaded core meanwhile.
 */
#ifndef NORTH_BLOCKING_H
#define NORTH_BLOCKING_H

#include "core/core.h"

struct blocking {
    struct core *core;
    void (*pump)(void *arg);
    void *pump_arg;
};

void blocking_change(const struct blocking *b, struct change *ch);
void blocking_call(const struct blocking *b, struct call *cl);
void blocking_look(const struct blocking *b, struct look *l);
/* core_confirm and core_confirm_cancel (core.h). */
enum err_code blocking_confirm(const struct blocking *b, const struct actor *who,
                               const struct confirmer *by, struct err *e);
enum err_code blocking_confirm_cancel(const struct blocking *b, const struct actor *who,
                                      const struct confirmer *by, struct err *e);

#endif
