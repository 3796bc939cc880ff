// SPDX-License-Identifier: Apache-2.0
#include "sztp/cms.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls.h"
#include "sztp/cms_int.h"

/* The types that are ours as OpenSSL may not know them: by their numbers, in DER, which is all that
 * is compared and written. */
static const struct {
    enum cms_type type;
    const char *text;
    uint8_t oid[13];
    uint8_t n;
} types[] = {
#define SMIME_CT(last)                                                                             \
    { 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, last }
    {CMS_CI_XML, "conveyed information in XML", SMIME_CT(42), 13},
    {CMS_CI_JSON, "conveyed information in JSON", SMIME_CT(43), 13},
    {CMS_VOUCHER_JSON, "a voucher in JSON", SMIME_CT(40), 13},
    {CMS_DATA, "data", {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01}, 11},
#undef SMIME_CT
};
enum { TYPES = sizeof types / sizeof types[0] };

enum err_code cms_fail(struct err *e, enum err_code code, const char *what) {
    char why[256];
    return err_set(e, code, NULL, "%s: %s", what, tls_error_text(why, sizeof why));
}

static ASN1_OBJECT *object_of(enum cms_type type) {
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].type == type) {
            const unsigned char *p = types[i].oid;
            return d2i_ASN1_OBJECT(NULL, &p, types[i].n);
        }
    }
    return NULL;
}

/* 0: none of ours */
static enum cms_type type_of(const ASN1_OBJECT *o) {
    for (size_t i = 0; i < TYPES; i++) {
        if (OBJ_length(o) == (size_t)types[i].n - 2 &&
            memcmp(OBJ_get0_data(o), types[i].oid + 2, OBJ_length(o)) == 0) {
            return types[i].type;
        }
    }
    return (enum cms_type)0;
}

/* ---- keys ---------------------------------------------------------------------------------------
 */

void cms_key_free(struct cms_key *k) {
    if (k != NULL) {
        X509_free(k->cert);
        sk_X509_pop_free(k->chain, X509_free);
        EVP_PKEY_free(k->key);
        mem_free(k);
    }
}

static enum err_code key_of(BIO *cert, const char *cert_name, BIO *key, const char *key_name,
                            struct cms_key **out, struct err *e) {
    struct cms_key *k = MEM_NEW(struct cms_key);
    X509 *x;
    enum err_code rc = ERR_OK;
    k->chain = sk_X509_new_null();
    k->cert = cert != NULL ? PEM_read_bio_X509(cert, NULL, NULL, NULL) : NULL;
    k->key = k->cert != NULL && key != NULL ? PEM_read_bio_PrivateKey(key, NULL, NULL, NULL) : NULL;
    while (k->key != NULL && sk_X509_num(k->chain) < CMS_CERTS_MAX &&
           (x = PEM_read_bio_X509(cert, NULL, NULL, NULL)) != NULL) {
        sk_X509_push(k->chain, x);
    }
    if (k->key == NULL) {
        rc = cms_fail(e, ERR_INVALID,
                      k->cert == NULL ? "no readable certificate" : "no readable private key");
        err_prefix_path(e, k->cert == NULL ? cert_name : key_name);
    } else if (X509_check_private_key(k->cert, k->key) != 1) {
        rc = err_set(e, ERR_INVALID, key_name, "the key is not that of the certificate");
    }
    ERR_clear_error();
    BIO_free(cert);
    BIO_free(key);
    if (rc != ERR_OK) {
        cms_key_free(k);
        k = NULL;
    }
    *out = k;
    return rc;
}

enum err_code cms_key_load(const char *cert_file, const char *key_file, struct cms_key **out,
                           struct err *e) {
    return key_of(BIO_new_file(cert_file, "r"), cert_file, BIO_new_file(key_file, "r"), key_file,
                  out, e);
}

