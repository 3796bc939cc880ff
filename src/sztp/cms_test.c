// SPDX-License-Identifier: Apache-2.0
/* The artifacts' wrapping: what we make others read (openssl, in test/e2e), here what comes back is
 * what went in, and what is wrong is told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pkcs7.h>

#include "base/mem.h"
#include "sztp/testing/test_pki.h"

static const char text[] = "{\"a\":1}";
static struct test_cert root, middle, owner, device, device_rsa;

static int set_up(void **state) {
    (void)state;
    root = test_cert(&(struct test_wanted){.cn = "root", .ca = true});
    middle = test_cert(&(struct test_wanted){.cn = "middle", .ca = true, .issuer = &root});
    owner = test_cert(&(struct test_wanted){
        .cn = "owner", .issuer = &middle, .key_usage = "critical,digitalSignature"});
    device = test_cert(&(struct test_wanted){.cn = "device", .serial = "S-1", .issuer = &root});
    device_rsa = test_cert(&(struct test_wanted){.cn = "device", .issuer = &root, .rsa = true});
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct test_cert *all[] = {&root, &middle, &owner, &device, &device_rsa};
    for (size_t i = 0; i < 5; i++) {
        test_cert_free(all[i]);
    }
    return 0;
}

static void expect(const struct buf *der, unsigned allowed, const struct cms_key *me,
                   enum cms_type type, bool is_signed, bool encrypted) {
    struct cms_content c;
    struct err e;
    assert_int_equal(cms_open(der->data, der->len, allowed, me, &c, &e), ERR_OK);
    assert_int_equal(c.type, type);
    assert_int_equal(c.is_signed, is_signed);
    assert_int_equal(c.was_encrypted, encrypted);
    assert_int_equal(c.bytes.len, strlen(text));
    assert_memory_equal(c.bytes.data, text, strlen(text));
    cms_content_free(&c);
}

/* proves: PH-130 */
static void not_signed(void **state) {
    (void)state;
    static const uint8_t json_head[] = {0x30, 0x18, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
                                        0x01, 0x09, 0x10, 0x01, 0x2b, 0xa0, 0x09, 0x04, 0x07};
    const enum cms_type types[] = {CMS_CI_XML, CMS_CI_JSON, CMS_DATA, CMS_VOUCHER_JSON};
    struct buf der = BUF_INIT;
    struct err e;
    for (size_t i = 0; i < 4; i++) {
        buf_clear(&der);
        assert_int_equal(cms_wrap(types[i], text, strlen(text), &der, &e), ERR_OK);
        expect(&der, 15, NULL, types[i], false, false);
        struct cms_content c;
        assert_int_equal(cms_open(der.data, der.len, 15 & ~types[i], NULL, &c, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, "another type of content"));
        if (types[i] == CMS_CI_JSON) { /* byte for byte as the specification prints it */
            assert_memory_equal(der.data, json_head, sizeof json_head);
        }
    }
    buf_free(&der);
}

/* Each length of length. */
static void sizes(void **state) {
    (void)state;
    const size_t n[] = {0, 1, 90, 127, 128, 200, 255, 256, 300, 65535, 65536, 70000, 1 << 20};
    uint8_t *bytes = mem_alloc(1 << 20);
    struct buf der = BUF_INIT;
    struct cms_content c;
    struct err e;
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        buf_clear(&der);
        bytes[n[i] / 2] = 7;
        assert_int_equal(cms_wrap(CMS_CI_XML, bytes, n[i], &der, &e), ERR_OK);
        assert_int_equal(cms_open(der.data, der.len, CMS_CI_XML, NULL, &c, &e), ERR_OK);
        assert_int_equal(c.bytes.len, n[i]);
        assert_memory_equal(n[i] > 0 ? c.bytes.data : bytes, bytes, n[i]);
        cms_content_free(&c);
    }
    assert_int_equal(cms_wrap(CMS_CI_XML, bytes, CMS_DER_MAX, &der, &e), ERR_TOO_BIG);
    assert_int_equal(cms_open(bytes, (size_t)CMS_DER_MAX + 1, CMS_CI_XML, NULL, &c, &e),
                     ERR_TOO_BIG);
    buf_free(&der);
    mem_free(bytes);
}

