"""One message of every kind, every field set to something that is not its default."""

from __future__ import annotations

import msgspec

from deadband import wire

FLAG = wire.Flag(
    id=3,
    kind="output-collapse",
    severity="critical",
    model="model",
    layer="fc1",
    onset_step=40,
    raised_step=52,
    resolved_step=90,
    followers=["fc2"],
    evidence={"out_variance": 1.5e-8},
    message="the output is the same for every input",
)
CAUSE = wire.Cause(
    cause="learning-rate-too-high",
    confidence=0.9,
    evidence=["the update was 0.4 of the weight"],
    advice="divide the learning rate by 10",
    model="model",
    layer="fc1",
    onset_step=40,
)
LAYER = wire.Layer(
    name="fc1",
    model="model",
    kind="Linear",
    activation="relu",
    fan_in=12,
    units=5,
    parameters=65,
    trainable=False,
    optimised=False,
    options={"p": 0.5},
)
MODEL = wire.Model(
    name="model", kind="Net", parameters=65, trainable=60, compiled=True, loss="cross_entropy"
)
GROUP = wire.OptimizerGroup(
    optimizer="AdamW", lr=0.1, momentum=0.5, weight_decay=0.01, eps=1e-8, betas=(0.9, 0.999)
)
SLOT = wire.Slot(
    what=wire.What.ACTIVATION_GRAD,
    index=1,
    offset=64,
    shape=(32, 4, 5),
    axes="npu",
    source=(64, 128, 5),
    dtype="bfloat16",
)
HELLO = wire.Hello(
    version=1,
    run="train-7f3a1c",
    name="train",
    pid=4242,
    started=1700000000.5,
    argv=["train.py", "--lr", "1"],
    cwd="/home/user",
    host="box",
    python="3.11.2",
    torch="2.13.0",
    rank=1,
    world_size=2,
    every=5,
    budget=0.01,
)

MESSAGES: dict[str, msgspec.Struct] = {
    "hello": HELLO,
    "plan": wire.Plan(
        id=2,
        layers=(LAYER,),
        models=(MODEL,),
        optimizers=(GROUP,),
        slots=(SLOT,),
        payload_bytes=4096,
        arena="/dev/shm/deadband-1-train-2",
    ),
    "frame": wire.Frame(header=b"\x01\x02", payload=b"\x00\x00\x80\x3f"),
    "beat": wire.Beat(time=1.5, step=9, samples=4, dropped=1, interval=2, overhead=0.01),
    "bye": wire.Bye(
        status="failed", step=9, samples=4, dropped=1, overhead=0.01, error="ValueError: no"
    ),
    "welcome": wire.Welcome(run="train-7f3a1c", hub_pid=77, refused="another version"),
    "opinion": wire.Opinion(verdict="failing", flags=[FLAG], causes=[CAUSE]),
    "capture-wish": wire.CaptureWish(credit_s=1.0),
    "close-wish": wire.CloseWish(model="model", layer="fc1", what=wire.What.WEIGHT),
    "closeup": wire.Closeup(
        model="model",
        layer="fc1",
        what=wire.What.WEIGHT,
        step=7,
        values=bytes(8),
        source=4096,
    ),
    "audience": wire.Audience(watching=True),
    "detail": wire.Detail(whole=True),
    "run": wire.RunInfo(seq=1, hello=HELLO),
    "layers": wire.LayerTable(
        seq=2,
        id=1,
        layers=(LAYER,),
        models=(MODEL,),
        optimizers=(GROUP,),
        layer_metrics=("out_variance", "out_rms"),
        model_metrics=("loss",),
    ),
    "sample": wire.Sample(
        seq=3,
        step=9,
        time=2.5,
        rank=1,
        table=1,
        layers=b"\x00\x00\x80\x3f\x00\x00\xc0\x7f",
        models=b"\x00\x00\x80\x3f",
        scalars={"loss": wire.Points(steps=b"\x09" + bytes(7), values=b"\x00\x00\x80\x3f")},
    ),
    "flag": wire.FlagChange(seq=4, step=9, flag=FLAG),
    "diagnosis": wire.Diagnosis(seq=5, step=9, verdict="failing", causes=[CAUSE]),
    "status": wire.Status(
        seq=6,
        time=3.5,
        status="killed",
        step=9,
        samples=4,
        dropped=1,
        overhead=0.01,
        interval=2,
        error="gone",
    ),
    "ask-history": wire.AskHistory(version=1, columns=128),
    "ask-news": wire.AskNews(since=6, limit=16),
    "ask-view": wire.AskView(
        version=1,
        since=6,
        columns=70,
        zoom=2,
        upto=900,
        metrics=("grad_rms",),
        trends=(("saturation", "dead_units"),),
        readings=("grad_rms", "saturation"),
        layer=("model", "fc1"),
        course=True,
        model_metrics=("grad_norm",),
        scalars=("loss",),
        ranks=True,
        axis=(0, 8, 70),
        columns_since=6,
        series_since=5,
        at_once=True,
        patience_s=0.5,
    ),
    "sight": wire.Sight(seq=9, body=b"picture"),
    "history": wire.History(seq=6, state=b"\x78\x9c"),
    "news": wire.News(
        events=[wire.Diagnosis(seq=7, step=10, verdict="healthy", causes=[])], reset=True
    ),
    "refusal": wire.Refusal(reason="another version"),
    "note": wire.Note(seq=8, step=10, time=4.5, text="halved the learning rate"),
    "ask-distributions": wire.AskDistributions(
        model="model", layer="fc1", what=wire.What.WEIGHT, since=9
    ),
    "distributions": wire.Distributions(
        model="model",
        layer="fc1",
        what=wire.What.WEIGHT,
        steps=b"\x09" + bytes(7),
        outlines=b"\x80\x3f",
        kinds=(wire.What.ACTIVATION, wire.What.WEIGHT),
        values=64,
        source=4096,
    ),
    "ask-histogram": wire.AskHistogram(
        model="model", layer="fc1", what=wire.What.ACTIVATION, bins=128
    ),
    "histogram": wire.Histogram(
        model="model",
        layer="fc1",
        what=wire.What.ACTIVATION,
        first_step=5,
        last_step=9,
        samples=2,
        low=-1.5,
        high=2.5,
        counts=b"\x01\x00\x00\x00",
        broken=3,
        values=64,
        source=4096,
    ),
    "ask-dense": wire.AskDense(steps=200),
    "ask-note": wire.AskNote(text="halved the learning rate", step=10),
    "done": wire.Done(said="noted at step 10", refused=True),
}
FRAME_HEADER = wire.FrameHeader(
    plan=2,
    step=9,
    time=1.5,
    present=b"\x01\x00",
    loss_first_step=5,
    loss_count=5,
    scalars={"lr": [(9, 0.1)]},
    skipped=True,
    cost_s=0.002,
    loss_given=b"\x01\x01\x00\x01\x01",
)
