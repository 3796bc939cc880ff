// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "kinds.h"
#include "model/test_view.h"

static struct model *model;
static struct err err;
static struct test_store store;
static const struct model_view view = {test_get, test_next, &store};
static struct edit_result result;
static char result_path[MODEL_PATH_MAX];

static int load(void **state) {
    return model_load(&model, &err) == ERR_OK ? 0 : -1;
}
static int unload(void **state) {
    model_free(model);
    return 0;
}
static int clear(void **state) {
    test_clear(&store);
    return 0;
}

static enum err_code run(struct model_edit e) {
    struct arena *a = arena_new();
    memset(&err, 0, sizeof err);
    e.len = e.body != NULL ? strlen(e.body) : 0;
    enum err_code rc = model_edit(model, &view, &e, a, test_emit, &store, &result, &err);
    snprintf(result_path, sizeof result_path, "%s", result.path != NULL ? result.path : "");
    arena_free(a);
    return rc;
}

static enum err_code edit(enum edit_op op, const char *target, const char *body) {
    return run((struct model_edit){.op = op, .target = target, .body = body});
}
static enum err_code value(enum edit_op op, const char *target, const char *body) {
    return run(
        (struct model_edit){.op = op, .target = target, .body = body, .format = FORMAT_VALUE});
}
static enum err_code post(const char *target, const char *body) {
    return run(
        (struct model_edit){.op = EDIT_CREATE, .target = target, .body = body, .child = true});
}

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != ERR_OK) {                                                                    \
            fail_msg("%s: %s: %s", #expr, err.path, err.text);                                     \
        }                                                                                          \
    } while (0)
#define STORED(path, want)                                                                         \
    do {                                                                                           \
        size_t i_ = test_find(&store, path);                                                       \
        assert_true(i_ != SIZE_MAX);                                                               \
        assert_string_equal(store.docs[i_]->json, want);                                           \
    } while (0)

#define BOX "/weft-toy:toys/box=b"
#define TOY "/weft-toy:toys/toy=m,1"

static void one_object(void **state) {
    OK(edit(EDIT_REPLACE, BOX, "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"5\"}]}"));
    assert_true(result.created);
    assert_string_equal(result_path, BOX);
    STORED(BOX, "{\"name\":\"b\",\"size\":\"5\"}");
    OK(edit(EDIT_MERGE, BOX, "{\"weft-toy:box\":[{\"name\":\"b\",\"lock\":\"1234\"}]}"));
    assert_false(result.created);
    STORED(BOX, "{\"name\":\"b\",\"size\":\"5\",\"lock\":\"1234\"}");
    OK(edit(EDIT_REPLACE, BOX, "{\"weft-toy:box\":[{\"name\":\"b\"}]}"));
    STORED(BOX, "{\"name\":\"b\"}");
    assert_int_equal(result.n_objects, 1);
    OK(edit(EDIT_REPLACE, BOX, "{\"weft-toy:box\":[{\"name\":\"b\"}]}"));
    assert_int_equal(result.n_objects, 0);
    assert_int_equal(edit(EDIT_CREATE, BOX, "{\"weft-toy:box\":[{\"name\":\"b\"}]}"), ERR_EXISTS);
    assert_string_equal(err.path, BOX);
    assert_int_equal(edit(EDIT_REPLACE, BOX, "{\"weft-toy:box\":[{\"name\":\"c\"}]}"), ERR_INVALID);
    assert_int_equal(edit(EDIT_REPLACE, BOX, "{\"weft-toy:box\":{\"name\":\"b\"}}"), ERR_MALFORMED);
    assert_int_equal(edit(EDIT_REPLACE, BOX, "{\"weft-toy:toy\":[]}"), ERR_INVALID);
    assert_int_equal(edit(EDIT_REPLACE, BOX, "{}"), ERR_MALFORMED);
    assert_int_equal(edit(EDIT_REPLACE, BOX, NULL), ERR_MISSING);
    OK(edit(EDIT_DELETE, BOX, NULL));
    assert_int_equal(edit(EDIT_DELETE, BOX, NULL), ERR_ABSENT);
    OK(edit(EDIT_REMOVE, BOX, NULL));
    assert_int_equal(store.n, 0);
}

