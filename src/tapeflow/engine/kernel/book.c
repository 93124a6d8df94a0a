/* Order books kept from absolute levels; the rules are domain/book.py. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

/* Levels are sorted so that the best price stands last, where changes are most frequent and move the fewest. */
static bool set_level(Levels *side, i64 key, i64 size) {
    i64 low = 0, high = side->n;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (side->at[middle].price < key) low = middle + 1;
        else high = middle;
    }
    bool found = low < side->n && side->at[low].price == key;
    if (!size) {
        if (found) {
            memmove(side->at + low, side->at + low + 1, (size_t)(side->n - low - 1) * sizeof(Level));
            side->n--;
        }
        return true;
    }
    if (!found) {
        if (!grow((void **)&side->at, side->n, &side->cap, sizeof(Level))) return false;
        memmove(side->at + low + 1, side->at + low, (size_t)(side->n - low) * sizeof(Level));
        side->at[low].price = key;
        side->n++;
    }
    side->at[low].size = size;
    return true;
}

bool book_apply(Book *book, i64 id, const Level *bids, i64 n_bids, const Level *asks, i64 n_asks) {
    for (i64 i = 0; i < n_bids; i++)
        if (!set_level(&book->bids, bids[i].price, bids[i].size)) return false;
    for (i64 i = 0; i < n_asks; i++)
        if (!set_level(&book->asks, -asks[i].price, asks[i].size)) return false;
    book->id = id;
    return true;
}

void book_clear(Book *book) { book->bids.n = book->asks.n = 0; }

void book_free(Book *book) {
    free(book->bids.at);
    free(book->asks.at);
}

static i64 top(const Levels *side, i64 depth, bool negated, Levels *into) {
    i64 n = side->n < depth ? side->n : depth;
    for (i64 i = 0; i < n; i++) {
        if (!grow((void **)&into->at, into->n, &into->cap, sizeof(Level))) return -1;
        Level level = side->at[side->n - 1 - i];
        if (negated) level.price = -level.price;
        into->at[into->n++] = level;
    }
    return n;
}

bool book_row(const Book *book, i64 depth, BookRow *row, Levels *into) {
    row->first_level = into->n;
    i64 bids = top(&book->bids, depth, false, into);
    i64 asks = bids < 0 ? -1 : top(&book->asks, depth, true, into);
    row->id = book->id;
    row->n_bids = (int32_t)bids;
    row->n_asks = (int32_t)asks;
    return asks >= 0;
}
