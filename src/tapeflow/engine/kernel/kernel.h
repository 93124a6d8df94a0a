/* The compiled kernel: frames to stamped unique trades (intake.c), trades to windows (windows.c), rows to JSON (text.c).
 *
 * Plain C11 without Python: module.c is the only file that knows of it, so that sanitizers and the fuzzer
 * (fuzz.c) work on the same code. Every rule here has a twin in Python (engine/intake.py, engine/windows.py)
 * and a test holds the two to the same bytes. What is not understood at once is left to the twin: the reader
 * stops at such a frame and says where.
 */
#ifndef TAPEFLOW_KERNEL_H
#define TAPEFLOW_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t i64;
typedef uint64_t u64;
typedef __int128 i128;
typedef unsigned __int128 u128;

#define NONE_TIME INT64_MIN
#define SCALE_POWER 100000000 /* prices and sizes of the compiled path have eight decimals */
#define LATEST_US 4102444800000000LL

enum { OK = 0, NO_MEMORY = -1, TOO_MANY = -2 };

/* ---- values ------------------------------------------------------------------------------------------- */

/* One stamped trade; the layout is engine/columns.py: TRADE. */
typedef struct {
    int32_t symbol;
    uint8_t side;      /* 0 buy, 1 sell: the taker's */
    uint8_t coarse;    /* the venue wrote its time in milliseconds */
    uint8_t aggregate;
    uint8_t pad;
    i64 id, first_id, last_id, price, size, ts_event, ts_recv, ts_watermark;
} Trade;

typedef struct {
    int32_t symbol;
    int32_t pad;
    i64 id, bid, bid_size, ask, ask_size, ts_event, ts_recv;
} Quote;

typedef struct {
    i64 price, size;
} Level;

typedef struct {
    Level *at;
    i64 n, cap;
} Levels;

/* ---- frames (binance.c) ------------------------------------------------------------------------------- */

typedef enum { FRAME_OTHER, FRAME_TRADE, FRAME_AGGREGATE, FRAME_QUOTE, FRAME_DELTA } FrameKind;

typedef struct {
    FrameKind kind;
    const char *symbol;
    int symbol_size;
    i64 id, first_id, last_id, price, size, ts_event, ts_sent;
    i64 bid, bid_size, ask, ask_size;
    bool sell, coarse;
    i64 bids, asks; /* numbers of levels, bids first, in the Levels given */
} Frame;

/* Reads one Binance spot frame of a form it knows to the letter; anything else is FRAME_OTHER. */
FrameKind binance_read(const char *p, const char *end, Frame *frame, Levels *levels);

/* Splits lines of "[receive time] json" from a buffer; see split.c. */
typedef struct {
    i64 start, end, ts_recv;
} Line;
i64 split_lines(const char *buffer, i64 size, i64 from, bool last, Line *lines, i64 limit, i64 *next);

/* ---- symbols (symbols.c) ------------------------------------------------------------------------------- */

#define NAME_ROOM 24 /* names up to here lie in the table itself */

typedef struct {
    uint32_t hash;
    int32_t size;
    union {
        char near[NAME_ROOM];
        char *far;
    } text;
} Name;

typedef struct {
    uint32_t hash;
    int32_t number; /* negative: free */
} Slot;

typedef struct {
    Name *names;
    int32_t n, cap;
    Slot *slots;
    uint32_t mask;
} Symbols;

uint32_t symbol_hash(const char *text, int size);
const char *symbol_text(const Name *name);

/* The number of a symbol, a new one if it is new; negative without memory. */
int32_t symbols_of(Symbols *symbols, const char *text, int size, uint32_t hash);
/* The number of a symbol that is known, else TOO_MANY. */
int32_t symbols_find(const Symbols *symbols, const char *text, int size, uint32_t hash);
void symbols_free(Symbols *symbols);

/* ---- ids seen (seen.c): ids are not negative --------------------------------------------------------------------------------- */

typedef enum { SEEN_NEW, SEEN_DUPLICATE, SEEN_OVERLAP, SEEN_FORGOTTEN, SEEN_NO_MEMORY } Verdict;

typedef struct {
    i64 lo, hi, ts_lo, ts_hi;
} Range;

/* The end of the highest range is kept apart (`hi`, `ts_hi`), where it is at hand for the next id: see seen_settle. */
typedef struct {
    i64 hi, ts_hi;
    Range *at;
    i64 n, cap, floor;
} Ranges;

#define NOTHING_SEEN ((Ranges){.hi = -2})

/* Puts the end of the highest range where it belongs, before `at` is looked at. */
static inline void seen_settle(Ranges *ranges) {
    if (!ranges->n) return;
    ranges->at[ranges->n - 1].hi = ranges->hi;
    ranges->at[ranges->n - 1].ts_hi = ranges->ts_hi;
}

Verdict seen_look(Ranges *ranges, i64 lo, i64 hi, i64 *at);
Verdict seen_add(Ranges *ranges, i64 limit, i64 lo, i64 hi, i64 ts);

