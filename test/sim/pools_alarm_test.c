// SPDX-License-Identifier: Apache-2.0
/* Alarms, reclamation, operators' orders, thresholds as desired state. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "probe.h"

#define KEY "entity", "bng1", "pool-domain", "d", "pool"

static struct rig rig;
static struct probe a;

static void world(const char *reclamation) {
    rig_open(&rig, INT64_C(1780000000)); /* 2026-05-28T20:26:40Z */
    rig_profile(&rig, "p", 100, 400, reclamation);
    rig_match(&rig, "bng1", "p");
    rig_match(&rig, "bng2", "p");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/20\"}");
    probe_init(&a, &rig, "bng1");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
}

static int teardown(void **state) {
    if (rig.core != NULL) {
        rig_verify(&rig);
        probe_free(&a);
        rig_close(&rig);
    }
    return 0;
}

static struct domain *dom(void) {
    struct entity *en = pools_entity(rig.pools, "bng1");
    return en ? entity_domain(en, "d") : NULL;
}

static int state_of(const char *pool) {
    struct pool *po = dom() ? domain_pool_named(dom(), pool) : NULL;
    return po ? po->state : 0;
}

static size_t allocated(void) {
    return partition_get(rig.pools, "metro", false)->n_pools;
}

static void give(const char *id, unsigned n) {
    const answer_msg *r = probe_apportion(&a, id, "d", n, 24);
    assert_int_equal(r->n_add, n);
    probe_result(&a, id, 0, "");
}

/* What the entity counts, so that drains can be judged. */
static void usage(uint64_t free, uint64_t used) {
    const struct probe_pool pools[] = {{"d", NULL, 254, 10, 0, false},
                                       {"d-0000", NULL, 254, 40, 0, false},
                                       {"d-0001", NULL, 254, 0, 0, false}};
    probe_stats(&a, "d", free, used, 3, pools);
}

static enum err_code request(const char *what, const char *pool, const char *force, char *text,
                             size_t n) {
    struct buf out = BUF_INIT;
    struct err e = {.code = ERR_OK};
    enum err_code rc = force ? rig_call(&rig, &out, NULL, &e, what, KEY, pool, "force", force, NULL)
                             : rig_call(&rig, &out, NULL, &e, what, KEY, pool, NULL);
    snprintf(text, n, "%s", rc == ERR_OK ? buf_cstr(&out) : e.text);
    buf_free(&out);
    return rc;
}

/* ---- apportionment ------------------------------------------------------------------------------
 */

/* proves: APM-045 APM-051 APM-053 APM-111 */
static void partial_success_says_how_many_are_short(void **state) {
    world("");
    const answer_msg *r = probe_apportion(&a, "1", "d", 20, 24);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_ACK);
    assert_int_equal(r->n_add, 16);
    assert_int_equal(r->shortfall, 4);
    r = probe_apportion(&a, "2", "d", 1, 24);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->shortfall, 1);
}

/* proves: APM-059 P-05 */
static void a_repeated_alarm_gets_the_same_answer(void **state) {
    char one[IP_TEXT_MAX], two[IP_TEXT_MAX];
    world("");
    prefix_text(probe_apportion(&a, "1", "d", 1, 24)->add[0], one);
    prefix_text(probe_apportion(&a, "1", "d", 1, 24)->add[0], two);
    assert_string_equal(one, two);
    assert_int_equal(allocated(), 1);
    /* Also after a restart, and after the session broke. */
    probe_close(&a);
    rig_restart(&rig);
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", one, 254, 0, 0, false}};
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_pools(&a, "d", "metro", 1, theirs);
    probe_sync_done(&a);
    prefix_text(probe_apportion(&a, "1", "d", 1, 24)->add[0], two);
    assert_string_equal(one, two);
    assert_int_equal(allocated(), 1);
    /* For an hour; then it is forgotten and the id is new. */
    rig_pass(&rig, 3602 * NS_PER_S);
    assert_int_equal(rig.pools->n_answers, 0);
    prefix_text(probe_apportion(&a, "1", "d", 1, 24)->add[0], two);
    assert_string_not_equal(one, two);
}

static struct buf packed(const answer_msg *r) {
    struct buf b = BUF_INIT;
    openapmi__v1__alarm_response__pack(
        r, buf_extend(&b, openapmi__v1__alarm_response__get_packed_size(r)));
    return b;
}

static void assert_same_answer(const struct buf *want, const answer_msg *r) {
    struct buf got = packed(r);
    assert_int_equal(got.len, want->len);
    assert_memory_equal(got.data, want->data, want->len);
    buf_free(&got);
}

/* Byte for byte, with all that it says, although its pools are not stored with it.
 * proves: P-05 */
static void a_repeated_answer_is_the_same_in_every_byte(void **state) {
    world(",\"auto-reclamation\":{}");
    struct buf add = packed(probe_apportion(&a, "1", "d", 20, 24)); /* 16, and a shortfall */
    assert_same_answer(&add, probe_apportion(&a, "1", "d", 20, 24));
    probe_result(&a, "1", 0, "");
    assert_same_answer(&add, probe_apportion(&a, "1", "d", 20, 24));
    struct buf drain = packed(probe_reclaim(&a, "2", "d", 4000, "d-0003", 0, 254));
    assert_same_answer(&drain, probe_reclaim(&a, "2", "d", 4000, "d-0003", 0, 254));
    assert_int_equal(rig.pools->stats.duplicates, 3);
    buf_free(&add);
    buf_free(&drain);
}

