// SPDX-License-Identifier: Apache-2.0
#include "phone-home/engine.h"

#include <string.h>

const char *phc_state_name(enum phc_state s) {
    static const char *const names[] = {
#define X(name) #name,
        PHC_STATES(X)
#undef X
    };
    return names[s];
}

const char *phc_source_name(enum phc_source s) {
    static const char *const names[PHC_SOURCES] = {"removable storage", "DNS", "DHCP",
                                                   "configured servers"};
    return s < PHC_SOURCES ? names[s] : ""; /* between two rounds there is none */
}

void phc_config_default(struct phc_config *c) {
    memset(c, 0, sizeof *c);
    c->redirects_max = 10;
    c->detection_ms = 1800 * 1000;
    c->settle_ms = 5 * 1000;
    c->script_ms = 600 * 1000;
    c->confirm_ms = 120 * 1000;
    c->backoff_min_ms = 5 * 1000;
    c->backoff_max_ms = 300 * 1000;
    c->record_max_age_ms = 2 * 3600 * 1000;
    c->precedence = PHC_PRECEDENCE_AUTO;
    c->checksum_rounds = 3;
}
