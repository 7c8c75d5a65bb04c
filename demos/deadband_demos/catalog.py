"""Which demos there are, what deadband should say about each, and where its script lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ACCURACY = "test accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One bundled training script."""

    name: str
    summary: str
    """One line for the list."""
    cause: str
    """The cause that deadband names when it fails; empty for the healthy one."""
    remedy: str
    """What `--healthy` changes; empty for the healthy one."""
    from_step: int = 1
    """First step of the fault."""
    score: str = ACCURACY
    """What the script's last line calls its result, of which more is better."""
    fails_below: float = 0.2
    """The result of the failing run is less than this."""
    learns_above: float = 0.9
    """The result of the healthy twin is more than this."""

    @property
    def script(self) -> Path:
        """The file to read, and to run."""
        return Path(__file__).parent / f"{self.name.replace('-', '_')}.py"


CATALOG = (
    Demo(
        name="healthy",
        summary="a small CNN that learns: what all should look like",
        cause="",
        remedy="",
    ),
    Demo(
        name="lr-too-high",
        summary="learns well, until a schedule bug raises the learning rate to 1",
        cause="learning-rate-too-high",
        remedy="the schedule scales the base learning rate of 0.001",
        from_step=301,
    ),
    Demo(
        name="lr-spike",
        summary="a thousand good steps, then a warm restart at 2 for 0.02",
        cause="learning-rate-too-high",
        remedy="the restart is at 0.02",
        from_step=1001,
    ),
    Demo(
        name="dying-relu-lr",
        summary="the first steps, at 1, throw every ReLU below zero for good",
        cause="learning-rate-too-high",
        remedy="a learning rate of 0.001",
    ),
    Demo(
        name="neuron-lr",
        summary="one neuron in numpy, three rows, and a learning rate of 10",
        cause="learning-rate-too-high",
        remedy="a learning rate of 0.1",
        score="share of the rows",
        fails_below=0.7,
    ),
    Demo(
        name="lr-too-low",
        summary="every step is right, and a millionth of what it should be",
        cause="learning-rate-too-low",
        remedy="a learning rate of 0.001",
    ),
    Demo(
        name="unnormalised-inputs",
        summary="one raw feature, a clock in seconds, drowns the 64 pixels",
        cause="unnormalised-inputs",
        remedy="every feature is standardised",
    ),
    Demo(
        name="neuron-features",
        summary="one neuron in numpy, and two features a thousand times apart",
        cause="unnormalised-inputs",
        remedy="both features are standardised",
        score="balanced accuracy",
        fails_below=0.6,
        learns_above=0.85,
    ),
    Demo(
        name="unscaled-targets",
        summary="the answers lie near 152, and the network begins at 0",
        cause="unscaled-targets",
        remedy="the targets are standardised",
        score="test R2",
        fails_below=0.0,
        learns_above=0.35,
    ),
    Demo(
        name="saturated-sigmoid",
        summary="sigmoid units whose large bias holds them at 1, whatever comes in",
        cause="saturating-activation",
        remedy="the bias starts at 0",
    ),
    Demo(
        name="saturated-tanh",
        summary="tanh units whose large biases hold them at -1 or 1",
        cause="saturating-activation",
        remedy="the biases start at 0",
    ),
    Demo(
        name="vanishing-depth",
        summary="ten sigmoid layers, each passing on a fiftieth of what it gets",
        cause="depth-vanishing",
        remedy="a way round each layer",
    ),
    Demo(
        name="exploding-depth",
        summary="thirty blocks that each double what they get",
        cause="depth-exploding",
        remedy="each block normalises what it works on",
    ),
    Demo(
        name="constant-init",
        summary="all weights start equal, so all units of a layer stay one unit",
        cause="constant-initialisation",
        remedy="random weights (Xavier)",
    ),
    Demo(
        name="zero-init",
        summary="all weights start at 0, and nothing ever moves them",
        cause="constant-initialisation",
        remedy="random weights (Xavier)",
    ),
    Demo(
        name="init-too-small",
        summary="weights a hundred times too small: nothing gets through",
        cause="bad-initialisation-scale",
        remedy="He's initialisation",
    ),
    Demo(
        name="init-too-large",
        summary="weights so large that every tanh begins on a flat end",
        cause="bad-initialisation-scale",
        remedy="Xavier's initialisation",
        fails_below=0.75,
    ),
    Demo(
        name="dying-relu",
        summary="a large negative bias switches every ReLU off before the first step",
        cause="dying-relu",
        remedy="the bias starts at 0",
    ),
    Demo(
        name="class-imbalance",
        summary='"all are well" is right 19 times in 20, and never helps',
        cause="class-imbalance",
        remedy="both kinds are drawn equally often",
        score="test balanced accuracy",
        fails_below=0.55,
        learns_above=0.7,
    ),
    Demo(
        name="duplicate-data",
        summary="the loader hands out one image, again and again",
        cause="low-data-diversity",
        remedy="the image that the label belongs to",
    ),
    Demo(
        name="sorted-labels",
        summary="the rows come sorted: 19 steps of zeros, 19 of ones, ...",
        cause="low-data-diversity",
        remedy="the rows are shuffled",
        fails_below=0.75,
    ),
    Demo(
        name="shuffled-labels",
        summary="the labels belong to other rows, so there is nothing to learn",
        cause="label-noise",
        remedy="each label stays with its row",
    ),
    Demo(
        name="repeated-batch",
        summary="a thousand good steps, then the loader repeats one batch",
        cause="bad-data",
        remedy="a loader that goes on reading",
        from_step=1001,
        fails_below=0.7,
    ),
    Demo(
        name="weight-decay",
        summary="weight decay pulls every weight to zero",
        cause="over-regularisation",
        remedy="a decay of 1e-4",
    ),
    Demo(
        name="l1-penalty",
        summary="a penalty on the weights costs more than all errors together",
        cause="over-regularisation",
        remedy="a factor of 1e-5",
    ),
    Demo(
        name="dropout",
        summary="dropout leaves one unit in fifty",
        cause="over-regularisation",
        remedy="a share of 0.2",
    ),
    Demo(
        name="linear-on-circles",
        summary="a linear model is to tell an inner circle from an outer one",
        cause="insufficient-capacity",
        remedy="a ReLU between the two layers",
        fails_below=0.65,
    ),
    Demo(
        name="memorising",
        summary="a wide network learns 331 patients by heart",
        cause="overfitting",
        remedy="16 units, dropout, weight decay",
        score="test R2",
        fails_below=0.2,
        learns_above=0.4,
    ),
    Demo(
        name="softmax-before-ce",
        summary="softmax before a loss that takes the softmax itself",
        cause="loss-mismatch",
        remedy="no softmax",
        fails_below=0.75,
    ),
    Demo(
        name="sigmoid-before-bce",
        summary="sigmoid before a loss that takes the sigmoid itself",
        cause="loss-mismatch",
        remedy="no sigmoid",
        score="test skill",
        fails_below=0.0,
        learns_above=0.8,
    ),
    Demo(
        name="softmax-one-unit",
        summary="a softmax over one unit, which is always 1",
        cause="loss-mismatch",
        remedy="a sigmoid",
        score="test balanced accuracy",
        fails_below=0.55,
    ),
    Demo(
        name="shape-broadcast",
        summary="a column of outputs is compared with a row of targets",
        cause="loss-mismatch",
        remedy="a column of targets",
        score="test R2",
        fails_below=0.1,
        learns_above=0.35,
    ),
    Demo(
        name="relu-output",
        summary="a ReLU at the end, and targets below zero",
        cause="output-activation-mismatch",
        remedy="a linear end",
        score="test R2",
        fails_below=0.0,
        learns_above=0.8,
    ),
    Demo(
        name="detached-graph",
        summary="the loss hangs on a copy of the output: no gradient comes back",
        cause="detached-graph",
        remedy="the loss gets the output itself",
    ),
    Demo(
        name="wrong-parameters",
        summary="the optimiser holds the weights of another network",
        cause="detached-graph",
        remedy="the optimiser is made last",
    ),
    Demo(
        name="missing-zero-grad",
        summary="gradients are never cleared: each step repeats all before it",
        cause="missing-zero-grad",
        remedy="zero_grad before each backward",
    ),
    Demo(
        name="gan-mode-collapse",
        summary="a generator that paints one digit, whatever the noise",
        cause="adversarial-mode-collapse",
        remedy="a discriminator that learns faster",
        score="digits painted",
        fails_below=0.45,
        learns_above=0.75,
    ),
    Demo(
        name="simsiam-collapse",
        summary="views of an image are made alike by making all images alike",
        cause="missing-stop-gradient",
        remedy="the target is detached",
        score="spread of the embeddings",
        fails_below=0.2,
        learns_above=0.5,
    ),
    Demo(
        name="vae-posterior-collapse",
        summary="an autoencoder that writes nothing into its code",
        cause="posterior-collapse",
        remedy="the error is a sum over the pixels",
        score="test R2 of the pixels",
        fails_below=0.05,
        learns_above=0.4,
    ),
    Demo(
        name="router-collapse",
        summary="of twelve experts, two get all the work",
        cause="router-collapse",
        remedy="an uneven load costs something",
        fails_below=0.6,
        learns_above=0.75,
    ),
    Demo(
        name="attention-collapse",
        summary="each layer of attention makes the words more alike",
        cause="attention-collapse",
        remedy="a way round each layer",
        fails_below=0.6,
        learns_above=0.85,
    ),
    Demo(
        name="batchnorm-momentum",
        summary="the statistics that the test relies on are never learnt",
        cause="batchnorm-misuse",
        remedy="a momentum of 0.1",
    ),
    Demo(
        name="overflow",
        summary="a softmax by hand: as the network gets sure, exp overflows",
        cause="numerical-overflow",
        remedy="log_softmax",
    ),
)
"""In the order of the list; those of one cause stand together."""