/* When one of the pools is gone, the others are not promised again. */
static void an_answer_that_no_longer_holds(void **state) {
    world("");
    probe_apportion(&a, "1", "d", 3, 24);
    probe_result_pool(&a, "1", 9, "d-0001");
    const answer_msg *r = probe_apportion(&a, "1", "d", 3, 24);
    assert_int_equal(r->n_add, 3);
    assert_string_equal(r->add[0]->name, "d-0002");
    assert_int_equal(rig.pools->stats.duplicates, 0);
    assert_int_equal(allocated(), 5);
}

static enum err_code fold(const struct rec_key *k, const struct buf *v) {
    struct err e;
    return pools_state_fold(rig.pools, k->bytes, k->len, v->data, v->len, &e);
}

/* An answer as version 1 stored it: whole. */
static void answers_of_version_1(void **state) {
    world("");
    struct buf b = packed(probe_apportion(&a, "1", "d", 3, 24)), v = BUF_INIT;
    const struct answer *now = answer_find(rig.pools, pools_entity(rig.pools, "bng1"), "1");
    struct answer_rec old = {.whole = true,
                             .at_s = now->at_s,
                             .attempt = now->attempt,
                             .domain = now->domain,
                             .type = now->type,
                             .bytes = b.data,
                             .len = b.len};
    struct rec_key k = rec_key_answer(now->entity, "1");
    uint32_t first = now->first, crc = now->crc;
    answer_rec_encode(&old, &v);
    assert_int_equal(fold(&k, &v), ERR_OK);
    now = answer_find(rig.pools, pools_entity(rig.pools, "bng1"), "1");
    assert_int_equal(now->n_add, 3);
    assert_int_equal(now->first, first);
    assert_int_equal(now->crc, crc);
    assert_same_answer(&b, probe_apportion(&a, "1", "d", 3, 24));
    /* Its pools are others by now: it no longer holds, and confirms nothing. */
    probe_result_pool(&a, "1", 9, "d-0000");
    assert_int_equal(fold(&k, &v), ERR_OK);
    probe_result(&a, "1", 0, "");
    assert_int_equal(state_of("d"), POOL_ALLOCATING);
    assert_int_equal(probe_apportion(&a, "1", "d", 1, 24)->n_add, 1);
    assert_int_equal(rig.pools->stats.duplicates, 1);
    v.data[v.len - 1] ^= 0x80; /* damaged */
    assert_int_equal(fold(&k, &v), ERR_MALFORMED);
    buf_free(&b);
    buf_free(&v);
}

/* They are read in the order of their ids, and expire in that of time all the same. */
static void answers_expire_in_order_after_a_restart(void **state) {
    world("");
    static const char *const ids[] = {"5", "3", "4", "1", "2"};
    for (int i = 0; i < 5; i++) {
        probe_apportion(&a, ids[i], "d", 1, 28);
        probe_result(&a, ids[i], 0, "");
        rig_pass(&rig, 20 * NS_PER_S);
    }
    probe_close(&a);
    rig_restart(&rig);
    rig_verify(&rig);
    rig_pass(&rig, (3600 - 100 + 30) * NS_PER_S);
    assert_int_equal(rig.pools->n_answers, 3);
    const struct entity *en = pools_entity(rig.pools, "bng1");
    assert_null(answer_find(rig.pools, en, "3"));
    assert_non_null(answer_find(rig.pools, en, "4"));
    rig_verify(&rig);
}

/* proves: APM-059 APM-060 */
static void one_outstanding_alarm_of_a_type(void **state) {
    world("");
    rig_partition(&rig, "metro", 16, 28, "");
    probe_apportion(&a, "1", "d", 1, 24);
    assert_string_equal(dom()->alarms[ALARM_APPORTION]->id, "1");
    alarm_msg m = OPENAPMI__V1__ALARM__INIT;
    m.alarm_id = (char *)(uintptr_t) "1";
    m.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    m.domain = (char *)(uintptr_t) "d";
    m.attempt = 2;
    probe_alarm(&a, &m);
    assert_int_equal(dom()->alarms[ALARM_APPORTION]->attempts, 2);
    assert_int_equal(dom()->stats.apportion_alarms, 1); /* alarms, not attempts */
    assert_int_equal(rig.pools->stats.retries, 1);
    probe_apportion(&a, "2", "d", 1, 24);
    assert_string_equal(dom()->alarms[ALARM_APPORTION]->id, "2");
    alarm_msg ab = OPENAPMI__V1__ALARM__INIT;
    ab.alarm_id = (char *)(uintptr_t) "3";
    ab.type = OPENAPMI__V1__ALARM_TYPE__ABATE;
    ab.domain = (char *)(uintptr_t) "d";
    assert_int_equal(probe_alarm(&a, &ab)->result, OPENAPMI__V1__ALARM_RESULT__ALARM_ACK);
    assert_null(dom()->alarms[ALARM_APPORTION]);
    assert_int_equal(dom()->stats.abatements, 1);
}

/* proves: APM-026 */
static void the_entity_may_refuse_what_it_was_given(void **state) {
    world("");
    probe_apportion(&a, "1", "d", 3, 24);
    probe_result_pool(&a, "1", 9, "d-0000");
    assert_int_equal(state_of("d-0000"), 0);
    assert_int_equal(state_of("d"), POOL_ALLOCATING);
    assert_int_equal(allocated(), 2);
    probe_result(&a, "1", 0, "");
    assert_int_equal(state_of("d"), POOL_ACTIVE);
    assert_int_equal(state_of("d-0001"), POOL_ACTIVE);
}