/* ---- books (book.c) ------------------------------------------------------------------------------------ */

typedef struct {
    i64 id, ts_event; /* of the last change */
    bool live;        /* its deltas so far are without a gap */
    Levels bids, asks; /* ask prices negated */
} Book;

/* The best levels after a change: n_bids and then n_asks of the levels from first_level on; columns.py: BOOK_ROW. */
typedef struct {
    int32_t symbol, n_bids, n_asks, pad;
    i64 id, ts_event, ts_recv, first_level;
} BookRow;

bool book_apply(Book *book, i64 id, const Level *bids, i64 n_bids, const Level *asks, i64 n_asks);
void book_clear(Book *book);
void book_free(Book *book);
bool book_row(const Book *book, i64 depth, BookRow *row, Levels *into);

/* ---- intake (intake.c) --------------------------------------------------------------------------------- */

typedef enum { SOURCE_NONE, SOURCE_AGGREGATES, SOURCE_TRADES } Source;

/* One cache line: what every trade of a symbol needs. */
typedef struct {
    i64 ts_max; /* greatest event time of any of its events */
    Source source;
    Ranges seen;
} Progress;

/* A frame kept as it came: the deltas of a book whose snapshot may never come are not worth reading. */
typedef struct {
    i64 start, size, ts_recv;
} Held;

#define HELD_LIMIT 8192
#define HELD_BYTES (32 << 20)

/* What only quotes and books need. */
typedef struct {
    Book book;
    bool waits; /* for its first snapshot: its deltas are held as they are */
    Quote newest; /* the quote of the greatest id; id 0 before the first */
    Range *given_up; /* holes that will not be filled */
    i64 n_given_up, cap_given_up;
} Market;

typedef struct {
    i64 lateness_us, horizon_us, delay_us, range_limit;
    bool keep_trades, keep_quotes; /* for the sink; otherwise they are forgotten when folded */
    bool keep_holes; /* what fills an open hole is never late */
    Symbols symbols;
    Progress *progress;
    Market *markets;
    int32_t progress_cap, markets_cap;
    i64 clock; /* newest receive time, NONE_TIME before the first */
    i64 skew;  /* least receive time less event time so far, NONE_TIME before the first */
    i64 newest; /* greatest event time of any symbol, NONE_TIME before the first */
    Trade *trades, *late;
    i64 n_trades, n_folded, cap_trades, n_late, cap_late;
    Quote *quotes;
    i64 n_quotes, cap_quotes;
    i64 depth;     /* levels of a book row; 0: no books are kept */
    BookRow *book_rows;
    i64 n_book_rows, cap_book_rows;
    Levels book_levels; /* of the rows */
    Levels levels;      /* of the frame being read */
    Held *held;
    char *held_bytes;
    i64 n_held, cap_held, n_held_bytes, cap_held_bytes;
    i64 symbol_limit;
    i64 events, duplicates, ignored_aggregates, holes; /* holes: how often one opened */
} Intake;

typedef enum { PUT_NEW, PUT_DUPLICATE, PUT_OVERLAP, PUT_LATE, PUT_IGNORED, PUT_SWITCH, PUT_NO_MEMORY } Put;

void intake_free(Intake *intake);
int32_t intake_symbol(Intake *intake, const char *text, int size, uint32_t hash);
void intake_clock(Intake *intake, i64 ts_recv);
void intake_restart(Intake *intake);
void intake_touch(Intake *intake, int32_t symbol, i64 ts_event, i64 ts_recv);
i64 intake_watermark(const Intake *intake, int32_t symbol);
/* True for a time more than a day ahead of all that was heard: damage, which would run the watermark away. */
bool intake_is_future(const Intake *intake, i64 ts_event);
Put intake_put(Intake *intake, Trade *trade);
/* The time from which on nothing may be dropped: the start of the first open hole, else the newest trade's. */
i64 intake_hold(Intake *intake, int32_t symbol);
bool intake_give_up(Intake *intake, int32_t symbol, i64 lo, i64 hi);
/* Reads frames [from, to); returns the first frame left to the twin (to if none), negative without memory. */
/* A delta that follows on its book: 1 taken or of old, 0 for the twin, negative without memory. */
int intake_delta(Intake *intake, int32_t symbol, const Frame *frame, const Level *levels, i64 ts_recv);
int intake_book_row(Intake *intake, int32_t symbol, i64 ts_event, i64 ts_recv);
void intake_quote(Intake *intake, const Quote *quote);
i64 intake_read(Intake *intake, const char *buffer, const Line *lines, i64 from, i64 to);

/* ---- windows (windows.c) ------------------------------------------------------------------------------- */

/* A price with its place in the order of events. */
typedef struct {
    i64 ts, id, price;
} Tick;

/* State of a candle; the layout is engine/columns.py: CANDLE_STATE. */
typedef struct {
    i64 start, count, late, high, low;
    u64 volume_lo, volume_hi, quote_lo, quote_hi, taker_lo, taker_hi;
    Tick open, close;               /* by (time, id) */
    Tick coarse_open, coarse_close; /* by (time in milliseconds, id) */
    i64 flags;
} Candle;

