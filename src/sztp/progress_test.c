// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sztp/progress.h"

/* RFC 8572 has 27 types; the terminal ones are each error, the reboot and the end. */
static void types(void **state) {
    (void)state;
    assert_int_equal(SZTP_PROGRESS_COUNT, 27);
    for (int i = 0; i < SZTP_PROGRESS_COUNT; i++) {
        const char *name = sztp_progress_name((enum sztp_progress)i);
        enum sztp_progress t;
        assert_true(sztp_progress_parse(name, &t));
        assert_int_equal(t, i);
        size_t n = strlen(name);
        bool ends = (n > 6 && strcmp(name + n - 6, "-error") == 0) ||
                    strcmp(name, "boot-image-installed-rebooting") == 0 ||
                    strcmp(name, "bootstrap-complete") == 0;
        assert_int_equal(sztp_progress_terminal(t), ends);
    }
    enum sztp_progress t;
    assert_false(sztp_progress_parse("boot-image", &t));
    assert_false(sztp_progress_parse("", &t));
}

/* PH-082: types with "vc-member" carry a member, no other does; spec 5.3. */
static void notifications(void **state) {
    (void)state;
    for (int i = 0; i < SZTP_NOTIFICATION_COUNT; i++) {
        const char *name = sztp_notification_name((enum sztp_notification)i);
        enum sztp_notification t;
        assert_true(sztp_notification_parse(name, &t));
        assert_int_equal(t, i);
        assert_int_equal(sztp_notification_member(t), strstr(name, "vc-member") != NULL);
    }
    assert_int_equal(sztp_notification_progress(SZTP_N_VC_UPGRADE_FAILED, false),
                     SZTP_BOOT_IMAGE_WARNING);
    assert_int_equal(sztp_notification_progress(SZTP_N_VC_UPGRADE_FAILED, true),
                     SZTP_BOOT_IMAGE_ERROR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test(notifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