static const char *given(const char *id, unsigned len, char out[IP_TEXT_MAX]) {
    while (probe_take(&a, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE) != NULL) {
    } /* that there is space again (P-22) */
    const answer_msg *r = probe_apportion(&a, id, "d", 1, len);
    return r->n_add == 1 ? prefix_text(r->add[0], out) : "none";
}

/* What it could not take is free, and would be the first choice again and again. */
/* proves: APM-026 P-04 */
static void what_was_refused_is_not_offered_again(void **state) {
    char t[IP_TEXT_MAX];
    struct buf text = BUF_INIT;
    world("");
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/22\"}");
    assert_string_equal(given("1", 24, t), "10.0.0.0/24");
    probe_result_pool(&a, "1", 3, "d");
    assert_int_equal(allocated(), 0);
    assert_string_equal(given("2", 24, t), "10.0.1.0/24");
    probe_result(&a, "2", 0, "");
    /* Nor as a part of something larger or smaller, but the rest of the partition is. */
    assert_string_equal(given("3", 23, t), "10.0.2.0/23");
    probe_result(&a, "3", 0, "");
    assert_string_equal(given("4", 26, t), "none");
    rig_call(&rig, &text, NULL, NULL, "explain-domain", "domain", "d", NULL);
    assert_non_null(strstr(buf_cstr(&text), "could not take 10.0.0.0/24"));
    assert_non_null(strstr(buf_cstr(&text), "no prefix left for this domain but what it could"));
    buf_free(&text);
    /* Others have it at once. */
    struct probe other;
    probe_init(&other, &rig, "bng2");
    probe_connect_empty(&other);
    probe_create(&other, "x", "metro", 25);
    assert_string_equal(prefix_text(probe_apportion(&other, "o", "x", 1, 25)->add[0], t),
                        "10.0.0.0/25");
    probe_free(&other);
    /* It itself after an hour. */
    rig_pass(&rig, (POOLS_REFUSED_S + 1) * NS_PER_S);
    assert_string_equal(given("5", 25, t), "10.0.0.128/25");
    /* That its table is full says nothing about the prefix. */
    probe_result_pool(&a, "5", CODE_RESOURCE_EXHAUSTED, "d-0001");
    assert_string_equal(given("6", 25, t), "10.0.0.128/25");
    /* In a new session it is asked once more. */
    probe_result_pool(&a, "6", 3, "d-0002");
    assert_string_equal(given("7", 25, t), "none");
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", "10.0.1.0/24", 254, 0, 0, false},
                                        {"d-0000", "10.0.2.0/23", 510, 0, 0, false}};
    probe_close(&a);
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_pools(&a, "d", "metro", 2, theirs);
    probe_sync_done(&a);
    assert_string_equal(given("8", 25, t), "10.0.0.128/25");
}

static const answer_msg *alarm_number(int i) {
    char id[16];
    snprintf(id, sizeof id, "%d", i);
    return probe_apportion(&a, id, "d", 1, 28);
}

/* proves: P-19 */
static void alarms_are_rate_limited(void **state) {
    enum { RATE = 100, BURST = RATE * POOLS_ALARM_BURST_S };
    world("");
    int64_t now = clock_wall_s(&rig.clock);
    for (int i = 0; i < BURST; i++) {
        assert_int_not_equal(alarm_number(i)->reason, OPENAPMI__V1__REASON__RATE_LIMITED);
    }
    /* The rest get turns at the rate, so that they don't all come back together, but soon. */
    for (int i = 0; i < 100 * RATE; i++) {
        const answer_msg *r = alarm_number(BURST + i);
        int64_t turn = 1 + i / RATE;
        assert_int_equal(r->reason, OPENAPMI__V1__REASON__RATE_LIMITED);
        assert_int_equal(r->retry_at - now,
                         turn < POOLS_RETRY_RATE_MAX_S ? turn : POOLS_RETRY_RATE_MAX_S);
    }
    assert_int_equal(rig.pools->stats.rate_limited, 100 * RATE);
    rig_pass(&rig, NS_PER_S);
    for (int i = 0; i < RATE + 5; i++) {
        bool limited = alarm_number(-1 - i)->reason == OPENAPMI__V1__REASON__RATE_LIMITED;
        assert_int_equal(limited, i >= RATE);
    }
}

static void the_rate_of_alarms_is_configured(void **state) {
    world("");
    rig_must_put(&rig, "/weft-apm:apm/entity-match=bng1",
                 "{\"weft-apm:entity-match\":[{\"system-id\":\"bng1\","
                 "\"pool-domain-profile\":\"p\",\"alarm-rate\":2}]}");
    for (int i = 0; i < 2 * POOLS_ALARM_BURST_S + 1; i++) {
        bool limited = alarm_number(i)->reason == OPENAPMI__V1__REASON__RATE_LIMITED;
        assert_int_equal(limited, i >= 2 * POOLS_ALARM_BURST_S);
    }
    struct probe other; /* is not concerned */
    probe_init(&other, &rig, "bng2");
    probe_connect_empty(&other);
    probe_create(&other, "d", "metro", 24);
    assert_int_not_equal(probe_apportion(&other, "1", "d", 1, 28)->reason,
                         OPENAPMI__V1__REASON__RATE_LIMITED);
    probe_free(&other);
}

