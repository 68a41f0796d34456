/* A few tokens of a Llama on a few threads, with weights in four or eight bits.

   Layout of a matrix of n rows by k: sixteen rows form a block, thirty-two neighbours of a row a
   group. Group by group, a block keeps
     q      four bits: 4 x 64 bytes; byte 4 r + i of chunk c has q[r][8 c + i] in its low half and
            q[r][8 c + 4 + i] in its high half;  eight bits: 8 x 64 bytes, q[r][4 c + i] + 128
     scale  16 halves, one a row
     offset 16 halves, one a row; with eight bits it is -128 scale and is not kept
   and a weight is scale q + offset. A lane of a vector is a row: nothing is summed across lanes,
   and weights are read in the order in which they lie.

   Activations are rounded to fifteen bits with a scale for each group of thirty-two, and kept as
   two bytes, so that products of bytes do: one byte (llama.cpp's Q8_1) costs answers of small
   models, and weights are read once either way.
   Products are sums of whole numbers within a group, and of floats across groups. */

#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__) && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define TILES 1 /* Advanced Matrix Extensions: Linux lends them on request */
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define TILES 0
#endif

#define EDITION 2 /* of what Python calls; as in step.py */
#define ROWS 16
#define GROUP 32 /* two vectors of floats */
#define BYTES(bits) ((bits) == 4 ? 320 : 544) /* of a group of a block */
#define FINE_BITS 7
#define FINE (1 << FINE_BITS)
#define MOST_THREADS 64
#define MOST_ROWS 64 /* tokens of a step; a multiple of TILE */
#define AT_ONCE 4    /* tokens of a block, so that their sums stay in registers */
#define TILE 16      /* tokens of a tile */
#define AHEAD 8192   /* weights are asked for so many bytes before they are needed */
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")))

typedef struct {
    const uint8_t *blocks;
    int32_t rows, columns, bits; /* rows are filled up to a multiple of ROWS */
} Matrix;

typedef struct {
    const float *norm_attention, *norm_feed_forward;
    Matrix qkv, out, gate_up, down; /* gate_up: blocks of gate and of up in turn */
} Layer;

typedef struct {
    int32_t layers, width, heads, key_heads, head_size, inner, vocab, context;
    float epsilon;
    const Layer *layer;
    const float *norm;
    Matrix head;
    const float *cosines, *sines; /* of each place, head_size / 2 */
} Model;

typedef struct {
    int8_t *high, *low; /* of each column: q = FINE high + low */
    float *scale;       /* of each group */
    float *sum;         /* of each group: scale times the sum of its q */
} Rounded;

/* ---- half precision ------------------------------------------------------------------------ */

static float of_half(uint16_t bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return (float)half;
}

static uint16_t to_half(float value) {
    _Float16 half = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &half, 2);
    return bits;
}

/* ---- products ------------------------------------------------------------------------------- */

static void block_plain(const uint8_t *w, int groups, int bits, const Rounded *x, int count,
                        float *out, size_t stride) {
    float total[MOST_ROWS][ROWS] = {{0}};
    const int chunks = bits == 4 ? 4 : 8;
    for (int g = 0; g < groups; g++, w += BYTES(bits)) {
        const uint16_t *scale = (const uint16_t *)(w + chunks * 64), *offset = scale + ROWS;
        for (int n = 0; n < count; n++) {
            int32_t sum[ROWS] = {0}, a[GROUP];
            for (int k = 0; k < GROUP; k++)
                a[k] = FINE * x[n].high[g * GROUP + k] + x[n].low[g * GROUP + k];
            for (int c = 0; c < chunks; c++)
                for (int r = 0; r < ROWS; r++)
                    for (int i = 0; i < 4; i++) {
                        const int byte = w[64 * c + 4 * r + i];
                        if (bits == 4)
                            sum[r] += (byte & 15) * a[8 * c + i] + (byte >> 4) * a[8 * c + 4 + i];
                        else
                            sum[r] += byte * a[4 * c + i];
                    }
            for (int r = 0; r < ROWS; r++) {
                const float s = of_half(scale[r]), o = bits == 4 ? of_half(offset[r]) : -128 * s;
                total[n][r] += s * x[n].scale[g] * (float)sum[r] + o * x[n].sum[g];
            }
        }
    }
    for (int n = 0; n < count; n++) memcpy(out + n * stride, total[n], sizeof total[n]);
}

/* Written once, made for each number of rows and of bits: all accumulators stay in registers.
   Sums of whole numbers are kept apart for the two halves of a byte: four chains of products that
   do not wait for each other, and the upper half need not be shifted down before the products. */
