// SPDX-License-Identifier: Apache-2.0
/*
 * Leases of DHCP clients, as they keep them in files: dhclient's text of IPv4 and IPv6
 * (dhclient.leases(5)), and what our hook of it writes, which is the same; or one DHCPv4 message,
 * as dhcpcd keeps it. Pure parsers; source.c knows which files there are.
 */
#ifndef PHONE_HOME_LEASE_H
#define PHONE_HOME_LEASE_H

#include "phone-home/dhcp_options.h"

enum {
    LEASE_FILE_MAX = 4 << 20,
    LEASE_INTERFACES_MAX = 64,
    LEASE_DOMAINS_MAX = 8,
    LEASE_INTERFACE_NAME_MAX = 15
};

/* The latest lease of one interface and family. */
struct lease {
    char interface[LEASE_INTERFACE_NAME_MAX + 1]; /* "" when the file does not say */
    unsigned family;                              /* 4 or 6 */
    struct dhcp_offer offer;
    char domains[LEASE_DOMAINS_MAX][SZTP_NAME_MAX + 1]; /* domain-name, domain-search */
    size_t n_domains;
};
struct leases {
    struct lease *list;
    size_t n;
};
void leases_free(struct leases *l);

/* Adds the leases of a file's contents. Of those of one interface and family the last one counts,
 * here and over several calls; one that is over at `now_s` (seconds since 1970; 0: not known) or
 * was released removes it. `name` is the file's, for errors: ERR_MALFORMED with the line; what was
 * read before stays. */
enum err_code leases_parse(struct leases *l, const char *name, const void *p, size_t n,
                           int64_t now_s, struct err *e);

#endif
