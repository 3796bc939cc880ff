// SPDX-License-Identifier: Apache-2.0
/*
 * Documents of YANG data in JSON (RFC 7951) and XML, read and written by one code: JSON becomes the
 * same tree of elements that XML is (net/dom.h), so that what a body may hold is said once, in a
 * table. Inside src/sztp only.
 */
#ifndef SZTP_DOC_H
#define SZTP_DOC_H

#include <jansson.h>

#include "net/dom.h"
#include "sztp/conveyed.h"

enum { DOC_DEPTH_MAX = 16 }; /* of JSON; dom.h bounds XML */

enum doc_module {
    DOC_SERVER,   /* ietf-sztp-bootstrap-server */
    DOC_CONVEYED, /* ietf-sztp-conveyed-info */
    DOC_CSR,      /* ietf-sztp-csr */
    DOC_TYPES,    /* ietf-ztp-types */
    DOC_RESTCONF, /* ietf-restconf */
    DOC_VOUCHER,  /* ietf-voucher */
    DOC_WEFT,     /* weft-onboard */
    DOC_PRERFC,   /* the older dialect; XML alone, no module */
    DOC_CHASSIS,  /* what a chassis adds to it */
    DOC_MODULES
};

struct doc {
    enum sztp_form form;
    bool lenient; /* members that no table has, or null, are skipped; modules' names in any case */
    struct arena *a;
    json_t *json;
    struct dom *root;
};
/* The document's one top element as `root`. ERR_TOO_BIG over `max` bytes or nested too deep;
 * ERR_MALFORMED, duplicate members of JSON included. doc_free in either case. */
enum err_code doc_read(struct doc *d, enum sztp_form form, const void *p, size_t n, size_t max,
                       bool lenient, struct err *e);
void doc_free(struct doc *d);

/* Is it that node? */
bool doc_is(const struct doc *d, const struct dom *n, enum doc_module m, const char *name);

/* What a node may be. In JSON the kind of value is looked at as well. */
enum doc_kind {
    DOC_STRING = 1,
    DOC_NUMBER = 2, /* a string of digits is taken too when lenient */
    DOC_BOOL = 4,
    DOC_EMPTY = 8,
    DOC_TREE = 16,
    DOC_MANY = 32,     /* with one of the others: a list or leaf-list */
    DOC_MANDATORY = 64 /* ERR_MISSING */
};
struct doc_field {
    enum doc_module module;
    const char *name;
    unsigned kind;
};
/* Sorts the children of `n` by the table: got[i] is the (first) one of fields[i], or NULL. Others
 * are an error unless lenient, as is a second one of what is no list. */
enum err_code doc_fields(const struct doc *d, const struct dom *n, const struct doc_field *fields,
                         size_t n_fields, const struct dom **got, struct err *e);
/* The next of the same list; NULL: none. */
const struct dom *doc_next(const struct dom *n);

/* Fails with the node's path. */
enum err_code doc_fail(const struct dom *n, enum err_code code, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Values; each leaves `out` alone when `n` is NULL. A text may hold no control characters. */
enum err_code doc_text(const struct dom *n, char *out, size_t size, struct err *e);
enum err_code doc_uint(const struct dom *n, unsigned min, unsigned max, unsigned *out,
                       struct err *e);
enum err_code doc_bool(const struct dom *n, bool *out, struct err *e);
enum err_code doc_binary(const struct dom *n, size_t max, struct buf *out, struct err *e);
const char *doc_identity(const struct dom *n); /* without its prefix; "" when n is NULL */

/* ---- writing ------------------------------------------------------------------------------------
 */

struct doc_out {
    enum sztp_form form;
    struct buf *b;
    unsigned depth;
    struct doc_level {
        enum doc_module module;
        const char *name; /* of the element; of a list: of its entries */
        bool list, some;  /* some: something was written in it */
    } at[DOC_DEPTH_MAX];
};
void doc_begin(struct doc_out *o, enum sztp_form form, struct buf *b);
void doc_end(struct doc_out *o);
/* A container; names are not copied. Inside a list: an entry, `name` then is the list's. */
void doc_open(struct doc_out *o, enum doc_module m, const char *name);
void doc_close(struct doc_out *o);
void doc_list(struct doc_out *o, enum doc_module m, const char *name); /* until doc_close */
void doc_put(struct doc_out *o, enum doc_module m, const char *name, const char *text);
void doc_put_raw(struct doc_out *o, enum doc_module m, const char *name, const char *text);
void doc_put_empty(struct doc_out *o, enum doc_module m, const char *name);
void doc_put_binary(struct doc_out *o, enum doc_module m, const char *name, const void *p,
                    size_t n);
void doc_put_identity(struct doc_out *o, enum doc_module m, const char *name, enum doc_module of,
                      const char *identity);

#endif
