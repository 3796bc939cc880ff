// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kinds.h"
#include "model/internal.h"
#include "model/xpath.h"

/* Of the toy's schema, so that there are lists, leaf-lists and numbers. */
static const char document[] =
    "{\"maker\":\"A \\u00e9 b\",\"number\":7,\"price\":\"2.5\",\"fragile\":[null],"
    "\"tag\":[\"x\",\"y\",\"z\"],\"step\":[3,1,2],\"part\":[{\"name\":\"p\",\"serial\":1,\"screw\":"
    "[{\"size\":3},{\"size\":4}]},{\"name\":\"q\",\"serial\":2},{\"name\":\"r\"}]}";

static bool true_of(const char *xpath) {
    struct arena *a = arena_new();
    const struct xpath *x;
    struct err e;
    bool given_up;
    if (xpath_compile(xpath, a, &x, &e) != ERR_OK) {
        fail_msg("%s: %s", xpath, e.text);
    }
    json_t *tree = json_loads(document, 0, NULL);
    bool yes = xpath_true(x, toy_toy_kind.node, tree, &given_up);
    if (given_up) {
        fail_msg("%s: given up", xpath);
    }
    json_decref(tree);
    arena_free(a);
    return yes;
}

static void expressions(void **state) {
    static const char *const yes[] = {
        /* paths */
        "/", "/toy", "toy", "/weft-toy:toy", "/weft-toy:*", "/*", "//screw", "toy/part/screw/size",
        "count(/toy/part) = 3", "count(//part) = 3", "count(//*) = 23", "count(//text()) = 16",
        "count(/toy/node()) = 13", "not(/box)", "not(/weft-apm:toy)", "not(/toy/part/@name)",
        "/toy/part[name='q']/serial = 2", "/toy/part[2]/name = 'q'", "/toy/part[last()]/name = 'r'",
        "/toy/part[position() < 3][2]/name = 'q'", "count(/toy/part[screw]) = 1",
        "count(/toy/part[not(screw)][serial]) = 1", "(//size)[2] = 4", "(/toy/part)[1]/name='p'",
        "/toy/part/name[1] = 'r'", "count(//size[1]) = 2", "count(/toy/part/screw[1]) = 1",
        "/toy/./part/../maker = /toy/maker", "count(/toy | /toy/part | /toy) = 4",
        "//size/ancestor::part/name = 'p'", "count(//size/ancestor::*) = 4",
        "count(//size[.=4]/ancestor-or-self::node()) = 5",
        "//part[1]/following-sibling::part/name='r'",
        "count(//part[2]/preceding-sibling::part) = 1",
        "//part[3]/preceding-sibling::*[1]/name='q'", "count(//part[2]/preceding::part) = 1",
        "count(//part[1]/following::name) = 2", "//name/parent::part", "/descendant::size[2] = 4",
        "/descendant-or-self::node()/toy", "/toy/child::part[child::name = 'p']/self::part",
        "not(//part/self::toy)", "not(/toy/namespace::x)", "/toy/part/screw/size/text() = '4'",
        "not(//comment())", "count(/..)=0", "/toy[maker][number]",
        /* operators */
        "1 = 1.0", "1 != 2", "'a' = 'a'", "not('a' = 'b')", "1 < 2 and 2 <= 2 and 3 > 2 and 3 >= 3",
        "1 or 0", "not(1 and 0)", "2 + 3 * 4 = 14", "(2 + 3) * 4 = 20", "10 - 2 - 3 = 5",
        "7 div 2 = 3.5", "7 mod 3 = 1", "-7 mod 3 = -1", "5 mod -3 = 2", "1 div 0 = 1 div 0",
        "not(1 mod 0 = 1 mod 0)", "not(0 div 0 = 0 div 0)", "--1 = 1", "---1 = -1", "- 1 < 0",
        "'1' = 1", "'x' != 1", "true() = 'x'", "false() = ''", "1 < '2'", "toy/number * 2 = 14",
        "toy/number - 1 = 6", "/toy/tag = 'y'", "/toy/tag != 'y'", "not(/toy/tag = 'w')",
        "/toy/step > 2", "not(/toy/step > 3)", "/toy/step = /toy/part/serial", "/toy/box = false()",
        "/toy = true()", "not(/toy/nothing = '')", "not(/toy/nothing != '')", "'2.50' = 2.5",
        "/toy/price = 2.50", "3 > 2 > 0", "(1 = 1) = true()", ".5 = 0.5", "5. = 5",
        /* names that are operators elsewhere */
        "not(div)", "not(mod div mod)", "not(and and or)",
        /* functions */
        "count(/toy/tag) = 3", "sum(/toy/step) = 6", "local-name(/toy/part) = 'part'",
        "name(/toy) = 'weft-toy:toy'", "namespace-uri(/toy) = 'urn:weft:toy'", "local-name(/) = ''",
        "local-name(/toy/nothing) = ''", "string(12) = '12'", "string(-0) = '0'",
        "string(1.5) = '1.5'", "string(0.1) = '0.1'", "string(1 div 0) = 'Infinity'",
        "string(-1 div 0) = '-Infinity'", "string(0 div 0) = 'NaN'", "string(true()) = 'true'",
        "string(100000000000000000000) = '100000000000000000000'",
        "string(0.0000001) = '0.0000001'", "string(/toy/part[1]) = 'p134'",
        "string(/toy/nothing) = ''", "concat('a', 1, /toy/tag) = 'a1x'", "starts-with('abc', 'ab')",
        "starts-with('abc', '')", "contains('abc', 'bc')", "not(contains('abc', 'x'))",
        "substring-before('a-b-c', '-') = 'a'", "substring-after('a-b-c', '-') = 'b-c'",
        "substring-after('abc', 'x') = ''", "substring('12345', 2, 3) = '234'",
        "substring('12345', 2) = '2345'", "substring('12345', 1.5, 2.6) = '234'",
        "substring('12345', 0, 3) = '12'", "substring('12345', 0 div 0, 3) = ''",
        "substring('12345', -42, 1 div 0) = '12345'", "substring(/toy/maker, 3, 1) = '\xc3\xa9'",
        "string-length(/toy/maker) = 5", "string-length('') = 0",
        "normalize-space('  a  b ') = 'a b'", "translate('bar', 'abc', 'AB') = 'BAr'",
        "translate('--a--', '-', '') = 'a'", "translate(/toy/maker, '\xc3\xa9', 'e') = 'A e b'",
        "boolean('x')", "not(boolean(''))", "not(boolean(0))", "boolean(-1)",
        "not(boolean(0 div 0))", "number('12') = 12", "number(' -1.5 ') = -1.5",
        "not(number('1e3') = 1000)", "not(number('+1') = 1)", "not(number('') = 0)",
        "number(true()) = 1", "floor(2.6) = 2", "ceiling(2.2) = 3", "round(2.5) = 3",
        "round(-2.5) = -2", "round(2.4) = 2", "not(id('x'))", "not(lang('en'))",
        "/toy[string-length(maker) > 4]", "/toy/part[string(name) = 'q']", "//name[. = 'q']",
        "//part[number(serial) = 2]/name = 'q'", "last() = 1 and position() = 1",
        "//*[local-name() = 'size']", "//*[name() = 'weft-toy:size']", "//serial[number() = 2]",
        "//name[string() = 'r']", "//name[normalize-space() = 'p']", "//name[string-length() = 1]",
        "']' = \"]\"", "\"'\" != '\"'"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!true_of(yes[i])) {
            fail_msg("%s", yes[i]);
        }
    }
}

