// SPDX-License-Identifier: Apache-2.0
/* Conveyed information in both forms: what is accepted is printed in both, and read again says the
 * same. The first byte chooses the form, and whether much is borne. */
#include <stdlib.h>
#include <string.h>

#include "sztp/conveyed.h"

static void same(const struct conveyed *a, const struct conveyed *b) {
    if (a->redirect != b->redirect || a->n_servers != b->n_servers ||
        a->image.present != b->image.present || a->image.n_uris != b->image.n_uris ||
        a->image.n_hashes != b->image.n_hashes || a->handling != b->handling ||
        a->config.len != b->config.len || a->pre.len != b->pre.len || a->post.len != b->post.len ||
        a->topology.present != b->topology.present || a->topology.strict != b->topology.strict ||
        a->topology.n_members != b->topology.n_members ||
        strcmp(a->image.os_version, b->image.os_version) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct conveyed c, again;
    struct buf text = BUF_INIT;
    struct err e;
    if (size == 0 || conveyed_parse(data[0] & 1 ? SZTP_XML : SZTP_JSON, data + 1, size - 1,
                                    (data[0] & 2) != 0, &c, &e) != ERR_OK) {
        return 0;
    }
    for (int form = SZTP_JSON; form <= SZTP_XML; form++) {
        buf_clear(&text);
        conveyed_print(&c, (enum sztp_form)form, NULL, &text);
        if (conveyed_parse((enum sztp_form)form, text.data, text.len, true, &again, &e) != ERR_OK) {
            abort();
        }
        same(&c, &again);
        conveyed_free(&again);
    }
    conveyed_free(&c);
    buf_free(&text);
    return 0;
}
