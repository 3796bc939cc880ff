// SPDX-License-Identifier: Apache-2.0
/* Rules of proto/README.md and requirements that need more than one manager, one partition, or a
 * peer that does not wait for answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "log/log.h"
#include "model/kinds.h"
#include "probe.h"

static struct rig rig;
static struct probe a, b;

static void world(struct rig *r) {
    rig_open(r, INT64_C(1780000000));
    rig_profile(r, "p", 100, 400, "");
    rig_match(r, "bng1", "p");
    rig_match(r, "bng2", "p");
    rig_partition(r, "metro", 16, 30, "{\"prefix\":\"10.0.0.0/20\"}");
    rig_partition(r, "rural", 16, 30, "{\"prefix\":\"10.9.0.0/22\"}");
}

static int setup(void **state) {
    world(&rig);
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

static const char *given(struct probe *p, const char *id, const char *domain, unsigned len,
                         char out[IP_TEXT_MAX]) {
    const answer_msg *r = probe_apportion(p, id, domain, 1, len);
    return r->n_add == 1 ? prefix_text(r->add[0], out) : "none";
}

static struct domain *domain_of(struct rig *r, const char *entity, const char *name) {
    struct entity *en = pools_entity(r->pools, entity);
    return en != NULL ? entity_domain(en, name) : NULL;
}

/* ---- partitions, names, managers --------------------------------------------------------------
 */

/* proves: APM-006 */
static void two_managers_know_nothing_of_each_other(void **state) {
    struct rig other;
    struct probe c;
    char t[IP_TEXT_MAX];
    world(&other);
    probe_init(&c, &other, "bng1");
    probe_connect_empty(&a);
    probe_connect_empty(&c);
    probe_create(&a, "d", "metro", 24);
    probe_create(&c, "d", "metro", 24);
    /* The same prefix: neither has heard of the other's. */
    assert_string_equal(given(&a, "1", "d", 24, t), "10.0.0.0/24");
    assert_string_equal(given(&c, "1", "d", 24, t), "10.0.0.0/24");
    assert_string_equal(given(&a, "2", "d", 24, t), "10.0.1.0/24");
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 2);
    assert_int_equal(partition_get(other.pools, "metro", false)->n_pools, 1);
    /* Nor does configuration pass. */
    rig_profile(&other, "p", 1, 2, "");
    rig_match(&other, "bng3", "p");
    assert_int_equal(((struct profile *)map_get(&rig.pools->profiles, "p"))->apportion, 100);
    assert_null(map_get(&rig.pools->matches, "bng3"));
    rig_pass(&rig, NS_PER_S);
    assert_null(probe_order(&a));
    rig_verify(&other);
    probe_free(&c);
    rig_close(&other);
}

/* proves: APM-015 */
static void a_domain_draws_from_its_partition_only(void **state) {
    char t[IP_TEXT_MAX];
    struct buf text = BUF_INIT;
    probe_connect_empty(&a);
    probe_create(&a, "country", "rural", 24);
    probe_create(&a, "town", "metro", 24);
    for (int i = 0; i < 4; i++) {
        char id[8], want[IP_TEXT_MAX];
        snprintf(id, sizeof id, "c%d", i);
        snprintf(want, sizeof want, "10.9.%d.0/24", i);
        assert_string_equal(given(&a, id, "country", 24, t), want);
        probe_result(&a, id, 0, "");
    }
    /* Its partition is empty; the other one is not, and stays as it is. */
    const answer_msg *r = probe_apportion(&a, "c4", "country", 1, 24);
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
    assert_non_null(strstr(r->text, "rural"));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 0);
    assert_string_equal(given(&a, "t1", "town", 24, t), "10.0.0.0/24");
    /* While it has pools it can't be told to draw from another one. */
    const Openapmi__V1__DomainCreated *dc = probe_create(&a, "country", "metro", 24);
    assert_int_equal(dc->status->code, CODE_FAILED_PRECONDITION);
    assert_string_equal(domain_of(&rig, "bng1", "country")->partition->name, "rural");
    rig_call(&rig, &text, NULL, NULL, "show-prefix", "prefix", "10.9.3.0/24", NULL);
    assert_non_null(strstr(buf_cstr(&text), "Partition  :  rural"));
    buf_free(&text);
}