static void inside(void **state) {
    OK(value(EDIT_MERGE, TOY "/colour", "red"));
    assert_true(result.created);
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"colour\":\"red\"}");
    OK(edit(EDIT_REPLACE, TOY "/colour", "{\"weft-toy:colour\":\"green\"}"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"colour\":\"green\"}");
    assert_int_equal(value(EDIT_MERGE, TOY "/colour", "pink"), ERR_INVALID);
    assert_string_equal(err.path, TOY "/colour");
    OK(value(EDIT_MERGE, TOY "/tag=b", NULL));
    OK(value(EDIT_MERGE, TOY "/tag", "a"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"colour\":\"green\",\"tag\":[\"a\",\"b\"]}");
    OK(value(EDIT_DELETE, TOY "/tag=a", NULL));
    assert_int_equal(value(EDIT_DELETE, TOY "/tag=a", NULL), ERR_ABSENT);
    OK(value(EDIT_REMOVE, TOY "/tag=a", NULL));
    OK(value(EDIT_DELETE, TOY "/tag", NULL));
    OK(value(EDIT_DELETE, TOY "/colour", NULL));
    OK(value(EDIT_MERGE, TOY "/part=x/screw=3/count", "7"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"part\":[{\"name\":\"x\",\"screw\":"
                "[{\"size\":3,\"count\":7}]}]}");
    OK(edit(EDIT_REPLACE, TOY "/part=x", "{\"weft-toy:part\":[{\"name\":\"x\",\"serial\":4}]}"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"part\":[{\"name\":\"x\",\"serial\":4}]}");
    assert_int_equal(edit(EDIT_REPLACE, TOY "/part=x", "{\"weft-toy:part\":[{\"name\":\"y\"}]}"),
                     ERR_INVALID);
    assert_int_equal(edit(EDIT_CREATE, TOY "/part=x", "{\"weft-toy:part\":[{\"name\":\"x\"}]}"),
                     ERR_EXISTS);
    assert_int_equal(value(EDIT_DELETE, TOY "/number", NULL), ERR_INVALID);
    assert_int_equal(value(EDIT_MERGE, TOY "/number", "2"), ERR_INVALID);
    OK(value(EDIT_MERGE, TOY "/number", "1"));
    OK(value(EDIT_MERGE, TOY "/fragile", NULL));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"fragile\":[null],\"part\":[{\"name\":\"x\","
                "\"serial\":4}]}");
    /* The result is checked as a whole: what is mandatory inside can't be left out. */
    assert_int_equal(value(EDIT_MERGE, TOY "/box-art", NULL), ERR_MISSING);
    assert_int_equal(value(EDIT_DELETE, "/weft-toy:toys/toy=m,2/tag", NULL), ERR_ABSENT);
    assert_int_equal(store.n, 1);
}

static void choices(void **state) {
    OK(value(EDIT_MERGE, TOY "/batteries", "2"));
    OK(value(EDIT_MERGE, TOY "/volts", "9"));
    OK(value(EDIT_MERGE, TOY "/turns", "4"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"turns\":4}");
    OK(edit(EDIT_MERGE, TOY, "{\"weft-toy:toy\":[{\"maker\":\"m\",\"number\":1,\"volts\":9}]}"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"volts\":9}");
}

static void order(void **state) {
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, TOY "/part=%s", names[i]);
        OK(value(EDIT_MERGE, path, NULL));
    }
    struct model_edit e = {
        .op = EDIT_MERGE, .target = TOY "/part=c", .format = FORMAT_VALUE, .insert = INSERT_FIRST};
    OK(run(e));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"part\":[{\"name\":\"c\"},{\"name\":\"a\"},"
                "{\"name\":\"b\"}]}");
    e.insert = INSERT_AFTER;
    e.point = TOY "/part=a";
    OK(run(e));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"part\":[{\"name\":\"a\"},{\"name\":\"c\"},"
                "{\"name\":\"b\"}]}");
    e.insert = INSERT_BEFORE;
    e.target = TOY "/part=new";
    OK(run(e));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"part\":[{\"name\":\"new\"},{\"name\":\"a\"},"
                "{\"name\":\"c\"},{\"name\":\"b\"}]}");
    e.point = TOY "/part=none";
    assert_int_equal(run(e), ERR_BAD_ATTRIBUTE);
    e.point = NULL;
    assert_int_equal(run(e), ERR_MISSING);
    e.target = TOY;
    assert_int_equal(run(e), ERR_INVALID);
    e = (struct model_edit){.op = EDIT_MERGE, .target = TOY "/step=3", .format = FORMAT_VALUE};
    OK(run(e));
    e.target = TOY "/step=1";
    e.insert = INSERT_FIRST;
    OK(run(e));
    assert_non_null(strstr(store.docs[0]->json, "\"step\":[1,3]"));
    e.target = TOY "/tag=x";
    assert_int_equal(run(e), ERR_INVALID);
}

