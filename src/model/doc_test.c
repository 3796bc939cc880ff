// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

#include "kinds.h"
#include "model/test_view.h"

static struct model *model;
static struct err err;

static int setup(void **state) {
    return model_load(&model, &err) == ERR_OK ? 0 : -1;
}
static int teardown(void **state) {
    model_free(model);
    return 0;
}

static struct doc *parse(const struct kind *k, const char *json) {
    struct doc *d = NULL;
    if (doc_parse(model, k, json, strlen(json), &d, &err) != ERR_OK) {
        fail_msg("%s: %s", err.path, err.text);
    }
    return d;
}

#define REFUSED(kind, json, want_code, want_path, want_text)                                       \
    do {                                                                                           \
        struct doc *d_ = NULL;                                                                     \
        memset(&err, 0, sizeof err);                                                               \
        assert_int_equal(doc_parse(model, kind, json, strlen(json), &d_, &err), want_code);        \
        assert_null(d_);                                                                           \
        assert_string_equal(err.path, want_path);                                                  \
        if (strstr(err.text, want_text) == NULL) {                                                 \
            fail_msg("\"%s\" is not in \"%s\"", want_text, err.text);                              \
        }                                                                                          \
    } while (0)

/* proves: APM-010 APM-011 */
static void partition(void **state) {
    struct doc *d =
        parse(&apm_partition_kind,
              "{\"prefix\":[{\"prefix\":\"192.0.2.0/24\",\"reserved-prefix\":["
              "{\"prefix\":\"192.0.2.64/27\",\"entity\":\"bng,2\",\"pool-domain\":\"d\"},"
              "{\"prefix\":\"192.0.2.32/27\",\"entity\":\"b1\",\"pool-domain\":\"d\"}]},"
              "{\"prefix\":\"10.0.0.0/20\"}],"
              "\"weft-apm:max-prefix-len\":27,\"min-prefix-len\":20,\"name\":\"a\"}");
    const struct apm_partition *p = d->data;
    assert_string_equal(d->path, "/weft-apm:apm/inet-pool/partition=a");
    assert_string_equal(d->json,
                        "{\"name\":\"a\",\"min-prefix-len\":20,\"max-prefix-len\":27,"
                        "\"prefix\":[{\"prefix\":\"192.0.2.0/24\",\"reserved-prefix\":["
                        "{\"prefix\":\"192.0.2.32/27\",\"entity\":\"b1\",\"pool-domain\":\"d\"},"
                        "{\"prefix\":\"192.0.2.64/27\",\"entity\":\"bng,2\",\"pool-domain\":\"d\"}"
                        "]},{\"prefix\":\"10.0.0.0/20\"}]}");
    assert_string_equal(p->name, "a");
    assert_int_equal(p->min_prefix_len, 20);
    assert_false(p->has_free_prefix_utilization);
    assert_int_equal(p->n_prefix, 2);
    assert_int_equal(p->prefix[0].n_reserved_prefix, 2);
    assert_int_equal(p->prefix[0].reserved_prefix[1].prefix.addr.bytes[3], 64);
    assert_string_equal(p->prefix[0].reserved_prefix[1].entity, "bng,2");
    assert_int_equal(p->prefix[1].prefix.len, 20);
    assert_int_equal(p->prefix[1].n_reserved_prefix, 0);
    assert_int_equal(d->n_refs, 2);
    assert_string_equal(d->refs[1].target, "/weft-apm:apm/entity-match=bng%2C2");
    assert_string_equal(d->refs[1].at, "/weft-apm:apm/inet-pool/partition=a/prefix=192.0.2.0%2F24/"
                                       "reserved-prefix=192.0.2.64%2F27/entity");
    struct doc *again = parse(&apm_partition_kind, d->json);
    assert_true(doc_equal(d, again));
    assert_int_equal(d->hash, again->hash);
    doc_drop(again);
    doc_drop(d);
}

