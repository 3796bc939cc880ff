// SPDX-License-Identifier: Apache-2.0
#include "sztp/trust.h"

#include <openssl/err.h>
#include <string.h>

#include "base/clock.h"
#include "net/tls.h"
#include "sztp/cms_int.h"

enum {
    AUTH_LEVEL = 1, /* 80 bits: no SHA-1, no RSA below 1024 */
    SIGNERS_MAX = 4
};

static const char *const clauses[] = {
#define X(name, text) [TRUST_##name] = text,
    TRUST_CLAUSES(X)
#undef X
};

const char *trust_clause_name(enum trust_clause c) {
    return clauses[c];
}

static enum err_code refuse(enum trust_clause which, enum trust_clause *clause, struct err *e,
                            const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static enum err_code refuse(enum trust_clause which, enum trust_clause *clause, struct err *e,
                            const char *fmt, ...) {
    va_list ap;
    *clause = which;
    va_start(ap, fmt);
    err_setv(e, ERR_REFUSED, clauses[which], fmt, ap);
    va_end(ap);
    ERR_clear_error();
    return ERR_REFUSED;
}

/* ---- chains -------------------------------------------------------------------------------------
 */

/* An issuer without a list is not asked for one. */
static int where_lists_are(int ok, X509_STORE_CTX *ctx) {
    if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    return ok;
}

/* Is there a chain from `leaf` over `between` to one of `anchors`? An anchor need not be
 * self-signed: whoever is pinned is believed. X509_V_OK, or OpenSSL's reason. `crls` not NULL: the
 * leaf must not be on its issuer's list, which must be there; `lenient`: none of the chain may be
 * on a list that is there. */
static int verify(X509 *leaf, STACK_OF(X509) * between, STACK_OF(X509) * anchors,
                  STACK_OF(X509_CRL) * crls, bool lenient, const struct trust_device *d,
                  STACK_OF(X509) * *chain) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int why = X509_V_ERR_UNSPECIFIED;
    for (int i = 0; i < sk_X509_num(anchors); i++) {
        X509_STORE_add_cert(store, sk_X509_value(anchors, i));
    }
    if (X509_STORE_CTX_init(ctx, store, leaf, between) == 1) {
        X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_purpose(p, X509_PURPOSE_ANY);
        X509_VERIFY_PARAM_set_auth_level(p, AUTH_LEVEL);
        if (d->clock_ok) {
            X509_VERIFY_PARAM_set_time(p, (time_t)d->now_s);
        } else {
            X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_NO_CHECK_TIME);
        }
        if (sk_X509_CRL_num(crls) > 0 || (crls != NULL && !lenient)) {
            X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_CRL_CHECK |
                                               (lenient ? X509_V_FLAG_CRL_CHECK_ALL : 0U));
            if (lenient) {
                X509_STORE_CTX_set_verify_cb(ctx, where_lists_are);
            }
            X509_STORE_CTX_set0_crls(ctx, crls);
        }
        why = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
        if (why == X509_V_OK && chain != NULL) {
            *chain = X509_STORE_CTX_get1_chain(ctx);
        }
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return why;
}

/* There are signatures, not too many to look at, and each holds, by a certificate of `from` or,
 * when `inside`, one that came along. */
static bool signatures(CMS_ContentInfo *cms, STACK_OF(X509) * from, bool inside) {
    const unsigned flags =
        CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY | (inside ? 0U : (unsigned)CMS_NOINTERN);
    BIO *sink = BIO_new(BIO_s_null());
    int signers = sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms));
    bool ok = signers > 0 && signers <= SIGNERS_MAX &&
              CMS_verify(cms, from, NULL, NULL, sink, flags) == 1;
    BIO_free(sink);
    return ok;
}

/* ---- the voucher --------------------------------------------------------------------------------
 */

