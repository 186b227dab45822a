"""One synthetic experiment for the tests that only read."""

import pytest
import studies
import synthetic

from kdspeech.report.analysis import analyse, save_analysis
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


@pytest.fixture(scope="session")
def study():
    return studies.made_up(n=60)


@pytest.fixture(scope="session")
def findings(study):
    return analyse(study, (1, 4))


@pytest.fixture(scope="session")
def analysis_page(study, findings, tmp_path_factory):
    """A page with at most five clips in each list."""
    path = tmp_path_factory.mktemp("analysis") / "analysis.html"
    save_analysis(study, findings, path, command="kds analyse <here>", most=5)
    return path
