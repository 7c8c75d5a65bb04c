"""Other tools, listening to the same runs: `python -m scoreboard --peers`.

Each file adapts one tool. It is used as its own documentation says and with its own defaults; one
that is not installed is left out with a line. What counts as an alarm is any finding that the tool
itself calls a warning or worse, whether it still stands at the end or not. Which of our causes
its words stand for is a table in its file, with its words beside it; findings that only describe
(a spike, a vanished gradient) find the failure and name no cause.

`peer` says what an adapter is and listens for it, `hearing` hears what a loop's author would pass
on by hand (losses, evaluations), `comparison` runs and counts.
"""
