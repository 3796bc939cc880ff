// SPDX-License-Identifier: Apache-2.0
/*
 * Conveyed information (RFC 8572 section 6, module ietf-sztp-conveyed-info): redirect information
 * or onboarding information, as a struct, from and to JSON and XML. Both dialects of the server,
 * and the client whatever its source, work on this struct.
 */
#ifndef SZTP_CONVEYED_H
#define SZTP_CONVEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sztp/cms.h"

enum {
    SZTP_NAME_MAX = 255, /* bytes of names, versions, addresses */
    SZTP_URI_MAX = 2048,
    SZTP_SERVERS_MAX = 64,
    SZTP_URIS_MAX = 32,
    SZTP_HASHES_MAX = 8,
    SZTP_DOCUMENT_MAX = 16 << 20, /* of a whole document */
    SZTP_MEMBERS_MAX = 10,
};
enum sztp_form { SZTP_JSON, SZTP_XML };

enum sztp_hash { SZTP_SHA256, SZTP_SHA1, SZTP_MD5 }; /* the last two in the older dialect alone */
enum { SZTP_DIGEST_MAX = 32 };
struct sztp_verification {
    enum sztp_hash hash;
    uint8_t digest[SZTP_DIGEST_MAX]; /* 32, 20 or 16 octets */
};

struct sztp_server {
    char address[SZTP_NAME_MAX + 1]; /* host name or address */
    uint16_t port;                   /* 443 when not said */
    struct buf anchor;               /* CMS (degenerate SignedData); empty: none. In the older
                                        dialect one X.509 certificate in DER */
    bool port_said;
};

enum sztp_handling { SZTP_HANDLING_NONE, SZTP_MERGE, SZTP_REPLACE };
enum sztp_role { SZTP_ROLE_NONE, SZTP_MASTER, SZTP_BACKUP, SZTP_LINECARD };

/* Virtual chassis topology (PH-020..025, PH-117). */
struct sztp_topology {
    bool present; /* minimum: this is to be a chassis */
    bool strict;
    bool exact;       /* exact-match: members that are not listed are an error in strict mode */
    size_t n_members; /* > 0: full */
    struct sztp_member {
        char serial[CMS_SERIAL_MAX + 1];
        int id;              /* 0..SZTP_MEMBERS_MAX - 1; -1: not said */
        enum sztp_role role; /* intended */
    } members[SZTP_MEMBERS_MAX];
};

struct conveyed {
    bool redirect;
    /* redirect information */
    struct sztp_server *servers;
    size_t n_servers;
    /* onboarding information */
    struct {
        bool present;
        char os_name[SZTP_NAME_MAX + 1], os_version[SZTP_NAME_MAX + 1]; /* "" not said */
        char (*uris)[SZTP_URI_MAX + 1];
        size_t n_uris;
        struct sztp_verification hashes[SZTP_HASHES_MAX];
        size_t n_hashes;
    } image;
    enum sztp_handling handling;
    bool has_pre, has_config, has_post;
    struct buf pre, config, post;  /* decoded */
    struct sztp_topology topology; /* our augmentation "weft-virtual-chassis" in JSON and XML of
                                      dialect B, the element of PH-117 in A */
};
void conveyed_free(struct conveyed *c);

/* A chassis that is to be strict without the list of its members is refused (PH-025), in either
 * dialect; "primary" is taken for "master". Lenient also bears XML written as it is in the leaf
 * `configuration`, and names of modules in other case.
 * Differing duplicates of a hash are refused, equal ones accepted (PH-306); members that the module
 * does not have are an error unless `lenient`. XML: no document type. `path` of the error is the
 * node. */
enum err_code conveyed_parse(enum sztp_form form, const void *p, size_t n, bool lenient,
                             struct conveyed *out, struct err *e);

/* What an answer leaves out for the clients of a type of device (PH-206). */
struct sztp_profile {
    bool omit_reporting_level, omit_os_fields, ci_as_data, progress_200;
};
extern const struct sztp_profile sztp_profile_default;
void conveyed_print(const struct conveyed *c, enum sztp_form form, const struct sztp_profile *p,
                    struct buf *out);

/* "a1:b2:..." or "a1b2...": lower-case hex with colons on output. */
void sztp_hash_print(const struct sztp_verification *v, struct buf *out);
enum err_code sztp_hash_parse(enum sztp_hash hash, const char *hex, struct sztp_verification *out,
                              struct err *e);
const char *sztp_role_name(enum sztp_role r); /* "master", "backup", "linecard", "" */
/* "Member 2 (PE3716100123, linecard): ", as logs begin what is about a member (PH-083). */
void sztp_member_text(const struct sztp_member *m, struct buf *out);

#endif
