// SPDX-License-Identifier: Apache-2.0
/* Sessions and synchronisation: rules P-01..P-14 and the conflicts C1..C7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

static struct rig rig;
static struct probe a, b;

static int setup(void **state) {
    rig_open(&rig, INT64_C(1780000000));
    rig_profile(&rig, "p", 100, 400, ",\"auto-reclamation\":{}");
    rig_match(&rig, "bng1", "p");
    rig_match(&rig, "bng2", "p");
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/16\",\"reserved-prefix\":[{\"prefix\":\"10.0.9.0/24\","
                  "\"entity\":\"bng2\",\"pool-domain\":\"vip\"}]}");
    probe_init(&a, &rig, "bng1");
    probe_init(&b, &rig, "bng2");
    return 0;
}

static int teardown(void **state) {
    rig_verify(&rig);
    probe_free(&a);
    probe_free(&b);
    rig_close(&rig);
    return 0;
}

static struct domain *domain_of(const struct probe *p, const char *name) {
    struct entity *en = pools_entity(rig.pools, p->system_id);
    return en ? entity_domain(en, name) : NULL;
}

static struct pool *pool_of(const struct probe *p, const char *domain, const char *pool) {
    struct domain *d = domain_of(p, domain);
    return d ? domain_pool_named(d, pool) : NULL;
}

/* One domain "d" of `p` is announced with these pools. */
static const Openapmi__V1__PoolSyncResult *sync_one(struct probe *p, const char *partition,
                                                    size_t n, const struct probe_pool *pools) {
    const char *names[] = {"d"};
    probe_connect(p);
    const Openapmi__V1__DomainSyncResult *r = probe_domains(p, 1, names);
    if (r->n_create_first == 1) {
        probe_create(p, "d", partition, 24);
    }
    return probe_pools(p, "d", partition, n, pools);
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

/* proves: APM-041 APM-042 APM-044 P-01 */
static void hello_admits_and_refuses(void **state) {
    struct probe x;
    probe_init(&x, &rig, "stranger");
    probe_open(&x);
    Openapmi__V1__HelloAck *ack = probe_hello_raw(&x, 1, 1);
    assert_int_equal(ack->status->code, 7);
    assert_true(x.ended);
    assert_int_equal(x.end_code, 7);
    probe_free(&x);
    assert_true(x.released);

    probe_open(&a);
    ack = probe_hello_raw(&a, 3, 4);
    assert_int_equal(ack->status->code, 9);
    assert_int_equal(a.end_code, 9);
    probe_connect(&a);
    assert_non_null(pools_entity(rig.pools, "bng1")->session);
    assert_int_equal(pools_entity(rig.pools, "bng1")->version, 1);
}

/* proves: APM-043 APM-112 P-02 */
static void newer_session_takes_over(void **state) {
    struct probe second, old;
    probe_connect_empty(&a);
    probe_init(&second, &rig, "bng1");
    second.boot_epoch = 2;
    probe_connect(&second);
    assert_true(a.ended);
    assert_int_equal(a.end_code, 10);
    probe_init(&old, &rig, "bng1");
    old.boot_epoch = 1;
    probe_open(&old);
    assert_int_equal(probe_hello_raw(&old, 1, 1)->status->code, 10);
    assert_true(old.ended);
    assert_false(second.ended);
    assert_non_null(pools_entity(rig.pools, "bng1")->session);
    probe_free(&old);
    probe_free(&second);
    assert_null(pools_entity(rig.pools, "bng1")->session);
}

/* proves: P-13 */
static void protocol_errors_end_the_session(void **state) {
    probe_open(&a);
    probe_send_bytes(&a, "\xff\xff\xff", 3);
    assert_int_equal(a.end_code, 3);
    probe_open(&a); /* not Hello first */
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__SyncDone sd = OPENAPMI__V1__SYNC_DONE__INIT;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_SYNC_DONE;
    m.sync_done = &sd;
    probe_send(&a, &m);
    assert_int_equal(a.end_code, 3);
    probe_connect(&a); /* msg_id does not rise */
    a.msg_id = 0;
    probe_send(&a, &m);
    assert_int_equal(a.end_code, 3);
    assert_non_null(strstr(a.end_text, "msg_id"));
    /* Host bits and foreign families never get past the gate. */
    probe_connect(&a);
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    Openapmi__V1__Pool po = OPENAPMI__V1__POOL__INIT, *list[] = {&po};
    Openapmi__V1__Prefix px = OPENAPMI__V1__PREFIX__INIT;
    uint8_t addr[4] = {10, 0, 0, 1};
    px.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
    px.address = (ProtobufCBinaryData){4, addr};
    px.length = 24;
    po.name = (char *)(uintptr_t) "d";
    po.prefix = &px;
    ps.domain = (char *)(uintptr_t) "d";
    ps.pool = list;
    ps.n_pool = 1;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC;
    m.pool_sync = &ps;
    probe_send(&a, &m);
    assert_int_equal(a.end_code, 3);
    assert_non_null(strstr(a.end_text, "host bits"));
}

/* proves: APM-005 */
static void only_ipv4(void **state) {
    probe_connect_empty(&a);
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__CreateDomain cd = OPENAPMI__V1__CREATE_DOMAIN__INIT;
    cd.domain = (char *)(uintptr_t) "six";
    cd.partition = (char *)(uintptr_t) "metro";
    cd.af = OPENAPMI__V1__ADDRESS_FAMILY__IPV6;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_CREATE_DOMAIN;
    m.create_domain = &cd;
    probe_send(&a, &m);
    manager_msg *out = probe_take(&a, OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_CREATED);
    assert_int_equal(out->domain_created->status->code, 3);
}

/* ---- the usual way -----------------------------------------------------------------------------
 */

/* proves: APM-043 APM-070 APM-071 APM-072 APM-073 P-09 */
static void discovery_conforms_to_the_entity(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false},
                                        {"mine", "10.0.5.0/24", 254, 20, 0, false}};
    const Openapmi__V1__PoolSyncResult *r = sync_one(&a, "metro", 2, theirs);
    assert_int_equal(r->status->code, 0);
    assert_int_equal(r->n_verdict, 2);
    assert_int_equal(r->verdict[0]->verdict, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED);
    assert_int_equal(r->thresholds->apportion, 100);
    probe_sync_done(&a);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ACTIVE);
    assert_int_equal(pool_of(&a, "d", "mine")->state, POOL_ACTIVE);
    /* While it was away, one pool went and another came under the same name. */
    probe_close(&a);
    const struct probe_pool later[] = {{"d", "10.0.6.0/24", 254, 1, 0, false}};
    sync_one(&a, "metro", 1, later);
    probe_sync_done(&a);
    assert_null(pool_of(&a, "d", "mine"));
    struct ip_prefix px = ip4_prefix(0x0a000600, 24);
    assert_non_null(domain_pool_prefix(domain_of(&a, "d"), &px));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 1);
    /* The domain is gone: its prefixes too. */
    probe_close(&a);
    probe_connect(&a);
    const Openapmi__V1__DomainSyncResult *ds = probe_domains(&a, 0, NULL);
    assert_int_equal(ds->n_removed_here, 1);
    assert_string_equal(ds->removed_here[0], "d");
    assert_null(domain_of(&a, "d"));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 0);
}

