"""The scoreboard: real small networks, healthy and failing, and what is said of them.

A scenario is a training run of one to four seconds. A failing one has one fault put in and carries
its remedy: the same training from the same seed with the fault mended. It holds where the fault
costs most of the skill and the remedy wins it back; the others are listed and left out. Healthy
ones do what naive rules take for failures. Half of all scenarios, by a hash of their names, are set
apart: they are run for a final figure only. Beside the halves lie exams, each in a folder of its
own (`exam`, `fresh`, `sealed`, `blind`, `unread`), written by people who had not read the rules
and on networks, data and optimisers of their own, and each judged once before any rule was mended
by it.

An exam that nobody has seen can be drawn at any time: `--half crossed --draw 7 --runs 100` crosses
faults by lot with networks, data, optimisers and habits (package `crossed`); the same number is the
same exam again. The cause is drawn first, so that each comes about equally often, and a drawn run
counts only where it is proven: its twin learns what there is to learn, on rows never trained on,
and the run itself ends with less than half of that skill. The twins are the healthy half. It is
part of no other half, not of `all` either.

    make scoreboard                                   (the half to tune on)
    make scoreboard ARGS="--half held"                (the final figure)
    make scoreboard ARGS="--half unread"              (the last exam)
    make scoreboard ARGS="--half crossed --draw 7"    (one drawn by lot)
    cd tests && python -m scoreboard dying --all-lines
    cd tests && python -m scoreboard --cache ../build/runs --json ../build/board.json
    make scoreboard PEERS=1                           (other tools beside us on some of the runs)

`found`: the verdict at the end is not `healthy`. `right cause`: of all failing runs, also of those
not found. Alarms are warnings and critical flags, whether they stood to the end or not.

Where things are: `scenario` says what a scenario is and trains one; `runs` lists them all, from
`failing_*` and `healthy_*` here and in the exams' folders; `harness` watches with the real client,
statistics and rules; `crossed` draws exams; `cache` keeps what was recorded; `figures` counts and
`board` draws; `prove` trains the faults and remedies of a family, or of a part of a draw, with
nobody watching.

Anything else can listen to the same runs. A listener has three methods:

    class Mine:
        def on_start(self, model, optimizer): ...     # a module, or a mapping of names to modules
        def on_step(self, step, loss): ...            # after the optimiser's step, from 1
        def verdict(self): return Verdict(verdict="warning", causes=(), first_alarm=120)

    from scoreboard.runs import everything
    from scoreboard.scenario import train
    verdict, skill = train(everything()[0], Mine())

`on_start` may put hooks on the model and takes them off again in `verdict`, since the model's skill
is measured after that. A listener that also has `on_arrays(arrays)` is shown what a loop without
torch works on. `scenario.mended()` is the remedy as a healthy run.
"""