VNNI static inline __attribute__((always_inline)) void
rows_vnni(const uint8_t *w, int groups, const int bits, const Rounded *x, const int count,
          float *out, size_t stride) {
    const __m512i lower = _mm512_set1_epi8(15), upper = _mm512_set1_epi8(-16);
    __m512 total[AT_ONCE];
    for (int n = 0; n < count; n++) total[n] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
        __m512i high[2][AT_ONCE], low[2][AT_ONCE]; /* of numbers 8 c .. and 8 c + 4 .. */
        for (int n = 0; n < count; n++)
            high[0][n] = high[1][n] = low[0][n] = low[1][n] = _mm512_setzero_si512();
        for (int c = 0; c < 4; c++) {
            __m512i one, two;
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
            if (bits == 4) {
                const __m512i both = _mm512_loadu_si512(w);
                one = _mm512_and_si512(both, lower);
                two = _mm512_and_si512(both, upper); /* sixteen times the number */
                w += 64;
            } else {
                _mm_prefetch((const char *)w + AHEAD + 64, _MM_HINT_T0);
                one = _mm512_loadu_si512(w);
                two = _mm512_loadu_si512(w + 64);
                w += 128;
            }
            for (int n = 0; n < count; n++) {
                const int32_t *a = (const int32_t *)(x[n].high + g * GROUP) + 2 * c;
                const int32_t *b = (const int32_t *)(x[n].low + g * GROUP) + 2 * c;
                high[0][n] = _mm512_dpbusd_epi32(high[0][n], one, _mm512_set1_epi32(a[0]));
                low[0][n] = _mm512_dpbusd_epi32(low[0][n], one, _mm512_set1_epi32(b[0]));
                high[1][n] = _mm512_dpbusd_epi32(high[1][n], two, _mm512_set1_epi32(a[1]));
                low[1][n] = _mm512_dpbusd_epi32(low[1][n], two, _mm512_set1_epi32(b[1]));
            }
        }
        const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)w));
        const __m512 offset =
            bits == 4 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(w + 32)))
                      : _mm512_mul_ps(scale, _mm512_set1_ps(-128));
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        w += bits == 4 ? 64 : 32;
        for (int n = 0; n < count; n++) {
            __m512i whole[2];
            for (int i = 0; i < 2; i++)
                whole[i] = _mm512_add_epi32(_mm512_slli_epi32(high[i][n], FINE_BITS), low[i][n]);
            if (bits == 4) whole[1] = _mm512_srai_epi32(whole[1], 4);
            const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(x[n].scale[g]));
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(whole[0], whole[1]));
            total[n] = _mm512_fmadd_ps(by, sum, total[n]);
            total[n] = _mm512_fmadd_ps(offset, _mm512_set1_ps(x[n].sum[g]), total[n]);
        }
    }
    for (int n = 0; n < count; n++) _mm512_storeu_ps(out + n * stride, total[n]);
}

#define FOR(N) case N: \
    if (bits == 4) rows_vnni(w, groups, 4, x, N, out, stride); \
    else rows_vnni(w, groups, 8, x, N, out, stride); \
    break;
VNNI static void block_vnni(const uint8_t *w, int groups, int bits, const Rounded *x, int count,
                            float *out, size_t stride) {
    for (; count > 0; count -= AT_ONCE, x += AT_ONCE, out += AT_ONCE * stride)
        switch (count < AT_ONCE ? count : AT_ONCE) { FOR(1) FOR(2) FOR(3) FOR(4) }
}

#if TILES
#define AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma," \
                                  "amx-tile,amx-int8")))
/* Tiles; macros, for the compiler's own macros want figures. */
#define HIGHS 0 /* sums */
#define LOWS 1
#define HIGH 2 /* activations */
#define LOW 3
#define WEIGHTS 4

/* The shapes of tiles, for so many tokens: half a tile takes half the time. */
AMX static void begin_amx(int count) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {.palette = 1};
    const int tokens = count <= TILE / 2 ? TILE / 2 : TILE;
    for (int i = HIGHS; i <= LOW; i++) {
        shapes.rows[i] = (uint8_t)tokens;
        shapes.bytes[i] = i <= LOWS ? 4 * ROWS : GROUP;
    }
    shapes.rows[WEIGHTS] = GROUP / 4;
    shapes.bytes[WEIGHTS] = 4 * ROWS;
    __asm__ volatile("" : : "r"(&shapes) : "memory"); /* all of it is read */
    _tile_loadconfig(&shapes);
}

AMX static void end_amx(void) { _tile_release(); }

/* As rows_vnni, to the last bit: whole numbers within a group, floats in the same order. Of what
   stands beside the tokens in a tile nothing is kept. Sums are taken up one group late, since what
   a tile has stored cannot be loaded at once. */
