"""Work in pieces of about 0.1 seconds: one piece of work alone, or many side by side.

A *work* is a generator.  Each time it yields, it says how many threads the next piece
can use, and is sent a team of at most so many; what it returns is the result.  So it
can be paused, go on with fewer or more threads, and share the cores with others.  The
result does not depend on it: kernels give the same bits on any number of threads.
"""

import threading
from queue import SimpleQueue

from fastmlp.engine.threads import Abandoned, Team, limit_threads_of_predictions
from fastmlp.kernels.team import ABANDONED

__all__ = [
    "Failure",
    "Pausable",
    "finish",
    "in_turn",
    "run_alone",
    "side_by_side",
    "within",
]


def finish(work, team):
    """Do all pieces of a work that has not begun on one team; returns its result."""
    try:
        next(work)
        while True:
            work.send(team)
    except StopIteration as end:
        return end.value


def run_alone(work):
    """Do a work that has not begun on as many threads as it can use.

    Returns
    -------
    object
        Its result.  What is raised between two of its pieces, such as by a signal
        handler, is raised within it.
    """
    pieces = _Pieces(work)
    try:
        while not pieces.done:
            try:
                pieces.go_on(pieces.wanted)
            except BaseException as error:
                if pieces.has_ended:
                    raise
                pieces.throw(error)
    finally:
        pieces.close()
    return pieces.result


def within(make_context, work):
    """A work, each piece of which is done in a context of its own.

    ``with`` around a ``yield`` would hold while other works run, and a work that rests
    may go on in another thread.

    Parameters
    ----------
    make_context : callable
        Gives a context manager.
    work : generator
        Has not begun.
    """
    try:
        with make_context():
            wanted = next(work)
        while True:
            try:
                team = yield wanted
            except BaseException as error:  # of whoever does the pieces, or the end
                with make_context():
                    wanted = work.throw(error)
            else:
                with make_context():
                    wanted = work.send(team)
    except StopIteration as end:
        return end.value


class Pausable:
    """A work that is done in parts, each of which is a work of its own.

    Between two parts it rests where it is, with all its memory, until it is closed.

    Parameters
    ----------
    work : generator
        Has not begun.

    Attributes
    ----------
    done : bool
    result : object
        Of the work, when it is done.
    """

    def __init__(self, work):
        self._work = work
        self._wanted = None  # threads for the next piece; None before the first one
        self.done, self.result = False, None

    def until(self, is_there):
        """Go on, until the work is done or something holds between two pieces.

        If this part is closed, the work rests as well; what is raised within the part,
        such as by a signal handler, is not raised within the work.

        Parameters
        ----------
        is_there : callable
            Whether to pause, asked before each piece.

        Returns
        -------
        bool
            Whether the work is done.
        """
        while not self.done and not is_there():
            team = None if self._wanted is None else (yield self._wanted)
            try:
                self._wanted = self._work.send(team)
            except StopIteration as end:
                self.done, self.result = True, end.value
        return self.done

    def close(self):
        """End the work, done or not, and forget it."""
        self._work.close()


class Failure:
    """What a work raised.

    Attributes
    ----------
    error : Exception
    """

    def __init__(self, error):
        self.error = error


def side_by_side(works, n_threads, on_result, prepare=None):
    """Do many works at a time, each on one thread; the last few share all threads.

    Parameters
    ----------
    works : iterable of generator
        Taken when a thread is free, by one thread at a time: no more than `n_threads`
        of them run, or are in memory.
    n_threads : int
    on_result : callable
        Called in the caller's thread as soon as a work is done, with its position and
        its result, or a `Failure`.  If it returns True, no other work is begun, and
        those that run are closed.
    prepare : callable, default=None
        Called once in each thread, before all else.

    Raises
    ------
    BaseException
        What `on_result` or `works` raise, or a signal handler (Ctrl-C): as soon as all
        works that run have been closed, which takes a piece.
    """
    crowd = _Crowd(works, n_threads, on_result, prepare)
    with Team(1 + n_threads) as team:
        if team.size == 1:  # the system has no thread to give
            crowd.run_in_turn()
        else:
            crowd.run(team)


