// SPDX-License-Identifier: Apache-2.0
/* ietf-netconf-acm as a view; see nacm.h. */
#include "core/nacm.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "core/internal.h"
#include "core/system_int.h"

enum { SET_MAX = 32 }; /* roles of one user that are looked at: more than anybody has */

/* The users that have the same roles. */
struct role_set {
    const struct system_role *roles[SET_MAX];
    size_t n;
    const char **paths; /* that some role has a right on, the longest first */
    size_t n_paths;
    json_t *rules;
};

/* ---- one rule -------------------------------------------------------------------------------- */

static bool set_allows(const struct role_set *set, enum right r, const char *path) {
    for (size_t i = 0; i < set->n; i++) {
        if (rights_role_allows(set->roles[i], r, path)) {
            return true;
        }
    }
    return false;
}

static void add_rule(struct role_set *set, json_t *what, const char *operations, bool permit) {
    char name[24];
    snprintf(name, sizeof name, "%zu", json_array_size(set->rules) + 1);
    json_t *rule = json_pack("{ss}", "name", name);
    json_object_update(rule, what);
    json_object_set_new(rule, "access-operations", json_string(operations));
    json_object_set_new(rule, "action", json_string(permit ? "permit" : "deny"));
    json_array_append_new(set->rules, rule);
}

/* "/weft-apm:drain" as {"module-name": "weft-apm", leaf: "drain"}. */
static json_t *named(const char *path, const char *leaf) {
    const char *colon = strchr(path, ':');
    json_t *o = json_pack("{ss%}", "module-name", path + 1, (size_t)(colon - path - 1));
    if (leaf != NULL) {
        json_object_set_new(o, leaf, json_string(colon + 1));
    }
    return o;
}

/* An instance path as node-instance-identifier: all entries of a list when it has no keys. */
static json_t *xpath_of(const char *path) {
    struct buf plain = BUF_INIT;
    bool exact = false;
    const char *last = strrchr(path, '/');
    if (!path_instance_id(path, FORMAT_JSON, &plain, NULL, &exact) || !exact) {
        char *above = mem_strndup(path, (size_t)(last - path));
        buf_clear(&plain);
        if (above[0] != '\0' && path_instance_id(above, FORMAT_JSON, &plain, NULL, &exact)) {
            buf_str(&plain, last);
        } else {
            buf_clear(&plain);
            buf_str(&plain, path);
        }
        mem_free(above);
    }
    json_t *o = json_pack("{ss}", "path", buf_cstr(&plain));
    buf_free(&plain);
    return o;
}

/* ---- the rules of a set ---------------------------------------------------------------------- */

/* Rpcs that ask for another right than exec, which is all that RFC 8341 knows of them. */
static void add_rpcs(struct role_set *set, const char *scope) {
    size_t n;
    const struct node *const *rpcs = model_rpcs(&n);
    bool exec = set_allows(set, RIGHT_EXEC, scope);
    for (size_t i = 0; i < n; i++) {
        char *path = mem_printf("/%s:%s", rpcs[i]->module, rpcs[i]->name);
        bool inside = strcmp(scope, "/") == 0 || strncmp(path, scope, strlen(scope)) == 0;
        bool allowed = inside && set_allows(set, call_right(rpcs[i]), path);
        if (inside && allowed != exec) {
            json_t *what = named(path, "rpc-name");
            add_rule(set, what, "exec", allowed);
            json_decref(what);
        }
        mem_free(path);
    }
}

static enum rights_word set_says(const struct role_set *set, const char *path) {
    enum rights_word word = RIGHTS_SILENT;
    for (size_t i = 0; i < set->n && word != RIGHTS_YES; i++) {
        enum rights_word w = rights_role_operation(set->roles[i], path);
        word = w != RIGHTS_SILENT ? w : word;
    }
    return word;
}