/* proves: APM-030 */
static void a_name_is_unique_in_its_entity_only(void **state) {
    char t[IP_TEXT_MAX];
    struct err e = {.code = ERR_OK};
    probe_connect_empty(&a);
    probe_connect_empty(&b);
    probe_create(&a, "d", "metro", 24);
    probe_create(&b, "d", "rural", 25);
    assert_string_equal(given(&a, "1", "d", 24, t), "10.0.0.0/24");
    assert_string_equal(given(&b, "1", "d", 25, t), "10.9.0.0/25");
    assert_ptr_not_equal(domain_of(&rig, "bng1", "d"), domain_of(&rig, "bng2", "d"));
    /* Once more is the same one. */
    assert_int_equal(probe_create(&a, "d", "metro", 24)->status->code, 0);
    assert_int_equal(domain_of(&rig, "bng1", "d")->n_pools, 1);
    assert_int_equal(rig.pools->domain_count, 2);
    /* Where the name alone does not say which, the answer says so. */
    assert_int_not_equal(rig_call(&rig, NULL, NULL, &e, "explain-domain", "domain", "d", NULL),
                         ERR_OK);
    assert_non_null(strstr(e.text, "bng1"));
    assert_non_null(strstr(e.text, "bng2"));
    assert_int_equal(
        rig_call(&rig, NULL, NULL, &e, "explain-domain", "domain", "d", "entity", "bng2", NULL),
        ERR_OK);
}

/* A partition's object as a load that checks nothing would put it into the store. */
static void load_partition(const char *json) {
    char url[200];
    struct doc *d = NULL;
    struct err e = {.code = ERR_OK};
    struct buf value = BUF_INIT;
    struct log *log = NULL;
    if (doc_parse(core_model(rig.core), &apm_partition_kind, json, strlen(json), &d, &e) !=
        ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    uint64_t head = core_head(rig.core);
    struct object *o = object_new(d, NULL, head + 1, head + 1);
    object_encode(o, &value);
    rig_crash_begin(&rig);
    buf_clear(&rig.before); /* what comes now is no crash only */
    snprintf(url, sizeof url, "sqlite:%s/%u/log.db", rig.folder, rig.generation);
    struct log_lease lease = {.holder = "loader", .ttl_ns = NS_PER_S};
    struct log_op op = {.space = LOG_CONFIG,
                        .key = (const uint8_t *)d->path,
                        .key_len = strlen(d->path),
                        .value = value.data,
                        .value_len = value.len};
    struct log_entry entry = {.who = "loader", .ops = &op, .n_ops = 1};
    if (log_open(url, NULL, &log, &e) != ERR_OK || log_lease_acquire(log, &lease, &e) != ERR_OK ||
        log_append(log, head, lease.fence, &entry, 1, &e) != ERR_OK) {
        fail_msg("%s %s", e.path, e.text);
    }
    log_close(log);
    object_release(o);
    doc_drop(d);
    buf_free(&value);
    rig_crash_end(&rig);
}

static void quiet(void) {
    logger_set_level(NULL, getenv("SIM_LOG") ? getenv("SIM_LOG") : "error");
}

static char warning[512];

static void keep_warning(enum logger_level level, const char *module, const char *line, void *arg) {
    if (level == LOGGER_WARN && strstr(line, "left out") != NULL) {
        snprintf(warning, sizeof warning, "%s", line);
    }
}

/* proves: APM-013 */
static void a_bad_root_that_was_loaded_is_skipped_and_counted(void **state) {
    char t[IP_TEXT_MAX];
    struct buf text = BUF_INIT;
    warning[0] = '\0';
    logger_set_level(NULL, "warn");
    logger_set_sink(keep_warning, NULL);
    load_partition("{\"name\":\"metro\",\"min-prefix-len\":20,\"max-prefix-len\":28,\"prefix\":["
                   "{\"prefix\":\"10.128.0.0/12\"},{\"prefix\":\"10.64.0.0/22\"},"
                   "{\"prefix\":\"10.64.1.0/24\"},{\"prefix\":\"10.65.0.0/30\"}]}");
    logger_set_sink(NULL, NULL);
    quiet();
    /* /12 and /30 are outside 20..28, 10.64.1.0/24 overlaps. */
    assert_int_equal(partition_get(rig.pools, "metro", false)->skipped_roots, 3);
    assert_non_null(strstr(warning, "outside the limits /20 to /28"));
    rig_call(&rig, &text, NULL, NULL, "show-statistics", NULL);
    assert_non_null(strstr(buf_cstr(&text), "Skipped roots      :  3\n"));
    buf_clear(&text);
    core_metrics(rig.core, &text);
    assert_non_null(strstr(buf_cstr(&text), "weft_apm_skipped_roots 3\n"));
    buf_free(&text);
    /* The good one is used, and nothing else. */
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    for (int i = 0; i < 4; i++) {
        char id[8], want[IP_TEXT_MAX];
        snprintf(id, sizeof id, "%d", i);
        snprintf(want, sizeof want, "10.64.%d.0/24", i);
        assert_string_equal(given(&a, id, "d", 24, t), want);
    }
    assert_string_equal(given(&a, "5", "d", 24, t), "none");
}

/* ---- vectors to the letter --------------------------------------------------------------------
 */

static unsigned receive_alarm(const char *id, int64_t receipt_s) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    alarm_msg al = OPENAPMI__V1__ALARM__INIT;
    uint8_t bytes[256];
    al.alarm_id = (char *)(uintptr_t)id;
    al.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    al.domain = (char *)(uintptr_t) "d";
    al.wanted_prefixes = 1;
    al.attempt = 1;
    al.preferred_length = 24;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_ALARM;
    m.alarm = &al;
    m.msg_id = ++a.msg_id;
    size_t n = openapmi__v1__entity_msg__pack(&m, bytes);
    return apmi_receive(a.session, bytes, n, receipt_s);
}

