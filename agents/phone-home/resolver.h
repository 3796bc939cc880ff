// SPDX-License-Identifier: Apache-2.0
/*
 * Asks DNS and multicast DNS (RFC 1035, RFC 7766, RFC 6762) for what dns_message.h reads: UDP, then
 * TCP when an answer does not fit. Blocks; for threads of tasks.h.
 */
#ifndef PHONE_HOME_RESOLVER_H
#define PHONE_HOME_RESOLVER_H

#include <stdatomic.h>

#include "phone-home/dns_message.h"

enum { RESOLVER_SERVERS_MAX = 4, RESOLVER_DOMAINS_MAX = 8 };

struct resolver {
    struct ip_addr servers[RESOLVER_SERVERS_MAX];
    size_t n_servers;
    uint16_t port; /* 53 */
    char domains[RESOLVER_DOMAINS_MAX][SZTP_NAME_MAX + 1];
    size_t n_domains;
    bool multicast;       /* multicast DNS is asked at all */
    int64_t unicast_ms;   /* for one try at one server; 2,000 */
    int64_t multicast_ms; /* that answers are waited for; 3,000 */
};

/* Adds name servers and search domains of a resolv.conf(5)'s text, as far as there is room; those
 * that are there stay first. */
void resolver_add_conf(struct resolver *r, const void *text, size_t n);
/* Adds one domain, if it is none that is there. */
void resolver_add_domain(struct resolver *r, const char *domain);

/* As dns_answer_parse; ERR_UNAVAILABLE also when nobody answers. `stop` ends it early, with
 * ERR_UNAVAILABLE. */
enum err_code resolver_ask(const struct resolver *r, const char *name, enum dns_type type,
                           bool multicast, const atomic_bool *stop, struct dns_answer *out,
                           struct err *e);

#endif
