// SPDX-License-Identifier: Apache-2.0
/*
 * Whose data the client follows: the matrix of spec 3.3 with 0 to 11 redirects, the trust state,
 * redirects in their order, anchors, loops. Signed data are real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "phone_home_scene.h"
#include "sztp/testing/test_pki.h"

enum { HOUR = 3600 * 1000, DAY_S = 86400, CHAIN = 12 };

static struct test_cert maker, masa, domain, owner, tls_root;
static struct cms_certs *voucher_anchors;
static struct cms_key *masa_key, *owner_key;
static struct buf owner_der, voucher_der, other_voucher_der, anchor_der;

static void voucher(const char *serial, struct buf *out) {
    struct voucher v = {.created_on = time(NULL) - DAY_S,
                        .expires_on = time(NULL) + DAY_S,
                        .assertion = VOUCHER_VERIFIED};
    struct err e = {0};
    snprintf(v.serial, sizeof v.serial, "%s", serial);
    test_cert_der(&domain, &v.pinned);
    assert_int_equal(voucher_issue(&v, masa_key, out, &e), ERR_OK);
    voucher_free(&v);
}

static int set_up(void **state) {
    (void)state;
    struct err e = {0};
    maker = test_cert(&(struct test_wanted){.cn = "maker", .ca = true});
    masa = test_cert(&(struct test_wanted){
        .cn = "masa", .issuer = &maker, .key_usage = "critical,digitalSignature"});
    domain = test_cert(&(struct test_wanted){.cn = "domain", .ca = true});
    owner = test_cert(&(struct test_wanted){
        .cn = "owner", .issuer = &domain, .key_usage = "critical,digitalSignature"});
    tls_root = test_cert(&(struct test_wanted){.cn = "tls", .ca = true});
    voucher_anchors = test_certs(&maker, NULL, NULL);
    masa_key = test_cms_key(&masa, NULL);
    owner_key = test_cms_key(&owner, NULL);
    struct cms_certs *oc = test_certs(&owner, NULL, NULL), *ta = test_certs(&tls_root, NULL, NULL);
    assert_int_equal(cms_certs_print(oc, &owner_der, &e), ERR_OK);
    assert_int_equal(cms_certs_print(ta, &anchor_der, &e), ERR_OK);
    cms_certs_free(oc);
    cms_certs_free(ta);
    voucher("SIM0", &voucher_der);
    voucher("ANOTHER", &other_voucher_der);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct test_cert *all[] = {&maker, &masa, &domain, &owner, &tls_root};
    struct buf *bufs[] = {&owner_der, &voucher_der, &other_voucher_der, &anchor_der};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        test_cert_free(all[i]);
    }
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        buf_free(bufs[i]);
    }
    cms_key_free(masa_key);
    cms_key_free(owner_key);
    cms_certs_free(voucher_anchors);
    return 0;
}

/* ---------------------------------------------------------------- what servers say */

static void artifacts(const struct conveyed *c, bool is_signed, const struct buf *voucher_of,
                      struct buf *ci, struct buf *oc, struct buf *ov) {
    struct buf json = BUF_INIT;
    struct err e = {0};
    conveyed_print(c, SZTP_JSON, &sztp_profile_default, &json);
    if (is_signed) {
        assert_int_equal(cms_sign(CMS_CI_JSON, json.data, json.len, owner_key, ci, &e), ERR_OK);
        buf_add(oc, owner_der.data, owner_der.len);
        buf_add(ov, voucher_of->data, voucher_of->len);
    } else {
        assert_int_equal(cms_wrap(CMS_CI_JSON, json.data, json.len, ci, &e), ERR_OK);
    }
    buf_free(&json);
}

static struct rig_server *says(struct rig *r, const char *host, const struct conveyed *c,
                               bool is_signed, const struct buf *voucher_of) {
    struct rig_server *s = rig_server(r, host, 443);
    struct sztp_answer a = {.level = SZTP_VERBOSE};
    artifacts(c, is_signed, voucher_of, &a.ci, &a.owner, &a.voucher);
    buf_clear(&s->body);
    sztp_answer_print(&a, SZTP_JSON, &sztp_profile_default, &s->body);
    s->status = 200;
    buf_clear(&s->anchor);
    buf_add(&s->anchor, anchor_der.data, anchor_der.len);
    sztp_answer_free(&a);
    return s;
}