AMX static inline __attribute__((always_inline)) void
rows_amx(const uint8_t *w, int groups, const int bits, const Rounded *x, const int tokens,
         int count, float *out, size_t stride) {
    const __m512i lower = _mm512_set1_epi8(15);
    const long apart = x[1].high - x[0].high;
    _Alignas(64) int32_t high[2][TILE * ROWS], low[2][TILE * ROWS];
    _Alignas(64) uint8_t bytes[2][GROUP * ROWS];
    __m512 total[TILE];
#pragma GCC unroll 16
    for (int n = 0; n < tokens; n++) total[n] = _mm512_setzero_ps();
    for (int g = 0; g <= groups; g++, w += BYTES(bits)) {
        if (g < groups) {
            for (int i = 0; i < BYTES(bits); i += 64)
                _mm_prefetch((const char *)w + AHEAD + i, _MM_HINT_T0);
            const uint8_t *tile = w;
            if (bits == 4) {
                uint8_t *to = bytes[g % 2];
                for (int c = 0; c < 4; c++) {
                    const __m512i both = _mm512_loadu_si512(w + 64 * c);
                    const __m512i two = _mm512_and_si512(_mm512_srli_epi16(both, 4), lower);
                    _mm512_store_si512(to + 128 * c, _mm512_and_si512(both, lower));
                    _mm512_store_si512(to + 128 * c + 64, two);
                }
                tile = to;
            }
            __asm__ volatile("" ::: "memory"); /* the compiler does not know what tiles read */
            _tile_loadd(WEIGHTS, tile, 64);
            _tile_loadd(HIGH, x[0].high + g * GROUP, apart);
            _tile_loadd(LOW, x[0].low + g * GROUP, apart);
            _tile_zero(HIGHS);
            _tile_zero(LOWS);
            _tile_dpbsud(HIGHS, HIGH, WEIGHTS);
            _tile_dpbsud(LOWS, LOW, WEIGHTS);
            _tile_stored(HIGHS, high[g % 2], 64);
            _tile_stored(LOWS, low[g % 2], 64);
            __asm__ volatile("" ::: "memory");
        }
        if (g == 0) continue;
        const uint8_t *last = w - (bits == 4 ? 64 : 32);
        const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)last));
        const __m512 offset =
            bits == 4 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(last + 32)))
                      : _mm512_mul_ps(scale, _mm512_set1_ps(-128));
        const int32_t *h = high[(g - 1) % 2], *l = low[(g - 1) % 2];
#pragma GCC unroll 16 /* the sums are to stay in registers */
        for (int n = 0; n < tokens; n++) {
            const __m512i whole =
                _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(h + ROWS * n), FINE_BITS),
                                 _mm512_load_si512(l + ROWS * n));
            const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(x[n].scale[g - 1]));
            total[n] = _mm512_fmadd_ps(by, _mm512_cvtepi32_ps(whole), total[n]);
            total[n] = _mm512_fmadd_ps(offset, _mm512_set1_ps(x[n].sum[g - 1]), total[n]);
        }
    }
#pragma GCC unroll 16
    for (int n = 0; n < tokens; n++)
        if (n < count) _mm512_storeu_ps(out + n * stride, total[n]);
}

AMX static void block_amx(const uint8_t *w, int groups, int bits, const Rounded *x, int count,
                          float *out, size_t stride) {
    const int tokens = count <= TILE / 2 ? TILE / 2 : TILE; /* as begin_amx was told */
    for (; count > AT_ONCE; count -= TILE, x += TILE, out += TILE * stride) {
        const int here = count < TILE ? count : TILE;
        if (bits == 4 && tokens == TILE)
            rows_amx(w, groups, 4, x, TILE, here, out, stride);
        else if (bits == 4)
            rows_amx(w, groups, 4, x, TILE / 2, here, out, stride);
        else if (tokens == TILE)
            rows_amx(w, groups, 8, x, TILE, here, out, stride);
        else
            rows_amx(w, groups, 8, x, TILE / 2, here, out, stride);
    }
    if (count > 0) block_vnni(w, groups, bits, x, count, out, stride);
}

static int has_amx(void) {
    unsigned a, b, c, d;
    const int tiles_and_int8 = 3 << 24, tile_data = 18, ask = 0x1023; /* ARCH_REQ_XCOMP_PERM */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tiles_and_int8) == tiles_and_int8 &&
           syscall(SYS_arch_prctl, ask, tile_data) == 0;
}
#endif

static size_t block_bytes(const Matrix *m) {
    return (size_t)(m->columns / GROUP) * BYTES(m->bits);
}

static void round_plain(const float *x, int n, Rounded *to) {
    for (int g = 0; g < n / GROUP; g++, x += GROUP) {
        float most = 0;
        for (int i = 0; i < GROUP; i++) most = fmaxf(most, fabsf(x[i]));
        const float by = most > 0 ? 127 * FINE / most : 0;
        int sum = 0;
        for (int i = 0; i < GROUP; i++) {
            const int q = (int)lrintf(x[i] * by);
            const int high = (q + FINE / 2) >> FINE_BITS;
            to->high[g * GROUP + i] = (int8_t)high;
            to->low[g * GROUP + i] = (int8_t)(q - FINE * high);
            sum += q;
        }
        to->scale[g] = most / (127 * FINE);
        to->sum[g] = to->scale[g] * (float)sum;
    }
}

VNNI static void round_vnni(const float *x, int n, Rounded *to) {
    const __m512i half = _mm512_set1_epi32(FINE / 2);
    for (int g = 0; g < n / GROUP; g++, x += GROUP) {
        const __m512 part[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
        const float most = _mm512_reduce_max_ps(
            _mm512_max_ps(_mm512_abs_ps(part[0]), _mm512_abs_ps(part[1])));
        const __m512 by = _mm512_set1_ps(most > 0 ? 127 * FINE / most : 0);
        __m512i sum = _mm512_setzero_si512();
        for (int i = 0; i < 2; i++) {
            const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(part[i], by));
            const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, half), FINE_BITS);
            const __m512i low = _mm512_sub_epi32(q, _mm512_slli_epi32(high, FINE_BITS));
            const int place = g * GROUP + 16 * i;
            _mm_storeu_si128((__m128i *)(to->high + place), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((__m128i *)(to->low + place), _mm512_cvtepi32_epi8(low));
            sum = _mm512_add_epi32(sum, q);
        }
        to->scale[g] = most / (127 * FINE);
        to->sum[g] = to->scale[g] * (float)_mm512_reduce_add_epi32(sum);
    }
}