/* proves: APM-016 */
static void low_water_is_told_once(void **state) {
    world("");
    rig_must_put(&rig, "/weft-apm:apm/inet-pool/partition=metro",
                 "{\"weft-apm:partition\":[{\"name\":\"metro\",\"min-prefix-len\":16,"
                 "\"max-prefix-len\":28,\"free-prefix-utilization\":50,"
                 "\"prefix\":[{\"prefix\":\"10.0.0.0/20\"}]}]}");
    struct partition *pt = partition_get(rig.pools, "metro", false);
    give("1", 8); /* exactly half is left */
    assert_int_equal(pt->low_crossings, 0);
    give("2", 1);
    give("3", 1);
    rig_pass(&rig, 3 * NS_PER_S);
    assert_int_equal(pt->low_crossings, 1);
    assert_true(pt->low);
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-partition", NULL);
    assert_non_null(strstr(buf_cstr(&text), "low"));
    buf_free(&text);
    probe_close(&a);
    rig_call(&rig, NULL, NULL, NULL, "release-entity", "entity", "bng1", NULL);
    rig_pass(&rig, 2 * NS_PER_S);
    assert_int_equal(pt->recoveries, 1);
}

static void file_size_limit(rlim_t most) {
    struct rlimit rl;
    getrlimit(RLIMIT_FSIZE, &rl);
    rl.rlim_cur = most;
    setrlimit(RLIMIT_FSIZE, &rl);
}

/* P-08. The store can't be written: nothing is given from memory alone, and nothing stays behind.
 */
/* proves: APM-028 APM-124 P-08 */
static void a_full_disk_gives_nothing(void **state) {
    world("");
    give("1", 1);
    signal(SIGXFSZ, SIG_IGN);
    file_size_limit(0);
    const answer_msg *r = probe_apportion(&a, "2", "d", 2, 24);
    file_size_limit(RLIM_INFINITY);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__STORE_UNAVAILABLE);
    assert_int_equal(allocated(), 1);
    assert_int_equal(dom()->n_pools, 1);
    assert_int_equal(dom()->next_seq, 0);
    rig_verify(&rig);
    struct core_stats st;
    core_stats(rig.core, &st);
    if (!st.writable) {
        return; /* the log asks to be opened anew, as it may after a failed sync */
    }
    r = probe_apportion(&a, "2", "d", 2, 24);
    assert_int_equal(r->n_add, 2);
    assert_string_equal(r->add[0]->name, "d-0000");
}

/* ---- reclaim alarms -----------------------------------------------------------------------------
 */

/* proves: APM-054 APM-058 APM-080 APM-087 APM-089 APM-090 APM-110 */
static void manual_reclamation(void **state) {
    char text[512];
    struct buf shown = BUF_INIT;
    world("");
    give("1", 3);
    usage(712, 50);
    /* Without a reclaim alarm for it only with force. */
    assert_int_equal(request("drain", "d-0001", NULL, text, sizeof text), ERR_REFUSED);
    const answer_msg *r = probe_reclaim(&a, "r", "d", 712, "d-0001", 0, 254);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__NOOP);
    assert_int_equal(state_of("d-0001"), POOL_ACTIVE); /* no drain is set by the alarm itself */
    rig_call(&rig, &shown, NULL, NULL, "show-alarms", NULL);
    assert_non_null(strstr(buf_cstr(&shown), "reclaim"));
    assert_non_null(strstr(buf_cstr(&shown), "d-0001"));
    assert_int_equal(request("drain", "d-0001", NULL, text, sizeof text), ERR_OK);
    assert_string_equal(text, "Pool d-0001 in pool domain d at entity bng1 is draining.\n");
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    assert_int_equal(state_of("d-0001"), POOL_DRAIN);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(state_of("d-0001"), POOL_DRAIN_SET);
    /* An operator's drain can be taken back. */
    assert_int_equal(request("activate", "d-0001", NULL, text, sizeof text), ERR_OK);
    assert_string_equal(text, "Pool d-0001 in pool domain d at entity bng1 has activated.\n");
    o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(state_of("d-0001"), POOL_ACTIVE);
    assert_int_equal(request("activate", "d-0001", NULL, text, sizeof text), ERR_REFUSED);
    /* And placed again; drained; reclaimed by command. */
    assert_int_equal(request("drain", "d-0001", "", text, sizeof text), ERR_OK);
    o = probe_order(&a);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(request("reclaim", "d-0001", NULL, text, sizeof text), ERR_REFUSED);
    r = probe_drained(&a, "dr", "d", "d-0001");
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING);
    assert_int_equal(state_of("d-0001"), POOL_DRAINED);
    buf_clear(&shown);
    rig_call(&rig, &shown, NULL, NULL, "show-alarms", NULL);
    assert_non_null(strstr(buf_cstr(&shown), "pool-drained"));
    buf_clear(&shown);
    rig_call(&rig, &shown, NULL, NULL, "show-reclaim-events", NULL);
    assert_non_null(strstr(buf_cstr(&shown), "operator"));
    buf_free(&shown);
    assert_int_equal(request("reclaim", "d-0001", NULL, text, sizeof text), ERR_OK);
    o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL);
    assert_int_equal(allocated(), 3); /* not before the entity has confirmed */
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(allocated(), 2);
}

/* proves: APM-088 */
static void unsafe_drains_need_force(void **state) {
    char text[512];
    world("");
    give("1", 3);
    usage(300, 462);
    probe_reclaim(&a, "r", "d", 300, "d-0000", 40, 254);
    assert_int_equal(request("drain", "d-0000", NULL, text, sizeof text), ERR_REFUSED);
    assert_non_null(strstr(text, "46")); /* 300 - 254 */
    assert_non_null(strstr(text, "100"));
    assert_int_equal(request("drain", "d-0000", "", text, sizeof text), ERR_OK);
    assert_int_equal(state_of("d-0000"), POOL_DRAIN);
}

