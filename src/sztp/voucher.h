// SPDX-License-Identifier: Apache-2.0
/*
 * Ownership vouchers: RFC 8366 section 5, and what RFC 8366bis adds as far as a reader must bear
 * it (leaves that it does not know are no error).
 */
#ifndef SZTP_VOUCHER_H
#define SZTP_VOUCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/cms.h"

enum voucher_assertion { VOUCHER_VERIFIED = 1, VOUCHER_LOGGED = 2, VOUCHER_PROXIMITY = 4 };
enum { VOUCHER_NONCE_MIN = 8, VOUCHER_NONCE_MAX = 32, VOUCHER_ISSUER_MAX = 64 };

struct voucher {
    int64_t created_on;   /* seconds since 1970 */
    int64_t expires_on;   /* 0: not said */
    int64_t last_renewal; /* 0: not said */
    enum voucher_assertion assertion;
    char serial[CMS_SERIAL_MAX + 1];
    uint8_t issuer[VOUCHER_ISSUER_MAX]; /* idevid-issuer: octets of an authority key identifier */
    size_t issuer_len;                  /* 0: not said */
    struct buf pinned;                  /* pinned-domain-cert, DER */
    bool check_revocation;              /* domain-cert-revocation-checks */
    uint8_t nonce[VOUCHER_NONCE_MAX];
    size_t nonce_len; /* 0: none */
};
void voucher_free(struct voucher *v);
const char *voucher_assertion_name(enum voucher_assertion a); /* "verified"; "" none */
bool voucher_assertion_parse(const char *name, enum voucher_assertion *out);

/* The JSON document. Clauses of RFC 8366 5.3 are checked (mandatory leaves, expires-on and nonce
 * exclude each other, last-renewal-date needs expires-on); `path` of the error is the leaf. */
enum err_code voucher_parse(const void *json, size_t n, struct voucher *out, struct err *e);
void voucher_print(const struct voucher *v, struct buf *json);

/* A signed one: JSON in CMS, .vcj (application/voucher-cms+json). What RFC 8366 section 5.3 asks of
 * who signs is looked at first, so also that it ends before the pinned certificate does; `path` of
 * the error is the leaf. */
enum err_code voucher_issue(const struct voucher *v, const struct cms_key *masa, struct buf *vcj,
                            struct err *e);

#endif
