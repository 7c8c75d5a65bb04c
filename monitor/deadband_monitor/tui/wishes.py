"""What a screen needs of a run, for a source that gives no more than is asked."""

from __future__ import annotations

import msgspec

from deadband.wire import VERSION, AskView
from deadband_monitor.metrics import MODEL_COLUMN
from deadband_monitor.tui.headlines import FLAT_END, HEADLINES
from deadband_monitor.tui.keys import COMPARE, FLAG, LAYER, RANKS
from deadband_monitor.tui.view import View


def wish(view: View, where: str) -> AskView:
    """What the screen `where` draws of this view."""
    names = [view.metric.name, *HEADLINES, *FLAT_END.values()]
    metrics = () if where == COMPARE else (view.metric.name,)
    row, flag = view.selected, view.flag
    layer = None if row is None else (view.state.layers[row].model, view.state.layers[row].name)
    drawn = ["out_variance", "grad_norm"]
    if where == FLAG and flag is not None:
        layer = (flag.model, flag.layer) if flag.layer else layer
        drawn += sorted(flag.evidence.keys() & MODEL_COLUMN.keys() - set(drawn))
    return AskView(
        version=VERSION,
        columns=view.columns,
        zoom=view.zoom,
        upto=view.frozen.step if view.frozen else None,
        run_ends=view.last_step or 0,
        metrics=metrics,
        trends=tuple((it, FLAT_END.get(it, it)) for it in HEADLINES if it not in MODEL_COLUMN),
        readings=tuple(dict.fromkeys(names)),
        layer=layer,
        course=where in (LAYER, FLAG),
        model_metrics=tuple(drawn),
        scalars=("loss", "clock") if view.clocked else ("loss",),
        ranks=where == RANKS,
    )


def first_wish(view: View) -> AskView:
    """What any screen needs, before it knows how large it is: all but columns of time."""
    return msgspec.structs.replace(wish(view, RANKS), metrics=(), trends=(), ranks=False)
