"""CUDA graphs, on a stream of their own."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import torch

#: Before it, torch did not learn of it where CUDA ends a capture by itself.
_LEARNS_OF_END = "2.13"


class Capture(Protocol):
    """Has work done on a device, of which what recurs is captured and replayed."""

    @property
    def n_under_way(self) -> int:
        """Times that work was asked for which the device has not done yet."""
        ...

    @property
    def latest_s(self) -> float:
        """Seconds from when work was asked for to its end, of the latest that is done; else 0."""
        ...

    def running(self) -> AbstractContextManager[None]:
        """Do what is asked for within a ``with`` block after all that was asked for before."""
        ...

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """Record work without doing it; what is returned does it each time that it is called.

        Args:
            body: Reads and writes the same tensors in each call. It has been called before.

        Raises:
            RuntimeError: If the work needs the host.
        """
        ...

    def give_back(self) -> None:
        """Give back memory that is kept for work to come."""
        ...

    def wait(self) -> None:
        """Wait until all work is done."""
        ...


class CudaCapture:
    """Work of a CUDA stream; see :class:`Capture`.

    torch has 32 streams. Whoever shares one with another has its work done after the other's, and
    no sooner sees that it is done: that is slower, and right. A second set of 32, of a higher
    priority, would have the first one wait.

    Args:
        device: Of the stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._ends: deque[tuple[float, torch.cuda.Event]] = deque()
        self._latest_s = 0.0
        self._latest: torch.cuda.CUDAGraph | None = None

    @property
    def n_under_way(self) -> int:
        """See :class:`Capture`."""
        while self._ends and self._ends[0][1].query():  # type: ignore[no-untyped-call]
            self._pop()
        return len(self._ends)

    @property
    def latest_s(self) -> float:
        """See :class:`Capture`; no less than it took, as nobody may have looked when it was."""
        return self._latest_s

    def _pop(self) -> None:
        asked_s, _ = self._ends.popleft()
        self._latest_s = time.monotonic() - asked_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """See :class:`Capture`; that is, after what other streams wait for on the default one."""
        asked_s = time.monotonic()
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            try:
                yield
            finally:
                end = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                end.record(self._stream)
                self._ends.append((asked_s, end))

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Capture`; called within :meth:`running`.

        Graphs of one stream share their memory, as they never run at once and none reads what
        another has left there. The latest is kept, as torch takes no memory that was of graphs of
        which none is left.
        """
        pool = self._latest.pool() if self._latest else torch.cuda.graph_pool_handle()
        try:
            graph = _graph_of(body, pool)
        except BaseException:
            if torch.__version__ < _LEARNS_OF_END:
                self._tell_of_end(pool)
            raise
        self._latest = graph
        replay: Callable[[], None] = graph.replay
        return replay

    def _tell_of_end(self, pool: Any) -> None:
        """Have torch know that a capture is over, which CUDA has ended at what it does not permit.

        Else it counts as under way for good: cached memory would not be given back where there is
        none left, and whoever draws from the generator of the device would fail.
        """
        index = self._stream.device_index
        try:
            _end_allocation(index, pool)
        except RuntimeError:  # torch knows: it has ended the capture itself
            return
        torch._C._cuda_releasePool(index, pool)
        self._latest = None  # pinned memory still counts as taken for graphs of this one
        _graph_of(lambda: torch.empty(1, device=self._device).zero_(), None)  # ends its draws

    def give_back(self) -> None:
        """See :class:`Capture`."""
        torch.cuda.empty_cache()

    def wait(self) -> None:
        """See :class:`Capture`."""
        while self._ends:
            self._ends[0][1].synchronize()
            self._pop()


def _end_allocation(device: int, pool: Any) -> None:
    """Have nothing more come from a pool; a RuntimeError if nothing has.

    Args:
        device: Its number.
        pool: Handle.
    """
    older = getattr(torch._C, "_cuda_endAllocateCurrentStreamToPool", None)  # before 2.8
    end = older or torch._C._cuda_endAllocateToPool
    end(device, pool)


def _graph_of(body: Callable[[], object], pool: Any) -> torch.cuda.CUDAGraph:
    """What is done on the current stream.

    ``torch.cuda.graph`` would wait for all streams of the device and give back all memory that is
    cached, at each capture.

    Args:
        body: Does it.
        pool: Handle of the memory that it takes; None for memory of its own.
    """
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(pool=pool)
    try:
        body()
    except BaseException:
        with suppress(RuntimeError):  # that nothing was captured, which does not say why
            graph.capture_end()
        raise
    graph.capture_end()
    return graph