/* Received at 12:00:00.7, answered six seconds later: 15 minutes from the receipt, whole seconds.
 */
/* proves: APM-052 V7 P-06 */
static void vector_7_from_receipt_not_from_reply(void **state) {
    int64_t noon;
    time_parse("2027-01-01T12:00:00Z", &noon);
    rig_set_time(&rig, "2027-01-01T12:00:00Z");
    clock_fake_advance(&rig.clock, 700 * NS_PER_MS);
    rig_partition(&rig, "metro", 16, 30, "");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    receive_alarm("late", rig_now(&rig));
    clock_fake_advance(&rig.clock, 6 * NS_PER_S);
    rig_step(&rig);
    const answer_msg *r =
        probe_take(&a, OPENAPMI__V1__MANAGER_MSG__BODY_ALARM_RESPONSE)->alarm_response;
    assert_int_equal(r->reason, OPENAPMI__V1__REASON__PARTITION_EMPTY);
    assert_int_equal(r->retry_at, noon + 900);
}

/* proves: APM-034 V6 */
static void vector_6_the_10001st_name(void **state) {
    rig_partition(&rig, "metro", 16, 30, "{\"prefix\":\"10.0.0.0/16\"}");
    probe_connect_empty(&a);
    probe_create(&a, "test-pd", "metro", 30);
    size_t n = 0;
    for (int i = 0; n < 10002; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        const answer_msg *r = probe_apportion(&a, id, "test-pd", 64, 30);
        for (size_t k = 0; k < r->n_add; k++, n++) {
            /* The first has no number; the numbered ones begin at 0000. */
            const char *want = n == 0       ? "test-pd"
                               : n == 1     ? "test-pd-0000"
                               : n == 1000  ? "test-pd-0999"
                               : n == 1001  ? "test-pd-1000"
                               : n == 10000 ? "test-pd-9999"
                               : n == 10001 ? "test-pd-10000"
                                            : NULL;
            if (want != NULL) {
                assert_string_equal(r->add[k]->name, want);
            }
        }
        if (i % 100 == 99) {
            rig_pass(&rig, NS_PER_S);
        }
    }
}

/* ---- rules ------------------------------------------------------------------------------------
 */

