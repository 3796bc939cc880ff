// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "kinds.h"
#include "model/test_view.h"

static struct model *model;
static struct err err;
static struct test_store store;
static const struct model_view view = {test_get, test_next, &store};

static const char *const objects[][2] = {
    {"weft-apm:partition", "{\"name\":\"p\",\"min-prefix-len\":20,\"max-prefix-len\":27,"
                           "\"prefix\":[{\"prefix\":\"192.0.2.0/24\"},{\"prefix\":\"10.0.0.0/20\"}]"
                           "}"},
    {"weft-system:settings", "{}"},
    {"weft-toy:box", "{\"name\":\"b\",\"size\":\"10\",\"lock\":\"se<cret\"}"},
    {"weft-toy:toy", "{\"maker\":\"m\",\"number\":1,\"fragile\":[null],\"tag\":[\"x\",\"y z\"],"
                     "\"step\":[2,1],\"part\":[{\"name\":\"w\",\"screw\":[{\"size\":1}]}]}"},
};

static int load(void **state) {
    if (model_load(&model, &err) != ERR_OK) {
        return -1;
    }
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        struct doc *d = NULL;
        if (doc_parse(model, model_kind(objects[i][0]), objects[i][1], strlen(objects[i][1]), &d,
                      &err) != ERR_OK) {
            print_error("%s: %s\n", err.path, err.text);
            return -1;
        }
        test_emit(&store, NULL, d, &err);
        doc_drop(d);
    }
    return 0;
}
static int unload(void **state) {
    test_clear(&store);
    model_free(model);
    return 0;
}

static enum err_code state_get(void *arg, const struct node *node, const char *path,
                               const char *wanted, struct buf *json, struct err *e) {
    if (strcmp(path, "/weft-toy:toys/box=b/state") == 0) {
        buf_str(json, "{\"toys\":3}");
        return ERR_OK;
    }
    if (strcmp(path, "/weft-apm:apm/state") == 0) {
        buf_str(json, "{\"weft-apm:statistics\":{\"allocations\":\"5\"},\"entity\":[{\"id\":\"e2\","
                      "\"status\":\"reachable\"},{\"id\":\"e1\"}]}");
        return ERR_OK;
    }
    if (strcmp(path, "/weft-system:system/state") == 0) {
        buf_str(json, "{\"wrong\":1}");
        return ERR_OK;
    }
    return ERR_ABSENT;
}
static const struct model_state state_of = {state_get, NULL};

static struct buf out;
static const char *show(const char *target, struct print_options o) {
    buf_clear(&out);
    memset(&err, 0, sizeof err);
    if (model_print(model, &view, &state_of, target, &o, model_write_buf, &out, &err) != ERR_OK) {
        return err_code_name(err.code);
    }
    return buf_cstr(&out);
}
#define SHOWS(target, want, ...)                                                                   \
    assert_string_equal(show(target, (struct print_options){__VA_ARGS__}), want)