static void defaults(void **state) {
    struct doc *d = parse(&apm_pool_domain_profile_kind,
                          "{\"name\":\"p\",\"apportion-threshold\":200,\"reclaim-threshold\":457,"
                          "\"auto-reclamation\":{}}");
    const struct apm_pool_domain_profile *p = d->data;
    assert_int_equal(p->hold_down, 60);
    assert_false(p->allow_larger);
    assert_true(p->has_auto_reclamation);
    assert_int_equal(p->auto_reclamation.active,
                     APM_POOL_DOMAIN_PROFILE_AUTO_RECLAMATION_ACTIVE_ALWAYS);
    assert_int_equal(p->auto_reclamation.window_duration, 60);
    assert_null(p->auto_reclamation.window_start);
    assert_null(strstr(d->json, "hold-down"));
    doc_drop(d);
    d = parse(&system_settings_kind, "{}");
    const struct system_settings *s = d->data;
    assert_string_equal(d->path, "/weft-system:system/settings");
    assert_null(s->hostname);
    assert_int_equal(s->guard_rails.delete_objects, 100);
    doc_drop(d);
}

static void every_type(void **state) {
    struct doc *d = parse(
        &toy_toy_kind,
        "{\"maker\":\"A B/C\",\"number\":7,\"colour\":\"dark-blue\",\"box\":\"b\","
        "\"price\":\"1.5\",\"net\":\"2001:DB8::/32\",\"gateway\":\"10.0.0.1\",\"fragile\":[null],"
        "\"moods\":\"loud happy\",\"level\":5,\"tag\":[\"b\",\"a\"],\"step\":[3,1,2],"
        "\"turns\":4,\"key-size\":2,\"box-art\":{\"artist\":\"x\"},\"favourite\":\"wheel\","
        "\"part\":[{\"name\":\"wheel\",\"serial\":1,\"screw\":[{\"size\":10},{\"size\":9,"
        "\"count\":1}]},{\"name\":\"axle\"}]}");
    const struct toy_toy *t = d->data;
    assert_string_equal(d->path, "/weft-toy:toys/toy=A%20B%2FC,7");
    assert_string_equal(d->keys[0], "A B/C");
    assert_int_equal(t->number, 7);
    assert_int_equal(t->colour, TOY_TOY_COLOUR_DARK_BLUE);
    assert_true(t->has_price);
    assert_int_equal(t->price, 150);
    assert_int_equal(t->net.addr.family, 6);
    assert_int_equal(t->net.len, 32);
    assert_int_equal(t->gateway.bytes[3], 1);
    assert_true(t->fragile);
    assert_int_equal(t->moods, TOY_TOY_MOODS_HAPPY | TOY_TOY_MOODS_LOUD);
    assert_string_equal(t->level, "5");
    assert_int_equal(t->n_tag, 2);
    assert_string_equal(t->tag[0], "a");
    assert_int_equal(t->n_step, 3);
    assert_int_equal(t->step[0], 3);
    assert_true(t->has_turns);
    assert_false(t->has_volts);
    assert_true(t->has_box_art);
    assert_int_equal(t->box_art.copies, 1);
    assert_int_equal(t->part[0].screw[0].size, 9);
    assert_int_equal(t->part[0].screw[1].count, 2);
    assert_int_equal(d->n_refs, 1);
    assert_string_equal(d->refs[0].target, "/weft-toy:toys/box=b");
    assert_non_null(strstr(d->json, "\"price\":\"1.5\""));
    assert_non_null(strstr(d->json, "\"net\":\"2001:db8::/32\""));
    assert_non_null(strstr(d->json, "\"level\":5"));
    struct arena *a = arena_new();
    assert_string_equal(doc_value(model, d, "part=wheel/screw=10/count", a), "2");
    assert_string_equal(doc_value(model, d, "number", a), "7");
    assert_null(doc_value(model, d, "volts/nothing", a));
    arena_free(a);
    doc_drop(d);
    d = parse(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"batteries\":2}");
    t = d->data;
    assert_int_equal(t->volts, 3);
    assert_int_equal(t->colour, TOY_TOY_COLOUR_GREEN);
    assert_false(t->has_price);
    doc_drop(d);
}

