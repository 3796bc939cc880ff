// SPDX-License-Identifier: Apache-2.0
/* The dialect before the RFC: answers and notifications. What is accepted can be printed, unless it
 * holds what is no XML, and is accepted again. */
#include <stdlib.h>

#include "sztp/prerfc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct prerfc_device d, again;
    struct prerfc_notification n, n_again;
    struct buf out = BUF_INIT;
    struct err e;
    if (prerfc_device_parse(data, size, &d, &e) == ERR_OK) {
        if (prerfc_device_print(&d, &out, &e) == ERR_OK) {
            if (prerfc_device_parse(out.data, out.len, &again, &e) != ERR_OK) {
                abort();
            }
            prerfc_device_free(&again);
        }
        prerfc_device_free(&d);
    }
    if (prerfc_notification_parse(data, size, &n, &e) == ERR_OK) {
        buf_clear(&out);
        prerfc_notification_print(&n, &out);
        if (prerfc_notification_parse(out.data, out.len, &n_again, &e) != ERR_OK) {
            abort();
        }
        prerfc_notification_free(&n_again);
        prerfc_notification_free(&n);
    }
    buf_free(&out);
    return 0;
}
