// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static void characters(void **state) {
    static const struct {
        const char *s;
        size_t n;
        int want;
    } v[] = {{"a", 1, 1},
             {"\xC3\xA9", 2, 2},
             {"\xC3", 1, 0},
             {"\xE2\x82\xAC", 3, 3},
             {"\xE2\x82", 2, 0},
             {"\xF0\x9F\x8C\x8D", 4, 4},
             {"\xF0\x9F\x8C", 3, 0},
             {"\x80", 1, -1},
             {"\xC0\x80", 2, -1},     /* overlong */
             {"\xE0\x80\x80", 3, -1}, /* overlong */
             {"\xE0\x80", 2, -1},     /* seen as soon as it can be */
             {"\xF0\x80\x80\x80", 4, -1},
             {"\xED\xA0\x80", 3, -1}, /* a surrogate */
             {"\xF4\x90\x80\x80", 4, -1},
             {"\xF5\x80\x80\x80", 4, -1},
             {"\xC3\x28", 2, -1},
             {"\xFF", 1, -1}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        assert_int_equal(utf8_step((const uint8_t *)v[i].s, v[i].n), v[i].want);
    }
}

static void json(void **state) {
    struct buf b = BUF_INIT;
    text_json(&b, "");
    assert_string_equal(buf_cstr(&b), "\"\"");
    buf_clear(&b);
    text_json(&b, "a\"\\\n\t\x01\x7F\xFF\xC3\xA9z");
    assert_string_equal(buf_cstr(&b), "\"a\\\"\\\\\\n\\u0009\\u0001\\u007f\\ufffd\xC3\xA9z\"");
    buf_clear(&b);
    text_json(&b, "x\xE2\x82"); /* cut off */
    assert_string_equal(buf_cstr(&b), "\"x\\ufffd\"");
    buf_clear(&b);
    assert_int_equal(text_json_part(&b, "x\xE2\x82", 3), 2);
    assert_string_equal(buf_cstr(&b), "x");
    buf_clear(&b);
    assert_int_equal(text_json_part(&b, "a\0b", 3), 0);
    assert_string_equal(buf_cstr(&b), "a\\u0000b");
    buf_free(&b);
}

static void xml(void **state) {
    struct buf b = BUF_INIT;
    text_xml(&b, "a<b>&\"'\r\n\t\x02\xED\xA0\x80\xEF\xBF\xBE\xC3\xA9z", XML_CONTENT);
    assert_string_equal(buf_cstr(&b), "a&lt;b&gt;&amp;\"'&#13;\n\t\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF"
                                      "\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9z");
    buf_clear(&b);
    text_xml(&b, "\"<\r\n\t", XML_ATTRIBUTE);
    assert_string_equal(buf_cstr(&b), "&quot;&lt;&#13;&#10;&#9;");
    buf_clear(&b);
    text_xml(&b, "]]>", XML_CONTENT); /* may not stand in character data */
    assert_string_equal(buf_cstr(&b), "]]&gt;");
    buf_free(&b);
}

static void words(void **state) {
    static const struct {
        const char *word, *want;
    } v[] = {{"a", "a"},
             {"", "\"\""},
             {"a b", "\"a b\""},
             {"a\"b\\", "\"a\\\"b\\\\\""},
             {"x\ny\tz\r", "\"x\\ny\\tz\\r\""},
             {"#x", "\"#x\""},
             {"a|b", "\"a|b\""},
             {"\xC3\xA9", "\xC3\xA9"}};
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        buf_clear(&b);
        text_word(&b, v[i].word);
        assert_string_equal(buf_cstr(&b), v[i].want);
    }
    buf_free(&b);
}

static void lines(void **state) {
    static const struct {
        size_t size;
        const char *in, *want;
    } v[] = {
        {20, "", ""},
        {20, "plain text", "plain text"},
        {20, " \n\tends \r\n", "ends"},
        {20, "a\nb\x1b[31mc\x7f", "a b [31mc"},
        {20,
         "x\xC2\x9B"
         "2Jy",
         "x  2Jy"},
        {20, "caf\xE9 \xFF!", "caf   !"},
        {20, "\xED\xA0\x80z", "z"},
        {20, "\xEF\xBF\xBE\xE2\x80\xAE.\xE2\x80\xA8.", ".   ."},
        {20, "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {5, "abcdef", "abcd"},
        {5, "ab\xE2\x82\xAC", "ab"},
        {6, "ab\xE2\x82\xAC", "ab\xE2\x82\xAC"},
        {4, "ab  cd", "ab"},
        {1, "a", ""},
        {20, "cut \xE2\x82", "cut"},
    };
    char out[20];
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        text_line(out, v[i].size, v[i].in);
        assert_string_equal(out, v[i].want);
    }
    text_linef(out, sizeof out, "%s: %d\n%s", "a\nb", 7, "\xC3");
    assert_string_equal(out, "a b: 7");
}

static void one_line(void **state) {
    static const struct {
        const char *in, *want;
        char open;
    } v[] = {
        {"set a b", "set a b", 0},
        {"set a \"b\nc\r\nd\" e", "set a \"b\\nc\\nd\" e", 0},
        {"set a 'b\nc'", "set a 'b'\"\\n\"'c'", 0},
        {"set a \"b", "set a \"b", '"'},
        {"set a 'b\n", "set a 'b'\"\\n\"'", '\''},
        {"set a \"it's \\\" 'so'\\\\\"", "set a \"it's \\\" 'so'\\\\\"", 0},
        {"a \"b\\\nc\"", "a \"b\\nc\"", 0},
        {"a \"b\\", "a \"b", '"'},
        {"a\nb", "a\nb", 0},
        {" # don't", " # don't", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct buf b = BUF_INIT;
        assert_int_equal(text_one_line(&b, v[i].in, strlen(v[i].in)), v[i].open);
        assert_string_equal(buf_cstr(&b), v[i].want);
        assert_int_equal(text_one_line(NULL, v[i].in, strlen(v[i].in)), v[i].open);
        buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters), cmocka_unit_test(json),  cmocka_unit_test(xml),
        cmocka_unit_test(words),      cmocka_unit_test(lines), cmocka_unit_test(one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
