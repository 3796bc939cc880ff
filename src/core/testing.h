// SPDX-License-Identifier: Apache-2.0
/*
 * What core's tests share: a core on a new store under a fake clock, and a small service, the book.
 * It keeps records book/KEY in a map, has one target, and does in complete() and check() what the
 * test says.
 */
#ifndef CORE_TESTING_H
#define CORE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/service.h"
#include "core/system.h"
#include "core/target.h"
#include "core/txn.h"
#include "model/kinds.h"

#define PROFILES "/weft-apm:apm/pool-domain-profile"

struct book {
    struct core *core;
    struct map records; /* KEY -> struct buf * */
    size_t profiles;    /* folded from the configuration */
    uint64_t value_sum; /* of their apportion thresholds */
    struct target_session *target;
    uint64_t sent;
    size_t sends;
};

struct testing {
    struct model *model;
    struct clock clock;
    struct core *core;
    struct book *book;
    char folder[64], store[160];
    bool threaded; /* on the real clock, then */
    uint64_t log_kept;
    /* What the book does. */
    enum err_code (*complete)(struct txn *t, struct err *e);
    bool refuse, touches, stopped;
    bool no_target; /* the book makes none at its start */
};
extern struct testing testing;

void testing_open(void);
void testing_close(void);
int testing_setup(void **state);
int testing_teardown(void **state);
void testing_last(void); /* at the end of the program */

/* One profile; a threshold of `apportion`. Ready to run. */
struct change *testing_profile(enum edit_op op, const char *name, unsigned apportion);
enum err_code testing_run(struct change *ch); /* until it is done; the change stays */
void testing_must(struct change *ch);         /* ... succeeds, and is freed */
enum err_code testing_fails(struct change *ch);
unsigned testing_apportion_in(const struct snap *s, const char *name); /* 0: no such profile */
unsigned testing_apportion(const char *name);                          /* now */
void testing_advance(int64_t ns);
/* Runs an rpc with a JSON body; the call stays the caller's. */
struct call *testing_call(const struct actor *who, const struct node *rpc, const char *body);

void book_put(struct txn *t, const char *key, const char *value); /* NULL: delete */
const char *book_get(const char *key);                            /* NULL: none */

#endif
