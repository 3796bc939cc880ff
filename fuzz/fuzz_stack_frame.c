// SPDX-License-Identifier: Apache-2.0
/* What can come over a VCP link: frames, each after two bytes of length and flags, into a member
 * that has a neighbour. Whatever comes, what it knows stays sound and is printed as it was read. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "phone-home/stack/engine.h"

struct seen {
    uint64_t ticket;
    bool finished;
};

static void on_send(void *arg, unsigned link, const void *p, size_t n) {
    struct stack_frame f;
    if (n > STACK_FRAME_MAX || stack_frame_read(p, n, &f, NULL) != ERR_OK) {
        abort(); /* what we send, we can read */
    }
}
static void on_save(void *arg, const void *p, size_t n) {
}
static void on_changed(void *arg) {
}
static bool on_read(void *arg, uint64_t order, uint64_t offset, void *p, size_t n) {
    memset(p, 0, n);
    return offset < 100000;
}
static uint64_t on_part(void *arg, enum stack_file file, const uint8_t digest[STACK_DIGEST]) {
    return digest[0] * 100U;
}
static bool on_write(void *arg, enum stack_file file, uint64_t offset, const void *p, size_t n) {
    return offset < (1 << 20);
}
static void on_finish(void *arg, uint64_t ticket, enum stack_file file,
                      const uint8_t digest[STACK_DIGEST], uint64_t size, const char *text) {
    struct seen *s = arg;
    s->ticket = ticket;
    s->finished = true;
}
static void on_reboot(void *arg, bool zeroize) {
}
static void on_done(void *arg, uint64_t order, const struct err *e) {
}
static void on_log(void *arg, const char *line) {
}

static void sound(const struct stack_engine *g) {
    struct stack_member m[2 * STACK_MEMBERS_MAX];
    size_t n = stack_engine_members(g, m, 2 * STACK_MEMBERS_MAX), primaries = 0;
    unsigned taken = 0;
    for (size_t i = 0; i < n; i++) {
        primaries += m[i].role == STACK_PRIMARY;
        if (m[i].id >= 0) {
            if (m[i].id >= STACK_MEMBERS_MAX || (taken & 1U << m[i].id) != 0) {
                abort();
            }
            taken |= 1U << m[i].id;
        }
    }
    if (n == 0 || primaries > 1) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct seen seen = {0};
    struct stack_host host = {on_send,   on_save,   on_changed, on_read, on_part, on_write,
                              on_finish, on_reboot, on_done,    on_log,  &seen};
    struct stack_settings s;
    struct stack_engine *g;
    stack_settings_default(&s);
    memcpy(s.serial, "S0", 3);
    memcpy(s.model, "m", 2);
    memcpy(s.os_name, "o", 2);
    memcpy(s.os_version, "1", 2);
    memcpy(s.ports[0], "v0", 3);
    memcpy(s.ports[1], "v1", 3);
    s.n_links = 2;
    int64_t now = 1000;
    if (stack_engine_new(&s, &host, NULL, 0, now, &g, NULL) != ERR_OK) {
        abort();
    }
    stack_engine_ready(g, now, true);
    /* A neighbour that hears us, so that the rest is looked at. */
    struct stack_frame hello = {.type = STACK_HELLO};
    memcpy(hello.u.hello.serial, "S1", 3);
    memcpy(hello.u.hello.port, "v0", 3);
    hello.u.hello.incarnation = 1;
    memcpy(hello.u.hello.heard, "S0", 3);
    hello.u.hello.heard_incarnation = 1;
    struct buf b = BUF_INIT;
    stack_frame_write(&hello, &b);
    stack_engine_frame(g, now, 1, b.data, b.len);
    buf_free(&b);
    struct cur c = cur_of(data, size);
    while (cur_left(&c) > 2) {
        uint16_t head = cur_u16(&c);
        size_t n = head & 0x7ff;
        n = n < cur_left(&c) ? n : cur_left(&c);
        stack_engine_frame(g, now, head >> 15, cur_bytes(&c, n), n);
        if (head & 0x4000) {
            now += 2500;
        }
        if (head & 0x2000) {
            uint8_t digest[STACK_DIGEST] = {0};
            int ids[] = {0, 1};
            stack_engine_send(g, now, 1, STACK_FILE_RECORD, 0, 5000, digest, "");
            stack_engine_reboot(g, now, 2, ids, 2, false);
            stack_engine_freeze(g, now, 3, true);
        }
        if (seen.finished) {
            seen.finished = false;
            stack_engine_finished(g, now, seen.ticket, NULL);
        }
        stack_engine_tick(g, now);
        sound(g);
    }
    stack_engine_free(g);
    return 0;
}
