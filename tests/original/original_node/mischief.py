"""Weaknesses of the original that a test can bring about: what goes wrong, with which method, how often."""

import threading

FOREVER = 1_000_000


class Mischief:
    # kind: what its number means, and the number if none is given
    PER_METHOD = {
        "hang": ("seconds", None),  # accepts a call, waits, then does it
        "slow": ("seconds", None),  # does a call, waits, then answers
        "drop": ("times", 1),  # closes the connection of a call instead of doing it
        "drop-after": ("times", 1),  # does a call and closes the connection instead of answering
        "fault": ("times", FOREVER),  # answers a fault instead of doing it
        "repeat": ("times", FOREVER),  # makes an own call twice, as after a connection that was lost before the answer
    }
    PLAIN = {
        "late-events": ("milliseconds", None),  # waits before each event and message for other nodes
        "join-window": ("milliseconds", None),  # waits between the admin node's answer to a join and listening
    }

    def __init__(self):
        self._lock = threading.Lock()
        self._calm = threading.Event()
        self._methods: dict[tuple[str, str], float] = {}
        self._plain: dict[str, float] = {}

    def set(self, kind: str, words: list[str]) -> None:
        """`words`: a method (or `*`) and a number, or only a number. Raises ValueError if they make no sense."""
        per_method = kind in self.PER_METHOD
        unit, default = (self.PER_METHOD if per_method else self.PLAIN)[kind]
        numbers = words[1:] if per_method else words
        if (per_method and not words) or len(numbers) > 1 or (not numbers and default is None):
            raise ValueError(f"{kind} wants {'METHOD ' if per_method else ''}{unit.upper()}")
        number = float(numbers[0]) if numbers else default
        with self._lock:
            if per_method:
                self._methods[(kind, words[0])] = number
            else:
                self._plain[kind] = number

    def calm(self) -> None:
        """Everything is well from now on; whoever waits goes on."""
        with self._lock:
            self._methods.clear()
            self._plain.clear()
            self._calm.set()
            self._calm = threading.Event()

    def wait(self, kind: str, method: str | None = None) -> None:
        """Waits as long as was asked for, or until calm returns."""
        with self._lock:
            calm = self._calm
            if method is None:
                seconds = self._plain.get(kind, 0) / 1000
            else:
                seconds = self._methods.get((kind, method)) or self._methods.get((kind, "*"), 0)
        if seconds:
            calm.wait(seconds)

    def strikes(self, kind: str, method: str) -> bool:
        """True once for each time that was asked for."""
        with self._lock:
            for key in ((kind, method), (kind, "*")):
                if self._methods.get(key, 0) >= 1:
                    self._methods[key] -= 1
                    return True
        return False
