// SPDX-License-Identifier: Apache-2.0
/*
 * A small certificate authority for first start and for tests: P-256 keys, X.509 v3, SHA-256.
 * Everything is written as PEM; files are made 0600 and replaced atomically, so a crash leaves the
 * old file or the new one.
 */
#ifndef NET_PKI_H
#define NET_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { PKI_DAYS_MAX = 36500 };

/* The first two may be added up; the third, for signatures of documents, is alone. */
enum pki_use { PKI_SERVER = 1, PKI_CLIENT = 2, PKI_SIGNER = 4 };

/* Makes a self-signed CA (basicConstraints CA, pathlen 0; keyCertSign, cRLSign). `days` is
 * 1..PKI_DAYS_MAX. Existing files are replaced. */
enum err_code pki_make_ca(const char *common_name, int days, const char *cert_file,
                          const char *key_file, struct err *e);

struct pki_request {
    const char *common_name; /* 1..64 bytes */
    const char *const
        *sans;    /* NULL-terminated: "DNS:host", "IP:192.0.2.1", "URI:..."; may be NULL */
    unsigned use; /* PKI_SERVER | PKI_CLIENT, or PKI_SIGNER */
    int days;     /* 1..PKI_DAYS_MAX; cut to the CA's own end */
};
/* Makes a key and a certificate signed by the CA in the two files. */
enum err_code pki_issue(const char *ca_cert_file, const char *ca_key_file,
                        const struct pki_request *r, const char *cert_file, const char *key_file,
                        struct err *e);

/* Seconds from `now_s` (since 1970) until the certificate in the file ends; negative when it has.
 */
enum err_code pki_expires_in(const char *cert_file, long long now_s, long long *seconds,
                             struct err *e);
/* Has this authority signed it? */
enum err_code pki_issued_by(const char *cert_file, const char *ca_file, bool *yes, struct err *e);
/* Would a client that dials `name`, a host name or an address, find it in the certificate? */
enum err_code pki_has_name(const char *cert_file, const char *name, bool *has, struct err *e);
/* SHA-256 fingerprint, lower-case hex, for people to compare. */
enum err_code pki_fingerprint(const char *cert_file, char out[65], struct err *e);

/* A request of a device for a certificate (PKCS #10 in DER, RFC 9646): its key is taken, and
 * nothing else of it. The certificate is for a client; its subject has `serial` as serialNumber and
 * "device SERIAL" as CN, so that it is taken for no user's and no gateway's, and as a SAN
 * "urn:weft:device:SERIAL". Added to `pem`. ERR_MALFORMED: no request; ERR_INVALID: not signed by
 * its key, or a weak one (RSA below 2048 bits, other curves than P-256 to P-521, Ed25519). */
struct pki_device {
    const char *serial; /* 1..64 printable bytes without blanks */
    const char *name;   /* a host name that it is good for besides; NULL: none */
    int days;           /* 1..PKI_DAYS_MAX */
};
enum err_code pki_sign_device(const char *ca_cert_file, const char *ca_key_file, const void *csr,
                              size_t n, const struct pki_device *d, struct buf *pem, struct err *e);

/* ---- an authority that is somebody else's: request, check, put in place -------------------------
 */

/* Makes a P-256 key in the file and adds to `pem` a request for it (PKCS #10, RFC 2986) with the
 * names; `use` and `days` are the authority's to decide. */
enum err_code pki_make_request(const struct pki_request *r, const char *key_file, struct buf *pem,
                               struct err *e);

enum { PKI_CHAIN_MAX = 8, PKI_PEM_MAX = 65536, PKI_TEXT_MAX = 256, PKI_NAMES_MAX = 512 };
struct pki_info {
    char subject[PKI_TEXT_MAX], issuer[PKI_TEXT_MAX]; /* RFC 2253 */
    char names[PKI_NAMES_MAX]; /* subject alternative names, one blank between two; cut to fit */
    char fingerprint[65];
    int64_t not_before, not_after; /* seconds since 1970 */
    bool authority;                /* may sign others */
};
/* About the first certificate in a file. */
enum err_code pki_describe(const char *cert_file, struct pki_info *out, struct err *e);
/* About one in DER. */
enum err_code pki_describe_der(const void *der, size_t n, struct pki_info *out, struct err *e);
/* About the only certificate in a text (PEM, or the Base64 of PEM as `base64 -w0` has it), which
 * is given back as PEM: it must be an authority's and good at `now_s`. */
enum err_code pki_check_anchor(const char *text, int64_t now_s, struct pki_info *out,
                               struct buf *pem, struct err *e);

struct pki_wanted {
    const char *key_file;       /* the certificate must be this key's */
    const char *const *anchors; /* files, NULL-terminated; one must vouch for it */
    const char *const *names;   /* host names and addresses, NULL-terminated; each must be in it */
    int64_t now_s;              /* it must be good now, with all of its chain */
};
/* A server's certificate with the chain behind it, leaf first (PEM, or Base64 of PEM): at most
 * PKI_CHAIN_MAX certificates. When all fits, the chain as PEM in `pem`; otherwise what does not. */
enum err_code pki_check_server(const char *text, const struct pki_wanted *w, struct buf *pem,
                               struct err *e);
/* Is it this key's certificate? Files that are not there or can't be read: no. */
bool pki_key_fits(const char *cert_file, const char *key_file);

/* Makes the authority's certificate anew with the same key and names, so that all that it has
 * signed stays good. */
enum err_code pki_renew_ca(const char *cert_file, const char *key_file, int days, struct err *e);

#endif