/* proves: APM-055 APM-088 */
static void automatic_mode_never_drains_unsafely(void **state) {
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    const answer_msg *r = probe_reclaim(&a, "r1", "d", 300, "d-0000", 40, 254);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__UNSAFE_DRAIN);
    assert_true(r->retry_at > rig_now(&rig));
    assert_int_equal(state_of("d-0000"), POOL_ACTIVE);
    r = probe_reclaim(&a, "r2", "d", 254, "d-0000", 240, 254);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__UNSAFE_DRAIN);
    r = probe_reclaim(&a, "r3", "d", 400, "d-0000", 40, 254);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
}

/* proves: APM-056 APM-083 APM-084 A12 */
static void the_window_decides(void **state) {
    world(",\"auto-reclamation\":{\"active\":\"window\",\"window-start\":\"23:30+0000\"}");
    give("1", 4);
    int64_t opens;
    time_parse("2026-05-28T23:30:00Z", &opens);
    const answer_msg *r = probe_reclaim(&a, "r1", "d", 800, "d-0000", 5, 254);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__OUTSIDE_WINDOW);
    assert_int_equal(r->retry_at, opens);
    assert_int_equal(dom()->alarms[ALARM_RECLAIM]->retry_at, opens);
    /* What is idle is reclaimed outside the window too. */
    r = probe_reclaim(&a, "r2", "d", 800, "d-0001", 0, 254);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    probe_result(&a, "r2", 0, "");
    /* Over midnight, the window is open. */
    rig_set_time(&rig, "2026-05-29T00:15:00Z");
    r = probe_reclaim(&a, "r3", "d", 800, "d-0000", 5, 254);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    probe_result(&a, "r3", 0, "");
    rig_set_time(&rig, "2026-05-29T00:30:00Z");
    time_parse("2026-05-29T23:30:00Z", &opens);
    r = probe_reclaim(&a, "r4", "d", 800, "d", 5, 254);
    assert_int_equal(r->retry_at, opens);
    /* A drain that began in it ends after it. */
    r = probe_drained(&a, "r5", "d", "d-0000");
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
}

/* proves: APM-083 */
static void a_window_of_zero_is_always(void **state) {
    world(",\"auto-reclamation\":{\"active\":\"window\",\"window-start\":\"0\"}");
    give("1", 3);
    assert_int_equal(probe_reclaim(&a, "r1", "d", 800, "d-0000", 5, 254)->action,
                     OPENAPMI__V1__ACTION__SET_DRAIN);
    rig_profile(&rig, "p", 100, 400,
                ",\"auto-reclamation\":{\"active\":\"window\",\"window-start\":\"04:00-0500\","
                "\"window-duration\":0}");
    assert_int_equal(probe_reclaim(&a, "r2", "d", 800, "d-0001", 5, 254)->action,
                     OPENAPMI__V1__ACTION__SET_DRAIN);
}

/* proves: APM-082 P-20 */
static void the_waiting_period_is_kept(void **state) {
    world(",\"auto-reclamation\":{\"delay\":120}");
    give("1", 3);
    int64_t first = rig_now(&rig);
    const answer_msg *r = probe_reclaim(&a, "r1", "d", 700, "d-0001", 0, 254);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__DELAYED);
    assert_int_equal(r->retry_at, first + 120);
    rig_pass(&rig, 120 * NS_PER_S);
    alarm_msg m = OPENAPMI__V1__ALARM__INIT;
    char *names[] = {(char *)(uintptr_t) "d-0001"};
    m.alarm_id = (char *)(uintptr_t) "r1";
    m.type = OPENAPMI__V1__ALARM_TYPE__RECLAIM;
    m.domain = (char *)(uintptr_t) "d";
    m.attempt = 2;
    m.free_addresses = 700;
    m.total_addresses = 762;
    m.candidate_pool = names;
    m.n_candidate_pool = 1;
    m.candidate_total = 254;
    assert_int_equal(probe_alarm(&a, &m)->action, OPENAPMI__V1__ACTION__SET_DRAIN);
}

/* proves: APM-085 A6 */
static void auto_reclamation_removed_mid_drain(void **state) {
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    probe_reclaim(&a, "r1", "d", 700, "d-0001", 0, 254);
    probe_result(&a, "r1", 0, "");
    assert_int_equal(state_of("d-0001"), POOL_DRAIN_SET);
    rig_profile(&rig, "p", 100, 400, "");
    assert_int_equal(state_of("d-0001"), POOL_ACTIVE);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN);
    assert_string_equal(o->pool, "d-0001");
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(domain_pool_named(dom(), "d-0001")->flags, 0);
    assert_int_equal(probe_reclaim(&a, "r2", "d", 700, "d-0001", 0, 254)->result,
                     OPENAPMI__V1__ALARM_RESULT__ALARM_PENDING);
}

/* proves: APM-090 A8 */
static void automatic_drains_cannot_be_activated(void **state) {
    char text[512];
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    probe_reclaim(&a, "r1", "d", 700, "d-0001", 0, 254);
    assert_int_equal(request("activate", "d-0001", NULL, text, sizeof text), ERR_REFUSED);
    probe_result(&a, "r1", 0, "");
    assert_int_equal(request("activate", "d-0001", NULL, text, sizeof text), ERR_REFUSED);
    assert_non_null(strstr(text, "automatic"));
    assert_int_equal(state_of("d-0001"), POOL_DRAIN_SET);
}