/* proves: P-05 */
static void a_lower_attempt_gets_the_stored_answer(void **state) {
    char t[IP_TEXT_MAX];
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    alarm_msg m = OPENAPMI__V1__ALARM__INIT;
    m.alarm_id = (char *)(uintptr_t) "x";
    m.type = OPENAPMI__V1__ALARM_TYPE__APPORTION;
    m.domain = (char *)(uintptr_t) "d";
    m.wanted_prefixes = 1;
    m.preferred_length = 24;
    m.attempt = 3;
    assert_string_equal(prefix_text(probe_alarm(&a, &m)->add[0], t), "10.0.0.0/24");
    m.wanted_prefixes = 5; /* whatever it says now */
    for (m.attempt = 1; m.attempt <= 3; m.attempt++) {
        const answer_msg *r = probe_alarm(&a, &m);
        assert_int_equal(r->n_add, 1);
        assert_string_equal(prefix_text(r->add[0], t), "10.0.0.0/24");
    }
    assert_int_equal(rig.pools->stats.duplicates, 3);
    assert_int_equal(probe_alarm(&a, &m)->n_add, 5); /* attempt 4 is a new question */
}

/* Names in parts: each part is answered about itself, what is gone here comes with the last. */
/* proves: P-07 P-15 */
static void a_list_of_domains_in_parts(void **state) {
    probe_connect_empty(&a);
    probe_create(&a, "kept", "metro", 24);
    probe_create(&a, "gone", "metro", 24);
    probe_apportion(&a, "1", "kept", 1, 24);
    probe_result(&a, "1", 0, "");
    probe_apportion(&a, "2", "gone", 1, 24);
    probe_result(&a, "2", 0, "");
    probe_connect(&a);
    static const char *const parts[][2] = {{"new", "newer"}, {"kept", "newest"}, {"last", NULL}};
    for (int i = 0; i < 3; i++) {
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__DomainSync ds = OPENAPMI__V1__DOMAIN_SYNC__INIT;
        ds.domain = (char **)(uintptr_t)parts[i];
        ds.n_domain = parts[i][1] != NULL ? 2 : 1;
        ds.more = i < 2;
        m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_DOMAIN_SYNC;
        m.domain_sync = &ds;
        probe_send(&a, &m);
        const Openapmi__V1__DomainSyncResult *r =
            probe_take(&a, OPENAPMI__V1__MANAGER_MSG__BODY_DOMAIN_SYNC_RESULT)->domain_sync_result;
        assert_int_equal(r->n_keep, i == 1 ? 1 : 0);
        assert_int_equal(r->n_create_first, i == 0 ? 2 : 1);
        assert_int_equal(r->n_removed_here, i == 2 ? 1 : 0);
        if (i < 2) {
            assert_non_null(domain_of(&rig, "bng1", "gone")); /* it may still be named */
        }
    }
    assert_null(domain_of(&rig, "bng1", "gone"));
    assert_non_null(domain_of(&rig, "bng1", "kept"));
}

static const Openapmi__V1__PoolSyncResult *pool_part(const char *domain, unsigned from, unsigned to,
                                                     bool more) {
    entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
    Openapmi__V1__PoolSync ps = OPENAPMI__V1__POOL_SYNC__INIT;
    static Openapmi__V1__Pool pools[256], *ptr[256];
    static Openapmi__V1__Prefix prefixes[256];
    static uint8_t addresses[256][4];
    static char names[256][16];
    for (unsigned i = from; i < to; i++) {
        openapmi__v1__pool__init(&pools[i]);
        openapmi__v1__prefix__init(&prefixes[i]);
        memcpy(addresses[i], ((uint8_t[]){10, 0, (uint8_t)(i / 16), (uint8_t)(i % 16 * 16)}), 4);
        prefixes[i].af = OPENAPMI__V1__ADDRESS_FAMILY__IPV4;
        prefixes[i].address = (ProtobufCBinaryData){4, addresses[i]};
        prefixes[i].length = 28;
        snprintf(names[i], sizeof names[i], "n%u", i);
        pools[i].name = names[i];
        pools[i].prefix = &prefixes[i];
        pools[i].total = 14;
        ptr[i - from] = &pools[i];
    }
    ps.domain = (char *)(uintptr_t)domain;
    ps.partition = (char *)(uintptr_t) "metro";
    ps.pool = ptr;
    ps.n_pool = to - from;
    ps.more = more;
    m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_POOL_SYNC;
    m.pool_sync = &ps;
    probe_send(&a, &m);
    manager_msg *out = probe_take(&a, OPENAPMI__V1__MANAGER_MSG__BODY_POOL_SYNC_RESULT);
    return out != NULL ? out->pool_sync_result : NULL;
}

