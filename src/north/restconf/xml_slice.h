// SPDX-License-Identifier: Apache-2.0
/* Elements cut out of an XML document as text of their own: in-scope namespace declarations are
 * written into them. For bodies that wrap data (RFC 8072 value). Pure; fuzzed. */
#ifndef NORTH_RESTCONF_XML_SLICE_H
#define NORTH_RESTCONF_XML_SLICE_H

#include "base/buf.h"
#include "base/err.h"

struct xml_slice_ops {
    /* An element begins at `depth` (root: 0), its namespace is `ns` ("" none). Return true to get
     * it cut out as a whole by `slice` (its children are not reported then). */
    bool (*start)(void *arg, unsigned depth, const char *ns, const char *name);
    void (*slice)(void *arg, const char *text, size_t len);
    /* An element that was not cut out ends; `text` is its character data. */
    void (*end)(void *arg, unsigned depth, const char *ns, const char *name, const char *text);
};

/* ERR_MALFORMED with the line. Document type declarations and entities are refused. */
enum err_code xml_slice(const char *doc, size_t len, unsigned depth_max,
                        const struct xml_slice_ops *ops, void *arg, struct err *e);

#endif
