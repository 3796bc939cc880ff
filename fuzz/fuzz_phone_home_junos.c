// SPDX-License-Identifier: Apache-2.0
/* What a Junos device answers: the first octet says which answer it is read as; and configurations
 * that are conveyed for one. What was read can't have grown beyond its places. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "phone-home/platform_junos_config.h"

static void check(const struct junos_state *s) {
    if (s->n_members > SZTP_MEMBERS_MAX || s->own >= SZTP_MEMBERS_MAX ||
        memchr(s->serial, '\0', sizeof s->serial) == NULL ||
        memchr(s->os_version, '\0', sizeof s->os_version) == NULL) {
        abort();
    }
    for (size_t i = 0; i < s->n_members; i++) {
        const struct platform_member *m = &s->members[i];
        if (m->id < 0 || m->id >= SZTP_MEMBERS_MAX ||
            memchr(m->os_version, '\0', sizeof m->os_version) == NULL) {
            abort();
        }
    }
}

static void read_all(const struct dom *reply) {
    struct junos_state s = {.own = -1};
    struct junos_history h;
    struct buf b = BUF_INIT;
    struct err e;
    junos_read_system(reply, &s, &e);
    junos_read_members(reply, &s, &e);
    junos_read_versions(reply, &s, &e);
    junos_read_configuration(reply, &s, &e);
    check(&s);
    junos_read_output(reply, "rpc", &e);
    junos_read_done(reply, "rpc", &e);
    junos_read_history(reply, &h, &e);
    junos_body_freeze(&s, &b);
    buf_free(&b);
}

/* A conveyed configuration never ends the message that it is put into. */
static void load(const uint8_t *data, size_t size) {
    struct buf b = BUF_INIT;
    struct err e;
    if (junos_body_load(data, size, SZTP_MERGE, &b, &e) == ERR_OK &&
        memmem(b.data, b.len, "]]>]]>", 6) != NULL) {
        abort();
    }
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *a = arena_new();
    struct buf warnings = BUF_INIT;
    const struct dom *reply;
    struct err e;
    if (size > 0 && data[0] == 'h') {
        junos_hello_parse(data + 1, size - 1, &e);
    } else if (size > 0 && data[0] == 'c') {
        load(data + 1, size - 1);
    } else if (junos_reply_parse(data, size, "rpc", 1, size % 2 == 0, a, &reply, &warnings, &e) ==
               ERR_OK) {
        read_all(reply);
    }
    buf_free(&warnings);
    arena_free(a);
    return 0;
}