/* ---- the parts of a layer ------------------------------------------------------------------- */

static float squares_plain(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return (float)sum;
}

VNNI static float squares_vnni(const float *x, int n) {
    __m512d sum[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (int i = 0; i < n; i += 16)
        for (int k = 0; k < 2; k++) {
            const __m512d part = _mm512_cvtps_pd(_mm256_loadu_ps(x + i + 8 * k));
            sum[k] = _mm512_fmadd_pd(part, part, sum[k]);
        }
    return (float)_mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1]));
}

/* The gated unit, SiLU(gate) up. */
static void gate_plain(const float *gate, const float *up, float *out) {
    for (int r = 0; r < ROWS; r++) out[r] = gate[r] / (1 + expf(-gate[r])) * up[r];
}

/* e^x by 2^n e^r, |r| at most half of ln 2; the polynomial is that of the library Cephes. */
VNNI static __m512 exp_vnni(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 y = _mm512_set1_ps(1.9875691500e-4f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.3981999507e-3f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(8.3334519073e-3f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.1665795894e-2f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.6666665459e-1f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(5.0000001201e-1f));
    y = _mm512_fmadd_ps(_mm512_mul_ps(r, r), y, _mm512_add_ps(r, _mm512_set1_ps(1)));
    return _mm512_scalef_ps(y, n);
}

VNNI static void gate_vnni(const float *gate, const float *up, float *out) {
    const __m512 g = _mm512_loadu_ps(gate), one = _mm512_set1_ps(1);
    const __m512 e = exp_vnni(_mm512_sub_ps(_mm512_setzero_ps(), g));
    const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, e));
    _mm512_storeu_ps(out, _mm512_mul_ps(silu, _mm512_loadu_ps(up)));
}

/* Turn pairs (i, i + half) by the angle of the place. */
static void rotate(const float *x, const float *cosines, const float *sines, int half, float *to) {
    for (int i = 0; i < half; i++) {
        to[i] = x[i] * cosines[i] - x[i + half] * sines[i];
        to[i + half] = x[i + half] * cosines[i] + x[i] * sines[i];
    }
}

static void attend_plain(const float *query, const uint16_t *keys, const uint16_t *values,
                         int places, int size, float *weights, float *out) {
    float most = -INFINITY, total = 0;
    for (int p = 0; p < places; p++) {
        float score = 0;
        for (int i = 0; i < size; i++) score += query[i] * of_half(keys[p * size + i]);
        weights[p] = score / sqrtf((float)size);
        most = fmaxf(most, weights[p]);
    }
    memset(out, 0, size * sizeof(float));
    for (int p = 0; p < places; p++) {
        const float weight = expf(weights[p] - most);
        total += weight;
        for (int i = 0; i < size; i++) out[i] += weight * of_half(values[p * size + i]);
    }
    for (int i = 0; i < size; i++) out[i] /= total;
}

/* Sixteen numbers of a half, times `chunks`, of the sum of values by their weights. */
VNNI static inline __attribute__((always_inline)) void
mix_vnni(const uint16_t *values, int places, int size, const int chunks, const float *weights,
         float total, float *out) {
    __m512 sum[4];
    for (int c = 0; c < chunks; c++) sum[c] = _mm512_setzero_ps();
    for (int p = 0; p < places; p++, values += size)
        for (int c = 0; c < chunks; c++) {
            const __m256i half = _mm256_loadu_si256((const __m256i *)(values + 16 * c));
            sum[c] = _mm512_fmadd_ps(_mm512_set1_ps(weights[p]), _mm512_cvtph_ps(half), sum[c]);
        }
    for (int c = 0; c < chunks; c++)
        _mm512_storeu_ps(out + 16 * c, _mm512_div_ps(sum[c], _mm512_set1_ps(total)));
}

/* The sums of sixteen vectors, in their order. */
VNNI static inline __attribute__((always_inline)) __m512 sums_vnni(const __m512 *x) {
    __m512 four[4]; /* lane l of four[i]: sums within lane l of vectors 4 i to 4 i + 3 */
    for (int i = 0; i < 4; i++, x += 4) {
        const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]),
                                       _mm512_unpackhi_ps(x[0], x[1]));
        const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]),
                                       _mm512_unpackhi_ps(x[2], x[3]));
        four[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    }
    __m512 two[2];
    for (int i = 0; i < 2; i++)
        two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x88),
                               _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88),
                         _mm512_shuffle_f32x4(two[0], two[1], 0xdd));
}