static void add_server(struct sztp_server **list, size_t *n, const char *host, bool anchor) {
    *list = mem_array(*list, *n + 1, sizeof **list);
    struct sztp_server *s = &(*list)[(*n)++];
    memset(s, 0, sizeof *s);
    snprintf(s->address, sizeof s->address, "%s", host);
    s->port = 443;
    s->port_said = true;
    if (anchor) {
        buf_add(&s->anchor, anchor_der.data, anchor_der.len);
    }
}

static void redirect(struct rig *r, const char *host, const char *to, bool anchor, bool is_signed) {
    struct conveyed c = {.redirect = true};
    add_server(&c.servers, &c.n_servers, to, anchor);
    says(r, host, &c, is_signed, &voucher_der);
    conveyed_free(&c);
}

static void onboard(struct rig *r, const char *host, bool is_signed) {
    struct conveyed c;
    scene_info(&c, SCENE_NONE, false, 0);
    c.image.present = false;
    c.has_pre = c.has_post = false;
    says(r, host, &c, is_signed, &voucher_der);
    scene_info_free(&c);
}

static struct rig *world(bool trusted, const char *first) {
    struct rig *r = rig_new(1, false, 3);
    r->wall_start_s = time(NULL);
    r->voucher_anchors = voucher_anchors;
    if (trusted) {
        rig_configured(r, first, 443);
        rig_server(r, first, 443)->built_in = true;
    } else {
        struct phc_finding *f = rig_find(r, PHC_DHCP);
        add_server(&f->servers, &f->n_servers, first, false);
    }
    return r;
}

static void show(const struct rig *r, const char *what) {
    for (size_t i = 0; i < r->n_lines; i++) {
        print_message("%s\n", r->lines[i]);
    }
    fail_msg("%s", what);
}

/* The run's end is as it has to be: done or not, and whether the host was told anything. */
static void expect(struct rig *r, bool done, const char *told, const char *what) {
    rig_start(r);
    if (!rig_run(r, HOUR, true) || rig_done(r) != done) {
        show(r, what);
    }
    for (size_t i = 0; i < r->n_reports; i++) {
        if (told == NULL || strcmp(r->reports[i].host, told) != 0) {
            show(r, what);
        }
    }
    if (told != NULL && r->n_reports == 0) {
        show(r, what);
    }
    scene_check(r, what);
    rig_free(r);
}

/* ---------------------------------------------------------------- tests */

/* The matrix: a source that is trusted or not, redirects and onboarding information that are signed
 * or not, with 0 to 11 redirects on the way.
 * proves: PH-120 PH-140 PH-141 PH-143 PH-144 PH-150 */
static void matrix(void **state) {
    (void)state;
    for (unsigned cell = 0; cell < 8; cell++) {
        for (int n = 0; n < CHAIN; n++) {
            bool trusted = cell & 1, redirects_signed = cell & 2, data_signed = cell & 4;
            char host[2][16], what[128];
            snprintf(what, sizeof what, "%s source, %s redirects (%d), %s data",
                     trusted ? "trusted" : "untrusted", redirects_signed ? "signed" : "unsigned", n,
                     data_signed ? "signed" : "unsigned");
            struct rig *r = world(trusted, "s0");
            for (int i = 0; i <= n; i++) {
                snprintf(host[0], sizeof host[0], "s%d", i);
                snprintf(host[1], sizeof host[1], "s%d", i + 1);
                if (i < n) {
                    redirect(r, host[0], host[1], true, redirects_signed);
                } else {
                    onboard(r, host[0], data_signed);
                }
            }
            bool known = n == 0 ? trusted : trusted || redirects_signed;
            bool done = n <= 10 && (data_signed || known);
            expect(r, done, done && known ? host[0] : NULL, what);
        }
    }
}

static bool provisional_seen, nonce_seen, user_seen;
static bool look(struct rig_server *s, const struct phc_request *q, void *arg) {
    struct sztp_get get = {0};
    struct err e = {0};
    (void)arg;
    assert_int_equal(sztp_get_parse(SZTP_JSON, q->body->data, q->body->len, &get, &e), ERR_OK);
    provisional_seen = get.signed_preferred;
    nonce_seen = get.nonce_len >= SZTP_NONCE_MIN;
    user_seen = q->user != NULL;
    assert_string_equal(get.hw_model, get.signed_preferred ? "" : "sim-box");
    assert_string_equal(get.os_name, get.signed_preferred ? "" : "sim-os");
    assert_string_equal(get.os_version, get.signed_preferred ? "" : "1");
    sztp_get_free(&get);
    (void)s;
    return true;
}