enum { CANDLE_COARSE = 1, CANDLE_OVERFLOW = 2 };

/* A piece of sliding windows; the layout is engine/columns.py: PANE_STATE. */
typedef struct {
    i64 number, count;
    u64 sum_lo, sum_hi;
    i64 late; /* events that came after the window ending with this pane had closed */
} Pane;

/* Result rows; the layouts are engine/columns.py: CANDLE_ROW and MEAN_ROW. */
typedef struct {
    int32_t symbol, fold;
    i64 ts_start, ts_end, open, high, low, close;
    u64 volume_lo, volume_hi, quote_lo, quote_hi, taker_lo, taker_hi;
    i64 count, revision, ts_watermark, closed;
    double vwap;
    int32_t exact, venue; /* venue: the venue's own candle stands in; never set here */
} CandleRow;

typedef struct {
    int32_t symbol, fold;
    i64 ts_start, ts_end, count, revision, ts_watermark, closed;
    double mean;
} MeanRow;

typedef struct {
    i64 size, slide, origin, pane;
} Window;

typedef struct {
    Candle *at;
    i64 n, cap, closed;
} CandleTrack;

typedef struct {
    Pane *at;
    i64 n, cap, next_end;
    i64 start, end; /* of the last pane and of the first window that holds it; NONE_TIME: not known */
} MeanTrack;

typedef struct {
    i64 ts_watermark; /* up to which windows are closed */
    i64 next_close;
    i64 fine; /* a time finer than milliseconds was seen: from then on both orders are kept */
    i64 hold; /* windows that end after this time stay, whatever the horizon: see intake_hold */
    /* The rest lies behind, in one piece of memory: */
    MeanTrack *means;
    Candle *pending; /* one per root interval: what is not yet in the tracks */
    CandleTrack *candles;
} Key;

typedef struct {
    Window candle[32], mean[16];
    int root[32]; /* the interval whose pending candle feeds this one */
    int n_candle, n_mean;
    i64 horizon_us;
    bool keep_holes;
    Key **keys; /* NULL: nothing yet */
    int32_t n_keys;
    CandleRow *candle_rows;
    MeanRow *mean_rows;
    i64 n_candle_rows, cap_candle_rows, n_mean_rows, cap_mean_rows;
} Windows;

void windows_plan(Windows *windows);
void windows_free(Windows *windows);
void windows_forget(Windows *windows, int32_t symbol);
int windows_add(Windows *windows, const Trade *trades, i64 n);
int windows_advance(Windows *windows, int32_t symbol, i64 ts_watermark);
void windows_hold(Windows *windows, int32_t symbol, i64 ts);
int windows_forming(Windows *windows, int32_t symbol);
int windows_settle(Windows *windows, int32_t symbol);
Key *windows_key(Windows *windows, int32_t symbol);

/* ---- numbers (number.c) -------------------------------------------------------------------------------- */

/* The float64 nearest to value / power, ties to even; power below 2^63. */
double nearest(u128 value, u64 power);

/* ---- texts (text.c) ------------------------------------------------------------------------------------ */

/* Canonical decimal text of a mantissa: at most 39 digits, a sign, a point. Returns where it begins before `end`. */
char *decimal_text(u128 value, bool negative, int scale, char *end);

typedef struct {
    char *at; /* to be freed */
    i64 n, cap;
} Text;

/* How the values of a column lie in memory. As Arrow has them; MADE: a JSON array that has been written; as numpy has
   them: decimals of one word, times (NONE_TIME is null), booleans of a byte, numbers of four bytes into the names. */
enum {
    COLUMN_DECIMALS, COLUMN_INTS, COLUMN_BITS, COLUMN_TEXTS, COLUMN_MADE,
    COLUMN_SHORT_DECIMALS, COLUMN_TIMES, COLUMN_BYTES, COLUMN_NAMED,
};

typedef struct {
    int kind;
    const char *head; /* what stands before each value: a comma, the name, a colon */
    i64 head_size;
    i64 offset; /* of the first row, in `valid` and `values` */
    int scale;  /* of decimals; of what is NAMED, how many names */
    const uint8_t *valid; /* a bit for each row; NULL: none is null */
    const uint8_t *values;
    const char *heap; /* of texts, into which values point; of what is MADE, the array; of names, where each ends, then
                         all of them as JSON */
    i64 valid_size, values_size, heap_size;
    i64 read; /* of what is MADE, how much has been taken */
} Column;

/* Whether the buffers of a column are long enough for so many rows. */
bool column_holds(const Column *column, i64 rows);

/* Appends an object for each row. False: no memory, or what is MADE has too few values. */
bool json_rows(Text *text, Column *columns, i64 n, i64 rows, char between);

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Makes room for one more element of `size` bytes; false without memory. */
bool grow(void **at, i64 n, i64 *cap, size_t size);

static inline u128 wide(u64 lo, u64 hi) { return ((u128)hi << 64) | lo; }

#endif
