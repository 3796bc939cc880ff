// SPDX-License-Identifier: Apache-2.0
/*
 * A NETCONF client over libnetconf2, for test/e2e/netconf_foreign.py: it shares no line of code
 * with Weft's server but libssh and OpenSSL. Its commands come one a line on standard input, their
 * answers go out one a line: "ok", "data XML", "event XML", "error XML", "failed TEXT".
 *
 *   nc2_client ssh HOST PORT USER PASSWORD         nc2_client tls HOST PORT CERT KEY CA
 *   nc2_client listen-ssh PORT USER PASSWORD       nc2_client listen-tls PORT CERT KEY CA
 *
 * The latter two wait for a server that calls home (RFC 8071), for ACCEPT_MS.
 */
#include <libyang/libyang.h>
#include <nc_client.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libssh/libssh.h>

enum { ANSWER_MS = 60000, ACCEPT_MS = 60000, WORDS_MAX = 4 };

static const char *password;

static char *give_password(const char *user, const char *host, void *arg) {
    (void)user;
    (void)host;
    (void)arg;
    return strdup(password); /* libnetconf2 frees it */
}

static int any_host_key(const char *host, ssh_session session, void *arg) {
    (void)host;
    (void)session;
    (void)arg;
    return 0;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void say(const char *word, const struct lyd_node *tree) {
    char *text = NULL;
    lyd_print_mem(&text, tree, LYD_XML, LYD_PRINT_SHRINK | LYD_PRINT_WITHSIBLINGS);
    for (char *p = text; p != NULL && *p != '\0'; p++) {
        *p = *p == '\n' ? ' ' : *p; /* one answer, one line */
    }
    printf("%s %s\n", word, text != NULL ? text : "");
    free(text);
}

static bool has_child(const struct lyd_node *envelope, const char *name) {
    const struct lyd_node *c;
    LY_LIST_FOR(lyd_child(envelope), c) {
        if (strcmp(LYD_NAME(c), name) == 0) {
            return true;
        }
    }
    return false;
}

static void answer(struct nc_session *s, struct nc_rpc *rpc) {
    struct lyd_node *envelope = NULL, *data = NULL;
    uint64_t id;
    if (rpc == NULL || nc_send_rpc(s, rpc, ANSWER_MS, &id) != NC_MSG_RPC) {
        puts("failed it can't be sent");
        nc_rpc_free(rpc);
        return;
    }
    NC_MSG_TYPE got;
    while ((got = nc_recv_reply(s, rpc, id, ANSWER_MS, &envelope, &data)) == NC_MSG_NOTIF) {
    }
    if (got != NC_MSG_REPLY) {
        printf("failed no answer (%d)\n", (int)got);
    } else if (data != NULL) {
        say("data", data);
    } else if (has_child(envelope, "rpc-error")) {
        say("error", envelope);
    } else if (has_child(envelope, "ok")) {
        puts("ok");
    } else {
        say("failed", envelope);
    }
    lyd_free_all(envelope);
    lyd_free_all(data);
    nc_rpc_free(rpc);
}

static void event(struct nc_session *s, int ms) {
    struct lyd_node *envelope = NULL, *data = NULL;
    NC_MSG_TYPE got = nc_recv_notif(s, ms, &envelope, &data);
    if (got == NC_MSG_NOTIF && data != NULL) {
        say("event", data);
    } else {
        printf("failed no event (%d)\n", (int)got);
    }
    lyd_free_all(envelope);
    lyd_free_all(data);
}

static void capabilities(struct nc_session *s) {
    const char *const *all = nc_session_get_cpblts(s);
    printf("data");
    for (int i = 0; all != NULL && all[i] != NULL; i++) {
        printf(" %s", all[i]);
    }
    puts("");
}

/* ---- commands ---------------------------------------------------------------------------------
 */

static NC_DATASTORE store(const char *name) {
    return strcmp(name, "running") == 0     ? NC_DATASTORE_RUNNING
           : strcmp(name, "candidate") == 0 ? NC_DATASTORE_CANDIDATE
                                            : NC_DATASTORE_ERROR;
}

/* "" where there is no such word; the last one has the rest of the line. */
static void split(char *line, const char *words[WORDS_MAX], int last) {
    for (int i = 0; i < WORDS_MAX; i++) {
        words[i] = line;
        char *blank = i < last ? strchr(line, ' ') : NULL;
        if (blank != NULL) {
            *blank = '\0';
            line = blank + 1;
        } else {
            line += strlen(line);
        }
    }
}

static const char *given(const char *word) {
    return word[0] != '\0' && strcmp(word, "-") != 0 ? word : NULL;
}

static struct nc_rpc *rpc_of(char *line) {
    const char *w[WORDS_MAX];
    const NC_PARAMTYPE p = NC_PARAMTYPE_DUP_AND_FREE;
    if (strncmp(line, "rpc ", 4) == 0) {
        return nc_rpc_act_generic_xml(line + 4, p);
    }
    if (strncmp(line, "commit", 6) == 0) { /* commit [SECONDS|0 [PERSIST|- [PERSIST-ID]]] */
        split(line, w, 3);
        uint32_t seconds = (uint32_t)strtoul(w[1], NULL, 10);
        return nc_rpc_commit(seconds > 0, seconds, given(w[2]), given(w[3]), p);
    }
    if (strncmp(line, "subscribe", 9) == 0) { /* subscribe [START|- [STOP|- [FILTER]]] */
        split(line, w, 3);
        return nc_rpc_subscribe(NULL, given(w[3]), given(w[1]), given(w[2]), p);
    }
    if (strncmp(line, "get ", 4) == 0) {
        return nc_rpc_get(given(line + 4), NC_WD_UNKNOWN, p);
    }
    split(line, w, 2);
    if (strcmp(w[0], "get-config") == 0) {
        return nc_rpc_getconfig(store(w[1]), given(w[2]), NC_WD_UNKNOWN, p);
    }
    if (strcmp(w[0], "get-all-config") == 0) {
        return nc_rpc_getconfig(store(w[1]), given(w[2]), NC_WD_ALL, p);
    }
    if (strcmp(w[0], "edit") == 0) {
        return nc_rpc_edit(store(w[1]), NC_RPC_EDIT_DFLTOP_UNKNOWN, NC_RPC_EDIT_TESTOPT_UNKNOWN,
                           NC_RPC_EDIT_ERROPT_UNKNOWN, w[2], p);
    }
    return strcmp(w[0], "lock") == 0       ? nc_rpc_lock(store(w[1]))
           : strcmp(w[0], "unlock") == 0   ? nc_rpc_unlock(store(w[1]))
           : strcmp(w[0], "validate") == 0 ? nc_rpc_validate(store(w[1]), NULL, p)
           : strcmp(w[0], "discard") == 0  ? nc_rpc_discard()
           : strcmp(w[0], "cancel") == 0   ? nc_rpc_cancel(given(w[1]), p)
           : strcmp(w[0], "kill") == 0     ? nc_rpc_kill((uint32_t)strtoul(w[1], NULL, 10))
                                           : NULL;
}

static void serve(struct nc_session *s) {
    char *line = NULL;
    size_t room = 0;
    printf("ok %u\n", nc_session_get_id(s));
    fflush(stdout);
    while (getline(&line, &room, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "capabilities") == 0) {
            capabilities(s);
        } else if (strncmp(line, "event ", 6) == 0) {
            event(s, (int)strtol(line + 6, NULL, 10));
        } else {
            answer(s, rpc_of(line));
        }
        fflush(stdout);
    }
    free(line);
}

