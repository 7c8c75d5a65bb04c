"""A launched script behaves as under plain python; what trains in it is watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)  # torch takes seconds to load on a busy machine

LAUNCH = [sys.executable, "-m", "deadband.launch"]


def run(
    *arguments: str, folder: Path, plain: bool = False, **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable] if plain else LAUNCH
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "DEADBAND_HOME": str(folder / "home"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without_our_line(text: str) -> str:
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("deadband: ")
    )


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys; print(sys.argv, __name__, __file__, sys.path[0])", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('it went wrong')", 1),
        ("raise SystemExit", 0),
        ("def f():\n    raise ValueError('two\\nlines')\nf()", 1),
        ("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError(1) from e", 1),
        ("def broken(:\n    pass\n", 1),
        ("import atexit, sys\natexit.register(print, 'bye')\nsys.exit(3)", 3),
        ("import beside\nprint(beside.x)", 0),
        (
            "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__module__)",
            0,
        ),
    ],
)
def test_a_script_runs_as_under_python(tmp_path: Path, source: str, status: int) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "beside.py").write_text("x = 5\n")
    (folder / "script.py").write_text(source)
    expected = run("scripts/script.py", "--flag", "a b", folder=tmp_path, plain=True)
    result = run("scripts/script.py", "--flag", "a b", folder=tmp_path)
    assert expected.returncode == status
    assert result.returncode == status
    assert result.stdout == expected.stdout
    assert without_our_line(result.stderr) == expected.stderr


def test_a_module_runs_as_under_python(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import sys\nprint(sys.argv, __name__, __package__, sys.path[0])\nsys.exit(5)\n"
    )
    expected = run("-m", "pack", "-x", folder=tmp_path, plain=True)
    result = run("-m", "pack", "-x", folder=tmp_path)
    assert (result.returncode, result.stdout) == (5, expected.stdout)


def test_an_interrupt_ends_the_process_by_the_signal(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("raise KeyboardInterrupt\n")
    expected = run("script.py", folder=tmp_path, plain=True)
    result = run("script.py", folder=tmp_path)
    assert expected.returncode == result.returncode == -signal.SIGINT
    assert without_our_line(result.stderr) == expected.stderr


def test_what_is_no_script_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0\0")
    for name, words in (
        ("missing.py", "No such file"),
        ("folder", "folder without a __main__.py"),
        ("binary", "not a Python script"),
    ):
        result = run(name, folder=tmp_path)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
        assert words in result.stderr
    result = run(folder=tmp_path)
    assert result.returncode == 2
    assert "usage" in result.stderr


def test_a_script_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('hello')\n")
    result = run("script.py", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert len(result.stderr.splitlines()) == 1
    assert "no model found" in result.stderr
    assert "deadband.watch(model, optimizer)" in result.stderr
    quiet = run("script.py", folder=tmp_path, DEADBAND="off")
    assert quiet.stderr == ""


TRAINING = """
import torch
from torch import nn
import torch.nn.functional as F
torch.set_num_threads(1)
torch.manual_seed(0)

def spy():
    from deadband import endings
    return list(endings._open)

