/* SPDX-License-Identifier: MIT */
#include "scan.h"

/* A bit for each of 64 bytes. */
struct masks {
    uint64_t slash, quote, open, close;
};

#ifdef TR__SSE2
static inline struct masks classify(const char *p)
{
    const __m128i slash = _mm_set1_epi8('\\'), quote = _mm_set1_epi8('"'), open = _mm_set1_epi8('{'),
                  close = _mm_set1_epi8('}'), bit = _mm_set1_epi8(0x20);
    struct masks m = {0};
    for (unsigned i = 0; i < 64; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i low = _mm_or_si128(bytes, bit); /* makes [ a { and ] a } */
#define TR__BITS(x, y) ((uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) << i)
        m.slash |= TR__BITS(bytes, slash);
        m.quote |= TR__BITS(bytes, quote);
        m.open |= TR__BITS(low, open);
        m.close |= TR__BITS(low, close);
#undef TR__BITS
    }
    return m;
}
#else
/* The high bit of each byte of x that is zero; exact, without carries between bytes. */
static inline uint64_t zero_bytes(uint64_t x)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return ~(((x & low) + low) | x | low);
}

/* Gathers the high bits of eight bytes, first byte lowest (the bytes were loaded little-endian). */
static inline uint64_t gather(uint64_t high_bits)
{
    return (high_bits >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline struct masks classify(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    struct masks m = {0};
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t x = 0;
        for (unsigned k = 0; k < 8; k++)
            x |= (uint64_t)(uint8_t)p[i + k] << (k * 8); /* one load where bytes are little-endian */
        uint64_t low = x | ones * 0x20;
        m.slash |= gather(zero_bytes(x ^ ones * '\\')) << i;
        m.quote |= gather(zero_bytes(x ^ ones * '"')) << i;
        m.open |= gather(zero_bytes(low ^ ones * '{')) << i;
        m.close |= gather(zero_bytes(low ^ ones * '}')) << i;
    }
    return m;
}
#endif

/* Each bit becomes the parity of itself and all below: within quotes, ones. */
static inline uint64_t parity(uint64_t x)
{
    x ^= x << 1;
    x ^= x << 2;
    x ^= x << 4;
    x ^= x << 8;
    x ^= x << 16;
    return x ^ x << 32;
}

static inline unsigned count_bits(uint64_t x)
{
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(x * UINT64_C(0x0101010101010101) >> 56);
}

/* The bits behind backslashes that are not themselves escaped; *carry: whether the next block's first one is.
 */
static uint64_t find_escaped(uint64_t slash, bool *carry)
{
    uint64_t escaped = *carry;
    slash &= ~escaped;
    *carry = false;
    while (slash) {
        unsigned i = (unsigned)__builtin_ctzll(slash);
        if (i == 63) {
            *carry = true;
            break;
        }
        escaped |= UINT64_C(2) << i;
        slash &= ~(UINT64_C(3) << i);
    }
    return escaped;
}

struct skip {
    uint64_t within; /* all ones while in a string */
    size_t depth;
    bool escape;
};

/* One block of 64 bytes: the offset behind the bracket that ends the container, or 0. */
static inline unsigned skip_block(struct skip *s, const char *p)
{
    struct masks m = classify(p);
    if (TR_UNLIKELY(m.slash || s->escape))
        m.quote &= ~find_escaped(m.slash, &s->escape);
    uint64_t strings = parity(m.quote) ^ s->within;
    s->within = (uint64_t)((int64_t)strings >> 63);
    m.open &= ~strings;
    m.close &= ~strings;
    if (m.close == 0) {
        s->depth += count_bits(m.open);
        return 0;
    }
    unsigned closes = count_bits(m.close);
    if (closes < s->depth) {
        s->depth = s->depth + count_bits(m.open) - closes;
        return 0;
    }
    for (uint64_t both = m.open | m.close; both; both &= both - 1) {
        uint64_t bit = both & (0 - both);
        if (m.open & bit)
            s->depth++;
        else if (--s->depth == 0)
            return (unsigned)__builtin_ctzll(bit) + 1;
    }
    return 0;
}

const char *tr__scan_container(const char *p, const char *end)
{
    struct skip s = {0};
    for (; end - p >= 64; p += 64) {
        unsigned behind = skip_block(&s, p);
        if (behind)
            return p + behind;
    }
    char last[64];
    memset(last, ' ', sizeof last);
    if (end > p)
        memcpy(last, p, (size_t)(end - p));
    unsigned behind = skip_block(&s, last);
    return behind ? p + behind : NULL;
}
