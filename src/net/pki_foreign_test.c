// SPDX-License-Identifier: Apache-2.0
/* Requests to other authorities, and whether what comes back fits: what is wrong is named and gives
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/mem.h"
#include "net/pki.h"

enum { DAY_S = 86400 };

static char dir[64];
static int64_t now_s;

static const char *in_dir(const char *name) {
    static char path[8][128];
    static unsigned at;
    char *p = path[at++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static int set_up(void **state) {
    struct err e;
    snprintf(dir, sizeof dir, "/tmp/pki-foreign-XXXXXX");
    now_s = time(NULL);
    return mkdtemp(dir) == NULL ||
           pki_make_ca("test CA", 30, in_dir("ca.pem"), in_dir("ca.key"), &e) != ERR_OK;
}

static int tear_down(void **state) {
    static const char *const files[] = {"ca.pem", "ca.key", "s.pem", "s.key",
                                        "o.pem",  "o.key",  "r.key", "x.pem"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        unlink(in_dir(files[i]));
    }
    return rmdir(dir);
}

/* Free the answer with mem_free. */
static char *text_of(const char *name) {
    char *text = mem_alloc(PKI_PEM_MAX);
    FILE *f = fopen(in_dir(name), "r");
    assert_non_null(f);
    size_t n = fread(text, 1, PKI_PEM_MAX - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static char *joined(const char *a, const char *b) {
    return mem_printf("%s%s", a, b);
}

static char *base64(const char *text) {
    size_t n = strlen(text);
    char *out = mem_alloc(n * 2 + 8);
    EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    return out;
}

static void issue(const char *cn, const char *const *sans, unsigned use, int days) {
    struct err e = {0};
    struct pki_request r = {.common_name = cn, .sans = sans, .use = use, .days = days};
    if (pki_issue(in_dir("ca.pem"), in_dir("ca.key"), &r, in_dir("s.pem"), in_dir("s.key"), &e) !=
        ERR_OK) {
        fail_msg("%s: %s", e.path, e.text);
    }
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void a_request_says_what_it_is_for(void **state) {
    static const char *const sans[] = {"DNS:weft.example.net", "IP:192.0.2.1", NULL};
    struct pki_request r = {.common_name = "weft.example.net", .sans = sans};
    struct buf pem = BUF_INIT;
    struct err e;
    struct stat st;
    assert_int_equal(pki_make_request(&r, in_dir("r.key"), &pem, &e), ERR_OK);
    assert_int_equal(stat(in_dir("r.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    assert_non_null(req);
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    assert_int_equal(X509_REQ_verify(req, key), 1); /* whoever asks has the key */
    char cn[80];
    X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(req), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, "weft.example.net");
    STACK_OF(X509_EXTENSION) *ext = X509_REQ_get_extensions(req);
    GENERAL_NAMES *names = X509V3_get_d2i(ext, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 2);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(ext, X509_EXTENSION_free);
    X509_REQ_free(req);
    BIO_free(bio);
    buf_free(&pem);
}

static void a_bad_request_makes_no_key(void **state) {
    static const char *const odd[] = {"NAME:x", NULL};
    char long_name[80];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const struct pki_request bad[] = {
        {.common_name = ""}, {.common_name = long_name}, {.common_name = "a", .sans = odd}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf pem = BUF_INIT;
        struct err e = {.code = ERR_OK};
        assert_int_not_equal(pki_make_request(&bad[i], in_dir("r.key"), &pem, &e), ERR_OK);
        assert_true(e.text[0] != '\0');
        assert_int_equal(pem.len, 0);
        assert_int_not_equal(access(in_dir("r.key"), F_OK), 0);
        buf_free(&pem);
    }
    struct pki_request good = {.common_name = "a"}; /* names are not needed */
    struct buf pem = BUF_INIT;
    struct err e;
    assert_int_equal(pki_make_request(&good, in_dir("r.key"), &pem, &e), ERR_OK);
    buf_clear(&pem);
    assert_int_not_equal(pki_make_request(&good, in_dir("no/such/folder.key"), &pem, &e), ERR_OK);
    assert_int_equal(pem.len, 0);
    buf_free(&pem);
}

/* ---- descriptions -----------------------------------------------------------------------------
 */

static void it_is_described(void **state) {
    static const char *const sans[] = {"DNS:a.example", "IP:2001:db8::1", "URI:urn:weft:user:ann",
                                       NULL};
    struct pki_info i;
    struct err e;
    char fingerprint[65];
    issue("line\nbreak, and comma", sans, PKI_SERVER, 10);
    assert_int_equal(pki_describe(in_dir("s.pem"), &i, &e), ERR_OK);
    assert_null(strchr(i.subject, '\n')); /* it goes into lines of a log */
    assert_string_equal(i.issuer, "CN=test CA");
    assert_non_null(strstr(i.names, "a.example"));
    assert_non_null(strstr(i.names, "2001:db8::1"));
    assert_non_null(strstr(i.names, "urn:weft:user:ann"));
    assert_false(i.authority);
    assert_true(i.not_before <= now_s + 60 && i.not_after > now_s + 9 * DAY_S);
    assert_int_equal(pki_fingerprint(in_dir("s.pem"), fingerprint, &e), ERR_OK);
    assert_string_equal(i.fingerprint, fingerprint);
    assert_int_equal(pki_describe(in_dir("ca.pem"), &i, &e), ERR_OK);
    assert_true(i.authority);
    assert_int_equal(pki_describe(in_dir("s.key"), &i, &e), ERR_INVALID);
    assert_int_equal(pki_describe(in_dir("missing"), &i, &e), ERR_INVALID);
}

static void many_names_are_cut(void **state) {
    const char *sans[16];
    char text[15][80];
    for (size_t i = 0; i < 15; i++) {
        snprintf(text[i], sizeof text[i], "DNS:a-rather-long-name-of-a-host-number-%zu.example.net",
                 i);
        sans[i] = text[i];
    }
    sans[15] = NULL;
    struct pki_info i;
    struct err e;
    issue("a", sans, PKI_SERVER, 10);
    assert_int_equal(pki_describe(in_dir("s.pem"), &i, &e), ERR_OK);
    assert_true(strlen(i.names) < PKI_NAMES_MAX && strlen(i.names) > PKI_NAMES_MAX - 60);
}

/* ---- anchors ----------------------------------------------------------------------------------
 */

static enum err_code anchor(const char *text, int64_t at_s, struct buf *pem, struct err *e) {
    struct pki_info i;
    return pki_check_anchor(text, at_s, &i, pem, e);
}

static void refused_anchor(const char *text, int64_t at_s, enum err_code code, const char *says) {
    struct buf pem = BUF_INIT;
    struct err e = {.code = ERR_OK};
    assert_int_equal(anchor(text, at_s, &pem, &e), code);
    if (strstr(e.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    }
    assert_int_equal(pem.len, 0);
    buf_free(&pem);
}

static void an_anchor_is_one_authority(void **state) {
    struct buf pem = BUF_INIT, again = BUF_INIT;
    struct err e;
    char *ca = text_of("ca.pem"), *encoded = base64(ca), *twice = joined(ca, ca);
    assert_int_equal(anchor(ca, now_s, &pem, &e), ERR_OK);
    assert_string_equal(buf_cstr(&pem), ca);
    assert_int_equal(anchor(encoded, now_s, &again, &e), ERR_OK);
    assert_string_equal(buf_cstr(&again), ca);
    refused_anchor(twice, now_s, ERR_INVALID, "is one certificate, and there are 2");
    refused_anchor(ca, now_s + 31 * DAY_S, ERR_INVALID, "CN=test CA has ended");
    refused_anchor(ca, now_s - 365 * DAY_S, ERR_INVALID, "is the clock of this machine right?");
    issue("leaf", NULL, PKI_SERVER, 10);
    char *leaf = text_of("s.pem");
    refused_anchor(leaf, now_s, ERR_INVALID, "CN=leaf is no authority");
    mem_free(leaf);
    mem_free(ca);
    mem_free(encoded);
    mem_free(twice);
    buf_free(&pem);
    buf_free(&again);
}

static void what_is_no_certificate(void **state) {
    char *ca = text_of("ca.pem"), *key = text_of("ca.key"), *both = joined(ca, "-----BEGIN");
    char *mixed = joined(ca, key), *cut = mem_dup(ca, strlen(ca) + 1), *nine = mem_strdup("");
    cut[strlen(cut) / 2] = '\0';
    refused_anchor("", now_s, ERR_MALFORMED, "neither PEM nor the Base64");
    refused_anchor("AAA", now_s, ERR_MALFORMED, "neither PEM nor the Base64");
    refused_anchor("!!!!", now_s, ERR_MALFORMED, "neither PEM nor the Base64");
    refused_anchor("AAAA", now_s, ERR_MALFORMED, "certificate 1 in it can't be read");
    refused_anchor(key, now_s, ERR_MALFORMED, "certificate 1 in it can't be read");
    refused_anchor(cut, now_s, ERR_MALFORMED, "certificate 1 in it can't be read");
    cut[strlen(cut) / 2] = '\n';
    refused_anchor(cut, now_s, ERR_MALFORMED, "can't be read");
    for (int i = 0; i <= PKI_CHAIN_MAX; i++) {
        char *more = joined(nine, ca);
        mem_free(nine);
        nine = more;
    }
    refused_anchor(nine, now_s, ERR_LIMIT, "more than 8 certificates");
    char *large = mem_alloc(PKI_PEM_MAX + 2);
    memset(large, 'A', PKI_PEM_MAX + 1);
    refused_anchor(large, now_s, ERR_LIMIT, "larger than 65536 bytes");
    /* A key behind a certificate is left out, and never given back. */
    struct buf pem = BUF_INIT;
    struct err e;
    if (anchor(mixed, now_s, &pem, &e) == ERR_OK) {
        assert_null(strstr(buf_cstr(&pem), "KEY"));
    }
    buf_free(&pem);
    char *all[] = {ca, key, both, mixed, cut, nine, large};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mem_free(all[i]);
    }
}

/* ---- servers ----------------------------------------------------------------------------------
 */

struct asked {
    const char *key, *anchor, *name;
    int64_t at_s;
};

static enum err_code server(const char *text, const struct asked *a, struct buf *pem,
                            struct err *e) {
    const char *anchors[] = {in_dir("missing"), in_dir(a->anchor), NULL};
    const char *names[] = {"weft.example.net", a->name, NULL};
    struct pki_wanted w = {.key_file = in_dir(a->key), .anchors = anchors, .names = names};
    w.now_s = a->at_s != 0 ? a->at_s : now_s;
    return pki_check_server(text, &w, pem, e);
}

static void refused_server(const char *text, struct asked a, const char *says) {
    struct buf pem = BUF_INIT;
    struct err e = {.code = ERR_OK};
    assert_int_equal(server(text, &a, &pem, &e), ERR_INVALID);
    if (strstr(e.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    }
    assert_int_equal(pem.len, 0);
    buf_free(&pem);
}

static void a_server_fits_whole_or_not_at_all(void **state) {
    static const char *const sans[] = {"DNS:weft.example.net", "DNS:*.example.org", "IP:192.0.2.1",
                                       "IP:2001:db8::1", NULL};
    static const char *const names[] = {"192.0.2.1", "2001:db8::1", "a.example.org", NULL};
    struct err e;
    issue("weft.example.net", sans, PKI_SERVER, 10);
    assert_int_equal(pki_make_ca("other CA", 30, in_dir("o.pem"), in_dir("o.key"), &e), ERR_OK);
    char *leaf = text_of("s.pem"), *ca = text_of("ca.pem"), *chain = joined(leaf, ca);
    char *wrong_way = joined(ca, leaf), *encoded = base64(leaf);
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *const texts[] = {leaf, encoded, chain};
        for (size_t k = 0; k < 3; k++) {
            struct buf pem = BUF_INIT;
            struct asked a = {"s.key", "ca.pem", names[i], 0};
            if (server(texts[k], &a, &pem, &e) != ERR_OK) {
                fail_msg("%s: %s", names[i], e.text);
            }
            assert_string_equal(buf_cstr(&pem), k == 2 ? chain : leaf);
            buf_free(&pem);
        }
    }
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "b.example.net", 0},
                   "is not for b.example.net");
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "192.0.2.2", 0}, "is not for 192.0.2.2");
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "a.b.example.org", 0}, "is not for");
    refused_server(leaf, (struct asked){"ca.key", "ca.pem", "192.0.2.1", 0},
                   "for another key than that of the request");
    refused_server(wrong_way, (struct asked){"s.key", "ca.pem", "192.0.2.1", 0}, "another key");
    refused_server(leaf, (struct asked){"s.key", "o.pem", "192.0.2.1", 0},
                   "to be added as an anchor first");
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "192.0.2.1", now_s + 11 * DAY_S},
                   "has ended");
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "192.0.2.1", now_s - 365 * DAY_S},
                   "is good only from");
    assert_true(pki_key_fits(in_dir("s.pem"), in_dir("s.key")));
    assert_false(pki_key_fits(in_dir("s.pem"), in_dir("ca.key")));
    assert_false(pki_key_fits(in_dir("missing"), in_dir("s.key")));
    assert_false(pki_key_fits(in_dir("s.pem"), in_dir("missing")));
    assert_false(pki_key_fits(in_dir("s.key"), in_dir("s.key")));
    char *all[] = {leaf, ca, chain, wrong_way, encoded};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mem_free(all[i]);
    }
}