static void children(void **state) {
    OK(post("/weft-toy:toys", "{\"weft-toy:box\":[{\"name\":\"b\"}]}"));
    assert_string_equal(result_path, BOX);
    assert_true(result.created);
    assert_int_equal(post("/weft-toy:toys", "{\"weft-toy:box\":[{\"name\":\"b\"}]}"), ERR_EXISTS);
    OK(post("/weft-toy:toys", "{\"weft-toy:toy\":[{\"maker\":\"m\",\"number\":1}]}"));
    /* RFC 7951 section 4: at the top of a body names carry their module */
    assert_int_equal(post("/weft-toy:toys", "{\"toy\":[{\"maker\":\"m\",\"number\":2}]}"),
                     ERR_NAMESPACE);
    assert_non_null(strstr(err.text, "write \"weft-toy:toy\""));
    OK(post(TOY, "{\"weft-toy:part\":[{\"name\":\"p q\"}]}") == ERR_INVALID ? ERR_OK
                                                                            : ERR_INTERNAL);
    OK(post(TOY, "{\"weft-toy:part\":[{\"name\":\"p\"}]}"));
    assert_string_equal(result_path, TOY "/part=p");
    OK(post(TOY "/part=p", "{\"weft-toy:screw\":[{\"size\":3}]}"));
    OK(post(TOY, "{\"weft-toy:colour\":\"red\"}"));
    assert_int_equal(post(TOY, "{\"weft-toy:colour\":\"green\"}"), ERR_EXISTS);
    assert_int_equal(post(TOY, "{\"weft-toy:colour\":\"red\",\"weft-toy:fragile\":[null]}"),
                     ERR_MALFORMED);
    assert_int_equal(post(TOY "/colour", "{}"), ERR_INVALID);
    assert_int_equal(post("/weft-toy:toys/toy=x,1", "{\"weft-toy:colour\":\"red\"}"), ERR_ABSENT);
    assert_int_equal(post("/weft-toy:toys/toy", "{}"), ERR_INVALID);
    OK(post("/", "{\"weft-apm:apm\":{\"entity-match\":[{\"system-id\":\"e\","
                 "\"pool-domain-profile\":\"p\"}]}}"));
    OK(post("/weft-system:system", "{\"weft-system:settings\":{\"hostname\":\"x\"}}"));
    assert_string_equal(result_path, "/weft-system:system/settings");
    assert_int_equal(store.n, 4);
}