def main():
    teacher = nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(6):
        x = torch.randn(5, 4)
        loss = F.cross_entropy(net(teacher(x)), torch.randint(0, 2, (5,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [each.double().sum().item() for each in net.parameters()]

print(main())
"""

REPORT = """
for watch in spy():
    plan = watch._recorder.plan
    print(watch.run, watch.steps, watch._recorder.samples, watch._faults, plan.models[0].name,
          plan.models[0].loss, [layer.name for layer in plan.layers], len(plan.models))
"""


def found_in(
    source: str, told: str, *, folder: Path
) -> tuple[str, subprocess.CompletedProcess[str]]:
    """What `told` prints behind a watched script, which else prints what it does unwatched."""
    (folder / "plain.py").write_text(source)
    (folder / "script.py").write_text(source + told)
    expected = run("plain.py", folder=folder, plain=True)
    result = run("script.py", folder=folder, DEADBAND_HUB="off", DEADBAND_RUN="mine-1")
    assert result.returncode == 0, result.stderr
    numbers, report = result.stdout.splitlines()
    assert numbers == expected.stdout.strip()
    return report, result


def test_a_zero_code_run_finds_model_optimiser_and_loss(tmp_path: Path) -> None:
    report, result = found_in(TRAINING, REPORT, folder=tmp_path)
    assert report == "mine-1 6 6 0 net cross_entropy ['0', '1', '2'] 1"
    assert result.stderr == ""


@pytest.mark.slow
def test_two_optimisers_and_late_models_join_one_run(tmp_path: Path) -> None:
    (tmp_path / "gan.py").write_text(
        TRAINING.split("def main")[0]
        + """
maker, critic = nn.Linear(3, 4), nn.Linear(4, 1)
first = torch.optim.Adam(maker.parameters())
second = torch.optim.Adam(critic.parameters())
for step in range(3):
    (critic(maker(torch.randn(5, 3)).detach()).mean() - critic(torch.randn(5, 4)).mean()).backward()
    second.step()
    second.zero_grad()
    critic(maker(torch.randn(5, 3))).mean().backward()
    first.step()
    first.zero_grad()
for watch in spy():
    plan = watch._recorder.plan
    print(watch.steps, watch._recorder.samples, watch._faults, watch._torch.capture.fault,
          sorted(model.name for model in plan.models), len(plan.optimizers))
"""
    )
    result = run("gan.py", folder=tmp_path, DEADBAND_HUB="off")
    assert result.stdout.strip() == "6 6 0  ['critic', 'maker'] 2", result.stderr


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ("optimizer = torch.optim.SGD(nn.Linear(4, 8).parameters(), lr=0.1)", False),
        ("optimizer = torch.optim.SGD(net.parameters(), lr=0.1); net.eval()", True),
    ],
)
@pytest.mark.slow
def test_a_model_that_the_optimiser_lacks_or_that_trains_in_eval_mode_is_found(
    tmp_path: Path, change: str, held: bool
) -> None:
    source = TRAINING.replace("optimizer = torch.optim.SGD(net.parameters(), lr=0.1)", change)
    source = source.replace("teacher = nn.Linear(4, 4)", "teacher = nn.Flatten()")
    told = REPORT.replace("len(plan.models)", "[layer.optimised for layer in plan.layers[::2]]")
    report, _ = found_in(source, told, folder=tmp_path)
    assert report.startswith("mine-1 5 5 0 net ")
    assert report.endswith(str([held, held]))


RAW = """
class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return x @ self.w + self.b

def main():"""


def test_a_model_of_which_only_forward_is_called_by_name_is_found(tmp_path: Path) -> None:
    """No hook of torch's runs there: the optimiser's steps tell."""
    source = TRAINING.replace("\ndef main():", RAW).replace(
        "nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))", "Raw()"
    )
    source = source.replace("net(teacher(x))", "net.forward(x)")
    told = REPORT.replace("[layer.name for layer in plan.layers]", "0")
    report, result = found_in(source, told, folder=tmp_path)
    assert report == "mine-1 4 4 0 net  0 1"
    assert result.stderr == ""


@pytest.mark.slow
def test_who_optimises_an_input_of_a_fixed_network_is_not_asked_about_the_network(
    tmp_path: Path,
) -> None:
    (tmp_path / "script.py").write_text(
        """
import torch
net, image = torch.nn.Linear(4, 1), torch.zeros(4, requires_grad=True)
optimizer = torch.optim.SGD([image], lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    net(image).sum().backward()
    optimizer.step()
"""
    )
    result = run("script.py", folder=tmp_path, DEADBAND_HUB="off")
    assert "no model found" in result.stderr


def test_the_scripts_own_watch_wins(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        TRAINING.replace(
            "    for step in range(6):",
            "    import deadband\n"
            "    watch = deadband.watch(net, optimizer, every=2)\n"
            "    for step in range(6):",
        ).replace(
            "        optimizer.step()\n", "        optimizer.step()\n        watch.step(loss)\n"
        )
        + REPORT
    )
    result = run("script.py", folder=tmp_path, DEADBAND_HUB="off", DEADBAND_RUN="mine-2")
    report = result.stdout.splitlines()[1:]
    assert report == ["mine-2 6 3 0 model cross_entropy ['0', '1', '2'] 1"], result.stderr
    assert result.stderr == ""
