// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

static void strings(void **state) {
    char *s = mem_strdup("abc");
    assert_string_equal(s, "abc");
    mem_free(s);
    static const char raw[3] = {'x', 'y', 'z'}; /* no NUL at the end */
    s = mem_strndup(raw, 3);
    assert_string_equal(s, "xyz");
    mem_free(s);
    s = mem_strndup("ab", 10);
    assert_string_equal(s, "ab");
    mem_free(s);
    s = mem_printf("%d-%s", 5, "x");
    assert_string_equal(s, "5-x");
    mem_free(s);
    uint8_t *p = mem_alloc(0);
    assert_non_null(p);
    mem_free(p);
    p = mem_alloc(100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(p[i], 0);
    }
    p = mem_array(p, 50, 4);
    mem_free(p);
    mem_free(NULL);
    mem_free(mem_dup(NULL, 0));
}

/* What the last words of a process are that asks for n times `size` bytes; its status. */
static int last_words(size_t n, size_t size, char *words, size_t words_size) {
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        mem_free(mem_array(NULL, n, size));
        _exit(0);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], words, words_size - 1);
    words[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* proves: F-06 */
static void without_memory_it_ends(void **state) {
    char words[200];
    int status = last_words(SIZE_MAX / 2, 3, words, sizeof words); /* more than can be said */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(words, "out of memory"));
    /* more than there is; a sanitizer has words and a status of its own */
    assert_int_not_equal(last_words(SIZE_MAX / 4, 1, words, sizeof words), 0);
    assert_int_not_equal(words[0], '\0');
}

static void arenas(void **state) {
    struct rng r;
    rng_seed(&r, 9);
    for (int round = 0; round < 50; round++) {
        struct arena *a = arena_new();
        uint8_t *p[200];
        size_t n[200], sum = 0;
        for (int i = 0; i < 200; i++) { /* small ones among some that need a chunk of their own */
            n[i] = rng_chance(&r, 10) ? rng_below(&r, 9000) : rng_below(&r, 200);
            p[i] = arena_alloc(a, n[i]);
            assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < n[i]; k++) {
                assert_int_equal(p[i][k], 0);
            }
            memset(p[i], i, n[i]);
            sum += n[i];
        }
        for (int i = 0; i < 200; i++) { /* none overlaps another */
            for (size_t k = 0; k < n[i]; k++) {
                assert_int_equal(p[i][k], (uint8_t)i);
            }
        }
        assert_true(arena_used(a) >= sum);
        assert_string_equal(arena_strdup(a, "abc"), "abc");
        assert_string_equal(arena_strndup(a, "abc", 2), "ab");
        assert_string_equal(arena_printf(a, "%05d", 42), "00042");
        char wide[6000];
        memset(wide, 'w', sizeof wide - 1);
        wide[sizeof wide - 1] = '\0';
        assert_string_equal(arena_printf(a, "%s", wide), wide);
        assert_string_equal(arena_printf(a, "%s", ""), "");
        arena_free(a);
    }
    arena_free(NULL);
}

struct item {
    int n;
    struct list link;
};

static int numbers(const struct list *l, int *out) {
    int n = 0;
    LIST_FOREACH (pos, l) {
        out[n++] = CONTAINER_OF(pos, struct item, link)->n;
    }
    return n;
}

static void lists(void **state) {
    struct list l = {0};
    assert_true(list_empty(&l)); /* zeroed counts as empty */
    list_init(&l);
    assert_true(list_empty(&l));
    struct item it[5] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
    list_remove(&it[0].link); /* in no list */
    list_append(&l, &it[1].link);
    list_append(&l, &it[2].link);
    list_prepend(&l, &it[0].link);
    list_append(&l, &it[3].link);
    list_append(&l, &it[4].link);
    int got[5];
    assert_int_equal(numbers(&l, got), 5);
    assert_memory_equal(got, ((int[]){0, 1, 2, 3, 4}), sizeof got);
    LIST_FOREACH_SAFE (pos, &l) {
        if (CONTAINER_OF(pos, struct item, link)->n % 2 == 0) {
            list_remove(pos);
            list_remove(pos); /* twice is harmless */
        }
    }
    assert_int_equal(numbers(&l, got), 2);
    assert_true(got[0] == 1 && got[1] == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(without_memory_it_ends),
        cmocka_unit_test(arenas),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
