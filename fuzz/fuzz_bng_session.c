// SPDX-License-Identifier: Apache-2.0
/* What a manager can send to the gateway's agent: messages, each after a length byte pair, into an
 * engine that is synchronised as far as the input takes it. Whatever comes, the tables stay sound.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/logger.h"
#include "base/mem.h"
#include "bng/engine.h"

struct seen {
    bool ended;
};

static void on_send(void *arg, const uint8_t *p, size_t n) {
}
static void on_end(void *arg, const char *why) {
    ((struct seen *)arg)->ended = true;
}
static void on_save(void *arg, const char *key, json_t *doc) {
    json_decref(doc);
}
static bool on_commit(void *arg) {
    return true;
}
static void on_changed(void *arg, bool urgent) {
}
/* Which manager it is, and which one it is to go to. */
static void on_node(void *arg, const char *node) {
    (void)arg;
    if (strnlen(node, 1 << 20) == 1 << 20) {
        abort();
    }
}

static void quiet(enum logger_level l, const char *m, const char *line, void *arg) {
}

static void sound(const struct bng_engine *e) {
    size_t pools = 0;
    for (size_t i = 0; i < bng_engine_domains(e); i++) {
        const struct bng_domain *d = bng_engine_domain(e, i);
        for (size_t j = 0; j < d->n_pools; j++, pools++) {
            if (!ip_prefix_aligned(&d->pools[j]->prefix) ||
                bng_engine_subnet(e, d->pools[j]->subnet_id) != d->pools[j]) {
                abort();
            }
            for (size_t k = 0; k < j; k++) {
                if (ip_prefix_overlaps(&d->pools[j]->prefix, &d->pools[k]->prefix)) {
                    abort();
                }
            }
        }
    }
    if (pools > 8) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct bng_profile profile = {.name = "home",
                                               .routing_instance = "default",
                                               .partition = "p",
                                               .family = 4,
                                               .preferred_length = 24,
                                               .gateway_octet = 1,
                                               .hold_down_s = 1,
                                               .interface = "e0"};
    struct seen seen = {0};
    struct bng_settings settings = {.system_id = "bng1",
                                    .max_pools = 8,
                                    .routes = true,
                                    .first_subnet_id = 1,
                                    .profiles = &profile,
                                    .n_profiles = 1};
    struct bng_host host = {.send = on_send,
                            .end_session = on_end,
                            .save = on_save,
                            .commit = on_commit,
                            .changed = on_changed,
                            .manager = on_node,
                            .move = on_node,
                            .arg = &seen};
    struct clock clock;
    clock_fake_init(&clock, INT64_C(1790000000) * NS_PER_S);
    logger_set_sink(quiet, NULL);
    logger_set_level(NULL, "error"); /* formatting lines nobody reads would be most of the work */
    struct bng_engine *e = bng_engine_new(&clock, &settings, &host);
    struct err err;
    bng_engine_start(e, &err);
    bng_engine_connected(e);
    struct cur c = cur_of(data, size);
    while (cur_left(&c) > 2) {
        uint16_t head = cur_u16(&c);
        size_t n = head & 0x3ff;
        n = n < cur_left(&c) ? n : cur_left(&c);
        const uint8_t *p = cur_bytes(&c, n);
        bng_engine_message(e, p, n);
        if (head & 0x8000) {
            bng_engine_routes_applied(e, bng_engine_generation(e));
        }
        if (head & 0x4000) {
            bng_engine_dhcp_applied(e, 4, bng_engine_generation(e));
        }
        if (head & 0x2000) {
            clock_fake_advance(&clock, 40 * NS_PER_S);
        }
        if (head & 0x1000) {
            for (uint32_t id = 1; id < 10; id++) {
                bng_engine_count(e, id, head & 0x400 ? 200 : 0, 5);
            }
        }
        bng_engine_tick(e);
        if (seen.ended && head & 0x800) {
            seen.ended = false;
            bng_engine_disconnected(e);
            bng_engine_connected(e);
        }
        sound(e);
    }
    bng_engine_free(e);
    return 0;
}