/* Operations of the protocol are open unless something is said of them. */
static void add_operations(struct role_set *set) {
    const char *path;
    bool by_right;
    for (size_t i = 0; rights_operation(i, &path, &by_right); i++) {
        enum rights_word word = set_says(set, path);
        bool yes = word == RIGHTS_YES ||
                   (by_right ? set_allows(set, RIGHT_EXEC, path) : word == RIGHTS_SILENT);
        json_t *what = named(path, "rpc-name");
        add_rule(set, what, "exec", yes);
        json_decref(what);
    }
}

static json_t *scope_of(const char *path, bool *rpc, const struct node **node) {
    size_t n = strlen(path);
    *node = NULL;
    *rpc = false;
    if (strcmp(path, "/") == 0) {
        return json_pack("{ss}", "module-name", "*");
    }
    if (path[n - 1] == ':') {
        json_t *o = named(path, NULL);
        json_object_set_new(o, "module-name", json_stringn(path + 1, n - 2));
        return o;
    }
    *node = model_rpc(path + 1);
    if (*node != NULL) {
        *rpc = true;
        return named(path, "rpc-name");
    }
    return model_notification(path + 1) != NULL ? named(path, "notification-name") : xpath_of(path);
}

static void add_rights(struct role_set *set, const char *path) {
    const struct node *node;
    bool rpc, whole = strcmp(path, "/") == 0 || path[strlen(path) - 1] == ':';
    json_t *what = scope_of(path, &rpc, &node);
    if (rpc) {
        add_rule(set, what, "exec", set_allows(set, call_right(node), path));
        json_decref(what);
        return;
    }
    if (whole) {
        add_rpcs(set, path);
    }
    struct buf ops = BUF_INIT;
    static const struct {
        enum right right;
        const char *name;
    } names[] = {{RIGHT_READ, "read"}, {RIGHT_WRITE, "create update delete"}, {RIGHT_EXEC, "exec"}};
    for (size_t i = 0; i < 3; i++) {
        if ((names[i].right != RIGHT_EXEC || whole) && set_allows(set, names[i].right, path)) {
            buf_printf(&ops, "%s%s", ops.len > 0 ? " " : "", names[i].name);
        }
    }
    if (ops.len > 0) {
        add_rule(set, what, buf_cstr(&ops), true);
    }
    add_rule(set, what, "*", false);
    buf_free(&ops);
    json_decref(what);
}

/* The longest first: in the rights the longest that holds a path decides, here the first. */
static int longer_first(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t n = strlen(x), m = strlen(y);
    return n != m ? (n < m) - (n > m) : strcmp(x, y);
}

static json_t *rules_of(struct role_set *set) {
    size_t max = 0;
    for (size_t i = 0; i < set->n; i++) {
        max += set->roles[i]->n_right;
    }
    set->paths = mem_alloc((max + 1) * sizeof *set->paths);
    for (size_t i = 0; i < set->n; i++) {
        for (size_t j = 0; j < set->roles[i]->n_right; j++) {
            set->paths[set->n_paths++] = set->roles[i]->right[j].path;
        }
    }
    qsort(set->paths, set->n_paths, sizeof *set->paths, longer_first);
    set->rules = json_array();
    add_operations(set);
    for (size_t i = 0; i < set->n_paths; i++) {
        bool again = i > 0 && strcmp(set->paths[i], set->paths[i - 1]) == 0;
        char *end = strchr(set->paths[i], ':');
        bool operation = rights_is_operation(set->paths[i]) ||
                         (end != NULL && strcmp(set->paths[i], "/ietf-netconf:") == 0);
        if (!again && !operation) {
            add_rights(set, set->paths[i]);
        }
    }
    mem_free(set->paths);
    return set->rules;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct system_role *const *)a)->name,
                  (*(const struct system_role *const *)b)->name);
}

