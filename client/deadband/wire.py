"""The vocabulary that client, hub and viewers share: messages, the arena's layout, where files lie.

This is the one module of the client that the monitor may import. It needs numpy and msgspec only.
Nothing here opens a socket or decides anything. A change that an older peer could not read raises
`VERSION`; new optional fields do not.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import struct
from enum import Enum
from pathlib import Path

import msgspec

VERSION = 1
"""Version of the messages and of the arena; a hub refuses another one with a clear line."""

# --- Where client, hub and viewers meet ----------------------------------------------------------


def home() -> Path:
    """The folder that holds the recordings: $DEADBAND_HOME, else the user's state folder."""
    chosen = os.environ.get("DEADBAND_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "deadband"


def runs_folder() -> Path:
    """Recordings, one `<run id>.dbr` file (SQLite) a run."""
    return home() / "runs"


def live_folder() -> Path:
    """Sockets and registry files of runs that are live on this host; private to the user.

    Unix socket paths are limited to 107 bytes (macOS: 103), so a long home moves the sockets to a
    folder of the same user under the temporary directory.
    """
    beside = home() / "live"
    # 48, and at most 47 of a run id, and 6 around it: 101, where macOS has room for 103.
    if len(os.fsencode(beside)) <= 48:
        return beside
    digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
    return Path("/tmp") / f"deadband-{os.getuid()}-{digest}"


def ensure_private(folder: Path) -> Path:
    """Make `folder` (mode 0700) and return it.

    Raises:
        PermissionError: the folder exists and belongs to somebody else.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    # In a folder that all may write to, a link that somebody else laid is refused as well.
    if {state.st_uid, folder.lstat().st_uid} != {os.getuid()}:
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(state.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def intake_address(run: str) -> str:
    """ZeroMQ address where the hub of `run` takes frames and messages from clients."""
    return f"ipc://{live_folder() / run}.in"


def viewer_address(run: str) -> str:
    """ZeroMQ address where the hub of `run` serves viewers."""
    return f"ipc://{live_folder() / run}.view"


def gate_path(run: str) -> Path:
    """A small JSON file (`Gate`), mode 0600, of a hub that other nodes come to, or forward to."""
    return live_folder() / f"{run}.gate"


def recording_path(run: str) -> Path:
    """The recording of `run`."""
    return runs_folder() / f"{run}.dbr"


def registry_path(run: str) -> Path:
    """A small JSON file (`Registration`) that lies here as long as the hub of `run` lives."""
    return live_folder() / f"{run}.json"


def new_run_id(name: str) -> str:
    """A run id that reads well and sorts beside its kin: `train-7f3a1c`."""
    return run_id(name, secrets.token_hex(3))


def run_id(name: str, token: str) -> str:
    """The run id with these six letters at its end."""
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:40] or "run"
    return f"{stem}-{token}"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry file of a live run says."""

    run: str
    hub_pid: int
    training_pid: int
    started: float
    version: int = VERSION


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ranks of other nodes come in, and the keys for it (CURVE, hexadecimal digits)."""

    endpoint: str
    """ZeroMQ address."""
    server: str
    """Public key of the hub."""
    public: str
    """The one key pair that it lets in."""
    secret: str


class HubPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What rank 0 says in the store of its process group."""

    run: str
    intake: str
    """As `intake_address` on its machine."""
    host: str
    gate: Gate | None = None
    """Where it listens to other nodes; None unless it was told to."""


# --- What is measured: the plan ------------------------------------------------------------------


class What(str, Enum):
    """What a slot holds a slice of."""

    __hash__ = str.__hash__  # that of Enum is written in Python, and cells are looked up by it

    INPUT = "input"  # the model's input, rows are samples
    OUTPUT = "output"  # the model's output
    OUTPUT_GRAD = "output_grad"  # gradient of the loss with respect to the model's output
    ACTIVATION = "activation"  # a layer's output
    ACTIVATION_GRAD = "activation_grad"  # gradient with respect to a layer's output
    WEIGHT_BEFORE = "weight_before"  # a layer's weight before the optimiser step
    WEIGHT = "weight"  # the same slice after it
    WEIGHT_GRAD = "weight_grad"  # its gradient, as the optimiser saw it
    BIAS = "bias"  # a layer's bias after the optimiser step
    LOSS = "loss"  # losses of the steps since the last frame, float32
    TARGET = "target"  # what the loss compared the model's output with: labels or values
    GRAD_LEFT = "grad_left"  # the weight gradient that lay there before this step's backward
    LAYER_INPUT = "layer_input"  # what a batch normalisation was given
    RUNNING_MEAN = "running_mean"  # a batch normalisation's running figures
    RUNNING_VAR = "running_var"
    ATTENTION = "attention"  # rows of attention weights: n samples x heads, p queries, u keys
    QUERY = "query"  # n samples x heads, p queries, u features
    KEY = "key"  # n samples x heads, p keys, u features
    TESTED_MEAN = "tested_mean"  # running means ahead of a forward that trains nothing in train()
    TESTED_NEXT = "tested_next"  # the same ahead of the next such forward of the step


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a watched model, in order of execution."""

    name: str
    """Unique in its model: the module's path, `conv1`; a functional call, `conv1:relu`."""
    model: str
    """Name of the model it belongs to; `model` where there is only one."""
    kind: str
    """Class of the module, or name of the function: `Linear`, `relu`."""
    activation: str = ""
    """Lower-case name of the nonlinearity that it applies, empty for none: `relu`, `tanh`."""
    fan_in: int = 0
    """Inputs of one unit (numel / units of the weight); 0 without a weight."""
    units: int = 0
    """Output units (features or channels)."""
    parameters: int = 0
    """Number of own parameters, elements."""
    trainable: bool = True
    """Whether any of them requires a gradient."""
    optimised: bool = True
    """Whether a known optimiser holds them (True where no optimiser is known)."""
    options: dict[str, float] = {}
    """What the module was made with and a rule may need: `p`, `negative_slope`, `momentum`."""
    unseen: str = ""
    """Why its output is not in the frames; empty where it is, or where there is none."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One watched model."""

    name: str
    kind: str
    parameters: int
    trainable: int
    """Elements that require a gradient."""
    compiled: bool = False
    loss: str = ""
    """Name of the loss as autograd knows it: `cross_entropy`, `mse`, `bce`, `ctc`, `bce_logits`."""
    loss_input: tuple[int, ...] = ()
    """Shape of what the loss was given as prediction, where a loss function was seen called."""
    loss_target: tuple[int, ...] = ()
    """Shape of what it was compared with."""
    dropout: float = 0.0
    """Largest share that a dropout module of the model drops."""
    calls: int = 1
    """Training forwards of the model in one step."""
    compiled_parts: tuple[str, ...] = ()
    """Paths of the compiled parts of a model that is not compiled as a whole."""
    hidden: bool = False
    """Whether it runs inside compiled code of the user's, so that no call of it is seen."""
    eager_samples: bool = False
    """Whether sampled steps of compiled code run uncompiled, so that its inside is seen."""
    shards: int = 1
    """Processes that the parameters are spread over: slices come from this rank's own part."""
    unregistered: tuple[str, ...] = ()
    """Attributes that are plain lists or dictionaries of modules with weights: torch knows nothing
    of those, and no optimiser is given them by `parameters()`."""
    left_out: int = 0
    """Layers that are not followed, because the model has too many."""
    late: bool = False
    """Whether it had trained before anybody looked: the first sample shows no initialisation."""
    target_learns: bool = False
    """Whether a loss function compared it with something that is trained too: a second view."""
    inputs: int = 1
    """Tensors that a training forward was given; slices are of the first. Masks, scalars and labels
    are left out."""
    acts: bool = False
    """Whether it is asked without gradients about far fewer rows than it is trained on: an agent,
    whose own answers make the data that come next."""


class OptimizerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter group of an optimiser; figures are those at the time of the plan."""

    optimizer: str
    """Class name: `SGD`, `AdamW`."""
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    eps: float = 0.0
    betas: tuple[float, float] = (0.0, 0.0)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a frame's payload one copied slice lies, and what it is a slice of."""

    what: What
    index: int
    """Index into `Plan.layers`; into `Plan.models` for INPUT, OUTPUT, OUTPUT_GRAD; 0 for LOSS."""
    offset: int
    """First float32 element in the payload."""
    shape: tuple[int, ...]
    """Shape of the slice. Activations, inputs, outputs: see `axes`. Weights: (units, inputs)."""
    axes: str = ""
    """One letter an axis: `n` samples, `p` positions (pixels, tokens), `u` units (features)."""
    source: tuple[int, ...] = ()
    """Shape of the whole tensor."""
    dtype: str = "float32"
    """Type of the whole tensor before it was copied as float32."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, tag="plan"):
    """What the frames that follow hold. A new plan is sent when shapes or layers change."""

    id: int
    """Counts from 1 within a client."""
    layers: tuple[Layer, ...]
    models: tuple[Model, ...]
    optimizers: tuple[OptimizerGroup, ...]
    slots: tuple[Slot, ...]
    payload_bytes: int
    arena: str = ""
    """Path of the shared-memory file; empty where frames travel inside `Frame` messages."""


# --- The arena: a ring of frames in shared memory ------------------------------------------------
#
# One producer (training thread), one consumer (hub). Offsets in bytes:
#   0    magic, version, ring length, bytes of a frame   (little endian, `ARENA_HEAD`)
#   64   head: uint64, frames the client has finished     (only the client writes it)
#   128  tail: uint64, frames the hub has taken           (only the hub writes it)
#   4096 frame 0, frame 1, ...: uint32 header length, header (msgpack `FrameHeader`), padding up to
#        FRAME_HEADER_BYTES, then the payload of `Plan.payload_bytes` float32 bytes.
# Frame k lies at 4096 + (k % length) * frame_bytes. The client never writes a frame that the hub
# has not taken, so neither ever reads a half-written one.

ARENA_MAGIC = b"dbandA01"
ARENA_HEAD = struct.Struct("<8sIIQ")
ARENA_HEAD_OFFSET = 64
ARENA_TAIL_OFFSET = 128
ARENA_FRAMES_OFFSET = 4096
FRAME_HEADER_BYTES = 16384
FAR_RANK = 8
"""Ranks from this one on send summaries: small slices, and seldom, unless one of them is off."""
LOSS_CAPACITY = 1024
"""Losses a frame can hold: the slowest cadence is one sample in this many steps."""
MOST_CALLS = 4
"""Calls of one module in one forward that are followed: a cell unrolled over time is one layer."""


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The variable part of a frame."""

    plan: int
    step: int
    """Optimiser step that the frame was taken at, from 1."""
    time: float
    """Seconds since the epoch."""
    present: bytes
    """One byte a slot of the plan, in order: 1 where the slice was copied in this frame."""
    loss_first_step: int = 0
    loss_count: int = 0
    """The LOSS slot holds losses of steps first .. first + count - 1; NaN where none was given."""
    scalars: dict[str, list[tuple[int, float]]] = {}
    """Users' scalars and learning rates (`lr`, `lr/1`, ...): (step, value) since the last frame."""
    skipped: bool = False
    """A GradScaler left this optimiser step out."""
    cost_s: float = 0.0
    """Seconds the training thread spent on this sample."""
    loss_given: bytes = b""
    """One byte a loss of this frame: 1 where the step gave one, so that a NaN loss and a missing
    one differ. Empty: not known, and a NaN counts as missing unless the run shows otherwise."""


# --- Client -> hub -------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First message of a client."""

    version: int
    run: str
    """Run id."""
    name: str
    pid: int
    started: float
    argv: list[str] = []
    cwd: str = ""
    host: str = ""
    python: str = ""
    torch: str = ""
    rank: int = 0
    world_size: int = 1
    every: int | None = None
    budget: float | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag="frame"):
    """A frame that travels in a message because there is no shared memory between us."""

    header: bytes
    payload: bytes


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What the budget governor does, and what that rests on."""

    why: str
    """What sets the cadence: `first steps`, `credit`, `loss jumped`, `named`, `budget`, `rate`,
    `slowest` (the budget asks for less, but a run is never left alone), `asked` (by a viewer, up to
    step `until`), or `no room`."""
    step_s: float = 0.0
    """Median time of a step without a sample."""
    cost_s: float = 0.0
    """Median cost of a sample to training, on the device too."""
    credit_s: float = 0.0
    """What is left for sampling every step."""
    rate: float = 0.0
    """Samples a second that are never exceeded."""
    until: int = 0
    """The last step that a viewer has asked for, while its wish is being met; else 0."""


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag="beat"):
    """The client's sign of life, once a second."""

    time: float
    step: int
    samples: int
    dropped: int
    """Samples that were due and found no room."""
    interval: int
    """Steps from one sample to the next, as the budget governor has set it."""
    overhead: float
    """Measured cost of capture as a share of training time since the start."""
    faults: int = 0
    """Errors inside capture, which training never saw."""
    fault: str = ""
    """Type and text of the last one."""
    pace: Pace | None = None
    """What the budget governor does now, and why."""
    unsaid: str = ""
    """One line where weights are updated and no step is told of; empty as it should be."""


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag="bye"):
    """Last message of a client that ends in order."""

    status: str
    """`finished` or `failed`."""
    step: int
    samples: int
    dropped: int
    overhead: float
    error: str = ""
    """One line: type and text of the exception that ended the run."""