static void json(void **state) {
    SHOWS("/weft-toy:toys/box=b",
          "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"10\",\"lock\":\"********\"}]}", 0);
    SHOWS("/weft-toy:toys/box=b",
          "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"10\",\"lock\":\"se<cret\"}]}",
          .secrets = true);
    SHOWS("/weft-toy:toys/box=b/size", "{\"weft-toy:size\":\"10\"}", 0);
    SHOWS("/weft-toy:toys/toy=m,1/tag", "{\"weft-toy:tag\":[\"x\",\"y z\"]}", 0);
    SHOWS("/weft-toy:toys/toy=m,1/tag=x", "{\"weft-toy:tag\":[\"x\"]}", 0);
    SHOWS("/weft-toy:toys/toy=m,1/part=w/screw=1", "{\"weft-toy:screw\":[{\"size\":1}]}", 0);
    SHOWS("/weft-toy:toys/box",
          "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"10\",\"lock\":"
          "\"********\"}]}",
          0);
    SHOWS("/weft-system:system", "{\"weft-system:system\":{\"settings\":{}}}", 0);
    SHOWS("/weft-system:system/settings", "{\"weft-system:settings\":{}}", 0);
    SHOWS("/weft-system:system/user", "{}", 0);
    SHOWS("/weft-apm:apm/inet-pool/partition=p",
          "{\"weft-apm:partition\":[{\"name\":\"p\",\"min-prefix-len\":20,\"max-prefix-len\":27,"
          "\"prefix\":[{\"prefix\":\"192.0.2.0/24\"},{\"prefix\":\"10.0.0.0/20\"}]}]}",
          0);
    SHOWS("/",
          "{\"weft-apm:apm\":{\"inet-pool\":{\"partition\":[{\"name\":\"p\"}]}},"
          "\"weft-system:system\":{\"settings\":{}},\"weft-toy:toys\":{\"box\":[{\"name\":"
          "\"b\"}],\"toy\":[{\"maker\":\"m\",\"number\":1}]}}",
          .fields = "weft-apm:apm/inet-pool/partition/name;weft-system:system;weft-toy:toys(box/"
                    "name;toy/number)");
    SHOWS("/weft-toy:toys", "{\"d:x\":{\"weft-toy:toys\":{\"box\":[{\"name\":\"b\"}]}}}",
          .fields = "box(name)", .wrap = "d:x");
    SHOWS("/weft-toy:toys/box=c", "ABSENT", 0);
    SHOWS("/weft-toy:toys/box=b/state", "{\"weft-toy:state\":{\"toys\":3}}",
          .content = CONTENT_ALL);
    SHOWS("/weft-toy:toys/toy=m,1/colour", "ABSENT", 0);
    SHOWS("/weft-toy:toys/toy=m,1/colour", "{\"weft-toy:colour\":\"green\"}", .in_use = true);
    SHOWS("/weft-toy:toys/toy=m,1/colour", "{\"weft-toy:colour\":\"green\"}", .in_use = true,
          .defaults = WD_TRIM);
    SHOWS("/weft-toy:toys/toy=m,1/price", "ABSENT", .in_use = true);
    SHOWS("/weft-toy:toys/toy=m,1/volts", "ABSENT", .in_use = true); /* its case is not chosen */
    SHOWS("/weft-toy:toys/toy=m,1/box-art/copies", "ABSENT", .in_use = true); /* no picture */
    SHOWS("/weft-toy:toys/toy=q,1/colour", "ABSENT", .in_use = true);
    SHOWS("/weft-toy:toys/toy=m,1/part=q", "ABSENT", 0);
    SHOWS("/weft-toy:toys/toy=m,1/part=q/screw=1", "ABSENT", 0);
    SHOWS("/weft-toy:toys", "INVALID", .fields = "nothing");
    SHOWS("/weft-toy:toys", "INVALID", .fields = "box(name");
    SHOWS("/weft-toy:toys", "INVALID", .fields = "box)");
    SHOWS("/weft-toy:toys/box=b",
          "{\n  \"weft-toy:box\": [\n    {\n      \"name\": \"b\"\n    }\n"
          "  ]\n}\n",
          .fields = "name", .pretty = true);
}

static void depth(void **state) {
    SHOWS("/weft-toy:toys", "{\"weft-toy:toys\":{}}", .depth = 1);
    SHOWS("/weft-toy:toys/toy=m,1",
          "{\"weft-toy:toy\":[{\"maker\":\"m\",\"number\":1,\"fragile\":[null],\"tag\":[\"x\","
          "\"y z\"],\"step\":[2,1],\"part\":[{\"name\":\"w\"}]}]}",
          .depth = 2);
    SHOWS("/",
          "{\"weft-apm:apm\":{},\"weft-forward:event-forwarding\":{},\"weft-onboard:onboard\":{},"
          "\"weft-system:system\":{},\"weft-toy:toys\":{}}",
          .depth = 1);
}

