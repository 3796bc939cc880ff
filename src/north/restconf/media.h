// SPDX-License-Identifier: Apache-2.0
/* Media types: what a body is, and what a client wants to get. Pure. RFC 8040 5.2, RFC 9110 12. */
#ifndef NORTH_RESTCONF_MEDIA_H
#define NORTH_RESTCONF_MEDIA_H

#include <stdbool.h>

#include "model/model.h"

enum rc_media {
    RC_MEDIA_NONE, /* no header, or nothing that fits */
    RC_MEDIA_JSON, /* application/yang-data+json */
    RC_MEDIA_XML,
    RC_MEDIA_PLAIN_JSON, /* application/json: for clients that ask for nothing else */
    RC_MEDIA_PLAIN_XML,
    RC_MEDIA_PATCH_JSON, /* application/yang-patch+json: requests only */
    RC_MEDIA_PATCH_XML,
    RC_MEDIA_EVENTS, /* text/event-stream */
    RC_MEDIA_OTHER   /* a type that is not ours */
};

const char *rc_media_name(enum rc_media m);
enum model_format rc_media_format(enum rc_media m);
bool rc_media_is_xml(enum rc_media m);
/* Content-Type of a request; parameters such as charset are passed over. */
enum rc_media rc_media_of(const char *content_type);
/* The best of JSON, XML and their plain names by Accept; what Accept leaves open goes to the form
 * of the request's body (RFC 8040 5.2), which is JSON when there is none. RC_MEDIA_NONE: nothing
 * that we can make is acceptable. */
enum rc_media rc_media_accept(const char *accept, enum rc_media body);
/* Is a type such as text/event-stream acceptable? */
bool rc_media_accepts(const char *accept, const char *type);

#endif
