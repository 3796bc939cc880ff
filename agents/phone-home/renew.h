// SPDX-License-Identifier: Apache-2.0
/*
 * A certificate that the owner's authority gave to the device (RFC 9646) is renewed by re-enrolment
 * (RFC 7030 section 4.2.2): with a key that is made here, at a server that is shown the old one.
 */
#ifndef PHONE_HOME_RENEW_H
#define PHONE_HOME_RENEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct renew_order {
    const char *certificate, *key; /* PEM files; both are replaced, with their owner and mode.
                                      Behind the certificate others may stand, which stay */
    const char *server;            /* https://HOST[:PORT] */
    const char *anchors;           /* PEM: whom the server's certificate is checked with */
    bool if_due; /* only when two thirds of the time of the certificate are over */
};
struct renew_result {
    bool renewed;   /* false: it was not due */
    int64_t ends_s; /* of the certificate that is there now; seconds since 1970 */
};
/* Blocks for up to a minute. After an error the old certificate and key are in place, or, when
 * power is lost between the two, the next call puts them right. ERR_REFUSED: the server says no,
 * or it has ended, and only bootstrapping gives another. */
enum err_code renew(const struct renew_order *o, struct renew_result *out, struct err *e);
/* When two thirds of that time are over; seconds since 1970. */
int64_t renew_due_s(int64_t from_s, int64_t to_s);

#endif
