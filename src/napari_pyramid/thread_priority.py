"""Let a thread that computes give way to the thread that draws the window: `give_way`."""

from __future__ import annotations

import os
import sys
import threading
from typing import Literal

__all__ = ["give_way"]

Work = Literal["read", "build"]

_STEPS: dict[Work, int] = {"read": 3, "build": 10}
"""Steps by which a thread becomes nicer.

Beside a busy thread, three steps leave it a third of a processor, and ten a tenth. With more than
three, chunks in view come so late that a step of the slider is drawn twice; a build can wait.
"""


def give_way(work: Work) -> None:
    """Lower the priority of the current thread, and of the threads that it will start.

    On a computer with few processors, threads that decode or build take them from the thread of
    the window, which then draws each step later. With nothing else to do for a processor, a thread
    of low priority is as quick as before. The priority cannot be raised again without rights of
    the system, so a thread that is shared with others must not call this.

    Only Linux has priorities of threads; elsewhere this does nothing.

    Parameters
    ----------
    work
        What the thread does: reads what a window shows, or builds.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()  # Linux takes a thread where others take a process
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(nice + _STEPS[work], 19))