/* proves: APM-091 A7 */
static void release_entity(void **state) {
    char text[512];
    struct err e;
    world("");
    give("1", 3);
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "release-entity", "entity", "bng1", NULL),
                     ERR_REFUSED);
    assert_int_equal(allocated(), 3);
    probe_close(&a);
    struct buf out = BUF_INIT;
    assert_int_equal(rig_call(&rig, &out, NULL, &e, "release-entity", "entity", "bng1", NULL),
                     ERR_OK);
    assert_string_equal(
        buf_cstr(&out),
        "Entity bng1 has been released: 1 pool domain removed, 3 prefixes freed.\n");
    buf_free(&out);
    assert_int_equal(allocated(), 0);
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "release-entity", "entity", "bng1", NULL),
                     ERR_ABSENT);
    assert_int_equal(request("drain", "d", NULL, text, sizeof text), ERR_ABSENT);
    rig_restart(&rig);
    assert_int_equal(allocated(), 0);
}

/* proves: APM-037 P-16 */
static void the_last_pool_takes_its_domain_along(void **state) {
    world(",\"auto-reclamation\":{}");
    give("1", 1);
    const answer_msg *r = probe_reclaim(&a, "r1", "d", 1022, "d", 0, 254);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__SET_DRAIN);
    probe_result(&a, "r1", 0, "");
    probe_drained(&a, "r2", "d", "d");
    probe_result(&a, "r2", 0, "");
    assert_null(dom());
    assert_int_equal(allocated(), 0);
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 24)->reason,
                     OPENAPMI__V1__REASON__UNKNOWN_DOMAIN);
}

/* Confirmations that stay out are asked for again; a refused removal is tried again later. */
/* proves: P-04 P-14 */
static void orders_are_repeated(void **state) {
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    probe_reclaim(&a, "r1", "d", 700, "d-0001", 0, 254);
    rig_pass(&rig, 32 * NS_PER_S);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(state_of("d-0001"), POOL_DRAIN_SET);
    probe_drained(&a, "r2", "d", "d-0001");
    probe_result(&a, "r2", 14, "the server is restarting");
    assert_int_equal(state_of("d-0001"), POOL_DRAIN_SET);
    assert_int_equal(probe_drained(&a, "r3", "d", "d-0001")->action,
                     OPENAPMI__V1__ACTION__REMOVE_POOL);
    rig_pass(&rig, 32 * NS_PER_S);
    o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_REMOVE_POOL);
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(allocated(), 2);
    /* A late second answer changes nothing. */
    probe_result(&a, "r3", 0, "");
    assert_int_equal(allocated(), 2);
}

/* The bare name comes again when its pool is gone; a confirmation of the first pool's removal that
 * is said once more must not free the second's prefix, which is in use still. */
/* proves: APM-035 P-14 */
static void a_late_result_is_about_the_pool_of_its_time(void **state) {
    struct probe other;
    char t[IP_TEXT_MAX];
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    probe_reclaim(&a, "r1", "d", 700, "d", 0, 254);
    probe_result(&a, "r1", 0, "");
    assert_int_equal(probe_drained(&a, "x", "d", "d")->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
    probe_result(&a, "x", 0, "");
    assert_int_equal(allocated(), 2);
    probe_init(&other, &rig, "bng2");
    probe_connect_empty(&other);
    probe_create(&other, "o", "metro", 24);
    assert_string_equal(prefix_text(probe_apportion(&other, "o", "o", 1, 24)->add[0], t),
                        "10.0.0.0/24");
    rig_pass(&rig, 5 * NS_PER_S);
    const answer_msg *r = probe_apportion(&a, "2", "d", 1, 24);
    assert_string_equal(r->add[0]->name, "d");
    probe_result(&a, "2", 0, "");
    probe_reclaim(&a, "r2", "d", 700, "d", 0, 254);
    probe_result(&a, "r1", 9, "said long ago"); /* not about this drain */
    assert_int_equal(state_of("d"), POOL_DRAIN);
    probe_result(&a, "r2", 0, "");
    probe_drained(&a, "y", "d", "d");
    assert_int_equal(state_of("d"), POOL_REMOVING);
    probe_result(&a, "x", 0, "");
    assert_int_equal(state_of("d"), POOL_REMOVING);
    probe_result(&a, "y", 0, "");
    assert_int_equal(state_of("d"), 0);
    probe_free(&other);
}

/* An entity that does not know the pool it is to remove is asked what it has; until its list is
 * here nothing is given. */
/* proves: P-09 P-14 */
static void a_removal_of_what_is_gone(void **state) {
    world(",\"auto-reclamation\":{}");
    give("1", 3);
    probe_reclaim(&a, "r1", "d", 700, "d-0001", 0, 254);
    probe_result(&a, "r1", 0, "");
    probe_drained(&a, "r2", "d", "d-0001");
    probe_result(&a, "r2", 5, "no such pool");
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC);
    assert_string_equal(o->domain, "d");
    assert_int_equal(allocated(), 3);
    const answer_msg *r = probe_apportion(&a, "2", "d", 1, 24);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__SYNC_IN_PROGRESS);
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false},
                                        {"d-0000", "10.0.1.0/24", 254, 0, 0, false}};
    probe_pools(&a, "d", "metro", 2, theirs);
    assert_int_equal(allocated(), 2);
    r = probe_apportion(&a, "2", "d", 1, 24);
    assert_int_equal(r->action, OPENAPMI__V1__ACTION__ADD_POOLS);
    /* The same question from an alarm about a pool that is unknown here. */
    probe_result(&a, "2", 0, "");
    probe_drained(&a, "r3", "d", "d-0007");
    assert_int_equal(probe_order(&a)->type, OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC);
    r = probe_apportion(&a, "3", "d", 1, 24);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__SYNC_IN_PROGRESS);
}

