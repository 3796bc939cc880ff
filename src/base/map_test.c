// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"

static void against_array(void **state) {
    enum { KEYS = 500 };
    static char value[KEYS];
    bool there[KEYS] = {false};
    size_t count = 0;
    struct map m = MAP_INIT;
    struct rng r;
    rng_seed(&r, 7);
    for (int step = 0; step < 50000; step++) {
        unsigned i = (unsigned)rng_below(&r, KEYS);
        char key[16];
        snprintf(key, sizeof key, "key%u", i);
        void *old = there[i] ? &value[i] : NULL;
        switch (rng_below(&r, 3)) {
        case 0:
            assert_ptr_equal(map_put(&m, key, &value[i]), old);
            count += !there[i];
            there[i] = true;
            break;
        case 1:
            assert_ptr_equal(map_del(&m, key), old);
            count -= there[i];
            there[i] = false;
            break;
        default:
            assert_ptr_equal(map_get(&m, key), old);
        }
        assert_int_equal(m.count, count);
    }
    size_t seen = 0;
    MAP_FOREACH (e, &m) {
        assert_true(there[(char *)e->value - value]);
        seen++;
    }
    assert_int_equal(seen, count);
    seen = 0;
    MAP_FOREACH (e, &m) {
        if (seen++ == 3) {
            break;
        }
    }
    assert_int_equal(seen, 4);
    MAP_FOREACH (e, &m) { /* the entry at hand may go */
        if (((char *)e->value - value) % 2 == 0) {
            map_del_n(&m, e->key, e->key_len);
        }
    }
    MAP_FOREACH (e, &m) {
        assert_int_equal(((char *)e->value - value) % 2, 1);
    }
    MAP_FOREACH (e, &m) {
        map_del_n(&m, e->key, e->key_len);
    }
    assert_int_equal(m.count, 0);
    map_free(&m, NULL);
}

static int freed;

static void count_free(void *v) {
    freed++;
    mem_free(v);
}

static void bytes_and_values(void **state) {
    struct map m = MAP_INIT;
    assert_null(map_get(&m, "a"));
    assert_null(map_del(&m, "a"));
    MAP_FOREACH (e, &m) {
        fail();
    }
    map_put_n(&m, "a\0b", 3, mem_strdup("one"));
    map_put_n(&m, "a\0c", 3, mem_strdup("two"));
    map_put_n(&m, "a", 1, mem_strdup("three"));
    map_put_n(&m, "", 0, mem_strdup("empty"));
    assert_string_equal(map_get_n(&m, "a\0b", 3), "one");
    assert_string_equal(map_get_n(&m, "a\0c", 3), "two");
    assert_string_equal(map_get(&m, "a"), "three");
    assert_string_equal(map_get(&m, ""), "empty");
    char *old = map_put(&m, "a", mem_strdup("3"));
    assert_string_equal(old, "three");
    mem_free(old);
    map_free(&m, count_free);
    assert_int_equal(freed, 4);
    assert_int_equal(m.count, 0);
    assert_null(map_get(&m, "a"));
}

/* SipHash takes every byte and the length into account. */
static void hashing(void **state) {
    uint8_t b[40] = {0};
    for (size_t n = 0; n < sizeof b; n++) {
        uint64_t h = map_hash(b, n);
        assert_true(h == map_hash(b, n));
        assert_true(h != map_hash(b, n + 1));
        for (size_t i = 0; i < n; i++) {
            b[i] ^= 0x10;
            assert_true(h != map_hash(b, n));
            b[i] ^= 0x10;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_array),
        cmocka_unit_test(bytes_and_values),
        cmocka_unit_test(hashing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