/* What is asked of a server that is not known, and not of one that is: what the
 * device is, only the latter is told. proves: PH-120 PH-121 PH-145 */
static void asks(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        bool trusted = i == 1, told = i == 2;
        struct rig *r = world(trusted, "s0");
        r->config.user_to_untrusted = told;
        onboard(r, "s0", true);
        rig_server(r, "s0", 443)->answer = look;
        expect(r, true, trusted ? "s0" : NULL, "asks");
        assert_int_equal(provisional_seen, !trusted);
        assert_int_equal(nonce_seen, !trusted);
        assert_int_equal(user_seen, trusted || told); /* a password is for servers that are known */
    }
}

/* Signed data that do not hold are worth nothing from whomever, and lower the trust state.
 * proves: PH-140 PH-142 */
static void bad_signature(void **state) {
    (void)state;
    for (int trusted = 0; trusted < 2; trusted++) {
        struct rig *r = world(trusted, "s0");
        struct conveyed c;
        scene_info(&c, SCENE_NONE, false, 0);
        says(r, "s0", &c, true, &other_voucher_der);
        scene_info_free(&c);
        expect(r, false, trusted ? "s0" : NULL, "a voucher for another device");
        r = world(trusted, "s0"); /* the same for a redirect: its anchors don't count */
        struct conveyed d = {.redirect = true};
        add_server(&d.servers, &d.n_servers, "s1", true);
        says(r, "s0", &d, true, &other_voucher_der);
        conveyed_free(&d);
        onboard(r, "s1", false);
        expect(r, false, trusted ? "s0" : NULL, "a redirect with a voucher for another device");
    }
}

/* proves: PH-143 */
static void anchors(void **state) {
    (void)state;
    struct rig *r =
        world(true, "s0"); /* trusted, no anchor: provisional, so not for unsigned data */
    redirect(r, "s0", "s1", false, false);
    onboard(r, "s1", false);
    expect(r, false, NULL, "trusted redirect without an anchor, unsigned data");
    r = world(true, "s0");
    redirect(r, "s0", "s1", false, false);
    onboard(r, "s1", true);
    expect(r, true, NULL, "trusted redirect without an anchor, signed data");
    r = world(true, "s0"); /* somebody else answers at the address */
    redirect(r, "s0", "s1", true, false);
    onboard(r, "s1", true);
    buf_clear(&rig_server(r, "s1", 443)->anchor);
    expect(r, false, NULL, "another certificate than the anchor's");
    r = world(false, "s0"); /* an anchor from who is not known is not believed, nor asked for */
    redirect(r, "s0", "s1", true, false);
    onboard(r, "s1", true);
    buf_clear(&rig_server(r, "s1", 443)->anchor);
    expect(r, true, NULL, "untrusted redirect with an anchor");
    r = world(true, "s0"); /* an anchor that is none: that server is not asked */
    struct conveyed c = {.redirect = true};
    add_server(&c.servers, &c.n_servers, "s1", false);
    buf_str(&c.servers[0].anchor, "no certificate");
    add_server(&c.servers, &c.n_servers, "s2", true);
    says(r, "s0", &c, false, NULL);
    conveyed_free(&c);
    onboard(r, "s1", true);
    onboard(r, "s2", false);
    expect(r, true, "s2", "an anchor that is none");
}

/* proves: PH-145 */
static void promotion(void **state) {
    (void)state;
    struct rig *r = world(false, "s0");
    struct rig_server *s = rig_server(r, "s0", 443);
    redirect(r, "s0", "s0", true, true); /* to itself, with its anchor */
    expect(r, false, NULL, "a server that goes on promoting itself"); /* and ends */
    r = world(false, "s0");
    redirect(r, "s0", "s1", true, true);
    onboard(r, "s1", false);
    expect(r, true, "s1", "promoted");
    (void)s;
}

