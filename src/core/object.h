// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration objects in memory: immutable, reference-counted, in a persistent ordered tree. A
 * write copies the path to the root, so a snapshot costs one reference, the last commits stay at
 * hand for rollback and compare, and readers need no lock.
 */
#ifndef CORE_OBJECT_H
#define CORE_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/model.h"

struct object {
    _Atomic uint32_t refs;
    struct doc *doc;   /* kind, path, JSON, packed struct, references */
    char *owner;       /* NULL: the operator; else the path of the object that made it */
    uint64_t created;  /* log index */
    uint64_t modified; /* log index: the generation; shown as ETag */
};

struct object *object_new(struct doc *doc, const char *owner, uint64_t created, uint64_t modified);
struct object *object_hold(const struct object *o);
void object_release(struct object *o); /* NULL is allowed */

/* The stored form: versioned record around the document's JSON. */
void object_encode(const struct object *o, struct buf *out);
enum err_code object_decode(const struct model *m, const char *path, const void *p, size_t n,
                            uint64_t modified, struct object **out, struct err *e);

struct snap; /* immutable */
struct snap *snap_empty(void);
struct snap *snap_hold(const struct snap *s);
void snap_release(struct snap *s);
/* A new snapshot with `o` put in (replacing the one with its path), or with `path` removed. The
 * old one stays as it is. Takes no ownership of arguments. */
struct snap *snap_put(const struct snap *s, const struct object *o);
struct snap *snap_del(const struct snap *s, const struct kind *kind, const char *path);
/* Takes `s` over and gives it back changed, in place where nobody else can see it: `old`, which is
 * in it (or NULL), gives way to `o` (NULL: to nothing). */
struct snap *snap_replace(struct snap *s, const struct object *old, const struct object *o);
/* The log index it stands for. */
uint64_t snap_index(const struct snap *s);
void snap_set_index(struct snap *s, uint64_t index); /* only while nobody else holds it */
/* The same objects under another index. */
struct snap *snap_at_index(const struct snap *s, uint64_t index);
size_t snap_count(const struct snap *s);

/* Borrowed: valid as long as the snapshot is held. */
const struct object *snap_get(const struct snap *s, const char *path);
const struct object *snap_find(const struct snap *s, const struct kind *k, const char *path);
/* The first object in schema order whose (kind, path) is after `after` (NULL: the first of all). */
const struct object *snap_next(const struct snap *s, const struct object *after);
/* First object of a kind, or NULL; go on with snap_next until the kind changes. */
const struct object *snap_first_of(const struct snap *s, const struct kind *kind);
/* Calls fn for each path whose object differs; shares structure, so cost follows the difference. */
void snap_diff(const struct snap *a, const struct snap *b,
               void (*fn)(const struct object *in_a, const struct object *in_b, void *arg),
               void *arg);

#endif