/* ---- connections ------------------------------------------------------------------------------
 */

static uint16_t port_of(const char *text) {
    return (uint16_t)strtoul(text, NULL, 10);
}

static struct nc_session *by_ssh(char **arg) {
    password = arg[3];
    nc_client_ssh_set_username(arg[2]);
    nc_client_ssh_set_auth_hostkey_check_clb(any_host_key, NULL);
    nc_client_ssh_set_auth_password_clb(give_password, NULL);
    nc_client_ssh_set_auth_pref(NC_SSH_AUTH_PASSWORD, 10);
    return nc_connect_ssh(arg[0], port_of(arg[1]), NULL);
}

static struct nc_session *by_tls(char **arg) {
    if (nc_client_tls_set_cert_key_paths(arg[2], arg[3]) != 0 ||
        nc_client_tls_set_trusted_ca_paths(arg[4], NULL) != 0) {
        return NULL;
    }
    return nc_connect_tls(arg[0], port_of(arg[1]), NULL);
}

static struct nc_session *wait_for_call(int listening) {
    struct nc_session *s = NULL;
    if (listening != 0) {
        return NULL;
    }
    puts("listening");
    fflush(stdout);
    return nc_accept_callhome(ACCEPT_MS, NULL, &s) == 1 ? s : NULL;
}

static struct nc_session *called_by_ssh(char **arg) {
    password = arg[2];
    nc_client_ssh_ch_set_username(arg[1]);
    nc_client_ssh_ch_set_auth_hostkey_check_clb(any_host_key, NULL);
    nc_client_ssh_ch_set_auth_password_clb(give_password, NULL);
    nc_client_ssh_ch_set_auth_pref(NC_SSH_AUTH_PASSWORD, 10);
    return wait_for_call(nc_client_ssh_ch_add_bind_listen("127.0.0.1", port_of(arg[0])));
}

static struct nc_session *called_by_tls(char **arg) {
    if (nc_client_tls_ch_set_cert_key_paths(arg[1], arg[2]) != 0 ||
        nc_client_tls_ch_set_trusted_ca_paths(arg[3], NULL) != 0) {
        return NULL;
    }
    return wait_for_call(nc_client_tls_ch_add_bind_listen("127.0.0.1", port_of(arg[0])));
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int args;
        struct nc_session *(*open)(char **arg);
    } ways[] = {{"ssh", 4, by_ssh},
                {"tls", 5, by_tls},
                {"listen-ssh", 3, called_by_ssh},
                {"listen-tls", 4, called_by_tls}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (argc == ways[i].args + 2 && strcmp(argv[1], ways[i].name) == 0) {
            nc_client_init();
            struct nc_session *s = ways[i].open(argv + 2);
            if (s == NULL) {
                puts("failed no session");
            } else {
                serve(s);
            }
            nc_session_free(s, NULL);
            nc_client_destroy();
            return s != NULL ? 0 : 1;
        }
    }
    fputs("usage: see the beginning of nc2_client.c\n", stderr);
    return 2;
}