/* proves: APM-072 P-07 P-15 */
static void a_list_of_pools_in_parts(void **state) {
    const char *names[] = {"d", "other"};
    probe_connect(&a);
    probe_domains(&a, 2, names);
    probe_create(&a, "d", "metro", 28);
    probe_create(&a, "other", "metro", 28);
    const Openapmi__V1__PoolSyncResult *r = pool_part("d", 0, 100, true);
    assert_int_equal(r->status->code, 0);
    assert_int_equal(r->n_verdict, 0);
    assert_int_equal(domain_of(&rig, "bng1", "d")->n_pools, 0); /* not before it is whole */
    pool_part("d", 100, 200, true);
    r = pool_part("d", 200, 250, false);
    assert_int_equal(r->status->code, 0);
    assert_int_equal(r->n_verdict, 250);
    assert_int_equal(domain_of(&rig, "bng1", "d")->n_pools, 250);
    pool_part("other", 0, 0, false);
    probe_sync_done(&a);
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 250);
    /* Unfinished, and then something else: forgotten. */
    pool_part("d", 0, 10, true);
    probe_stats(&a, "d", 1, 1, 0, NULL);
    assert_int_equal(pool_part("d", 0, 250, false)->n_verdict, 250);
    assert_int_equal(domain_of(&rig, "bng1", "d")->n_pools, 250);
    /* Of two domains at once: no list at all. */
    pool_part("d", 0, 10, true);
    assert_null(pool_part("other", 0, 10, false));
    assert_int_equal(a.end_code, CODE_INVALID_ARGUMENT);
}

static unsigned resumed;

static void count_resume(void *conn) {
    resumed++;
}
static void ignore_send(void *conn, const void *p, size_t n) {
}
static void ignore_end(void *conn, int code, const char *text) {
}
static void ignore_released(void *conn) {
}

/* A peer that does not wait: the transport is told how many are unanswered, to stop reading above
 * 64, and told once to go on when half of them are answered. */
/* proves: P-07 */
static void unanswered_messages_are_bounded(void **state) {
    static const struct apmi_transport transport = {.send = ignore_send,
                                                    .end = ignore_end,
                                                    .resume = count_resume,
                                                    .released = ignore_released};
    struct apmi_peer peer = {.source = "192.0.2.9:1", .address = "192.0.2.9"};
    assert_int_equal(APMI_IN_FLIGHT_MAX, 64);
    resumed = 0;
    a.session = apmi_open(rig.core, &transport, &a, &peer);
    for (unsigned i = 1; i <= APMI_IN_FLIGHT_MAX + 10; i++) {
        assert_int_equal(receive_alarm("x", rig_now(&rig)), i);
    }
    assert_int_equal(apmi_in_flight(a.session), APMI_IN_FLIGHT_MAX + 10);
    assert_int_equal(resumed, 0);
    rig_step(&rig);
    assert_int_equal(apmi_in_flight(a.session), 0);
}

/* proves: APM-076 P-17 */
static void orders_under_way_are_repeated_after_a_synchronisation(void **state) {
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false},
                                        {"d-0000", "10.0.1.0/24", 254, 0, 0, false}};
    uint8_t digest[32];
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_create(&a, "d", "metro", 24);
    probe_pools(&a, "d", "metro", 2, theirs);
    probe_sync_done(&a);
    rig_call(&rig, NULL, NULL, NULL, "drain", "entity", "bng1", "pool-domain", "d", "pool",
             "d-0000", "force", "", NULL);
    assert_int_equal(probe_order(&a)->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    /* The line breaks before it was confirmed. Both have the same pools. */
    probe_connect(&a);
    probe_domains(&a, 1, names);
    domain_digest(domain_of(&rig, "bng1", "d"), digest);
    assert_int_equal(probe_digest(&a, "d", digest)->status->code, 0);
    probe_sync_done(&a);
    const Openapmi__V1__Order *o = probe_order(&a);
    assert_non_null(o);
    assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN);
    assert_string_equal(o->pool, "d-0000");
    probe_result(&a, o->order_id, 0, "");
    assert_int_equal(domain_pool_named(domain_of(&rig, "bng1", "d"), "d-0000")->state,
                     POOL_DRAIN_SET);
}

/* An entity that crashed on its way to draining a conflict has lost the verdict. That both have the
 * same list must not be the end of it: the prefix is in use twice. */