/* proves: PH-130 */
static void signed_data(void **state) {
    (void)state;
    struct cms_key *k = test_cms_key(&owner, &middle);
    struct buf der = BUF_INIT;
    struct err e;
    const enum cms_type types[] = {CMS_CI_XML, CMS_CI_JSON, CMS_DATA, CMS_VOUCHER_JSON};
    for (size_t i = 0; i < 4; i++) {
        buf_clear(&der);
        assert_int_equal(cms_sign(types[i], text, strlen(text), k, &der, &e), ERR_OK);
        expect(&der, types[i], NULL, types[i], true, false);
    }
    struct cms_certs *c;
    assert_int_equal(cms_certs_parse(der.data, der.len, NULL, &c, &e), ERR_OK);
    assert_int_equal(cms_certs_count(c), 2); /* the signer's and what stands above it */
    cms_certs_free(c);
    cms_key_free(k);
    buf_free(&der);
}

/* Bare, signed and certificates; for keys of both kinds. */
static void encrypted(void **state) {
    (void)state;
    struct test_cert *const to[] = {&device, &device_rsa};
    struct cms_key *k = test_cms_key(&owner, NULL);
    struct buf plain = BUF_INIT, der = BUF_INIT, cert = BUF_INIT;
    struct cms_content c;
    struct err e;
    for (size_t i = 0; i < 2; i++) {
        struct cms_key *me = test_cms_key(to[i], NULL), *other = test_cms_key(to[1 - i], NULL);
        for (int form = 0; form < 3; form++) {
            buf_clear(&plain);
            buf_clear(&der);
            buf_clear(&cert);
            form == 1 ? test_cert_pem(to[i], &cert) : test_cert_der(to[i], &cert);
            if (form == 0) {
                assert_int_equal(cms_wrap(CMS_CI_JSON, text, strlen(text), &plain, &e), ERR_OK);
            } else {
                assert_int_equal(cms_sign(CMS_CI_JSON, text, strlen(text), k, &plain, &e), ERR_OK);
            }
            assert_int_equal(cms_encrypt(plain.data, plain.len, cert.data, cert.len, &der, &e),
                             ERR_OK);
            expect(&der, CMS_CI_JSON, me, CMS_CI_JSON, form > 0, true);
            assert_int_equal(cms_open(der.data, der.len, 15, NULL, &c, &e), ERR_DENIED);
            assert_int_equal(cms_open(der.data, der.len, 15, other, &c, &e), ERR_DENIED);
        }
        struct cms_certs *all = test_certs(&owner, &middle, NULL), *back;
        buf_clear(&plain);
        buf_clear(&der);
        assert_int_equal(cms_certs_print(all, &plain, &e), ERR_OK);
        assert_int_equal(cms_encrypt(plain.data, plain.len, cert.data, cert.len, &der, &e), ERR_OK);
        assert_int_equal(cms_certs_parse(der.data, der.len, me, &back, &e), ERR_OK);
        assert_int_equal(cms_certs_count(back), 2);
        cms_certs_free(all);
        cms_certs_free(back);
        cms_key_free(me);
        cms_key_free(other);
    }
    cms_key_free(k);
    buf_free(&plain);
    buf_free(&der);
    buf_free(&cert);
}

/* What producers that stand on S/MIME encrypt: a whole ContentInfo, said to be data. */
static void encrypted_as_data(void **state) {
    (void)state;
    struct cms_key *me = test_cms_key(&device, NULL);
    struct buf plain = BUF_INIT, der = BUF_INIT;
    struct err e;
    cms_wrap(CMS_CI_JSON, text, strlen(text), &plain, &e);
    STACK_OF(X509) *to = sk_X509_new_null();
    sk_X509_push(to, device.x);
    BIO *in = BIO_new_mem_buf(plain.data, (int)plain.len);
    CMS_ContentInfo *cms = CMS_encrypt(to, in, EVP_aes_128_cbc(), CMS_BINARY);
    assert_non_null(cms);
    unsigned char *at = buf_extend(&der, (size_t)i2d_CMS_ContentInfo(cms, NULL));
    i2d_CMS_ContentInfo(cms, &at);
    expect(&der, CMS_CI_JSON, me, CMS_CI_JSON, false, true);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    sk_X509_free(to);
    cms_key_free(me);
    buf_free(&plain);
    buf_free(&der);
}

