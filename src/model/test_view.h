// SPDX-License-Identifier: Apache-2.0
/* For tests: a view over an array of documents, and an emit that changes it. */
#ifndef MODEL_TEST_VIEW_H
#define MODEL_TEST_VIEW_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"

struct test_store {
    struct doc *docs[4096];
    size_t n;
    size_t created, changed, deleted;
};

static inline size_t test_find(const struct test_store *s, const char *path) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->docs[i]->path, path) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static inline struct doc *test_get(void *arg, const char *path) {
    struct test_store *s = arg;
    size_t i = test_find(s, path);
    return i != SIZE_MAX ? doc_hold(s->docs[i]) : NULL;
}

static inline struct doc *test_next(void *arg, const struct kind *k, const struct doc *after) {
    struct test_store *s = arg;
    for (size_t i = 0; i < s->n; i++) {
        if (s->docs[i]->kind == k &&
            (after == NULL || path_cmp(k, s->docs[i]->path, k, after->path) > 0)) {
            return doc_hold(s->docs[i]);
        }
    }
    return NULL;
}

static inline enum err_code test_emit(void *arg, struct doc *old, struct doc *new_doc,
                                      struct err *e) {
    struct test_store *s = arg;
    size_t i = test_find(s, old != NULL ? old->path : new_doc->path);
    assert_true((i != SIZE_MAX) == (old != NULL));
    if (old == NULL) {
        s->created++;
        i = s->n++;
        assert_true(s->n <= 4096);
        while (i > 0 && path_cmp(s->docs[i - 1]->kind, s->docs[i - 1]->path, new_doc->kind,
                                 new_doc->path) > 0) {
            s->docs[i] = s->docs[i - 1];
            i--;
        }
        s->docs[i] = doc_hold(new_doc);
    } else if (new_doc == NULL) {
        s->deleted++;
        doc_drop(s->docs[i]);
        memmove(&s->docs[i], &s->docs[i + 1], (s->n - i - 1) * sizeof *s->docs);
        s->n--;
    } else {
        s->changed++;
        doc_drop(s->docs[i]);
        s->docs[i] = doc_hold(new_doc);
    }
    return ERR_OK;
}

static inline void test_clear(struct test_store *s) {
    for (size_t i = 0; i < s->n; i++) {
        doc_drop(s->docs[i]);
    }
    memset(s, 0, sizeof *s);
}

#endif
