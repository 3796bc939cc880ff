// SPDX-License-Identifier: Apache-2.0
/*
 * What devices spoke before RFC 8572 (dialect A, PH-110..117): a GET of the device's resource,
 * plain XML as the answer, notifications by POST.
 */
#ifndef SZTP_PRERFC_H
#define SZTP_PRERFC_H

#include "sztp/conveyed.h"
#include "sztp/message.h"
#include "sztp/progress.h"

#define PRERFC_NS      "http://juniper.net/zerotouch-bootstrap-server"
#define PRERFC_NS_ALSO "http://juniper.net/bootstrap-server" /* accepted, never sent */
#define PRERFC_NS_VC   "urn:openphonehome:params:xml:ns:vc:1"
#define PRERFC_PATH    "/restconf/data/juniper-zerotouch-bootstrap-server:devices/device="

struct prerfc_device { /* the answer */
    char serial[CMS_SERIAL_MAX + 1];
    char activation_code[SZTP_NAME_MAX + 1]; /* "" none */
    struct conveyed
        info; /* redirect, or image, configuration (XML, as in the document), topology */
    char image_name[SZTP_NAME_MAX + 1];
};
void prerfc_device_free(struct prerfc_device *d);
enum err_code prerfc_device_parse(const void *p, size_t n, struct prerfc_device *out,
                                  struct err *e);
/* ERR_UNSUPPORTED when the dialect can't say it (a configuration that is not XML). */
enum err_code prerfc_device_print(const struct prerfc_device *d, struct buf *out, struct err *e);
/* "image|path" with '|' for '/' (PH-113), into a URI. */
void prerfc_path(const char *in, char out[SZTP_URI_MAX + 1]);

struct prerfc_notification {
    enum sztp_notification type;
    char text[SZTP_MESSAGE_MAX + 1];
    bool has_member;
    struct sztp_member member;
    struct buf host_keys, anchors; /* as in struct sztp_report */
};
void prerfc_notification_free(struct prerfc_notification *n);
enum err_code prerfc_notification_parse(const void *p, size_t len, struct prerfc_notification *out,
                                        struct err *e);
void prerfc_notification_print(const struct prerfc_notification *n, struct buf *out);
/* "Member 2 (PE3716100123, linecard): TEXT", or TEXT: the form of logs (PH-083). */
void prerfc_notification_text(const struct prerfc_notification *n, struct buf *out);

#endif
