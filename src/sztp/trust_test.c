// SPDX-License-Identifier: Apache-2.0
/* Signed data is believed when every clause holds; each test breaks one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sztp/testing/test_pki.h"
#include "sztp/trust.h"

static const char info[] = "{\"ietf-sztp-conveyed-info:onboarding-information\":{}}";
enum { DAY_S = 86400 };

/* What there is in the world: a maker of devices, an owner, strangers, a device. */
static struct test_cert maker, masa, domain, issuing, owner, stranger, device;
static struct cms_certs *anchors;
static struct cms_key *masa_key, *owner_key, *stranger_key, *device_key;
static uint8_t akid[CMS_AKID_MAX];
static size_t akid_len;
static int64_t now_s;

static int set_up(void **state) {
    (void)state;
    struct buf der = BUF_INIT;
    struct err e;
    now_s = time(NULL);
    maker = test_cert(&(struct test_wanted){.cn = "maker", .ca = true});
    masa = test_cert(&(struct test_wanted){
        .cn = "masa", .issuer = &maker, .key_usage = "critical,digitalSignature"});
    domain = test_cert(&(struct test_wanted){.cn = "domain", .ca = true});
    issuing = test_cert(&(struct test_wanted){.cn = "issuing", .ca = true, .issuer = &domain});
    owner = test_cert(&(struct test_wanted){
        .cn = "owner", .issuer = &issuing, .key_usage = "critical,digitalSignature"});
    stranger = test_cert(&(struct test_wanted){.cn = "stranger", .ca = true});
    device = test_cert(&(struct test_wanted){.cn = "device", .serial = "S-1", .issuer = &maker});
    anchors = test_certs(&maker, NULL, NULL);
    masa_key = test_cms_key(&masa, NULL);
    owner_key = test_cms_key(&owner, NULL);
    stranger_key = test_cms_key(&stranger, NULL);
    device_key = test_cms_key(&device, NULL);
    test_cert_der(&device, &der);
    int rc = cms_akid_of(der.data, der.len, akid, &akid_len, &e);
    buf_free(&der);
    uint8_t again[CMS_AKID_MAX];
    rc = rc != ERR_OK || cms_key_akid(device_key, again, sizeof again) != akid_len ||
         memcmp(again, akid, akid_len) != 0 || cms_key_akid(device_key, again, akid_len - 1) != 0;
    return rc;
}

