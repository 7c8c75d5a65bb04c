"""What a user sees first: the import, the public names, bad settings."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn, optim

import deadband
from deadband.settings import from_environment


def test_public_names_are_sorted_and_there() -> None:
    assert sorted(deadband.__all__) == deadband.__all__
    assert all(getattr(deadband, name) is not None for name in deadband.__all__)
    assert dir(deadband) == deadband.__all__
    assert callable(deadband.watch)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = deadband.nonsense


def test_the_import_is_light() -> None:
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import deadband\n"
        "took = time.perf_counter() - start\n"
        "heavy = {'torch', 'textual', 'numpy', 'zmq', 'msgspec'} & set(sys.modules)\n"
        "print(sorted(heavy), took < 0.1)\n"
        "import deadband.watching\n"
        "print(sorted({'torch', 'textual'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "[] True\n[]\n"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("every", 0), ("budget", 0.0), ("budget", 7.0), ("credit_s", -1.0), ("stop_on", "loud")],
)
def test_a_bad_setting_is_named(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        deadband.watch(nn.Linear(1, 1), **{setting: value})  # type: ignore[arg-type]


def test_the_environment_wins() -> None:
    environ = {"DEADBAND_EVERY": "5", "DEADBAND_BUDGET": "0.2", "DEADBAND_CREDIT_S": "0"}
    settings = from_environment(every=1, budget=0.1, credit_s=3.0, environ=environ)
    assert (settings.every, settings.budget, settings.credit_s) == (5, 0.2, 0.0)
    with pytest.raises(ValueError, match="DEADBAND_EVERY"):
        from_environment(environ={"DEADBAND_EVERY": "often"})


def test_what_is_no_model_is_named() -> None:
    with pytest.raises(TypeError, match="critic is a list"):
        deadband.watch({"critic": []})  # type: ignore[dict-item]


@pytest.mark.parametrize("apart", [True, False])
def test_a_module_dict_whose_modules_are_trained_apart_holds_the_models(*, apart: bool) -> None:
    models = nn.ModuleDict({"actor": nn.Linear(3, 2), "critic": nn.Linear(3, 1)})
    each = [optim.SGD(model.parameters(), lr=0.1) for model in models.values()]
    watch = deadband.watch(models, each if apart else optim.SGD(models.parameters(), lr=0.1))
    for model in models.values():
        model(torch.ones(4, 3)).sum().backward()
    for one in each:
        one.step()
    watch.step()
    plan = watch._recorder.plan
    assert plan is not None
    names = [model.name for model in plan.models]
    watch.close()
    assert names == (["actor", "critic"] if apart else ["model"])
