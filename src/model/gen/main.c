// SPDX-License-Identifier: Apache-2.0
/*
 * weft-model-gen: reads YANG modules at build time, checks our rules and writes the C tables and
 * structs that src/model and the services are built on.
 *
 *   weft-model-gen -p DIR... -h OUT.h -c OUT.c MODULE.yang...
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

int main(int argc, char **argv) {
    const char *header = NULL, *source = NULL;
    struct gen g = {0};
    if (ly_ctx_new(NULL, LY_CTX_SET_PRIV_PARSED | LY_CTX_DISABLE_SEARCHDIR_CWD, &g.ctx) !=
        LY_SUCCESS) {
        fprintf(stderr, "libyang can't be started\n");
        return 1;
    }
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "-p") == 0) {
            /* A folder that is not there holds no module; a missing module is told below. */
            if (access(argv[i + 1], X_OK) == 0) {
                ly_ctx_set_searchdir(g.ctx, argv[i + 1]);
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
    int status = 1;
    static const char *all_features[] = {"*", NULL};
    for (; i < argc; i++) {
        struct ly_in *in = NULL;
        struct lys_module *mod = NULL;
        bool ok = ly_in_new_filepath(argv[i], 0, &in) == LY_SUCCESS &&
                  lys_parse(g.ctx, in, LYS_IN_YANG, all_features, &mod) == LY_SUCCESS;
        ly_in_free(in, 0);
        if (!ok) {
            fprintf(stderr, "%s: not a valid module\n", argv[i]);
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
    ly_ctx_destroy(g.ctx);
    return status;
}
