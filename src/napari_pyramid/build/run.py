"""Run a job: take the lock, resume or begin, run the passes, publish, and keep or remove work."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from napari_pyramid.build.pass_runner import PassRunner
from napari_pyramid.build.progress import Progress
from napari_pyramid.build.resume import refusal
from napari_pyramid.build.state import BuildState
from napari_pyramid.build.workspace_base import TileJournal
from napari_pyramid.errors import (
    DestinationError,
    PyramidError,
    SourceError,
    VerificationError,
    explained,
)
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.folder import Place

__all__ = ["Run"]


@dataclass
class Run(PassRunner):
    """One run of a job: the lock, the state, the passes, and the publishing."""

    _source: dict[str, Any] | None = field(init=False)
    """Identity of the source when the run was made."""

    def __post_init__(self) -> None:
        self._source = self.job.source.identity
        super().__post_init__()

    def steps(self) -> Generator[Progress, None, Pyramid]:
        """Run the build, yield its progress, and return the pyramid.

        Closing the generator stops the build.
        """
        yield from self.fill_and_publish()
        return self.job.opened()

    def fill_and_publish(self) -> Generator[Progress, None, None]:
        """Run the build and yield its progress; see `steps`."""
        job, workspace = self.job, self.job.target.workspace
        workspace.acquire()
        began = published = False
        try:
            state = self._begin()
            began = True
            if state.phase == "pixels":
                with self._journals() as journals:
                    yield from self._compile()
                    yield from self._fill_all(journals)
                if job.verify:
                    yield from self._verify()
            # The last moment to stop: what is published stays.
            yield self._meter.progress(len(job.spec.levels) - 1)
            if state.phase == "pixels":
                self._check_source()
                state = job.publishing(self._state)
                workspace.save_state(state)
            if state.phase == "publish":
                job.publish(state)
                workspace.save_state(state.finished())
            published = True
        except VerificationError:
            workspace.start_over()  # resuming would give the same error again
            raise
        except (OSError, DestinationError, SourceError) as exc:
            raise self._explained(exc) from exc
        finally:
            self._stop.set()
            self._leave(began, published)

    def _check_source(self) -> None:
        """Raise if the source has changed since the build began.

        Chunks of an array that has vanished read as fill value, without any error.

        Raises
        ------
        SourceError
            If the source has another identity than at the start.
        """
        if self.job.source.identity != self._source:
            self.job.target.workspace.start_over()
            raise SourceError(
                "the source has vanished or changed while it was read; "
                "what was built is removed: build it again"
            )

    def _explained(self, error: Exception) -> PyramidError:
        """Return the error as one of ours, with the path that it is about."""
        job = self.job
        remedies = error.remedies if isinstance(error, PyramidError) else ()
        message = error.message if isinstance(error, PyramidError) else explained(error)
        if isinstance(error, SourceError):
            return SourceError(self._located(job.source.origin, message), remedies=remedies)
        return DestinationError(self._located(job.target.directory, message), remedies=remedies)

    def _located(self, path: Place | None, message: str) -> str:
        """Return the message with the path, unless it names it, and whether work is kept."""
        where = f"{path}: " if path is not None and str(path) not in message else ""
        keeps = self.job.keeps_work and not self.job.target.updates
        kept = "; what is done is kept" if keeps and self._meter.done else ""
        return f"{where}{message}{kept}"

    def _leave(self, began: bool, published: bool) -> None:
        """Keep unfinished work that can be resumed or that another build left, else remove it.

        Errors raised here are ignored, because they would hide the error that ended the build.
        """
        job, workspace = self.job, self.job.target.workspace
        try:
            if not published and (not began or job.keeps_work) and workspace.has_work:
                return
            if not published:
                job.target.undo()
            workspace.discard()
        except (OSError, DestinationError):
            pass  # the next build there puts back what was replaced, and removes the rest
        finally:
            workspace.release()

    def _begin(self) -> BuildState:
        """Return the state to continue from: unfinished work of the same recipe, or a new state.

        Raises
        ------
        DestinationError
            If there is unfinished work that this build cannot resume, or the destination is taken.
        """
        job, workspace = self.job, self.job.target.workspace
        state = workspace.state
        if state is not None and state.phase == "done" and state.fingerprint != job.fingerprint:
            state = None
        if state is not None and job.keeps_work:
            error = refusal(job, state)
            if error is not None:
                raise error
            if state.phase == "pixels":
                job.target.refuse_existing()
        else:
            job.target.undo()
            job.target.refuse_existing()
            workspace.start_over()
            job.target.create()
            state = BuildState.begin(job.fingerprint, job.plan, workspace.group)
            workspace.save_state(state)
        self._state = state
        return state

    @contextmanager
    def _journals(self) -> Iterator[list[TileJournal]]:
        """Open the journal of every pass, and count the tiles that an earlier run filled."""
        with ExitStack() as stack:
            journals = []
            for i, p in enumerate(self.job.passes):
                journal = self.job.target.workspace.journal(i, p.n_tiles)
                stack.callback(journal.close)
                self._meter.count_as_done(p, journal.n_done)
                journals.append(journal)
            yield journals
