// SPDX-License-Identifier: Apache-2.0
/*
 * What an entity may send, against the real service on a real core: the input is a row of messages,
 * each with a 16-bit length before it. A session is opened and synchronised, then they come;
 * msg_ids are put right, for nearly no input would get past the second message otherwise. At the
 * end the entity is released, so that the next input begins where this one did, and every so often
 * all that is allocated is added up.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "probe.h"

static struct rig rig;

static void close_rig(void) {
    rig_close(&rig);
}

static void start(void) {
    logger_set_level(NULL, "error");
    rig_open(&rig, INT64_C(1780000000));
    rig_profile(&rig, "p", 10, 70, ",\"auto-reclamation\":{}");
    rig_match(&rig, "bng1", "p");
    rig_partition(&rig, "a", 8, 28, "{\"prefix\":\"10.0.0.0/16\"}");
    atexit(close_rig);
}

static void one(struct probe *p, const uint8_t *bytes, size_t n) {
    Openapmi__V1__EntityMsg *m = openapmi__v1__entity_msg__unpack(NULL, n, bytes);
    if (m == NULL) {
        probe_send_bytes(p, bytes, n);
        return;
    }
    probe_send(p, m);
    openapmi__v1__entity_msg__free_unpacked(m, NULL);
}

/* proves: A13 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned runs;
    struct probe p;
    if (rig.core == NULL) {
        start();
    }
    probe_init(&p, &rig, "bng1");
    probe_connect_empty(&p);
    struct cur c = cur_of(data, size);
    while (cur_left(&c) >= 2 && !p.ended) {
        size_t n = cur_u16(&c);
        n = n < cur_left(&c) ? n : cur_left(&c);
        one(&p, cur_bytes(&c, n), n);
    }
    rig_pass(&rig, NS_PER_S);
    if (runs++ % 64 == 0) {
        rig_verify(&rig);
    }
    probe_free(&p);
    rig_call(&rig, NULL, NULL, NULL, "release-entity", "entity", "bng1", NULL);
    return 0;
}
