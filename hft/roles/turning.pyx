"""One pass over the roles of a process, and its turn: in an event loop, or without one."""
from contextvars import copy_context

from libc.stdint cimport int64_t, uint64_t

from ipc.atomics cimport monotonic_ns
from ipc.page_stores cimport PageStores
from ipc.parker cimport Parker

from hft import counters

ROUNDS_PER_TURN_MAX = 16
SPIN_NS_MAX = 50_000
PASS_NS = 100_000
READS_PER_TURN = 8

cdef int ROUNDS = ROUNDS_PER_TURN_MAX
cdef int64_t SPIN = SPIN_NS_MAX
cdef int64_t PASS = PASS_NS
cdef int READS = READS_PER_TURN
cdef uint64_t WORK = counters.WORK.id
cdef uint64_t TURN_NS = counters.TURN_NS.id


cdef class Cycle:
    """The roles of a process and their pages: each works once, and beats.

    A role with a ``period_ns`` has nothing to do between its sockets and its timer: it works that
    often, and the others' tick does not wait for it.
    """

    def __init__(self, roles, pages):
        cdef PageStores page
        self.roles, self.pages = tuple(roles), tuple(pages)
        self.steps = [role.do_work for role in self.roles]
        if len(self.roles) > ROLES:
            raise ValueError(f"{len(self.roles)} roles in one process, {ROLES} at most")
        for index, role in enumerate(self.roles):
            self.periods_ns[index] = getattr(role, "period_ns", 0)
            self.due_ns[index] = 0
        for page in self.pages:
            page.beat(monotonic_ns())  # raises where it may not be written

    def pass_once(self, int64_t now_ns):
        """Every role once, in order; returns the amount of work done."""
        return self.pass_all(now_ns)

    cdef int64_t pass_all(self, int64_t now_ns) except -1:
        cdef int64_t work_count = 0, done
        cdef Py_ssize_t index
        cdef PageStores page
        cdef object now = now_ns
        for index in range(len(self.steps)):
            done = 0
            if now_ns >= self.due_ns[index]:
                self.due_ns[index] = now_ns + self.periods_ns[index]
                done = self.steps[index](now)
            page = <PageStores> self.pages[index]
            page.store_beat(now_ns)
            if done:
                page.add(WORK, done)
                work_count += done
        for index in range(len(self.pages)):  # after the last role has done what is urgent
            page = <PageStores> self.pages[index]
            if page.note_count:
                page.add_noted()
        return work_count


def turn_alone(Cycle cycle not None, wait, after_turn):
    """Turn the roles of a process without an event loop, and wait between turns.

    What has to be done beside the roles comes after them, so that whoever was woken works at once:
    ``after_turn(now_ns, is_idle)`` after each pass; False: the process is at its end.
    """
    cdef int64_t now_ns, work_count
    idle = wait.idle
    while True:
        now_ns = monotonic_ns()
        work_count = cycle.pass_all(now_ns)
        if not after_turn(now_ns, work_count == 0):
            return
        idle(work_count)


cdef class Turning:
    """The turn of a process in an event loop: passes until nobody has work, then waits.

    While it spins, it only looks whether something is in a ring, or a word was changed; all roles
    have a pass when there is, and every ``PASS_NS`` whatever there is. What sockets bring turns the
    process at once. The sockets that ticks come by are read without asking the event loop, which
    takes longer to find out that there is something than reading it does; the loop has its turn
    after every ``READS_PER_TURN``.

    Subclasses say what is done beside the roles: ``_after_turn`` and ``fail``.
    """

    def __init__(self, Cycle cycle not None, Parker parker not None, wait):
        self.cycle = cycle
        self.parker = parker
        self.spins_always = wait == "busy_spin"
        self.spin_ns = 0 if wait == "park" else SPIN
        self.reads = ()
        self.soon = self._on_soon
        self.context = copy_context()

    def turn_in(self, loop):
        """From now on turns are asked of this loop."""
        self.loop = loop

    def read_between_turns(self, reads):
        """While it spins, each of ``reads`` is called again and again: it reads a socket."""
        self.reads = tuple(reads)

    def turn(self):
        """Pass over the roles until nobody has work, then wait as the plan says."""
        if self.is_turning:
            self.again = True
            return
        if self.is_finished:
            return
        self.is_turning = True
        try:
            self.turn_once()
        except Exception as error:
            self.fail(error)
        finally:
            self.is_turning = False

    def on_fifo(self):
        """Somebody woke the process: first the work, the FIFO is emptied before the next sleep."""
        self.is_rung = True
        self.turn()

    cdef int turn_once(self) except -1:
        cdef int64_t started_ns = monotonic_ns()
        cdef int64_t now_ns = started_ns
        self.parker.disarm()
        if self.pass_while_work(&now_ns) == ROUNDS:
            self.schedule()
        if self.worked_ns >= started_ns:
            (<PageStores> self.cycle.pages[0]).add_ns(TURN_NS, now_ns - started_ns)
        if not self._after_turn(now_ns, self.worked_ns < started_ns):
            return 0
        if self.is_rung:  # nobody writes into it while the process is not armed
            self.is_rung = False
            self.parker.empty_fifo()
        if (self.spins_always or now_ns - self.worked_ns < self.spin_ns
                or not self.parker.arm_fifo()):
            self.schedule()
        return 0

    cdef int pass_while_work(self, int64_t *now_ns) except -1:
        """Returns how many passes there were; all that a turn may have: there is work left."""
        cdef int count
        cdef int64_t work_count
        for count in range(1, ROUNDS):
            self.again = False
            self.passed_ns = now_ns[0]
            work_count = self.cycle.pass_all(now_ns[0])
            if not work_count and not self.again:
                return count
            self.worked_ns = now_ns[0]
            now_ns[0] = monotonic_ns()
            # Who spins comes back at once; who is about to sleep makes sure by an empty pass.
            if self.spins_always and not self.again and not self.parker.look():
                return count
        return ROUNDS

    cdef int schedule(self) except -1:
        if not self.is_scheduled:
            self.is_scheduled = True
            self.loop.call_soon(self.soon, context=self.context)
        return 0

    cdef bint may_wait(self) except -1:
        """Nothing asks for a pass: it spins, in time, and sees nothing in its rings."""
        cdef int64_t now_ns = monotonic_ns()
        return (not self.is_finished and not self.again
                and now_ns - self.passed_ns < PASS
                and (self.spins_always or now_ns - self.worked_ns < self.spin_ns)
                and not self.parker.look())

    def _on_soon(self):
        cdef int64_t passed_ns = self.passed_ns
        cdef int left = READS if self.reads else 0
        self.is_scheduled = False
        while self.may_wait():
            if not left:
                self.schedule()
                return
            left -= 1
            for read in self.reads:
                read()
            if self.passed_ns != passed_ns:
                return  # what came has turned the process, and that turn says what is next
        self.turn()