/* proves: PH-144 */
static void certificates(void **state) {
    (void)state;
    struct test_cert stranger = test_cert(&(struct test_wanted){.cn = "stranger", .ca = true});
    struct test_cert second =
        test_cert(&(struct test_wanted){.cn = "second", .ca = true, .issuer = &root});
    struct cms_certs *good = test_certs(&owner, &middle, &root), *back;
    struct cms_certs *no_root = test_certs(&owner, &middle, NULL);
    struct cms_certs *two_roots = test_certs(&middle, &root, &stranger);
    struct cms_certs *fork = test_certs(&middle, &root, &second);
    struct cms_certs *gap = test_certs(&owner, &root, NULL);
    struct cms_certs *one = test_certs(&root, NULL, NULL);
    struct buf der = BUF_INIT, a = BUF_INIT, b = BUF_INIT;
    struct err e;
    assert_int_equal(cms_certs_print(good, &der, &e), ERR_OK);
    assert_int_equal(cms_certs_parse(der.data, der.len, NULL, &back, &e), ERR_OK);
    assert_int_equal(cms_certs_count(back), 3);
    for (size_t i = 0; i < 3; i++) { /* in order */
        buf_clear(&a);
        buf_clear(&b);
        cms_certs_der(good, i, &a);
        cms_certs_der(back, i, &b);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
    }
    assert_int_equal(cms_certs_one_chain(back, &e), ERR_OK);
    assert_int_equal(cms_certs_one_chain(one, &e), ERR_OK);
    assert_int_equal(cms_certs_one_chain(no_root, &e), ERR_INVALID);
    assert_int_equal(cms_certs_one_chain(two_roots, &e), ERR_INVALID);
    assert_int_equal(cms_certs_one_chain(fork, &e), ERR_INVALID);
    assert_int_equal(cms_certs_one_chain(gap, &e), ERR_INVALID);
    /* a text and back, with a revocation list and something that is neither */
    struct buf pem = BUF_INIT;
    struct cms_certs *read = cms_certs_new();
    cms_certs_to_pem(good, &pem);
    test_key_pem(&owner, &pem);
    test_crl_pem(&root, NULL, -60, 3600, &pem);
    assert_int_equal(cms_certs_add_pem(read, pem.data, pem.len, &e), ERR_OK);
    assert_int_equal(cms_certs_count(read), 3);
    buf_clear(&der);
    assert_int_equal(cms_certs_print(read, &der, &e), ERR_OK);
    cms_certs_free(back);
    assert_int_equal(cms_certs_parse(der.data, der.len, NULL, &back, &e), ERR_OK);
    assert_int_equal(sk_X509_CRL_num(back->crls), 1);
    assert_int_equal(cms_certs_add_pem(read, "nothing", 7, &e), ERR_MALFORMED);
    assert_int_equal(cms_certs_add_der(read, "nothing", 7, &e), ERR_MALFORMED);
    assert_int_equal(cms_certs_add_file(read, "/nonexistent", &e), ERR_IO);
    assert_string_equal(e.path, "/nonexistent");
    for (int i = 0; i < 2 * CMS_CERTS_MAX; i++) {
        buf_clear(&a);
        test_cert_der(&root, &a);
        assert_int_equal(cms_certs_add_der(read, a.data, a.len, &e),
                         cms_certs_count(read) < CMS_CERTS_MAX - 1 ? ERR_OK : ERR_LIMIT);
    }
    struct cms_certs *const all[] = {good, back, no_root, two_roots, fork, gap, one, read};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        cms_certs_free(all[i]);
    }
    test_cert_free(&stranger);
    test_cert_free(&second);
    buf_free(&pem);
    buf_free(&der);
    buf_free(&a);
    buf_free(&b);
}

