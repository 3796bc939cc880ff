// SPDX-License-Identifier: Apache-2.0
/*
 * Vouchers with a device's nonce, from its manufacturer's authority (PH-205): a request that the
 * signer signs, as RFC 8995 section 5.5 has it. Blocks: on a worker.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "onboard/internal.h"
#include "sztp/cms.h"
#include "sztp/voucher.h"

#define MASA_TYPE "application/voucher-cms+json"
enum { CONNECT_S = 5, ALL_S = 15, VOUCHER_MAX = 65536 };

static size_t take(char *p, size_t size, size_t n, void *arg) {
    struct buf *b = arg;
    if (b->len + size * n > VOUCHER_MAX) {
        return 0; /* ends it with an error */
    }
    buf_add(b, p, size * n);
    return size * n;
}

static enum err_code request(const struct cms_key *signer, const char *serial, const uint8_t *nonce,
                             size_t n, struct buf *der, struct err *e) {
    struct buf json = BUF_INIT, base64 = BUF_INIT;
    char now[TIME_TEXT_MAX];
    cms_base64(nonce, n, &base64);
    json_t *o = json_pack("{s:{s:s, s:s, s:s}}", "ietf-voucher-request:voucher", "created-on",
                          time_format(clock_wall_s(&clock_real), 0, now), "serial-number", serial,
                          "nonce", buf_cstr(&base64));
    char *text = json_dumps(o, JSON_COMPACT);
    buf_str(&json, text);
    free(text); /* jansson's */
    json_decref(o);
    enum err_code rc = cms_sign(CMS_VOUCHER_JSON, json.data, json.len, signer, der, e);
    buf_free(&json);
    buf_free(&base64);
    return rc;
}

static enum err_code post(const char *uri, const struct buf *authority, const struct buf *der,
                          struct buf *answer, struct err *e) {
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURL *c = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: " MASA_TYPE);
    headers = curl_slist_append(headers, "Accept: " MASA_TYPE);
    headers = curl_slist_append(headers, "Expect:");
    struct curl_blob blob = {authority->data, authority->len, CURL_BLOB_COPY};
    curl_easy_setopt(c, CURLOPT_URL, uri);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ALL_S);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "weft/" WEFT_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)der->data);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)der->len);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    if (authority->len > 0) {
        curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
    }
    CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    enum err_code out = ERR_OK;
    if (rc != CURLE_OK) {
        out = err_set(e, ERR_IO, uri, "%s", why[0] != '\0' ? why : curl_easy_strerror(rc));
    } else if (status != 200) {
        out = err_set(e, ERR_REFUSED, uri, "the server answers with status %ld", status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    return out;
}

/* It must be for that device and that nonce; who signed it is the device's to judge. */
static enum err_code fits(const struct buf *vcj, const char *serial, const uint8_t *nonce, size_t n,
                          struct err *e) {
    struct cms_content c = {.is_signed = false};
    struct voucher v = {.nonce_len = 0};
    enum err_code rc = cms_open(vcj->data, vcj->len, CMS_VOUCHER_JSON | CMS_DATA, NULL, &c, e);
    rc = rc == ERR_OK ? voucher_parse(c.bytes.data, c.bytes.len, &v, e) : rc;
    if (rc == ERR_OK && (!c.is_signed || strcmp(v.serial, serial) != 0 || v.nonce_len != n ||
                         memcmp(v.nonce, nonce, n) != 0)) {
        rc = err_set(e, ERR_INVALID, NULL, "its voucher is not for this device and nonce");
    }
    voucher_free(&v);
    cms_content_free(&c);
    return rc;
}

enum err_code masa_voucher(const struct onboard_signer *s, const struct cms_key *signer,
                           const char *serial, const uint8_t *nonce, size_t n, struct buf *vcj,
                           struct err *e) {
    struct buf authority = BUF_INIT, der = BUF_INIT;
    enum err_code rc = ERR_OK;
    if (s->masa_authority != NULL) {
        rc = pem_text(s->masa_authority, &authority, e);
    }
    rc = rc == ERR_OK ? request(signer, serial, nonce, n, &der, e) : rc;
    rc = rc == ERR_OK ? post(s->masa_uri, &authority, &der, vcj, e) : rc;
    rc = rc == ERR_OK ? fits(vcj, serial, nonce, n, e) : rc;
    buf_free(&authority);
    buf_free(&der);
    return rc;
}