/* The roles of a user in their order, and their names as the group's; false: has none. */
static bool set_of(const struct snap *s, const struct system_user *u, struct role_set *set,
                   struct buf *name) {
    *set = (struct role_set){.n = 0};
    for (size_t i = 0; i < u->n_role && set->n < SET_MAX && !u->disabled; i++) {
        struct buf path = BUF_INIT;
        buf_str(&path, system_role_kind.prefix);
        path_add_key(&path, true, u->role[i]);
        const struct object *o = snap_get(s, buf_cstr(&path));
        if (o != NULL) {
            set->roles[set->n++] = o->doc->data;
        }
        buf_free(&path);
    }
    qsort(set->roles, set->n, sizeof *set->roles, by_name);
    buf_clear(name);
    for (size_t i = 0; i < set->n; i++) {
        buf_printf(name, "%s%s", i > 0 ? " " : "", set->roles[i]->name);
    }
    return set->n > 0;
}

static void add_user(json_t *groups, json_t *lists, struct map *seen, struct role_set *set,
                     const char *name, const char *user) {
    json_t *users = map_get(seen, name);
    if (users == NULL) {
        users = json_array();
        map_put(seen, name, users);
        json_array_append_new(groups, json_pack("{ss so}", "name", name, "user-name", users));
        json_array_append_new(
            lists, json_pack("{ss s[s] so}", "name", name, "group", name, "rule", rules_of(set)));
    }
    json_array_append_new(users, json_string(user));
}

void nacm_print(const struct snap *s, struct buf *json) {
    json_t *groups = json_array(), *lists = json_array();
    struct map seen = {0};
    struct buf name = BUF_INIT;
    for (const struct object *o = snap_first_of(s, &system_user_kind);
         o != NULL && o->doc->kind == &system_user_kind; o = snap_next(s, o)) {
        const struct system_user *u = o->doc->data;
        struct role_set set;
        if (set_of(s, u, &set, &name)) {
            add_user(groups, lists, &seen, &set, buf_cstr(&name), u->name);
        }
    }
    map_free(&seen, NULL); /* the arrays are in `groups` */
    buf_free(&name);
    json_t *o = json_pack("{sb ss ss ss sb sI sI sI}", "enable-nacm", 1, "read-default", "deny",
                          "write-default", "deny", "exec-default", "deny", "enable-external-groups",
                          0, "denied-operations", (json_int_t)(uint32_t)rights_denied(RIGHT_EXEC),
                          "denied-data-writes", (json_int_t)(uint32_t)rights_denied(RIGHT_WRITE),
                          "denied-notifications", (json_int_t)(uint32_t)rights_denied(RIGHT_READ));
    json_object_set_new(o, "groups", json_pack("{so}", "group", groups));
    json_object_set_new(o, "rule-list", lists);
    call_answer_json(json, o);
}

/* ---- the service ----------------------------------------------------------------------------- */

static void *create(struct core *c) {
    return c;
}

static void destroy(void *self) {
    (void)self;
}

static void config(void *self, const struct object *old, const struct object *new_) {
    (void)self;
    (void)old;
    (void)new_;
}

static bool state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)out;
    return false;
}

static enum err_code state_fold(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e) {
    (void)self;
    (void)key;
    (void)key_len;
    (void)value;
    (void)len;
    return err_set(e, ERR_UNSUPPORTED, NULL, "is not a record of this version");
}

static enum err_code look(void *self, struct txn *t, struct look *l, struct err *e) {
    (void)self;
    /* It shows users and roles in other words: nothing for those who may not read them as they are.
     */
    if (!rights_allow(t->core->tip, &l->who, RIGHT_READ, system_user_kind.prefix) ||
        !rights_allow(t->core->tip, &l->who, RIGHT_READ, system_role_kind.prefix)) {
        return err_set(e, ERR_ABSENT, l->path, "is for those who may read users and roles");
    }
    nacm_print(t->core->tip, &l->json);
    return ERR_OK;
}

const struct service nacm_service = {
    .name = "nacm",
    .state_prefix = "nacm/",
    .module = "ietf-netconf-acm",
    .create = create,
    .destroy = destroy,
    .config = config,
    .state_encode = state_encode,
    .state_fold = state_fold,
    .provides = "/ietf-netconf-acm:nacm",
    .look = look,
};