/* proves: APM-076 */
static void digest_spares_the_list(void **state) {
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false}};
    sync_one(&a, "metro", 1, theirs);
    probe_sync_done(&a);
    probe_close(&a);
    probe_connect(&a);
    probe_domains(&a, 1, names);
    uint8_t digest[32];
    domain_digest(domain_of(&a, "d"), digest);
    assert_int_equal(probe_digest(&a, "d", digest)->status->code, 0);
    digest[0] ^= 1;
    assert_int_equal(probe_digest(&a, "d", digest)->status->code, 10);
    assert_int_equal(probe_pools(&a, "d", "metro", 1, theirs)->status->code, 0);
    probe_sync_done(&a);
}

/* proves: APM-076 P-03 */
static void no_allocation_before_the_synchronisation(void **state) {
    probe_connect(&a);
    const answer_msg *r = probe_apportion(&a, "early", "d", 1, 24);
    assert_int_equal(r->result, OPENAPMI__V1__ALARM_RESULT__ALARM_NACK);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__SYNC_IN_PROGRESS);
    assert_int_equal(r->retry_at, rig_now(&rig) + 1);
    probe_domains(&a, 0, NULL);
    probe_sync_done(&a);
    r = probe_apportion(&a, "early", "d", 1, 24);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__UNKNOWN_DOMAIN);
    probe_create(&a, "d", "metro", 24);
    r = probe_apportion(&a, "early", "d", 1, 24);
    assert_int_equal(r->n_add, 1);
}