static enum err_code voucher_signature(const struct trust_device *d, CMS_ContentInfo *cms,
                                       enum trust_clause *clause, struct err *e) {
    char why[256];
    if (d->voucher_anchors == NULL || cms_certs_count(d->voucher_anchors) == 0) {
        return refuse(TRUST_VOUCHER_SIGNATURE, clause, e, "nobody's vouchers are believed here");
    }
    if (!signatures(cms, d->voucher_anchors->certs, true)) {
        return refuse(TRUST_VOUCHER_SIGNATURE, clause, e, "the signature does not hold: %s",
                      tls_error_text(why, sizeof why));
    }
    STACK_OF(X509) *signers = CMS_get0_signers(cms), *along = CMS_get1_certs(cms);
    int rc = sk_X509_num(along) > CMS_CERTS_MAX ? X509_V_ERR_CERT_CHAIN_TOO_LONG : X509_V_OK;
    for (int i = 0; i < sk_X509_num(signers) && rc == X509_V_OK; i++) {
        rc = verify(sk_X509_value(signers, i), along, d->voucher_anchors->certs,
                    d->voucher_anchors->crls, true, d, NULL);
    }
    bool none = sk_X509_num(signers) <= 0;
    sk_X509_free(signers);
    sk_X509_pop_free(along, X509_free);
    return rc == X509_V_OK && !none
               ? ERR_OK
               : refuse(TRUST_VOUCHER_SIGNATURE, clause, e,
                        "its signer is not one of those whose vouchers are believed: %s",
                        X509_verify_cert_error_string(rc));
}

static enum err_code voucher_times(const struct trust_device *d, const struct voucher *v,
                                   enum trust_clause *clause, struct err *e) {
    char at[TIME_TEXT_MAX], now[TIME_TEXT_MAX];
    if (d->clock_ok && v->created_on > d->now_s) {
        return refuse(TRUST_VOUCHER_FUTURE, clause, e, "it was made at %s, and it is %s now",
                      time_format(v->created_on, 0, at), time_format(d->now_s, 0, now));
    }
    if (d->clock_ok && v->expires_on != 0 && v->expires_on <= d->now_s) {
        return refuse(TRUST_VOUCHER_EXPIRED, clause, e, "it ended at %s, and it is %s now",
                      time_format(v->expires_on, 0, at), time_format(d->now_s, 0, now));
    }
    return ERR_OK;
}

/* The leaf holds the key identifier; makers are met who put the whole extension there. */
static bool issuer_is(const struct trust_device *d, const struct voucher *v) {
    const uint8_t *p = v->issuer;
    size_t n = v->issuer_len;
    if (n > 4 && n != d->idevid_akid_len && p[0] == 0x30 && p[1] == n - 2 && p[2] == 0x80 &&
        p[3] <= n - 4) {
        n = p[3];
        p += 4;
    }
    return d->idevid_akid_len > 0 && n == d->idevid_akid_len && memcmp(p, d->idevid_akid, n) == 0;
}

static enum err_code voucher_content(const struct trust_device *d, const struct voucher *v,
                                     enum trust_clause *clause, struct err *e) {
    ERR_TRY(voucher_times(d, v, clause, e));
    if (v->nonce_len > 0 && (v->nonce_len != d->nonce_len || d->nonce == NULL ||
                             memcmp(v->nonce, d->nonce, v->nonce_len) != 0)) {
        return refuse(TRUST_VOUCHER_NONCE, clause, e, "its nonce is not the one that was sent");
    }
    if (d->assertions != 0 && (d->assertions & v->assertion) == 0) {
        return refuse(TRUST_VOUCHER_ASSERTION, clause, e, "\"%s\" is not enough for this device",
                      voucher_assertion_name(v->assertion));
    }
    if (d->serial == NULL || strcmp(d->serial, v->serial) != 0) {
        return refuse(TRUST_VOUCHER_SERIAL, clause, e, "it is for %s, and this is %s", v->serial,
                      d->serial != NULL ? d->serial : "unknown");
    }
    if (v->issuer_len > 0 && !issuer_is(d, v)) {
        return refuse(TRUST_VOUCHER_ISSUER, clause, e,
                      "it is for a device whose certificate has another issuer");
    }
    X509 *pinned = cms_x509_of(v->pinned.data, v->pinned.len);
    X509_free(pinned);
    return pinned != NULL
               ? ERR_OK
               : refuse(TRUST_VOUCHER_PINNED, clause, e, "it pins what is no certificate");
}

