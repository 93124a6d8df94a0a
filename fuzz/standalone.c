/* Where there is no libFuzzer: seeded mutations of the seeds, without the guidance of coverage.
 *
 *     standalone SECONDS SEED FINDING SEED_FILE...   mutates until the time is over; a finding is written to FINDING
 *     standalone FILE                                runs one input */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 4096, MOST_SEEDS = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void));

typedef struct {
    uint8_t at[LONGEST];
    size_t size;
} Input;

static Input seeds[MOST_SEEDS], input;
static int n_seeds;
static uint64_t state;
static const char *finding;

static const char *const WORDS[] = {
    "\n", "\r\n", " ", "\t", "{", "}", "[", "]", ",", ":", "\"", "\\", ".", "-", "0", "00000000", "99999999",
    "9223372036854775807", "1000000000000000", "4102444800000", "4102444800000000", "1723075200000 ", "1723075200.5: ",
    "{\"stream\":\"btcusdt@trade\",\"data\":", "{\"e\":\"trade\",\"E\":", "{\"e\":\"aggTrade\",\"E\":",
    "{\"e\":\"depthUpdate\",\"E\":", "{\"u\":", ",\"s\":\"", "\",\"t\":", "\",\"a\":", ",\"p\":\"", ",\"q\":\"",
    ",\"f\":", ",\"l\":", ",\"b\":", ",\"T\":", ",\"m\":true", ",\"m\":false", ",\"M\":true}", "[[\"1\",\"0\"]]",
};

static uint64_t draw(uint64_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

static void insert(size_t at, const uint8_t *bytes, size_t n) {
    if (input.size + n > LONGEST) return;
    memmove(input.at + at + n, input.at + at, input.size - at);
    memcpy(input.at + at, bytes, n);
    input.size += n;
}

static void mutate(void) {
    const Input *other = &seeds[draw((uint64_t)n_seeds)];
    size_t at = draw(input.size + 1), n;
    uint8_t byte;
    switch (draw(7)) {
    case 0:
        if (at < input.size) input.at[at] ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        if (at < input.size) input.at[at] = (uint8_t)('0' + draw(10));
        break;
    case 2:
        byte = (uint8_t)draw(256);
        insert(at, &byte, 1);
        break;
    case 3:
        n = draw(input.size - at + 1);
        if (draw(4)) n %= 8;
        memmove(input.at + at, input.at + at + n, input.size - at - n);
        input.size -= n;
        break;
    case 4: {
        const char *word = WORDS[draw(sizeof WORDS / sizeof *WORDS)];
        insert(at, (const uint8_t *)word, strlen(word));
        break;
    }
    case 5:
        if (other->size) {
            size_t from = draw(other->size);
            insert(at, other->at + from, draw(other->size - from + 1));
        }
        break;
    default: /* a line again */
        n = draw(input.size - at + 1);
        insert(at, other->at, other->size < n ? other->size : n);
    }
}

static void save(void) {
    FILE *file = fopen(finding, "wb");
    if (!file) return;
    fwrite(input.at, 1, input.size, file);
    fclose(file);
}

static void on_abort(int number) {
    save();
    signal(number, SIG_DFL);
    raise(number);
}

static void load(const char *path, Input *into) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    into->size = fread(into->at, 1, LONGEST, file);
    fclose(file);
}

/* From the heap and of the exact size, so that a read beyond the end is seen. */
static void run(void) {
    uint8_t *copy = malloc(input.size ? input.size : 1);
    if (!copy) exit(2);
    memcpy(copy, input.at, input.size);
    LLVMFuzzerTestOneInput(copy, input.size);
    free(copy);
}

int main(int argc, char **argv) {
    if (argc == 2) {
        load(argv[1], &input);
        run();
        return 0;
    }
    if (argc < 5) return 2;
    double seconds = atof(argv[1]);
    state = strtoull(argv[2], NULL, 10) * 0x9E3779B97F4A7C15ULL | 1;
    finding = argv[3];
    for (int i = 4; i < argc && n_seeds < MOST_SEEDS; i++) load(argv[i], &seeds[n_seeds++]);
    __sanitizer_set_death_callback(save);
    signal(SIGABRT, on_abort);
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    uint64_t runs = 0;
    do {
        input = seeds[draw((uint64_t)n_seeds)];
        for (uint64_t i = runs < (uint64_t)n_seeds ? 0 : 1 + draw(12); i; i--) mutate();
        run();
        runs++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9 < seconds);
    printf("%llu inputs\n", (unsigned long long)runs);
    return 0;
}
