// SPDX-License-Identifier: Apache-2.0
/*
 * weft-model-gen: reads YANG modules at build time, checks our rules and writes the C tables and
 * structs that src/model and the services are built on.
 *
 *   weft-model-gen -p DIR... -h OUT.h -c OUT.c [-x MODULE.yang[:FEATURE,...]]... MODULE.yang...
 *
 * -x: a module that a dialect implements by code of its own, such as ietf-netconf. Its text is kept
 * and shown to clients, with what it imports; no table is made of it.
 *
 * Exit status 0: written; 1: a module is invalid or breaks a rule (nothing is written).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/gen/gen.h"

static FILE *open_out(const char *path) {
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    return f;
}

static void close_out(FILE *f, const char *path) {
    if (fclose(f) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
}

static int usage(void) {
    fprintf(stderr, "usage: weft-model-gen [-p DIR]... [-h OUT.h -c OUT.c] MODULE.yang...\n");
    return 1;
}

static bool parse(struct ly_ctx *ctx, const char *path, const char **features) {
    struct ly_in *in = NULL;
    bool ok = ly_in_new_filepath(path, 0, &in) == LY_SUCCESS &&
              lys_parse(ctx, in, LYS_IN_YANG, features, NULL) == LY_SUCCESS;
    ly_in_free(in, 0);
    if (!ok) {
        fprintf(stderr, "%s: not a valid module\n", path);
    }
    return ok;
}

/* "MODULE.yang:feature,feature" */
static bool parse_protocol(struct ly_ctx *ctx, char *arg) {
    enum { FEATURES_MAX = 16 };
    const char *features[FEATURES_MAX + 1] = {NULL};
    char *colon = strrchr(arg, ':'), *rest = NULL;
    size_t n = 0;
    if (colon != NULL) {
        *colon = '\0';
        for (char *f = strtok_r(colon + 1, ",", &rest); f != NULL && n < FEATURES_MAX;
             f = strtok_r(NULL, ",", &rest)) {
            features[n++] = f;
        }
    }
    return parse(ctx, arg, features);
}

static void search_in(struct gen *g, const char *folder) {
    /* A folder that is not there holds no module; a missing module is told below. */
    if (access(folder, X_OK) == 0) {
        ly_ctx_set_searchdir(g->ctx, folder);
        ly_ctx_set_searchdir(g->protocol, folder);
    }
}

int main(int argc, char **argv) {
    const char *header = NULL, *source = NULL;
    struct gen g = {0};
    if (ly_ctx_new(NULL, LY_CTX_SET_PRIV_PARSED | LY_CTX_DISABLE_SEARCHDIR_CWD, &g.ctx) !=
            LY_SUCCESS ||
        ly_ctx_new(NULL, LY_CTX_DISABLE_SEARCHDIR_CWD, &g.protocol) != LY_SUCCESS) {
        fprintf(stderr, "libyang can't be started\n");
        return 1;
    }
    int i = 1, status = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "-p") == 0) {
            search_in(&g, argv[i + 1]);
        } else if (strcmp(argv[i], "-x") == 0) {
            if (!parse_protocol(g.protocol, argv[i + 1])) {
                goto out;
            }
        } else if (strcmp(argv[i], "-h") == 0) {
            header = argv[i + 1];
        } else if (strcmp(argv[i], "-c") == 0) {
            source = argv[i + 1];
        } else {
            return usage();
        }
    }
    if (i >= argc || (header == NULL) != (source == NULL)) {
        return usage();
    }
    static const char *all_features[] = {"*", NULL};
    for (; i < argc; i++) {
        if (!parse(g.ctx, argv[i], all_features)) {
            goto out;
        }
    }
    g.a = arena_new();
    gen_walk(&g);
    gen_check(&g);
    if (g.n_errors > 0) {
        fprintf(stderr, "%u rule%s broken\n", g.n_errors, g.n_errors == 1 ? "" : "s");
        goto out;
    }
    if (header != NULL) {
        const char *base = strrchr(header, '/');
        FILE *f = open_out(header);
        gen_emit_header(&g, f);
        close_out(f, header);
        f = open_out(source);
        gen_emit_source(&g, f, base != NULL ? base + 1 : header);
        close_out(f, source);
    }
    status = 0;
out:
    for (size_t k = 0; k < g.n_nodes; k++) {
        mem_free(g.nodes[k]->children);
    }
    mem_free(g.nodes);
    mem_free(g.choices);
    mem_free(g.kinds);
    mem_free(g.rpcs);
    mem_free(g.notifications);
    mem_free(g.commands);
    arena_free(g.a);
    ly_ctx_destroy(g.protocol);
    ly_ctx_destroy(g.ctx);
    return status;
}
