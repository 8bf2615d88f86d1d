"""Numbers of an order's enumerations as C sees them; ``orders.pyx`` holds them against the records.
"""

cdef enum:
    ACTION_UNKNOWN = 0
    ACTION_PLACE = 1
    ACTION_AMEND = 2
    ACTION_CANCEL = 3
    STATE_PENDING_NEW = 1
    STATE_WORKING = 2
    STATE_UNRESOLVED = 3
    STATE_FILLED = 10
    STATE_CANCELED = 11
    STATE_REJECTED = 12
    STATE_EXPIRED = 13
    STATE_NEVER_ACCEPTED = 14
    FIRST_TERMINAL = STATE_FILLED
    KIND_ORDER = 23
    TYPE_LIMIT = 1
    TIF_GTC = 1
    NO_KIND = -1


cdef inline list members_of(enumeration):
    """Members by their number, which may be -1: making one from its number takes ten times as long.
    """
    members = [None] * (max(enumeration) + 2)
    for member in enumeration:
        members[member + 1] = member
    return members


cdef inline int kind_code(
    int side, int order_type, int tif, bint is_post_only, bint is_reduce_only, bint is_dated
) noexcept:
    if not (-1 <= side <= 1 and 0 <= order_type <= 3 and 0 <= tif <= 15):
        return NO_KIND  # what came from outside may be anything, and must be nobody else's number
    return (
        side + 1 | order_type << 2 | tif << 4 | is_post_only << 8 | is_reduce_only << 9
        | is_dated << 10)


cdef inline int rank_of(int state) noexcept:
    """Of two final states the one that stands higher holds."""
    if state == STATE_FILLED:
        return 5
    if state == STATE_CANCELED:
        return 4
    if state == STATE_EXPIRED:
        return 3
    return 2 if state == STATE_REJECTED else 1