class Closeup(msgspec.Struct, frozen=True, kw_only=True, tag="closeup"):
    """Answer to a `CloseWish`: one tensor of one layer at one step, as much of it as is copied."""

    model: str
    layer: str
    what: What
    step: int
    values: bytes
    """float32, little endian, in any order."""
    source: int
    """Elements of the whole tensor."""


ToHub = Hello | Plan | Frame | Beat | Bye | Closeup

# --- Hub -> client -------------------------------------------------------------------------------


class Flag(msgspec.Struct, kw_only=True):
    """One symptom, from its onset to its end."""

    id: int
    """Unique in a run; a flag keeps it as it changes."""
    kind: str
    """A symptom word of DESIGN.md: `output-collapse`."""
    severity: str
    """`info`, `warning` or `critical`."""
    model: str
    layer: str
    """Name of the layer where it began; empty for the model as a whole."""
    onset_step: int
    """First step out of the healthy band."""
    raised_step: int
    """Step at which it was called."""
    resolved_step: int | None = None
    followers: list[str] = []
    """Layers that show the same as a consequence, in order of onset."""
    evidence: dict[str, float] = {}
    """Statistic -> value at the time of the last change."""
    message: str = ""
    """One line in plain words."""
    ranks: list[int] = []
    """Ranks that show it; empty where the run is one process."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why the flags stand; best first in a list."""

    cause: str
    """A cause word of DESIGN.md: `learning-rate-too-high`."""
    confidence: float
    """Share of such verdicts that should be right, 0..1."""
    evidence: list[str]
    advice: str
    model: str = ""
    layer: str = ""
    onset_step: int = 0
    rank: int = 0
    """The lowest rank whose samples say so."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule can see of this run."""

    kind: str
    """Symptom word."""
    state: str
    """`armed`, `warming up` or `impossible`."""
    reason: str = ""
    """Why it cannot judge, or not yet; of an armed one, how slow it is."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """Answer to a `Hello`."""

    run: str
    hub_pid: int
    refused: str = ""
    """Why the hub will not take this client; empty when it does."""


class Opinion(msgspec.Struct, frozen=True, kw_only=True, tag="opinion"):
    """What the rules say now; sent whenever it changes."""

    verdict: str
    """`healthy`, `warning` or `failing`."""
    flags: list[Flag]
    causes: list[Cause]
    final: bool = False
    """The run has ended, and every sample of it was judged."""


class CaptureWish(msgspec.Struct, frozen=True, kw_only=True, tag="capture-wish"):
    """Please sample densely for a while: the credit of `credit_s` again."""

    credit_s: float
    steps: int = 0
    """Where a viewer asked for them: the next so many steps, each, whatever the credit says; below
    0 where it takes that back."""


class Audience(msgspec.Struct, frozen=True, kw_only=True, tag="audience"):
    """Whether anybody looks at the run: with nobody there, half the samples a second will do."""

    watching: bool


class Detail(msgspec.Struct, frozen=True, kw_only=True, tag="detail"):
    """To a far rank: please send whole frames for a while, or summaries again."""

    whole: bool


class CloseWish(msgspec.Struct, frozen=True, kw_only=True, tag="close-wish"):
    """Somebody looks at this tensor: please copy it nearly whole, once, at the next sample."""

    model: str
    layer: str
    what: What


ToClient = Welcome | Opinion | CaptureWish | Audience | Detail | CloseWish

# --- What a run consists of: events, numbered by the hub -----------------------------------------
#
# Everything a viewer or a recording knows about a run is a sequence of events, numbered from 1
# without gaps. A viewer that has seen `n` asks for what came after `n`: nothing is missed or seen
# twice, however often the link breaks.


class RunInfo(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Who runs; the first event of every run.

    Of several ranks the lowest one stands for the run: it comes again when a lower one joins.
    """

    seq: int
    hello: Hello