static void with_defaults(void **state) {
    SHOWS("/weft-toy:toys/box=b", "{\"weft-toy:box\":[{\"name\":\"b\",\"lock\":\"********\"}]}",
          .defaults = WD_TRIM);
    SHOWS("/weft-toy:toys/toy=m,1",
          "{\"weft-toy:toy\":[{\"maker\":\"m\",\"number\":1,\"colour\":\"green\",\"fragile\":"
          "[null],\"tag\":[\"x\",\"y z\"],\"step\":[2,1],\"part\":[{\"name\":\"w\",\"screw\":"
          "[{\"size\":1,\"count\":2}]}]}]}",
          .defaults = WD_REPORT_ALL);
    SHOWS("/weft-toy:toys/box=b",
          "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"10\",\"@size\":"
          "{\"ietf-netconf-with-defaults:default\":true},\"lock\":\"********\"}]}",
          .defaults = WD_REPORT_ALL_TAGGED);
    SHOWS("/weft-toy:toys/toy=m,1/colour", "{\"weft-toy:colour\":\"green\"}",
          .defaults = WD_REPORT_ALL);
    SHOWS("/weft-system:system/settings/sessions/idle-timeout",
          "{\"weft-system:idle-timeout\":3600}", .defaults = WD_REPORT_ALL);
}

static void xml(void **state) {
    SHOWS("/weft-toy:toys/box=b",
          "<box xmlns=\"urn:weft:toy\"><name>b</name><size>10</size><lock>se&lt;cret</lock></box>",
          .format = FORMAT_XML, .secrets = true);
    SHOWS("/",
          "<data xmlns=\"urn:x\"><apm xmlns=\"urn:weft:apm\"><inet-pool><partition><name>p"
          "</name></partition></inet-pool></apm></data>",
          .format = FORMAT_XML, .fields = "weft-apm:apm/inet-pool/partition/name", .wrap = "x:data",
          .wrap_ns = "urn:x");
    SHOWS("/weft-toy:toys/toy=m,1",
          "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>1</number><fragile/><tag>x</tag>"
          "<tag>y z</tag><step>2</step><step>1</step><part><name>w</name><screw><size>1</size>"
          "</screw></part></toy>",
          .format = FORMAT_XML);
    SHOWS("/weft-system:system/settings", "<settings xmlns=\"urn:weft:system\"/>",
          .format = FORMAT_XML);
    SHOWS("/weft-toy:toys/box=b/size",
          "<size xmlns=\"urn:weft:toy\" "
          "xmlns:wd=\"urn:ietf:params:xml:ns:netconf:default:1.0\" wd:default=\"true\">10</size>",
          .format = FORMAT_XML, .defaults = WD_REPORT_ALL_TAGGED);
}

/* proves: APM-160 */
static void set_and_text(void **state) {
    SHOWS("/",
          "set apm inet-pool partition p min-prefix-len 20\n"
          "set apm inet-pool partition p max-prefix-len 27\n"
          "set apm inet-pool partition p prefix 192.0.2.0/24\n"
          "set apm inet-pool partition p prefix 10.0.0.0/20\n"
          "set system settings\n"
          "set toys box b size 10\n"
          "set toys box b lock ********\n"
          "set toys toy m 1 fragile\n"
          "set toys toy m 1 tag x\n"
          "set toys toy m 1 tag \"y z\"\n"
          "set toys toy m 1 step 2\n"
          "set toys toy m 1 step 1\n"
          "set toys toy m 1 part w screw 1\n",
          .format = FORMAT_SET);
    SHOWS("/weft-apm:apm/inet-pool/partition=p/prefix",
          "set apm inet-pool partition p prefix 192.0.2.0/24\n"
          "set apm inet-pool partition p prefix 10.0.0.0/20\n",
          .format = FORMAT_SET);
    SHOWS("/weft-system:system", "set system settings\n", .format = FORMAT_SET);
    SHOWS("/",
          "apm {\n"
          "    inet-pool {\n"
          "        partition p {\n"
          "            min-prefix-len 20;\n"
          "            max-prefix-len 27;\n"
          "            prefix 192.0.2.0/24;\n"
          "            prefix 10.0.0.0/20;\n"
          "        }\n"
          "    }\n"
          "}\n"
          "system {\n"
          "    settings;\n"
          "}\n"
          "toys {\n"
          "    box b {\n"
          "        size 10;\n"
          "        lock ********; ## SECRET-DATA\n"
          "    }\n"
          "    toy m 1 {\n"
          "        fragile;\n"
          "        tag [ x \"y z\" ];\n"
          "        step [ 2 1 ];\n"
          "        part w {\n"
          "            screw 1;\n"
          "        }\n"
          "    }\n"
          "}\n",
          .format = FORMAT_TEXT);
    SHOWS("/weft-toy:toys/toy=m,1/part=w", "screw 1;\n", .format = FORMAT_TEXT);
    SHOWS("/weft-toy:toys/box=b/size", "size 10;\n", .format = FORMAT_TEXT);
    SHOWS("/weft-toy:toys/box=b/size", "set toys box b size 10\n", .format = FORMAT_SET);
}

