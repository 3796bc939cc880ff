// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "north/restconf/errors.h"
#include "north/restconf/media.h"
#include "north/restconf/uri.h"
#include "north/restconf/yang_patch.h"

static struct arena *arena;
static struct rc_uri uri;
static struct err err;

static enum err_code parse(const char *method, const char *path, const char *query) {
    return rc_uri_parse(method, path, query, arena, &uri, &err);
}

static void test_resources(void **state) {
    (void)state;
    static const struct {
        const char *path, *rest;
        enum rc_resource r;
    } known[] = {{"/.well-known/host-meta", "/", RC_HOST_META},
                 {"/restconf", "/", RC_API},
                 {"/restconf/data", "/", RC_DATA},
                 {"/restconf/data/", "/", RC_DATA},
                 {"/restconf/data/a:b/c=1%2F2", "/a:b/c=1%2F2", RC_DATA},
                 {"/restconf/operations", "/", RC_OPERATIONS},
                 {"/restconf/yang-library-version", "/", RC_LIBRARY},
                 {"/restconf/schema/m@2020-01-01", "m@2020-01-01", RC_SCHEMA},
                 {"/streams/NETCONF/json", "NETCONF/json", RC_STREAM},
                 {"/openapi.json", "/", RC_OPENAPI}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(parse("GET", known[i].path, ""), ERR_OK);
        assert_int_equal(uri.resource, known[i].r);
        assert_string_equal(uri.path, known[i].rest);
    }
    static const char *const none[] = {"/",
                                       "",
                                       "/restconfx",
                                       "/restconf/datax",
                                       "/restconf/operations/a/b",
                                       "/restconf/schema",
                                       "/restconf/schema/",
                                       "/streams"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(parse("GET", none[i], ""), ERR_ABSENT);
    }
    assert_int_equal(parse("POST", "/restconf/operations/m:r", ""), ERR_OK);
    assert_int_equal(parse("GET", "/restconf/operations/m:r", ""), ERR_METHOD);
    assert_int_equal(parse("DELETE", "/restconf/data", ""), ERR_METHOD);
    assert_int_equal(parse("BREW", "/restconf", ""), ERR_METHOD);
    assert_int_equal(parse("GET", "/restconf/schema/%zz", ""), ERR_INVALID);
}

/* RFC 8527 */
static void test_datastores(void **state) {
    (void)state;
    assert_int_equal(parse("GET", "/restconf/data", ""), ERR_OK);
    assert_int_equal(uri.store, RC_UNIFIED);
    assert_int_equal(parse("PUT", "/restconf/ds/ietf-datastores:running/a:b", ""), ERR_OK);
    assert_int_equal(uri.resource, RC_DATA);
    assert_int_equal(uri.store, RC_RUNNING);
    assert_string_equal(uri.path, "/a:b");
    assert_int_equal(uri.query.content, CONTENT_CONFIG);
    assert_int_equal(parse("GET", "/restconf/ds/ietf-datastores:running", "content=all"),
                     ERR_INVALID);
    assert_int_equal(parse("GET", "/restconf/ds/ietf-datastores:operational", ""), ERR_OK);
    assert_int_equal(uri.store, RC_OPERATIONAL);
    assert_string_equal(uri.path, "/");
    assert_int_equal(uri.query.content, CONTENT_ALL);
    assert_int_equal(uri.query.defaults, WD_REPORT_ALL);
    assert_int_equal(
        parse("GET", "/restconf/ds/ietf-datastores:operational", "with-defaults=explicit"), ERR_OK);
    assert_int_equal(uri.query.defaults, WD_EXPLICIT);
    static const char *const writes[] = {"PUT", "POST", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        assert_int_equal(parse(writes[i], "/restconf/ds/ietf-datastores:operational/a:b", ""),
                         ERR_METHOD);
    }
    static const char *const none[] = {
        "/restconf/ds", "/restconf/ds/", "/restconf/ds/ietf-datastores:runningx",
        "/restconf/ds/ietf-datastores:startup", "/restconf/ds/running"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(parse("GET", none[i], ""), ERR_ABSENT);
    }
}

static void test_queries(void **state) {
    (void)state;
    assert_int_equal(parse("GET", "/restconf/data", "depth=3&content=config&fields=a%28b%29"),
                     ERR_OK);
    assert_int_equal(uri.query.depth, 3);
    assert_int_equal(uri.query.content, CONTENT_CONFIG);
    assert_string_equal(uri.query.fields, "a(b)");
    assert_int_equal(parse("GET", "/restconf/data", "depth=65535"), ERR_OK);
    assert_int_equal(parse("PUT", "/restconf/data/a:b", "insert=after&point=/a:b/c=1"), ERR_OK);
    assert_int_equal(uri.query.insert, INSERT_AFTER);
    assert_string_equal(uri.query.point, "/a:b/c=1");
    assert_int_equal(parse("DELETE", "/restconf/data/a:b", "commit-dry-run&commit-force"), ERR_OK);
    assert_true(uri.query.dry_run && uri.query.force);
    assert_int_equal(parse("PUT", "/restconf/data/a:b", "commit-confirmed-applied=10"), ERR_OK);
    assert_true(uri.query.confirm_applied && uri.query.confirm_s == 10);
    assert_int_equal(parse("GET", "/restconf", "depth=2&fields=data"), ERR_OK);
    assert_int_equal(parse("GET", "/restconf", "content=all"), ERR_INVALID);
    assert_int_equal(parse("GET", "/streams/NETCONF/xml", "filter=%2Fa%3Ab%5Bc%3D1%5D"), ERR_OK);
    assert_string_equal(uri.query.filter, "/a:b[c=1]");
    static const struct {
        const char *method, *query;
    } bad[] = {{"GET", "depth=0"},
               {"GET", "depth=65536"},
               {"GET", "depth=1&depth=1"},
               {"GET", "depth"},
               {"GET", "x=1"},
               {"GET", "insert=first"},
               {"GET", "depth=1&&"},
               {"GET", "%66ields="},
               {"PUT", "depth=1"},
               {"PUT", "insert=before"},
               {"PUT", "point=/a"},
               {"PUT", "commit-wait=0"},
               {"PUT", "commit-wait=1e3"},
               {"GET", "fields=%00"},
               {"GET", "start-time=2026-01-01T00:00:00Z"},
               {"GET", "filter=/a"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i].method, "/restconf/data/a:b", bad[i].query), ERR_INVALID);
        assert_true(strlen(err.text) > 8);
    }
}

