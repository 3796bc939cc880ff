// SPDX-License-Identifier: Apache-2.0
/*
 * Records written by older releases. A kind's version goes up (weft:kind-version) when its older
 * documents would no longer be valid or would mean something else; the step from one version to
 * the next is a function here, and test/stores/ keeps a store of each format.
 */
#include <string.h>

#include "model/internal.h"

struct converter {
    const char *kind;
    uint32_t from;
    doc_converter f;
};

enum { CONVERTERS_MAX = 1024 };

/* No kind has a second version yet. */
static struct converter converters[CONVERTERS_MAX];
static size_t n_converters;

void doc_add_converter(const char *kind_name, uint32_t from, doc_converter f) {
    if (n_converters < CONVERTERS_MAX) {
        converters[n_converters++] = (struct converter){kind_name, from, f};
    }
}

enum err_code convert_record(const struct kind *k, uint32_t version, json_t *object,
                             struct err *e) {
    for (; version < k->version; version++) {
        doc_converter f = NULL;
        for (size_t i = 0; i < n_converters; i++) {
            if (converters[i].from == version && strcmp(converters[i].kind, k->name) == 0) {
                f = converters[i].f;
            }
        }
        if (f == NULL) {
            return err_set(e, ERR_UNSUPPORTED, k->prefix,
                           "No converter leads from version %u of %s to %u.", version, k->name,
                           version + 1);
        }
        ERR_TRY(f(object, e));
    }
    return ERR_OK;
}
