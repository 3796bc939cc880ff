// SPDX-License-Identifier: Apache-2.0
#include "phone-home/renew.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "sztp/cms.h"

#define EST_PATH "/.well-known/est/simplereenroll"
enum { FILE_MAX = 1 << 20, BODY_MAX = 1 << 20, LIMIT_MS = 60000, SHOWN_MAX = 300 };

int64_t renew_due_s(int64_t from_s, int64_t to_s) {
    return to_s > from_s ? from_s + (to_s - from_s) / 3 * 2 : to_s;
}

/* ---- what there is ------------------------------------------------------------------------- */

struct identity {
    X509 *cert;
    EVP_PKEY *key;
    struct buf chain; /* PEM of what stands behind the certificate */
    int64_t from_s, to_s;
};

static void identity_free(struct identity *i) {
    X509_free(i->cert);
    EVP_PKEY_free(i->key);
    buf_free(&i->chain);
}

static int64_t seconds(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The first certificate of a PEM file, and the rest. */
static enum err_code read_cert(const char *path, struct identity *out, struct err *e) {
    struct buf text = BUF_INIT;
    ERR_TRY(file_read(path, FILE_MAX, &text, e));
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    out->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (out->cert != NULL) {
        char *rest;
        long n = BIO_get_mem_data(bio, &rest);
        buf_add(&out->chain, rest, n > 0 ? (size_t)n : 0);
        out->from_s = seconds(X509_get0_notBefore(out->cert));
        out->to_s = seconds(X509_get0_notAfter(out->cert));
    }
    BIO_free(bio);
    buf_free(&text);
    ERR_clear_error();
    return out->cert != NULL ? ERR_OK : err_set(e, ERR_INVALID, path, "has no certificate in PEM");
}

static enum err_code read_key(const char *path, EVP_PKEY **out, struct err *e) {
    struct buf text = BUF_INIT;
    ERR_TRY(file_read(path, FILE_MAX, &text, e));
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    *out = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (text.data != NULL) {
        mem_wipe(text.data, text.cap);
    }
    buf_free(&text);
    ERR_clear_error();
    return *out != NULL ? ERR_OK : err_set(e, ERR_INVALID, path, "has no private key in PEM");
}

static bool fits(const struct identity *i) {
    bool yes = X509_check_private_key(i->cert, i->key) == 1;
    ERR_clear_error();
    return yes;
}

static enum err_code put_in_place(const char *path, struct err *e) {
    char *staged = mem_printf("%s.renewed", path);
    enum err_code rc =
        rename(staged, path) == 0 ? ERR_OK : err_errno(e, errno, path, "can't be replaced");
    mem_free(staged);
    return rc == ERR_OK ? file_sync_folder_of(path, e) : rc;
}

/* The pair; one of which the power went between key and certificate is put right. */
static enum err_code load(const struct renew_order *o, struct identity *out, struct err *e) {
    ERR_TRY(read_key(o->key, &out->key, e));
    ERR_TRY(read_cert(o->certificate, out, e));
    if (fits(out)) {
        return ERR_OK;
    }
    struct identity staged = {.key = out->key};
    char *path = mem_printf("%s.renewed", o->certificate);
    bool found = read_cert(path, &staged, e) == ERR_OK && fits(&staged);
    mem_free(path);
    if (!found) {
        staged.key = NULL;
        identity_free(&staged);
        return err_set(e, ERR_INVALID, o->key, "the key is not that of %s", o->certificate);
    }
    X509_free(out->cert);
    buf_free(&out->chain);
    *out = staged;
    return put_in_place(o->certificate, e);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Names as they are in the certificate (RFC 7030 section 4.2.2). */
static bool copy_names(X509_REQ *req, const X509 *cert) {
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
    bool ok = X509_REQ_set_subject_name(req, X509_get_subject_name(cert)) == 1;
    if (ok && at >= 0) {
        sk_X509_EXTENSION_push(list, X509_get_ext(cert, at));
        ok = X509_REQ_add_extensions(req, list) == 1;
    }
    sk_X509_EXTENSION_free(list);
    return ok;
}

static enum err_code make_request(const X509 *cert, EVP_PKEY *key, struct buf *base64,
                                  struct err *e) {
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    int n = -1;
    if (key != NULL && req != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        copy_names(req, cert) && X509_REQ_set_pubkey(req, key) == 1 &&
        X509_REQ_sign(req, key, EVP_sha256()) > 0) {
        n = i2d_X509_REQ(req, &der);
    }
    if (n > 0) {
        cms_base64(der, (size_t)n, base64);
    }
    OPENSSL_free(der);
    X509_REQ_free(req);
    ERR_clear_error();
    return n > 0 ? ERR_OK
                 : err_set(e, ERR_INTERNAL, NULL, "no key and certificate request could be made");
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct buf *out = arg;
    if (out->len + size * n > BODY_MAX) {
        return 0;
    }
    buf_add(out, p, size * n);
    return size * n;
}

static void set_options(CURL *c, const struct renew_order *o, const char *uri,
                        const struct buf *request, struct curl_slist *fields, struct buf *answer) {
    curl_easy_setopt(c, CURLOPT_URL, uri);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_CAINFO, o->anchors);
    curl_easy_setopt(c, CURLOPT_SSLCERT, o->certificate);
    curl_easy_setopt(c, CURLOPT_SSLKEY, o->key);
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* not that of the environment */
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "weft-phone-home/" WEFT_VERSION);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)LIMIT_MS);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, request->data);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
}

