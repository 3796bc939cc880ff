// SPDX-License-Identifier: Apache-2.0
/*
 * What one object costs, at the layer of src/model: parsed, checked and packed on one core. Built
 * twice, over a module with 2 kinds and one with 400 (bench/model_kinds.py); the figures must be
 * alike. Floor: jansson reading and writing the same text. Rival: libyang validating the object in
 * its tree, which instantiates the defaults of every sibling container.
 */
#include <jansson.h>
#include <libyang/libyang.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "model/internal.h"

static const char thing[] =
    "{\"name\":\"a\",\"shortest\":20,\"longest\":27,\"prefix\":[{\"prefix\":\"192.0.2.0/24\","
    "\"part\":[{\"prefix\":\"192.0.2.32/27\",\"owner\":\"bng-1\"}]},{\"prefix\":\"10.0.0.0/20\"}]}";
static const char plain[] = "{\"name\":\"a\",\"threshold\":200,\"note\":\"an ordinary note\"}";

enum { ROUNDS = 20000 };

/* Time on the processor, not on the wall: the machine may be busy with other things. */
static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void report(const char *what, int64_t start, size_t rounds) {
    printf("  %-44s %8.2f us\n", what, (double)(now() - start) / 1000.0 / (double)rounds);
}

static void parse(const struct model *m, const struct kind *k, const char *json, const char *what) {
    struct err e;
    size_t len = strlen(json);
    int64_t start = now();
    for (int i = 0; i < ROUNDS; i++) {
        struct doc *d = NULL;
        if (doc_parse(m, k, json, len, &d, &e) != ERR_OK) {
            fprintf(stderr, "%s: %s\n", e.path, e.text);
            exit(1);
        }
        doc_drop(d);
    }
    report(what, start, ROUNDS);
}

static void floor_json(const char *json) {
    size_t len = strlen(json);
    int64_t start = now();
    for (int i = 0; i < ROUNDS; i++) {
        json_t *v = json_loadb(json, len, 0, NULL);
        free(json_dumps(v, JSON_COMPACT));
        json_decref(v);
    }
    report("floor: jansson reads and writes it", start, ROUNDS);
}

static void rival(const struct model *m, const char *module) {
    char text[1024];
    snprintf(text, sizeof text, "{\"%s:group-0\":{\"inner\":{\"thing\":[%s]}}}", module, thing);
    int rounds = ROUNDS / 100;
    int64_t start = now();
    for (int i = 0; i < rounds; i++) {
        struct lyd_node *tree = NULL;
        if (lyd_parse_data_mem(m->ctx, text, LYD_JSON, LYD_PARSE_STRICT, LYD_VALIDATE_PRESENT,
                               &tree) != LY_SUCCESS) {
            fprintf(stderr, "%s\n", ly_errmsg(m->ctx));
            exit(1);
        }
        lyd_free_all(tree);
    }
    report("rival: libyang parses and validates it", start, (size_t)rounds);
}

int main(void) {
    struct model *m;
    struct err e;
    size_t n;
    int64_t start = now();
    if (model_load(&m, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct kind *const *kinds = model_kinds(&n);
    const struct kind *first = NULL, *simple = NULL;
    for (size_t i = 0; i < n; i++) {
        first = strcmp(kinds[i]->short_name, "thing-0") == 0 ? kinds[i] : first;
        simple = strcmp(kinds[i]->short_name, "plain-0") == 0 ? kinds[i] : simple;
    }
    if (first == NULL || simple == NULL) {
        return 1;
    }
    printf("src/model, one object on one core, %zu kinds loaded\n", n);
    printf("  %-44s %8.2f ms\n", "loading the model", (double)(now() - start) / 1e6);
    parse(m, simple, plain, "plain object: parse, check, pack");
    floor_json(plain);
    parse(m, first, thing, "object with lists and a must: the same");
    floor_json(thing);
    rival(m, first->module);
    model_free(m);
    return 0;
}
