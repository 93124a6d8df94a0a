#include "kernel.h"

#include <stdlib.h>
#include <string.h>

uint32_t symbol_hash(const char *text, int size) {
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

const char *symbol_text(const Name *name) { return name->size <= NAME_ROOM ? name->text.near : name->text.far; }

static bool rehash(Symbols *symbols) {
    uint32_t size = symbols->slots ? (symbols->mask + 1) * 2 : 64;
    Slot *slots = malloc(size * sizeof *slots);
    if (!slots) return false;
    memset(slots, 0xff, size * sizeof *slots);
    for (int32_t i = 0; i < symbols->n; i++) {
        uint32_t at = symbols->names[i].hash & (size - 1);
        while (slots[at].number >= 0) at = (at + 1) & (size - 1);
        slots[at] = (Slot){symbols->names[i].hash, i};
    }
    free(symbols->slots);
    symbols->slots = slots;
    symbols->mask = size - 1;
    return true;
}

int32_t symbols_find(const Symbols *symbols, const char *text, int size, uint32_t hash) {
    if (!symbols->slots) return TOO_MANY;
    for (uint32_t at = hash & symbols->mask; symbols->slots[at].number >= 0; at = (at + 1) & symbols->mask) {
        if (symbols->slots[at].hash != hash) continue;
        const Name *name = &symbols->names[symbols->slots[at].number];
        if (name->size == size && memcmp(symbol_text(name), text, (size_t)size) == 0) return symbols->slots[at].number;
    }
    return TOO_MANY;
}

static bool keep_text(Name *name, const char *text) {
    char *into = name->text.near;
    if (name->size > NAME_ROOM && !(into = name->text.far = malloc((size_t)name->size))) return false;
    memcpy(into, text, (size_t)name->size);
    return true;
}

int32_t symbols_of(Symbols *symbols, const char *text, int size, uint32_t hash) {
    int32_t known = symbols_find(symbols, text, size, hash);
    if (known >= 0) return known;
    if ((!symbols->slots || (uint32_t)symbols->n * 2 > symbols->mask) && !rehash(symbols)) return NO_MEMORY;
    i64 cap = symbols->cap;
    if (!grow((void **)&symbols->names, symbols->n, &cap, sizeof(Name))) return NO_MEMORY;
    symbols->cap = (int32_t)cap;
    Name *name = &symbols->names[symbols->n];
    *name = (Name){.hash = hash, .size = size};
    if (!keep_text(name, text)) return NO_MEMORY;
    uint32_t at = hash & symbols->mask;
    while (symbols->slots[at].number >= 0) at = (at + 1) & symbols->mask;
    symbols->slots[at] = (Slot){hash, symbols->n};
    return symbols->n++;
}

void symbols_free(Symbols *symbols) {
    for (int32_t i = 0; i < symbols->n; i++)
        if (symbols->names[i].size > NAME_ROOM) free(symbols->names[i].text.far);
    free(symbols->names);
    free(symbols->slots);
    *symbols = (Symbols){0};
}
