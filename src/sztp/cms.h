// SPDX-License-Identifier: Apache-2.0
/*
 * The CMS structures (RFC 5652, DER) that RFC 8572 section 3 calls artifacts: opened, made, signed,
 * encrypted. What the bytes inside mean is conveyed.h's and voucher.h's business, whether to
 * believe them is trust.h's.
 */
#ifndef SZTP_CMS_H
#define SZTP_CMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { CMS_DER_MAX = 16 << 20, CMS_CERTS_MAX = 32 };

/* Content types; may be added up where several are allowed. */
enum cms_type {
    CMS_CI_XML = 1,      /* id-ct-sztpConveyedInfoXML, 1.2.840.113549.1.9.16.1.42 */
    CMS_CI_JSON = 2,     /* id-ct-sztpConveyedInfoJSON, ...1.43 */
    CMS_DATA = 4,        /* id-data, 1.2.840.113549.1.7.1: what older producers use for all */
    CMS_VOUCHER_JSON = 8 /* id-ct-animaJSONVoucher, ...1.40 */
};

/* A certificate with what lies above it and its private key. */
struct cms_key;
/* From two PEM files; the certificate's file may go on with the chain. ERR_INVALID when the key is
 * not the certificate's. */
enum err_code cms_key_load(const char *cert_file, const char *key_file, struct cms_key **out,
                           struct err *e);
enum err_code cms_key_of(const void *cert_pem, size_t cert_n, const void *key_pem, size_t key_n,
                         struct cms_key **out, struct err *e);
void cms_key_free(struct cms_key *k); /* NULL is allowed */
/* The authority key identifier of its certificate (what a voucher's idevid-issuer names): bytes put
 * into out, of `size`; 0: it has none that fits. */
size_t cms_key_akid(const struct cms_key *k, uint8_t *out, size_t size);
/* Its certificate, without what stands above it. */
void cms_key_cert(const struct cms_key *k, struct buf *der);

struct cms_content {
    enum cms_type type;
    bool is_signed; /* by somebody: see trust.h */
    bool was_encrypted;
    struct buf bytes;
};
void cms_content_free(struct cms_content *c);

/* Takes the wrapping off: [EnvelopedData of] [SignedData of] a content of one of the types
 * `allowed`. `me` decrypts and may be NULL. Signatures are not looked at. ERR_MALFORMED not CMS,
 * ERR_INVALID another content type (named), ERR_DENIED encrypted and not for us, ERR_TOO_BIG. */
enum err_code cms_open(const void *der, size_t n, unsigned allowed, const struct cms_key *me,
                       struct cms_content *out, struct err *e);

/* ContentInfo of that type around the bytes, not signed (RFC 8572 section 3.1). */
enum err_code cms_wrap(enum cms_type type, const void *p, size_t n, struct buf *der, struct err *e);
/* SignedData with the signer's chain in it. */
enum err_code cms_sign(enum cms_type type, const void *p, size_t n, const struct cms_key *signer,
                       struct buf *der, struct err *e);
/* EnvelopedData around a ContentInfo, for the holder of the certificate (PEM or DER). */
enum err_code cms_encrypt(const void *der_in, size_t n, const void *cert, size_t cert_n,
                          struct buf *der, struct err *e);

/* ---- certificates ------------------------------------------------------------------------------
 */

/* A set of certificates and revocation lists, in order. */
struct cms_certs;
struct cms_certs *cms_certs_new(void);
void cms_certs_free(struct cms_certs *c);
size_t cms_certs_count(const struct cms_certs *c);
/* Adds what a PEM text has (certificates and CRLs), or one certificate in DER. */
enum err_code cms_certs_add_pem(struct cms_certs *c, const void *pem, size_t n, struct err *e);
enum err_code cms_certs_add_der(struct cms_certs *c, const void *der, size_t n, struct err *e);
enum err_code cms_certs_add_file(struct cms_certs *c, const char *pem_file, struct err *e);
/* Adds a revocation list (RFC 5280 section 5) in DER. */
enum err_code cms_certs_add_crl(struct cms_certs *c, const void *der, size_t n, struct err *e);
/* Each of its revocation lists is signed by one of its certificates, else ERR_INVALID with the
 * issuer; ERR_ABSENT: there is no list. `ends_s`: when the first of them ends, seconds since 1970;
 * INT64_MAX: none says. */
enum err_code cms_certs_check_crls(const struct cms_certs *c, int64_t *ends_s, struct err *e);
/* A degenerate SignedData: certificates and CRLs, no signer (owner certificate, trust anchor). */
enum err_code cms_certs_print(const struct cms_certs *c, struct buf *der, struct err *e);
enum err_code cms_certs_parse(const void *der, size_t n, const struct cms_key *me,
                              struct cms_certs **out, struct err *e);
/* RFC 8572 section 5.3 "trust-anchor": exactly one chain, with its self-signed root (PH-144). */
enum err_code cms_certs_one_chain(const struct cms_certs *c, struct err *e);
void cms_certs_to_pem(const struct cms_certs *c, struct buf *pem);
/* The i-th in DER; 0 <= i < count. */
void cms_certs_der(const struct cms_certs *c, size_t i, struct buf *der);

/* The serial number in a device's certificate (PH-202): subject serialNumber, else the
 * hardwareModuleName of its SAN, else CN; each in turn when `from` names it. ERR_ABSENT: none. */
enum { CMS_SERIAL_SUBJECT = 1, CMS_SERIAL_HARDWARE = 2, CMS_SERIAL_CN = 4, CMS_SERIAL_ANY = 7 };
enum { CMS_SERIAL_MAX = 64 };
enum err_code cms_serial_of(const void *cert_der, size_t n, unsigned from,
                            char out[CMS_SERIAL_MAX + 1], struct err *e);

/* The key identifier in a certificate's authority key identifier (RFC 5280 section 4.2.1.1).
 * ERR_ABSENT: it has none, or one that is longer. */
enum { CMS_AKID_MAX = 64 };
enum err_code cms_akid_of(const void *cert_der, size_t n, uint8_t out[CMS_AKID_MAX], size_t *len,
                          struct err *e);

/* Base64 without and with line ends on input; standard alphabet, padded on output. */
void cms_base64(const void *p, size_t n, struct buf *out);
enum err_code cms_unbase64(const char *s, size_t n, struct buf *out, struct err *e);

#endif
