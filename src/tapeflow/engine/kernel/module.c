/* The Python face of the kernel: the types Intake and Windows, and split(). Stable ABI of Python 3.11. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

typedef struct {
    PyObject_HEAD
    Intake intake;
} IntakeObject;

typedef struct {
    PyObject_HEAD
    Windows windows;
} WindowsObject;

static PyTypeObject *intake_type;

static PyObject *no_memory(void) { return PyErr_NoMemory(); }

static bool arguments(Py_ssize_t given, Py_ssize_t expected) {
    if (given == expected) return true;
    PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", expected, given);
    return false;
}

static bool number(PyObject *object, i64 *value) {
    *value = PyLong_AsLongLong(object);
    return *value != -1 || !PyErr_Occurred();
}

/* None stands for a missing time. */
static bool time_of(PyObject *object, i64 *ts) {
    if (object != Py_None) return number(object, ts);
    *ts = NONE_TIME;
    return true;
}

static PyObject *time_object(i64 ts) {
    if (ts == NONE_TIME) Py_RETURN_NONE;
    return PyLong_FromLongLong(ts);
}

static PyObject *array(const void *at, i64 n, size_t size) {
    return PyBytes_FromStringAndSize(n ? at : "", (Py_ssize_t)n * (Py_ssize_t)size);
}

/* Copies whole elements of a bytes-like object; false with an exception set. */
static bool elements(PyObject *object, size_t size, void **at, i64 *n, i64 *cap) {
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &data, &length) < 0) return false;
    if (length % (Py_ssize_t)size) {
        PyErr_SetString(PyExc_ValueError, "a part of a snapshot has the wrong size");
        return false;
    }
    void *copy = malloc(length ? (size_t)length : 1);
    if (!copy) {
        PyErr_NoMemory();
        return false;
    }
    memcpy(copy, data, (size_t)length);
    free(*at);
    *at = copy;
    *n = *cap = length / (Py_ssize_t)size;
    return true;
}

/* ---- Intake -------------------------------------------------------------------------------------------- */

static PyObject *intake_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"lateness_us", "horizon_us", "delay_us", "range_limit", "keep_trades", "keep_quotes", "depth", "symbol_limit", "keep_holes", NULL};
    i64 lateness, horizon, delay, limit, depth = 0, symbol_limit = 1 << 16;
    int keep_trades = 1, keep_quotes = 1, keep_holes = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "LLLL|ppLLp", names, &lateness, &horizon, &delay, &limit, &keep_trades,
                                     &keep_quotes, &depth, &symbol_limit, &keep_holes))
        return NULL;
    IntakeObject *self = (IntakeObject *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    self->intake = (Intake){.lateness_us = lateness, .horizon_us = horizon, .delay_us = delay, .range_limit = limit,
                            .keep_trades = keep_trades, .keep_quotes = keep_quotes, .depth = depth, .symbol_limit = symbol_limit, .keep_holes = keep_holes, .clock = NONE_TIME, .skew = NONE_TIME, .newest = NONE_TIME};
    return (PyObject *)self;
}

static void intake_dealloc(IntakeObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    intake_free(&self->intake);
    PyObject_Free(self);
    Py_DECREF(type);
}

static bool known_symbol(const Intake *intake, PyObject *object, int32_t *symbol) {
    i64 value;
    if (!number(object, &value)) return false;
    if (value < 0 || value >= intake->symbols.n) {
        PyErr_Format(PyExc_IndexError, "no symbol has the number %lld", (long long)value);
        return false;
    }
    *symbol = (int32_t)value;
    return true;
}

static PyObject *intake_read_method(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    i64 from, to;
    Py_buffer buffer, lines;
    if (!arguments(n, 4) || !number(args[2], &from) || !number(args[3], &to)) return NULL;
    if (PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) return NULL;
    if (PyObject_GetBuffer(args[1], &lines, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&buffer);
        return NULL;
    }
    i64 read = NO_MEMORY;
    if (from < 0 || to * (i64)sizeof(Line) > lines.len) {
        PyErr_SetString(PyExc_IndexError, "frames beyond the lines given");
    } else {
        read = intake_read(&self->intake, buffer.buf, lines.buf, from, to);
        if (read < 0) PyErr_NoMemory();
    }
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&lines);
    return read < 0 ? NULL : PyLong_FromLongLong(read);
}

static PyObject *intake_symbol_method(IntakeObject *self, PyObject *text) {
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (!utf8) return NULL;
    int32_t symbol = intake_symbol(&self->intake, utf8, (int)size, symbol_hash(utf8, (int)size));
    if (symbol == TOO_MANY) return PyLong_FromLong(-1);
    return symbol < 0 ? no_memory() : PyLong_FromLong(symbol);
}

