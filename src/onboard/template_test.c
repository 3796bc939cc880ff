// SPDX-License-Identifier: Apache-2.0
/* Texts with variables: strict, escaped where they become XML, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "onboard/internal.h"

static const char *value(void *arg, const char *name) {
    (void)arg;
    return strcmp(name, "host") == 0   ? "edge-1"
           : strcmp(name, "evil") == 0 ? "<a b=\"c\">&"
           : strcmp(name, "none") == 0 ? ""
                                       : NULL;
}

static void fills(const char *text, enum template_escape escape, const char *want) {
    struct buf out = BUF_INIT;
    struct err e;
    if (template_fill(text, strlen(text), escape, value, NULL, &out, &e) != ERR_OK) {
        fail_msg("%s: %s", text, e.text);
    }
    assert_string_equal(want, buf_cstr(&out));
    buf_free(&out);
}

static void refuses(const char *text, const char *why) {
    struct buf out = BUF_INIT;
    struct err e;
    assert_int_equal(ERR_INVALID,
                     template_fill(text, strlen(text), TEMPLATE_PLAIN, value, NULL, &out, &e));
    assert_string_equal(why, e.text);
    buf_free(&out);
}

/* proves: PH-201 */
static void values_stand_where_names_stood(void **state) {
    (void)state;
    fills("", TEMPLATE_PLAIN, "");
    fills("no names } {", TEMPLATE_PLAIN, "no names } {");
    fills("a {{host}}, {{ host }}{{none}}!", TEMPLATE_PLAIN, "a edge-1, edge-1!");
    fills("{{evil}}", TEMPLATE_PLAIN, "<a b=\"c\">&");
    fills("<x y=\"{{evil}}\"/>", TEMPLATE_XML, "<x y=\"&lt;a b=&quot;c&quot;&gt;&amp;\"/>");
    fills("{{\"{{ host }}\"}}", TEMPLATE_PLAIN, "{{ host }}");
}

static void what_is_not_known_is_an_error(void **state) {
    (void)state;
    refuses("x\ny {{hots}}", "line 2: the device has no variable hots");
    refuses("{{host", "line 1: {{ without }}");
    refuses("{{\"host}}", "line 1: {{ without }}");
    refuses("\n\n{{}}", "line 3: between {{ and }} stands no name");
    refuses("{{a b}}", "line 1: between {{ and }} stands no name");
    refuses("{{1a}}", "line 1: between {{ and }} stands no name");
}

static void collect(void *arg, const char *name) {
    buf_printf(arg, "%s ", name);
}

/* What a template wants can be told without a device; and whether it can be filled at all. */
static void names_are_found(void **state) {
    const char *text = "a {{host}} {{\"{{ no }}\"}}\n{{ hots }}{{host}}", *bad = "\nhello {{ host";
    struct buf b = BUF_INIT;
    struct err e;
    (void)state;
    assert_int_equal(ERR_OK, template_names(text, strlen(text), collect, &b, &e));
    assert_string_equal("host hots host ", buf_cstr(&b));
    buf_free(&b);
    assert_int_equal(ERR_OK, template_names("", 0, collect, &b, &e));
    assert_int_equal(ERR_INVALID, template_names(bad, strlen(bad), NULL, NULL, &e));
    assert_string_equal("line 2: {{ without }}", e.text);
    assert_true(variable_built_in("os-name") && !variable_built_in("os-nam"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_stand_where_names_stood),
                                       cmocka_unit_test(names_are_found),
                                       cmocka_unit_test(what_is_not_known_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
