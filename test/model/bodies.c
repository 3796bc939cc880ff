// SPDX-License-Identifier: Apache-2.0
/* bodies DIR: prints a datastore in every machine format into DIR, for yanglint to judge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"
#include "model/model.h"

static const char body[] =
    "{\"weft-apm:apm\":{\"inet-pool\":{\"partition\":[{\"name\":\"a\",\"min-prefix-len\":20,"
    "\"max-prefix-len\":27,\"prefix\":[{\"prefix\":\"192.0.2.0/"
    "24\",\"reserved-prefix\":[{\"prefix\":"
    "\"192.0.2.32/27\",\"entity\":\"e\",\"pool-domain\":\"d\"}]},{\"prefix\":\"10.0.0.0/20\"}]}]},"
    "\"pool-domain-profile\":[{\"name\":\"p\",\"apportion-threshold\":200,\"reclaim-threshold\":"
    "457,"
    "\"auto-reclamation\":{\"active\":\"window\",\"window-start\":\"04:00-0500\"}}],"
    "\"entity-match\":[{\"system-id\":\"e\",\"pool-domain-profile\":\"p\"}]},"
    "\"weft-system:system\":{\"settings\":{},\"role\":[{\"name\":\"all\",\"right\":[{\"path\":\"/"
    "\","
    "\"access\":\"read write exec\"}]}],\"user\":[{\"name\":\"admin\",\"role\":[\"all\"]}],"
    "\"logging\":{\"level\":\"warn\"}},"
    "\"weft-toy:toys\":{\"box\":[{\"name\":\"b\",\"size\":\"18446744073709551615\",\"lock\":"
    "\"<&>\\\"x\"}],\"toy\":[{\"maker\":\"A B/C\",\"number\":7,\"colour\":\"dark-blue\",\"box\":"
    "\"b\",\"price\":\"1.50\",\"net\":\"2001:DB8::/32\",\"fragile\":[null],\"moods\":\"loud "
    "happy\","
    "\"level\":\"top\",\"tag\":[\"b\",\"a\"],\"step\":[3,1],\"turns\":4,\"key-size\":2,\"box-art\":"
    "{\"artist\":\"\\u00e9\"},\"favourite\":\"w\",\"part\":[{\"name\":\"w\",\"screw\":[{\"size\":1}"
    "]}"
    "]}]}}";

static struct doc *docs[64];
static size_t n_docs;

static struct doc *get(void *arg, const char *path) {
    for (size_t i = 0; i < n_docs; i++) {
        if (strcmp(docs[i]->path, path) == 0) {
            return doc_hold(docs[i]);
        }
    }
    return NULL;
}

static struct doc *next(void *arg, const struct kind *k, const struct doc *after) {
    bool seen = after == NULL;
    for (size_t i = 0; i < n_docs; i++) {
        if (seen && docs[i]->kind == k) {
            return doc_hold(docs[i]);
        }
        seen = seen || docs[i] == after;
    }
    return NULL;
}

static enum err_code keep(void *arg, struct doc *old, struct doc *new_doc, struct err *e) {
    docs[n_docs++] = doc_hold(new_doc);
    return ERR_OK;
}

static enum err_code state(void *arg, const struct node *n, const char *path, const char *wanted,
                           struct buf *json, struct err *e) {
    if (strcmp(path, "/weft-apm:apm/state") != 0) {
        return ERR_ABSENT;
    }
    buf_str(json,
            "{\"statistics\":{\"since\":\"2024-05-24T15:06:22Z\",\"allocations\":\"5\"},\"entity\":"
            "[{\"id\":\"e\",\"status\":\"reachable\",\"address\":\"192.0.2.1\",\"pool-domain\":"
            "[{\"name\":\"d\",\"free-addresses\":\"731\",\"pool\":[{\"name\":\"d\",\"prefix\":"
            "\"192.0.2.32/27\",\"state\":\"active\"}]}]}],\"alarm\":[{\"entity\":\"e\","
            "\"id\":\"a1\",\"pool-domain\":\"d\",\"type\":\"reclaim\",\"attempts\":1}]}");
    return ERR_OK;
}

static void write_file(const struct model *m, const char *dir, const char *name,
                       struct print_options o) {
    static const struct model_view view = {get, next, NULL};
    static const struct model_state states = {state, NULL};
    struct buf out = BUF_INIT;
    struct err e;
    char path[1024];
    if (model_print(m, &view, &states, "/", &o, model_write_buf, &out, &e) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e.path, e.text);
        exit(1);
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(out.data, 1, out.len, f) != out.len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    buf_free(&out);
}

int main(int argc, char **argv) {
    struct model *m;
    struct err e;
    struct arena *a = arena_new();
    struct model_view none = {get, next, NULL};
    struct model_edit edit = {.op = EDIT_MERGE, .target = "/", .body = body, .len = strlen(body)};
    if (argc != 2 || model_load(&m, &e) != ERR_OK ||
        model_edit(m, &none, &edit, a, keep, NULL, NULL, &e) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", e.path, e.text);
        return 1;
    }
    write_file(m, argv[1], "config.json", (struct print_options){.pretty = true});
    write_file(m, argv[1], "config.xml", (struct print_options){.format = FORMAT_XML});
    write_file(m, argv[1], "config-all.json", (struct print_options){.defaults = WD_REPORT_ALL});
    write_file(m, argv[1], "config-secrets.xml",
               (struct print_options){.format = FORMAT_XML, .secrets = true, .pretty = true});
    write_file(m, argv[1], "config-tagged.xml",
               (struct print_options){.format = FORMAT_XML, .defaults = WD_REPORT_ALL_TAGGED});
    write_file(m, argv[1], "config-tagged.json",
               (struct print_options){.defaults = WD_REPORT_ALL_TAGGED});
    write_file(m, argv[1], "data.json", (struct print_options){.content = CONTENT_ALL});
    write_file(m, argv[1], "data.xml",
               (struct print_options){.format = FORMAT_XML, .content = CONTENT_ALL});
    for (size_t i = 0; i < n_docs; i++) {
        doc_drop(docs[i]);
    }
    arena_free(a);
    model_free(m);
    return 0;
}