/* proves: APM-074 P-12 P-17 */
static void a_verdict_that_was_lost_is_given_again(void **state) {
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false}};
    uint8_t digest[32];
    probe_connect_empty(&b);
    probe_create(&b, "x", "metro", 24);
    probe_apportion(&b, "1", "x", 1, 24);
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_create(&a, "d", "metro", 24);
    assert_int_equal(probe_pools(&a, "d", "metro", 1, theirs)->verdict[0]->verdict,
                     OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN);
    for (int again = 0; again < 2; again++) {
        probe_connect(&a);
        probe_domains(&a, 1, names);
        domain_digest(domain_of(&rig, "bng1", "d"), digest);
        assert_int_equal(probe_digest(&a, "d", digest)->status->code, CODE_ABORTED);
        const Openapmi__V1__PoolSyncResult *r = probe_pools(&a, "d", "metro", 1, theirs);
        assert_int_equal(r->n_verdict, 1);
        assert_int_equal(r->verdict[0]->verdict,
                         OPENAPMI__V1__POOL_VERDICT__VERDICT__CONFLICT_DRAIN);
        probe_sync_done(&a);
    }
}

/* Somebody drained a pool and made another one at the gateway while the line was down. */
/* proves: APM-075 */
static void what_was_changed_over_there_is_found(void **state) {
    const char *names[] = {"d"};
    const struct probe_pool before[] = {{"d", "10.0.0.0/24", 254, 0, 0, false},
                                        {"d-0000", "10.0.1.0/24", 254, 0, 0, false}};
    const struct probe_pool after[] = {
        {"d", "10.0.0.0/24", 254, 9, OPENAPMI__V1__POOL_STATE__DRAINING, false},
        {"by hand", "10.0.7.0/24", 254, 3, 0, false}};
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_create(&a, "d", "metro", 24);
    probe_pools(&a, "d", "metro", 2, before);
    probe_sync_done(&a);
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_pools(&a, "d", "metro", 2, after);
    probe_sync_done(&a);
    struct domain *d = domain_of(&rig, "bng1", "d");
    assert_int_equal(d->n_pools, 2);
    assert_int_equal(domain_pool_named(d, "d")->state, POOL_DRAIN_SET);
    assert_true(domain_pool_named(d, "d")->flags & POOL_MANUAL); /* as an operator's here */
    assert_int_equal(domain_pool_named(d, "by hand")->state, POOL_ACTIVE);
    assert_null(domain_pool_named(d, "d-0000"));
    assert_int_equal(partition_get(rig.pools, "metro", false)->n_pools, 2);
    struct err e;
    assert_int_equal(rig_call(&rig, NULL, NULL, &e, "activate", "entity", "bng1", "pool-domain",
                              "d", "pool", "d", NULL),
                     ERR_OK);
    const Openapmi__V1__Order *o;
    while ((o = probe_order(&a)) != NULL &&
           o->type != OPENAPMI__V1__ORDER_TYPE__ORDER_CLEAR_DRAIN) {
        assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_SET_DRAIN); /* P-17 */
    }
    assert_non_null(o);
}

static void open_alarms(void) {
    rig_partition(&rig, "metro", 16, 30, "");
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    probe_apportion(&a, "hungry", "d", 1, 24);
    probe_reclaim(&a, "fat", "d", 500, "d", 0, 254);
}

static bool outstanding(enum alarm_type t) {
    return domain_of(&rig, "bng1", "d")->alarms[t] != NULL;
}

static void abate(const char *id, const char *what) {
    alarm_msg m = OPENAPMI__V1__ALARM__INIT;
    char *names[] = {(char *)(uintptr_t)what};
    m.alarm_id = (char *)(uintptr_t)id;
    m.type = OPENAPMI__V1__ALARM_TYPE__ABATE;
    m.domain = (char *)(uintptr_t) "d";
    m.abated = names;
    m.n_abated = what != NULL;
    assert_int_equal(probe_alarm(&a, &m)->result, OPENAPMI__V1__ALARM_RESULT__ALARM_ACK);
}

