"""Counts what the interpreter allocates: every object and block, also those freed at once."""

cdef extern from "Python.h" nogil:
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ

    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* block, size_t size) noexcept nogil
        void (*free)(void* ctx, void* block) noexcept nogil

    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

cdef PyMemAllocatorEx before[2]
cdef PyMemAllocatorDomain[2] DOMAINS = [PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ]
cdef unsigned long long blocks = 0


cdef void* counted_malloc(void* ctx, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> ctx).malloc((<PyMemAllocatorEx*> ctx).ctx, size)


cdef void* counted_calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> ctx).calloc((<PyMemAllocatorEx*> ctx).ctx, count, size)


cdef void* counted_realloc(void* ctx, void* block, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> ctx).realloc((<PyMemAllocatorEx*> ctx).ctx, block, size)


cdef void counted_free(void* ctx, void* block) noexcept nogil:
    (<PyMemAllocatorEx*> ctx).free((<PyMemAllocatorEx*> ctx).ctx, block)


def start() -> None:
    """Count from now on; to be ended with ``stop``, and not begun twice."""
    cdef PyMemAllocatorEx counted
    cdef int index
    counted.malloc, counted.calloc = counted_malloc, counted_calloc
    counted.realloc, counted.free = counted_realloc, counted_free
    for index in range(2):
        PyMem_GetAllocator(DOMAINS[index], &before[index])
        counted.ctx = &before[index]
        PyMem_SetAllocator(DOMAINS[index], &counted)


def stop() -> None:
    """Count no more."""
    cdef int index
    for index in range(2):
        PyMem_SetAllocator(DOMAINS[index], &before[index])


def count() -> int:
    """Blocks asked for so far; objects that come from a type's own free list are not among them."""
    return blocks