enum err_code trust_voucher(const struct trust_device *d, const void *der, size_t n,
                            struct voucher *out, enum trust_clause *clause, struct err *e) {
    struct cms_content c = {.type = CMS_DATA};
    CMS_ContentInfo *cms;
    struct err why;
    *clause = TRUST_OK;
    *out = (struct voucher){.created_on = 0};
    if (cms_peel(der, n, d->key, &cms, &c.was_encrypted, &why) != ERR_OK) {
        return refuse(TRUST_VOUCHER_FORM, clause, e, "%s", why.text);
    }
    enum err_code rc;
    if (!cms_is_signed_data(cms)) {
        rc = refuse(TRUST_VOUCHER_FORM, clause, e, "is not signed");
    } else if (cms_content_of(cms, CMS_VOUCHER_JSON | CMS_DATA, &c, &why) != ERR_OK) {
        rc = refuse(TRUST_VOUCHER_FORM, clause, e, "%s", why.text);
    } else {
        rc = voucher_signature(d, cms, clause, e);
    }
    /* What is in it is read only now: up to here it was anybody's. */
    if (rc == ERR_OK && voucher_parse(c.bytes.data, c.bytes.len, out, &why) != ERR_OK) {
        size_t len = strlen(why.path);
        bool assertion = len > 10 && strcmp(why.path + len - 10, "/assertion") == 0;
        rc = refuse(assertion ? TRUST_VOUCHER_ASSERTION : TRUST_VOUCHER_FORM, clause, e, "%s %s",
                    why.path, why.text);
    } else if (rc == ERR_OK) {
        rc = voucher_content(d, out, clause, e);
    }
    CMS_ContentInfo_free(cms);
    cms_content_free(&c);
    if (rc != ERR_OK) {
        voucher_free(out);
    }
    return rc;
}

/* ---- owner certificate and conveyed information -------------------------------------------------
 */

/* The one that has issued none of the others; NULL: there is not exactly one. */
static X509 *leaf_of(const struct cms_certs *c) {
    X509 *leaf = NULL;
    for (int i = 0; i < sk_X509_num(c->certs); i++) {
        X509 *x = sk_X509_value(c->certs, i);
        bool above = false;
        for (int j = 0; j < sk_X509_num(c->certs) && !above; j++) {
            X509 *y = sk_X509_value(c->certs, j);
            above = X509_cmp(x, y) != 0 && X509_check_issued(x, y) == X509_V_OK;
        }
        if (!above && leaf != NULL && X509_cmp(leaf, x) != 0) {
            return NULL;
        }
        leaf = above ? leaf : x;
    }
    return leaf;
}

/* Each certificate below the pinned one, by its issuer's list; the pinned one by its own when
 * nothing stands below it. */
static enum err_code revocation(const struct trust_device *d, STACK_OF(X509) * chain,
                                const struct cms_certs *owner, enum trust_clause *clause,
                                struct err *e) {
    int n = sk_X509_num(chain);
    for (int i = 0; i == 0 || i < n - 1; i++) {
        STACK_OF(X509) *issuer = sk_X509_new_null();
        char name[128];
        sk_X509_push(issuer, sk_X509_value(chain, n > 1 ? i + 1 : 0));
        int why = verify(sk_X509_value(chain, i), NULL, issuer, owner->crls, false, d, NULL);
        sk_X509_free(issuer);
        X509_NAME_oneline(X509_get_subject_name(sk_X509_value(chain, i)), name, sizeof name);
        if (why == X509_V_ERR_CERT_REVOKED) {
            return refuse(TRUST_OWNER_REVOKED, clause, e, "%s is revoked", name);
        }
        if (why != X509_V_OK) {
            return refuse(TRUST_OWNER_UNKNOWN, clause, e,
                          "whether %s is revoked can't be told, and the voucher asks for it: %s",
                          name, X509_verify_cert_error_string(why));
        }
    }
    return ERR_OK;
}