def in_turn(works, on_result):
    """A work that does others one after the other, on the threads that it is given.

    For what is itself one of many that run side by side; arguments are those of
    `side_by_side`, and so is what it raises.
    """
    for position, work in enumerate(works):
        try:
            result = yield from work
        except Exception as error:
            result = Failure(error)
        if on_result(position, result):
            return


class _Pieces:
    """A work, and the team that it runs on.

    Parameters
    ----------
    work : generator
    is_abandoned : callable, default=None
        Whether nobody waits for the result any more.

    Attributes
    ----------
    done : bool
    result : object
    wanted : int
        Threads that the next piece can use.
    """

    def __init__(self, work, is_abandoned=None):
        self._work = work
        self._is_abandoned = is_abandoned
        self._team, self._size = None, 0
        self.done, self.result, self.wanted = False, None, 1
        self._step(work.send, None)

    @property
    def has_ended(self):
        """Whether the work cannot go on: it has returned, or raised."""
        return self._work.gi_frame is None

    def go_on(self, size):
        """Do a piece on a team of that size."""
        if size != self._size:
            self._leave_team()
            self._team, self._size = Team(size, self._is_abandoned), size
        self._step(self._work.send, self._team)

    def throw(self, error):
        """Raise an error within the work."""
        self._step(self._work.throw, error)

    def close(self):
        """End the work, done or not, and the threads of its team."""
        try:
            self._work.close()
        finally:
            self._leave_team()

    def _step(self, step, what):
        try:
            self.wanted = step(what)
        except StopIteration as end:
            self.done, self.result = True, end.value
        except RuntimeError as error:
            # a generator may not raise it (PEP 479), a user's callback may
            if self.has_ended and isinstance(error.__cause__, StopIteration):
                raise error.__cause__ from None
            raise

    def _leave_team(self):
        team, self._team, self._size = self._team, None, 0
        if team is not None:
            team.close()


class _Crowd:
    """Works that wait, works that run, and results that nobody has taken yet."""

    def __init__(self, works, n_threads, on_result, prepare):
        self._works = enumerate(works)
        self._n_threads = n_threads
        self._on_result = on_result
        self._prepare = prepare or (lambda: None)
        self._taking = threading.Lock()  # of workers: no signal handler runs there
        self._results = SimpleQueue()  # (position, result), or None: a worker ends
        self._is_exhausted = False
        self._live = set()  # numbers of workers that have a work

    def run(self, team):
        """Works on all threads of the team but the first, results on that."""

        def function(number):
            if number == 0:
                self._collect(team.size - 1)
            else:
                self._serve(number, team.shared)

        team.run(function)

    def run_in_turn(self):
        """All in the caller's thread."""
        self._prepare()
        for position, work in self._works:
            try:
                result = run_alone(work)
            except Exception as error:
                result = Failure(error)
            if self._on_result(position, result):
                return

    def _collect(self, n_workers):
        while n_workers:
            found = self._results.get()
            if found is None:
                n_workers -= 1
            elif self._on_result(*found):
                return  # which abandons whoever still works

    def _serve(self, number, shared):
        def is_abandoned():
            return shared[ABANDONED] != 0

        try:
            self._prepare()
            while not is_abandoned():
                with self._taking:
                    position, work = next(self._works, (None, None))
                if work is None:
                    self._is_exhausted = True
                    break
                self._live.add(number)
                try:
                    result = self._do(work, is_abandoned)
                except Abandoned:
                    break
                except Exception as error:
                    result = Failure(error)
                finally:
                    self._live.discard(number)
                self._results.put((position, result))
        finally:
            self._results.put(None)

    def _do(self, work, is_abandoned):
        limit_threads_of_predictions(self._share())
        pieces = _Pieces(work, is_abandoned)
        try:
            while not pieces.done:
                if is_abandoned():
                    raise Abandoned
                share = self._share()
                limit_threads_of_predictions(share)
                pieces.go_on(min(pieces.wanted, share))
        finally:
            pieces.close()
        return pieces.result

    def _share(self):
        """Threads for a piece of one of the works that run."""
        if not self._is_exhausted:
            return 1
        return max(1, self._n_threads // max(1, len(self._live)))