static void states(void **state) {
    SHOWS("/weft-toy:toys/box=b",
          "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"10\",\"lock\":\"********\",\"state\":"
          "{\"toys\":3}}]}",
          .content = CONTENT_ALL);
    SHOWS("/weft-toy:toys/box=b", "{\"weft-toy:box\":[{\"name\":\"b\",\"state\":{\"toys\":3}}]}",
          .content = CONTENT_NONCONFIG);
    SHOWS("/weft-apm:apm/state/entity=e1", "{\"weft-apm:entity\":[{\"id\":\"e1\"}]}",
          .content = CONTENT_ALL);
    SHOWS("/weft-apm:apm/state/entity=e2/status", "{\"weft-apm:status\":\"reachable\"}",
          .content = CONTENT_ALL);
    SHOWS("/weft-apm:apm/state/entity=e3", "ABSENT", .content = CONTENT_ALL);
    SHOWS("/weft-apm:apm",
          "{\"weft-apm:apm\":{\"state\":{\"statistics\":{\"allocations\":\"5\"},"
          "\"entity\":[{\"id\":\"e1\"},{\"id\":\"e2\",\"status\":\"reachable\"}]}"
          "}}",
          .content = CONTENT_NONCONFIG);
    /* A provider that does not keep to the model is our own bug. */
    SHOWS("/weft-system:system/state", "INTERNAL", .content = CONTENT_ALL);
    const char *lib =
        show("/ietf-yang-library:yang-library", (struct print_options){.content = CONTENT_ALL});
    assert_non_null(strstr(lib, "\"name\":\"weft-toy\""));
    assert_non_null(strstr(lib, model_content_id()));
    lib = show("/ietf-yang-library:modules-state",
               (struct print_options){.content = CONTENT_ALL, .format = FORMAT_XML});
    assert_non_null(strstr(lib, "<conformance-type>implement</conformance-type>"));
}

static const char *changes(const char *kind, const char *a, const char *b,
                           enum model_format format) {
    struct doc *x = NULL, *y = NULL;
    const struct kind *k = model_kind(kind);
    if ((a != NULL && doc_parse(model, k, a, strlen(a), &x, &err) != ERR_OK) ||
        (b != NULL && doc_parse(model, k, b, strlen(b), &y, &err) != ERR_OK)) {
        fail_msg("%s", err.text);
    }
    buf_clear(&out);
    assert_int_equal(doc_diff_text(model, x, y, format, &out, &err), ERR_OK);
    doc_drop(x);
    doc_drop(y);
    return buf_cstr(&out);
}

static const char old_toy[] = "{\"maker\":\"m\",\"number\":1,\"colour\":\"red\",\"tag\":[\"a\","
                              "\"b\"],\"part\":[{\"name\":\"x\"},{\"name\":\"y\",\"serial\":1}]}";
static const char new_toy[] = "{\"maker\":\"m\",\"number\":1,\"tag\":[\"b\",\"c d\"],\"fragile\":"
                              "[null],\"part\":[{\"name\":\"y\",\"serial\":2},{\"name\":\"x\"},"
                              "{\"name\":\"z\",\"screw\":[{\"size\":1}]}]}";

