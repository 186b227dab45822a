"""One synthetic experiment for the tests that only read."""

import pytest
import synthetic

from kdspeech.report.experiment import read_experiment
from kdspeech.report.results import compute_results


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """The folder of three seeds of the paper's systems, and one system that is still running."""
    directory = synthetic.paper_sweep(tmp_path_factory.mktemp("sweep"))
    (directory / "seed2" / "1000-900-700").mkdir()
    return directory


@pytest.fixture(scope="session")
def experiment(sweep):
    return read_experiment(sweep)


@pytest.fixture(scope="session")
def results(experiment):
    return compute_results(experiment, replicates=1000)