static PyObject *intake_symbols_method(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    const Symbols *symbols = &self->intake.symbols;
    PyObject *list = PyList_New(symbols->n);
    for (int32_t i = 0; list && i < symbols->n; i++) {
        PyObject *name = PyUnicode_FromStringAndSize(symbol_text(&symbols->names[i]), symbols->names[i].size);
        if (!name || PyList_SetItem(list, i, name) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *intake_clock_method(IntakeObject *self, PyObject *object) {
    i64 ts;
    if (!time_of(object, &ts)) return NULL;
    intake_clock(&self->intake, ts);
    Py_RETURN_NONE;
}

static PyObject *intake_restart_method(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    intake_restart(&self->intake);
    Py_RETURN_NONE;
}

static PyObject *intake_touch_method(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    int32_t symbol;
    i64 ts_event, ts_recv;
    if (!arguments(n, 3) || !known_symbol(&self->intake, args[0], &symbol) || !time_of(args[1], &ts_event) ||
        !time_of(args[2], &ts_recv))
        return NULL;
    self->intake.events++;
    if (ts_event != NONE_TIME) intake_touch(&self->intake, symbol, ts_event, ts_recv);
    Py_RETURN_NONE;
}

static PyObject *intake_watermark_method(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    return time_object(intake_watermark(&self->intake, symbol));
}

static PyObject *intake_put_method(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    Trade trade = {0};
    i64 flags;
    if (!arguments(n, 9) || !known_symbol(&self->intake, args[0], &trade.symbol) || !number(args[1], &flags) ||
        !number(args[2], &trade.id) || !number(args[3], &trade.first_id) || !number(args[4], &trade.last_id) ||
        !number(args[5], &trade.price) || !number(args[6], &trade.size) || !number(args[7], &trade.ts_event) ||
        !time_of(args[8], &trade.ts_recv))
        return NULL;
    trade.side = flags & 1;
    trade.coarse = (flags >> 1) & 1;
    trade.aggregate = (flags >> 2) & 1;
    trade.pad = (flags >> 3) & 1; /* of an answer; intake_put takes it back */
    Put put = intake_put(&self->intake, &trade);
    return put == PUT_NO_MEMORY ? no_memory() : PyLong_FromLong(put);
}

static PyObject *intake_put_all_method(IntakeObject *self, PyObject *object) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    i64 n = buffer.len / (Py_ssize_t)sizeof(Trade), refused = 0;
    const Trade *trades = buffer.buf;
    bool failed = false;
    for (i64 i = 0; i < n && !failed; i++) {
        Trade trade = trades[i];
        if (trade.symbol < 0 || trade.symbol >= self->intake.symbols.n) {
            PyErr_SetString(PyExc_IndexError, "a trade names no known symbol");
            failed = true;
            break;
        }
        intake_clock(&self->intake, trade.ts_recv);
        Put put = intake_put(&self->intake, &trade);
        if (put == PUT_NO_MEMORY) {
            PyErr_NoMemory();
            failed = true;
        }
        refused += put == PUT_OVERLAP || put == PUT_SWITCH;
    }
    PyBuffer_Release(&buffer);
    return failed ? NULL : PyLong_FromLongLong(refused);
}

static PyObject *intake_take_trades(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *bytes = array(self->intake.trades, self->intake.n_trades, sizeof(Trade));
    if (bytes) self->intake.n_trades = self->intake.n_folded = 0;
    return bytes;
}

static PyObject *intake_take_late(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *bytes = array(self->intake.late, self->intake.n_late, sizeof(Trade));
    if (bytes) self->intake.n_late = 0;
    return bytes;
}

static PyObject *intake_take_quotes(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *bytes = array(self->intake.quotes, self->intake.n_quotes, sizeof(Quote));
    if (bytes) self->intake.n_quotes = 0;
    return bytes;
}

/* (price, size) pairs of a sequence, put behind those that are there; false with an exception set. */
static bool level_pairs(PyObject *sequence, Levels *levels, i64 *n) {
    *n = PySequence_Size(sequence);
    for (Py_ssize_t i = 0; i < *n; i++) {
        PyObject *pair = PySequence_GetItem(sequence, i);
        Level level;
        bool good = pair && PyArg_ParseTuple(pair, "LL", &level.price, &level.size);
        Py_XDECREF(pair);
        if (!good) return false;
        if (!grow((void **)&levels->at, levels->n, &levels->cap, sizeof(Level))) {
            PyErr_NoMemory();
            return false;
        }
        levels->at[levels->n++] = level;
    }
    return *n >= 0;
}

static PyObject *intake_book_method(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    Intake *intake = &self->intake;
    int32_t symbol;
    i64 id, ts_event, ts_recv, n_bids, n_asks;
    int whole;
    if (!arguments(n, 7) || !known_symbol(intake, args[0], &symbol) || !number(args[1], &id) ||
        !time_of(args[4], &ts_event) || !time_of(args[5], &ts_recv) || (whole = PyObject_IsTrue(args[6])) < 0)
        return NULL;
    intake->levels.n = 0;
    if (!level_pairs(args[2], &intake->levels, &n_bids) || !level_pairs(args[3], &intake->levels, &n_asks)) return NULL;
    Book *book = &intake->markets[symbol].book;
    if (whole) book_clear(book);
    const Level *levels = intake->levels.at;
    if (!book_apply(book, id, levels, n_bids, n_bids ? levels + n_bids : levels, n_asks)) return no_memory();
    book->live = true;
    intake->markets[symbol].waits = false;
    book->ts_event = ts_event;
    if (intake_book_row(intake, symbol, ts_event, ts_recv) < 0) return no_memory();
    Py_RETURN_NONE;
}

static PyObject *intake_break_book(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    self->intake.markets[symbol].book.live = false;
    Py_RETURN_NONE;
}

static PyObject *intake_position(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    const Book *book = &self->intake.markets[symbol].book;
    if (!book->live) Py_RETURN_NONE;
    return Py_BuildValue("(LN)", book->id, time_object(book->ts_event));
}

static PyObject *intake_wait_for_book(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    self->intake.markets[symbol].waits = true;
    Py_RETURN_NONE;
}

static PyObject *intake_take_held(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    Intake *intake = &self->intake;
    PyObject *list = PyList_New(intake->n_held);
    for (i64 i = 0; list && i < intake->n_held; i++) {
        const Held *held = &intake->held[i];
        PyObject *pair = Py_BuildValue("(Ny#)", time_object(held->ts_recv), intake->held_bytes + held->start,
                                       (Py_ssize_t)held->size);
        if (!pair || PyList_SetItem(list, i, pair) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    if (list) intake->n_held = intake->n_held_bytes = 0;
    return list;
}

static PyObject *intake_take_books(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    Intake *intake = &self->intake;
    PyObject *pair = Py_BuildValue("(NN)", array(intake->book_rows, intake->n_book_rows, sizeof(BookRow)),
                                   array(intake->book_levels.at, intake->book_levels.n, sizeof(Level)));
    if (pair) intake->n_book_rows = intake->book_levels.n = 0;
    return pair;
}

static PyObject *intake_newest_quotes(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    const Intake *intake = &self->intake;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)intake->symbols.n * (Py_ssize_t)sizeof(Quote));
    char *into = bytes ? PyBytes_AsString(bytes) : NULL;
    for (int32_t i = 0; into && i < intake->symbols.n; i++)
        memcpy(into + (size_t)i * sizeof(Quote), &intake->markets[i].newest, sizeof(Quote));
    return bytes;
}

static PyObject *intake_put_quote(IntakeObject *self, PyObject *object) {
    Intake *intake = &self->intake;
    Quote quote = {0};
    if (!PyArg_ParseTuple(object, "iiLLLLLLL", &quote.symbol, &quote.pad, &quote.id, &quote.bid, &quote.bid_size,
                          &quote.ask, &quote.ask_size, &quote.ts_event, &quote.ts_recv))
        return NULL;
    if (quote.symbol < 0 || quote.symbol >= intake->symbols.n) {
        PyErr_SetString(PyExc_IndexError, "a quote names no known symbol");
        return NULL;
    }
    intake_quote(intake, &quote);
    if (intake->keep_quotes) {
        if (!grow((void **)&intake->quotes, intake->n_quotes, &intake->cap_quotes, sizeof(Quote))) return no_memory();
        intake->quotes[intake->n_quotes++] = quote;
    }
    Py_RETURN_NONE;
}

static PyObject *intake_covers(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    int32_t symbol;
    i64 lo, hi, at;
    if (!arguments(n, 3) || !known_symbol(&self->intake, args[0], &symbol) || !number(args[1], &lo) ||
        !number(args[2], &hi))
        return NULL;
    return PyBool_FromLong(seen_look(&self->intake.progress[symbol].seen, lo, hi, &at) == SEEN_DUPLICATE);
}

static PyObject *intake_ranges_method(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    Progress *progress = &self->intake.progress[symbol];
    seen_settle(&progress->seen);
    return array(progress->seen.at, progress->seen.n, sizeof(Range));
}

static PyObject *intake_source_method(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    return PyLong_FromLong(self->intake.progress[symbol].source);
}

static PyObject *intake_forget_method(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    Progress *progress = &self->intake.progress[symbol];
    progress->seen.n = progress->seen.floor = 0;
    progress->seen.hi = -2;
    progress->source = SOURCE_NONE;
    self->intake.markets[symbol].n_given_up = 0;
    Py_RETURN_NONE;
}

static PyObject *intake_is_future_method(IntakeObject *self, PyObject *object) {
    i64 ts;
    if (!number(object, &ts)) return NULL;
    return PyBool_FromLong(intake_is_future(&self->intake, ts));
}

static PyObject *intake_hold_method(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    return PyLong_FromLongLong(intake_hold(&self->intake, symbol));
}

static PyObject *intake_give_up_method(IntakeObject *self, PyObject *const *args, Py_ssize_t n) {
    int32_t symbol;
    i64 lo, hi;
    if (!arguments(n, 3) || !known_symbol(&self->intake, args[0], &symbol) || !number(args[1], &lo) ||
        !number(args[2], &hi))
        return NULL;
    if (!intake_give_up(&self->intake, symbol, lo, hi)) return no_memory();
    Py_RETURN_NONE;
}

static PyObject *intake_given_up(IntakeObject *self, PyObject *object) {
    int32_t symbol;
    if (!known_symbol(&self->intake, object, &symbol)) return NULL;
    const Market *market = &self->intake.markets[symbol];
    return array(market->given_up, market->n_given_up, sizeof(Range));
}

static PyObject *intake_counts(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    const Intake *intake = &self->intake;
    return Py_BuildValue("(LLLLLLLL)", intake->events, intake->duplicates, intake->ignored_aggregates, intake->n_trades,
                         intake->n_late, intake->n_quotes, intake->n_book_rows, intake->holes);
}

/* A book as (id, live, bids, asks), levels as they lie. */
static PyObject *book_state(const Book *book) {
    return Py_BuildValue("(LLiy#y#)", book->id, book->ts_event, (int)book->live, book->bids.n ? (const char *)book->bids.at : "",
                         (Py_ssize_t)(book->bids.n * (i64)sizeof(Level)),
                         book->asks.n ? (const char *)book->asks.at : "",
                         (Py_ssize_t)(book->asks.n * (i64)sizeof(Level)));
}

static bool restore_book(Book *book, PyObject *state) {
    PyObject *bids, *asks;
    int live;
    if (!PyArg_ParseTuple(state, "LLiOO", &book->id, &book->ts_event, &live, &bids, &asks)) return false;
    book->live = live;
    return elements(bids, sizeof(Level), (void **)&book->bids.at, &book->bids.n, &book->bids.cap) &&
           elements(asks, sizeof(Level), (void **)&book->asks.at, &book->asks.n, &book->asks.cap);
}

static PyObject *intake_state(IntakeObject *self, PyObject *Py_UNUSED(none)) {
    Intake *intake = &self->intake;
    PyObject *list = PyList_New(0);
    for (int32_t i = 0; list && i < intake->symbols.n; i++) {
        Progress *progress = &intake->progress[i];
        const Market *market = &intake->markets[i];
        seen_settle(&progress->seen);
        PyObject *item = Py_BuildValue("(s#LiLy#Ny#y#)", symbol_text(&intake->symbols.names[i]), (Py_ssize_t)intake->symbols.names[i].size,
                                       progress->ts_max, (int)progress->source, progress->seen.floor,
                                       progress->seen.n ? (const char *)progress->seen.at : "",
                                       (Py_ssize_t)(progress->seen.n * (i64)sizeof(Range)),
                                       book_state(&market->book), (const char *)&market->newest,
                                       (Py_ssize_t)sizeof(Quote),
                                       market->n_given_up ? (const char *)market->given_up : "",
                                       (Py_ssize_t)(market->n_given_up * (i64)sizeof(Range)));
        if (!item || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(item);
    }
    return Py_BuildValue("(LLLLLN)", intake->clock, intake->skew, intake->events, intake->duplicates,
                         intake->ignored_aggregates, list);
}

static PyObject *intake_restore(IntakeObject *self, PyObject *state) {
    Intake *intake = &self->intake;
    PyObject *list;
    i64 clock, skew, events, duplicates, ignored;
    if (intake->symbols.n) {
        PyErr_SetString(PyExc_ValueError, "restore into a new Intake");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "LLLLLO", &clock, &skew, &events, &duplicates, &ignored, &list)) return NULL;
    Py_ssize_t n = PySequence_Size(list);
    if (n < 0) return NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PySequence_GetItem(list, i), *ranges, *book, *given_up;
        const char *name, *newest;
        Py_ssize_t size, newest_size;
        i64 ts_max, floor;
        int source;
        if (!item) return NULL;
        if (!PyArg_ParseTuple(item, "s#LiLOOy#O", &name, &size, &ts_max, &source, &floor, &ranges, &book, &newest,
                              &newest_size, &given_up)) {
            Py_DECREF(item);
            return NULL;
        }
        int32_t symbol = intake_symbol(intake, name, (int)size, symbol_hash(name, (int)size));
        if (symbol < 0) {
            Py_DECREF(item);
            return no_memory();
        }
        Progress *progress = &intake->progress[symbol];
        progress->ts_max = ts_max;
        if (ts_max > intake->newest) intake->newest = ts_max;
        progress->source = (Source)source;
        progress->seen.floor = floor;
        bool good = elements(ranges, sizeof(Range), (void **)&progress->seen.at, &progress->seen.n, &progress->seen.cap) &&
                    restore_book(&intake->markets[symbol].book, book) &&
                    elements(given_up, sizeof(Range), (void **)&intake->markets[symbol].given_up,
                             &intake->markets[symbol].n_given_up, &intake->markets[symbol].cap_given_up);
        if (good && progress->seen.n) {
            progress->seen.hi = progress->seen.at[progress->seen.n - 1].hi;
            progress->seen.ts_hi = progress->seen.at[progress->seen.n - 1].ts_hi;
        }
        if (good && newest_size == (Py_ssize_t)sizeof(Quote)) {
            memcpy(&intake->markets[symbol].newest, newest, sizeof(Quote));
            intake->markets[symbol].newest.symbol = symbol;
        }
        Py_DECREF(item);
        if (!good) return NULL;
    }
    intake->clock = clock;
    intake->skew = skew;
    intake->events = events;
    intake->duplicates = duplicates;
    intake->ignored_aggregates = ignored;
    Py_RETURN_NONE;
}

static PyMethodDef intake_methods[] = {
    {"read", (PyCFunction)(void (*)(void))intake_read_method, METH_FASTCALL, "read(buffer, lines, from, to): first frame left to the twin."},
    {"symbol", (PyCFunction)intake_symbol_method, METH_O, "The number of a symbol."},
    {"symbols", (PyCFunction)intake_symbols_method, METH_NOARGS, "The symbols by number."},
    {"clock", (PyCFunction)intake_clock_method, METH_O, "Moves the tape's clock."},
    {"restart", (PyCFunction)intake_restart_method, METH_NOARGS, "The clock is another one from here on; no watermark goes back."},
    {"touch", (PyCFunction)(void (*)(void))intake_touch_method, METH_FASTCALL, "touch(symbol, ts_event, ts_recv): an event that is no trade."},
    {"watermark", (PyCFunction)intake_watermark_method, METH_O, "A symbol's watermark, or None."},
    {"put", (PyCFunction)(void (*)(void))intake_put_method, METH_FASTCALL, "One trade; the verdict."},
    {"put_all", (PyCFunction)intake_put_all_method, METH_O, "Trades as packed columns; how many were refused."},
    {"take_trades", (PyCFunction)intake_take_trades, METH_NOARGS, "The trades, which are then forgotten."},
    {"take_late", (PyCFunction)intake_take_late, METH_NOARGS, "The late trades, which are then forgotten."},
    {"take_quotes", (PyCFunction)intake_take_quotes, METH_NOARGS, "The quotes, which are then forgotten."},
    {"book", (PyCFunction)(void (*)(void))intake_book_method, METH_FASTCALL, "book(symbol, id, bids, asks, ts_event, ts_recv, whole): a snapshot or a delta that follows."},
    {"break_book", (PyCFunction)intake_break_book, METH_O, "The deltas of a book have a gap."},
    {"position", (PyCFunction)intake_position, METH_O, "Id and time of the last change of a live book, else None."},
    {"wait_for_book", (PyCFunction)intake_wait_for_book, METH_O, "A book waits for its first snapshot: hold its deltas."},
    {"take_held", (PyCFunction)intake_take_held, METH_NOARGS, "(receive time, frame) of what is held, which is then forgotten."},
    {"take_books", (PyCFunction)intake_take_books, METH_NOARGS, "The book rows and their levels, which are then forgotten."},
    {"newest_quotes", (PyCFunction)intake_newest_quotes, METH_NOARGS, "The newest quote of each symbol."},
    {"put_quote", (PyCFunction)intake_put_quote, METH_O, "A quote, as columns."},
    {"covers", (PyCFunction)(void (*)(void))intake_covers, METH_FASTCALL, "covers(symbol, lo, hi): every id was seen."},
    {"ranges", (PyCFunction)intake_ranges_method, METH_O, "The ranges of ids seen of a symbol."},
    {"source", (PyCFunction)intake_source_method, METH_O, "Where the trades of a symbol come from."},
    {"forget", (PyCFunction)intake_forget_method, METH_O, "Begins a symbol anew."},
    {"counts", (PyCFunction)intake_counts, METH_NOARGS, "events, duplicates, ignored aggregates, and what waits."},
    {"is_future", (PyCFunction)intake_is_future_method, METH_O, "True for a time more than a day ahead of all that was heard."},
    {"hold", (PyCFunction)intake_hold_method, METH_O, "The time from which on nothing of a symbol may be dropped."},
    {"give_up", (PyCFunction)intake_give_up_method, METH_FASTCALL, "A hole (symbol, first id, last id) will not be filled."},
    {"given_up", (PyCFunction)intake_given_up, METH_O, "The holes that will not be filled, as RANGE columns."},
    {"state", (PyCFunction)intake_state, METH_NOARGS, "The state as a value."},
    {"restore", (PyCFunction)intake_restore, METH_O, "Becomes a state."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot intake_slots[] = {
    {Py_tp_doc, "Frames in, unique stamped trades out; the twin of tapeflow.engine.intake.Intake."},
    {Py_tp_new, intake_new},
    {Py_tp_dealloc, intake_dealloc},
    {Py_tp_methods, intake_methods},
    {0, NULL},
};

static PyType_Spec intake_spec = {"tapeflow.engine._kernel.Intake", sizeof(IntakeObject), 0, Py_TPFLAGS_DEFAULT, intake_slots};

/* ---- Windows ------------------------------------------------------------------------------------------- */

static bool window_list(PyObject *list, Window *windows, int limit, int *n) {
    Py_ssize_t size = PySequence_Size(list);
    if (size < 0) return false;
    if (size > limit) {
        PyErr_Format(PyExc_ValueError, "at most %d windows, got %zd", limit, size);
        return false;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = PySequence_GetItem(list, i);
        bool good = item && PyArg_ParseTuple(item, "LLLL", &windows[i].size, &windows[i].slide, &windows[i].origin, &windows[i].pane);
        Py_XDECREF(item);
        if (!good) return false;
        if (windows[i].size <= 0 || windows[i].slide <= 0 || windows[i].pane <= 0) {
            PyErr_SetString(PyExc_ValueError, "a window needs a positive size, slide and pane");
            return false;
        }
    }
    *n = (int)size;
    return true;
}

static PyObject *windows_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"candles", "means", "horizon_us", "keep_holes", NULL};
    PyObject *candles, *means;
    i64 horizon;
    int keep_holes = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOL|p", names, &candles, &means, &horizon, &keep_holes)) return NULL;
    WindowsObject *self = (WindowsObject *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    self->windows.horizon_us = horizon;
    self->windows.keep_holes = keep_holes;
    if (!window_list(candles, self->windows.candle, 32, &self->windows.n_candle) ||
        !window_list(means, self->windows.mean, 16, &self->windows.n_mean)) {
        Py_DECREF(self);
        return NULL;
    }
    windows_plan(&self->windows);
    return (PyObject *)self;
}

static void windows_dealloc(WindowsObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    windows_free(&self->windows);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Intake *intake_of(PyObject *object) {
    if (PyObject_TypeCheck(object, intake_type)) return &((IntakeObject *)object)->intake;
    PyErr_SetString(PyExc_TypeError, "expected an Intake of the kernel");
    return NULL;
}

static PyObject *rows_waiting(const WindowsObject *self) {
    return PyLong_FromLongLong(self->windows.n_candle_rows + self->windows.n_mean_rows);
}

static PyObject *windows_add_method(WindowsObject *self, PyObject *object) {
    Intake *intake = intake_of(object);
    if (!intake) return NULL;
    i64 n = intake->n_trades - intake->n_folded;
    if (n && windows_add(&self->windows, intake->trades + intake->n_folded, n) < 0) return no_memory();
    if (!intake->keep_trades) intake->n_trades = 0;
    intake->n_folded = intake->n_trades;
    i64 waiting = intake->n_trades + intake->n_late + intake->n_quotes + intake->n_book_rows;
    return PyLong_FromLongLong(waiting + self->windows.n_candle_rows + self->windows.n_mean_rows);
}

static PyObject *windows_advance_method(WindowsObject *self, PyObject *object) {
    Intake *intake = intake_of(object);
    if (!intake) return NULL;
    for (int32_t i = 0; i < intake->symbols.n; i++)
        if (windows_advance(&self->windows, i, intake_watermark(intake, i)) < 0) return no_memory();
    return rows_waiting(self);
}

static PyObject *windows_hold_method(WindowsObject *self, PyObject *object) {
    Intake *intake = intake_of(object);
    if (!intake) return NULL;
    for (int32_t i = 0; i < intake->symbols.n; i++) windows_hold(&self->windows, i, intake_hold(intake, i));
    Py_RETURN_NONE;
}

static PyObject *windows_forming_method(WindowsObject *self, PyObject *args) {
    i64 only = -1;
    if (!PyArg_ParseTuple(args, "|L", &only)) return NULL;
    if (only >= self->windows.n_keys) return rows_waiting(self);
    for (i64 i = only < 0 ? 0 : only; i < (only < 0 ? self->windows.n_keys : only + 1); i++)
        if (windows_forming(&self->windows, (int32_t)i) < 0) return no_memory();
    return rows_waiting(self);
}

static PyObject *windows_take_candles(WindowsObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *bytes = array(self->windows.candle_rows, self->windows.n_candle_rows, sizeof(CandleRow));
    if (bytes) self->windows.n_candle_rows = 0;
    return bytes;
}

static PyObject *windows_take_means(WindowsObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *bytes = array(self->windows.mean_rows, self->windows.n_mean_rows, sizeof(MeanRow));
    if (bytes) self->windows.n_mean_rows = 0;
    return bytes;
}

static PyObject *windows_forget_method(WindowsObject *self, PyObject *object) {
    i64 symbol;
    if (!number(object, &symbol)) return NULL;
    if (symbol >= 0) windows_forget(&self->windows, (int32_t)symbol);
    Py_RETURN_NONE;
}

static bool append(PyObject *list, PyObject *item) {
    bool good = list && item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return good;
}

static PyObject *key_state(WindowsObject *self, int32_t symbol) {
    const Windows *windows = &self->windows;
    const Key *key = windows->keys[symbol];
    PyObject *candles = PyList_New(0), *means = PyList_New(0);
    bool good = candles && means;
    for (int i = 0; good && i < windows->n_candle; i++) {
        const CandleTrack *track = &key->candles[i];
        good = append(candles, Py_BuildValue("(Ly#)", track->closed, track->n ? (const char *)track->at : "",
                                             (Py_ssize_t)(track->n * (i64)sizeof(Candle))));
    }
    for (int i = 0; good && i < windows->n_mean; i++) {
        const MeanTrack *track = &key->means[i];
        good = append(means, Py_BuildValue("(Ly#)", track->next_end, track->n ? (const char *)track->at : "",
                                           (Py_ssize_t)(track->n * (i64)sizeof(Pane))));
    }
    if (!good) {
        Py_XDECREF(candles);
        Py_XDECREF(means);
        return NULL;
    }
    return Py_BuildValue("(iLNN)", (int)symbol, key->ts_watermark, candles, means);
}

static PyObject *windows_state(WindowsObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *list = PyList_New(0);
    for (int32_t i = 0; list && i < self->windows.n_keys; i++) {
        if (!self->windows.keys[i]) continue;
        if (windows_settle(&self->windows, i) < 0) {
            Py_DECREF(list);
            return no_memory();
        }
        if (!append(list, key_state(self, i))) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static bool restore_track(PyObject *pair, size_t size, void **at, i64 *n, i64 *cap, i64 *extra) {
    PyObject *bytes;
    bool good = pair && PyArg_ParseTuple(pair, "LO", extra, &bytes) && elements(bytes, size, at, n, cap);
    Py_XDECREF(pair);
    return good;
}

static bool restore_key(Windows *windows, PyObject *item) {
    int symbol;
    i64 ts_watermark;
    PyObject *candles, *means;
    if (!PyArg_ParseTuple(item, "iLOO", &symbol, &ts_watermark, &candles, &means)) return false;
    if (symbol < 0 || PySequence_Size(candles) != windows->n_candle || PySequence_Size(means) != windows->n_mean) {
        PyErr_SetString(PyExc_ValueError, "the snapshot is of other windows");
        return false;
    }
    Key *key = windows_key(windows, symbol);
    if (!key) {
        PyErr_NoMemory();
        return false;
    }
    key->ts_watermark = ts_watermark;
    for (int i = 0; i < windows->n_candle; i++) {
        CandleTrack *track = &key->candles[i];
        if (!restore_track(PySequence_GetItem(candles, i), sizeof(Candle), (void **)&track->at, &track->n, &track->cap, &track->closed))
            return false;
        if (track->closed < 0 || track->closed > track->n) {
            PyErr_SetString(PyExc_ValueError, "a snapshot claims more closed windows than it has");
            return false;
        }
    }
    for (int i = 0; i < windows->n_mean; i++) {
        MeanTrack *track = &key->means[i];
        if (!restore_track(PySequence_GetItem(means, i), sizeof(Pane), (void **)&track->at, &track->n, &track->cap, &track->next_end))
            return false;
    }
    key->next_close = NONE_TIME; /* recomputed at the first chance */
    key->fine = 1;               /* a snapshot holds both orders */
    return true;
}

static PyObject *windows_restore(WindowsObject *self, PyObject *list) {
    Py_ssize_t n = PySequence_Size(list);
    if (n < 0) return NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PySequence_GetItem(list, i);
        bool good = item && restore_key(&self->windows, item);
        Py_XDECREF(item);
        if (!good) return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef windows_methods[] = {
    {"add", (PyCFunction)windows_add_method, METH_O, "Folds the trades that wait in an Intake; how many rows wait, there and here."},
    {"advance", (PyCFunction)windows_advance_method, METH_O, "Closes what the Intake's clock allows."},
    {"hold", (PyCFunction)windows_hold_method, METH_O, "Keeps from now on what the open holes of an Intake may still change."},
    {"forming", (PyCFunction)windows_forming_method, METH_VARARGS, "Gives a row of every window still open."},
    {"take_candles", (PyCFunction)windows_take_candles, METH_NOARGS, "The candle rows, which are then forgotten."},
    {"take_means", (PyCFunction)windows_take_means, METH_NOARGS, "The mean rows, which are then forgotten."},
    {"forget", (PyCFunction)windows_forget_method, METH_O, "Begins a symbol anew."},
    {"state", (PyCFunction)windows_state, METH_NOARGS, "The state as a value."},
    {"restore", (PyCFunction)windows_restore, METH_O, "Becomes a state."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot windows_slots[] = {
    {Py_tp_doc, "Trades to candles and sliding means; the twin of tapeflow.engine.windows.Windows."},
    {Py_tp_new, windows_new},
    {Py_tp_dealloc, windows_dealloc},
    {Py_tp_methods, windows_methods},
    {0, NULL},
};

static PyType_Spec windows_spec = {"tapeflow.engine._kernel.Windows", sizeof(WindowsObject), 0, Py_TPFLAGS_DEFAULT, windows_slots};

/* ---- module -------------------------------------------------------------------------------------------- */

static PyObject *split(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n) {
    i64 from, limit, next = 0;
    Py_buffer buffer;
    if (!arguments(n, 4) || !number(args[1], &from) || !number(args[3], &limit)) return NULL;
    int last = PyObject_IsTrue(args[2]);
    if (last < 0 || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) return NULL;
    Line *lines = limit > 0 ? malloc((size_t)limit * sizeof(Line)) : NULL;
    PyObject *result = NULL;
    if (!lines || from < 0) {
        PyErr_NoMemory();
    } else {
        i64 found = split_lines(buffer.buf, buffer.len, from, last, lines, limit, &next);
        result = Py_BuildValue("(y#L)", (const char *)lines, (Py_ssize_t)(found * (i64)sizeof(Line)), next);
    }
    free(lines);
    PyBuffer_Release(&buffer);
    return result;
}

static PyObject *nearest_method(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n) {
    if (!arguments(n, 3)) return NULL;
    u64 hi = PyLong_AsUnsignedLongLong(args[0]), lo = PyLong_AsUnsignedLongLong(args[1]);
    u64 power = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred()) return NULL;
    if (!power) {
        PyErr_SetString(PyExc_ZeroDivisionError, "power is zero");
        return NULL;
    }
    return PyFloat_FromDouble(nearest(wide(lo, hi), power));
}

static PyObject *decimal_texts(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n) {
    i64 width, scale;
    Py_buffer buffer;
    if (!arguments(n, 3) || !number(args[1], &width) || !number(args[2], &scale)) return NULL;
    if ((width != 8 && width != 16) || scale < 0 || scale > 38) {
        PyErr_SetString(PyExc_ValueError, "expected a width of 8 or 16 bytes and a scale up to 38");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) return NULL;
    Py_ssize_t rows = buffer.len / (Py_ssize_t)width;
    PyObject *list = PyList_New(rows);
    char text[64];
    for (Py_ssize_t i = 0; list && i < rows; i++) {
        i128 value;
        if (width == 8) {
            i64 narrow;
            memcpy(&narrow, (const char *)buffer.buf + i * 8, 8);
            value = narrow;
        } else {
            memcpy(&value, (const char *)buffer.buf + i * 16, 16);
        }
        char *start = decimal_text(value < 0 ? -(u128)value : (u128)value, value < 0, (int)scale, text + sizeof text);
        PyObject *item = PyUnicode_FromStringAndSize(start, text + sizeof text - start);
        if (!item || PyList_SetItem(list, i, item) < 0) {
            Py_DECREF(list);
            list = NULL;
        }
    }
    PyBuffer_Release(&buffer);
    return list;
}

/* ---- rows as JSON -------------------------------------------------------------------------------------- */

enum { PARTS = 3 }; /* buffers of a column: which cells are not null, values, what the values point into */

typedef struct {
    Column column;
    Py_buffer parts[PARTS];
    int held;
} Bound;

static bool hold(Bound *held, PyObject *object, const void **at, i64 *size) {
    Py_buffer *buffer = &held->parts[held->held];
    if (object == Py_None) return true;
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0) return false;
    held->held++;
    *at = buffer->buf;
    *size = buffer->len;
    return true;
}

/* A column is (kind, head, offset, scale, valid, values, heap); what is not there is None. */
static bool held_column(PyObject *object, i64 rows, Bound *held) {
    Column *column = &held->column;
    PyObject *head, *valid, *values, *heap;
    Py_ssize_t head_size;
    if (!PyArg_ParseTuple(object, "iSLiOOO", &column->kind, &head, &column->offset, &column->scale, &valid, &values, &heap))
        return false;
    if (PyBytes_AsStringAndSize(head, (char **)&column->head, &head_size) < 0) return false;
    column->head_size = head_size;
    if (!hold(held, valid, (const void **)&column->valid, &column->valid_size) ||
        !hold(held, values, (const void **)&column->values, &column->values_size) ||
        !hold(held, heap, (const void **)&column->heap, &column->heap_size))
        return false;
    if (column_holds(column, rows)) return true;
    PyErr_SetString(PyExc_ValueError, "a column has fewer values than there are rows");
    return false;
}

static PyObject *rows_text(Bound *held, PyObject *list, i64 rows, char between) {
    Py_ssize_t n = PyTuple_Size(list);
    Column *columns = malloc((n ? (size_t)n : 1) * sizeof *columns);
    if (!columns) return no_memory();
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!held_column(PyTuple_GetItem(list, i), rows, &held[i])) {
            free(columns);
            return NULL;
        }
        columns[i] = held[i].column;
    }
    Text text = {0};
    bool done;
    Py_BEGIN_ALLOW_THREADS
    done = json_rows(&text, columns, n, rows, between);
    Py_END_ALLOW_THREADS
    PyObject *made = NULL;
    if (done) made = PyBytes_FromStringAndSize(text.n ? text.at : "", (Py_ssize_t)text.n);
    else PyErr_SetString(PyExc_ValueError, "a column is not what its kind says, or there is no memory");
    free(text.at);
    free(columns);
    return made;
}

static PyObject *json_rows_method(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n) {
    i64 rows, between;
    if (!arguments(n, 3) || !number(args[1], &rows) || !number(args[2], &between)) return NULL;
    if (!PyTuple_Check(args[0]) || rows < 0 || rows > (i64)1 << 40) {
        PyErr_SetString(PyExc_ValueError, "expected a tuple of columns and a number of rows");
        return NULL;
    }
    Py_ssize_t columns = PyTuple_Size(args[0]);
    Bound *held = calloc(columns ? (size_t)columns : 1, sizeof *held);
    if (!held) return no_memory();
    PyObject *made = rows_text(held, args[0], rows, (char)between);
    for (Py_ssize_t i = 0; i < columns; i++)
        while (held[i].held) PyBuffer_Release(&held[i].parts[--held[i].held]);
    free(held);
    return made;
}

static PyMethodDef module_methods[] = {
    {"decimal_texts", (PyCFunction)(void (*)(void))decimal_texts, METH_FASTCALL, "decimal_texts(buffer, width, scale): canonical texts of mantissas of 8 or 16 bytes."},
    {"json_rows", (PyCFunction)(void (*)(void))json_rows_method, METH_FASTCALL, "json_rows(columns, rows, between): a JSON object for each row."},
    {"split", (PyCFunction)(void (*)(void))split, METH_FASTCALL, "split(buffer, from, last, limit): lines, and where to go on."},
    {"nearest", (PyCFunction)(void (*)(void))nearest_method, METH_FASTCALL, "nearest(hi, lo, power): the float64 nearest to value / power."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tapeflow.engine._kernel", "The compiled kernel.", -1, module_methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *self = PyModule_Create(&module);
    if (!self) return NULL;
    intake_type = (PyTypeObject *)PyType_FromSpec(&intake_spec);
    PyObject *windows_type = PyType_FromSpec(&windows_spec);
    if (!intake_type || !windows_type) return NULL;
    if (PyModule_AddObjectRef(self, "Intake", (PyObject *)intake_type) < 0 ||
        PyModule_AddObjectRef(self, "Windows", windows_type) < 0)
        return NULL;
    Py_DECREF(windows_type);
    return self;
}
