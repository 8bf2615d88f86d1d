/* Atomic loads, stores and fences for memory shared between processes, the clock, the pause.
 *
 * C11 atomics through the compiler's builtins: right on every processor, plain moves on x86 except
 * for fence_seq_cst, xchg, cas and add. Record bytes are moved with memcpy between the fences.
 */
#ifndef IPC_ATOMICS_H
#define IPC_ATOMICS_H

#include <stdint.h>
#include <string.h>
#include <time.h>

static inline uint64_t load_relaxed(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint64_t load_acquire(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store_relaxed(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void store_release(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint64_t fetch_add(uint64_t *word, uint64_t value) {
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

static inline int compare_and_swap(uint64_t *word, uint64_t expected, uint64_t value) {
    return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static inline uint32_t load_relaxed_u32(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void store_relaxed_u32(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline uint32_t exchange_u32(uint32_t *word, uint32_t value) {
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

static inline void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }

static inline void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }

/* The one fence that costs: it keeps a later load from overtaking an earlier store. */
static inline void fence_seq_cst(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

/* Asks for a line that will be read soon; never faults, changes nothing. */
static inline void prefetch_line(const void *line) { __builtin_prefetch(line, 0, 3); }

/* The same for the lines of bytes that will be written soon. */
static inline void prefetch_bytes(const void *start, size_t size) {
    uintptr_t line = (uintptr_t)start & ~(uintptr_t)63;
    for (; line < (uintptr_t)start + size; line += 64) {
        __builtin_prefetch((const void *)line, 1, 3);
    }
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A constant size lets the compiler inline the usual record; others go through the library. */
static inline void copy_bytes(void *to, const void *from, size_t bytes) {
    if (bytes == 128) {
        memcpy(to, from, 128);
    } else if (bytes == 112) {
        memcpy(to, from, 112);
    } else {
        memcpy(to, from, bytes);
    }
}

#endif
