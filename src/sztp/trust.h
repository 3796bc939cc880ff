// SPDX-License-Identifier: Apache-2.0
/*
 * Whether signed data may be believed: RFC 8572 section 5.4 and 5.5, clause by clause (PH-142).
 */
#ifndef SZTP_TRUST_H
#define SZTP_TRUST_H

#include "sztp/cms.h"
#include "sztp/voucher.h"

/* The first clause that did not hold, in the order in which they are looked at. Names are part of
 * what devices report and tests compare: trust_clause_name. */
#define TRUST_CLAUSES(X)                                                                           \
    X(OK, "ok")                                                                                    \
    X(VOUCHER_FORM, "voucher-form")                                                                \
    X(VOUCHER_SIGNATURE, "voucher-signature")                                                      \
    X(VOUCHER_FUTURE, "voucher-created-on")                                                        \
    X(VOUCHER_EXPIRED, "voucher-expires-on")                                                       \
    X(VOUCHER_NONCE, "voucher-nonce")                                                              \
    X(VOUCHER_ASSERTION, "voucher-assertion")                                                      \
    X(VOUCHER_SERIAL, "voucher-serial-number")                                                     \
    X(VOUCHER_ISSUER, "voucher-idevid-issuer")                                                     \
    X(VOUCHER_PINNED, "voucher-pinned-domain-cert")                                                \
    X(OWNER_FORM, "owner-certificate-form")                                                        \
    X(OWNER_CHAIN, "owner-certificate-chain")                                                      \
    X(OWNER_REVOKED, "owner-certificate-revoked")                                                  \
    X(OWNER_UNKNOWN, "owner-certificate-revocation-unknown")                                       \
    X(CI_FORM, "conveyed-information-form")                                                        \
    X(CI_SIGNATURE, "conveyed-information-signature")                                              \
    X(CI_KEY_USAGE, "conveyed-information-key-usage")
enum trust_clause {
#define X(name, text) TRUST_##name,
    TRUST_CLAUSES(X)
#undef X
};
const char *trust_clause_name(enum trust_clause c);

struct trust_device {
    const char *serial;
    /* Whose vouchers we believe; revocation lists among them count for those who signed. */
    const struct cms_certs *voucher_anchors;
    const uint8_t *idevid_akid; /* authority key identifier of our own certificate */
    size_t idevid_akid_len;     /* 0: we have none; idevid-issuer then can't hold */
    const uint8_t *nonce;       /* that we sent; 0: none */
    size_t nonce_len;
    unsigned assertions; /* of enum voucher_assertion, added up; 0: all */
    int64_t now_s;
    bool clock_ok;             /* false: times are not compared, those of certificates included */
    const struct cms_key *key; /* of the device, for encrypted artifacts; may be NULL */
};

struct trust_data { /* the three artifacts, DER */
    const void *voucher, *owner, *ci;
    size_t voucher_len, owner_len, ci_len;
};

/* ERR_OK: `content` (of ci) may be believed; cms_content_free. ERR_REFUSED: `clause` says which
 * clause did not hold, the error's text why. Revocation lists are those that came with the owner
 * certificate; none is fetched. */
enum err_code trust_signed_data(const struct trust_device *d, const struct trust_data *t,
                                struct cms_content *content, enum trust_clause *clause,
                                struct err *e);
/* The voucher alone, up to its pinned-domain-cert. voucher_free(out) when ERR_OK. */
enum err_code trust_voucher(const struct trust_device *d, const void *der, size_t n,
                            struct voucher *out, enum trust_clause *clause, struct err *e);
/* Does the owner's certificate (with what is above it; a degenerate SignedData, DER) lead to the
 * one that the voucher pins, at `d`'s time, and is none of them revoked where the voucher asks?
 * ERR_REFUSED as above. */
enum err_code trust_owner(const struct trust_device *d, const void *owner, size_t n,
                          const struct voucher *v, enum trust_clause *clause, struct err *e);

#endif