VNNI static void attend_vnni(const float *query, const uint16_t *keys, const uint16_t *values,
                             int places, int size, float *weights, float *out) {
    __m512 most = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
    const __m512 by = _mm512_set1_ps(1 / sqrtf((float)size));
    for (int p = 0; p < places; p += 16, keys += 16 * size) {
        const int here = places - p < 16 ? places - p : 16;
        __m512 sum[16];
        for (int k = 0; k < 16; k++) sum[k] = _mm512_setzero_ps();
        for (int k = 0; k < here; k++)
            for (int i = 0; i < size; i += 16) {
                const __m256i half = _mm256_loadu_si256((const __m256i *)(keys + k * size + i));
                sum[k] = _mm512_fmadd_ps(_mm512_loadu_ps(query + i), _mm512_cvtph_ps(half), sum[k]);
            }
        const __m512 scores = _mm512_mul_ps(sums_vnni(sum), by);
        const __mmask16 some = (__mmask16)((1u << here) - 1);
        _mm512_mask_storeu_ps(weights + p, some, scores);
        most = _mm512_mask_max_ps(most, some, most, scores);
    }
    most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    for (int p = 0; p < places; p += 16) {
        const int here = places - p < 16 ? places - p : 16;
        const __mmask16 some = (__mmask16)((1u << here) - 1);
        const __m512 score = _mm512_mask_loadu_ps(most, some, weights + p);
        const __m512 weight = exp_vnni(_mm512_sub_ps(score, most));
        _mm512_mask_storeu_ps(weights + p, some, weight);
        total = _mm512_mask_add_ps(total, some, total, weight);
    }
    const float sum = _mm512_reduce_add_ps(total);
    int i = 0;
    for (; i + 64 <= size; i += 64) mix_vnni(values + i, places, size, 4, weights, sum, out + i);
    for (; i < size; i += 16) mix_vnni(values + i, places, size, 1, weights, sum, out + i);
}

static void halves_plain(const float *x, int n, uint16_t *to) {
    for (int i = 0; i < n; i++) to[i] = to_half(x[i]);
}

VNNI static void halves_vnni(const float *x, int n, uint16_t *to) {
    for (int i = 0; i < n; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), 0));
}

static void begin_nothing(int count) { (void)count; }
static void end_nothing(void) {}

/* What a processor may have instructions for. */
typedef struct {
    void (*begin)(int); /* a step of so many tokens, on this thread */
    void (*end)(void);
    void (*block)(const uint8_t *, int, int, const Rounded *, int, float *, size_t);
    void (*attend)(const float *, const uint16_t *, const uint16_t *, int, int, float *, float *);
    void (*halves)(const float *, int, uint16_t *);
    void (*round)(const float *, int, Rounded *);
    void (*gate)(const float *, const float *, float *);
    float (*squares)(const float *, int);
} Kernels;

static const Kernels PLAIN = {begin_nothing, end_nothing, block_plain, attend_plain,
                              halves_plain,  round_plain, gate_plain,  squares_plain};
static const Kernels FAST = {begin_nothing, end_nothing, block_vnni, attend_vnni,
                             halves_vnni,   round_vnni,  gate_vnni,  squares_vnni};

/* ---- threads --------------------------------------------------------------------------------- */

/* A token's text, and where it stands in it. */
typedef struct {
    uint16_t *keys, *values; /* layers, key heads, capacity, head size */
    int32_t capacity, place;
} Text;

typedef struct {
    const Model *model;
    int count, scored;
    Text text[MOST_ROWS];
    float *x, *logits, *qkv, *mixed, *inner; /* shared by the threads; a row for each token */
} Work;

typedef struct Pool {
    Kernels use;
    int threads;
    pthread_t thread[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    int round, left, stop;
    atomic_int arrived, phase;
    Work work;
    float *scratch[MOST_THREADS];
    struct Seat { struct Pool *pool; int index; } seat[MOST_THREADS];
    struct { _Alignas(64) atomic_uint_least64_t rest; } share[MOST_THREADS]; /* of a phase's work */
} Pool;

static int part(int total, int threads, int index) {
    return (int)((int64_t)total * index / threads);
}

/* Give each thread its part of the pieces of work of a phase. */
static void deal(Pool *pool, int pieces) {
    for (int i = 0; i < pool->threads; i++) {
        const uint64_t first = (uint64_t)part(pieces, pool->threads, i);
        const uint64_t end = (uint64_t)part(pieces, pool->threads, i + 1);
        atomic_store(&pool->share[i].rest, end << 32 | first);
    }
}

/* The next piece of work: of the thread's own share from the front, so that weights are read in
   order; then of another's from the back, for threads are not equally fast. -1: all is taken. */
static int next(Pool *pool, int index) {
    for (int k = 0; k < pool->threads; k++) {
        atomic_uint_least64_t *rest = &pool->share[(index + k) % pool->threads].rest;
        uint64_t seen = atomic_load(rest);
        for (;;) {
            const uint32_t first = (uint32_t)seen, end = (uint32_t)(seen >> 32);
            if (first >= end) break;
            const uint64_t left = k == 0 ? seen + 1 : seen - ((uint64_t)1 << 32);
            if (atomic_compare_exchange_weak(rest, &seen, left))
                return (int)(k == 0 ? first : end - 1);
        }
    }
    return -1;
}

/* All threads wait here for the last one, which deals out the pieces of the next phase; they spin,
   since a phase takes microseconds. */
static void meet(Pool *pool, int *phase, int pieces) {
    *phase ^= 1;
    if (atomic_fetch_add(&pool->arrived, 1) == pool->threads - 1) {
        atomic_store(&pool->arrived, 0);
        deal(pool, pieces);
        atomic_store(&pool->phase, *phase);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&pool->phase, memory_order_acquire) != *phase;) {
        if (++spins < 1000) _mm_pause();
        else sched_yield();
    }
}

