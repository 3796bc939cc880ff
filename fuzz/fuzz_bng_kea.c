// SPDX-License-Identifier: Apache-2.0
/* What Kea or FRR could answer: JSON into the code that edits configurations and reads statistics,
 * text into the reader of staticd's configuration. What is built must hold what was asked for. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bng/frr.h"
#include "bng/keaconf.h"

static void each(uint32_t id, uint64_t used, uint64_t cumulative, void *arg) {
    if (id == 0) {
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
                                               .lease_s = 100,
                                               .renew_s = 10,
                                               .rebind_s = 20,
                                               .server_address = {4, {100, 64, 0, 1}},
                                               .interface = "e0"};
    struct bng_subnet want[2] = {
        {1000, ip4_prefix(0x0a010000, 24), false, &profile, &profile, "home-default"},
        {1001, ip4_prefix(0x0a010100, 24), true, &profile, &profile, "home-default"},
    };
    static const struct bng_profile six[2] = {{.name = "na",
                                               .family = 6,
                                               .preferred_length = 120,
                                               .lease_s = 30,
                                               .renew_s = 10,
                                               .rebind_s = 20,
                                               .interface = "e0"},
                                              {.name = "pd",
                                               .family = 6,
                                               .preferred_length = 48,
                                               .delegated_length = 56,
                                               .lease_s = 30,
                                               .renew_s = 10,
                                               .rebind_s = 20,
                                               .interface = "e0",
                                               .dns = "2001:db8::53"}};
    struct bng_subnet want6[2] = {
        {1000, {{6, {0x20, 1, 0xd, 0xb8}}, 120}, false, &six[0], &six[0], "na-default"},
        {1001, {{6, {0x20, 1, 0xd, 0xb8, 1}}, 48}, true, &six[1], &six[0], "na-default"},
    };
    char *text = mem_strndup((const char *)data, size);
    struct bng_route routes[8];
    bool complete;
    frr_parse(text, routes, 8, &complete);
    mem_free(text);
    json_t *doc = json_loadb((const char *)data, size, 0, NULL);
    if (doc != NULL) {
        struct bng_foreign foreign[8];
        uint32_t ids[8];
        size_t culprit;
        struct err err = {0};
        bng_keaconf_stats(doc, each, NULL);
        bng_keaconf_foreign(doc, &profile, 1, foreign, 8);
        bng_keaconf_ids(doc, ids, 8);
        for (int k = 0; k < 2; k++) {
            const struct bng_subnet *w = k == 0 ? want : want6;
            bng_keaconf_same(doc, w, 2);
            json_t *out = bng_keaconf_build(doc, k == 0 ? &profile : six, k == 0 ? 1 : 2, w, 2,
                                            &culprit, &err);
            if (out == NULL ? err.text[0] == '\0' : !bng_keaconf_same(out, w, 2)) {
                abort();
            }
            json_decref(out);
        }
        bng_keaconf_take(doc, 7);
    }
    json_decref(doc);
    return 0;
}
