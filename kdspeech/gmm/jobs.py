"""The passes of a training: functions called again and again on the same splits of the data.

A pass must be quick to start, for a training has some fifty; so the worker processes live as long
as the training (kdspeech.data.jobs starts new ones for each job).
"""

import logging
import pickle
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kdspeech.data.datadir import DataDir
from kdspeech.io.errors import InputError
from kdspeech.parallel import open_client

log = logging.getLogger(__name__)


class SplitJobs:
    """Runs functions over the splits of a data directory; a context manager.

    Args:
        data: the data directory; split by speaker.
        nj: number of splits; more than one run in processes of their own.
        folder: for what the splits keep between passes, in `folder/1`, `folder/2`, ...; made anew,
            and removed at the end.
        scheduler: as in kdspeech.parallel.open_client.
    Raises:
        InputError: fewer speakers than splits.
    """

    def __init__(self, data: DataDir, nj: int, folder: Path, scheduler: str | None = None):
        self.data, self.nj, self.folder, self._scheduler = data, nj, folder.absolute(), scheduler
        self._client = None

    def __enter__(self) -> "SplitJobs":
        if len(self.data.spk2utt) < self.nj:
            raise InputError(
                f"{self.data.path}: {len(self.data.spk2utt)} speakers in utt2spk cannot be split "
                f"into {self.nj} jobs (use a smaller nj)"
            )
        with ExitStack() as stack:
            shutil.rmtree(self.folder, ignore_errors=True)  # left by one that was killed
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for i, part in enumerate(self.data.split_by_speaker(self.nj), 1):
                part.write(self.folder / str(i) / "data", scratch=True)
            if self.nj > 1 or self._scheduler:
                self._client = stack.enter_context(open_client(self.nj, self._scheduler))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def run(self, function: Callable[..., Any], **arguments) -> list[Any]:
        """What `function(folder, **arguments)` gives for the folder of each split, in order.

        Args:
            function: importable by name on the workers. `folder/data` is the split's data
                directory.
            arguments: may be large; they travel through a file.
        """
        folders = [self.folder / str(i) for i in range(1, self.nj + 1)]
        if self._client is None:
            return [function(folder, **arguments) for folder in folders]
        path = self.folder / "arguments"
        path.write_bytes(pickle.dumps(arguments, protocol=pickle.HIGHEST_PROTOCOL))
        futures = [
            self._client.submit(_call, function, folder, path, pure=False) for folder in folders
        ]
        return self._gather(futures)

    def _gather(self, futures: list) -> list[Any]:
        from distributed import KilledWorker

        try:
            return self._client.gather(futures)
        except KilledWorker as error:
            raise InputError(
                f"the workers of {error.task} died again and again (killed, or out of memory; "
                "try fewer jobs at a time)"
            ) from error


def _call(function: Callable[..., Any], folder: Path, path: Path) -> Any:
    return function(folder, **pickle.loads(path.read_bytes()))
