"""The commands' defaults are those of the options they fill."""

import inspect
from dataclasses import fields

import pytest
from typer.testing import CliRunner

from kdspeech import gmm
from kdspeech.cli import gmm as commands
from kdspeech.cli.main import app

CLASSES = {
    "train_mono": gmm.MonoOptions,
    "train_deltas": gmm.TriphoneOptions,
    "train_lda_mllt": gmm.LdaMlltOptions,
    "train_sat": gmm.SatOptions,
    "align": gmm.AlignOptions,
    "align_fmllr": gmm.AlignOptions,
}


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_the_options_own(name):
    parameters = inspect.signature(getattr(commands, name)).parameters
    given = {
        key: parameter.default
        for key, parameter in parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert commands._fill(CLASSES[name], given) == CLASSES[name]()
    assert commands._fill(gmm.Jobs, given) == gmm.Jobs()
    missing = {f.name for f in fields(CLASSES[name])} - set(given) - {"align"}
    assert missing <= {"acoustic_scale", "transition_scale", "self_loop_scale"}


def test_bad_passes_and_missing_directories_are_one_line(tmp_path):
    arguments = ["train-mono", str(tmp_path / "data"), str(tmp_path / "lang"), str(tmp_path / "x")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "no such data directory" in result.output
    result = CliRunner().invoke(app, [*arguments, "--realign-iters", "1,2"])
    assert result.exit_code == 2 and "realign-iters" in result.output
