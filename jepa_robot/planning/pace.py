"""How long a piece of work takes, from how long such pieces took."""

from __future__ import annotations

UP, DOWN = 0.2, 0.5  # how much of a new figure a usual one takes on, where that is slower and where it is faster
CALM = 0.9  # how much of a slowness stays, from one piece to the next: a burst of other work is forgotten slowly
HEADROOM = 1.15  # of time, since the next piece may be the slowest yet


class Pace:
    """Seconds for a number of candidates that are evaluated at once.

    The usual time is kept for powers of two, so that a fixed cost a call and a cost a candidate need not be told
    apart. How much slower than usual the machine has been of late holds for all of them at once.
    """

    def __init__(self) -> None:
        self._usual: dict[int, float] = {}
        self._slowness = 1.0

    def fits(self, most: int, seconds: float, least: int = 1) -> int:
        """How many of ``most`` candidates to evaluate in so many seconds: a power of two, or all; 0: none.

        The first time nothing is known, and the ``least`` number is evaluated to learn.
        """
        if seconds <= 0:
            return 0
        if not self._usual:
            return least
        size = most
        while size and self.budget(size) > seconds:
            size = 0 if size == 1 else 1 << (size - 1).bit_length() - 1
        return size

    def capacity(self, seconds: float) -> float:
        """About how many candidates altogether can be evaluated in so many seconds, in the largest pieces seen."""
        if not self._usual:
            return 0.0
        largest = 1 << max(self._usual)
        return seconds * largest / self.budget(largest)

    def budget(self, count: int) -> float:
        """Seconds to leave for so many; 0 as long as nothing is known."""
        return HEADROOM * self.expected(count) if self._usual else 0.0

    def expected(self, count: int) -> float:
        """Seconds that so many candidates take at most, as things are.

        Of a size never seen, the next smaller one says so as many times over as it is smaller.
        """
        bucket = (count - 1).bit_length()
        smaller = [known for known in self._usual if known <= bucket]
        if not smaller:  # all that was seen was larger, and took longer
            return self._slowness * self._usual[min(self._usual)]
        return self._slowness * self._usual[max(smaller)] * 2.0 ** (bucket - max(smaller))

    def learn(self, count: int, seconds: float) -> None:
        """That so many candidates took so long."""
        bucket = (count - 1).bit_length()
        seconds *= 2.0**bucket / count  # that the power of two would have taken at most
        usual = self._usual.get(bucket)
        if usual is None:
            self._usual[bucket] = seconds / self._slowness
            return
        self._slowness = max(1.0, seconds / usual, CALM * self._slowness)
        self._usual[bucket] = usual + (UP if seconds > usual else DOWN) * (seconds - usual)