/* proves: APM-037 P-16 */
static void empty_domain_is_removed(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false}};
    const char *names[] = {"d"};
    sync_one(&a, "metro", 1, theirs);
    probe_sync_done(&a);
    probe_close(&a);
    probe_connect(&a);
    probe_domains(&a, 1, names);
    assert_int_equal(probe_pools(&a, "d", "metro", 0, NULL)->status->code, 5);
    probe_sync_done(&a);
    assert_null(domain_of(&a, "d"));
}

/* proves: APM-152 P-11 */
static void local_pools_are_not_managed(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false},
                                        {"reserve", "172.16.0.0/24", 254, 4, 0, true}};
    const Openapmi__V1__PoolSyncResult *r = sync_one(&a, "metro", 2, theirs);
    assert_int_equal(r->n_verdict, 1);
    assert_int_equal(domain_of(&a, "d")->n_pools, 1);
    assert_int_equal(domain_of(&a, "d")->total, 508); /* counted all the same */
}

/* ---- differences -------------------------------------------------------------------------------
 */

/* The rows of `show apm drift`, without times: "bng1 d mine 10.0.5.0/24 only-there adopted". */
static void drift_is(const char *entity, const char *const *rows) {
    struct buf text = BUF_INIT;
    size_t n = 0;
    assert_int_equal(rig_call(&rig, &text, NULL, NULL, "show-drift", "entity", entity, NULL),
                     ERR_OK);
    char *at, *line = strtok_r((char *)(uintptr_t)buf_cstr(&text), "\n", &at);
    for (; line != NULL; line = strtok_r(NULL, "\n", &at)) {
        if (strchr("12", line[0]) == NULL) {
            continue; /* not a row: they begin with a year */
        }
        char words[300] = "";
        char *in, *w = strtok_r(line, " ", &in);
        for (int i = 0; i < 6 && (w = strtok_r(NULL, " ", &in)) != NULL; i++) {
            size_t len = strlen(words);
            snprintf(words + len, sizeof words - len, "%s%s", i > 0 ? " " : "", w);
        }
        assert_non_null(rows[n]);
        assert_string_equal(words, rows[n]);
        n++;
    }
    assert_null(rows[n]);
    buf_free(&text);
}