static void bad_values(void **state) {
#define P "/weft-apm:apm/inet-pool/partition"
    const struct kind *k = &apm_partition_kind;
    REFUSED(k, "{\"name\":\"a\",\"min-prefix-len\":129,\"max-prefix-len\":27}", ERR_INVALID,
            P "=a/min-prefix-len", "a number from 8 to 128 is wanted");
    REFUSED(k, "{\"name\":\"a\",\"max-prefix-len\":27}", ERR_MISSING, P "=a",
            "min-prefix-len is missing");
    REFUSED(k, "{\"min-prefix-len\":20,\"max-prefix-len\":27}", ERR_MISSING, P, "key name");
    REFUSED(k, "{\"name\":\"a\",\"min-prefix-len\":20,\"max-prefix-len\":27,\"max-prefix\":1}",
            ERR_UNKNOWN, P "=a", "\"max-prefix\" is unknown; did you mean");
    REFUSED(k, "{\"name\":\"a\",\"min-prefix-len\":\"20\",\"max-prefix-len\":27}", ERR_INVALID,
            P "=a/min-prefix-len", "a number without quotes");
    REFUSED(k, "{\"name\":\"a\",\"min-prefix-len\":24,\"max-prefix-len\":20}", ERR_CONSTRAINT,
            P "=a", "is above max-prefix-len");
    REFUSED(k, "{\"name\":\"a\",\"min-prefix-len\":20,\"max-prefix-len\":27,\"name\":\"b\"}",
            ERR_MALFORMED, "", "duplicate");
    REFUSED(k,
            "{\"name\":\"a\",\"min-prefix-len\":20,\"weft-apm:min-prefix-len\":20,"
            "\"max-prefix-len\":27}",
            ERR_ELEMENT, P "=a", "given twice");
    REFUSED(k, "[]", ERR_INVALID, P, "an object");
    REFUSED(k, "{\"name\":", ERR_MALFORMED, "", "Line 1");
    REFUSED(&toy_box_kind, "{\"name\":\"b\",\"state\":{\"toys\":1}}", ERR_INVALID,
            "/weft-toy:toys/box=b", "state");
    REFUSED(&toy_box_kind, "{\"name\":\"b\",\"lock\":\"********\"}", ERR_INVALID,
            "/weft-toy:toys/box=b/lock", "only shown as");
    REFUSED(&toy_box_kind, "{\"name\":\"b\",\"lock\":\"abc\"}", ERR_INVALID,
            "/weft-toy:toys/box=b/lock", "That is no valid lock");
    assert_null(strstr(err.text, "abc"));
#undef P
}

static void bad_toys(void **state) {
#define T "/weft-toy:toys/toy=m,1"
#define REFUSED_TOY(members, code, path, text)                                                     \
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1," members "}", code, path, text)
    REFUSED_TOY("\"batteries\":1,\"turns\":2", ERR_ELEMENT, T "/turns", "exclude each other");
    REFUSED_TOY("\"tag\":[\"a\",\"a\"]", ERR_INVALID, T "/tag=a", "given twice");
    REFUSED_TOY("\"tag\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]", ERR_CONSTRAINT, T "/tag",
                "at most 5");
    REFUSED_TOY("\"part\":[{\"name\":\"p\"},{\"name\":\"p\"}]", ERR_INVALID, T "/part=p",
                "given twice");
    REFUSED_TOY("\"part\":[{\"name\":\"p\",\"serial\":1},{\"name\":\"q\",\"serial\":1}]",
                ERR_CONSTRAINT, T "/part=q", "Another part has the same serial");
    REFUSED_TOY("\"box-art\":{}", ERR_MISSING, T "/box-art", "artist is missing");
    REFUSED_TOY("\"key-size\":2", ERR_UNKNOWN, T "/key-size", "has no place");
    REFUSED_TOY("\"favourite\":\"x\"", ERR_REFERENCE, T "/favourite", "refers to");
    REFUSED_TOY("\"price\":\"0\"", ERR_CONSTRAINT, T, "Only red toys");
    REFUSED_TOY("\"price\":1.5", ERR_INVALID, T "/price", "as strings");
    REFUSED_TOY("\"fragile\":true", ERR_INVALID, T "/fragile", "[null]");
    REFUSED_TOY("\"colour\":\"blue\"", ERR_INVALID, T "/colour", "one of red, green, dark-blue");
    REFUSED_TOY("\"gateway\":\"2001:db8::1\"", ERR_INVALID, T "/gateway", "IPv4");
    REFUSED_TOY("\"step\":[1,300]", ERR_INVALID, T "/step", "from 0 to 255");
    REFUSED_TOY("\"@maker\":{\"a:b\":1}", ERR_ATTRIBUTE, T, "Annotations");
    REFUSED_TOY("\"part\":{}", ERR_INVALID, T "/part", "an array");
