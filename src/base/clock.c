/* SPDX-License-Identifier: MIT */
#include <tailrace/base.h>

#include <stdio.h>
#include <time.h>

int64_t tr_clock_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t tr_clock_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Days between 1970-01-01 and a date of the proleptic Gregorian calendar, and back (H. Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms"). Years start in March, so that the leap day comes last. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, int *m, int *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

void tr_time_format(int64_t ms, bool with_ms, char *out)
{
    int64_t s = ms / 1000, rest = ms % 1000;
    if (rest < 0) {
        rest += 1000;
        s--;
    }
    int64_t days = s / 86400, sec = s % 86400;
    if (sec < 0) {
        sec += 86400;
        days--;
    }
    int64_t y;
    int m, d;
    civil_from_days(days, &y, &m, &d);
    char fraction[8] = "";
    if (with_ms)
        (void)snprintf(fraction, sizeof fraction, ".%03d", (int)rest);
    (void)snprintf(out, TR_TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)y, m, d, (int)(sec / 3600),
                   (int)(sec / 60 % 60), (int)(sec % 60), fraction);
}

/* Reads exactly n digits. */
static bool digits(tr_view *v, int n, int *ret)
{
    int x = 0;
    if (v->len < (size_t)n)
        return false;
    for (int i = 0; i < n; i++) {
        char c = v->ptr[i];
        if (c < '0' || c > '9')
            return false;
        x = x * 10 + (c - '0');
    }
    v->ptr += n;
    v->len -= (size_t)n;
    *ret = x;
    return true;
}

static bool one_of(tr_view *v, const char *chars, char *ret)
{
    if (v->len == 0 || !strchr(chars, v->ptr[0]) || v->ptr[0] == 0)
        return false;
    if (ret)
        *ret = v->ptr[0];
    v->ptr++;
    v->len--;
    return true;
}

int tr_time_parse(tr_view v, int64_t *ret_ms)
{
    static const int days_in[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, mo, d, h, mi, s, ms = 0;
    char zone;
    if (!digits(&v, 4, &y) || !one_of(&v, "-", NULL) || !digits(&v, 2, &mo) || !one_of(&v, "-", NULL) ||
        !digits(&v, 2, &d) || !one_of(&v, "Tt ", NULL) || !digits(&v, 2, &h) || !one_of(&v, ":", NULL) ||
        !digits(&v, 2, &mi) || !one_of(&v, ":", NULL) || !digits(&v, 2, &s))
        return TR_EPARSE;
    if (one_of(&v, ".", NULL)) {
        int digit, scale = 100;
        if (!digits(&v, 1, &digit))
            return TR_EPARSE;
        do {
            ms += digit * scale;
            scale /= 10;
        } while (digits(&v, 1, &digit));
    }
    if (!one_of(&v, "Zz+-", &zone))
        return TR_EPARSE;
    int oh = 0, om = 0;
    if ((zone == '+' || zone == '-') &&
        (!digits(&v, 2, &oh) || !one_of(&v, ":", NULL) || !digits(&v, 2, &om)))
        return TR_EPARSE;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (v.len || mo < 1 || mo > 12 || d < 1 || d > days_in[mo - 1] + (mo == 2 && leap) || h > 23 || mi > 59 ||
        s > 60 || oh > 23 || om > 59)
        return TR_EPARSE;
    int64_t offset = (oh * 60 + om) * (zone == '-' ? -60 : 60);
    *ret_ms = (days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - offset) * 1000 + ms;
    return 0;
}

int tr_duration_parse(tr_view v, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    const int64_t max_ms = INT64_C(100) * 366 * 86400 * 1000;
    size_t n = 0;
    while (n < v.len && v.ptr[n] >= '0' && v.ptr[n] <= '9')
        n++;
    uint64_t number;
    int r = tr_view_to_u64(tr_view_of(v.ptr, n), (uint64_t)max_ms, &number);
    if (r)
        return r;
    for (size_t i = 0; i < TR_COUNT(units); i++) {
        if (!tr_view_is(tr_view_of(v.ptr + n, v.len - n), units[i].unit))
            continue;
        if (number > (uint64_t)(max_ms / units[i].ms))
            return TR_ELIMIT;
        *ret_ms = (int64_t)number * units[i].ms;
        return 0;
    }
    return TR_EPARSE;
}
