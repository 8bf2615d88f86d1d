"""What bars new orders until the venue has answered, for compiled callers."""


cdef class OrderGate:
    cdef public bint is_recovered
    cdef public dict questions