/* proves: APM-060 P-18 */
static void three_ways_to_withdraw(void **state) {
    open_alarms();
    assert_true(outstanding(ALARM_APPORTION) && outstanding(ALARM_RECLAIM));
    abate("w1", "fat"); /* by name */
    assert_true(outstanding(ALARM_APPORTION) && !outstanding(ALARM_RECLAIM));
    abate("w2", "unheard of");
    assert_true(outstanding(ALARM_APPORTION));
    probe_reclaim(&a, "fat2", "d", 500, "d", 0, 254);
    abate("hungry", NULL); /* by its own id */
    assert_true(!outstanding(ALARM_APPORTION) && outstanding(ALARM_RECLAIM));
    probe_apportion(&a, "hungry2", "d", 1, 24);
    abate("w3", NULL); /* all of the domain */
    assert_true(!outstanding(ALARM_APPORTION) && !outstanding(ALARM_RECLAIM));
    assert_int_equal(domain_of(&rig, "bng1", "d")->stats.abatements, 4);
}

/* proves: APM-043 P-19 */
static void a_session_that_falls_silent_is_lost(void **state) {
    probe_connect_empty(&a);
    probe_connect_empty(&b);
    for (int i = 0; i < 4; i++) { /* one says something now and then */
        rig_pass(&rig, 90 * NS_PER_S);
        entity_msg m = OPENAPMI__V1__ENTITY_MSG__INIT;
        Openapmi__V1__Ping ping = OPENAPMI__V1__PING__INIT;
        m.body_case = OPENAPMI__V1__ENTITY_MSG__BODY_PING;
        m.ping = &ping;
        probe_send(&b, &m);
        assert_non_null(probe_take(&b, OPENAPMI__V1__MANAGER_MSG__BODY_PONG));
    }
    assert_false(b.ended);
    assert_false(a.ended); /* without a bound it may be as silent as it likes */
    a.silent_max_s = 100;
    probe_connect_empty(&a);
    rig_pass(&rig, 100 * NS_PER_S);
    assert_false(a.ended);
    rig_pass(&rig, 2 * NS_PER_S);
    assert_true(a.ended);
    assert_null(pools_entity(rig.pools, "bng1")->session);
    assert_non_null(pools_entity(rig.pools, "bng1")->lost_why);
}

static enum target_state target_state_of(const char *entity) {
    struct target_info i;
    target_info(pools_entity(rig.pools, entity)->target, &i);
    return i.state;
}

/* The next order about thresholds is answered with that code; its apportion threshold. */
static uint64_t answer_thresholds(uint32_t code, const char *text) {
    const Openapmi__V1__Order *o;
    while ((o = probe_order(&a)) != NULL &&
           o->type != OPENAPMI__V1__ORDER_TYPE__ORDER_UPDATE_THRESHOLDS) {
    }
    if (o == NULL) {
        return 0;
    }
    uint64_t apportion = o->thresholds->apportion;
    probe_result(&a, o->order_id, code, text);
    return apportion;
}

/* "I can't store them now" is no refusal: it is tried again, ever more slowly, until it works. */
/* proves: P-10 */
static void thresholds_that_can_not_be_stored_now(void **state) {
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 24);
    rig_profile(&rig, "p", 120, 500, "");
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(CODE_UNAVAILABLE, "the disk is full"), 120);
    rig_step(&rig);
    assert_int_equal(target_state_of("bng1"), TARGET_WAITING);
    assert_int_equal(answer_thresholds(0, ""), 0); /* not at once */
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(CODE_UNAVAILABLE, "the disk is full"), 120);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(0, ""), 0);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(0, ""), 120);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(target_state_of("bng1"), TARGET_IN_STEP);
    assert_int_equal(domain_of(&rig, "bng1", "d")->sent_apportion, 120);
}

/* Thresholds change while an entity synchronises, and it refuses the new ones: it is in step with
 * what was before, and hears of what comes after. */
/* proves: P-10 */
static void refused_at_the_end_of_a_synchronisation(void **state) {
    const char *names[] = {"d"};
    const struct probe_pool theirs[] = {{"d", "10.0.0.0/24", 254, 0, 0, false}};
    probe_connect(&a);
    probe_domains(&a, 1, names);
    probe_create(&a, "d", "metro", 24);
    probe_pools(&a, "d", "metro", 1, theirs);
    rig_profile(&rig, "p", 5000, 6000, "");
    probe_sync_done(&a);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(CODE_FAILED_PRECONDITION, "more than I can hold"), 5000);
    rig_pass(&rig, NS_PER_S);
    answer_thresholds(CODE_FAILED_PRECONDITION, "more than I can hold"); /* may be asked again */
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(target_state_of("bng1"), TARGET_REFUSED);
    rig_profile(&rig, "p", 70, 300, "");
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(answer_thresholds(0, ""), 70);
    rig_pass(&rig, NS_PER_S);
    assert_int_equal(target_state_of("bng1"), TARGET_IN_STEP);
}