enum err_code cms_key_of(const void *cert_pem, size_t cert_n, const void *key_pem, size_t key_n,
                         struct cms_key **out, struct err *e) {
    if (cert_n > CMS_DER_MAX || key_n > CMS_DER_MAX) {
        *out = NULL;
        return err_set(e, ERR_TOO_BIG, "certificate", "is larger than %d bytes", CMS_DER_MAX);
    }
    return key_of(BIO_new_mem_buf(cert_pem, (int)cert_n), "certificate",
                  BIO_new_mem_buf(key_pem, (int)key_n), "key", out, e);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

void cms_content_free(struct cms_content *c) {
    buf_free(&c->bytes);
    *c = (struct cms_content){.type = CMS_DATA};
}

bool cms_is_signed_data(const CMS_ContentInfo *cms) {
    return OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed;
}

static CMS_ContentInfo *parse(const void *der, size_t n) {
    const unsigned char *p = der;
    CMS_ContentInfo *cms = n > 0 ? d2i_CMS_ContentInfo(NULL, &p, (long)n) : NULL;
    if (cms != NULL && p != (const unsigned char *)der + n) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    return cms;
}

static void der_head(struct buf *b, uint8_t tag, size_t n) {
    buf_u8(b, tag);
    if (n < 0x80) {
        buf_u8(b, (uint8_t)n);
    } else if (n <= 0xffff) {
        buf_u8(b, n <= 0xff ? 0x81 : 0x82);
        n <= 0xff ? buf_u8(b, (uint8_t)n) : buf_u16(b, (uint16_t)n);
    } else {
        buf_u8(b, 0x84);
        buf_u32(b, (uint32_t)n);
    }
}

static size_t head_size(size_t n) {
    return n < 0x80 ? 2 : n <= 0xff ? 3 : n <= 0xffff ? 4 : 6;
}

/* ContentInfo of a type around the DER of its content. */
static void wrap_content(const uint8_t *oid, size_t oid_n, const void *content, size_t n,
                         struct buf *out) {
    der_head(out, 0x30, oid_n + head_size(n) + n);
    buf_add(out, oid, oid_n);
    der_head(out, 0xa0, n);
    buf_add(out, content, n);
}

static const uint8_t oid_signed[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                     0xf7, 0x0d, 0x01, 0x07, 0x02};

/* What was encrypted is, after RFC 5652 section 6.1, the content of the type that the EnvelopedData
 * names; producers that stand on S/MIME put a whole ContentInfo there, as data. Both are read. */
static enum err_code inside(CMS_ContentInfo *envelope, const void *p, size_t n,
                            CMS_ContentInfo **out, struct err *e) {
    const ASN1_OBJECT *type = CMS_get0_eContentType(envelope);
    struct buf again = BUF_INIT;
    *out = parse(p, n);
    if (*out == NULL && OBJ_obj2nid(type) == NID_pkcs7_signed) {
        wrap_content(oid_signed, sizeof oid_signed, p, n, &again);
        *out = parse(again.data, again.len);
    } else if (*out == NULL && type_of(type) != 0) {
        cms_wrap(type_of(type), p, n, &again, NULL);
        *out = parse(again.data, again.len);
    }
    buf_free(&again);
    return *out != NULL ? ERR_OK : cms_fail(e, ERR_MALFORMED, "what was encrypted is no CMS");
}

/* Puts what was inside in its place; NULL when it fails. */
static enum err_code decrypt(CMS_ContentInfo **cms, const struct cms_key *me, struct err *e) {
    if (me == NULL) {
        CMS_ContentInfo_free(*cms);
        *cms = NULL;
        return err_set(e, ERR_DENIED, NULL, "is encrypted, and there is no key to read it with");
    }
    BIO *plain = BIO_new(BIO_s_mem());
    CMS_ContentInfo *inner = NULL;
    char *p = NULL;
    enum err_code rc;
    if (CMS_decrypt(*cms, me->key, me->cert, NULL, plain, 0) != 1) {
        rc = cms_fail(e, ERR_DENIED, "is not encrypted for this device");
    } else {
        long n = BIO_get_mem_data(plain, &p);
        rc = inside(*cms, p, (size_t)n, &inner, e);
    }
    BIO_free(plain);
    CMS_ContentInfo_free(*cms);
    *cms = inner;
    return rc;
}

enum err_code cms_peel(const void *der, size_t n, const struct cms_key *me, CMS_ContentInfo **out,
                       bool *was_encrypted, struct err *e) {
    *out = NULL;
    *was_encrypted = false;
    if (n > CMS_DER_MAX) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu octets are too many; %d are the limit", n,
                       CMS_DER_MAX);
    }
    CMS_ContentInfo *cms = parse(der, n);
    if (cms == NULL) {
        return cms_fail(e, ERR_MALFORMED, "is no CMS structure (RFC 5652)");
    }
    if (OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_enveloped) {
        *was_encrypted = true;
        ERR_TRY(decrypt(&cms, me, e));
    }
    *out = cms;
    return ERR_OK;
}