/* Revocation lists in DER, and whose they are. */
static void lists(void **state) {
    (void)state;
    struct test_cert fake = test_cert(&(struct test_wanted){.cn = "root", .ca = true});
    struct cms_certs *c = test_certs(&root, NULL, NULL), *read = cms_certs_new();
    struct buf pem = BUF_INIT, der = BUF_INIT;
    struct err e;
    int64_t ends_s;
    assert_int_equal(cms_certs_check_crls(c, &ends_s, &e), ERR_ABSENT);
    assert_int_equal(cms_certs_add_crl(c, "nothing", 7, &e), ERR_MALFORMED);
    assert_int_equal(cms_certs_add_crl(c, "", 0, &e), ERR_MALFORMED);
    test_crl_pem(&root, NULL, -60, 7200, &pem);
    assert_int_equal(cms_certs_add_pem(read, pem.data, pem.len, &e), ERR_OK);
    unsigned char *at =
        buf_extend(&der, (size_t)i2d_X509_CRL(sk_X509_CRL_value(read->crls, 0), NULL));
    i2d_X509_CRL(sk_X509_CRL_value(read->crls, 0), &at);
    assert_int_equal(cms_certs_add_crl(c, der.data, der.len - 1, &e), ERR_MALFORMED);
    buf_char(&der, 0);
    assert_int_equal(cms_certs_add_crl(c, der.data, der.len, &e), ERR_MALFORMED);
    assert_int_equal(cms_certs_add_crl(c, der.data, der.len - 1, &e), ERR_OK);
    assert_int_equal(cms_certs_check_crls(c, &ends_s, &e), ERR_OK);
    assert_in_range(ends_s, time(NULL) + 3600, time(NULL) + 7200);
    buf_clear(&pem);
    test_crl_pem(&root, NULL, -60, 3000, &pem); /* ends before */
    assert_int_equal(cms_certs_add_pem(c, pem.data, pem.len, &e), ERR_OK);
    assert_int_equal(cms_certs_check_crls(c, &ends_s, &e), ERR_OK);
    assert_in_range(ends_s, time(NULL), time(NULL) + 3000);
    buf_clear(&pem);
    test_crl_pem(&fake, NULL, -60, 3600, &pem);
    assert_int_equal(cms_certs_add_pem(c, pem.data, pem.len, &e), ERR_OK);
    assert_int_equal(cms_certs_check_crls(c, &ends_s, &e), ERR_INVALID);
    cms_certs_free(c);
    cms_certs_free(read);
    test_cert_free(&fake);
    buf_free(&pem);
    buf_free(&der);
}

static void keys(void **state) {
    (void)state;
    struct buf cert = BUF_INIT, key = BUF_INIT;
    struct cms_key *k;
    struct err e;
    test_cert_pem(&owner, &cert);
    test_key_pem(&device, &key);
    assert_int_equal(cms_key_of(cert.data, cert.len, key.data, key.len, &k, &e), ERR_INVALID);
    assert_null(k);
    assert_string_equal(e.text, "the key is not that of the certificate");
    assert_int_equal(cms_key_of("x", 1, key.data, key.len, &k, &e), ERR_INVALID);
    assert_string_equal(e.path, "certificate");
    assert_int_equal(cms_key_of(cert.data, cert.len, "x", 1, &k, &e), ERR_INVALID);
    assert_string_equal(e.path, "key");
    assert_int_equal(cms_key_load("/nonexistent.pem", "/nonexistent.key", &k, &e), ERR_INVALID);
    assert_string_equal(e.path, "/nonexistent.pem");
    cms_key_free(NULL);
    buf_free(&cert);
    buf_free(&key);
}

/* proves: PH-202 */
static void serial_numbers(void **state) {
    (void)state;
    struct test_cert all =
        test_cert(&(struct test_wanted){.cn = "cn-1", .serial = "sub-1", .hardware = "hw-1"});
    struct test_cert hw = test_cert(&(struct test_wanted){.cn = "cn-2", .hardware = "hw-2"});
    struct test_cert blank = test_cert(&(struct test_wanted){.cn = "a name"});
    struct buf der = BUF_INIT;
    char out[CMS_SERIAL_MAX + 1];
    struct err e;
    const struct {
        const struct test_cert *c;
        unsigned from;
        const char *want;
    } cases[] = {
        {&all, CMS_SERIAL_ANY, "sub-1"}, {&all, CMS_SERIAL_HARDWARE | CMS_SERIAL_CN, "hw-1"},
        {&all, CMS_SERIAL_CN, "cn-1"},   {&hw, CMS_SERIAL_ANY, "hw-2"},
        {&hw, CMS_SERIAL_SUBJECT, NULL}, {&hw, CMS_SERIAL_SUBJECT | CMS_SERIAL_CN, "cn-2"},
        {&blank, CMS_SERIAL_ANY, NULL}, /* no word */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&der);
        test_cert_der(cases[i].c, &der);
        enum err_code rc = cms_serial_of(der.data, der.len, cases[i].from, out, &e);
        assert_int_equal(rc, cases[i].want != NULL ? ERR_OK : ERR_ABSENT);
        assert_string_equal(out, cases[i].want != NULL ? cases[i].want : "");
        /* Cut anywhere, or with something behind it, it is none. */
        for (size_t n = 0; n < der.len; n++) {
            uint8_t *cut = mem_dup(der.data, n);
            assert_int_equal(cms_serial_of(cut, n, CMS_SERIAL_ANY, out, &e), ERR_MALFORMED);
            mem_free(cut);
        }
        buf_u8(&der, 0);
        assert_int_equal(cms_serial_of(der.data, der.len, CMS_SERIAL_ANY, out, &e), ERR_MALFORMED);
    }
    assert_int_equal(cms_serial_of("x", 1, CMS_SERIAL_ANY, out, &e), ERR_MALFORMED);
    test_cert_free(&all);
    test_cert_free(&hw);
    test_cert_free(&blank);
    buf_free(&der);
}

