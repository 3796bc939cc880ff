// SPDX-License-Identifier: Apache-2.0
/*
 * Work that blocks (names, connections, media that don't answer), each on a thread of its own,
 * begun and ended on the loop.
 */
#ifndef PHONE_HOME_TASKS_H
#define PHONE_HOME_TASKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"

enum { TASKS_MAX = 32 };

struct tasks;
struct tasks *tasks_new(struct loop *l);
/* Asks all to stop and waits for them; their `end` is called as if cancelled. NULL is allowed. */
void tasks_free(struct tasks *t);

/* `run` on the thread, which looks at `stop` at least once a second; `end` on the loop, never from
 * inside this call, with cancelled true when tasks_cancel named it: it frees `job`. Where there are
 * too many at once, or no thread can be had, `end` comes without `run`. */
void tasks_start(struct tasks *t, uint64_t order, void (*run)(void *job, const atomic_bool *stop),
                 void (*end)(void *job, bool cancelled), void *job);
/* All of that order. */
void tasks_cancel(struct tasks *t, uint64_t order);

#endif
