"""Several hooks on the gradient of one tensor, ours and the user's, and tensors moved as blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from deadband.cells import make_cell
from deadband.gradients import await_gradient
from deadband.regions import LAYER, Layout
from deadband.wire import What


def test_hooks_of_ours_and_of_the_user_share_one_tensor() -> None:
    came: list[tuple[str, Tensor]] = []
    output = torch.ones(3, requires_grad=True) * 2.0
    await_gradient(output, lambda gradient: came.append(("layer", gradient)))
    handle = output.register_hook(lambda gradient: came.append(("user", gradient)))
    await_gradient(output, lambda gradient: came.append(("model", gradient)))
    gone = output.register_hook(lambda gradient: came.append(("gone", gradient)))
    gone.remove()
    await_gradient(output, lambda gradient: came.append(("shown", gradient)))
    (output * 5.0).sum().backward()
    assert [who for who, _ in came] == ["layer", "user", "model", "shown"]
    assert all(torch.equal(gradient, torch.full((3,), 5.0)) for _, gradient in came)
    handle.remove()


def test_the_sign_of_a_single_imaginary_part_is_turned() -> None:
    number = torch.tensor([[1.0 + 3.0j]]).conj().imag
    assert number.is_neg()
    assert number.is_contiguous()
    cell = make_cell(What.ACTIVATION, number, Layout.UNITS_LAST, LAYER)
    assert cell is not None
    cell.take(number)
    assert cell.held().tolist() == [[-3.0]]