#undef T
}

/* What programs are told of a broken constraint: RFC 7950 8.3.1 and 15, and the model's own words.
 */
static void tags(void **state) {
#define G "/weft-toy:toys/game=g"
    static const struct {
        const char *members; /* in addition to what a game needs */
        enum err_code code;
        const char *path, *tag, *info, *text;
    } v[] = {
        {"\"rule\":[\"r\"],\"dice\":1,\"players\":1", ERR_CONSTRAINT, G, "toy-lonely", "",
         "A game for one has a motto."},
        {"\"rule\":[\"r\"],\"dice\":1,\"players\":9", ERR_INVALID, G "/players", "toy-players", "",
         "One to eight can play."},
        {"\"rule\":[\"r\"],\"dice\":1,\"motto\":\"small\"", ERR_INVALID, G "/motto", "toy-motto",
         "", "A motto begins with a capital."},
        {"\"rule\":[\"r\"],\"dice\":1,\"motto\":\"Very very long\"", ERR_INVALID, G "/motto",
         "toy-motto-length", "", "A motto is short."},
        {"\"rule\":[\"r\"]", ERR_INCOMPLETE, G, "missing-choice", "pieces", "One of dice, cards"},
        {"\"dice\":1", ERR_CONSTRAINT, G "/rule", "too-few-elements", "", "at least 1 rule"},
        {"\"rule\":[],\"dice\":1", ERR_CONSTRAINT, G "/rule", "too-few-elements", "",
         "at least 1 rule"},
        {"\"rule\":[\"a\",\"b\",\"c\",\"d\"],\"dice\":1", ERR_CONSTRAINT, G "/rule",
         "too-many-elements", "", "at most 3 rule, not 4"},
        {"\"rule\":[\"r\"],\"dice\":1,\"score\":[{\"round\":1,\"player\":\"p\",\"result\":{"
         "\"points\":1}},{\"round\":2,\"player\":\"p\",\"result\":{\"points\":1}}]",
         ERR_CONSTRAINT, G "/score=2", "data-not-unique", "player result/points",
         "Another score has the same"},
        {"\"rule\":[\"r\"],\"dice\":1,\"cards\":1", ERR_ELEMENT, G "/cards", "", "",
         "exclude each other"},
        {"\"rule\":[\"r\"],\"dice\":300", ERR_INVALID, G "/dice", "", "", "from 0 to 255"},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        char *json = mem_printf("{\"name\":\"g\",%s}", v[i].members);
        struct doc *d = NULL;
        assert_int_equal(doc_parse(model, &toy_game_kind, json, strlen(json), &d, &err), v[i].code);
        assert_string_equal(err.path, v[i].path);
        assert_string_equal(err.app_tag, v[i].tag);
        assert_string_equal(err.info, v[i].info);
        if (strstr(err.text, v[i].text) == NULL) {
            fail_msg("%s: %s", json, err.text);
        }
        mem_free(json);
    }
#undef G
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"price\":\"0\"}", ERR_CONSTRAINT,
            "/weft-toy:toys/toy=m,1", "Only red toys");
    assert_string_equal(err.app_tag, "must-violation");
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"favourite\":\"x\"}", ERR_REFERENCE,
            "/weft-toy:toys/toy=m,1/favourite", "refers to");
    assert_string_equal(err.app_tag, "instance-required");
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"gateway\":\"10.0.0.256\"}", ERR_INVALID,
            "/weft-toy:toys/toy=m,1/gateway", "");
    assert_string_equal(err.app_tag, "weft-ipv4-address");
}

