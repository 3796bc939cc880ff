// SPDX-License-Identifier: Apache-2.0
/* The agent's durable state: documents by key, in a log of its own (src/log). */
#ifndef BNG_STATE_H
#define BNG_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "bng/engine.h"

struct state; /* opaque */

enum err_code state_open(const char *path, struct state **out, struct err *err);
void state_close(struct state *s);
/* Gives every document to the engine. */
enum err_code state_load(struct state *s, struct bng_engine *e, struct err *err);
/* For the next commit; takes the reference, NULL deletes. */
void state_put(struct state *s, const char *key, json_t *doc);
/* Durable when it returns true; otherwise what was put stays for the next try. */
bool state_commit(struct state *s);
/* Folds and trims; for idle moments. */
void state_tidy(struct state *s);

#endif
