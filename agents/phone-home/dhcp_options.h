// SPDX-License-Identifier: Apache-2.0
/*
 * What DHCP says about bootstrapping, as a pure parser: options 143 of DHCPv4 and 136 of DHCPv6
 * (RFC 8572 section 8, PH-160, PH-161), and the options of the older provisioning by DHCP (PH-092).
 */
#ifndef PHONE_HOME_DHCP_OPTIONS_H
#define PHONE_HOME_DHCP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/conveyed.h"

enum {
    DHCP4_REDIRECT = 143, /* OPTION_V4_SZTP_REDIRECT */
    DHCP6_REDIRECT = 136, /* OPTION_V6_SZTP_REDIRECT */
    DHCP_OPTION_MAX = 65535,
};

/* What one lease says. */
struct dhcp_offer {
    struct buf redirect; /* content of option 143 or 136, instances put together; empty: none */
    bool has_redirect;
    bool legacy; /* 43 with sub-options, 66, 67 or 150: the device's older provisioning (PH-092) */
};
void dhcp_offer_free(struct dhcp_offer *o);

/* "https://HOST[:PORT]" and nothing behind it (PH-160); HOST is a name, an IPv4 address or an IPv6
 * address in brackets. `path_ok`: what follows the authority is cut off instead (PH-161), and *cut
 * (may be NULL) says so. On success `out` has address (without brackets) and port, no anchor.
 * ERR_INVALID with the reason, ERR_TOO_BIG. */
enum err_code sztp_uri_parse(const char *uri, size_t n, bool path_ok, struct sztp_server *out,
                             bool *cut, struct err *e);

/* The option's content (RFC 8572 section 8.3): repeated uint16 length and URI. Entries that are no
 * such URI are passed over; `text` is true when the whole was plain text instead (PH-161). At most
 * `max` servers go to `out`, in order. ERR_MALFORMED: no entry is valid, and the option counts as
 * not there; the error's text says what was wrong with the first. */
enum err_code dhcp_redirect_parse(const void *p, size_t n, struct sztp_server *out, size_t max,
                                  size_t *n_out, bool *text, struct err *e);

/* A DHCPv4 message as received (RFC 2131 section 2), such as a client keeps it as its lease.
 * Instances of an option are put together in the order of RFC 3396: the options field, then, when
 * overloaded, `file` and `sname`. ERR_MALFORMED. */
enum err_code dhcp4_message_parse(const void *p, size_t n, struct dhcp_offer *out, struct err *e);

/* Notes one option of a lease, as if it stood in a message. `code` of DHCPv4; option 43 counts as
 * provisioning only when it has a sub-option. */
void dhcp4_offer_option(struct dhcp_offer *o, unsigned code, const void *p, size_t n);

#endif