static void above(void **state) {
    OK(edit(EDIT_MERGE, "/",
            "{\"weft-toy:toys\":{\"box\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"toy\":[{\"maker\":"
            "\"m\",\"number\":1,\"box\":\"a\"}]},\"weft-system:system\":{\"settings\":{}}}"));
    assert_int_equal(store.created, 4);
    assert_true(result.created);
    /* Replacing a container removes what the body does not name, and nothing elsewhere. */
    OK(edit(EDIT_REPLACE, "/weft-toy:toys",
            "{\"weft-toy:toys\":{\"box\":[{\"name\":\"b\",\"size\":\"1\"},{\"name\":\"c\"}]}}"));
    assert_int_equal(store.n, 3);
    assert_int_equal(store.deleted, 2);
    assert_int_equal(store.changed, 1);
    STORED("/weft-system:system/settings", "{}");
    assert_int_equal(edit(EDIT_CREATE, "/weft-toy:toys", "{\"weft-toy:toys\":{}}"), ERR_EXISTS);
    OK(edit(EDIT_REPLACE, "/weft-toy:toys/box", "{\"weft-toy:box\":[{\"name\":\"z\"}]}"));
    assert_int_equal(store.n, 2);
    assert_int_equal(edit(EDIT_MERGE, "/weft-toy:toys",
                          "{\"weft-toy:toys\":{\"box\":[{\"name\":\"q\"},{\"name\":\"q\"}]}}"),
                     ERR_INVALID);
    assert_string_equal(err.path, "/weft-toy:toys/box=q");
    assert_int_equal(edit(EDIT_MERGE, "/", "{\"weft-apm:apm\":{\"state\":{}}}"), ERR_INVALID);
    assert_string_equal(err.path, "/weft-apm:apm/state");
    assert_int_equal(edit(EDIT_MERGE, "/weft-apm:apm/state", "{\"weft-apm:state\":{}}"),
                     ERR_METHOD);
    assert_int_equal(edit(EDIT_MERGE, "/", "{\"weft-nothing:x\":{}}"), ERR_NAMESPACE);
    assert_int_equal(edit(EDIT_MERGE, "/", "{\"weft-toy:x\":{}}"), ERR_UNKNOWN);
    assert_int_equal(edit(EDIT_MERGE, "/", "{\"toys\":{}}"), ERR_NAMESPACE);
    assert_int_equal(edit(EDIT_MERGE, "/", "[1]"), ERR_MALFORMED);
    OK(edit(EDIT_DELETE, "/weft-toy:toys", NULL));
    assert_int_equal(edit(EDIT_DELETE, "/weft-toy:toys", NULL), ERR_ABSENT);
    OK(edit(EDIT_REMOVE, "/weft-toy:toys", NULL));
    OK(edit(EDIT_REPLACE, "/",
            "{\"ietf-restconf:data\":{\"weft-toy:toys\":{\"box\":[{\"name\":"
            "\"b\"}]}}}"));
    assert_int_equal(store.n, 1);
    STORED(BOX, "{\"name\":\"b\"}");
}

static enum err_code xml(enum edit_op op, const char *target, const char *body) {
    return run((struct model_edit){.op = op, .target = target, .body = body, .format = FORMAT_XML});
}

static void xml_bodies(void **state) {
    OK(xml(EDIT_REPLACE, TOY,
           "<?xml version=\"1.0\"?>\n<toy xmlns=\"urn:weft:toy\"><maker>m</maker>"
           "<number>1</number><!-- x --><fragile/><moods>loud</moods><tag>b</tag><tag>a &amp; "
           "c</tag>\n<part><name>p</name><screw><size>1</size></screw></part>"
           "<price>2.50</price></toy>"));
    STORED(TOY, "{\"maker\":\"m\",\"number\":1,\"price\":\"2.5\",\"fragile\":[null],\"moods\":"
                "\"loud\",\"tag\":[\"a & c\",\"b\"],\"part\":[{\"name\":\"p\",\"screw\":[{\"size\":"
                "1}]}]}");
    OK(xml(EDIT_MERGE, "/",
           "<config xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><toys "
           "xmlns=\"urn:weft:toy\"><box><name>b</name></box></toys>"
           "<s:system xmlns:s=\"urn:weft:system\"><s:settings/></s:system></config>"));
    assert_int_equal(store.n, 3);
    OK(run((struct model_edit){.op = EDIT_CREATE,
                               .target = "/weft-toy:toys",
                               .child = true,
                               .body = "<box xmlns=\"urn:weft:toy\"><name>c</name></box>",
                               .format = FORMAT_XML}));
    assert_int_equal(xml(EDIT_REPLACE, BOX, "<box xmlns=\"urn:weft:toy\"><name>b</name>"),
                     ERR_MALFORMED);
    assert_non_null(strstr(err.text, "Line 1"));
    assert_int_equal(xml(EDIT_REPLACE, BOX,
                         "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><box xmlns=\"urn:weft:toy\">"
                         "<name>&a;</name></box>"),
                     ERR_MALFORMED);
    assert_non_null(strstr(err.text, "document type"));
    struct buf b = BUF_INIT;
    for (int i = 0; i < 100000; i++) {
        buf_str(&b, "<box xmlns=\"urn:weft:toy\">");
    }
    assert_int_equal(xml(EDIT_REPLACE, BOX, buf_cstr(&b)), ERR_UNKNOWN);
    buf_free(&b);
}

