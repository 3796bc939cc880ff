// SPDX-License-Identifier: Apache-2.0
/*
 * The course of a run beside members and trust: sources and pauses, downloads, what is kept over a
 * restart, orders of an operator, the device's own provisioning, certificates (RFC 9646).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "phone-home/chassis.h"
#include "phone-home/record.h"
#include "phone_home_scene.h"

enum { HOUR = 3600 * 1000 };

static struct rig *world(size_t n, bool chassis, enum scene_topology t, bool strict) {
    struct rig *r = rig_new(n, chassis, 33);
    struct conveyed info;
    scene_info(&info, t, strict, n);
    for (int i = 0; i < 2; i++) {
        const char *host = i == 0 ? "phs1" : "phs2";
        rig_configured(r, host, 443);
        struct rig_server *s = rig_server(r, host, 443);
        s->built_in = true;
        rig_answer(s, &info, SZTP_VERBOSE);
    }
    scene_info_free(&info);
    return r;
}

static void expect_done(struct rig *r, bool done) {
    if (!rig_run(r, 24 * HOUR, true) || rig_done(r) != done) {
        for (size_t i = 0; i < r->n_lines; i++) {
            print_message("%s\n", r->lines[i]);
        }
        fail_msg("%s", done ? "not done" : "done, or no end");
    }
    scene_check(r, "run");
}

/* ---------------------------------------------------------------- sources */

/* In the standard's order, each once a round; between rounds a growing pause with chance in it,
 * which a server may lengthen. proves: PH-153 PH-041 */
static void rounds(void **state) {
    (void)state;
    struct rig *r = rig_new(1, false, 1);
    int64_t last = 0, pauses[12];
    rig_configured(r, "nobody", 443);
    rig_start(r);
    for (int i = 0; i < 12; i++) {
        while (!rig_run(r, HOUR, true)) {
            fail_msg("no pause");
        }
        for (int s = 0; s < PHC_SOURCES; s++) {
            assert_int_equal(r->lookups[s], i + 1);
        }
        pauses[i] = phc_deadline(rig_engine(r)) - r->sim->now_ms;
        last = phc_deadline(rig_engine(r));
        rig_run(r, last - r->sim->now_ms + 1, false);
    }
    for (int i = 0; i < 12; i++) {
        int64_t full = 5000LL << i > 300000 ? 300000 : 5000LL << i;
        assert_in_range(pauses[i], full / 2, full);
    }
    assert_true(pauses[9] != pauses[10] || pauses[10] != pauses[11]);
    rig_free(r);

    r = rig_new(1, false, 1);
    rig_configured(r, "busy", 443);
    struct rig_server *s = rig_server(r, "busy", 443);
    s->built_in = true;
    s->status = 503;
    s->retry_after_ms = 120 * 1000;
    rig_start(r);
    assert_true(rig_run(r, HOUR, true));
    assert_int_equal(phc_deadline(rig_engine(r)) - r->sim->now_ms, 120 * 1000);
    rig_free(r);
}

/* A new lease ends a pause, and a round that may be past it is followed by another one soon; what
 * is under way, done or stopped is not disturbed. proves: PH-153 */
static void woken(void **state) {
    (void)state;
    struct rig *r = rig_new(1, false, 1);
    rig_configured(r, "nobody", 443);
    rig_start(r);
    for (unsigned i = 1; i <= 4; i++) { /* pauses grow */
        assert_true(rig_run(r, HOUR, true));
        assert_int_equal(r->lookups[PHC_DHCP], i);
        rig_run(r, phc_deadline(rig_engine(r)) - r->sim->now_ms + 1, false);
    }
    assert_true(rig_run(r, HOUR, true));
    int64_t now = r->sim->now_ms;
    rig_event(r, 0, PHC_EV_WAKE);
    assert_int_equal(rig_state(r), PHC_ST_DISCOVER);
    assert_int_equal(r->sim->now_ms, now);
    rig_event(r, 0, PHC_EV_WAKE); /* in the middle: the pause behind it is the shortest */
    assert_true(rig_run(r, HOUR, true));
    assert_in_range(phc_deadline(rig_engine(r)) - r->sim->now_ms, 1, 5000);
    rig_event(r, 0, PHC_EV_STOP);
    rig_event(r, 0, PHC_EV_WAKE);
    rig_run(r, 1000, true);
    assert_int_equal(rig_state(r), PHC_ST_IDLE);
    rig_free(r);
    r = world(1, false, SCENE_NONE, false);
    rig_start(r);
    for (int i = 0; i < 1000 && !rig_done(r); i++) {
        rig_event(r, 0, PHC_EV_WAKE);
        rig_run(r, 1000, false);
    }
    expect_done(r, true);
    assert_int_equal(r->lookups[PHC_CONFIGURED], 2); /* a life before its reboot, and one after */
    rig_free(r);
}