/* Servers in order, depth first; what leads in a circle ends; who fails is left alone, its
 * neighbours are not. proves: PH-141 PH-143 PH-151 */
static void in_order(void **state) {
    (void)state;
    struct rig *r = world(true, "a");
    rig_configured(r, "b", 443);
    struct rig_server *b = rig_server(r, "b", 443);
    b->built_in = true;
    struct conveyed c = {.redirect = true};
    add_server(&c.servers, &c.n_servers, "gone", true);
    add_server(&c.servers, &c.n_servers, "circle", true);
    add_server(&c.servers, &c.n_servers, "unknown", true);
    says(r, "a", &c, false, NULL);
    conveyed_free(&c);
    redirect(r, "circle", "circle", true, false);
    rig_server(r, "unknown", 443);
    onboard(r, "b", false);
    rig_start(r);
    assert_true(rig_run(r, HOUR, true) && rig_done(r));
    assert_int_equal(rig_server(r, "a", 443)->gets, 1);
    assert_int_equal(rig_server(r, "circle", 443)->gets, 1);
    assert_int_equal(rig_logged(r, "circle:443 redirects back to itself"), 1);
    assert_true(rig_logged(r, "gone:443: no connection") == 1);
    rig_free(r);
}

/* Onboarding information that nobody vouches for leaves the whole recursion: the neighbours of who
 * gave it are not asked. proves: PH-141 */
static void leaves_recursion(void **state) {
    (void)state;
    struct rig *r = world(false, "a");
    struct phc_finding *f = &r->found[PHC_DHCP][0];
    add_server(&f->servers, &f->n_servers, "b", false);
    onboard(r, "a", false);
    onboard(r, "b", true);
    rig_configured(r, "c", 443);
    onboard(r, "c", false);
    rig_server(r, "c", 443)->built_in = true;
    rig_start(r);
    assert_true(rig_run(r, HOUR, true) && rig_done(r));
    assert_int_equal(rig_server(r, "b", 443)->gets, 0);
    assert_int_equal(rig_server(r, "c", 443)->gets, 1);
    rig_free(r);
}

/* Removable storage and DNS give artifacts: signed onboarding, any redirect, no unsigned
 * onboarding; nobody is told anything. proves: PH-150 PH-162 PH-163 */
static void artifacts_of_sources(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        bool dns = i & 1, is_signed = i & 2, redirects = i & 4;
        struct rig *r = rig_new(1, false, 5);
        r->wall_start_s = time(NULL);
        r->voucher_anchors = voucher_anchors;
        struct phc_finding *f = rig_find(r, dns ? PHC_DNS : PHC_STORAGE);
        struct conveyed c;
        if (redirects) {
            memset(&c, 0, sizeof c);
            c.redirect = true;
            add_server(&c.servers, &c.n_servers, "s1", true);
            onboard(r, "s1", false);
        } else {
            scene_info(&c, SCENE_NONE, false, 0);
        }
        artifacts(&c, is_signed, &voucher_der, &f->ci, &f->owner, &f->voucher);
        snprintf(f->origin, sizeof f->origin, dns ? "TXT SIM0._sztp.local" : "/media/SIM0");
        conveyed_free(&c);
        expect(r, is_signed, is_signed && redirects ? "s1" : NULL, "artifacts");
    }
}

/* Signed, and the voucher is missing. proves: PH-142 */
static void no_voucher(void **state) {
    (void)state;
    struct rig *r = rig_new(1, false, 5);
    r->wall_start_s = time(NULL);
    r->voucher_anchors = voucher_anchors;
    struct phc_finding *f = rig_find(r, PHC_STORAGE);
    struct conveyed c;
    scene_info(&c, SCENE_NONE, false, 0);
    artifacts(&c, true, &voucher_der, &f->ci, &f->owner, &f->voucher);
    scene_info_free(&c);
    buf_clear(&f->voucher);
    buf_clear(&f->owner);
    expect(r, false, NULL, "signed, without a voucher");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrix),           cmocka_unit_test(asks),
        cmocka_unit_test(bad_signature),    cmocka_unit_test(anchors),
        cmocka_unit_test(promotion),        cmocka_unit_test(in_order),
        cmocka_unit_test(leaves_recursion), cmocka_unit_test(artifacts_of_sources),
        cmocka_unit_test(no_voucher),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
