// SPDX-License-Identifier: Apache-2.0
/* An instance path, and after a line break a fields expression. */
#include "model_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_load();
    char *path = mem_alloc(size + 1);
    memcpy(path, data, size);
    char *fields = strchr(path, '\n');
    if (fields != NULL) {
        *fields++ = '\0';
    }
    struct arena *a = arena_new();
    struct target t, again;
    struct err e = {0};
    if (path_parse(fuzz_model, path, a, &t, &e) == ERR_OK) {
        CHECK(path_parse(fuzz_model, t.path, a, &again, &e) == ERR_OK);
        CHECK(strcmp(t.path, again.path) == 0 && t.node == again.node);
        if (t.is_object) {
            CHECK(path_kind(t.object) == t.kind);
        }
    } else {
        CHECK(e.text[0] != '\0');
    }
    struct print_options o = {.fields = fields, .content = CONTENT_ALL};
    struct buf out = BUF_INIT;
    model_print(fuzz_model, &fuzz_view, NULL, path, &o, model_write_buf, &out, &e);
    struct model_edit edit = {.op = EDIT_REMOVE, .target = path};
    fuzz_edit(&edit);
    edit = (struct model_edit){
        .op = EDIT_MERGE, .target = path, .body = "1", .len = 1, .format = FORMAT_VALUE};
    fuzz_edit(&edit);
    path_kind(path);
    buf_free(&out);
    arena_free(a);
    mem_free(path);
    return 0;
}