/* proves: APM-073 APM-115 */
static void differences_are_kept(void **state) {
    Openapmi__V1__PoolState drained = OPENAPMI__V1__POOL_STATE__DRAINED;
    const struct probe_pool first[] = {{"d", "10.0.4.0/24", 254, 10, 0, false},
                                       {"mine", "10.0.5.0/24", 254, 20, 0, false}};
    const struct probe_pool later[] = {{"d", "10.0.4.0/24", 254, 10, drained, false},
                                       {"new", "10.0.6.0/24", 254, 20, 0, false}};
    const struct probe_pool theirs[] = {{"d", "10.0.6.0/24", 254, 10, 0, false},
                                        {"far", "192.0.2.0/24", 254, 20, 0, false}};
    drift_is("bng1", (const char *const[]){NULL});
    sync_one(&a, "metro", 2, first);
    probe_sync_done(&a);
    probe_close(&a);
    sync_one(&a, "metro", 2, later);
    probe_sync_done(&a);
    sync_one(&b, "metro", 2, theirs);
    probe_sync_done(&b);
    static const char *const of_a[] = {
        "bng1 d d 10.0.4.0/24 only-there adopted",   "bng1 d mine 10.0.5.0/24 only-there adopted",
        "bng1 d mine 10.0.5.0/24 only-here freed",   "bng1 d d 10.0.4.0/24 state followed",
        "bng1 d new 10.0.6.0/24 only-there adopted", NULL};
    static const char *const of_b[] = {"bng2 d d 10.0.6.0/24 only-there conflict",
                                       "bng2 d far 192.0.2.0/24 only-there unmanaged", NULL};
    drift_is("bng1", of_a);
    drift_is("bng2", of_b);
    /* The same again is no difference any more, and a restart forgets nothing. */
    probe_close(&a);
    sync_one(&a, "metro", 2, later);
    probe_sync_done(&a);
    probe_close(&a);
    probe_close(&b);
    rig_restart(&rig);
    drift_is("bng1", of_a);
    drift_is("bng2", of_b);
    struct buf text = BUF_INIT;
    rig_call(&rig, &text, NULL, NULL, "show-drift", NULL);
    assert_non_null(strstr(buf_cstr(&text), "Not yet synchronised since the start: bng1, bng2"));
    buf_free(&text);
}

/* What a lost session explains is none: an offer that never arrived. */
static void an_offer_that_was_lost_is_no_difference(void **state) {
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "one", "d", 2, 24);
    probe_close(&a);
    const struct probe_pool got[] = {{"d", "10.0.8.0/24", 254, 0, 0, false}};
    sync_one(&a, "metro", 1, got);
    probe_sync_done(&a);
    drift_is("bng1", (const char *const[]){NULL});
}

/* However much differs, so much is listed, and the rest is a number. */
static void differences_are_bounded(void **state) {
    enum { MANY = POOLS_DRIFT_LISTED + 20, TIMES = POOLS_DRIFT_MAX / POOLS_DRIFT_LISTED + 2 };
    static char names[MANY][16], prefixes[MANY][20];
    struct probe_pool many[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i);
        snprintf(prefixes[i], sizeof prefixes[i], "10.0.%d.0/28", i + 16);
        many[i] = (struct probe_pool){names[i], prefixes[i], 14, 0, 0, false};
    }
    for (int i = 0; i < TIMES; i++) {
        sync_one(&a, "metro", MANY, many);
        probe_sync_done(&a);
        probe_close(&a);
        struct buf text = BUF_INIT;
        rig_call(&rig, &text, NULL, NULL, "show-drift", NULL);
        assert_non_null(strstr(buf_cstr(&text), "20 more of the same synchronisation"));
        buf_free(&text);
        probe_connect_empty(&a); /* and all are gone again */
        probe_close(&a);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < POOLS_DRIFT_MAX; i++) {
        kept += drift_at(rig.pools, i) != NULL;
    }
    assert_int_equal(kept, POOLS_DRIFT_MAX);
    assert_int_equal(rig.pools->drift_seq, TIMES * 2 * (POOLS_DRIFT_LISTED + 1));
}

/* ---- conflicts ---------------------------------------------------------------------------------
 */

static void expect(const Openapmi__V1__PoolSyncResult *r, size_t i, unsigned code, bool drain) {
    char text[8];
    snprintf(text, sizeof text, "C%u:", code);
    assert_true(i < r->n_verdict);
    assert_int_equal(r->verdict[i]->verdict,
                     drain ? OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN
                           : OPENAPMI__V1__POOL_VERDICT__VERDICT__UNMANAGED);
    if (strncmp(r->verdict[i]->reason, text, 3) != 0) {
        fail_msg("%s instead of %s", r->verdict[i]->reason, text);
    }
}