/* Every cut and every changed octet of a signed artifact ends in an answer. */
static void damaged(void **state) {
    (void)state;
    struct cms_key *k = test_cms_key(&owner, NULL);
    struct buf der = BUF_INIT;
    struct cms_content c;
    struct err e;
    cms_sign(CMS_CI_JSON, text, strlen(text), k, &der, &e);
    for (size_t i = 0; i < der.len; i++) {
        assert_int_equal(cms_open(der.data, i, 15, k, &c, &e), ERR_MALFORMED);
        cms_content_free(&c);
        der.data[i] ^= 0x55;
        cms_open(der.data, der.len, 15, k, &c, &e);
        cms_content_free(&c);
        der.data[i] ^= 0x55;
    }
    buf_u8(&der, 0); /* something behind it */
    assert_int_equal(cms_open(der.data, der.len, 15, k, &c, &e), ERR_MALFORMED);
    /* lengths that are not there */
    static const uint8_t huge[] = {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x06, 0x01, 0x01};
    assert_int_equal(cms_open(huge, sizeof huge, 15, k, &c, &e), ERR_MALFORMED);
    cms_key_free(k);
    buf_free(&der);
}

static void base64(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } good[] = {{"", 0, ""},
                {"TQ==", 1, "M"},
                {"TWE=", 2, "Ma"},
                {"TWFu", 3, "Man"},
                {" T\r\nW\tF u\n", 3, "Man"},
                {"TWFuTWFu", 6, "ManMan"},
                {"TWFuTR==", 4, "ManM"} /* bits behind the last octet */};
    static const char *const bad[] = {
        "T", "TQ", "TQ=", "TWE", "TQ===", "====", "TW-u", "TQ==TQ==", "=", "TWFu=", "T=Q="};
    struct buf out = BUF_INIT;
    struct err e;
    buf_str(&out, "keep");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cms_unbase64(bad[i], strlen(bad[i]), &out, &e), ERR_INVALID);
        assert_int_equal(out.len, 4);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        out.len = 4;
        assert_int_equal(cms_unbase64(good[i].in, strlen(good[i].in), &out, &e), ERR_OK);
        assert_int_equal(out.len, 4 + good[i].n);
        assert_memory_equal(out.data + 4, good[i].out, good[i].n);
    }
    struct buf big = BUF_INIT, again = BUF_INIT;
    memset(buf_extend(&big, 7 << 20), 0xa5, 7 << 20);
    buf_clear(&out);
    cms_base64(big.data, big.len, &out);
    assert_int_equal(out.len, (big.len + 2) / 3 * 4);
    assert_int_equal(cms_unbase64((char *)out.data, out.len, &again, &e), ERR_OK);
    assert_int_equal(again.len, big.len);
    assert_memory_equal(again.data, big.data, big.len);
    buf_free(&big);
    buf_free(&again);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_signed),
        cmocka_unit_test(sizes),
        cmocka_unit_test(signed_data),
        cmocka_unit_test(encrypted),
        cmocka_unit_test(encrypted_as_data),
        cmocka_unit_test(certificates),
        cmocka_unit_test(lists),
        cmocka_unit_test(keys),
        cmocka_unit_test(serial_numbers),
        cmocka_unit_test(damaged),
        cmocka_unit_test(base64),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
