#include "base/utf8.h"

#include "base/banned.h"

size_t utf8_sequence(struct slice text)
{
    static const unsigned char first_min[] = {0, 0x00, 0xc2, 0xe0, 0xf0};
    const unsigned char *p = (const unsigned char *) text.ptr;
    size_t need = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (p[0] < first_min[need] || p[0] > 0xf4 || need > text.len)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return need;
}

bool utf8_is_valid(struct slice text)
{
    while (text.len > 0) {
        size_t step = utf8_sequence(text);
        if (step == 0)
            return false;
        text = slice_make(text.ptr + step, text.len - step);
    }
    return true;
}
