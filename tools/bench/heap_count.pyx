"""Counts what the interpreter allocates: every object and block, also those freed at once."""

cdef extern from "Python.h" nogil:
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ

    ctypedef struct PyMemAllocatorEx:
        void* context "ctx"
        void* (*malloc)(void* context, size_t size) noexcept nogil
        void* (*calloc)(void* context, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* context, void* block, size_t size) noexcept nogil
        void (*free)(void* context, void* block) noexcept nogil

    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

cdef PyMemAllocatorEx before[2]
cdef PyMemAllocatorDomain[2] DOMAINS = [PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ]
cdef unsigned long long blocks = 0


cdef void* counted_malloc(void* context, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> context).malloc((<PyMemAllocatorEx*> context).context, size)


cdef void* counted_calloc(void* context, size_t count, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> context).calloc((<PyMemAllocatorEx*> context).context, count, size)


cdef void* counted_realloc(void* context, void* block, size_t size) noexcept nogil:
    global blocks
    blocks += 1
    return (<PyMemAllocatorEx*> context).realloc((<PyMemAllocatorEx*> context).context, block, size)


cdef void counted_free(void* context, void* block) noexcept nogil:
    (<PyMemAllocatorEx*> context).free((<PyMemAllocatorEx*> context).context, block)


def start() -> None:
    """Count from now on; to be ended with ``stop``, and not begun twice."""
    cdef PyMemAllocatorEx counted
    cdef int index
    counted.malloc, counted.calloc = counted_malloc, counted_calloc
    counted.realloc, counted.free = counted_realloc, counted_free
    for index in range(2):
        PyMem_GetAllocator(DOMAINS[index], &before[index])
        counted.context = &before[index]
        PyMem_SetAllocator(DOMAINS[index], &counted)


def stop() -> None:
    """Count no more."""
    cdef int index
    for index in range(2):
        PyMem_SetAllocator(DOMAINS[index], &before[index])


def count() -> int:
    """Blocks asked for so far; objects that come from a type's own free list are not among them."""
    return blocks