/* The traps of libyang that docs/model.md lists. */
/* proves: APM-017 T-01 */
static void host_bits(void **state) {
    REFUSED(&apm_partition_kind,
            "{\"name\":\"a\",\"min-prefix-len\":20,\"max-prefix-len\":27,"
            "\"prefix\":[{\"prefix\":\"192.0.2.1/24\"}]}",
            ERR_INVALID, "/weft-apm:apm/inet-pool/partition=a/prefix", "192.0.2.0/24");
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"net\":\"2001:db8::1/32\"}", ERR_INVALID,
            "/weft-toy:toys/toy=m,1/net", "2001:db8::/32");
    REFUSED(&toy_toy_kind, "{\"maker\":\"m\",\"number\":1,\"level\":\"10.0.0.1/24\"}", ERR_INVALID,
            "/weft-toy:toys/toy=m,1/level", "10.0.0.0/24");
}

/* proves: T-02 */
static void deep_nesting(void **state) {
    struct buf b = BUF_INIT;
    buf_str(&b, "{\"name\":\"a\",\"unknown\":");
    for (int i = 0; i < 200000; i++) {
        buf_str(&b, "{\"a\":");
    }
    buf_str(&b, "1");
    for (int i = 0; i < 200000; i++) {
        buf_char(&b, '}');
    }
    buf_char(&b, '}');
    struct doc *d = NULL;
    assert_int_equal(doc_parse(model, &toy_box_kind, (char *)b.data, b.len, &d, &err), ERR_TOO_BIG);
    assert_non_null(strstr(err.text, "nested"));
    b.len = 0;
    for (int i = 0; i < MODEL_OBJECT_MAX + 1; i++) {
        buf_char(&b, ' ');
    }
    assert_int_equal(doc_parse(model, &toy_box_kind, (char *)b.data, b.len, &d, &err), ERR_TOO_BIG);
    buf_free(&b);
}

/* proves: T-03 */
static void wide_numbers(void **state) {
    REFUSED(&toy_box_kind, "{\"name\":\"b\",\"size\":5}", ERR_INVALID, "/weft-toy:toys/box=b/size",
            "64-bit number: JSON has those as strings");
    REFUSED(&toy_box_kind, "{\"name\":\"b\",\"size\":18446744073709551615}", ERR_INVALID, "",
            "64-bit numbers are written as strings");
    struct doc *d = parse(&toy_box_kind, "{\"name\":\"b\",\"size\":\"18446744073709551615\"}");
    assert_true(((const struct toy_box *)d->data)->size == UINT64_MAX);
    doc_drop(d);
}

/* ---- versions ---------------------------------------------------------------------------------
 */

static enum err_code from_1(void *object, struct err *e) {
    json_t *v = json_object_get(object, "id");
    json_object_set(object, "number", v);
    json_object_del(object, "id");
    return ERR_OK;
}
static enum err_code from_2(void *object, struct err *e) {
    if (json_object_get(object, "maker") == NULL) {
        json_object_set_new(object, "maker", json_string("unknown"));
    }
    return ERR_OK;
}

static void expect_back(const struct kind *k, const char *then, const char *now, const char *want) {
    struct doc *was = parse(k, then), *is = now != NULL ? parse(k, now) : NULL, *d = NULL;
    assert_int_equal(doc_go_back(model, was, is, &d, &err), ERR_OK);
    assert_string_equal(d->json, want);
    doc_drop(was);
    doc_drop(is);
    doc_drop(d);
}

static void going_back(void **state) {
#define TOY "{\"maker\":\"m\",\"number\":1"
    expect_back(&toy_toy_kind, TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":2}}",
                TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":3}}",
                TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":3}}");
    expect_back(&toy_toy_kind, TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":2}}",
                TOY ",\"box-art\":{\"artist\":\"a\"}}", TOY ",\"box-art\":{\"artist\":\"a\"}}");
    expect_back(&toy_toy_kind, TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":2}}", NULL,
                TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":7}}");
    expect_back(&toy_toy_kind, TOY "}", TOY ",\"box-art\":{\"artist\":\"a\",\"copies\":3}}",
                TOY "}");
    static const char bare[] = "{\"name\":\"b\"}",
                      sealed[] = "{\"name\":\"b\",\"seal\":{\"wax\":\"red\"}}";
    expect_back(&toy_box_kind, bare, sealed, sealed);
    expect_back(&toy_box_kind, sealed, bare, bare);
    expect_back(&toy_box_kind, sealed, NULL, bare);
    expect_back(&toy_box_kind, bare, NULL, bare);
}

