// SPDX-License-Identifier: Apache-2.0
/* DHCP as it comes: messages, files of leases, the content of the options. */
#include <stdlib.h>

#include "phone-home/lease.h"

static void content(const void *p, size_t n) {
    static struct sztp_server servers[SZTP_SERVERS_MAX];
    struct err e = {0};
    size_t count;
    bool text;
    enum err_code rc = dhcp_redirect_parse(p, n, servers, SZTP_SERVERS_MAX, &count, &text, &e);
    if ((rc == ERR_OK) != (count > 0) || (rc != ERR_OK && e.text[0] == '\0')) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        if (servers[i].address[0] == '\0' || servers[i].port == 0) {
            abort();
        }
    }
}

/* proves: PH-160 PH-161 PH-092 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dhcp_offer o;
    struct leases l = {0};
    struct err e = {0};
    content(data, size);
    if (dhcp4_message_parse(data, size, &o, &e) == ERR_OK) {
        content(o.redirect.data, o.redirect.len);
        dhcp_offer_free(&o);
    }
    if (leases_parse(&l, "f", data, size, 1795836049, &e) != ERR_OK && e.text[0] == '\0') {
        abort();
    }
    for (size_t i = 0; i < l.n; i++) {
        content(l.list[i].offer.redirect.data, l.list[i].offer.redirect.len);
    }
    leases_free(&l);
    return 0;
}
