#include "kernel.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const char *text, int size) {
    u64 hash = 0x9E3779B97F4A7C15ULL ^ (u64)size;
    while (size >= 8) {
        u64 word;
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0xBF58476D1CE4E5B9ULL;
        hash ^= hash >> 29;
        text += 8;
        size -= 8;
    }
    u64 word = 0;
    memcpy(&word, text, (size_t)size);
    hash = (hash ^ word) * 0x94D049BB133111EBULL;
    return (uint32_t)(hash ^ (hash >> 32));
}

static bool rehash(Symbols *symbols) {
    uint32_t size = symbols->slots ? (symbols->mask + 1) * 2 : 64;
    int32_t *slots = malloc(size * sizeof *slots);
    if (!slots) return false;
    memset(slots, 0xff, size * sizeof *slots);
    for (int32_t i = 0; i < symbols->n; i++) {
        uint32_t at = symbols->names[i].hash & (size - 1);
        while (slots[at] >= 0) at = (at + 1) & (size - 1);
        slots[at] = i;
    }
    free(symbols->slots);
    symbols->slots = slots;
    symbols->mask = size - 1;
    return true;
}

int32_t symbols_find(const Symbols *symbols, const char *text, int size) {
    uint32_t hash = hash_of(text, size);
    if (!symbols->slots) return TOO_MANY;
    for (uint32_t at = hash & symbols->mask; symbols->slots[at] >= 0; at = (at + 1) & symbols->mask) {
        const Name *name = &symbols->names[symbols->slots[at]];
        if (name->hash == hash && name->size == size && memcmp(name->text, text, (size_t)size) == 0)
            return symbols->slots[at];
    }
    return TOO_MANY;
}

int32_t symbols_of(Symbols *symbols, const char *text, int size) {
    int32_t known = symbols_find(symbols, text, size);
    if (known >= 0) return known;
    uint32_t hash = hash_of(text, size);
    if ((!symbols->slots || (uint32_t)symbols->n * 2 > symbols->mask) && !rehash(symbols)) return NO_MEMORY;
    i64 cap = symbols->cap;
    if (!grow((void **)&symbols->names, symbols->n, &cap, sizeof(Name))) return NO_MEMORY;
    symbols->cap = (int32_t)cap;
    char *copy = malloc((size_t)size + 1);
    if (!copy) return NO_MEMORY;
    memcpy(copy, text, (size_t)size);
    symbols->names[symbols->n] = (Name){copy, size, hash};
    uint32_t at = hash & symbols->mask;
    while (symbols->slots[at] >= 0) at = (at + 1) & symbols->mask;
    symbols->slots[at] = symbols->n;
    return symbols->n++;
}

void symbols_free(Symbols *symbols) {
    for (int32_t i = 0; i < symbols->n; i++) free(symbols->names[i].text);
    free(symbols->names);
    free(symbols->slots);
    *symbols = (Symbols){0};
}