static void test_media(void **state) {
    (void)state;
    static const struct {
        const char *accept;
        enum rc_media m;
    } cases[] = {
        {NULL, RC_MEDIA_JSON},
        {"", RC_MEDIA_JSON},
        {"*/*", RC_MEDIA_JSON},
        {"application/*", RC_MEDIA_JSON},
        {"application/yang-data+xml", RC_MEDIA_XML},
        {"Application/YANG-Data+XML;q=1.0", RC_MEDIA_XML},
        {"application/yang-data+json;q=0.2, application/yang-data+xml;q=0.3", RC_MEDIA_XML},
        {"application/json", RC_MEDIA_PLAIN_JSON},
        {"application/xml, */*;q=0.1", RC_MEDIA_PLAIN_XML},
        {"text/html", RC_MEDIA_NONE},
        {"*/*;q=0", RC_MEDIA_NONE},
        {"application/yang-data+json;q=0, text/*", RC_MEDIA_NONE},
        {"*/*, application/yang-data+json;q=0", RC_MEDIA_XML}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rc_media_accept(cases[i].accept, RC_MEDIA_NONE), cases[i].m);
    }
    /* what is left open follows the request's body */
    assert_int_equal(rc_media_accept(NULL, RC_MEDIA_XML), RC_MEDIA_XML);
    assert_int_equal(rc_media_accept("*/*", RC_MEDIA_PATCH_XML), RC_MEDIA_XML);
    assert_int_equal(rc_media_accept("application/yang-data+json", RC_MEDIA_XML), RC_MEDIA_JSON);
    assert_int_equal(rc_media_accept("application/xml, */*;q=0.1", RC_MEDIA_JSON),
                     RC_MEDIA_PLAIN_XML);
    assert_int_equal(rc_media_of("application/yang-patch+json; charset=utf-8"),
                     RC_MEDIA_PATCH_JSON);
    assert_int_equal(rc_media_of("text/plain"), RC_MEDIA_OTHER);
    assert_int_equal(rc_media_of(NULL), RC_MEDIA_NONE);
}

static void test_yang_patch(void **state) {
    (void)state;
    struct yang_patch p;
    static const char json[] =
        "{\"ietf-yang-patch:yang-patch\":{\"patch-id\":\"x\",\"edit\":[{\"edit-id\":\"1\","
        "\"operation\":\"insert\",\"target\":\"/a=1\",\"value\":{\"m:a\":[{\"k\":1}]}}]}}";
    assert_int_equal(yang_patch_parse(json, strlen(json), FORMAT_JSON, arena, &p, &err), ERR_OK);
    assert_int_equal(p.n_edits, 1);
    assert_int_equal(p.edits[0].where, INSERT_LAST);
    assert_string_equal(p.edits[0].value, "{\"m:a\":[{\"k\":1}]}");
    /* namespaces that the value only inherits are written into it */
    static const char xml[] =
        "<y:yang-patch xmlns:y='urn:ietf:params:xml:ns:yang:ietf-yang-patch' xmlns='urn:d' "
        "xmlns:t='urn:t'><y:patch-id>x</y:patch-id><y:edit><y:edit-id>1</y:edit-id>"
        "<y:operation>create</y:operation><y:target>/a</y:target><y:value>"
        "<t:a b='&lt;'><c/>text</t:a></y:value></y:edit></y:yang-patch>";
    assert_int_equal(yang_patch_parse(xml, strlen(xml), FORMAT_XML, arena, &p, &err), ERR_OK);
    assert_string_equal(p.edits[0].value,
                        "<t:a xmlns:y=\"urn:ietf:params:xml:ns:yang:ietf-yang-patch\" "
                        "xmlns=\"urn:d\" xmlns:t=\"urn:t\" b=\"&lt;\"><c/>text</t:a>");
    static const char empty[] =
        "<yang-patch xmlns='urn:ietf:params:xml:ns:yang:ietf-yang-patch'><patch-id>x</patch-id>"
        "<edit><edit-id>1</edit-id><operation>create</operation><target>/a</target><value>"
        "<a xmlns='urn:d'/></value></edit></yang-patch>";
    assert_int_equal(yang_patch_parse(empty, strlen(empty), FORMAT_XML, arena, &p, &err), ERR_OK);
    assert_string_equal(p.edits[0].value, "<a xmlns=\"urn:d\"/>");
    static const char twice[] =
        "<yang-patch xmlns='urn:ietf:params:xml:ns:yang:ietf-yang-patch'><patch-id>x</patch-id>"
        "<edit><edit-id>1</edit-id><operation>create</operation><target>/a</target><value>"
        "<a/><a/></value></edit></yang-patch>";
    assert_int_equal(yang_patch_parse(twice, strlen(twice), FORMAT_XML, arena, &p, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.text, "edit 1"));
}

static int set_up(void **state) {
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_datastores, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_media, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_yang_patch, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