/* proves: APM-160 */
static void differences(void **state) {
    assert_string_equal(changes("weft-toy:toy", old_toy, new_toy, FORMAT_SET),
                        "delete toys toy m 1 colour\n"
                        "set toys toy m 1 fragile\n"
                        "delete toys toy m 1 tag a\n"
                        "set toys toy m 1 tag \"c d\"\n"
                        "set toys toy m 1 part y serial 2\n"
                        "set toys toy m 1 part z screw 1\n"
                        "insert toys toy m 1 part y before part x\n");
    assert_string_equal(changes("weft-toy:toy", old_toy, new_toy, FORMAT_TEXT),
                        "[edit toys toy m 1]\n"
                        "-   colour red;\n"
                        "+   fragile;\n"
                        "-   tag [ a ];\n"
                        "+   tag [ \"c d\" ];\n"
                        "[edit toys toy m 1 part y]\n"
                        "-   serial 1;\n"
                        "+   serial 2;\n"
                        "[edit toys toy m 1]\n"
                        "+   part z {\n"
                        "+       screw 1;\n"
                        "+   }\n"
                        "!   part y { ... }\n");
    assert_string_equal(
        changes("weft-toy:box", NULL, "{\"name\":\"b\",\"lock\":\"1234\"}", FORMAT_TEXT),
        "[edit toys]\n+   box b {\n+       lock ********; ## SECRET-DATA\n"
        "+   }\n");
    assert_string_equal(changes("weft-toy:box", "{\"name\":\"b\"}", NULL, FORMAT_SET),
                        "delete toys box b\n");
    assert_string_equal(changes("weft-toy:box", NULL, "{\"name\":\"b\"}", FORMAT_SET),
                        "set toys box b\n");
    assert_string_equal(changes("weft-system:settings", NULL, "{\"hostname\":\"x\"}", FORMAT_SET),
                        "set system settings hostname x\n");
    assert_string_equal(changes("weft-system:settings", "{}",
                                "{\"guard-rails\":{\"drain-percent\":"
                                "5}}",
                                FORMAT_TEXT),
                        "[edit system settings guard-rails]\n+   drain-percent 5;\n");
    assert_string_equal(changes("weft-toy:toy", old_toy, old_toy, FORMAT_TEXT), "");
}

static void count_diff(void *arg, const struct diff *d) {
    size_t *n = arg;
    n[d->op]++;
    if (d->op == DIFF_CHANGE) {
        assert_string_equal(d->path, "/weft-toy:toys/toy=m,1/part=y/serial");
        assert_string_equal(d->old_value, "1");
        assert_string_equal(d->new_value, "2");
    }
}

static void structured(void **state) {
    struct doc *x = NULL, *y = NULL;
    size_t n[4] = {0};
    const struct kind *k = model_kind("weft-toy:toy");
    assert_int_equal(doc_parse(model, k, old_toy, strlen(old_toy), &x, &err), ERR_OK);
    assert_int_equal(doc_parse(model, k, new_toy, strlen(new_toy), &y, &err), ERR_OK);
    assert_int_equal(doc_diff(model, x, y, count_diff, n, &err), ERR_OK);
    assert_int_equal(n[DIFF_CHANGE], 1);
    assert_int_equal(n[DIFF_DELETE], 2);
    assert_int_equal(n[DIFF_CREATE], 4); /* fragile, tag, part z, its screw */
    assert_int_equal(n[DIFF_MOVE], 1);
    doc_drop(x);
    doc_drop(y);
}