/* Every element has its module's namespace, and what is refused is named. */
static void xml_names(void **state) {
    OK(value(EDIT_MERGE, BOX, NULL));
    OK(value(EDIT_MERGE, TOY, NULL));
#define TOYS "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>1</number>"
    static const struct {
        const char *target, *body;
        enum err_code code;
        const char *path, *text;
    } bad[] = {
        {BOX, "<box><name>b</name></box>", ERR_NAMESPACE, "/weft-toy:toys",
         "<box> has no namespace; urn:weft:toy is the one that is wanted"},
        {BOX, "<box xmlns=\"urn:x\"><name>b</name></box>", ERR_NAMESPACE, "/weft-toy:toys",
         "<box> is in the wrong namespace, urn:x; urn:weft:toy is"},
        {BOX, "<box xmlns=\"urn:weft:system\"><name>b</name></box>", ERR_NAMESPACE,
         "/weft-toy:toys", "wrong namespace, urn:weft:system"},
        {BOX, "<bex xmlns=\"urn:weft:toy\"/>", ERR_UNKNOWN, "/weft-toy:toys", "did you mean box"},
        {BOX, "<t:box xmlns:t=\"urn:weft:toy\"><name>b</name></t:box>", ERR_NAMESPACE,
         "/weft-toy:toys/box", "<name> has no namespace"},
        {BOX, "<x:box xmlns:t=\"urn:weft:toy\"/>", ERR_MALFORMED, "", "prefix"},
        {TOY, TOYS "<part><name>p</name><screw xmlns=\"\"/></part></toy>", ERR_NAMESPACE,
         TOY "/part=p", "<screw> has no namespace"},
        {TOY, TOYS "<part><name>p</name><screw><size>4</size><zzz/></screw></part></toy>",
         ERR_UNKNOWN, TOY "/part=p/screw=4", "<zzz> is unknown"},
        {TOY, TOYS "<part><screw><size>4</size><zzz/></screw></part></toy>", ERR_UNKNOWN,
         TOY "/part/screw=4", "<zzz> is unknown"},
        {TOY, TOYS "<colour a=\"1\">red</colour></toy>", ERR_ATTRIBUTE, TOY, "attribute \"a\""},
        {TOY, TOYS "<colour><red/></colour></toy>", ERR_ELEMENT, TOY "/colour", "holds a value"},
        {TOY, TOYS "<colour>red</colour><colour>red</colour></toy>", ERR_ELEMENT, TOY "/colour",
         "given twice"},
        {TOY, TOYS "and so on</toy>", ERR_ELEMENT, TOY, "text between"},
        {"/", "<data/>", ERR_NAMESPACE, "", "<data> without a namespace"},
        {"/", "<data xmlns=\"urn:x\"/>", ERR_NAMESPACE, "", "<data> of urn:x"},
        {"/", "<dato xmlns=\"urn:ietf:params:xml:ns:yang:ietf-restconf\"/>", ERR_UNKNOWN, "",
         "<data xmlns="},
        {"/", "<data xmlns=\"urn:ietf:params:xml:ns:yang:ietf-restconf\"><toys/></data>",
         ERR_NAMESPACE, "", "<toys> is in the wrong namespace"},
    };
    struct test_store before = store;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(xml(EDIT_MERGE, bad[i].target, bad[i].body), bad[i].code);
        assert_string_equal(err.path, bad[i].path);
        if (strstr(err.text, bad[i].text) == NULL) {
            fail_msg("%s: %s", bad[i].body, err.text);
        }
        assert_memory_equal(&before, &store, sizeof store);
    }
    OK(xml(EDIT_MERGE, "/",
           "<data xmlns=\"urn:ietf:params:xml:ns:yang:ietf-restconf\"><t:toys "
           "xmlns:t=\"urn:weft:toy\"><t:box><t:name>z</t:name></t:box></t:toys></data>"));
