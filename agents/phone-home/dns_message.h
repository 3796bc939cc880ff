// SPDX-License-Identifier: Apache-2.0
/*
 * The DNS messages of discovery (RFC 8572 section 4.2, PH-162), of unicast and multicast DNS: made
 * and read, without I/O. TXT <serial>._sztp.<domain> has artifacts, SRV _sztp._tcp.<domain>
 * servers.
 */
#ifndef PHONE_HOME_DNS_MESSAGE_H
#define PHONE_HOME_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/rng.h"
#include "sztp/conveyed.h"

enum {
    DNS_MESSAGE_MAX = 65535,
    MDNS_MESSAGE_MAX = 9000, /* RFC 6762 section 17 */
    DNS_EDNS_SIZE = 1232,
    DNS_ADDRESSES_MAX = 8,
    DNS_NAME_TEXT_MAX = 1024, /* of a name with its escapes */
};
enum dns_type { DNS_TXT, DNS_SRV, DNS_ADDRESS };

struct dns_answer {
    bool truncated; /* ask again over TCP; nothing else is filled in */
    bool found;     /* something of what was asked for is in it */
    /* TXT: keys ci, oc, ov; empty: not there */
    struct buf ci, owner, voucher;
    /* SRV, best first */
    struct sztp_server *servers;
    size_t n_servers;
    /* ADDRESS */
    struct ip_addr addresses[DNS_ADDRESSES_MAX];
    size_t n_addresses;
};
void dns_answer_free(struct dns_answer *a);

/* "<serial>._sztp.<domain>" in the text form of names, what is special in the serial escaped. */
enum err_code dns_serial_name(const char *serial, const char *domain, char out[DNS_NAME_TEXT_MAX],
                              struct err *e);

/* A query for `name`. Multicast: id 0, no recursion, no EDNS; a SRV query then also asks for
 * PTR, which is how services are announced with an instance's name (RFC 6763). ERR_INVALID: no
 * name. */
enum err_code dns_query_print(const char *name, enum dns_type type, bool multicast, uint16_t id,
                              struct buf *out, struct err *e);

/* What a message says to that query. ERR_MALFORMED: no DNS, or not the answer to it (another id or
 * question); ERR_ABSENT: there is no such name or no such record; ERR_UNAVAILABLE: the server
 * could not say. `rng` draws among servers of one priority by weight (RFC 2782). Multicast answers
 * need not repeat the question, and may have other services' records. */
enum err_code dns_answer_parse(const void *p, size_t n, const char *name, enum dns_type type,
                               bool multicast, uint16_t id, struct rng *rng, struct dns_answer *out,
                               struct err *e);

#endif
