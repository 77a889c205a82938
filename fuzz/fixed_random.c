// Random bytes that are the same in each run, for `scripts/fuzz --fixed`: the standard library's hash maps and the crate getrandom ask
// for them here.

#include <stddef.h>
#include <sys/types.h>

static unsigned long long state = 1;

ssize_t getrandom(void *bytes, size_t length, unsigned flags)
{
    for (size_t at = 0; at < length; at++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        ((unsigned char *)bytes)[at] = state >> 56;
    }
    return length;
}
