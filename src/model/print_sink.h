// SPDX-License-Identifier: Apache-2.0
/*
 * What printing comes down to: containers, lists, entries and leaves, one after the other, in any
 * of the formats. A plain container or list is written when the first thing inside it is, so empty
 * ones leave no trace.
 */
#ifndef MODEL_PRINT_SINK_H
#define MODEL_PRINT_SINK_H

#include "model/internal.h"

enum { SINK_FRAMES = 2 * MODEL_DEPTH_MAX + 40 };

struct sink_frame {
    const struct node *node; /* names inside are relative to its module; NULL: at the top */
    enum { FRAME_CONTAINER, FRAME_LIST, FRAME_ENTRY, FRAME_COVER, FRAME_SILENT } what;
    const json_t *entry;
    const char *name, *ns; /* FRAME_COVER */
    bool open, filled;
    size_t words; /* length of the words before it (SET) */
};

struct sink {
    const struct print_options *o;
    model_write write;
    void *arg;
    struct err *e;
    enum err_code rc; /* of the first write that failed; nothing is written after it */
    struct buf out, words;
    struct sink_frame frames[SINK_FRAMES];
    size_t n;
    unsigned indent;
};

void sink_init(struct sink *s, const struct print_options *o, model_write write, void *arg,
               struct err *e);
enum err_code sink_end(struct sink *s); /* writes what is left, frees */

/* `now`: write it even if nothing follows (presence containers, the target itself). */
void sink_container(struct sink *s, const struct node *n, bool now);
void sink_list(struct sink *s, const struct node *n);
void sink_entry(struct sink *s, const struct node *n, const json_t *entry);
/* An element that is no node of ours: "ietf-restconf:data". JSON shows `name`, XML what follows
 * its colon. */
void sink_cover(struct sink *s, const char *name, const char *ns, const struct node *context);
/* Nothing is written, but names inside are relative to `n`, and set lines carry its words. */
void sink_silent(struct sink *s, const struct node *n, const json_t *entry);
void sink_close(struct sink *s);
void sink_leaf(struct sink *s, const struct node *n, const json_t *v, bool is_default);
void sink_leaf_list(struct sink *s, const struct node *n, const json_t *values, bool is_default);

#endif
