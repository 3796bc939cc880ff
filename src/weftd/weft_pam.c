// SPDX-License-Identifier: Apache-2.0
/*
 *   weft-pam SERVICE          asks PAM about one login; started by weftd, see core/pam.h
 *
 * A process of its own, so that a module that hangs can be killed and one that crashes takes
 * nothing along. From standard input the user's name, the password and the address, each with a NUL
 * behind it. To standard output "ok" and the user's groups, a line each, or "no" and why. The
 * status is 0 when it could say so. Only the password is ever answered to a module: one that asks
 * for more, such as a second factor, doesn't get it.
 *
 * WEFT_PAM_CONFDIR: a folder instead of /etc/pam.d, for tests.
 */
#include <grp.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_MAX = 2048, GROUPS_MAX = 1024, LONGEST_S = 90 };

static int no(const char *why) {
    printf("no\n%s\n", why);
    return 0;
}

static int converse(int n, const struct pam_message **asked, struct pam_response **answers,
                    void *password) {
    struct pam_response *r = calloc((size_t)n, sizeof *r);
    for (int i = 0; i < n && r != NULL; i++) {
        if (asked[i]->msg_style == PAM_PROMPT_ECHO_OFF) {
            r[i].resp = strdup(password);
        } else if (asked[i]->msg_style == PAM_PROMPT_ECHO_ON) {
            for (int k = 0; k < i; k++) {
                free(r[k].resp);
            }
            free(r);
            return PAM_CONV_ERR;
        }
    }
    *answers = r;
    return r != NULL ? PAM_SUCCESS : PAM_BUF_ERR;
}

/* Those who guess are slowed down by weftd, which does not hold a thread for it. */
static void no_delay(int status, unsigned us, void *arg) {
    (void)status;
    (void)us;
    (void)arg;
}

static const char *start(const char *service, const char *user, const struct pam_conv *conv,
                         const char *from, pam_handle_t **h) {
    const char *folder = getenv("WEFT_PAM_CONFDIR");
    int rc = folder != NULL ? pam_start_confdir(service, user, conv, folder, h)
                            : pam_start(service, user, conv, h);
    if (rc != PAM_SUCCESS) {
        return "PAM can't be started";
    }
    void (*delay)(int, unsigned, void *) = no_delay;
    pam_set_item(*h, PAM_FAIL_DELAY, *(const void **)&delay);
    pam_set_item(*h, PAM_RHOST, from);
    pam_set_item(*h, PAM_TTY, "weft");
    return NULL;
}

/* NULL: he is who he says he is, and may log in. */
static const char *ask(pam_handle_t *h, const char *user, int *rc) {
    const void *is = NULL;
    *rc = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (*rc == PAM_SUCCESS) {
        *rc = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    }
    if (*rc == PAM_NEW_AUTHTOK_REQD) {
        return "the password has ended: it is changed where it is kept";
    }
    if (*rc != PAM_SUCCESS) {
        return pam_strerror(h, *rc);
    }
    if (pam_get_item(h, PAM_USER, &is) != PAM_SUCCESS || is == NULL || strcmp(is, user) != 0) {
        return "PAM calls the user by another name";
    }
    return NULL;
}

static void groups(const char *user) {
    gid_t ids[GROUPS_MAX];
    int n = GROUPS_MAX;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL || getgrouplist(user, pw->pw_gid, ids, &n) < 0) {
        return; /* one whom only PAM knows is in no group */
    }
    for (int i = 0; i < n; i++) {
        const struct group *g = getgrgid(ids[i]);
        if (g != NULL && strchr(g->gr_name, '\n') == NULL) {
            printf("%s\n", g->gr_name);
        }
    }
}

int main(int argc, char **argv) {
    static char input[INPUT_MAX];
    const char *part[3] = {NULL, NULL, NULL};
    pam_handle_t *h;
    size_t n = 0, parts = 0, got;
    if (argc != 2) {
        fprintf(stderr, "usage: weft-pam SERVICE (it is started by weftd)\n");
        return 2;
    }
    alarm(LONGEST_S); /* when nobody is there to kill us */
    while (n < sizeof input - 1 && (got = fread(input + n, 1, sizeof input - 1 - n, stdin)) > 0) {
        n += got;
    }
    for (size_t i = 0; i < n && parts < 3; i += strlen(input + i) + 1) {
        part[parts++] = input + i;
    }
    if (parts != 3 || part[0][0] == '\0') {
        return 2;
    }
    struct pam_conv conv = {.conv = converse, .appdata_ptr = (char *)(size_t)part[1]};
    const char *why = start(argv[1], part[0], &conv, part[2], &h);
    if (why != NULL) {
        return no(why);
    }
    int rc = PAM_SUCCESS;
    why = ask(h, part[0], &rc);
    if (why != NULL) {
        no(why);
    } else {
        printf("ok\n");
        groups(part[0]);
    }
    pam_end(h, rc);
    return 0;
}