static void a_clients_certificate_is_no_servers(void **state) {
    static const char *const sans[] = {"DNS:weft.example.net", NULL};
    issue("weft.example.net", sans, PKI_CLIENT, 10);
    char *leaf = text_of("s.pem");
    refused_server(leaf, (struct asked){"s.key", "ca.pem", "weft.example.net", 0}, "purpose");
    mem_free(leaf);
}

/* The key's file is looked into, so what is wrong with it is said of it. */
static void a_key_that_is_gone(void **state) {
    static const char *const sans[] = {"DNS:weft.example.net", NULL};
    issue("weft.example.net", sans, PKI_SERVER, 10);
    char *leaf = text_of("s.pem");
    struct buf pem = BUF_INIT;
    struct err e = {.code = ERR_OK};
    struct asked a = {"missing", "ca.pem", "weft.example.net", 0};
    assert_int_equal(server(leaf, &a, &pem, &e), ERR_INVALID);
    assert_non_null(strstr(e.path, "missing"));
    buf_free(&pem);
    mem_free(leaf);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_request_says_what_it_is_for),
        T(a_bad_request_makes_no_key),
        T(it_is_described),
        T(many_names_are_cut),
        T(an_anchor_is_one_authority),
        T(what_is_no_certificate),
        T(a_server_fits_whole_or_not_at_all),
        T(a_clients_certificate_is_no_servers),
        T(a_key_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
