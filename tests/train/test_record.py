import pytest

from kdspeech.io.errors import InputError
from kdspeech.train import record


def test_one_directory_takes_one_training_at_a_time(tmp_path):
    path = tmp_path / "train.log"
    with record.log_to(path):
        with (
            pytest.raises(InputError, match="another process is training here"),
            record.log_to(path),
        ):
            pass
        record.log.info("still here")
    with record.log_to(path):
        record.log.info("again")
    assert [line.split(" ", 3)[-1] for line in path.read_text().splitlines()] == [
        "still here",
        "again",
    ]