static int blocks_of(const Matrix *m) { return (m->rows + ROWS - 1) / ROWS; }

static float *at(float **place, int count) {
    float *found = *place;
    *place += (count + 15) / 16 * 16;
    return found;
}

static Rounded rounded_at(float **place, int columns) {
    Rounded found;
    found.high = (int8_t *)at(place, columns / 4);
    found.low = (int8_t *)at(place, columns / 4);
    found.scale = at(place, columns / GROUP);
    found.sum = at(place, columns / GROUP);
    return found;
}

static int width_of_qkv(const Model *m) {
    return (m->heads + 2 * m->key_heads) * m->head_size + ROWS;
}

static void multiply(Pool *pool, const Matrix *m, const Rounded *x, int count, int index,
                     float *out, size_t stride) {
    for (int b; (b = next(pool, index)) >= 0;)
        pool->use.block(m->blocks + b * block_bytes(m), m->columns / GROUP, m->bits, x, count,
              out + b * ROWS, stride);
}

static void add_product(Pool *pool, const Matrix *m, const Rounded *x, int index, float *to) {
    const int count = pool->work.count;
    float sums[MOST_ROWS * ROWS];
    for (int b; (b = next(pool, index)) >= 0;) {
        pool->use.block(m->blocks + b * block_bytes(m), m->columns / GROUP, m->bits, x, count,
                        sums, ROWS);
        for (int n = 0; n < count; n++)
            for (int r = 0; r < ROWS && b * ROWS + r < m->rows; r++)
                to[n * m->rows + b * ROWS + r] += sums[n * ROWS + r];
    }
}

static const float *turns(const float *table, const Model *m, const Text *text) {
    return table + (size_t)text->place * (m->head_size / 2);
}

static size_t head_at(const Model *m, const Text *text, int layer, int head) {
    return ((size_t)layer * m->key_heads + head) * text->capacity * m->head_size;
}

/* Put keys and values of the new tokens into their texts. */
static void remember(Pool *pool, int layer, int index, float *turned) {
    const Work *w = &pool->work;
    const Model *m = w->model;
    const int size = m->head_size;
    for (int i; (i = next(pool, index)) >= 0;) {
        const int n = i / m->key_heads, head = i % m->key_heads;
        const Text *text = &w->text[n];
        const float *row = w->qkv + (size_t)n * width_of_qkv(m) + (m->heads + head) * size;
        const size_t at = head_at(m, text, layer, head) + (size_t)text->place * size;
        rotate(row, turns(m->cosines, m, text), turns(m->sines, m, text), size / 2, turned);
        row += m->key_heads * size; /* from the key to its value */
        pool->use.halves(turned, size, text->keys + at);
        pool->use.halves(row, size, text->values + at);
    }
}

static void attention(Pool *pool, int layer, int index, float *weights, float *turned) {
    const Work *w = &pool->work;
    const Model *m = w->model;
    const int size = m->head_size;
    for (int i; (i = next(pool, index)) >= 0;) {
        const int n = i / m->heads, head = i % m->heads;
        const Text *text = &w->text[n];
        const float *row = w->qkv + (size_t)n * width_of_qkv(m) + head * size;
        const size_t at = head_at(m, text, layer, head / (m->heads / m->key_heads));
        rotate(row, turns(m->cosines, m, text), turns(m->sines, m, text), size / 2, turned);
        pool->use.attend(turned, text->keys + at, text->values + at, text->place + 1, size, weights,
               w->mixed + (size_t)i * size);
    }
}

static void feed_forward(Pool *pool, const Layer *layer, const Rounded *x, int index) {
    const Work *w = &pool->work;
    const Matrix *both = &layer->gate_up;
    const int groups = both->columns / GROUP;
    float gate[MOST_ROWS * ROWS], up[MOST_ROWS * ROWS];
    for (int b; (b = next(pool, index)) >= 0;) {
        const uint8_t *at = both->blocks + 2 * b * block_bytes(both);
        pool->use.block(at, groups, both->bits, x, w->count, gate, ROWS);
        pool->use.block(at + block_bytes(both), groups, both->bits, x, w->count, up, ROWS);
        for (int n = 0; n < w->count; n++)
            pool->use.gate(gate + n * ROWS, up + n * ROWS,
                           w->inner + (size_t)n * w->model->inner + b * ROWS);
    }
}

static void norm_and_round(const Pool *pool, const float *gain, int first, float *normed,
                           Rounded *to) {
    const Work *w = &pool->work;
    const int width = w->model->width;
    for (int n = first; n < w->count; n++) {
        const float *x = w->x + (size_t)n * width;
        const float by = 1 / sqrtf(pool->use.squares(x, width) / width + w->model->epsilon);
        for (int i = 0; i < width; i++) normed[i] = x[i] * by * gain[i];
        pool->use.round(normed, width, &to[n - first]);
    }
}

