// SPDX-License-Identifier: Apache-2.0
/* The decoders of pools' state records; the first byte chooses one. What decodes must encode to
 * something that decodes to the same again. */
#include <stdlib.h>
#include <string.h>

#include "pools/internal.h"

static void same(const struct buf *a, const struct buf *b) {
    if (a->len != b->len || (a->len > 0 && memcmp(a->data, b->data, a->len) != 0)) {
        abort();
    }
}

#define ROUND_TRIP(type, decode, encode, release)                                                  \
    do {                                                                                           \
        type one, two;                                                                             \
        struct buf a = BUF_INIT, b = BUF_INIT;                                                     \
        if (decode(data, size, &one, &e) == ERR_OK) {                                              \
            encode(&one, &a);                                                                      \
            if (decode(a.data, a.len, &two, &e) != ERR_OK) {                                       \
                abort();                                                                           \
            }                                                                                      \
            encode(&two, &b);                                                                      \
            same(&a, &b);                                                                          \
            release(&one);                                                                         \
            release(&two);                                                                         \
        }                                                                                          \
        buf_free(&a);                                                                              \
        buf_free(&b);                                                                              \
    } while (0)

static void answer_release(struct answer_rec *r) {
}

static void sample_release(struct sample *s) {
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err e;
    if (size == 0) {
        return 0;
    }
    uint8_t which = data[0];
    data++;
    size--;
    switch (which % 7) {
    case 0:
        ROUND_TRIP(struct entity_rec, entity_rec_decode, entity_rec_encode, entity_rec_free);
        break;
    case 1:
        ROUND_TRIP(struct domain_rec, domain_rec_decode, domain_rec_encode, domain_rec_free);
        break;
    case 2:
        ROUND_TRIP(struct pool_rec, pool_rec_decode, pool_rec_encode, pool_rec_free);
        break;
    case 3:
        ROUND_TRIP(struct alarm, alarm_rec_decode, alarm_rec_encode, alarm_clear);
        break;
    case 4:
        ROUND_TRIP(struct answer_rec, answer_rec_decode, answer_rec_encode, answer_release);
        break;
    case 5:
        ROUND_TRIP(struct drift, drift_rec_decode, drift_rec_encode, drift_rec_free);
        break;
    default:
        ROUND_TRIP(struct sample, sample_rec_decode, sample_rec_encode, sample_release);
        break;
    }
    return 0;
}