static enum err_code send_request(const struct renew_order *o, const struct buf *request,
                                  struct buf *answer, struct err *e) {
    char why[CURL_ERROR_SIZE] = "", shown[SHOWN_MAX];
    char *uri = mem_printf("%s" EST_PATH, o->server);
    struct curl_slist *fields = curl_slist_append(NULL, "Content-Type: application/pkcs10");
    CURL *c = curl_easy_init();
    long status = 0;
    enum err_code rc = ERR_OK;
    set_options(c, o, uri, request, fields, answer);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        rc = err_set(e, ERR_UNAVAILABLE, o->server, "%s",
                     why[0] != '\0' ? why : curl_easy_strerror(code));
    } else if (status != 200) {
        text_line(shown, sizeof shown, buf_cstr(answer));
        rc = err_set(e, ERR_REFUSED, o->server, "answers %ld: %s", status, shown);
    }
    curl_easy_cleanup(c);
    curl_slist_free_all(fields);
    mem_free(uri);
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void print_cert(BIO *bio, X509 *x, bool wanted) {
    if (wanted) {
        PEM_write_bio_X509(bio, x);
    }
}

/* The certificate for the new key, then what came with it, or what stood behind the old one. */
static enum err_code read_answer(struct buf *body, EVP_PKEY *key, const struct identity *old,
                                 struct buf *pem, int64_t *ends_s, struct err *e) {
    struct buf der = BUF_INIT;
    ERR_TRY(cms_unbase64(buf_cstr(body), body->len, &der, e));
    const unsigned char *p = der.data;
    PKCS7 *p7 = der.len > 0 ? d2i_PKCS7(NULL, &p, (long)der.len) : NULL;
    STACK_OF(X509) *all =
        p7 != NULL && PKCS7_type_is_signed(p7) && p7->d.sign != NULL ? p7->d.sign->cert : NULL;
    X509 *mine = NULL;
    for (int i = 0; i < sk_X509_num(all) && mine == NULL; i++) {
        X509 *x = sk_X509_value(all, i);
        mine = EVP_PKEY_eq(X509_get0_pubkey(x), key) == 1 ? x : NULL;
    }
    enum err_code rc = ERR_OK;
    if (mine == NULL || seconds(X509_get0_notAfter(mine)) <= clock_wall_s(&clock_real)) {
        rc = err_set(e, ERR_INVALID, NULL,
                     mine == NULL ? "the answer has no certificate for the key"
                                  : "the certificate in the answer has ended already");
    } else {
        BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        print_cert(bio, mine, true);
        for (int i = 0; i < sk_X509_num(all); i++) {
            print_cert(bio, sk_X509_value(all, i), sk_X509_value(all, i) != mine);
        }
        long n = BIO_get_mem_data(bio, &text);
        buf_add(pem, text, (size_t)n);
        if (sk_X509_num(all) == 1) {
            buf_add(pem, old->chain.data, old->chain.len);
        }
        *ends_s = seconds(X509_get0_notAfter(mine));
        BIO_free(bio);
    }
    PKCS7_free(p7);
    buf_free(&der);
    ERR_clear_error();
    return rc;
}