/* proves: APM-074 A3 P-12 */
static void conflict_c1_held_by_another(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false}};
    sync_one(&a, "metro", 1, theirs);
    probe_sync_done(&a);
    const Openapmi__V1__PoolSyncResult *r = sync_one(&b, "metro", 1, theirs);
    expect(r, 0, 1, true);
    assert_non_null(strstr(r->verdict[0]->reason, "bng1 domain d"));
    probe_sync_done(&b);
    assert_int_equal(pool_of(&b, "d", "d")->state, POOL_CONFLICT);
    /* It is drained and removed, and nothing is freed (P-12). */
    const answer_msg *an = probe_drained(&b, "c1", "d", "d");
    assert_int_equal(an->action, OPENAPMI__V1__ACTION__REMOVE_POOL);
    probe_result(&b, "c1", 0, "");
    assert_null(domain_of(&b, "d"));
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ACTIVE);
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 1);
    /* A part of it is a conflict just as well. */
    const struct probe_pool part[] = {{"d", "10.0.4.128/25", 126, 1, 0, false}};
    expect(sync_one(&b, "metro", 1, part), 0, 1, true);
}

/* proves: APM-074 A3 */
static void conflict_c2_outside(void **state) {
    const struct probe_pool theirs[] = {{"d", "192.0.2.0/24", 254, 10, 0, false}};
    expect(sync_one(&a, "metro", 1, theirs), 0, 2, false);
    probe_sync_done(&a);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_UNMANAGED);
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 0);
    /* Once a root covers it, the next synchronisation adopts it. */
    rig_partition(&rig, "metro", 16, 28,
                  "{\"prefix\":\"10.0.0.0/16\"},{\"prefix\":\"192.0.2.0/24\"}");
    probe_close(&a);
    const Openapmi__V1__PoolSyncResult *r = sync_one(&a, "metro", 1, theirs);
    assert_int_equal(r->verdict[0]->verdict, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ACTIVE);
}

/* proves: APM-074 A3 */
static void conflict_c3_covers(void **state) {
    const struct probe_pool small[] = {{"d", "10.0.4.0/26", 62, 10, 0, false}};
    const struct probe_pool large[] = {{"d", "10.0.4.0/24", 254, 10, 0, false}};
    sync_one(&a, "metro", 1, small);
    probe_sync_done(&a);
    expect(sync_one(&b, "metro", 1, large), 0, 3, true);
}

/* proves: APM-021 APM-074 A3 */
static void conflict_c4_reserved(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.9.0/24", 254, 10, 0, false}};
    const Openapmi__V1__PoolSyncResult *r = sync_one(&a, "metro", 1, theirs);
    expect(r, 0, 4, true);
    assert_non_null(strstr(r->verdict[0]->reason, "bng2 domain vip"));
    probe_sync_done(&a);
    /* The one it is held for may have it, and gets it first. */
    probe_connect_empty(&b);
    probe_create(&b, "vip", "metro", 24);
    char t[IP_TEXT_MAX];
    const answer_msg *an = probe_apportion(&b, "v1", "vip", 2, 24);
    assert_int_equal(an->n_add, 2);
    assert_string_equal(prefix_text(an->add[0], t), "10.0.9.0/24");
    assert_string_equal(prefix_text(an->add[1], t), "10.0.8.0/24"); /* an exact fit beside it */
    /* And nobody else ever does. */
    probe_create(&a, "other", "metro", 24);
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "o%d", i);
        an = probe_apportion(&a, id, "other", 60, 24);
        for (size_t k = 0; k < an->n_add; k++) {
            assert_string_not_equal(prefix_text(an->add[k], t), "10.0.9.0/24");
        }
    }
}