enum err_code cms_content_of(CMS_ContentInfo *cms, unsigned allowed, struct cms_content *out,
                             struct err *e) {
    bool wrapped = cms_is_signed_data(cms);
    const ASN1_OBJECT *o = wrapped ? CMS_get0_eContentType(cms) : CMS_get0_type(cms);
    enum cms_type type = type_of(o);
    if ((type & allowed) == 0) {
        char name[80];
        OBJ_obj2txt(name, sizeof name, o, 0);
        return err_set(e, ERR_INVALID, NULL, "holds another type of content, %s", name);
    }
    ASN1_OCTET_STRING **octets = CMS_get0_content(cms);
    if (octets == NULL || *octets == NULL) {
        return cms_fail(e, ERR_MALFORMED, "has no content");
    }
    out->type = type;
    out->is_signed = wrapped && sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) > 0;
    buf_clear(&out->bytes);
    buf_add(&out->bytes, ASN1_STRING_get0_data(*octets), (size_t)ASN1_STRING_length(*octets));
    return ERR_OK;
}

enum err_code cms_open(const void *der, size_t n, unsigned allowed, const struct cms_key *me,
                       struct cms_content *out, struct err *e) {
    CMS_ContentInfo *cms;
    *out = (struct cms_content){.type = CMS_DATA};
    ERR_TRY(cms_peel(der, n, me, &cms, &out->was_encrypted, e));
    enum err_code rc = cms_content_of(cms, allowed, out, e);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return rc;
}

/* ---- making -------------------------------------------------------------------------------------
 */

enum err_code cms_wrap(enum cms_type type, const void *p, size_t n, struct buf *der,
                       struct err *e) {
    struct buf octets = BUF_INIT;
    if (n > CMS_DER_MAX - 64) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu octets are too many; %d are the limit", n,
                       CMS_DER_MAX - 64);
    }
    der_head(&octets, 0x04, n);
    buf_add(&octets, p, n);
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].type == type) {
            wrap_content(types[i].oid, types[i].n, octets.data, octets.len, der);
        }
    }
    buf_free(&octets);
    return ERR_OK;
}

static enum err_code print(CMS_ContentInfo *cms, struct buf *der, struct err *e) {
    int n = i2d_CMS_ContentInfo(cms, NULL);
    if (n <= 0) {
        return cms_fail(e, ERR_INTERNAL, "can't encode");
    }
    unsigned char *at = buf_extend(der, (size_t)n);
    i2d_CMS_ContentInfo(cms, &at);
    return ERR_OK;
}

