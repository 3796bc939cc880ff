// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "phone-home/record.h"

static struct record *sample(void) {
    struct record *r = MEM_NEW(struct record);
    record_init(r);
    r->run = 0x1122334455667788u;
    r->saved_s = 1800000000;
    r->state = PHC_ST_WAIT_LC;
    r->frozen = r->chassis = r->strict = true;
    r->wait_ms = 123456;
    r->seq = 7;
    r->source = PHC_DHCP;
    r->dialect = PHC_PRERFC;
    snprintf(r->place, sizeof r->place, "phs1.example.com:8443");
    snprintf(r->host, sizeof r->host, "phs1.example.com");
    r->port = 8443;
    r->verify = PHC_ANCHOR;
    buf_str(&r->anchor, "anchor");
    r->form = SZTP_XML;
    r->level = SZTP_VERBOSE;
    r->body_form = SZTP_XML;
    buf_str(&r->body, "<device/>");
    memset(r->digest, 0xab, sizeof r->digest);
    r->n_members = SZTP_MEMBERS_MAX;
    for (int i = 0; i < SZTP_MEMBERS_MAX; i++) {
        struct record_member *m = &r->members[i];
        m->id = i;
        snprintf(m->serial, sizeof m->serial, "S%d", i);
        snprintf(m->before, sizeof m->before, "1.%d", i);
        m->role = i == 0 ? SZTP_MASTER : i == 1 ? SZTP_BACKUP : SZTP_LINECARD;
        m->stage = i == 0 ? STAGE_PRIMARY : i == 1 ? STAGE_BACKUP : STAGE_LINECARD;
        m->step = (enum record_step)(i % STEP_COUNT);
        m->result = (enum record_result)(i % RESULT_COUNT);
        m->tries = (unsigned)i;
        m->seen_down = i % 2 == 0;
    }
    r->n_reports = 2;
    r->reports[0] = (struct record_report){.seq = 6,
                                           .progress = SZTP_INFORMATIONAL,
                                           .notification = SZTP_N_VC_REBOOT,
                                           .member = 9,
                                           .serial = "S9",
                                           .role = SZTP_LINECARD,
                                           .text = "text"};
    r->reports[1] = (struct record_report){.seq = 7,
                                           .progress = SZTP_BOOTSTRAP_COMPLETE,
                                           .notification = SZTP_NOTIFICATION_COUNT,
                                           .must = true,
                                           .member = -1};
    record_avoid(r, "phs2.example.com:443");
    snprintf(r->tried, sizeof r->tried, "20.3 aa");
    r->tries = 1;
    buf_str(&r->csr_key, "key");
    return r;
}

static void drop(struct record *r) {
    record_free(r);
    mem_free(r);
}

/* proves: PH-054 */
static void goes_and_comes(void **state) {
    (void)state;
    struct record *r = sample(), *back = MEM_NEW(struct record);
    struct buf b = BUF_INIT, again = BUF_INIT;
    struct err e;
    record_print(r, &b);
    assert_int_equal(record_parse(b.data, b.len, back, &e), ERR_OK);
    record_print(back, &again);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    assert_int_equal(back->members[9].id, 9);
    assert_string_equal(back->members[9].before, "1.9");
    assert_string_equal(back->reports[0].text, "text");
    assert_int_equal(back->reports[1].member, -1);
    assert_true(back->reports[1].must);
    assert_int_equal(back->wait_ms, 123456);
    assert_true(record_avoids(back, "phs2.example.com:443"));
    assert_false(record_avoids(back, "phs3.example.com:443"));
    /* The end of a run leaves what outlives it. */
    record_end_run(back);
    assert_int_equal(back->run, 0);
    assert_int_equal(back->n_members, 0);
    assert_int_equal(back->body.len, 0);
    assert_int_equal(back->seq, 7);
    assert_int_equal(back->n_avoid, 1);
    assert_string_equal(back->tried, "20.3 aa");
    buf_free(&b);
    buf_free(&again);
    drop(r);
    drop(back);
}

/* Every change of a byte and every cut is seen, and leaves an empty record.
 * proves: PH-054 */
static void damage(void **state) {
    (void)state;
    struct record *r = sample(), *back = MEM_NEW(struct record);
    struct buf b = BUF_INIT;
    struct err e;
    record_print(r, &b);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 0x10;
        assert_int_not_equal(record_parse(b.data, b.len, back, &e), ERR_OK);
        assert_int_equal(back->run, 0);
        b.data[i] ^= 0x10;
        uint8_t *cut =
            mem_dup(b.data, i > 0 ? i : 1); /* its own memory, so that reads past it show */
        assert_int_not_equal(record_parse(cut, i, back, &e), ERR_OK);
        mem_free(cut);
    }
    b.data[5] ^= 3;
    assert_int_equal(record_parse(b.data, b.len, back, &e), ERR_UNSUPPORTED);
    buf_free(&b);
    drop(r);
    drop(back);
}

/* Bytes whose checksum is right, but that say what no record says (somebody forged them): refused,
 * or a record whose numbers are all within bounds, so that it prints the same again. */
static void forged(void **state) {
    (void)state;
    struct record *r = sample(), *back = MEM_NEW(struct record);
    struct rng rng;
    rng_seed(&rng, 54);
    for (int i = 0; i < 20000; i++) {
        struct buf b = BUF_INIT, again = BUF_INIT;
        struct err e;
        record_print(r, &b);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
            b.data[10 + rng_below(&rng, b.len - 10)] = (uint8_t)rng_next(&rng);
        }
        record_reseal(&b);
        if (record_parse(b.data, b.len, back, &e) == ERR_OK) {
            assert_true(back->n_members <= SZTP_MEMBERS_MAX);
            record_print(back, &again);
            record_free(back);
            assert_int_equal(record_parse(again.data, again.len, back, &e), ERR_OK);
        }
        record_free(back);
        buf_free(&b);
        buf_free(&again);
    }
    drop(r);
    mem_free(back);
}

/* proves: PH-054 */
static void age(void **state) {
    (void)state;
    struct record *r = sample();
    struct err e;
    int64_t two_hours = 2 * 3600 * 1000;
    assert_int_equal(record_check_age(r, r->saved_s + 7200, two_hours, &e), ERR_OK);
    assert_int_equal(record_check_age(r, r->saved_s + 7201, two_hours, &e), ERR_REFUSED);
    assert_int_equal(record_check_age(r, 0, two_hours, &e), ERR_OK); /* no battery for the clock */
    r->saved_s = INT64_MIN;
    assert_int_equal(record_check_age(r, INT64_MAX, two_hours, &e), ERR_REFUSED);
    drop(r);
}

static void avoided(void **state) {
    (void)state;
    struct record *r = MEM_NEW(struct record);
    char name[32];
    record_init(r);
    for (int i = 0; i < RECORD_AVOID_MAX + 3; i++) {
        snprintf(name, sizeof name, "h%d:443", i);
        record_avoid(r, name);
        record_avoid(r, name);
    }
    assert_int_equal(r->n_avoid, RECORD_AVOID_MAX);
    assert_false(record_avoids(r, "h2:443"));
    assert_true(record_avoids(r, "h3:443"));
    assert_true(record_avoids(r, name));
    drop(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_and_comes), cmocka_unit_test(damage),
        cmocka_unit_test(forged),         cmocka_unit_test(age),
        cmocka_unit_test(avoided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