/* An order to synchronise that was never sent keeps no domain waiting. */
/* proves: P-04 P-08 */
static void a_full_disk_asks_nothing(void **state) {
    world("");
    probe_apportion(&a, "1", "d", 1, 24);
    signal(SIGXFSZ, SIG_IGN);
    file_size_limit(0);
    rig_pass(&rig, 32 * NS_PER_S);
    file_size_limit(RLIM_INFINITY);
    assert_null(probe_order(&a));
    assert_false(dom()->resync_asked);
    rig_verify(&rig);
}

/* ---- thresholds are the desired state of the entity
 * ---------------------------------------------- */

static enum commit_phase waited;
static char waited_text[512];

static void waited_for(void *arg, enum commit_phase phase, const char *text) {
    waited = phase;
    snprintf(waited_text, sizeof waited_text, "%s", text);
}

/* proves: P-10 */
static void thresholds_reach_the_entity(void **state) {
    world("");
    give("1", 1);
    rig_profile(&rig, "p", 120, 500, "");
    uint64_t index = rig_last_index(&rig);
    waited = COMMIT_UNKNOWN;
    core_commit_wait(rig.core, index, 10 * NS_PER_S, waited_for, NULL);
    rig_pass(&rig, NS_PER_S);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_non_null(o);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS);
    assert_int_equal(o->thresholds->apportion, 120);
    assert_int_equal(o->thresholds->reclaim, 500);
    assert_true(o->revision >= index);
    assert_int_equal(waited, COMMIT_UNKNOWN);
    probe_result(&a, o->order_id, 0, "");
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(waited, COMMIT_APPLIED);
    /* The next ones are refused, and the reason is told. */
    rig_profile(&rig, "p", 50000, 60000, "");
    index = rig_last_index(&rig);
    core_commit_wait(rig.core, index, 10 * NS_PER_S, waited_for, NULL);
    rig_pass(&rig, NS_PER_S);
    o = probe_order(&a);
    assert_non_null(o);
    probe_result(&a, o->order_id, 9, "more than this gateway can hold");
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(waited, COMMIT_REFUSED);
    assert_non_null(strstr(waited_text, "more than this gateway can hold"));
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "explain-domain", "domain", "d", NULL);
    assert_non_null(strstr(buf_cstr(&text), "more than this gateway can hold"));
    /* What is wanted, and what the entity works by. */
    struct buf json = BUF_INIT;
    buf_clear(&text);
    rig_call(&rig, &text, &json, NULL, "show-entity", "id", "bng1", NULL);
    assert_non_null(strstr(buf_cstr(&text), "    Thresholds:\n"
                                            "      Apportion  :  50000 (in use: 120)\n"
                                            "      Reclamation:  60000 (in use: 500)\n"
                                            "      Refused    :  more than this gateway can hold\n"
                                            "    Events:\n"));
    assert_non_null(strstr(buf_cstr(&json), "\"apportion-in-use\":120"));
    assert_non_null(strstr(buf_cstr(&json), "\"refused\":\"more than this gateway can hold\""));
    /* Taken back: the entity has the old ones still, and is in step without a message. */
    rig_profile(&rig, "p", 120, 500, "");
    core_commit_wait(rig.core, rig_last_index(&rig), 10 * NS_PER_S, waited_for, NULL);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(waited, COMMIT_APPLIED);
    assert_null(probe_order(&a));
    buf_clear(&text);
    rig_call(&rig, &text, NULL, NULL, "explain-domain", "domain", "d", NULL);
    assert_null(strstr(buf_cstr(&text), "refuses"));
    buf_clear(&text);
    rig_call(&rig, &text, NULL, NULL, "show-entity", "id", "bng1", NULL);
    assert_non_null(strstr(buf_cstr(&text), "Apportion  :  120\n      Reclamation:  500\n    Ev"));
    buf_free(&json);
    buf_free(&text);
}

/* New thresholds are sent and not answered yet when they are taken back: what the manager knows of
 * the entity equals what is wanted again, and still the entity must be told. */
static void taken_back_before_the_answer(void **state) {
    world("");
    give("1", 1);
    rig_profile(&rig, "p", 120, 500, "");
    rig_pass(&rig, NS_PER_S);
    const Openapmi__V1__Order *o = probe_order(&a);
    probe_result(&a, o->order_id, 0, "");
    rig_pass(&rig, NS_PER_S);
    rig_profile(&rig, "p", 130, 510, "");
    rig_pass(&rig, NS_PER_S);
    o = probe_order(&a);
    assert_int_equal(o->thresholds->apportion, 130);
    char late[64];
    snprintf(late, sizeof late, "%s", o->order_id);
    rig_profile(&rig, "p", 120, 500, "");
    rig_pass(&rig, NS_PER_S);
    probe_result(&a, late, 0, "");
    rig_pass(&rig, NS_PER_S);
    o = probe_order(&a);
    assert_non_null(o);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS);
    assert_int_equal(o->thresholds->apportion, 120);
    assert_int_equal(o->thresholds->reclaim, 500);
}

