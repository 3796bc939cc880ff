// SPDX-License-Identifier: Apache-2.0
/* Leaves marked weft:index, on the toy's: a toy's box. The service here only looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <ftw.h>

#include "base/mem.h"
#include "core/core.h"
#include "core/service.h"
#include "core/txn.h"

static struct model *model;
static struct core *core;
static char folder[] = "/tmp/weft-index-XXXXXX", store[64];
static struct err err;
static const struct node *box;
static const char *wanted; /* looked for at the end of each change */
static bool refuse;
static char *found[16];
static size_t n_found;

/* ---- the service ----------------------------------------------------------------------------- */

static void *create(struct core *c) {
    return c;
}

static void destroy(void *self) {
}

static void config(void *self, const struct object *old, const struct object *new_) {
}

static bool state_encode(void *self, const char *key, size_t key_len, struct buf *out) {
    return false;
}

static enum err_code state_fold(void *self, const char *key, size_t key_len, const void *value,
                                size_t len, struct err *e) {
    return ERR_OK;
}

static void note(const struct object *o, void *arg) {
    assert_true(n_found < sizeof found / sizeof *found);
    found[n_found++] = mem_strdup(o->doc->path);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err_code check(void *self, struct txn *t, struct err *e) {
    while (n_found > 0) {
        mem_free(found[--n_found]);
    }
    txn_lookup(t, box, wanted, note, NULL);
    qsort(found, n_found, sizeof *found, by_text);
    return refuse ? err_set(e, ERR_REFUSED, "", "not now") : ERR_OK;
}

static const struct service finder = {.name = "finder",
                                      .state_prefix = "finder/",
                                      .module = "weft-finder",
                                      .create = create,
                                      .destroy = destroy,
                                      .check = check,
                                      .config = config,
                                      .state_encode = state_encode,
                                      .state_fold = state_fold};

/* ---- tests ----------------------------------------------------------------------------------- */

static void open_core(void) {
    static const struct service *const services[] = {&finder, NULL};
    struct core_options o = {.store = store, .model = model, .services = services};
    if (core_open(&o, &core, &err) != ERR_OK) {
        fail_msg("%s %s", err.path, err.text);
    }
}

static void over(struct change *ch, void *arg) {
    *(bool *)arg = true;
}

static struct change *start(void) {
    return change_new(&actor_system);
}

static void put(struct change *ch, const char *path, const char *json) {
    change_add(ch, EDIT_REPLACE, path, json, strlen(json), FORMAT_JSON);
}

static enum err_code finish(struct change *ch) {
    bool done = false;
    core_change(core, ch, over, &done);
    core_step(core);
    assert_true(done);
    enum err_code rc = ch->err.code;
    err = ch->err;
    change_free(ch);
    return rc;
}

static void put_toy(struct change *ch, int number, const char *in) {
    char path[64], json[160];
    snprintf(path, sizeof path, "/weft-toy:toys/toy=lego,%d", number);
    snprintf(json, sizeof json, "{\"weft-toy:toy\":[{\"maker\":\"lego\",\"number\":%d%s%s%s}]}",
             number, in ? ",\"box\":\"" : "", in ? in : "", in ? "\"" : "");
    put(ch, path, json);
}

/* What a lookup finds: the numbers of lego's toys, "1 2". */
static void expect(const char *in, const char *numbers) {
    char text[64] = "";
    struct change *ch = start();
    static int sizes;
    char json[96];
    snprintf(json, sizeof json, "{\"weft-toy:box\":[{\"name\":\"z\",\"size\":\"%d\"}]}", ++sizes);
    put(ch, "/weft-toy:toys/box=z", json);
    wanted = in;
    assert_int_equal(finish(ch), ERR_OK);
    for (size_t i = 0; i < n_found; i++) {
        assert_non_null(strstr(found[i], "toy=lego,"));
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? " " : "", strchr(found[i], ',') + 1);
    }
    assert_string_equal(text, numbers);
}

static void the_index_follows_every_change(void **state) {
    struct change *ch = start();
    put(ch, "/weft-toy:toys/box=a", "{\"weft-toy:box\":[{\"name\":\"a\"}]}");
    put(ch, "/weft-toy:toys/box=b", "{\"weft-toy:box\":[{\"name\":\"b\"}]}");
    put_toy(ch, 1, "a");
    put_toy(ch, 2, "a");
    put_toy(ch, 3, "b");
    put_toy(ch, 4, NULL);
    wanted = "a";
    assert_int_equal(finish(ch), ERR_OK);
    assert_int_equal(n_found, 2); /* a change sees itself */
    expect("a", "1 2");
    expect("b", "3");
    expect("c", "");
    expect("", "");

    ch = start(); /* moved, taken out, put in, deleted */
    put_toy(ch, 1, "b");
    put_toy(ch, 2, NULL);
    put_toy(ch, 4, "a");
    change_add(ch, EDIT_DELETE, "/weft-toy:toys/toy=lego,3", NULL, 0, FORMAT_JSON);
    assert_int_equal(finish(ch), ERR_OK);
    expect("a", "4");
    expect("b", "1");
}

static void what_is_refused_was_never_there(void **state) {
    struct change *ch = start();
    put_toy(ch, 1, "a");
    put_toy(ch, 5, "a");
    change_add(ch, EDIT_DELETE, "/weft-toy:toys/toy=lego,4", NULL, 0, FORMAT_JSON);
    wanted = "a";
    refuse = true;
    assert_int_equal(finish(ch), ERR_REFUSED);
    refuse = false;
    assert_int_equal(n_found, 2);
    assert_string_equal(found[0] + strlen(found[0]) - 1, "1");
    assert_string_equal(found[1] + strlen(found[1]) - 1, "5");
    expect("a", "4");
    expect("b", "1");
}

static void it_is_made_anew_at_start(void **state) {
    core_close(core);
    open_core();
    expect("a", "4");
    expect("b", "1");
}

static const struct node *leaf_of(const char *kind, const char *leaf) {
    size_t n;
    const struct kind *const *kinds = model_kinds(&n);
    for (size_t i = 0; i < n; i++) {
        const struct node *k = kinds[i]->node;
        for (size_t c = 0; strcmp(kinds[i]->name, kind) == 0 && c < k->n_children; c++) {
            if (strcmp(k->children[c]->name, leaf) == 0) {
                return k->children[c];
            }
        }
    }
    fail_msg("no leaf %s in kind %s", leaf, kind);
    return NULL;
}

static int setup(void **state) {
    assert_non_null(mkdtemp(folder));
    snprintf(store, sizeof store, "sqlite:%s/log", folder);
    assert_int_equal(model_load(&model, &err), ERR_OK);
    box = leaf_of("weft-toy:toy", "box");
    assert_true(box->index);
    open_core();
    return 0;
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

static int teardown(void **state) {
    while (n_found > 0) {
        mem_free(found[--n_found]);
    }
    core_close(core);
    model_free(model);
    return nftw(folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_follows_every_change),
        cmocka_unit_test(what_is_refused_was_never_there),
        cmocka_unit_test(it_is_made_anew_at_start),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