static void set_clock(int64_t s) { /* as an administrator does it, or NTP */
    rig.clock.fake_wall += s * NS_PER_S;
    rig_step(&rig);
}

/* proves: F-07 */
/* Design 8, clock jumps: what is an interval must not be measured by a clock that is set. */
static void the_clock_is_set(void **state) {
    static const int64_t jumps[] = {10 * 86400, -20 * 86400, 3600, -3600};
    char t[IP_TEXT_MAX];
    a.silent_max_s = 100;
    probe_connect_empty(&a);
    probe_create(&a, "d", "metro", 28);
    rig_profile(&rig, "p", 100, 400, ",\"auto-reclamation\":{}");
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        char id[32];
        /* Half of the alarms that may come at once, then the jump, then the rest of them ... */
        for (int k = 0; k < 100 * POOLS_ALARM_BURST_S; k++) {
            snprintf(id, sizeof id, "burst-%zu-%d", i, k);
            abate(id, NULL);
            if (k == 100 * POOLS_ALARM_BURST_S / 2) {
                set_clock(jumps[i]);
            }
        }
        /* ... and a second later it may again. */
        rig_pass(&rig, NS_PER_S);
        snprintf(id, sizeof id, "give-%zu", i);
        const answer_msg *r = probe_apportion(&a, id, "d", 1, 28);
        assert_int_equal(r->n_add, 1);
        prefix_text(r->add[0], t);
        /* No session is lost for it, nothing is overdue before its time, and everything in its. */
        set_clock(jumps[i]);
        rig_pass(&rig, 20 * NS_PER_S);
        assert_false(a.ended);
        assert_null(probe_order(&a));
        set_clock(-jumps[i]);
        rig_pass(&rig, 12 * NS_PER_S);
        const Openapmi__V1__Order *o = probe_order(&a);
        assert_non_null(o);
        assert_int_equal(o->type, OPENAPMI__V1__ORDER_TYPE__ORDER_RESYNC);
        struct domain *d = domain_of(&rig, "bng1", "d");
        struct probe_pool theirs[8];
        char names[8][64], prefixes[8][IP_TEXT_MAX];
        for (uint32_t k = 0; k < d->n_pools; k++) {
            char name[POOLS_NAME_MAX + 16];
            struct ip_prefix px = pool_prefix(&d->pools[k]);
            pool_name(d, &d->pools[k], name);
            snprintf(names[k], sizeof names[k], "%s", name);
            ip_prefix_format(&px, prefixes[k]);
            theirs[k] = (struct probe_pool){names[k], prefixes[k], 14, 0, 0, false};
        }
        probe_pools(&a, "d", "metro", d->n_pools, theirs);
        assert_int_equal(d->pools[d->n_pools - 1].state, POOL_ACTIVE);
    }
    rig_pass(&rig, 90 * NS_PER_S);
    assert_true(a.ended || probe_order(&a) == NULL);
    set_clock(-86400);
    probe_close(&a);
    rig_restart(&rig);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    quiet();
    const struct CMUnitTest tests[] = {
        T(two_managers_know_nothing_of_each_other),
        T(a_domain_draws_from_its_partition_only),
        T(a_name_is_unique_in_its_entity_only),
        T(a_bad_root_that_was_loaded_is_skipped_and_counted),
        T(vector_7_from_receipt_not_from_reply),
        T(vector_6_the_10001st_name),
        T(a_lower_attempt_gets_the_stored_answer),
        T(a_list_of_domains_in_parts),
        T(a_list_of_pools_in_parts),
        T(unanswered_messages_are_bounded),
        T(orders_under_way_are_repeated_after_a_synchronisation),
        T(a_verdict_that_was_lost_is_given_again),
        T(what_was_changed_over_there_is_found),
        T(three_ways_to_withdraw),
        T(a_session_that_falls_silent_is_lost),
        T(the_clock_is_set),
        T(thresholds_that_can_not_be_stored_now),
        T(refused_at_the_end_of_a_synchronisation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