static void rpcs(void **state) {
    struct arena *a = arena_new();
    struct rpc_input in;
    const char *body = "{\"weft-toy:input\":{\"box\":\"b\",\"broken\":[null]}}";
    assert_int_equal(
        rpc_input_parse(model, toy_show_toys_rpc, body, strlen(body), FORMAT_JSON, a, &in, &err),
        ERR_OK);
    const struct toy_show_toys_input *t = in.data;
    assert_string_equal(t->box, "b");
    assert_int_equal(t->limit, 50);
    assert_true(t->broken);
    assert_int_equal(in.n_refs, 1);
    assert_string_equal(in.refs[0].target, "/weft-toy:toys/box=b");
    assert_string_equal(rpc_input_value(&in, "limit", a), "50");
    assert_string_equal(rpc_input_value(&in, "broken", a), "");
    body = "<input xmlns=\"urn:weft:toy\"><limit>7</limit></input>";
    assert_int_equal(
        rpc_input_parse(model, toy_show_toys_rpc, body, strlen(body), FORMAT_XML, a, &in, &err),
        ERR_OK);
    assert_int_equal(((const struct toy_show_toys_input *)in.data)->limit, 7);
    assert_null(rpc_input_value(&in, "box", a));
    body = "{\"weft-toy:input\":{\"limit\":70000}}";
    assert_int_equal(
        rpc_input_parse(model, toy_show_toys_rpc, body, strlen(body), FORMAT_JSON, a, &in, &err),
        ERR_INVALID);
    assert_string_equal(err.path, "/weft-toy:show-toys/limit");
    assert_int_equal(rpc_input_parse(model, toy_show_toys_rpc, NULL, 0, FORMAT_JSON, a, &in, &err),
                     ERR_OK);
    static const struct {
        const char *body;
        enum model_format format;
        enum err_code code;
    } covers[] = {{"{\"input\":{\"limit\":7}}", FORMAT_JSON, ERR_MALFORMED},
                  {"{\"limit\":7}", FORMAT_JSON, ERR_MALFORMED},
                  {"{\"weft-apm:input\":{\"limit\":7}}", FORMAT_JSON, ERR_MALFORMED},
                  {"[]", FORMAT_JSON, ERR_MALFORMED},
                  {"<input><limit>7</limit></input>", FORMAT_XML, ERR_NAMESPACE},
                  {"<input xmlns=\"urn:x\"/>", FORMAT_XML, ERR_NAMESPACE},
                  {"<show-toys xmlns=\"urn:weft:toy\"/>", FORMAT_XML, ERR_UNKNOWN},
                  {"<input xmlns=\"urn:weft:toy\"><limit xmlns=\"\">7</limit></input>", FORMAT_XML,
                   ERR_NAMESPACE}};
    for (size_t i = 0; i < sizeof covers / sizeof *covers; i++) {
        assert_int_equal(rpc_input_parse(model, toy_show_toys_rpc, covers[i].body,
                                         strlen(covers[i].body), covers[i].format, a, &in, &err),
                         covers[i].code);
        assert_string_equal(err.path, "/weft-toy:show-toys");
    }
    const char *names[] = {"entity", "pool-domain", "pool", "force"};
    const char *values[] = {"e", "d", "p", NULL};
    assert_int_equal(rpc_input_words(model, apm_drain_rpc, names, values, 4, a, &in, &err), ERR_OK);
    const struct apm_drain_input *d = in.data;
    assert_string_equal(d->pool, "p");
    assert_true(d->force);
    assert_int_equal(rpc_input_words(model, apm_drain_rpc, names, values, 2, a, &in, &err),
                     ERR_MISSING);
    assert_non_null(strstr(err.text, "pool is missing"));
    assert_int_equal(rpc_input_words(model, apm_show_statistics_rpc, NULL, NULL, 0, a, &in, &err),
                     ERR_OK);
    const char *json = "{\"toy\":[{\"maker\":\"m\",\"number\":1}],\"text\":\"one toy\"}";
    struct print_options o = {.format = FORMAT_JSON};
    buf_clear(&out);
    assert_int_equal(rpc_output_print(model, toy_show_toys_rpc, json, strlen(json), &o, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out), "{\"weft-toy:output\":{\"toy\":[{\"maker\":\"m\","
                                        "\"number\":1}]}}");
    o.format = FORMAT_XML;
    buf_clear(&out);
    assert_int_equal(rpc_output_print(model, toy_show_toys_rpc, json, strlen(json), &o, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out), "<output xmlns=\"urn:weft:toy\"><toy><maker>m</maker>"
                                        "<number>1</number></toy></output>");
    json = "{\"what\":1}";
    assert_int_equal(rpc_output_print(model, toy_show_toys_rpc, json, strlen(json), &o, &out, &err),
                     ERR_INTERNAL);
    arena_free(a);
}

