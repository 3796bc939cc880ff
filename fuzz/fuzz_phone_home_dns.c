// SPDX-License-Identifier: Apache-2.0
/* Answers of name servers and of anybody who answers to multicast; the first byte says to what. */
#include <stdlib.h>

#include "phone-home/dns_message.h"

/* proves: PH-162 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"SN1._sztp.local", "_sztp._tcp.local", "phs.local"};
    struct dns_answer a;
    struct err e = {0};
    struct rng rng;
    if (size < 1) {
        return 0;
    }
    enum dns_type type = (enum dns_type)(data[0] % 3);
    bool multicast = (data[0] & 4) != 0;
    rng_seed(&rng, 1);
    enum err_code rc =
        dns_answer_parse(data + 1, size - 1, names[type], type, multicast, 7, &rng, &a, &e);
    if (rc != ERR_OK) {
        if (e.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (!a.truncated && !a.found) {
        abort();
    }
    dns_answer_free(&a);
    return 0;
}