static void none(void **state) {
    static const struct {
        const char *xpath, *why;
    } bad[] = {
        {"", "an operand"},
        {" ", "an operand"},
        {"/a[", "an operand"},
        {"/a[1", "] is missing"},
        {"a b", "no place"},
        {"1]", "no place"},
        {"1]|/*[1", "no place"},
        {"1)or(1", "no place"},
        {"(1", ") is missing"},
        {"$x", "a variable"},
        {"nothing()", "unknown function"},
        {"re-match('a','b')", "unknown function"},
        {"current()", "unknown function"},
        {"/nomodule:x", "no module"},
        {"weft-toy:", "a name is missing"},
        {"x::a", "unknown axis"},
        {"1 div", "an operand"},
        {"1 +* 2", "no place"},
        {"'a", "not closed"},
        {"count(1)", "no set"},
        {"sum('a')", "no set"},
        {"1[1]", "no set"},
        {"'a'/b", "no set"},
        {"1 | 2", "between sets"},
        {"/toy | 2", "between sets"},
        {"count()", "too many or too few"},
        {"true(1)", "too many or too few"},
        {"substring('a')", "too many or too few"},
        {"concat('a')", "too many or too few"},
        {"f(1,)", "unknown function"},
        {"concat('a',)", "an operand"},
        {"concat('a' 'b')", ") is missing"},
        {"/toy//", "a name"},
        {"//", "a name"},
        {"/toy/[1]", "a name"},
        {"..[1]", "no place"},
        {"a::", "unknown axis"},
        {"child::", "a name"},
        {"node(", ") is missing"},
        {"%", "no place"},
        {"\xc3\xa9", "no place"},
        {"((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))", "too deep"}};
    struct arena *a = arena_new();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct xpath *x;
        struct err e = {.text = "accepted"};
        enum err_code rc = xpath_compile(bad[i].xpath, a, &x, &e);
        if (rc != ERR_INVALID || strstr(e.text, bad[i].why) == NULL) {
            fail_msg("%s: %s", bad[i].xpath, e.text);
        }
    }
    arena_free(a);
}

