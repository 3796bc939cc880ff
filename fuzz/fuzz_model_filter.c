// SPDX-License-Identifier: Apache-2.0
/* XPath filters of events and of data: what is accepted is evaluated, in bounded time. */
#include "model_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char toys[] =
        "<toys xmlns=\"urn:weft:toy\"><toy><maker>m</maker><number>7</number><price>2.50</price>"
        "<part><name>p</name><serial>1</serial></part></toy></toys>";
    static const char json[] = "{\"maker\":\"acme\",\"count\":\"7\"}";
    char *xpath = mem_strndup((const char *)data, size);
    struct err e = {0};
    struct model_filter *f = NULL;
    fuzz_load();
    enum err_code rc = model_filter_new(xpath, &f, &e);
    CHECK(rc == ERR_OK || (rc == ERR_INVALID && f == NULL && e.text[0] != '\0'));
    if (rc == ERR_OK) {
        model_filter_matches(fuzz_model, f, model_notification("weft-toy:toy-broken"), json,
                             sizeof json - 1);
    }
    model_filter_free(f);
    struct buf out = BUF_INIT;
    rc = model_xpath(fuzz_model, xpath, toys, 1, &out, &e);
    CHECK(rc == ERR_OK || rc == ERR_INVALID || rc == ERR_TOO_BIG);
    CHECK(model_xpath_check(xpath, &e) == ERR_INVALID || rc != ERR_INVALID);
    buf_free(&out);
    mem_free(xpath);
    return 0;
}