enum err_code cms_sign(enum cms_type type, const void *p, size_t n, const struct cms_key *signer,
                       struct buf *der, struct err *e) {
    const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP;
    if (n > CMS_DER_MAX / 2) {
        return err_set(e, ERR_TOO_BIG, NULL, "%zu octets are too many; %d are the limit", n,
                       CMS_DER_MAX / 2);
    }
    BIO *in = BIO_new_mem_buf(n > 0 ? p : "", (int)n);
    ASN1_OBJECT *o = object_of(type);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, signer->chain, NULL, flags);
    enum err_code rc = ERR_OK;
    if (cms == NULL || CMS_set1_eContentType(cms, o) != 1 ||
        CMS_add1_signer(cms, signer->cert, signer->key, EVP_sha256(), flags) == NULL ||
        CMS_final(cms, in, NULL, flags) != 1) {
        rc = cms_fail(e, ERR_INTERNAL, "can't sign");
    } else {
        rc = print(cms, der, e);
    }
    CMS_ContentInfo_free(cms);
    ASN1_OBJECT_free(o);
    BIO_free(in);
    return rc;
}

/* What goes into the envelope: the content of `cms` alone, its type then is the envelope's. */
static enum err_code strip(CMS_ContentInfo *cms, struct buf *out, struct err *e) {
    ASN1_OCTET_STRING **octets = cms_is_signed_data(cms) ? NULL : CMS_get0_content(cms);
    if (octets != NULL && *octets != NULL) {
        buf_add(out, ASN1_STRING_get0_data(*octets), (size_t)ASN1_STRING_length(*octets));
        return ERR_OK;
    }
    struct buf whole = BUF_INIT;
    enum err_code rc = print(cms, &whole, e);
    if (rc == ERR_OK) { /* SEQUENCE { OID, [0] { what we want } } */
        const unsigned char *p = whole.data;
        long n = (long)whole.len;
        int tag, class;
        ASN1_get_object(&p, &n, &tag, &class, (long)whole.len);
        const unsigned char *at = p;
        ASN1_get_object(&at, &n, &tag, &class, (long)(whole.data + whole.len - at));
        at += n;
        ASN1_get_object(&at, &n, &tag, &class, (long)(whole.data + whole.len - at));
        buf_add(out, at, (size_t)n);
    }
    buf_free(&whole);
    return rc;
}

enum err_code cms_encrypt(const void *der_in, size_t n, const void *cert, size_t cert_n,
                          struct buf *der, struct err *e) {
    const unsigned flags = CMS_BINARY | CMS_PARTIAL;
    struct cms_certs *to = cms_certs_new();
    struct buf plain = BUF_INIT;
    CMS_ContentInfo *inner = parse(der_in, n), *cms = NULL;
    BIO *in = NULL;
    bool pem = cert_n > 10 && memcmp(cert, "-----BEGIN", 10) == 0;
    enum err_code rc;
    if (inner == NULL) {
        rc = cms_fail(e, ERR_MALFORMED, "is no CMS structure");
        goto out;
    }
    ERR_GOTO(rc,
             pem ? cms_certs_add_pem(to, cert, cert_n, e) : cms_certs_add_der(to, cert, cert_n, e),
             out);
    if (sk_X509_num(to->certs) == 0) {
        rc = err_set(e, ERR_INVALID, "certificate", "there is none to encrypt for");
        goto out;
    }
    ERR_GOTO(rc, strip(inner, &plain, e), out);
    in = BIO_new_mem_buf(plain.data, (int)plain.len);
    while (sk_X509_num(to->certs) > 1) { /* the chain behind the device's is no recipient */
        X509_free(sk_X509_pop(to->certs));
    }
    cms = CMS_encrypt(to->certs, NULL, EVP_aes_256_cbc(), flags);
    if (cms == NULL || CMS_set1_eContentType(cms, CMS_get0_type(inner)) != 1 ||
        CMS_final(cms, in, NULL, flags) != 1) {
        rc = cms_fail(e, ERR_INVALID, "can't encrypt for this certificate");
    } else {
        rc = print(cms, der, e);
    }
out:
    CMS_ContentInfo_free(cms);
    CMS_ContentInfo_free(inner);
    BIO_free(in);
    buf_free(&plain);
    cms_certs_free(to);
    return rc;
}