/* proves: APM-035 APM-074 A3 */
static void conflict_c5_duplicate_name(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false},
                                        {"d", "10.0.5.0/24", 254, 10, 0, false}};
    const Openapmi__V1__PoolSyncResult *r = sync_one(&a, "metro", 2, theirs);
    assert_int_equal(r->verdict[0]->verdict, OPENAPMI__V1__POOL_VERDICT__VERDICT__ADOPTED);
    expect(r, 1, 5, true);
    probe_sync_done(&a);
    assert_int_equal(domain_of(&a, "d")->n_pools, 2);
    /* The same list again changes nothing. */
    probe_close(&a);
    r = sync_one(&a, "metro", 2, theirs);
    assert_int_equal(r->verdict[0]->verdict, OPENAPMI__V1__POOL_VERDICT__VERDICT__AGREED);
    expect(r, 1, 5, true);
    assert_int_equal(domain_of(&a, "d")->n_pools, 2);
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 1);
}

/* proves: APM-074 A3 */
static void conflict_c6_length(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/30", 2, 1, 0, false}};
    expect(sync_one(&a, "metro", 1, theirs), 0, 6, false);
    probe_sync_done(&a);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_UNMANAGED);
}

/* proves: APM-074 A3 */
static void conflict_c7_unknown_partition(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false}};
    expect(sync_one(&a, "nowhere", 1, theirs), 0, 7, false);
    probe_sync_done(&a);
    const answer_msg *r = probe_apportion(&a, "x", "d", 1, 24);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
    assert_non_null(strstr(r->text, "nowhere"));
}

/* ---- what the end of a session leaves -----------------------------------------------------------
 */

/* proves: APM-072 P-04 */
static void unconfirmed_is_uncertain_until_discovery(void **state) {
    const char *names[] = {"d"};
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "1", "d", 2, 24);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ALLOCATING);
    probe_close(&a);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_UNCERTAIN);
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 2);
    /* It got the first one only. */
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false}};
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_pools(&a, "d", "metro", 1, theirs);
    probe_sync_done(&a);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ACTIVE);
    assert_null(pool_of(&a, "d", "d-0000"));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 1);
}

/* The wall's clock is set, by days: what waits for time waits for as long as ever. */
static void a_clock_that_is_set(void **state) {
    static const int64_t days[] = {-3, 3};
    for (size_t i = 0; i < 2; i++) {
        char name[4] = {'d', (char)('0' + i), '\0'}, alarm[4] = {'a', (char)('0' + i), '\0'};
        a.silent_max_s = 100;
        probe_connect_empty(&a);
        probe_create(&a, name, "metro", 24);
        probe_apportion(&a, alarm, name, 1, 24);
        rig.clock.fake_wall += days[i] * 86400 * NS_PER_S;
        rig_pass(&rig, (POOLS_ACK_S - 2) * NS_PER_S);
        assert_int_equal(pool_of(&a, name, name)->state, POOL_ALLOCATING);
        rig_pass(&rig, 3 * NS_PER_S);
        assert_int_equal(pool_of(&a, name, name)->state, POOL_UNCERTAIN);
        rig_pass(&rig, (100 - POOLS_ACK_S - 2) * NS_PER_S);
        assert_false(a.ended);
        rig_pass(&rig, 3 * NS_PER_S);
        assert_true(a.ended);
        assert_non_null(strstr(a.end_text, "too long"));
        rig_verify(&rig);
    }
    a.silent_max_s = 0;
}

