// SPDX-License-Identifier: Apache-2.0
/* YANG Patch documents: XML when the first byte is '<', else JSON. */
#include <stdlib.h>
#include <string.h>

#include "north/restconf/yang_patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *a = arena_new();
    struct yang_patch p;
    struct err e;
    char *text = arena_alloc(a, size + 1); /* all of it: a NUL inside ends nothing */
    if (size > 0) {
        memcpy(text, data, size);
    }
    enum model_format f = size > 0 && data[0] == '<' ? FORMAT_XML : FORMAT_JSON;
    if (yang_patch_parse(text, size, f, a, &p, &e) == ERR_OK) {
        for (size_t i = 0; i < p.n_edits; i++) {
            const struct patch_edit *ed = &p.edits[i];
            if (ed->id == NULL || ed->target == NULL ||
                (ed->value != NULL && strlen(ed->value) != ed->value_len)) {
                abort();
            }
        }
    } else if (e.text[0] == '\0') {
        abort();
    }
    arena_free(a);
    return 0;
}
