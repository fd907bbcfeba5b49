"""Find out whether a process that left its name somewhere has ended."""

from __future__ import annotations

import os
import socket

__all__ = ["has_ended"]


def has_ended(host: object, pid: object) -> bool:
    """Return whether a process of this host has ended; False for other hosts, and if unknown."""
    if os.name != "posix" or host != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
