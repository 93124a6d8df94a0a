"""The error tree. A gap, a late event and a quarantined frame are values in the stream, never exceptions.

::

    TapeflowError
    ├── SettingsError          a configuration, flow or command line that cannot be used     (exit 2)
    ├── InputError             a file that is missing, or holds nothing that can be read      (exit 1)
    ├── OutputError            results that cannot be written                                 (exit 1)
    ├── SnapshotError          a snapshot of another version, flow or shape                   (exit 1)
    ├── StoreError             a store that cannot be opened, read or written                 (exit 1)
    │   ├── SlowError          a read that took longer than it may: less must be asked for
    │   └── BusError           a broker that cannot be reached or does not take what it is given
    ├── OwnerError             what we write to belongs to another process                    (exit 3)
    ├── VenueError             a venue that cannot be reached, or refuses us                  (exit 1)
    ├── TapeError              a tape that cannot be opened, written or kept                  (exit 1)
    ├── StackError             a server of `tapeflow stack` that cannot be had or started     (exit 1)
    └── RunnerError            an engine that is not ours does not answer, or refuses a job   (exit 1)
"""


class TapeflowError(Exception):
    """The root of everything Tapeflow raises on purpose; its text says what was expected, what came, what to do."""

    exit_code = 1


class SettingsError(TapeflowError):
    """A configuration, a flow or an argument cannot be used as given."""

    exit_code = 2


class InputError(TapeflowError):
    """An input is missing or holds nothing that can be read."""


class OutputError(TapeflowError):
    """Results cannot be written where they were asked for."""


class SnapshotError(TapeflowError):
    """A snapshot does not fit this code or this flow."""


class StoreError(TapeflowError):
    """A store cannot be opened, read or written; what it held is as it was."""


class SlowError(StoreError):
    """A read took longer than it may and was ended; the store is well, and answers what is less."""


class BusError(StoreError):
    """A broker cannot be reached, or does not take what it is given; to try again may help."""


class OwnerError(TapeflowError):
    """What we would write to belongs to another process, which runs or has taken it over; another try is no use."""

    exit_code = 3


class VenueError(TapeflowError):
    """A venue cannot be reached, or refuses us."""


class TapeError(TapeflowError):
    """A tape cannot be opened, written or kept as asked."""


class StackError(TapeflowError):
    """A server of the stack cannot be fetched, started or made ready."""


class RunnerError(TapeflowError):
    """An engine that is not ours cannot be reached, or refuses or fails a job."""


class Unreadable(ValueError):
    """A frame cannot be read; ``reason`` is a word of the quarantine vocabulary.

    Raised inside a codec and turned there into a `Quarantine` value; it never leaves a venue.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