/* However an expression multiplies its work, it ends, and then it is false. */
static void bounded(void **state) {
    static const char *const heavy[] = {
        "//*[count(//*[count(//*[count(//*[count(//*[count(//*)>0])>0])>0])>0])>0]",
        "count(//node()/..//node()/..//node()/..//node()) >= 0 and //*[//*[//*[//*[//*]]]]",
        "//*[//* = //*[//* != //*[//*]]] or count(//*[. = //*[. = //*]]) >= 0"};
    for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++) {
        struct arena *a = arena_new();
        const struct xpath *x;
        bool given_up;
        assert_int_equal(xpath_compile(heavy[i], a, &x, NULL), ERR_OK);
        json_t *tree = json_loads(document, 0, NULL);
        json_t *parts = json_object_get(tree, "part");
        for (int k = 0; k < 2000; k++) {
            json_array_append_new(parts, json_pack("{s:s}", "name", "n"));
        }
        assert_false(xpath_true(x, toy_toy_kind.node, tree, &given_up));
        assert_true(given_up);
        json_decref(tree);
        arena_free(a);
    }
}

static struct model *model;

/* What is left of the toy by the expression; the error's code when there is one. */
static enum err_code select_of(const char *expr, const char *xml, struct buf *out) {
    struct err e = {0};
    buf_clear(out);
    enum err_code rc = model_xpath(model, expr, xml, 1, out, &e);
    assert_true(rc == ERR_OK || e.text[0] != '\0');
    return rc;
}

static void selecting(void **state) {
    static const char toy[] =
        "<toys xmlns=\"urn:weft:toy\"><toy><maker>m</maker><number>7</number><price>2.5</price>"
        "<part><name>p</name><serial>1</serial><screw><size>3</size></screw></part>"
        "<part><name>q</name><serial>2</serial></part></toy></toys>";
    static const struct {
        const char *expr, *left;
    } v[] = {
        {"/", "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>7</number><price>2.5</price>"
              "<part><name>p</name><serial>1</serial><screw><size>3</size></screw></part>"
              "<part><name>q</name><serial>2</serial></part></toy>"},
        {"/weft-toy:toys/toy/price",
         "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>7</number><price>2.5</price></toy>"},
        {"//part[serial > 1]", "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>7</number>"
                               "<part><name>q</name><serial>2</serial></part></toy>"},
        {"//size/text() | //price",
         "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>7</number><price>2.5</price>"
         "<part><name>p</name><screw><size>3</size></screw></part></toy>"},
        {"//part[1 mod 0]", ""},
        {"//part[-9223372036854775808 mod -1 = 0]/serial[. = 1]",
         "<toy xmlns=\"urn:weft:toy\"><maker>m</maker><number>7</number>"
         "<part><name>p</name><serial>1</serial></part></toy>"},
        {"/weft-apm:toys", ""},
        {"//box", ""},
    };
    struct buf out = BUF_INIT;
    assert_int_equal(model_load(&model, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        assert_int_equal(select_of(v[i].expr, toy, &out), ERR_OK);
        if (strcmp(buf_cstr(&out), v[i].left) != 0) {
            fail_msg("%s:\n%s\nnot\n%s", v[i].expr, buf_cstr(&out), v[i].left);
        }
    }
    static const char *const none[] = {"1 mod 0", "count(//*)",    "'x'",       "//toy[",
                                       "$x",      "//no-module:x", "//name = '"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct err e;
        assert_int_equal(select_of(none[i], toy, &out), ERR_INVALID);
        assert_int_equal(model_xpath_check(none[i], &e), ERR_INVALID);
    }
    /* Each predicate is looked at for every node that is left of it: that has an end. */
    assert_int_equal(select_of("//*[//*[//*[//*[//*[//*[count(//*) = 0]]]]]]", toy, &out),
                     ERR_TOO_BIG);
    buf_free(&out);
    model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions),
        cmocka_unit_test(selecting),
        cmocka_unit_test(none),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