static void notifications(void **state) {
    const char *json = "{\"maker\":\"m\",\"count\":\"3\"}";
    struct print_options o = {.format = FORMAT_JSON};
    buf_clear(&out);
    assert_int_equal(notification_print(model, toy_toy_broken_notification, json, strlen(json),
                                        INT64_C(1584717025) * 1000000000, &o, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out),
                        "{\"ietf-restconf:notification\":{\"eventTime\":\"2020-03-20T15:10:25Z\","
                        "\"weft-toy:toy-broken\":{\"maker\":\"m\",\"count\":\"3\"}}}");
    o.format = FORMAT_XML;
    buf_clear(&out);
    assert_int_equal(notification_print(model, toy_toy_broken_notification, json, strlen(json),
                                        INT64_C(1584717025) * 1000000000, &o, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out),
                        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">"
                        "<eventTime>2020-03-20T15:10:25Z</eventTime><toy-broken "
                        "xmlns=\"urn:weft:toy\"><maker>m</maker><count>3</count></toy-broken>"
                        "</notification>");
}

/* RFC 8040 4.8.4: the context is the root, prefixes are module names. */
static void filters(void **state) {
    const char *json = "{\"maker\":\"acme\",\"count\":\"7\"}";
    static const struct {
        const char *xpath;
        bool yes;
    } good[] = {{"/weft-toy:toy-broken", true},
                {"/weft-toy:toy-broken/maker='acme'", true},
                {"/weft-toy:toy-broken/weft-toy:maker='acme'", true},
                {"/toy-broken/count>6", true},
                {"weft-toy:toy-broken[maker='other']", false},
                {"/weft-toy:toy-broken/count<=4", false},
                {"/weft-system:commit|/weft-toy:toy-broken", true},
                {"/weft-system:commit", false},
                {"/*/maker[contains(.,'cm')]", true},
                {"(/toy-broken/maker='acme') and (/toy-broken/count='7')", true},
                {"not(/*)", false},
                {"1", true},
                {"0", false},
                {"']'=\"[[[[[\"", false}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct model_filter *f;
        if (model_filter_new(good[i].xpath, &f, &err) != ERR_OK) {
            fail_msg("%s: %s", good[i].xpath, err.text);
        }
        if (model_filter_matches(model, f, toy_toy_broken_notification, json, strlen(json)) !=
            good[i].yes) {
            fail_msg("%s", good[i].xpath);
        }
        assert_false(model_filter_matches(model, f, toy_toy_broken_notification, "{", 1));
        model_filter_free(f);
    }
    char big[MODEL_FILTER_MAX + 2];
    memset(big, '1', sizeof big);
    big[sizeof big - 1] = '\0';
    struct model_filter *f;
    assert_int_equal(model_filter_new(big, &f, &err), ERR_INVALID);
    assert_int_equal(model_filter_new("/a[", &f, &err), ERR_INVALID);
    model_filter_free(NULL);
}

/* Printing an object and parsing what was printed gives the same object. */
static void round_trips(void **state) {
    for (size_t i = 0; i < store.n; i++) {
        for (int f = FORMAT_JSON; f <= FORMAT_XML; f++) {
            struct print_options o = {.format = (enum model_format)f, .secrets = true};
            struct test_store copy = {0};
            struct model_view v = {test_get, test_next, &copy};
            struct arena *a = arena_new();
            struct model_edit e = {
                .op = EDIT_CREATE, .target = store.docs[i]->path, .format = (enum model_format)f};
            char *body = mem_strdup(show(store.docs[i]->path, o));
            e.body = body;
            e.len = strlen(body);
            assert_int_equal(model_edit(model, &v, &e, a, test_emit, &copy, NULL, &err), ERR_OK);
            assert_true(doc_equal(copy.docs[0], store.docs[i]));
            mem_free(body);
            arena_free(a);
            test_clear(&copy);
        }
    }
}

static int last(void **state) {
    buf_free(&out);
    return unload(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),          cmocka_unit_test(depth),
        cmocka_unit_test(with_defaults), cmocka_unit_test(xml),
        cmocka_unit_test(set_and_text),  cmocka_unit_test(states),
        cmocka_unit_test(differences),   cmocka_unit_test(structured),
        cmocka_unit_test(rpcs),          cmocka_unit_test(notifications),
        cmocka_unit_test(filters),       cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, load, last);
}