/* Beside the file, with its owner and mode. */
static enum err_code stage(const char *path, const void *p, size_t n, struct err *e) {
    struct stat st;
    char *staged = mem_printf("%s.renewed", path);
    enum err_code rc =
        stat(path, &st) == 0 ? ERR_OK : err_errno(e, errno, path, "can't be looked at");
    rc = rc == ERR_OK ? file_write(staged, p, n, st.st_mode & 0777, e) : rc;
    if (rc == ERR_OK && (st.st_uid != geteuid() || st.st_gid != getegid()) &&
        chown(staged, st.st_uid, st.st_gid) != 0) {
        rc = err_errno(e, errno, staged, "can't be given to the owner of what it replaces");
    }
    mem_free(staged);
    return rc;
}

static enum err_code stage_key(const char *path, EVP_PKEY *key, struct err *e) {
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text = NULL;
    enum err_code rc = ERR_OK;
    if (PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long n = BIO_get_mem_data(bio, &text);
        rc = stage(path, text, (size_t)n, e);
    } else {
        rc = err_set(e, ERR_INTERNAL, path, "the key can't be written");
    }
    BIO_free(bio);
    return rc;
}

static enum err_code renew_now(const struct renew_order *o, const struct identity *old,
                               struct renew_result *out, struct err *e) {
    struct buf request = BUF_INIT, answer = BUF_INIT, pem = BUF_INIT;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    enum err_code rc = make_request(old->cert, key, &request, e);
    rc = rc == ERR_OK ? send_request(o, &request, &answer, e) : rc;
    if (rc == ERR_OK) {
        rc = read_answer(&answer, key, old, &pem, &out->ends_s, e);
        if (rc != ERR_OK) {
            err_prefix_path(e, o->server);
        }
    }
    rc = rc == ERR_OK ? stage(o->certificate, pem.data, pem.len, e) : rc;
    rc = rc == ERR_OK ? stage_key(o->key, key, e) : rc;
    rc = rc == ERR_OK ? put_in_place(o->key, e) : rc;
    rc = rc == ERR_OK ? put_in_place(o->certificate, e) : rc;
    out->renewed = rc == ERR_OK;
    EVP_PKEY_free(key);
    buf_free(&request);
    buf_free(&answer);
    buf_free(&pem);
    return rc;
}

enum err_code renew(const struct renew_order *o, struct renew_result *out, struct err *e) {
    struct identity old = {.cert = NULL};
    char at[TIME_TEXT_MAX];
    int64_t now_s = clock_wall_s(&clock_real);
    *out = (struct renew_result){.renewed = false};
    enum err_code rc = load(o, &old, e);
    if (rc == ERR_OK && old.to_s <= now_s) {
        rc = err_set(e, ERR_REFUSED, o->certificate,
                     "it ended at %s: only bootstrapping gives another",
                     time_format(old.to_s, 0, at));
    } else if (rc == ERR_OK && o->if_due && now_s < renew_due_s(old.from_s, old.to_s)) {
        out->ends_s = old.to_s;
    } else if (rc == ERR_OK) {
        rc = renew_now(o, &old, out, e);
    }
    identity_free(&old);
    return rc;
}
