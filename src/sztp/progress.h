// SPDX-License-Identifier: Apache-2.0
/*
 * What devices report: the progress types of RFC 8572 section 7, and the notification types of the
 * older dialect with those of virtual chassis (PH-082, PH-085, PH-116).
 */
#ifndef SZTP_PROGRESS_H
#define SZTP_PROGRESS_H

#include <stdbool.h>

/* X(name, wire name, terminal) */
#define SZTP_PROGRESS(X)                                                                           \
    X(BOOTSTRAP_INITIATED, "bootstrap-initiated", 0)                                               \
    X(PARSING_INITIATED, "parsing-initiated", 0)                                                   \
    X(PARSING_WARNING, "parsing-warning", 0)                                                       \
    X(PARSING_ERROR, "parsing-error", 1)                                                           \
    X(PARSING_COMPLETE, "parsing-complete", 0)                                                     \
    X(BOOT_IMAGE_INITIATED, "boot-image-initiated", 0)                                             \
    X(BOOT_IMAGE_WARNING, "boot-image-warning", 0)                                                 \
    X(BOOT_IMAGE_ERROR, "boot-image-error", 1)                                                     \
    X(BOOT_IMAGE_MISMATCH, "boot-image-mismatch", 0)                                               \
    X(BOOT_IMAGE_INSTALLED_REBOOTING, "boot-image-installed-rebooting", 1)                         \
    X(BOOT_IMAGE_COMPLETE, "boot-image-complete", 0)                                               \
    X(PRE_SCRIPT_INITIATED, "pre-script-initiated", 0)                                             \
    X(PRE_SCRIPT_WARNING, "pre-script-warning", 0)                                                 \
    X(PRE_SCRIPT_ERROR, "pre-script-error", 1)                                                     \
    X(PRE_SCRIPT_COMPLETE, "pre-script-complete", 0)                                               \
    X(CONFIG_INITIATED, "config-initiated", 0)                                                     \
    X(CONFIG_WARNING, "config-warning", 0)                                                         \
    X(CONFIG_ERROR, "config-error", 1)                                                             \
    X(CONFIG_COMPLETE, "config-complete", 0)                                                       \
    X(POST_SCRIPT_INITIATED, "post-script-initiated", 0)                                           \
    X(POST_SCRIPT_WARNING, "post-script-warning", 0)                                               \
    X(POST_SCRIPT_ERROR, "post-script-error", 1)                                                   \
    X(POST_SCRIPT_COMPLETE, "post-script-complete", 0)                                             \
    X(BOOTSTRAP_WARNING, "bootstrap-warning", 0)                                                   \
    X(BOOTSTRAP_ERROR, "bootstrap-error", 1)                                                       \
    X(BOOTSTRAP_COMPLETE, "bootstrap-complete", 1)                                                 \
    X(INFORMATIONAL, "informational", 0)
enum sztp_progress {
#define X(name, text, terminal) SZTP_##name,
    SZTP_PROGRESS(X) SZTP_PROGRESS_COUNT
#undef X
};
const char *sztp_progress_name(enum sztp_progress t);
bool sztp_progress_terminal(enum sztp_progress t);
bool sztp_progress_parse(const char *name, enum sztp_progress *out);

/* Notification types of the older dialect. X(name, wire name, has member, nearest progress type
 * when the run goes on, the one when it ends) (spec 5.3) */
#define SZTP_NOTIFICATIONS(X)                                                                      \
    X(BOOTSTRAP_INITIATED, "bootstrap-initiated", 0, BOOTSTRAP_INITIATED, BOOTSTRAP_INITIATED)     \
    X(VALIDATION_ERROR, "validation-error", 0, PARSING_ERROR, PARSING_ERROR)                       \
    X(SIGNATURE_VALIDATION_ERROR, "signature-validation-error", 0, PARSING_ERROR, PARSING_ERROR)   \
    X(IMAGE_MISMATCH, "image-mismatch", 0, BOOT_IMAGE_MISMATCH, BOOT_IMAGE_MISMATCH)               \
    X(IMAGE_DOWNLOAD_ERROR, "image-download-error", 0, BOOT_IMAGE_WARNING, BOOT_IMAGE_ERROR)       \
    X(CONFIG_WARNING, "config-warning", 0, CONFIG_WARNING, CONFIG_WARNING)                         \
    X(CONFIG_ERROR, "config-error", 0, CONFIG_ERROR, CONFIG_ERROR)                                 \
    X(SCRIPT_WARNING, "script-warning", 0, PRE_SCRIPT_WARNING, PRE_SCRIPT_WARNING)                 \
    X(SCRIPT_ERROR, "script-error", 0, PRE_SCRIPT_ERROR, PRE_SCRIPT_ERROR)                         \
    X(CONFIGURATION_APPLIED, "configuration-applied", 0, CONFIG_COMPLETE, CONFIG_COMPLETE)         \
    X(CONFIGURATION_FAILED, "configuration-failed", 0, CONFIG_ERROR, CONFIG_ERROR)                 \
    X(BOOTSTRAP_COMPLETE, "bootstrap-complete", 0, BOOTSTRAP_COMPLETE, BOOTSTRAP_COMPLETE)         \
    X(BOOTSTRAP_FAILED, "bootstrap-failed", 0, BOOTSTRAP_ERROR, BOOTSTRAP_ERROR)                   \
    X(INFORMATIONAL, "informational", 0, INFORMATIONAL, INFORMATIONAL)                             \
    X(VC_IMAGE_INSTALLED, "vc-member-image-installed", 1, INFORMATIONAL,                           \
      BOOT_IMAGE_INSTALLED_REBOOTING)                                                              \
    X(VC_INSTALL_FAILED, "vc-member-image-installation-failed", 1, BOOT_IMAGE_WARNING,             \
      BOOT_IMAGE_ERROR)                                                                            \
    X(VC_REBOOT, "vc-member-reboot-initiated", 1, INFORMATIONAL, BOOT_IMAGE_INSTALLED_REBOOTING)   \
    X(VC_UPGRADED, "vc-member-upgrade-success", 1, INFORMATIONAL, BOOT_IMAGE_COMPLETE)             \
    X(VC_UPGRADE_FAILED, "vc-member-upgrade-failed", 1, BOOT_IMAGE_WARNING, BOOT_IMAGE_ERROR)      \
    X(VC_DETECTION_FAILED, "vc-member-detection-failed", 1, BOOT_IMAGE_WARNING, BOOT_IMAGE_ERROR)  \
    X(VC_BOOTSTRAP_FAILED, "vc-bootstrap-failed", 0, BOOTSTRAP_ERROR, BOOTSTRAP_ERROR)
enum sztp_notification {
#define X(name, text, member, goes_on, ends) SZTP_N_##name,
    SZTP_NOTIFICATIONS(X) SZTP_NOTIFICATION_COUNT
#undef X
};
const char *sztp_notification_name(enum sztp_notification t);
bool sztp_notification_member(enum sztp_notification t);
bool sztp_notification_parse(const char *name, enum sztp_notification *out);
enum sztp_progress sztp_notification_progress(enum sztp_notification t, bool ends);

#endif
