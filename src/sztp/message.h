// SPDX-License-Identifier: Apache-2.0
/*
 * The bodies of the RPCs of RFC 8572 section 7 and RFC 9646, and of RESTCONF errors, in JSON and
 * XML (dialects B and C).
 */
#ifndef SZTP_MESSAGE_H
#define SZTP_MESSAGE_H

#include "sztp/conveyed.h"
#include "sztp/progress.h"

#define SZTP_PATH_GET  "/restconf/operations/ietf-sztp-bootstrap-server:get-bootstrapping-data"
#define SZTP_PATH_TELL "/restconf/operations/ietf-sztp-bootstrap-server:report-progress"

enum { SZTP_NONCE_MIN = 16, SZTP_NONCE_MAX = 32, SZTP_MESSAGE_MAX = 1024, SZTP_CSR_MAX = 65536 };

enum sztp_csr_format { SZTP_CSR_NONE, SZTP_CSR_P10, SZTP_CSR_CMC, SZTP_CSR_CMP };

struct sztp_get { /* get-bootstrapping-data, input */
    bool signed_preferred;
    char hw_model[SZTP_NAME_MAX + 1], os_name[SZTP_NAME_MAX + 1], os_version[SZTP_NAME_MAX + 1];
    uint8_t nonce[SZTP_NONCE_MAX];
    size_t nonce_len; /* 0: none; an empty one counts as none (PH-300) */
    /* RFC 9646 */
    bool csr_support;          /* it could make a request */
    bool csr_p10_ok;           /* ... in that format (or names none) */
    struct buf key_algorithms; /* supported ones: AlgorithmIdentifiers in DER, one behind the
                                  other; empty: it did not say */
    enum sztp_csr_format csr_format;
    struct buf csr; /* DER */
};
void sztp_get_free(struct sztp_get *g);
/* A message as we keep it: what is longer is cut between two characters (it may be what a script
 * wrote). */
void sztp_text_cut(char out[SZTP_MESSAGE_MAX + 1], const char *text);
/* Media types of PH-123: what a body or an Accept header means; false: none of ours. */
bool sztp_media(const char *type, enum sztp_form *form);
enum err_code sztp_get_parse(enum sztp_form form, const void *p, size_t n, struct sztp_get *out,
                             struct err *e);
void sztp_get_print(const struct sztp_get *g, enum sztp_form form, struct buf *out);

enum sztp_level { SZTP_MINIMAL, SZTP_VERBOSE };
struct sztp_answer { /* output */
    enum sztp_level level;
    struct buf ci, owner, voucher; /* CMS; the last two empty, or both there */
};
void sztp_answer_free(struct sztp_answer *a);
enum err_code sztp_answer_parse(enum sztp_form form, const void *p, size_t n, bool lenient,
                                struct sztp_answer *out, struct err *e);
void sztp_answer_print(const struct sztp_answer *a, enum sztp_form form,
                       const struct sztp_profile *p, struct buf *out);

struct sztp_report { /* report-progress, input */
    enum sztp_progress type;
    char text[SZTP_MESSAGE_MAX + 1];
    struct buf
        host_keys;      /* JSON array of {"algorithm","key-data"}; with bootstrap-complete alone */
    struct buf anchors; /* JSON array of Base64 CMS; the same */
    /* The member of a chassis that it is about: our augmentation "weft-onboard:
     * virtual-chassis-member", for servers whose answer had ours, "virtual-chassis" (PH-081). */
    bool has_member;
    struct sztp_member member;
};
void sztp_report_free(struct sztp_report *r);
/* Empty ssh-host-keys and trust-anchor-certs are borne with every type (PH-301). */
enum err_code sztp_report_parse(enum sztp_form form, const void *p, size_t n,
                                struct sztp_report *out, struct err *e);
void sztp_report_print(const struct sztp_report *r, enum sztp_form form, struct buf *out);

/* ietf-restconf:errors with one error; `error-info` with a csr-request when `csr` says so
 * (RFC 9646 section 2.3): P-256 key, PKCS #10. */
void sztp_error_print(enum sztp_form form, const char *type, const char *tag, const char *text,
                      bool csr, struct buf *out);
struct sztp_error {
    char tag[64], text[SZTP_MESSAGE_MAX + 1];
    bool csr_request, csr_p10; /* asks for a request, in a format that we have */
};
/* ERR_MALFORMED when it is none. */
enum err_code sztp_error_parse(enum sztp_form form, const void *p, size_t n, struct sztp_error *out,
                               struct err *e);

#endif