/* A removed entity-match ends the session. */
static void an_entity_no_longer_admitted(void **state) {
    world("");
    assert_int_equal(rig_put(&rig, "/weft-apm:apm/entity-match=bng1", NULL, false, NULL), ERR_OK);
    rig_step(&rig);
    assert_true(a.ended);
    assert_int_equal(a.end_code, 7);
}

/* ---- space that comes back ----------------------------------------------------------------------
 */

/* Is the probe told, within the next second or so, that this alarm is worth another attempt? */
static bool told(struct probe *p, const char *alarm_id) {
    rig_pass(&rig, 1500 * NS_PER_MS);
    manager_msg *m = probe_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE);
    if (m == NULL) {
        return false;
    }
    assert_int_equal(m->in_reply_to, 0);
    assert_string_equal(m->alarm_response->alarm_id, alarm_id);
    assert_int_equal(m->alarm_response->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(m->alarm_response->action, OPENAPMI__V1__ACTION__NOOP);
    assert_int_equal(m->alarm_response->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
    assert_true(m->alarm_response->retry_at <= rig_now(&rig));
    assert_non_null(strstr(m->alarm_response->text, "space again"));
    assert_null(probe_take(p, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE));
    return true;
}

static void ask(struct probe *p, const char *id, uint32_t attempt, bool gets) {
    alarm_msg m = OPENAPMI__V1__ALARM__INIT;
    m.alarm_id = (char *)(uintptr_t)id;
    m.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    m.domain = (char *)(uintptr_t) "d";
    m.wanted_prefixes = 1;
    m.attempt = attempt;
    const answer_msg *r = probe_alarm(p, &m);
    assert_int_equal(r->n_add, gets ? 1 : 0);
    if (gets) {
        probe_result(p, id, 0, "");
    }
}

/* proves: APM-052 P-22 */
static void who_waits_is_told_of_space(void **state) {
    static struct probe b;
    world("");
    probe_init(&b, &rig, "bng2");
    probe_connect_empty(&b);
    probe_create(&b, "d", "metro", 24);
    rig_partition(&rig, "metro", 16, 28, "{\"prefix\":\"10.0.0.0/24\"}");
    rig_pass(&rig, 2 * NS_PER_S);
    ask(&a, "a1", 1, true);
    ask(&a, "a2", 1, false);
    rig_pass(&rig, 5 * NS_PER_S);
    ask(&b, "b1", 1, false);
    assert_false(told(&a, "a2"));
    /* A root that is held for somebody else is none for this one. */
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/24\"},{\"prefix\":\"10.0.8.0/24\",\"reserved-prefix\":["
                  "{\"prefix\":\"10.0.8.0/24\",\"entity\":\"bng2\",\"pool-domain\":\"d\"}]}");
    assert_false(told(&a, "a2"));
    assert_true(told(&b, "b1"));
    assert_false(told(&b, "b1")); /* once; its time to ask by itself stays what it was */
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/24\"},{\"prefix\":\"10.0.8.0/24\"}");
    assert_true(told(&a, "a2"));
    assert_true(told(&b, "b1"));
    ask(&a, "a2", 2, true);
    ask(&b, "b1", 2, false); /* the other one was faster */
    assert_false(told(&b, "b1"));
    /* What one gives back another one waits for. */
    char text[128];
    assert_int_equal(request("drain", "d-0000", "", text, sizeof text), ERR_OK);
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    probe_drained(&a, "gone", "d", "d-0000");
    assert_false(told(&b, "b1"));
    assert_int_equal(request("reclaim", "d-0000", NULL, text, sizeof text), ERR_OK);
    assert_false(told(&b, "b1")); /* the gateway has not confirmed yet */
    probe_result(&a, probe_order(&a)->order_id, 0, "");
    assert_true(told(&b, "b1"));
    ask(&b, "b1", 3, true);
    /* Who is not there is not told; it asks after its synchronisation. */
    ask(&b, "b2", 1, false);
    probe_close(&b);
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/24\"},{\"prefix\":\"10.0.8.0/24\"},"
                  "{\"prefix\":\"10.0.9.0/24\"}");
    assert_false(told(&a, "none"));
    probe_free(&b);
}

int main(void) {
#define T(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        T(partial_success_says_how_many_are_short),
        T(a_repeated_alarm_gets_the_same_answer),
        T(a_repeated_answer_is_the_same_in_every_byte),
        T(an_answer_that_no_longer_holds),
        T(answers_of_version_1),
        T(answers_expire_in_order_after_a_restart),
        T(one_outstanding_alarm_of_a_type),
        T(the_entity_may_refuse_what_it_was_given),
        T(what_was_refused_is_not_offered_again),
        T(alarms_are_rate_limited),
        T(the_rate_of_alarms_is_configured),
        T(low_water_is_told_once),
        T(a_full_disk_gives_nothing),
        T(manual_reclamation),
        T(unsafe_drains_need_force),
        T(automatic_mode_never_drains_unsafely),
        T(the_window_decides),
        T(a_window_of_zero_is_always),
        T(the_waiting_period_is_kept),
        T(auto_reclamation_removed_mid_drain),
        T(automatic_drains_cannot_be_activated),
        T(release_entity),
        T(the_last_pool_takes_its_domain_along),
        T(orders_are_repeated),
        T(a_late_result_is_about_the_pool_of_its_time),
        T(a_removal_of_what_is_gone),
        T(a_full_disk_asks_nothing),
        T(thresholds_reach_the_entity),
        T(taken_back_before_the_answer),
        T(an_entity_no_longer_admitted),
        T(who_waits_is_told_of_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