class LayerTable(msgspec.Struct, frozen=True, kw_only=True, tag="layers"):
    """What the rows of the samples that follow stand for."""

    seq: int
    id: int
    """Counts from 1; samples name it."""
    layers: tuple[Layer, ...]
    models: tuple[Model, ...]
    optimizers: tuple[OptimizerGroup, ...]
    layer_metrics: tuple[str, ...]
    """Names of the columns of `Sample.layers`."""
    model_metrics: tuple[str, ...]
    """Names of the columns of `Sample.models`."""
    rank: int = 0
    """Whose samples it is for."""


class Points(msgspec.Struct, frozen=True, kw_only=True):
    """Values of one scalar over steps."""

    steps: bytes
    """int64, little endian."""
    values: bytes
    """float32, little endian."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, tag="sample"):
    """The statistics of one measured step."""

    seq: int
    step: int
    time: float
    rank: int
    table: int
    """`LayerTable.id`."""
    layers: bytes
    """float32, (layers, layer metrics); NaN where a statistic does not apply."""
    models: bytes
    """float32, (models, model metrics)."""
    scalars: dict[str, Points] = {}
    """`loss` at every step since the last sample, learning rates, users' scalars."""


class FlagChange(msgspec.Struct, frozen=True, kw_only=True, tag="flag"):
    """A flag was opened, changed or closed."""

    seq: int
    step: int
    flag: Flag


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, tag="diagnosis"):
    """The verdict, the causes, or what the rules can see changed."""

    seq: int
    step: int
    verdict: str
    causes: list[Cause]
    coverage: list[Coverage] = []
    """What the verdict rests on, one a rule."""


class RankStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of several processes of a run."""

    rank: int
    pid: int
    host: str
    status: str
    """As in `Status`."""
    step: int
    samples: int
    dropped: int
    overhead: float
    interval: int = 1
    error: str = ""
    loss: float | None = None
    """The newest one that is known."""
    measured: int = 0
    """Samples of it that the hub has taken in."""


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """The state of the training process as the hub sees it; once a second, and when it changes."""

    seq: int
    time: float
    status: str
    """`running`, `silent`, `finished`, `failed`, `killed`."""
    step: int
    samples: int
    dropped: int
    overhead: float
    interval: int = 1
    error: str = ""
    pace: Pace | None = None
    """Of the rank that stands for the run."""
    ranks: list[RankStatus] = []
    """All ranks in order; empty where the run is one process."""


class Note(msgspec.Struct, frozen=True, kw_only=True, tag="note"):
    """What somebody who looked on has written down."""

    seq: int
    step: int
    """What step it is about."""
    time: float
    text: str


Event = RunInfo | LayerTable | Sample | FlagChange | Diagnosis | Status | Note

# --- Viewer <-> hub ------------------------------------------------------------------------------


class AskHistory(msgspec.Struct, frozen=True, kw_only=True, tag="ask-history"):
    """The whole run so far, at `columns` buckets of time."""

    version: int
    columns: int = 256


class AskNews(msgspec.Struct, frozen=True, kw_only=True, tag="ask-news"):
    """All events after `since`; answered at once if there are any, else when the next one comes."""

    since: int
    limit: int = 256


class History(msgspec.Struct, frozen=True, kw_only=True, tag="history"):
    """Everything up to and including event `seq`."""

    seq: int
    state: bytes
    """A packed `RunState`, see `deadband_monitor.state`."""


class News(msgspec.Struct, frozen=True, kw_only=True, tag="news"):
    """Events after the asked one, in order, without gaps; `reset` says: ask the history again."""

    events: list[Event]
    reset: bool = False


class AskView(msgspec.Struct, frozen=True, kw_only=True, tag="ask-view"):
    """What one screen shows of the run, at the resolution that it shows.

    Answered with a `Sight` when anything is new since `since`. A question says all that its answer
    depends on: one that is lost, or asked twice, does no harm.
    """

    version: int
    since: int = 0
    """Newest event that the viewer has taken in; 0 for none."""
    columns: int = 80
    """Columns of the axis of time."""
    zoom: int = 0
    """0 for the whole run, each more for half as much of it."""
    upto: int | None = None
    """Last step of the axis; the newest by default."""
    run_ends: int = 0
    """The axis of the whole run goes at least so far."""
    metrics: tuple[str, ...] = ()
    """Layer metrics drawn over time for every layer."""
    trends: tuple[tuple[str, str], ...] = ()
    """Layer metrics drawn over time for the network as a whole, and what stands in for each."""
    readings: tuple[str, ...] = ()
    """Layer metrics of which the newest reading of every layer is shown."""
    layer: tuple[str, str] | None = None
    """Model and name of the layer of which all readings are shown ..."""
    course: bool = False
    """... and drawn over time."""
    model_metrics: tuple[str, ...] = ()
    """Model metrics drawn over time."""
    scalars: tuple[str, ...] = ()
    """Scalars drawn over time; `clock` stands for the time of each step."""
    ranks: bool = False
    """Whether the other ranks are shown."""
    axis: tuple[int, int, int] = (0, 0, 0)
    """First step, steps a column and columns of the axis that the viewer has columns of ..."""
    columns_since: int = 0
    """... which stand at this event; 0 for none."""
    series_since: int = 0
    """Event that its model metrics and scalars stand at; 0 for none."""
    at_once: bool = False
    """The viewer lacks something: answer though nothing is new."""
    patience_s: float = 0.0
    """Samples alone may wait so long for an answer; flags never do."""


class Sight(msgspec.Struct, frozen=True, kw_only=True, tag="sight"):
    """The answer to `AskView`: what has changed of what is shown."""

    seq: int
    """The newest event in it."""
    body: bytes
    """See `deadband_monitor.state.sight`."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """The hub cannot answer; one line says why and what to do."""

    reason: str


# On demand: asked for beside the news, at any time, and answered at once.


class AskDistributions(msgspec.Struct, frozen=True, kw_only=True, tag="ask-distributions"):
    """How the values of one tensor of a layer were spread at the steps after `since`.

    For a while after it the hub looks at that tensor at every sample.
    """

    model: str
    layer: str
    what: What
    since: int = 0
    rank: int = -1
    """Whose; below 0: of the rank that stands for the run, as where that one is not measured."""


class Distributions(msgspec.Struct, frozen=True, kw_only=True, tag="distributions"):
    """Outlines of one tensor at some steps, see `deadband_monitor.statistics.outlines`."""

    model: str
    layer: str
    what: What
    steps: bytes
    """int64, little endian."""
    outlines: bytes
    """The upper halves of float32, (steps, figures of an outline)."""
    kinds: tuple[What, ...] = ()
    """The tensors of the layer that there are."""
    values: int = 0
    """Elements of the slice ..."""
    source: int = 0
    """... and of the whole tensor."""
    rank: int = -1
    """Whose they are; below 0: of the rank that stands for the run."""


class AskHistogram(msgspec.Struct, frozen=True, kw_only=True, tag="ask-histogram"):
    """One tensor as finely as it can be shown.

    That is a copy of nearly all of it, which the hub asks the training process for about once a
    second while somebody looks; until it is here, the slices of the newest samples together.
    """

    model: str
    layer: str
    what: What
    bins: int = 256
    rank: int = -1
    """As in `AskDistributions`."""


class Histogram(msgspec.Struct, frozen=True, kw_only=True, tag="histogram"):
    """Answer to `AskHistogram`; without counts while no sample holds that tensor."""

    model: str
    layer: str
    what: What
    first_step: int = 0
    last_step: int = 0
    samples: int = 0
    """Samples between those steps whose slices were put together."""
    low: float = 0.0
    high: float = 0.0
    counts: bytes = b""
    """uint32, little endian; bins of one width from `low` to `high`."""
    broken: int = 0
    """Values that are not finite."""
    values: int = 0
    """Elements of one sample that are looked at ..."""
    source: int = 0
    """... and of the whole tensor."""
    rank: int = -1
    """As in `Distributions`."""


class AskDense(msgspec.Struct, frozen=True, kw_only=True, tag="ask-dense"):
    """Sample each of the next `steps` steps; 0 takes an earlier wish back."""

    steps: int


class AskNote(msgspec.Struct, frozen=True, kw_only=True, tag="ask-note"):
    """Write this down in the recording."""

    text: str
    step: int = 0
    """What step it is about; 0: the newest."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """Answer to what asks for a deed: in one line what is done, or why it is not."""

    said: str
    refused: bool = False


ToViewer = History | News | Refusal | Distributions | Histogram | Done | Sight
FromViewer = AskHistory | AskNews | AskDistributions | AskHistogram | AskDense | AskNote | AskView
