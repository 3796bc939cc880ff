// SPDX-License-Identifier: Apache-2.0
/*
 * What a Junos device answers, read by local names: the namespaces have the release in them and
 * vary. Pure; fuzzed. Everything that a caller keeps is copied out of the arena.
 */
#ifndef PHONE_HOME_PLATFORM_JUNOS_ANSWER_H
#define PHONE_HOME_PLATFORM_JUNOS_ANSWER_H

#include "net/dom.h"
#include "phone-home/platform.h"

enum { JUNOS_ANSWER_MAX = 4 << 20 /* bytes of one message */ };

/* What is known of the device; filled by the functions below, one answer after another. */
struct junos_state {
    char serial[CMS_SERIAL_MAX + 1], model[SZTP_NAME_MAX + 1], os_name[SZTP_NAME_MAX + 1],
        os_version[SZTP_NAME_MAX + 1];
    size_t n_members; /* 0: no virtual chassis */
    struct platform_member members[SZTP_MEMBERS_MAX];
    int own;         /* the member that answers, marked by it; -1: none is */
    bool phone_home; /* the configuration has [system phone-home] */
    bool root_set;   /* and a password of root: somebody configured it */
    bool frozen;     /* and our group */
};

/* The name of the group, and how the comments of our commits begin. */
#define JUNOS_GROUP "weft-phone-home"

/* The first element below `d`, however deep, of that name in any namespace; NULL: none. */
const struct dom *junos_find(const struct dom *d, const char *name);

/* `p` as the server's hello. */
enum err_code junos_hello_parse(const void *p, size_t n, struct err *e);
/* `p` as the answer to the RPC called `rpc` with that message-id. Errors name the RPC and what the
 * device says: ERR_MALFORMED no answer to it; ERR_LOCKED, ERR_REFUSED an <rpc-error> or <xnm:error>
 * anywhere in it. `secret`: what the device quotes of our request is left out of the error.
 * `warnings` (may be NULL) gets a line for each warning. */
enum err_code junos_reply_parse(const void *p, size_t n, const char *rpc, uint64_t id, bool secret,
                                struct arena *a, const struct dom **out, struct buf *warnings,
                                struct err *e);

/* Each takes one answer; ERR_INCOMPLETE names what is missing, and nothing of `s` has changed. */
enum err_code junos_read_system(const struct dom *reply, struct junos_state *s, struct err *e);
enum err_code junos_read_members(const struct dom *reply, struct junos_state *s, struct err *e);
/* Versions of all members, or of the one device. */
enum err_code junos_read_versions(const struct dom *reply, struct junos_state *s, struct err *e);
enum err_code junos_read_configuration(const struct dom *reply, struct junos_state *s,
                                       struct err *e);

/* Was it done? By <package-result> and by what was printed (ERR_REFUSED with its end); and for what
 * has a word of success, ERR_INCOMPLETE when that is missing. */
enum err_code junos_read_output(const struct dom *reply, const char *rpc, struct err *e);
enum err_code junos_read_done(const struct dom *reply, const char *rpc, struct err *e);

/* Our last commit among those that the device remembers. */
enum junos_commit { JUNOS_NONE, JUNOS_APPLY, JUNOS_CONFIRM, JUNOS_ROLLBACK };
struct junos_history {
    enum junos_commit newest; /* the newest commit of all, when it is one of ours */
    enum junos_commit last;   /* the last apply or rollback */
    unsigned at;              /* its number, for rollback */
};
enum err_code junos_read_history(const struct dom *reply, struct junos_history *out, struct err *e);

/* How a configuration that was conveyed is written (PH-061, PH-063). */
enum junos_format { JUNOS_XML, JUNOS_TEXT, JUNOS_SET };
/* Finds it out, where an XML one's document element begins, and how that says it is to be loaded
 * (its attribute `operation`: "merge", "override", "replace"; NULL: it does not). ERR_MALFORMED,
 * ERR_INVALID. */
enum err_code junos_config_parse(const void *p, size_t n, enum junos_format *format, size_t *at,
                                 const char **action, struct err *e);

#endif
