"""What bars new orders until the venue has answered: set by who asks it, read by who sends."""


cdef class OrderGate:
    """``is_recovered``: our books and the venue's lists have been compared since the user stream
    came up. ``questions``: what is being asked about single orders; while there is none, every
    order is settled.
    """

    def __init__(self, dict questions not None, *, bint is_recovered=False):
        self.questions = questions
        self.is_recovered = is_recovered
