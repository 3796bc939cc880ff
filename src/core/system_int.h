// SPDX-License-Identifier: Apache-2.0
/* What the files of the system service share. */
#ifndef CORE_SYSTEM_INT_H
#define CORE_SYSTEM_INT_H

#include <jansson.h>

#include "base/list.h"
#include "core/system.h"

#define AUDIT_PREFIX "system/audit/"
enum { AUDIT_VERSION = 1 };

struct session {
    struct list link;
    uint64_t id;
    char user[64], dialect[16], from[96];
    int64_t since_s;
    bool configuring;
};
void sessions_each(void (*fn)(const struct session *s, void *arg), void *arg);

struct audit_record { /* as stored; NULL raw: pruned */
    uint8_t *raw;
    size_t len;
};

struct system {
    struct core *core;
    int64_t started_s;
    int utc_offset;                   /* minutes */
    uint32_t delete_objects;          /* guard rail */
    uint64_t audit_first, audit_next; /* numbers kept: first..next-1 */
    struct audit_record *audit;       /* ring of AUDIT_KEPT + slack, by number */
};
void audit_key(uint64_t n, char out[48]);
struct audit_record *audit_slot(struct system *sys, uint64_t n);

/* system_show.c: the answers */
enum err_code system_show(struct system *sys, struct txn *t, struct call *cl, struct err *e);
enum err_code system_look(void *self, struct txn *t, struct look *l, struct err *e);
/* Puts a jansson object into cl->json and releases it. */
void call_answer_json(struct buf *out, json_t *o);

#endif