static int tear_down(void **state) {
    (void)state;
    struct test_cert *all[] = {&maker, &masa, &domain, &issuing, &owner, &stranger, &device};
    struct cms_key *keys[] = {masa_key, owner_key, stranger_key, device_key};
    for (size_t i = 0; i < 7; i++) {
        test_cert_free(all[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        cms_key_free(keys[i]);
    }
    cms_certs_free(anchors);
    return 0;
}

/* One attempt: good, until a test changes something of it. */
struct attempt {
    struct voucher v;
    struct cms_key *voucher_by, *ci_by;
    enum cms_type voucher_type, ci_type;
    struct cms_certs *certs;    /* the owner certificate artifact */
    struct buf crls;            /* PEM, that go into it */
    bool bare_voucher, bare_ci; /* not signed */
    bool encrypted;             /* all three, for the device */
    const char *voucher_json;   /* instead of the voucher */
    struct buf voucher, oc, ci; /* artifacts, when made */
    struct trust_device d;
};

static void begin(struct attempt *a) {
    *a = (struct attempt){
        .v = {.created_on = now_s - DAY_S,
              .expires_on = now_s + DAY_S,
              .assertion = VOUCHER_VERIFIED,
              .serial = "S-1"},
        .voucher_by = masa_key,
        .ci_by = owner_key,
        .voucher_type = CMS_VOUCHER_JSON,
        .ci_type = CMS_CI_JSON,
        .certs = test_certs(&owner, &issuing, NULL),
        .d = {.serial = "S-1",
              .voucher_anchors = anchors,
              .idevid_akid = akid,
              .idevid_akid_len = akid_len,
              .now_s = now_s,
              .clock_ok = true},
    };
    test_cert_der(&domain, &a->v.pinned);
}

static void encrypt(struct buf *b) {
    struct buf cert = BUF_INIT, out = BUF_INIT;
    struct err e;
    test_cert_der(&device, &cert);
    assert_int_equal(cms_encrypt(b->data, b->len, cert.data, cert.len, &out, &e), ERR_OK);
    buf_free(&cert);
    buf_free(b);
    *b = out;
}

static void artifact(enum cms_type type, const void *p, size_t n, const struct cms_key *by,
                     struct buf *out) {
    struct err e;
    assert_int_equal(by != NULL ? cms_sign(type, p, n, by, out, &e) : cms_wrap(type, p, n, out, &e),
                     ERR_OK);
}

static void make(struct attempt *a) {
    struct buf json = BUF_INIT;
    struct err e;
    if (a->voucher_json != NULL) {
        buf_str(&json, a->voucher_json);
    } else {
        voucher_print(&a->v, &json);
    }
    artifact(a->voucher_type, json.data, json.len, a->bare_voucher ? NULL : a->voucher_by,
             &a->voucher);
    if (a->crls.len > 0) {
        assert_int_equal(cms_certs_add_pem(a->certs, a->crls.data, a->crls.len, &e), ERR_OK);
    }
    assert_int_equal(cms_certs_print(a->certs, &a->oc, &e), ERR_OK);
    artifact(a->ci_type, info, strlen(info), a->bare_ci ? NULL : a->ci_by, &a->ci);
    buf_free(&json);
    if (a->encrypted) {
        encrypt(&a->voucher);
        encrypt(&a->oc);
        encrypt(&a->ci);
    }
}

static void end(struct attempt *a) {
    voucher_free(&a->v);
    cms_certs_free(a->certs);
    buf_free(&a->crls);
    buf_free(&a->voucher);
    buf_free(&a->oc);
    buf_free(&a->ci);
}

static void judge(struct attempt *a, enum trust_clause want) {
    struct cms_content c;
    struct err e = {.code = ERR_OK};
    enum trust_clause got = TRUST_CI_KEY_USAGE;
    const struct trust_data t = {a->voucher.data, a->oc.data, a->ci.data,
                                 a->voucher.len,  a->oc.len,  a->ci.len};
    enum err_code rc = trust_signed_data(&a->d, &t, &c, &got, &e);
    if (got != want) {
        print_error("%s: %s\n", trust_clause_name(got), e.text);
    }
    assert_int_equal(got, want);
    assert_int_equal(rc, want == TRUST_OK ? ERR_OK : ERR_REFUSED);
    if (want == TRUST_OK) {
        assert_int_equal(c.type, a->ci_type);
        assert_true(c.is_signed);
        assert_int_equal(c.was_encrypted, a->encrypted);
        assert_int_equal(c.bytes.len, strlen(info));
        assert_memory_equal(c.bytes.data, info, strlen(info));
    } else {
        assert_string_equal(e.path, trust_clause_name(want));
        assert_true(e.text[0] != '\0');
        assert_null(c.bytes.data);
    }
    cms_content_free(&c);
}

static void expect(struct attempt *a, enum trust_clause want) {
    make(a);
    judge(a, want);
    end(a);
}

/* ---- what is believed ---------------------------------------------------------------------------
 */

/* proves: PH-142 */
static void good(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    expect(&a, TRUST_OK);
    for (int type = 0; type < 2; type++) { /* types of older producers */
        begin(&a);
        a.voucher_type = CMS_DATA;
        a.ci_type = type == 0 ? CMS_DATA : CMS_CI_XML;
        expect(&a, TRUST_OK);
    }
    begin(&a); /* the pinned certificate stands in the chain, too */
    cms_certs_free(a.certs);
    a.certs = test_certs(&issuing, &domain, &owner);
    expect(&a, TRUST_OK);
    begin(&a); /* one in the middle is pinned */
    buf_clear(&a.v.pinned);
    test_cert_der(&issuing, &a.v.pinned);
    expect(&a, TRUST_OK);
    begin(&a); /* the owner certificate itself is */
    buf_clear(&a.v.pinned);
    test_cert_der(&owner, &a.v.pinned);
    cms_certs_free(a.certs);
    a.certs = test_certs(&owner, NULL, NULL);
    expect(&a, TRUST_OK);
}

/* proves: PH-142 */
static void encrypted(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    a.encrypted = true;
    a.d.key = device_key;
    expect(&a, TRUST_OK);
    begin(&a); /* without the key, and with another's */
    a.encrypted = true;
    make(&a);
    judge(&a, TRUST_VOUCHER_FORM);
    a.d.key = stranger_key;
    judge(&a, TRUST_VOUCHER_FORM);
    end(&a);
}

/* ---- the voucher --------------------------------------------------------------------------------
 */

/* proves: PH-142 */
static void voucher_form(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    make(&a);
    buf_clear(&a.voucher); /* none */
    judge(&a, TRUST_VOUCHER_FORM);
    end(&a);
    begin(&a);
    a.bare_voucher = true;
    expect(&a, TRUST_VOUCHER_FORM);
    begin(&a);
    a.voucher_type = CMS_CI_JSON;
    expect(&a, TRUST_VOUCHER_FORM);
    begin(&a);
    a.voucher_json = "{\"ietf-voucher:voucher\":{}}";
    expect(&a, TRUST_VOUCHER_FORM);
    begin(&a);
    a.voucher_json = "no JSON";
    expect(&a, TRUST_VOUCHER_FORM);
}

/* proves: PH-142 */
static void voucher_signature(void **state) {
    (void)state;
    struct attempt a;
    struct cms_certs *none = cms_certs_new(), *by_itself = test_certs(&masa, NULL, NULL);
    begin(&a);
    a.voucher_by = stranger_key;
    expect(&a, TRUST_VOUCHER_SIGNATURE);
    begin(&a);
    a.d.voucher_anchors = none;
    make(&a);
    judge(&a, TRUST_VOUCHER_SIGNATURE);
    a.d.voucher_anchors = NULL;
    judge(&a, TRUST_VOUCHER_SIGNATURE);
    a.d.voucher_anchors = by_itself; /* an anchor may be the signer */
    judge(&a, TRUST_OK);
    a.d.voucher_anchors = anchors;
    size_t at = 0; /* what is in it was changed afterwards */
    while (memcmp(a.voucher.data + at, "\"S-1\"", 5) != 0) {
        at++;
    }
    a.voucher.data[at + 3] = '2';
    judge(&a, TRUST_VOUCHER_SIGNATURE);
    end(&a);
    cms_certs_free(none);
    cms_certs_free(by_itself);
}

/* Lists among the anchors count for who signs vouchers; nobody needs one.
 * proves: PH-142 */
static void voucher_revocation(void **state) {
    (void)state;
    const struct {
        const struct test_cert *of, *revoked;
        int64_t from_s;
        bool clock_ok;
        enum trust_clause want;
    } cases[] = {
        {&maker, NULL, -3600, true, TRUST_OK},
        {&maker, &masa, -3600, true, TRUST_VOUCHER_SIGNATURE},
        {&maker, &device, -3600, true, TRUST_OK},
        {&stranger, &masa, -3600, true, TRUST_OK},                 /* of somebody else */
        {&maker, NULL, -2 * DAY_S, true, TRUST_VOUCHER_SIGNATURE}, /* it has ended */
        {&maker, NULL, -2 * DAY_S, false, TRUST_OK},
        {&maker, &masa, -2 * DAY_S, false, TRUST_VOUCHER_SIGNATURE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct attempt a;
        struct buf pem = BUF_INIT;
        struct err e;
        struct cms_certs *with = test_certs(&maker, NULL, NULL);
        test_crl_pem(cases[i].of, cases[i].revoked, cases[i].from_s, DAY_S, &pem);
        assert_int_equal(cms_certs_add_pem(with, pem.data, pem.len, &e), ERR_OK);
        begin(&a);
        a.d.voucher_anchors = with;
        a.d.clock_ok = cases[i].clock_ok;
        expect(&a, cases[i].want);
        cms_certs_free(with);
        buf_free(&pem);
    }
}

/* proves: PH-142 */
static void voucher_times(void **state) {
    (void)state;
    struct attempt a;
    for (int clock = 0; clock < 2; clock++) {
        begin(&a);
        a.d.clock_ok = clock;
        a.v.created_on = now_s + 60;
        expect(&a, clock ? TRUST_VOUCHER_FUTURE : TRUST_OK);
        begin(&a);
        a.d.clock_ok = clock;
        a.v.expires_on = now_s - 60;
        expect(&a, clock ? TRUST_VOUCHER_EXPIRED : TRUST_OK);
        begin(&a); /* one that never ends */
        a.d.clock_ok = clock;
        a.v.expires_on = 0;
        expect(&a, TRUST_OK);
    }
}

/* A device that does not know the time looks at no certificate's time either; one that does, does.
 * proves: PH-142 */
static void clock_unknown(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    a.v.created_on = now_s + 60LL * DAY_S;
    a.v.expires_on = 0;
    a.d.now_s = now_s + 61LL * DAY_S; /* the certificates have ended */
    make(&a);
    judge(&a, TRUST_VOUCHER_SIGNATURE);
    a.d.now_s = 0; /* a clock that stands at 1970 */
    a.d.clock_ok = false;
    judge(&a, TRUST_OK);
    end(&a);
}

/* proves: PH-142 */
static void voucher_nonce(void **state) {
    (void)state;
    static const uint8_t sent[16] = "0123456789abcde";
    struct attempt a;
    for (int what = 0; what < 4; what++) {
        begin(&a);
        a.v.expires_on = 0;
        memcpy(a.v.nonce, sent, 16);
        a.v.nonce_len = 16;
        a.d.nonce = sent;
        a.d.nonce_len = what == 1 ? 0 : 16;
        a.v.nonce[3] ^= what == 2 ? 1 : 0;
        a.v.nonce_len = what == 3 ? 15 : 16;
        expect(&a, what == 0 ? TRUST_OK : TRUST_VOUCHER_NONCE);
    }
    begin(&a); /* one that names none is for every request */
    a.d.nonce = sent;
    a.d.nonce_len = 16;
    expect(&a, TRUST_OK);
}

/* proves: PH-142 */
static void voucher_assertion(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    a.v.assertion = VOUCHER_LOGGED;
    a.d.assertions = VOUCHER_VERIFIED | VOUCHER_PROXIMITY;
    make(&a);
    judge(&a, TRUST_VOUCHER_ASSERTION);
    a.d.assertions |= VOUCHER_LOGGED;
    judge(&a, TRUST_OK);
    end(&a);
    begin(&a); /* one that nobody knows */
    a.voucher_json =
        "{\"ietf-voucher:voucher\":{\"created-on\":\"2024-11-22T21:08:04Z\",\"assertion\":\"\","
        "\"serial-number\":\"S-1\",\"pinned-domain-cert\":\"AAAA\"}}";
    expect(&a, TRUST_VOUCHER_ASSERTION);
}

/* proves: PH-142 */
static void voucher_serial(void **state) {
    (void)state;
    static const char *const others[] = {"S-2", "s-1", "S-11", "S-"};
    struct attempt a;
    for (size_t i = 0; i < 4; i++) {
        begin(&a);
        a.d.serial = others[i];
        expect(&a, TRUST_VOUCHER_SERIAL);
    }
}

/* proves: PH-142 */
static void voucher_issuer(void **state) {
    (void)state;
    struct attempt a;
    for (int what = 0; what < 4; what++) {
        begin(&a);
        memcpy(a.v.issuer, akid, akid_len);
        a.v.issuer_len = akid_len;
        if (what == 1) {
            a.v.issuer[0] ^= 1;
        } else if (what == 2) { /* the device has no certificate */
            a.d.idevid_akid_len = 0;
        } else if (what == 3) { /* the whole extension, as some write it */
            const uint8_t head[] = {0x30, (uint8_t)(akid_len + 2), 0x80, (uint8_t)akid_len};
            memcpy(a.v.issuer, head, 4);
            memcpy(a.v.issuer + 4, akid, akid_len);
            a.v.issuer_len = akid_len + 4;
        }
        expect(&a, what == 0 || what == 3 ? TRUST_OK : TRUST_VOUCHER_ISSUER);
    }
}

/* proves: PH-142 */
static void voucher_pinned(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    buf_clear(&a.v.pinned);
    buf_str(&a.v.pinned, "no certificate");
    expect(&a, TRUST_VOUCHER_PINNED);
}

/* ---- the owner certificate ----------------------------------------------------------------------
 */

/* proves: PH-142 */
static void owner_form(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    make(&a);
    buf_clear(&a.oc);
    judge(&a, TRUST_OWNER_FORM);
    artifact(CMS_DATA, "x", 1, NULL, &a.oc); /* no SignedData */
    judge(&a, TRUST_OWNER_FORM);
    end(&a);
    begin(&a); /* two chains: which would it be? */
    cms_certs_free(a.certs);
    a.certs = test_certs(&owner, &issuing, &stranger);
    expect(&a, TRUST_OWNER_FORM);
}

/* proves: PH-142 */
static void owner_chain(void **state) {
    (void)state;
    struct attempt a;
    begin(&a); /* somebody else is pinned */
    buf_clear(&a.v.pinned);
    test_cert_der(&stranger, &a.v.pinned);
    expect(&a, TRUST_OWNER_CHAIN);
    begin(&a); /* what stands between is missing */
    cms_certs_free(a.certs);
    a.certs = test_certs(&owner, NULL, NULL);
    expect(&a, TRUST_OWNER_CHAIN);
    struct test_cert ended = test_cert(&(struct test_wanted){
        .cn = "owner", .issuer = &domain, .from_s = -2 * DAY_S, .for_s = DAY_S});
    struct cms_key *k = test_cms_key(&ended, NULL);
    for (int clock = 0; clock < 2; clock++) {
        begin(&a);
        cms_certs_free(a.certs);
        a.certs = test_certs(&ended, NULL, NULL);
        a.ci_by = k;
        a.d.clock_ok = clock;
        expect(&a, clock ? TRUST_OWNER_CHAIN : TRUST_OK);
    }
    /* a certificate that is no authority's has signed it */
    struct test_cert leaf = test_cert(&(struct test_wanted){.cn = "leaf", .issuer = &domain});
    struct test_cert below = test_cert(&(struct test_wanted){.cn = "below", .issuer = &leaf});
    struct cms_key *below_key = test_cms_key(&below, NULL);
    begin(&a);
    cms_certs_free(a.certs);
    a.certs = test_certs(&below, &leaf, NULL);
    a.ci_by = below_key;
    expect(&a, TRUST_OWNER_CHAIN);
    cms_key_free(k);
    cms_key_free(below_key);
    test_cert_free(&ended);
    test_cert_free(&leaf);
    test_cert_free(&below);
}

/* Revocation counts when the voucher says so, and then has to be known for each certificate below
 * the pinned one. proves: PH-142 */
static void owner_revocation(void **state) {
    (void)state;
    const struct {
        const struct test_cert *by_domain, *by_issuing; /* revoked; the authority itself: no list */
        int64_t from_s, for_s;
        enum trust_clause want;
    } cases[] = {
        {NULL, NULL, -3600, DAY_S, TRUST_OK},
        {NULL, &owner, -3600, DAY_S, TRUST_OWNER_REVOKED},
        {&issuing, NULL, -3600, DAY_S, TRUST_OWNER_REVOKED},
        {NULL, &issuing, -3600, DAY_S, TRUST_OWNER_UNKNOWN},
        {&domain, NULL, -3600, DAY_S, TRUST_OWNER_UNKNOWN},
        {NULL, NULL, -2 * DAY_S, DAY_S, TRUST_OWNER_UNKNOWN}, /* lists that have ended */
        {NULL, NULL, DAY_S, DAY_S, TRUST_OWNER_UNKNOWN},      /* that are not good yet */
    };
    struct attempt a;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int asked = 0; asked < 2; asked++) {
            begin(&a);
            a.v.check_revocation = asked;
            if (cases[i].by_domain != &domain) {
                test_crl_pem(&domain, cases[i].by_domain, cases[i].from_s, cases[i].for_s, &a.crls);
            }
            if (cases[i].by_issuing != &issuing) {
                test_crl_pem(&issuing, cases[i].by_issuing, cases[i].from_s, cases[i].for_s,
                             &a.crls);
            }
            expect(&a, asked ? cases[i].want : TRUST_OK);
        }
    }
    begin(&a); /* a list that somebody else made in the authority's name */
    struct test_cert fake = test_cert(&(struct test_wanted){.cn = "issuing", .ca = true});
    a.v.check_revocation = true;
    test_crl_pem(&domain, NULL, -3600, DAY_S, &a.crls);
    test_crl_pem(&fake, NULL, -3600, DAY_S, &a.crls);
    expect(&a, TRUST_OWNER_UNKNOWN);
    test_cert_free(&fake);
    begin(&a); /* the owner certificate is the pinned one: nobody there could say */
    a.v.check_revocation = true;
    buf_clear(&a.v.pinned);
    test_cert_der(&owner, &a.v.pinned);
    cms_certs_free(a.certs);
    a.certs = test_certs(&owner, NULL, NULL);
    expect(&a, TRUST_OWNER_UNKNOWN);
    begin(&a); /* no clock: a list counts whenever it was made */
    a.v.check_revocation = true;
    a.d.clock_ok = false;
    test_crl_pem(&domain, NULL, -2 * DAY_S, DAY_S, &a.crls);
    test_crl_pem(&issuing, &owner, -2 * DAY_S, DAY_S, &a.crls);
    expect(&a, TRUST_OWNER_REVOKED);
}

/* ---- conveyed information -----------------------------------------------------------------------
 */

/* proves: PH-142 PH-140 */
static void ci_form(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    a.bare_ci = true;
    expect(&a, TRUST_CI_FORM);
    begin(&a);
    a.ci_type = CMS_VOUCHER_JSON;
    expect(&a, TRUST_CI_FORM);
    begin(&a);
    make(&a);
    buf_clear(&a.ci);
    judge(&a, TRUST_CI_FORM);
    end(&a);
}

/* proves: PH-142 */
static void ci_signature(void **state) {
    (void)state;
    struct attempt a;
    struct cms_key *issuing_key = test_cms_key(&issuing, NULL);
    begin(&a);
    a.ci_by = stranger_key;
    expect(&a, TRUST_CI_SIGNATURE);
    begin(&a); /* one above the owner certificate is not the owner */
    a.ci_by = issuing_key;
    expect(&a, TRUST_CI_SIGNATURE);
    begin(&a); /* nor is who makes the vouchers */
    a.ci_by = masa_key;
    expect(&a, TRUST_CI_SIGNATURE);
    begin(&a);
    make(&a);
    size_t at = 0;
    while (memcmp(a.ci.data + at, "onboarding", 10) != 0) {
        at++;
    }
    a.ci.data[at] ^= 1;
    judge(&a, TRUST_CI_SIGNATURE);
    end(&a);
    cms_key_free(issuing_key);
}

/* proves: PH-142 */
static void ci_key_usage(void **state) {
    (void)state;
    static const struct {
        const char *usage;
        enum trust_clause want;
    } cases[] = {{NULL, TRUST_OK},
                 {"critical,digitalSignature,keyAgreement", TRUST_OK},
                 {"critical,keyAgreement", TRUST_CI_KEY_USAGE},
                 {"keyCertSign", TRUST_CI_KEY_USAGE}};
    for (size_t i = 0; i < 4; i++) {
        struct attempt a;
        struct test_cert c = test_cert(
            &(struct test_wanted){.cn = "owner", .issuer = &domain, .key_usage = cases[i].usage});
        /* signed beside the library, which signs with none that is not for it */
        struct test_cert free_one =
            test_cert(&(struct test_wanted){.cn = "owner", .issuer = &domain, .same_key = c.key});
        struct cms_key *k = test_cms_key(&free_one, NULL);
        X509_free(k->cert);
        X509_up_ref(c.x);
        k->cert = c.x;
        begin(&a);
        cms_certs_free(a.certs);
        a.certs = test_certs(&c, NULL, NULL);
        a.ci_by = k;
        expect(&a, cases[i].want);
        cms_key_free(k);
        test_cert_free(&c);
        test_cert_free(&free_one);
    }
}

/* Any octet of any artifact changed: it is not believed, or nothing of it was. */
static void damaged(void **state) {
    (void)state;
    struct attempt a;
    begin(&a);
    make(&a);
    struct buf *const all[] = {&a.voucher, &a.oc, &a.ci};
    for (size_t which = 0; which < 3; which++) {
        for (size_t i = 0; i < all[which]->len; i += 7) {
            struct cms_content c;
            struct err e;
            enum trust_clause clause;
            const struct trust_data t = {a.voucher.data, a.oc.data, a.ci.data,
                                         a.voucher.len,  a.oc.len,  a.ci.len};
            all[which]->data[i] ^= 0x41;
            if (trust_signed_data(&a.d, &t, &c, &clause, &e) == ERR_OK) {
                assert_int_equal(c.bytes.len, strlen(info));
                assert_memory_equal(c.bytes.data, info, strlen(info));
            }
            cms_content_free(&c);
            all[which]->data[i] ^= 0x41;
        }
    }
    end(&a);
}

/* ---- vouchers of others -------------------------------------------------------------------------
 */

static bool read_file(const char *path, struct buf *out) {
    FILE *f = fopen(path, "r");
    size_t n = 1;
    while (f != NULL && n > 0) {
        n = fread(buf_extend(out, 4096), 1, 4096, f);
        out->len -= 4096 - n;
    }
    if (f != NULL) {
        fclose(f);
    }
    return f != NULL;
}

/* Both are signed by a key that only has the name of the anchor beside them; and believed, they say
 * nothing of how the owner was verified. */
static void foreign(void **state) {
    (void)state;
    static const char *const names[] = {"12345", "67890"};
    struct stat st;
    const char *dir = "../shared/vectors/open-sztp";
    for (int up = 0; up < 3 && stat(dir, &st) != 0; up++) {
        dir = up == 0 ? "../../shared/vectors/open-sztp" : "../../../shared/vectors/open-sztp";
    }
    if (stat(dir, &st) != 0) {
        print_message("../shared/vectors/open-sztp is not there: vouchers of others not read\n");
        skip();
    }
    char path[256];
    struct err e;
    struct cms_certs *theirs = cms_certs_new();
    snprintf(path, sizeof path, "%s/trustAnchorCertificate.pem", dir);
    assert_int_equal(cms_certs_add_file(theirs, path, &e), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        struct buf text = BUF_INIT, der = BUF_INIT;
        struct cms_content c;
        struct voucher v;
        enum trust_clause clause;
        snprintf(path, sizeof path, "%s/%s/ownershipVoucher.base64", dir, names[i]);
        assert_true(read_file(path, &text));
        assert_int_equal(cms_unbase64((char *)text.data, text.len, &der, &e), ERR_OK);
        assert_int_equal(cms_open(der.data, der.len, CMS_DATA, NULL, &c, &e), ERR_OK);
        assert_int_equal(voucher_parse(c.bytes.data, c.bytes.len, &v, &e), ERR_INVALID);
        assert_string_equal(e.path, "/ietf-voucher:voucher/assertion");
        struct trust_device d = {.serial = "12345", .voucher_anchors = anchors, .now_s = now_s};
        assert_int_equal(trust_voucher(&d, der.data, der.len, &v, &clause, &e), ERR_REFUSED);
        assert_int_equal(clause, TRUST_VOUCHER_SIGNATURE); /* of nobody that we know */
        d.voucher_anchors = theirs;
        assert_int_equal(trust_voucher(&d, der.data, der.len, &v, &clause, &e), ERR_REFUSED);
        assert_int_equal(clause, TRUST_VOUCHER_SIGNATURE);
        struct cms_certs *inside;
        assert_int_equal(cms_certs_parse(der.data, der.len, NULL, &inside, &e), ERR_OK);
        d.voucher_anchors = inside;
        assert_int_equal(trust_voucher(&d, der.data, der.len, &v, &clause, &e), ERR_REFUSED);
        print_message("%s: %s: %s\n", names[i], trust_clause_name(clause), e.text);
        assert_int_equal(clause, TRUST_VOUCHER_ASSERTION);
        cms_certs_free(inside);
        cms_content_free(&c);
        buf_free(&text);
        buf_free(&der);
    }
    cms_certs_free(theirs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(encrypted),
        cmocka_unit_test(voucher_form),
        cmocka_unit_test(voucher_signature),
        cmocka_unit_test(voucher_times),
        cmocka_unit_test(clock_unknown),
        cmocka_unit_test(voucher_nonce),
        cmocka_unit_test(voucher_assertion),
        cmocka_unit_test(voucher_serial),
        cmocka_unit_test(voucher_issuer),
        cmocka_unit_test(voucher_pinned),
        cmocka_unit_test(owner_form),
        cmocka_unit_test(owner_chain),
        cmocka_unit_test(owner_revocation),
        cmocka_unit_test(voucher_revocation),
        cmocka_unit_test(ci_form),
        cmocka_unit_test(ci_signature),
        cmocka_unit_test(ci_key_usage),
        cmocka_unit_test(damaged),
        cmocka_unit_test(foreign),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