/* proves: P-04 */
static void silence_leads_to_a_resync_order(void **state) {
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "1", "d", 1, 24);
    rig_pass(&rig, 29 * NS_PER_S);
    assert_null(probe_order(&a));
    rig_pass(&rig, 3 * NS_PER_S);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_non_null(o);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC);
    assert_string_equal(o->domain, "d");
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_UNCERTAIN);
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 24)->reason,
                     OPENAPMI__V1__REASON__SYNC_IN_PROGRESS);
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false}};
    probe_pools(&a, "d", "metro", 1, theirs);
    assert_int_equal(pool_of(&a, "d", "d")->state, POOL_ACTIVE);
    assert_int_equal(probe_apportion(&a, "2", "d", 1, 24)->n_add, 1);
}

/* proves: APM-092 */
static void released_and_back_is_c1(void **state) {
    const struct probe_pool theirs[] = {{"d", "10.0.8.0/24", 254, 10, 0, false}};
    struct err e;
    sync_one(&a, "metro", 1, theirs);
    probe_sync_done(&a);
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "release-entity", "entity", "bng1", NULL),
                     ERR_REFUSED);
    probe_close(&a);
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "release-entity", "entity", "bng1", NULL),
                     ERR_OK);
    assert_null(pools_entity(rig.pools, "bng1"));
    probe_connect_empty(&b);
    probe_create(&b, "x", "metro", 24);
    probe_apportion(&b, "1", "x", 1, 24);
    expect(sync_one(&a, "metro", 1, theirs), 0, 1, true);
}

static const char *statistics(struct buf *shown) {
    buf_clear(shown);
    rig_call(&rig, shown, NULL, NULL, "show-statistics", NULL);
    const char *line = strstr(buf_cstr(shown), "Allocations");
    assert_non_null(line);
    return strchr(line, ':') + 1;
}

/* proves: APM-072 APM-103 */
static void a_restart_forgets_nothing(void **state) {
    struct buf shown = BUF_INIT;
    const struct probe_pool theirs[] = {{"d", "10.0.4.0/24", 254, 10, 0, false},
                                        {"odd name", "10.0.5.0/24", 254, 20, 0, false},
                                        {"far", "192.0.2.0/24", 254, 20, 0, false}};
    sync_one(&a, "metro", 3, theirs);
    probe_sync_done(&a);
    probe_apportion(&a, "1", "d", 1, 24);
    uint8_t before[32], after[32];
    domain_digest(domain_of(&a, "d"), before);
    assert_int_equal(atoi(statistics(&shown)), 1);
    probe_close(&a);
    rig_restart(&rig);
    rig_verify(&rig);
    assert_int_equal(atoi(statistics(&shown)), 0); /* counters are volatile, allocations are not */
    buf_free(&shown);
    domain_digest(domain_of(&a, "d"), after);
    assert_memory_equal(before, after, 32);
    assert_int_equal(rig.pools->stats.allocations, 0); /* counters are volatile, allocations not */
    assert_int_equal(pool_of(&a, "d", "far")->state, POOL_UNMANAGED);
    assert_int_equal(pool_of(&a, "d", "odd name")->state, POOL_ACTIVE);
    assert_int_equal(pool_of(&a, "d", "d-0000")->state, POOL_UNCERTAIN);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(hello_admits_and_refuses),
        T(a_clock_that_is_set),
        T(newer_session_takes_over),
        T(protocol_errors_end_the_session),
        T(only_ipv4),
        T(discovery_conforms_to_the_entity),
        T(digest_spares_the_list),
        T(no_allocation_before_the_synchronisation),
        T(empty_domain_is_removed),
        T(local_pools_are_not_managed),
        T(differences_are_kept),
        T(an_offer_that_was_lost_is_no_difference),
        T(differences_are_bounded),
        T(conflict_c1_held_by_another),
        T(conflict_c2_outside),
        T(conflict_c3_covers),
        T(conflict_c4_reserved),
        T(conflict_c5_duplicate_name),
        T(conflict_c6_length),
        T(conflict_c7_unknown_partition),
        T(unconfirmed_is_uncertain_until_discovery),
        T(silence_leads_to_a_resync_order),
        T(released_and_back_is_c1),
        T(a_restart_forgets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
