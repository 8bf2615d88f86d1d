/* The system calls that put a process to sleep and wake it: futex and FIFO. */
#ifndef IPC_WAKE_H
#define IPC_WAKE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word is expected, at most timeout_ns. Not FUTEX_PRIVATE: the word is shared between
 * processes. Returns at a wake, a timeout, a signal, or at once when the word differs. */
static inline void futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout;
    timeout.tv_sec = timeout_ns / 1000000000;
    timeout.tv_nsec = timeout_ns % 1000000000;
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0);
}

static inline void futex_wake(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* One byte into the FIFO, opened when first needed. EAGAIN: it is full of wake-ups already. ENXIO,
 * ENOENT: nobody listens. After EPIPE the path is opened afresh, as the FIFO may be a new one. */
static inline void fifo_wake(int *descriptor, const char *path) {
    for (int attempt = 0; attempt < 2; attempt++) {
        if (*descriptor < 0) {
            *descriptor = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
            if (*descriptor < 0) {
                return;
            }
        }
        if (write(*descriptor, "", 1) >= 0 || errno != EPIPE) {
            return;
        }
        close(*descriptor);
        *descriptor = -1;
    }
}

#endif
