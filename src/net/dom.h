// SPDX-License-Identifier: Apache-2.0
/*
 * An XML message (NETCONF, bootstrapping) as a tree: small, bounded, with namespaces resolved.
 * Document types are refused, so there are no entities to expand. Everything lives in the arena it
 * was parsed into.
 */
#ifndef NET_DOM_H
#define NET_DOM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define NS_NETCONF       "urn:ietf:params:xml:ns:netconf:base:1.0"
#define NS_NOTIFICATION  "urn:ietf:params:xml:ns:netconf:notification:1.0"
#define NS_MONITORING    "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
#define NS_WITH_DEFAULTS "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
#define NS_DEFAULT       "urn:ietf:params:xml:ns:netconf:default:1.0"
#define NS_NMDA          "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
#define NS_DATASTORES    "urn:ietf:params:xml:ns:yang:ietf-datastores"
#define NS_ORIGIN        "urn:ietf:params:xml:ns:yang:ietf-origin"
#define NS_YANG          "urn:ietf:params:xml:ns:yang:1"

enum { DOM_SOME = 1, DOM_ALL = 2 };
enum { DOM_DEPTH_MAX = 96, DOM_ELEMENTS_MAX = 2000000 };

struct dom_attr {
    const char *ns; /* "" none */
    const char *name, *value;
    struct dom_attr *next;
};

/* A namespace declaration on an element. */
struct dom_ns {
    const char *prefix; /* "" the default one */
    const char *uri;
    struct dom_ns *next;
};

struct dom {
    const char *ns; /* "" none */
    const char *name;
    const char *text; /* character data of an element without children; never NULL */
    struct dom_attr *attrs;
    struct dom_ns *declared;
    struct dom *parent, *child, *last_child, *next;
    unsigned line;
    unsigned char mark; /* of a filter: 0 left out, DOM_SOME, DOM_ALL */
};

/* ERR_MALFORMED with the line; ERR_TOO_BIG. */
enum err_code dom_parse(const void *p, size_t n, struct arena *a, struct dom **out, struct err *e);

bool dom_is(const struct dom *d, const char *ns, const char *name);
struct dom *dom_child(const struct dom *d, const char *ns, const char *name); /* NULL: none */
/* Text of that child; NULL when it is not there. */
const char *dom_child_text(const struct dom *d, const char *ns, const char *name);
const char *dom_attr(const struct dom *d, const char *ns, const char *name); /* NULL: none */
/* What a prefix means at `d`; NULL: nothing. */
const char *dom_prefix(const struct dom *d, const char *prefix, size_t n);

/* The element as text of its own, namespaces declared in it; attributes of NETCONF and of YANG are
 * left out. `keep` NULL: all children; else those for which it says yes. */
void dom_print(const struct dom *d, bool (*keep)(const struct dom *child, void *arg), void *arg,
               struct buf *out);
/* The same of data that we show: attributes of RFC 6243 and of RFC 8342 stay, those of ours. */
void dom_print_data(const struct dom *d, bool (*keep)(const struct dom *child, void *arg),
                    void *arg, struct buf *out);

#endif