static void old_records(void **state) {
    struct doc *d = NULL;
    const char *v1 = "{\"id\":7}";
    assert_int_equal(doc_parse_stored(model, "weft-toy:toy", 1, v1, strlen(v1), &d, &err),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "No converter"));
    doc_add_converter("weft-toy:toy", 1, from_1);
    doc_add_converter("weft-toy:toy", 2, from_2);
    assert_int_equal(doc_parse_stored(model, "weft-toy:toy", 1, v1, strlen(v1), &d, &err), ERR_OK);
    assert_string_equal(d->json, "{\"maker\":\"unknown\",\"number\":7}");
    doc_drop(d);
    const char *v3 = "{\"maker\":\"m\",\"number\":7}";
    assert_int_equal(doc_parse_stored(model, "weft-toy:toy", 3, v3, strlen(v3), &d, &err), ERR_OK);
    doc_drop(d);
    assert_int_equal(doc_parse_stored(model, "weft-toy:toy", 4, v3, strlen(v3), &d, &err),
                     ERR_UNSUPPORTED);
    assert_int_equal(doc_parse_stored(model, "weft-x:y", 1, v3, strlen(v3), &d, &err),
                     ERR_UNSUPPORTED);
}

/* ---- paths ------------------------------------------------------------------------------------
 */

static void paths(void **state) {
    struct arena *a = arena_new();
    struct target t;
    const char *keys[MODEL_KEYS_MAX];
    assert_int_equal(
        path_parse(model, "/weft-toy:toys/toy=A%20b%2fC,007/part=x/screw=+9", a, &t, &err), ERR_OK);
    assert_string_equal(t.path, "/weft-toy:toys/toy=A%20b%2FC,7/part=x/screw=9");
    assert_string_equal(t.object, "/weft-toy:toys/toy=A%20b%2FC,7");
    assert_true(t.kind == &toy_toy_kind && t.entry && !t.is_object);
    assert_int_equal(t.n_keys, 4);
    assert_true(path_keys(&toy_toy_kind, t.object, a, keys));
    assert_string_equal(keys[0], "A b/C");
    assert_true(path_kind(t.object) == &toy_toy_kind);
    assert_null(path_kind("/weft-toy:toys/toy"));
    assert_null(path_kind("/weft-toy:toys/toy=a,1/part"));
    assert_true(path_kind("/weft-system:system/settings") == &system_settings_kind);
    assert_int_equal(path_parse(model, "/toys/box=b", a, &t, &err), ERR_OK);
    assert_string_equal(t.path, "/weft-toy:toys/box=b");
    assert_true(t.is_object);
    assert_int_equal(path_parse(model, "/", a, &t, &err), ERR_OK);
    assert_true(t.node == model_root());
    assert_int_equal(path_parse(model, "/weft-toy:toys/toy=a", a, &t, &err), ERR_MISSING);
    assert_int_equal(path_parse(model, "/weft-toy:toys/toy=a,1,2", a, &t, &err), ERR_INVALID);
    assert_int_equal(path_parse(model, "/weft-toy:toys/toy=a,x", a, &t, &err), ERR_INVALID);
    assert_int_equal(path_parse(model, "/weft-toy:toys/toy/number", a, &t, &err), ERR_MISSING);
    assert_int_equal(path_parse(model, "/weft-toy:toys/tyo=a,1", a, &t, &err), ERR_UNKNOWN);
    assert_non_null(strstr(err.text, "did you mean toy?"));
    assert_int_equal(path_parse(model, "weft-toy:toys", a, &t, &err), ERR_MALFORMED);
    assert_int_equal(path_parse(model, "/weft-toy:toys//box", a, &t, &err), ERR_MALFORMED);
    assert_int_equal(path_parse(model, "/weft-toy:toys/box=%zz", a, &t, &err), ERR_MALFORMED);
    assert_int_equal(path_parse(model, "/weft-toy:toys/box=a%00", a, &t, &err), ERR_MALFORMED);
    assert_int_equal(path_parse(model, "/weft-toy:toys/box=%4", a, &t, &err), ERR_MALFORMED);
    const struct kind *k = &toy_toy_kind;
    assert_true(path_cmp(k, "/weft-toy:toys/toy=a,9", k, "/weft-toy:toys/toy=a,10") < 0);
    assert_true(path_cmp(k, "/weft-toy:toys/toy=b,1", k, "/weft-toy:toys/toy=a,10") > 0);
    assert_true(path_cmp(&toy_box_kind, "/weft-toy:toys/box=z", k, "/weft-toy:toys/toy=a,1") < 0);
    assert_true(path_below("/weft-toy:toys/toy=a,1", "/weft-toy:toys/toy"));
    assert_true(path_below("/weft-toy:toys/toy=a,1", "/weft-toy:toys"));
    assert_true(path_below("/weft-toy:toys/toy=a,1", "/"));
    assert_false(path_below("/weft-toy:toys/toy=a,10", "/weft-toy:toys/toy=a,1"));
    assert_false(path_below("/weft-toy:toys/toybox", "/weft-toy:toys/toy"));
    arena_free(a);
}

