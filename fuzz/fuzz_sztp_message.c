// SPDX-License-Identifier: Apache-2.0
/* Bodies of the RPCs and of errors: what is accepted can be printed in the same form and is
 * accepted again. The first byte chooses which, and the form. */
#include <stdlib.h>

#include "base/mem.h"
#include "sztp/message.h"

static void need(enum err_code rc) {
    if (rc != ERR_OK) {
        abort();
    }
}

static void a_get(enum sztp_form f, const uint8_t *p, size_t n, struct buf *out) {
    struct sztp_get g, again;
    struct err e;
    if (sztp_get_parse(f, p, n, &g, &e) == ERR_OK) {
        buf_free(&g.key_algorithms); /* printed as the short DER that we make alone */
        sztp_get_print(&g, f, out);
        need(sztp_get_parse(f, out->data, out->len, &again, &e));
        sztp_get_free(&again);
        sztp_get_free(&g);
    }
}

static void an_answer(enum sztp_form f, const uint8_t *p, size_t n, struct buf *out) {
    struct sztp_answer a, again;
    struct err e;
    if (sztp_answer_parse(f, p, n, true, &a, &e) == ERR_OK) {
        sztp_answer_print(&a, f, NULL, out);
        need(sztp_answer_parse(f, out->data, out->len, false, &again, &e));
        sztp_answer_free(&again);
        sztp_answer_free(&a);
    }
}

static void a_report(enum sztp_form f, const uint8_t *p, size_t n, struct buf *out) {
    struct sztp_report r, again;
    struct err e;
    if (sztp_report_parse(f, p, n, &r, &e) == ERR_OK) {
        sztp_report_print(&r, f, out);
        need(sztp_report_parse(f, out->data, out->len, &again, &e));
        sztp_report_free(&again);
        sztp_report_free(&r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sztp_error se;
    struct buf out = BUF_INIT;
    struct err e;
    if (size == 0) {
        return 0;
    }
    enum sztp_form f = data[0] & 1 ? SZTP_XML : SZTP_JSON;
    switch ((data[0] >> 1) % 5) {
    case 0:
        a_get(f, data + 1, size - 1, &out);
        break;
    case 1:
        an_answer(f, data + 1, size - 1, &out);
        break;
    case 2:
        a_report(f, data + 1, size - 1, &out);
        break;
    case 3:
        sztp_error_parse(f, data + 1, size - 1, &se, &e);
        break;
    default: {
        char *type = mem_strndup((const char *)data + 1, size - 1);
        sztp_media(type, &f);
        mem_free(type);
        break;
    }
    }
    buf_free(&out);
    return 0;
}