static enum err_code check_owner(const struct trust_device *d, const struct trust_data *t,
                                 const struct voucher *v, struct cms_certs **owner, X509 **leaf,
                                 enum trust_clause *clause, struct err *e) {
    struct err why;
    *owner = NULL;
    if (cms_certs_parse(t->owner, t->owner_len, d->key, owner, &why) != ERR_OK) {
        return refuse(TRUST_OWNER_FORM, clause, e, "%s", why.text);
    }
    *leaf = leaf_of(*owner);
    if (*leaf == NULL) {
        return refuse(TRUST_OWNER_FORM, clause, e, "holds more than one chain of certificates");
    }
    STACK_OF(X509) *pinned = sk_X509_new_null(), *chain = NULL;
    sk_X509_push(pinned, cms_x509_of(v->pinned.data, v->pinned.len));
    int rc = verify(*leaf, (*owner)->certs, pinned, NULL, false, d, &chain);
    enum err_code out = ERR_OK;
    if (rc != X509_V_OK) {
        out = refuse(TRUST_OWNER_CHAIN, clause, e,
                     "it does not lead to the certificate that the voucher pins: %s",
                     X509_verify_cert_error_string(rc));
    } else if (v->check_revocation) {
        out = revocation(d, chain, *owner, clause, e);
    }
    sk_X509_pop_free(chain, X509_free);
    sk_X509_pop_free(pinned, X509_free);
    return out;
}

enum err_code trust_owner(const struct trust_device *d, const void *owner, size_t n,
                          const struct voucher *v, enum trust_clause *clause, struct err *e) {
    struct trust_data t = {.owner = owner, .owner_len = n};
    struct cms_certs *certs = NULL;
    X509 *leaf = NULL;
    X509 *pinned = cms_x509_of(v->pinned.data, v->pinned.len);
    *clause = TRUST_OK;
    enum err_code rc =
        pinned != NULL ? check_owner(d, &t, v, &certs, &leaf, clause, e)
                       : refuse(TRUST_VOUCHER_PINNED, clause, e, "it pins what is no certificate");
    X509_free(pinned);
    cms_certs_free(certs);
    ERR_clear_error();
    return rc;
}

static enum err_code check_ci(const struct trust_device *d, const struct trust_data *t, X509 *leaf,
                              struct cms_content *content, enum trust_clause *clause,
                              struct err *e) {
    CMS_ContentInfo *cms;
    struct err why;
    enum err_code rc;
    if (cms_peel(t->ci, t->ci_len, d->key, &cms, &content->was_encrypted, &why) != ERR_OK) {
        return refuse(TRUST_CI_FORM, clause, e, "%s", why.text);
    }
    STACK_OF(X509) *signer = sk_X509_new_null();
    sk_X509_push(signer, leaf);
    uint32_t usage = X509_get_key_usage(leaf);
    if (!cms_is_signed_data(cms)) {
        rc = refuse(TRUST_CI_FORM, clause, e, "is not signed");
    } else if (cms_content_of(cms, CMS_CI_XML | CMS_CI_JSON | CMS_DATA, content, &why) != ERR_OK) {
        rc = refuse(TRUST_CI_FORM, clause, e, "%s", why.text);
    } else if (!signatures(cms, signer, false)) {
        char text[256];
        rc = refuse(TRUST_CI_SIGNATURE, clause, e, "it is not signed by the owner: %s",
                    tls_error_text(text, sizeof text));
    } else if (usage != UINT32_MAX && (usage & KU_DIGITAL_SIGNATURE) == 0) {
        rc = refuse(TRUST_CI_KEY_USAGE, clause, e,
                    "the owner's certificate is not for digital signatures");
    } else {
        rc = ERR_OK;
    }
    sk_X509_free(signer);
    CMS_ContentInfo_free(cms);
    return rc;
}

enum err_code trust_signed_data(const struct trust_device *d, const struct trust_data *t,
                                struct cms_content *content, enum trust_clause *clause,
                                struct err *e) {
    struct voucher v;
    struct cms_certs *owner = NULL;
    X509 *leaf = NULL;
    *content = (struct cms_content){.type = CMS_DATA};
    ERR_TRY(trust_voucher(d, t->voucher, t->voucher_len, &v, clause, e));
    enum err_code rc = check_owner(d, t, &v, &owner, &leaf, clause, e);
    rc = rc == ERR_OK ? check_ci(d, t, leaf, content, clause, e) : rc;
    if (rc != ERR_OK) {
        cms_content_free(content);
    }
    cms_certs_free(owner);
    voucher_free(&v);
    ERR_clear_error();
    return rc;
}