static void sources_off(void **state) {
    (void)state;
    struct rig *r = world(1, false, SCENE_NONE, false);
    r->config.sources = 1U << PHC_CONFIGURED;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->lookups[PHC_STORAGE] + r->lookups[PHC_DNS] + r->lookups[PHC_DHCP], 0);
    rig_free(r);
}

/* PH-115: of the older dialect 500 is asked ten times, 404 once, and then the next server. */
/* proves: PH-100 PH-110 PH-111 PH-115 */
static void old_servers(void **state) {
    (void)state;
    static const struct {
        int status;
        unsigned gets;
    } cases[] = {{500, 10}, {404, 1}, {403, 1}, {0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *r = rig_new(1, false, 4);
        struct conveyed info;
        scene_info(&info, SCENE_NONE, false, 0);
        info.has_pre = info.has_post = false;
        r->config.dialect = PHC_PRERFC;
        rig_configured(r, "phs1", 443);
        rig_configured(r, "phs2", 443);
        for (int k = 0; k < 2; k++) {
            struct rig_server *s = rig_server(r, k == 0 ? "phs1" : "phs2", 443);
            s->built_in = true;
            rig_answer_prerfc(s, &info, "sim-2.tgz");
        }
        r->servers[0].status = cases[i].status;
        scene_info_free(&info);
        rig_start(r);
        expect_done(r, true);
        assert_true(r->servers[1].gets >= 1);
        if (cases[i].status != 0) { /* once before the reboot and once after it */
            assert_int_equal(r->servers[0].gets, 2 * cases[i].gets);
        }
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- the device's own provisioning */

/* proves: PH-092 PH-093 */
static void precedence(void **state) {
    (void)state;
    static const struct {
        enum phc_precedence p;
        bool chassis, others; /* others: a configured server has data */
        bool done;
        unsigned legacy;
    } cases[] = {
        {PHC_PHONE_HOME, false, true, true, 0},
        {PHC_PHONE_HOME, false, false, false, 0},
        {PHC_ZTP, true, true, false, 1},
        {PHC_ZTP, false, true, false, 1},
        {PHC_FIRST_SUCCESS, false, true, true, 0},
        {PHC_FIRST_SUCCESS, false, false, false, 1},
        {PHC_PRECEDENCE_AUTO, true, true, true, 0},
        {PHC_PRECEDENCE_AUTO, false, true, false, 1},
        {PHC_PRECEDENCE_AUTO, true, false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *r = world(1, cases[i].chassis, SCENE_MIN, false);
        r->config.precedence = cases[i].p;
        rig_find(r, PHC_DHCP)->legacy_ztp = true;
        if (!cases[i].others) {
            r->servers[0].status = r->servers[1].status = 404;
        }
        rig_start(r);
        rig_run(r, HOUR, true);
        assert_int_equal(rig_done(r), cases[i].done);
        assert_int_equal(r->legacy, cases[i].legacy);
        assert_true(rig_logged(r, "the device's own") > 0);
        if (cases[i].legacy > 0) {
            assert_int_equal(rig_state(r), PHC_ST_IDLE);
        }
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- images */

/* proves: PH-041 */
static void downloads(void **state) {
    (void)state;
    struct rig *r =
        world(1, false, SCENE_NONE, false); /* until it succeeds, from one to the next */
    r->download_fails = 7;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->n_downloads, 8);
    assert_string_equal(r->downloaded[0], "https://phs1:443/image");
    assert_string_equal(r->downloaded[1], "https://images:443/image");
    assert_string_equal(r->downloaded[2], "https://phs1:443/image");
    rig_free(r);

    r = world(1, false, SCENE_NONE, false); /* other bytes: three rounds, then the other address */
    r->checksum_fails = 3;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->n_downloads, 4);
    assert_string_equal(r->downloaded[2], "https://phs1:443/image");
    assert_string_equal(r->downloaded[3], "https://images:443/image");
    rig_free(r);

    r = world(1, false, SCENE_NONE, false); /* no address left: the next server */
    r->checksum_fails = 6;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->n_downloads, 7);
    assert_int_equal(rig_count(r, "No address has the image that the checksums are of."), 1);
    assert_true(r->servers[1].gets > 0);
    rig_free(r);
}

/* An image that is installed and never runs is not installed for ever: twice, and then it is an
 * error of every server that wants it. */
static void image_never_runs(void **state) {
    (void)state;
    struct rig *r = world(1, false, SCENE_NONE, false);
    r->sim->m[0].fault.returns_old = 1000;
    rig_start(r);
    expect_done(r, false);
    assert_int_equal(r->sim->m[0].installs, 1);
    assert_int_equal(r->sim->m[0].reboots, 2);
    int64_t t = r->sim->now_ms;
    while (r->sim->now_ms < t + HOUR) { /* many rounds more */
        rig_run(r, 60 * 1000, false);
    }
    assert_int_equal(r->sim->m[0].installs, 1);
    assert_int_equal(r->sim->m[0].reboots, 2);
    rig_free(r);
}

/* ---------------------------------------------------------------- records */

/* proves: PH-054 */
static void old_or_damaged(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig *r = world(3, true, SCENE_MIN, false);
        rig_start(r);
        while (rig_state(r) != PHC_ST_WAIT_LC) {
            assert_false(rig_run(r, 500, true));
        }
        rig_run(r, 100, false);
        r->kill_at = r->actions + 1;
        r->kill = RIG_PROCESS;
        while (!r->killed) { /* the linecard's return is the next action */
            rig_run(r, 20, false);
        }
        if (i == 0) {
            r->p[0].disk.data[r->p[0].disk.len / 2] ^= 1;
        } else if (i == 1) {
            r->wall_start_s += 3 * 3600;
        }
        expect_done(r, true);
        assert_int_equal(rig_logged(r, "starts anew"), i < 2);
        assert_int_equal(rig_logged(r, "resumes the run"), i < 2 ? 1 : 2); /* the switchover's */
        rig_free(r);
    }
}

/* Once is enough. proves: PH-071 PH-152 */
static void never_again(void **state) {
    (void)state;
    struct rig *r = world(2, true, SCENE_MIN, false);
    rig_start(r);
    expect_done(r, true);
    unsigned gets = r->servers[0].gets;
    for (int i = 0; i < 2; i++) { /* whichever becomes the primary, though the flag is lost */
        r->p[i].disabled = false;
    }
    sim_power_cut(r->sim, sim_primary(r->sim));
    while (!rig_done(r)) {
        assert_false(rig_run(r, 1000, false) && !rig_done(r));
    }
    assert_int_equal(r->servers[0].gets, gets);
    assert_int_equal(r->sim->config, SIM_CONFIRMED);
    rig_free(r);
}

/* A configured device is let alone. proves: PH-004 PH-071 */
static void configured(void **state) {
    (void)state;
    struct rig *r = world(1, false, SCENE_NONE, false);
    r->sim->config = SIM_CONFIRMED;
    rig_start(r);
    rig_run(r, HOUR, true);
    assert_int_equal(r->lookups[PHC_STORAGE], 0);
    assert_int_equal(rig_state(r), PHC_ST_IDLE);
    assert_int_equal(r->sim->rollbacks, 0);
    rig_free(r);
}

/* What a former life left in force goes before anything else, with or without a record of it.
 * proves: PH-036 */
static void left_over(void **state) {
    (void)state;
    struct rig *r = world(2, true, SCENE_MIN, false);
    r->sim->frozen = true;
    r->sim->config = SIM_APPLIED;
    rig_start(r);
    expect_done(r, true);
    assert_string_equal(r->orders[0], "rollback");
    assert_string_equal(r->orders[1], "thaw");
    rig_free(r);
}

/* PH-011: on the primary only. proves: PH-010 PH-011 */
static void primary_only(void **state) {
    (void)state;
    struct rig *r = world(4, true, SCENE_MIN, false);
    rig_start(r);
    while (rig_state(r) != PHC_ST_IMAGE) {
        rig_run(r, 100, true);
    }
    for (int i = 1; i < 4; i++) {
        assert_int_equal(phc_state(r->p[i].g), PHC_ST_IDLE);
    }
    rig_free(r);
}

/* ---------------------------------------------------------------- an operator's stop */

/* Whenever it comes: nothing is left in force, and nothing begins by itself. proves: PH-036 */
static void stop(void **state) {
    (void)state;
    for (int64_t at = 100; at < 400 * 1000; at += at < 10000 ? 700 : 5300) {
        struct rig *r = world(3, true, SCENE_FULL, false);
        rig_start(r);
        if (rig_run(r, at, true)) {
            rig_free(r);
            break;
        }
        int p = sim_primary(r->sim);
        if (p >= 0 && r->p[p].g != NULL) {
            rig_event(r, p, PHC_EV_STOP);
            rig_run(r, 300 * 1000, false);
            if (!rig_done(r)) {
                scene_check(r, "stop");
                assert_int_equal(rig_state(r), PHC_ST_IDLE);
                assert_int_equal(phc_deadline(rig_engine(r)), -1);
                rig_event(r, sim_primary(r->sim), PHC_EV_START);
                expect_done(r, true);
            }
        }
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- detection */

static bool changes(struct rig_server *s, const struct phc_request *q, void *arg) {
    struct rig *r = arg;
    (void)s;
    (void)q;
    sim_link(r->sim, 2, !r->sim->m[2].cut);
    return false; /* and the answer as it is */
}

/* Who is there when the answer comes counts, not who was there when it was asked for.
 * proves: PH-013 */
static void looks_after_the_answer(void **state) {
    (void)state;
    for (int comes = 0; comes < 2; comes++) {
        struct rig *r = world(4, true, SCENE_MIN, false);
        struct rig_server *s = rig_server(r, "phs1", 443);
        s->answer = changes;
        s->arg = r;
        sim_link(r->sim, 2, comes);
        rig_start(r);
        expect_done(r, true);
        assert_int_equal(s->gets, 1);
        assert_string_equal(r->sim->m[2].version, comes ? "2" : "1");
        assert_string_equal(r->sim->m[3].version, "2");
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- strict */

/* proves: PH-035 */
static void unexpected_member(void **state) {
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct rig *r = rig_new(4, true, 33);
        struct conveyed info;
        scene_info(&info, SCENE_FULL, true, 3);
        info.topology.exact = exact;
        rig_configured(r, "phs1", 443);
        struct rig_server *s = rig_server(r, "phs1", 443);
        s->built_in = true;
        rig_answer(s, &info, SZTP_VERBOSE);
        scene_info_free(&info);
        rig_start(r);
        expect_done(r, !exact);
        assert_int_equal(rig_count(r, "unexpected-member: 3 (SIM3) is not listed."), exact);
        assert_int_equal(rig_count(r, "The member 3 (SIM3) is not listed: it is left as it is."),
                         !exact);
        assert_string_equal(r->sim->m[3].version, "1");
        rig_free(r);
    }
}

/* A listed member that isn't there: the time for detection, then another server.
 * proves: PH-033 PH-034 PH-043 */
static void missing_member(void **state) {
    (void)state;
    struct rig *r = world(3, true, SCENE_FULL, true);
    r->config.detection_ms = 60 * 1000;
    snprintf(r->sim->m[2].serial, sizeof r->sim->m[2].serial, "OTHER");
    rig_start(r);
    expect_done(r, false);
    assert_int_equal(rig_count(r, VC_STRICT_DETECTION), 2);
    assert_int_equal(r->servers[0].gets, 1);
    assert_int_equal(r->servers[1].gets, 1);
    assert_int_equal(r->sim->freezes, 0);
    assert_in_range(r->sim->now_ms, 120 * 1000, 140 * 1000);
    rig_free(r);
}

/* An order to reboot that fails for one of several: the others are not given up for it, and it is
 * told once more by itself. proves: PH-030 PH-042 PH-043 PH-044 */
static void reboot_refused(void **state) {
    (void)state;
    static const struct {
        int member;
        unsigned fails;
        const char *versions, *told;
    } cases[] = {
        {2, 1, "2222", NULL},
        {3, 1, "2222", NULL},
        {3, 1000, "2221", VC_DETECTED_FAILED},
        {1, 1, "2122", VC_FAILED}, /* alone: nothing is to be waited for */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig *r = world(4, true, SCENE_FULL, false);
        r->config.detection_ms = 600 * 1000;
        r->sim->m[cases[i].member].fault.reboot_fails = cases[i].fails;
        rig_start(r);
        expect_done(r, true);
        for (int m = 0; m < 4; m++) {
            assert_int_equal(r->sim->m[m].version[0], cases[i].versions[m]);
            assert_in_range(r->sim->m[m].reboots, 0, 1); /* nobody twice */
        }
        assert_int_equal(rig_count(r, VC_DETECTED_FAILED),
                         cases[i].told != NULL && strcmp(cases[i].told, VC_DETECTED_FAILED) == 0);
        assert_int_equal(rig_count(r, VC_FAILED),
                         cases[i].told != NULL && strcmp(cases[i].told, VC_FAILED) == 0);
        assert_int_equal(r->servers[1].gets, 0);
        rig_free(r);
    }
}

/* ---------------------------------------------------------------- certificates */

static struct conveyed csr_info;
static unsigned csr_asked, csr_requests;
static int csr_refuse; /* answers to the request that are 400 */
static struct buf csr_seen[4];

static bool csr_server(struct rig_server *s, const struct phc_request *q, void *arg) {
    struct sztp_get get = {0};
    struct err e = {0};
    (void)arg;
    assert_int_equal(sztp_get_parse(SZTP_JSON, q->body->data, q->body->len, &get, &e), ERR_OK);
    buf_clear(&s->body);
    if (get.csr_format == SZTP_CSR_NONE) {
        assert_true(get.csr_support && get.csr_p10_ok);
        csr_asked++;
        s->status = 400;
        sztp_error_print(SZTP_JSON, "application", "missing-attribute", "a request is wanted", true,
                         &s->body);
    } else {
        const unsigned char *p = get.csr.data;
        X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)get.csr.len);
        assert_non_null(req);
        EVP_PKEY *key = X509_REQ_get0_pubkey(req);
        assert_int_equal(X509_REQ_verify(req, key), 1);
        buf_clear(&csr_seen[csr_requests]);
        unsigned char *der = NULL;
        int n = i2d_PUBKEY(key, &der);
        buf_add(&csr_seen[csr_requests++], der, (size_t)n);
        OPENSSL_free(der);
        X509_REQ_free(req);
        if (csr_refuse > 0) {
            csr_refuse--;
            s->status = 400;
            sztp_error_print(SZTP_JSON, "application", "invalid-value", "not so", false, &s->body);
        } else {
            rig_answer(s, &csr_info, SZTP_MINIMAL);
        }
    }
    sztp_get_free(&get);
    return true;
}

static struct rig *csr_world(void) {
    struct rig *r = world(1, false, SCENE_NONE, false);
    csr_asked = csr_requests = 0;
    r->servers[0].answer = csr_server;
    return r;
}

static void expect_key(const struct rig *r, const struct buf *public) {
    BIO *bio = BIO_new_mem_buf(r->sim->key.data, (int)r->sim->key.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    assert_int_equal(n, public->len);
    assert_memory_equal(der, public->data, public->len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    BIO_free(bio);
}

static void certificates(void **state) {
    (void)state;
    scene_info(&csr_info, SCENE_NONE, false, 0);
    csr_info.image.present = false;
    struct rig *r = csr_world();
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(csr_asked, 1);
    assert_int_equal(csr_requests, 1);
    /* The device has the key that the certificate is for, before the configuration with it. */
    assert_int_equal(r->sim->keys, 1);
    expect_key(r, &csr_seen[0]);
    size_t at = 0;
    while (at < r->n_orders && strcmp(r->orders[at], "key") != 0) {
        at++;
    }
    assert_true(at + 1 < r->n_orders && strcmp(r->orders[at + 1], "apply") == 0);
    /* Nothing of it is left in the record. */
    struct record kept;
    struct err e = {0};
    const struct rig_process *p = &r->p[0];
    assert_int_equal(record_parse(p->disk.data, p->disk.len, &kept, &e), ERR_OK);
    assert_int_equal(kept.csr_key.len, 0);
    record_free(&kept);
    rig_free(r);
    /* A device that can't keep it is not configured. */
    r = csr_world();
    r->sim->key_fails = 1;
    r->servers[1].status = 404;
    rig_start(r);
    rig_run(r, HOUR, true);
    assert_false(rig_done(r));
    assert_int_equal(r->sim->applies, 0);
    assert_int_equal(
        rig_count(r, "The key of its certificate could not be kept: no room for the key"), 1);
    rig_free(r);
    /* A second 400: the key is deleted, the next one is another (RFC 9646 section 2.2). */
    r = csr_world();
    csr_refuse = 1;
    r->servers[1].status = 404;
    rig_start(r);
    rig_run(r, HOUR, true);
    assert_false(rig_done(r));
    assert_int_equal(rig_logged(r, "its key is deleted"), 1);
    rig_run(r, HOUR, false);
    assert_true(rig_done(r));
    assert_int_equal(csr_requests, 2);
    assert_true(csr_seen[0].len != csr_seen[1].len ||
                memcmp(csr_seen[0].data, csr_seen[1].data, csr_seen[0].len) != 0);
    rig_free(r);
    conveyed_free(&csr_info);
    for (int i = 0; i < 4; i++) {
        buf_free(&csr_seen[i]);
    }
}

/* A server that does not know RFC 9646 and refuses what it does not know. */
static bool knows_no_csr(struct rig_server *s, const struct phc_request *q, void *arg) {
    struct sztp_get get = {0};
    struct err e = {0};
    (void)arg;
    assert_int_equal(sztp_get_parse(SZTP_JSON, q->body->data, q->body->len, &get, &e), ERR_OK);
    buf_clear(&s->body);
    if (get.csr_support) {
        s->status = 400;
        sztp_error_print(SZTP_JSON, "protocol", "unknown-element", "csr-support", false, &s->body);
    } else {
        rig_answer(s, &csr_info, SZTP_MINIMAL);
    }
    sztp_get_free(&get);
    return true;
}

static void no_certificates(void **state) {
    (void)state;
    scene_info(&csr_info, SCENE_NONE, false, 0);
    csr_info.image.present = false;
    struct rig *r = world(1, false, SCENE_NONE, false);
    r->servers[0].answer = knows_no_csr;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->servers[0].gets, 2);
    rig_free(r);
    conveyed_free(&csr_info);
}

static bool offers_no_csr(struct rig_server *s, const struct phc_request *q, void *arg) {
    struct sztp_get get = {0};
    struct err e = {0};
    (void)arg;
    assert_int_equal(sztp_get_parse(SZTP_JSON, q->body->data, q->body->len, &get, &e), ERR_OK);
    assert_false(get.csr_support);
    sztp_get_free(&get);
    rig_answer(s, &csr_info, SZTP_MINIMAL);
    return true;
}

/* A platform that keeps no keys is not asked to. */
static void no_keys(void **state) {
    (void)state;
    scene_info(&csr_info, SCENE_NONE, false, 0);
    csr_info.image.present = false;
    struct rig *r = world(1, false, SCENE_NONE, false);
    struct platform_ops without = *r->sim->m[0].ops;
    without.key = NULL;
    r->sim->m[0].ops = &without;
    r->servers[0].answer = offers_no_csr;
    rig_start(r);
    expect_done(r, true);
    assert_int_equal(r->sim->keys, 0);
    rig_free(r);
    conveyed_free(&csr_info);
}

/* ---------------------------------------------------------------- what it shows */

static void status(void **state) {
    (void)state;
    struct rig *r = world(3, true, SCENE_FULL, true);
    rig_start(r);
    while (rig_state(r) != PHC_ST_WAIT_LC) {
        rig_run(r, 500, true);
    }
    struct buf b = BUF_INIT;
    phc_status(rig_engine(r), &b);
    const char *s = buf_cstr(&b);
    assert_non_null(strstr(s, "\"state\":\"WAIT_LC\""));
    assert_non_null(strstr(s, "\"server\":\"phs1:443\""));
    assert_non_null(strstr(s, "\"mode\":\"strict\""));
    assert_non_null(strstr(s, "\"temporary-configuration\":true"));
    assert_non_null(strstr(s, "{\"member-id\":2,\"serial-id\":\"SIM2\",\"role\":\"linecard\","
                              "\"step\":\"reboot\",\"result\":\"none\"}"));
    buf_free(&b);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds),
        cmocka_unit_test(woken),
        cmocka_unit_test(sources_off),
        cmocka_unit_test(old_servers),
        cmocka_unit_test(precedence),
        cmocka_unit_test(downloads),
        cmocka_unit_test(image_never_runs),
        cmocka_unit_test(old_or_damaged),
        cmocka_unit_test(never_again),
        cmocka_unit_test(configured),
        cmocka_unit_test(left_over),
        cmocka_unit_test(primary_only),
        cmocka_unit_test(stop),
        cmocka_unit_test(looks_after_the_answer),
        cmocka_unit_test(unexpected_member),
        cmocka_unit_test(missing_member),
        cmocka_unit_test(reboot_refused),
        cmocka_unit_test(certificates),
        cmocka_unit_test(no_certificates),
        cmocka_unit_test(no_keys),
        cmocka_unit_test(status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
