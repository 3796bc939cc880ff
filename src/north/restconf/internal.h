// SPDX-License-Identifier: Apache-2.0
/* What the files of this folder share. */
#ifndef NORTH_RESTCONF_INTERNAL_H
#define NORTH_RESTCONF_INTERNAL_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/http_auth.h"
#include "core/rights.h"
#include "north/restconf/errors.h"
#include "north/restconf/media.h"
#include "north/restconf/restconf.h"
#include "north/restconf/uri.h"

#define NS_RESTCONF "urn:ietf:params:xml:ns:yang:ietf-restconf"
#define NS_PATCH    "urn:ietf:params:xml:ns:yang:ietf-yang-patch"

enum {
    RC_HISTORY = 50,          /* commits whose time we know */
    RC_INLINE_BODY = 16384,   /* bodies up to this are decoded on the loop ... */
    RC_INLINE_OBJECT = 32768, /* ... and objects up to this printed there */
    RC_FIELDS_MAX = 16,
    RC_INPUT_MAX = 1 << 20, /* bytes of an operation's input: read on the loop */
    RC_BODY_FREE = 64 << 10 /* bytes of each body that are taken whatever others have sent */
};

struct restconf {
    struct restconf_config cfg;
    struct http_auth_config auth;
    const struct model *model;
    struct list requests;
    size_t body_bytes; /* of all requests */
    unsigned streams;
    struct list stream_clients;
    struct loop_timer *crowded; /* runs while requests wait for a printer */
    struct loop_timer *ended;   /* logins end by date as well */
    /* When commits were made, newest first; refreshed when the head moved. */
    struct commit_info *history;
    size_t n_history;
    uint64_t history_head;
    int64_t started_s;
    char boot[17]; /* event ids of another process are not ours */
    struct buf openapi;
    bool openapi_made;
};

struct request;
struct printer;

/* A request, from the handler's call until its peer is gone and nothing works for it any more.
 * Belongs to the loop; a worker has it alone while it works on it (`pending`). */
struct request {
    struct list link;
    struct restconf *rc;
    struct http_req *http; /* NULL: closed */
    unsigned pending;      /* jobs of workers and core that will come back to the loop */
    struct arena *arena;
    struct rc_uri uri;
    struct actor who;
    enum rc_media accept; /* of the answer */
    enum rc_media media;  /* of the body */
    struct buf body;
    size_t body_counted;
    struct http_auth_ticket *ticket;
    bool has_body_callback, done_reading, refused;
    char *base;           /* "https://host" for locations */
    struct target target; /* RC_DATA: where */
    struct snap *snap;
    struct printer *printer;
    struct change *change;
    struct yang_patch *patch;
    bool match_any; /* If-Match: * stands behind the generation that was set */
    enum commit_phase phase;
    bool waited;
    char *wait_text;
    struct call *call;
    size_t output_bytes;
    json_t *output; /* of a call that comes in parts */
};

/* ---- server.c: the request's life and its answers -------------------------------------------- */

/* Gives up one `pending`; false when nobody waits for the answer any more (and it may be gone). */
bool request_back(struct request *q);
/* Somebody else has installed callbacks on the connection's request: ours is over. */
void request_taken(struct request *q);
void answer_error(struct request *q, const struct err *e);
void answer_rc_error(struct request *q, const struct rc_error *er);
/* Error with another tag or status than the code's own. */
void answer_status(struct request *q, int status, const char *tag, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
struct fields {
    struct http_field f[RC_FIELDS_MAX];
    size_t n;
};
void field_add(struct fields *fs, const char *name, const char *value); /* value must live on */
void answer(struct request *q, int status, struct fields *fs, const char *content_type,
            const void *body, size_t n);
const char *request_base(struct request *q); /* "https://host:port" */

/* ---- conditions.c: entity tags, dates, preconditions ------------------------------------------
 */

/* Index that stands for the version of what q->target names in q->snap; 0: it is not there. */
uint64_t version_of(const struct request *q);
void etag_of(uint64_t version, bool xml, char out[32]);
void date_text(int64_t t, char out[40]); /* of Last-Modified */
void add_version_fields(struct request *q, struct fields *fs, uint64_t version, char etag[32],
                        char date[40]);
bool target_exists(struct request *q);
/* State that has a version all the same: it does not change while the process lives. */
bool is_constant(const struct request *q);
/* Evaluates the conditional headers. ERR_OK: go on; ERR_CONFLICT: 412; `*unmodified`: 304. */
enum err_code conditions(struct request *q, bool *unmodified, struct err *e);

/* ---- get.c ----------------------------------------------------------------------------------- */

void get_data(struct request *q);
void get_drained(struct request *q);
void get_closed(struct request *q);
/* The view that a user has of a snapshot: what may not be read is not there. */
struct filtered {
    const struct snap *snap;
    const struct actor *who;
};
struct doc *filtered_get(void *arg, const char *path);
struct doc *filtered_next(void *arg, const struct kind *k, const struct doc *after);
/* model_state provider; `arg` is the request; blocks, so from workers only. */
enum err_code state_get(void *arg, const struct node *node, const char *path, const char *wanted,
                        struct buf *json, struct err *e);

/* ---- edit.c, patch.c ------------------------------------------------------------------------- */

void make_room(void *arg); /* for the timer `crowded` */

enum { END_STREAMS_MS = 1000 };
void end_streams(void *arg); /* for the timer `ended`: those whose login is no longer good */
/* Might the requester change something at or below the target? */
bool may_change(const struct request *q, const struct snap *now, struct err *e);
void edit_data(struct request *q); /* POST, PUT, PATCH, DELETE of data; the body is here */
/* weft-commit and its status; ETag and Last-Modified when something changed and is there still. */
void commit_fields(struct request *q, struct fields *fs);
enum err_code patch_build(struct request *q, struct err *e);
void patch_answer(struct request *q); /* after the change */

/* ---- operation.c ----------------------------------------------------------------------------- */

void run_operation(struct request *q);

/* ---- meta.c ---------------------------------------------------------------------------------- */

void get_host_meta(struct request *q);
void get_api(struct request *q);
void get_operations(struct request *q);
void get_library_version(struct request *q);
void get_schema(struct request *q);
/* JSON of ietf-restconf-monitoring:restconf-state and ietf-yang-library; false: not ours. */
bool meta_state(struct request *q, const struct node *node, struct buf *json);

/* ---- openapi.c ------------------------------------------------------------------------------- */

void get_openapi(struct request *q);
void openapi_build(struct buf *out);

/* ---- stream.c -------------------------------------------------------------------------------- */

void get_stream(struct request *q);

#endif
