// SPDX-License-Identifier: Apache-2.0
/* Shared by the model's fuzz targets: one loaded model and a view over a few objects. */
#ifndef FUZZ_MODEL_FUZZ_H
#define FUZZ_MODEL_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct model *fuzz_model;
static struct doc *fuzz_docs[2];

static inline void fuzz_load(void) {
    static const char box[] = "{\"name\":\"b\",\"size\":\"5\"}";
    static const char toy[] = "{\"maker\":\"m\",\"number\":1,\"tag\":[\"x\"],\"step\":[2,1],"
                              "\"part\":[{\"name\":\"w\",\"screw\":[{\"size\":1}]},{\"name\":"
                              "\"v\"}]}";
    struct err e;
    if (fuzz_model == NULL) {
        CHECK(model_load(&fuzz_model, &e) == ERR_OK);
        CHECK(doc_parse(fuzz_model, model_kind("weft-toy:box"), box, strlen(box), &fuzz_docs[0],
                        &e) == ERR_OK);
        CHECK(doc_parse(fuzz_model, model_kind("weft-toy:toy"), toy, strlen(toy), &fuzz_docs[1],
                        &e) == ERR_OK);
    }
}

static inline struct doc *fuzz_get(void *arg, const char *path) {
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(fuzz_docs[i]->path, path) == 0) {
            return doc_hold(fuzz_docs[i]);
        }
    }
    return NULL;
}

static inline struct doc *fuzz_next(void *arg, const struct kind *k, const struct doc *after) {
    for (size_t i = 0; i < 2; i++) {
        if (fuzz_docs[i]->kind == k && after == NULL) {
            return doc_hold(fuzz_docs[i]);
        }
    }
    return NULL;
}

static const struct model_view fuzz_view = {fuzz_get, fuzz_next, NULL};

/* Whatever was accepted must print and come back the same, as JSON and as XML. */
static inline void fuzz_round_trip(const struct doc *d) {
    struct err e;
    struct doc *again = NULL;
    CHECK(doc_parse(fuzz_model, d->kind, d->json, d->json_len, &again, &e) == ERR_OK);
    CHECK(doc_equal(d, again));
    doc_drop(again);
    CHECK(path_kind(d->path) == d->kind);
    for (int f = FORMAT_JSON; f <= FORMAT_TEXT; f++) {
        struct print_options o = {.format = (enum model_format)f, .secrets = true};
        struct buf out = BUF_INIT;
        CHECK(doc_print(fuzz_model, d, &o, &out, &e) == ERR_OK);
        buf_free(&out);
    }
}

static inline enum err_code fuzz_emit(void *arg, struct doc *old, struct doc *new_doc,
                                      struct err *e) {
    if (new_doc != NULL) {
        fuzz_round_trip(new_doc);
    }
    struct buf out = BUF_INIT;
    CHECK(doc_diff_text(fuzz_model, old, new_doc, FORMAT_TEXT, &out, e) == ERR_OK);
    CHECK(doc_diff_text(fuzz_model, old, new_doc, FORMAT_SET, &out, e) == ERR_OK);
    buf_free(&out);
    return ERR_OK;
}

static inline void fuzz_edit(const struct model_edit *edit) {
    struct arena *a = arena_new();
    struct err e = {0};
    enum err_code rc = model_edit(fuzz_model, &fuzz_view, edit, a, fuzz_emit, NULL, NULL, &e);
    CHECK(rc == ERR_OK || (e.code == rc && e.text[0] != '\0'));
    CHECK(rc != ERR_INTERNAL);
    arena_free(a);
}

/* The first byte chooses target and operation, the rest is the body of an edit and of an input. */
static inline void fuzz_body(const uint8_t *data, size_t size, enum model_format format) {
    static const char *const targets[] = {
        "/",
        "/weft-toy:toys",
        "/weft-toy:toys/toy=m,1",
        "/weft-toy:toys/toy=m,1/part=w",
        "/weft-toy:toys/toy=m,1/part",
        "/weft-toy:toys/box=b",
        "/weft-toy:toys/toy=m,1/tag",
        "/weft-apm:apm/inet-pool/partition",
    };
    fuzz_load();
    if (size < 1) {
        return;
    }
    char *body = mem_alloc(size);
    memcpy(body, data + 1, size - 1);
    struct model_edit edit = {.op = (enum edit_op)((data[0] >> 3) % 3),
                              .target = targets[data[0] & 7],
                              .child = (data[0] & 0x80) != 0,
                              .body = body,
                              .len = size - 1,
                              .format = format};
    fuzz_edit(&edit);
    struct arena *a = arena_new();
    struct rpc_input in;
    struct err e;
    rpc_input_parse(fuzz_model, model_rpc("weft-toy:show-toys"), body, size - 1, format, a, &in,
                    &e);
    arena_free(a);
    mem_free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