/* ---- schema -----------------------------------------------------------------------------------
 */

static void schema(void **state) {
    size_t n;
    const struct kind *k = model_kind("weft-toy:toy");
    assert_true(k == &toy_toy_kind);
    assert_int_equal(k->version, 3);
    assert_true(k->has_xpath && !k->has_secret && !k->has_state);
    assert_true(model_kind("weft-toy:box")->has_secret && model_kind("weft-toy:box")->has_state);
    const struct node *box = node_child(k->node, "box", 3);
    assert_true(box->ref_kind == &toy_box_kind && box->index);
    assert_true(node_child(k->node, "favourite", 9)->ref_required);
    const struct command *const *c = model_commands(&n);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        if (c[i]->rpc == toy_show_toys_rpc) {
            found = true;
            assert_int_equal(c[i]->n_words, 2);
            assert_string_equal(c[i]->words[1], "toys");
            assert_int_equal(c[i]->n_args, 3);
            assert_true(c[i]->args[0].optional);
            assert_int_equal(c[i]->args[2].within, 0);
            assert_string_equal(c[i]->right, "read");
            assert_null(c[i]->confirm);
        } else if (c[i]->rpc == toy_smash_rpc) {
            assert_string_equal(c[i]->confirm, "Smash box {box} and what is in it?");
        }
    }
    assert_true(found);
    struct buf b = BUF_INIT;
    node_type_text(node_child(k->node, "number", 6), &b);
    assert_string_equal(buf_cstr(&b), "a number from 1 to 99999");
    buf_free(&b);
    model_modules(&n);
    assert_true(n > 8);
    assert_non_null(model_module("weft-toy")->text);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

static void *hammer(void *arg) {
    for (int i = 0; i < 300; i++) {
        struct err e;
        struct doc *d = NULL;
        char json[160];
        snprintf(json, sizeof json, "{\"maker\":\"m%d\",\"number\":%d,\"price\":\"%d.5\"}", i % 7,
                 i + 1, i);
        if (doc_parse(model, &toy_toy_kind, json, strlen(json), &d, &e) != ERR_OK) {
            return arg;
        }
        doc_drop(d);
        snprintf(json, sizeof json, "{\"maker\":\"m\",\"number\":%d,\"price\":\"0\"}", i + 1);
        if (doc_parse(model, &toy_toy_kind, json, strlen(json), &d, &e) != ERR_CONSTRAINT) {
            return arg;
        }
    }
    return NULL;
}

static void threads(void **state) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &model), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partition),    cmocka_unit_test(defaults),
        cmocka_unit_test(every_type),   cmocka_unit_test(bad_values),
        cmocka_unit_test(bad_toys),     cmocka_unit_test(tags),
        cmocka_unit_test(host_bits),    cmocka_unit_test(deep_nesting),
        cmocka_unit_test(wide_numbers), cmocka_unit_test(old_records),
        cmocka_unit_test(going_back),   cmocka_unit_test(paths),
        cmocka_unit_test(schema),       cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