/* Ask for the first weights that a thread will read after the others have been waited for. */
static void ask_for(const Pool *pool, const Matrix *m, int index) {
    const int pairs = blocks_of(m) / 2; /* gate and up are shared out in pairs */
    const char *at = (const char *)m->blocks +
                     2 * part(pairs, pool->threads, index) * block_bytes(m);
    for (int i = 0; i < AHEAD; i += 64) _mm_prefetch(at + i, _MM_HINT_T0);
}

static void run(Pool *pool, int index) {
    const Work *w = &pool->work;
    const Model *m = w->model;
    const int count = w->count, mixed = m->heads * m->head_size;
    int phase = atomic_load(&pool->phase);
    float *place = pool->scratch[index];
    float *normed = at(&place, m->width), *turned = at(&place, m->head_size);
    float *weights = at(&place, m->context);
    Rounded stream[MOST_ROWS], heads[MOST_ROWS], inner[MOST_ROWS];
    for (int n = 0; n < MOST_ROWS; n++) {
        stream[n] = rounded_at(&place, m->width);
        heads[n] = rounded_at(&place, mixed);
        inner[n] = rounded_at(&place, m->inner);
    }
    pool->use.begin(count);
    for (int l = 0; l < m->layers; l++) {
        const Layer *layer = m->layer + l;
        norm_and_round(pool, layer->norm_attention, 0, normed, stream);
        multiply(pool, &layer->qkv, stream, count, index, w->qkv, width_of_qkv(m));
        meet(pool, &phase, count * m->key_heads);
        remember(pool, l, index, turned);
        ask_for(pool, &layer->out, index);
        meet(pool, &phase, count * m->heads);
        attention(pool, l, index, weights, turned);
        meet(pool, &phase, blocks_of(&layer->out));
        for (int n = 0; n < count; n++)
            pool->use.round(w->mixed + (size_t)n * mixed, mixed, &heads[n]);
        add_product(pool, &layer->out, heads, index, w->x);
        ask_for(pool, &layer->gate_up, index);
        meet(pool, &phase, m->inner / ROWS);
        norm_and_round(pool, layer->norm_feed_forward, 0, normed, stream);
        feed_forward(pool, layer, stream, index);
        ask_for(pool, &layer->down, index);
        meet(pool, &phase, blocks_of(&layer->down));
        for (int n = 0; n < count; n++)
            pool->use.round(w->inner + (size_t)n * m->inner, m->inner, &inner[n]);
        add_product(pool, &layer->down, inner, index, w->x);
        const Matrix *after = l + 1 < m->layers ? &layer[1].qkv : &m->head;
        ask_for(pool, after, index);
        meet(pool, &phase, blocks_of(after));
    }
    if (w->scored > 0) {
        norm_and_round(pool, m->norm, count - w->scored, normed, stream);
        pool->use.begin(w->scored);
        multiply(pool, &m->head, stream, w->scored, index, w->logits, blocks_of(&m->head) * ROWS);
    }
    pool->use.end();
}

