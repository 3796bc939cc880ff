// SPDX-License-Identifier: Apache-2.0
/*
 * What is to be decided about the members of a virtual chassis, as functions without memory: the
 * table PH-034, which members a run is for, what comes next in the upgrade (PH-042..044), what
 * became of a member that was rebooted. The engine does what they say.
 */
#ifndef PHONE_HOME_CHASSIS_H
#define PHONE_HOME_CHASSIS_H

#include "phone-home/record.h"

enum chassis_way {
    CHASSIS_STANDALONE, /* the primary alone (PH-024) */
    CHASSIS_FOUND,      /* the members that are found (PH-030) */
    CHASSIS_LISTED,     /* those of the list, each of them (PH-031) */
    CHASSIS_MALFORMED,  /* strict, and no list (PH-025) */
};
/* PH-034: by what the response says of the topology. */
enum chassis_way chassis_way(const struct sztp_topology *t);

/* How the members that are there differ from the list of a response. */
struct chassis_difference {
    size_t n_missing, n_unexpected;
    const struct sztp_member *missing[SZTP_MEMBERS_MAX]; /* listed, and not there or not up */
    const struct platform_member *unexpected[SZTP_MEMBERS_MAX]; /* there, and not listed */
};
void chassis_compare(const struct sztp_topology *t, const struct platform_member *live, size_t n,
                     struct chassis_difference *out);

/* The member table of a run. CHASSIS_STANDALONE: the own member; FOUND: all that are up; LISTED:
 * those of the list that are up (unlisted ones are left as they are, PH-035). The own one is always
 * among them. */
void chassis_plan(enum chassis_way way, const struct sztp_topology *t,
                  const struct platform_identity *own, const struct platform_member *live, size_t n,
                  struct record *r);

/* The image is what `version` of `os_name` is. With a version in the response: the same; without
 * (the older dialect): its file's name has the version as a word of it. */
bool chassis_same_image(const struct conveyed *info, const char *name, const char *os_name,
                        const char *version);

const struct platform_member *chassis_live(const struct platform_member *live, size_t n,
                                           const char *serial);
/* The one member of a device that is no chassis. */
void chassis_alone(const struct platform_identity *own, struct platform_member *out);
/* Who could take over from the own member now: its backup, and it is up. */
const struct platform_member *chassis_heir(const struct platform_member *live, size_t n,
                                           const char *own_serial);

/* What comes next (PH-042, PH-044): linecards one after another in the order of their numbers, then
 * all reboot at once and are awaited; then the backup; then the primary. The own member comes last
 * whatever it was, as it can't await itself. */
enum chassis_todo { TODO_NOTHING, TODO_INSTALL, TODO_REBOOT, TODO_WAIT };
struct chassis_next {
    enum chassis_todo todo;
    enum record_stage stage;
    bool own;  /* of the own member */
    bool more; /* INSTALL: another follows before the reboot */
    struct record_member *members[SZTP_MEMBERS_MAX]; /* INSTALL: one; REBOOT, WAIT: those */
    size_t n;
};
void chassis_next(struct record *r, const char *own_serial, struct chassis_next *out);

/* What a member that was rebooted is seen to be. */
enum chassis_seen {
    SEEN_AWAY,     /* not there, not up, or another device in its place */
    SEEN_UPGRADED, /* up with the image */
    SEEN_BEFORE,   /* up with the former version, and it was never seen to be away */
    SEEN_OLD,      /* came back with the former version */
};
enum chassis_seen chassis_seen(struct record_member *m, const struct platform_member *live,
                               size_t n, const struct conveyed *info, const char *image_name,
                               const char *os_name);
/* Every member failed with this result: the server is of no use (PH-084). */
bool chassis_all_failed(const struct record *r, enum record_result result);

/* The messages of PH-082. */
#define VC_INSTALLED_NEXT                                                                          \
    "Successfully installed downloaded image. Initiating image installation on next member."
#define VC_INSTALLED_REBOOT "Successfully installed downloaded image. Initiating member reboot."
#define VC_INSTALL_FAILED                                                                          \
    "Image failed to install on the member. Giving up and trying a different phone-home-server."
#define VC_REBOOTING                                                                               \
    "Reboot initiated for Line Card members. Waiting for the members to come back up."
#define VC_SAME             "No upgrade required."
#define VC_UPGRADED         "Successfully upgraded."
#define VC_DETECTED         "Member detected and successfully upgraded."
#define VC_FAILED           "Upgrade failed !!!"
#define VC_DETECTED_FAILED  "Member detected but upgrade failed !!!"
#define VC_NOT_DETECTED     "Did not come up post image upgrade"
#define VC_STRICT_BOOTSTRAP "VC member bootstrap failure detected with Strict provisioning set."
#define VC_STRICT_DETECTION "VC with detection failed members and Strict provisioning set."

#endif
