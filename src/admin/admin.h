// SPDX-License-Identifier: Apache-2.0
/* The service `admin`: maintenance, archival and saving of the configuration. weftd lists it after
 * the jobs. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "core/service.h"

/* Where `request system save-config NAME` puts files; before core_open. */
void admin_set_config_folder(const char *path);

/* Where `request system support-bundle NAME` puts files; before core_open. */
void admin_set_support_folder(const char *path);

/* The controller's certificates, for the commands about them. */
struct admin_pki {
    char folder[1024];     /* pki/ */
    const char *hostnames; /* for the certificate, commas between them; outlives the core */
    /* Makes the server's certificate anew with our own authority. From any thread. */
    enum err_code (*renew)(void *arg, struct err *e);
    void (*changed)(void *arg); /* read them again; from any thread */
    void *arg;
};
/* After the first files were made, before core_open: ends an import that was cut off, and makes
 * clients.pem, the authorities that may vouch for clients. */
enum err_code admin_set_pki(const struct admin_pki *p, struct err *e);
/* Tells, once each, 30, 7 and 1 days before a certificate ends, and when it has. From any thread.
 */
void admin_certificates_look(struct core *c);

extern const struct service admin_service;

#endif