static void *worker(void *given) {
    struct Seat *seat = given;
    Pool *pool = seat->pool;
    for (int round = 1;; round++) {
        pthread_mutex_lock(&pool->lock);
        while (pool->round < round && !pool->stop) pthread_cond_wait(&pool->begin, &pool->lock);
        const int stop = pool->stop;
        pthread_mutex_unlock(&pool->lock);
        if (stop) return NULL;
        run(pool, seat->index);
        pthread_mutex_lock(&pool->lock);
        if (--pool->left == 0) pthread_cond_signal(&pool->end);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* ---- packing ---------------------------------------------------------------------------------- */

static void put(uint8_t *to, int bits, int r, const uint8_t *q, float scale, float offset) {
    const uint16_t s = to_half(scale), o = to_half(offset);
    for (int k = 0; k < GROUP; k++) {
        if (bits == 4)
            to[k / 8 * 64 + 4 * r + k % 4] |= q[k] << (k % 8 / 4 * 4);
        else
            to[k / 4 * 64 + 4 * r + k % 4] = q[k];
    }
    to += bits == 4 ? 256 : 512;
    memcpy(to + 2 * r, &s, 2);
    if (bits == 4) memcpy(to + 32 + 2 * r, &o, 2);
}

/* One group of a GGUF file: Q4_0 (18 bytes), Q4_1 (20) or Q8_0 (34). */
static void put_stored(uint8_t *to, int r, const uint8_t *stored, int bytes) {
    uint8_t q[GROUP];
    uint16_t half;
    memcpy(&half, stored, 2);
    const float scale = of_half(half);
    float offset = -8 * scale;
    if (bytes == 20) {
        memcpy(&half, stored + 2, 2);
        offset = of_half(half);
    }
    const uint8_t *packed = stored + (bytes == 20 ? 4 : 2);
    for (int k = 0; k < GROUP; k++)
        q[k] = bytes == 34 ? packed[k] ^ 128 : k < 16 ? packed[k] & 15 : packed[k - 16] >> 4;
    put(to, bytes == 34 ? 8 : 4, r, q, scale, offset);
}

static void put_rounded(uint8_t *to, int r, const float *x) {
    uint8_t q[GROUP];
    float most = 0;
    for (int k = 0; k < GROUP; k++) most = fmaxf(most, fabsf(x[k]));
    const float scale = of_half(to_half(most / 127)), by = scale > 0 ? 1 / scale : 0;
    for (int k = 0; k < GROUP; k++) {
        const long rounded = lrintf(x[k] * by);
        q[k] = (uint8_t)((rounded > 127 ? 127 : rounded < -127 ? -127 : rounded) + 128);
    }
    put(to, 8, r, q, scale, 0);
}

/* Pack a map, row order[i] of it at place i, into every stride-th block from `to` on, which is 0.

   bytes: of a group as it is stored (18, 20, 34), or 0 where rows are single precision. */
void orrery_pack(const uint8_t *rows, int bytes, const int32_t *order, int count, int columns,
                 int stride, uint8_t *to) {
    const int groups = columns / GROUP, bits = bytes == 18 || bytes == 20 ? 4 : 8;
    const size_t group = BYTES(bits), row = (size_t)groups * (bytes ? bytes : 4 * GROUP);
    for (int i = 0; i < count; i++) {
        const uint8_t *from = rows + order[i] * row;
        uint8_t *block_at = to + (size_t)(i / ROWS) * stride * groups * group;
        for (int g = 0; g < groups; g++, block_at += group) {
            if (bytes) put_stored(block_at, i % ROWS, from + g * bytes, bytes);
            else put_rounded(block_at, i % ROWS, (const float *)from + g * GROUP);
        }
    }
}

/* ---- what Python calls ------------------------------------------------------------------------ */

int orrery_edition(void) { return EDITION; }

/* Whether this processor has the instructions of the fast way. */
int orrery_has_vnni(void) {
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

void orrery_close(Pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->stop = 1;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->thread[i], NULL);
    for (int i = 0; i < pool->threads; i++) free(pool->scratch[i]);
    free(pool->work.x);
    free(pool);
}

/* Threads for a model; NULL where memory or threads are lacking.

   fast: 0 for plain C, 1 for products of bytes, 2 for products of tiles too, where there are some. */
Pool *orrery_open(const Model *m, int threads, int fast) {
    if (threads < 1 || threads > MOST_THREADS) return NULL;
    Pool *pool = aligned_alloc(64, (sizeof(Pool) + 63) / 64 * 64);
    if (pool == NULL) return NULL;
    memset(pool, 0, sizeof *pool);
    pool->use = fast > 0 && orrery_has_vnni() ? FAST : PLAIN;
#if TILES
    if (fast > 1 && orrery_has_vnni() && has_amx()) {
        pool->use.begin = begin_amx;
        pool->use.end = end_amx;
        pool->use.block = block_amx;
    }
#endif
    if (m->head_size % 16 != 0) pool->use.attend = attend_plain, pool->use.halves = halves_plain;
    const int mixed = m->heads * m->head_size, qkv = width_of_qkv(m);
    const size_t shared = 4 * 16 + MOST_ROWS * ((size_t)m->width + qkv + mixed + m->inner);
    const size_t own = 3 * 16 + m->width + m->context + m->head_size +
                       MOST_ROWS * (12 * 16 + ((size_t)m->width + mixed + m->inner));
    float *place = aligned_alloc(64, (shared * 4 + 63) / 64 * 64);
    pool->threads = 1;
    pool->work.model = m;
    pool->work.x = place;
    if (place == NULL) { free(pool); return NULL; }
    at(&place, MOST_ROWS * m->width);
    pool->work.qkv = at(&place, MOST_ROWS * qkv);
    pool->work.mixed = at(&place, MOST_ROWS * mixed);
    pool->work.inner = at(&place, MOST_ROWS * m->inner);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->end, NULL);
    for (int i = 0; i < threads; i++) {
        pool->scratch[i] = aligned_alloc(64, (own * 4 + 63) / 64 * 64);
        pool->seat[i].pool = pool;
        pool->seat[i].index = i;
        if (pool->scratch[i] == NULL ||
            (i > 0 && pthread_create(&pool->thread[i], NULL, worker, &pool->seat[i]) != 0)) {
            orrery_close(pool);
            return NULL;
        }
        pool->threads = i + 1;
    }
    return pool;
}

/* Read some tokens, at most MOST_ROWS, given as their embeddings: neighbours in one text in order,
   or each of a text of its own. The last `scored` of them are scored into logits. */
void orrery_step(Pool *pool, const float *embeddings, int count, const Text *texts, int scored,
                 float *logits) {
    Work *w = &pool->work;
    memcpy(w->x, embeddings, (size_t)count * w->model->width * sizeof(float));
    memcpy(w->text, texts, count * sizeof(Text));
    w->count = count;
    w->scored = scored;
    w->logits = logits;
    pthread_mutex_lock(&pool->lock);
    deal(pool, blocks_of(w->model->layers > 0 ? &w->model->layer[0].qkv : &w->model->head));
    pool->left = pool->threads - 1;
    pool->round++;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    run(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->left > 0) pthread_cond_wait(&pool->end, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
