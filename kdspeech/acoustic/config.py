"""What a network is and how it is trained: `conf/dnn.yaml`."""

from typing import Literal

from pydantic import Field

from kdspeech.config import Config
from kdspeech.models.highway import Gates
from kdspeech.train import TrainConfig


class NetworkConfig(Config):
    """A network by its name in the papers, with what the name does not say."""

    model: str = Field("HDNN-H512-L10", description="DNN-H<hidden>-L<layers> or HDNN-...")
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    dropout: float = Field(0.0, ge=0, lt=1, description="after every hidden layer")
    gates: Gates = Field("both", description="HDNN: which gates there are")
    gate_bias: float | None = Field(None, description="HDNN: biases of the gates and their start")
    context: int = Field(7, ge=0, description="frames on each side of the one that is classified")


class DnnTrainConfig(TrainConfig):
    """TrainConfig with what Lu, Guo & Renals did, and Kaldi's nnet1 where they do not say."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(256, ge=1, description="frames per step")
    # With momentum as far as nnet1's rate of 0.008 per sample goes without; it learns faster.
    lr: float = Field(0.2, gt=0, description="of the mean over a batch")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "cosine", "one_cycle", "newbob"] = "newbob"
    newbob_threshold: float = Field(0.005, ge=0)
    newbob_drops: int = Field(8, ge=1)
    keep_best: str = "loss"
    keep_best_mode: Literal["max", "min"] = "min"


class DnnConfig(Config):
    """Everything `conf/dnn.yaml` may say."""

    network: NetworkConfig = NetworkConfig()
    train: DnnTrainConfig = DnnTrainConfig()
    cv_fraction: float = Field(0.1, gt=0, lt=1, description="held out to follow the training")
    cv_by: Literal["speaker", "utterance"] = "speaker"
    priors: Literal["counts", "posteriors"] = Field(
        "counts", description="of the alignment's pdfs, or the network's mean posteriors"
    )
