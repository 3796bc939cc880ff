// SPDX-License-Identifier: Apache-2.0
/* A NETCONF message: read, its <config> turned into edits, itself filtered by itself, printed and
 * read again. */
#include <stdlib.h>
#include <string.h>

#include "north/netconf/edit.h"
#include "north/netconf/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *a = arena_new();
    struct dom *d = NULL, *again = NULL;
    struct err e = {.code = ERR_OK};
    if (dom_parse(data, size, a, &d, &e) == ERR_OK) {
        struct nc_edits edits;
        struct buf text = BUF_INIT;
        dom_print(d, NULL, NULL, &text);
        if (dom_parse(text.data, text.len, a, &again, &e) != ERR_OK) {
            abort();
        }
        buf_free(&text);
        if (nc_edits_of(d, size % 2 ? NC_MERGE : NC_NONE, a, &edits, &e) == ERR_OK) {
            for (size_t i = 0; i < edits.n; i++) {
                if (edits.v[i].target == NULL || edits.v[i].target[0] != '/') {
                    abort();
                }
            }
        } else if (e.text[0] == '\0') {
            abort();
        }
        struct nc_filters f = {.v = (const struct dom **)&again, .n = 1};
        nc_filter_mark(d, model_root(), &f);
    } else if (e.text[0] == '\0') {
        abort();
    }
    arena_free(a);
    return 0;
}