#undef TOYS
}

/* An entry is moved only inside its own list, and only if it is there. */
static void moves(void **state) {
    for (const char *p = "abc"; *p != '\0'; p++) {
        char path[64];
        snprintf(path, sizeof path, TOY "/part=%c", *p);
        OK(value(EDIT_MERGE, path, NULL));
    }
    OK(value(EDIT_MERGE, "/weft-toy:toys/toy=m,2/part=a", NULL));
    OK(value(EDIT_MERGE, TOY "/tag", "x"));
    struct model_edit e = {
        .op = EDIT_MOVE, .target = TOY "/part=c", .insert = INSERT_BEFORE, .point = TOY "/part=a"};
    OK(run(e));
    assert_non_null(strstr(store.docs[test_find(&store, TOY)]->json,
                           "[{\"name\":\"c\"},{\"name\":\"a\"},{\"name\":\"b\"}]"));
    e.point = "/weft-toy:toys/toy=m,2/part=a";
    assert_int_equal(run(e), ERR_BAD_ATTRIBUTE);
    assert_string_equal(err.app_tag, "missing-instance");
    assert_string_equal(err.path, TOY "/part=c");
    e.point = TOY "/part=c"; /* itself */
    assert_int_equal(run(e), ERR_BAD_ATTRIBUTE);
    e = (struct model_edit){.op = EDIT_MOVE, .target = TOY "/part=z", .insert = INSERT_LAST};
    assert_int_equal(run(e), ERR_ABSENT);
    e.target = "/weft-toy:toys/toy=m,9/part=a";
    assert_int_equal(run(e), ERR_ABSENT);
    e.target = TOY "/tag=x";
    assert_int_equal(run(e), ERR_INVALID);
    e.target = TOY;
    assert_int_equal(run(e), ERR_INVALID);
    e.target = "/weft-toy:toys";
    assert_int_equal(run(e), ERR_INVALID);
}

/* Bodies in which everything is wrong leave everything as it was. */
static void nothing_changes(void **state) {
    OK(value(EDIT_MERGE, BOX, NULL));
    struct test_store before = store;
    const char *bad[] = {"",
                         "x",
                         "{",
                         "null",
                         "[]",
                         "{\"weft-toy:box\":null}",
                         "{\"weft-toy:box\":[null]}",
                         "{\"weft-toy:box\":[[]]}",
                         "{\"weft-toy:box\":[{}]}",
                         "{\"weft-toy:box\":[{\"name\":null}]}",
                         "{\"weft-toy:box\":[{\"name\":\"b\\u0000\"}]}",
                         "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":{}}]}",
                         "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"1e3\"}]}",
                         "{\"weft-toy:box\":[{\"name\":\"b\",\"size\":\"-1\"}]}",
                         "\xff\xfe",
                         "{\"weft-toy:box\":[{\"name\":\"\xff\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(edit(EDIT_REPLACE, BOX, bad[i]), ERR_OK);
        assert_true(err.text[0] != '\0');
        assert_memory_equal(&before, &store, sizeof store);
    }
    assert_int_not_equal(value(EDIT_MERGE, BOX "/size", "\xff"), ERR_OK);
    assert_int_not_equal(value(EDIT_MERGE, BOX "/lock", "ab\xff\xfe\xfd"), ERR_OK);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        T(one_object), T(inside),     T(choices),   T(order), T(children),
        T(above),      T(xml_bodies), T(xml_names), T(moves), T(nothing_changes)};
    return cmocka_run_group_tests(tests, load, unload);
}
