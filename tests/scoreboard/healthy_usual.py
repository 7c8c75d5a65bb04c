"""Runs that learn: the usual networks under the usual settings, and at their edges."""

from __future__ import annotations

from torch import nn

from scoreboard.data import table, text
from scoreboard.loops import fit, text_fit
from scoreboard.nets import (
    CharRnn,
    CharTransformer,
    Cnn,
    DigitTransformer,
    Library,
    Recurrent,
    Residual,
    mlp,
)
from scoreboard.scenario import Runs

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy

simple("mlp digits sgd", lambda: fit(mlp(64, 10), "digits"))
simple("mlp digits adam", lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-3))
simple(
    "mlp digits adamw tanh",
    lambda: fit(mlp(64, 10, activation="tanh"), "digits", opt="adamw", lr=1e-3),
)
simple(
    "mlp digits rmsprop gelu",
    lambda: fit(mlp(64, 10, activation="gelu"), "digits", opt="rmsprop", lr=1e-3),
)
simple(
    "mlp digits momentum silu",
    lambda: fit(mlp(64, 10, activation="silu"), "digits", opt="momentum", lr=0.05),
)
simple(
    "mlp digits relu6 hardtanh",
    lambda: fit(mlp(64, 10, activation="hardtanh"), "digits", opt="adam", lr=3e-3),
)
simple(
    "sigmoid 2 sgd momentum",
    lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="momentum", lr=0.2),
    800,
)
simple(
    "sigmoid 3 adam",
    lambda: fit(mlp(64, 10, depth=3, activation="sigmoid"), "digits", opt="adam", lr=3e-3),
    600,
)
simple(
    "sigmoid 5 adam slow start",
    lambda: fit(mlp(64, 10, depth=5, activation="sigmoid"), "digits", opt="adam", lr=3e-3),
    1000,
)
simple(
    "sigmoid 2 adam tiny lr",
    lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="adam", lr=1e-4),
    1200,
)
simple(
    "tanh 8 xavier",
    lambda: fit(
        mlp(64, 10, depth=8, activation="tanh", init="xavier"), "digits", opt="adam", lr=1e-3
    ),
)
simple(
    "relu 20 he adam",
    lambda: fit(mlp(64, 10, depth=20, init="he"), "digits", opt="adam", lr=3e-4),
    500,
)
simple(
    "relu 6 default sgd", lambda: fit(mlp(64, 10, depth=6), "digits", opt="momentum", lr=0.03), 800
)
simple(
    "elu 10 orthogonal",
    lambda: fit(
        mlp(64, 10, depth=10, activation="elu", init="orthogonal"), "digits", opt="adam", lr=1e-3
    ),
)
simple("batchnorm mlp", lambda: fit(mlp(64, 10, norm="batch"), "digits", lr=0.1))
simple(
    "batchnorm deep raw pixels",
    lambda: fit(
        nn.Sequential(nn.BatchNorm1d(64), *mlp(64, 10, depth=4, norm="batch")),
        table("digits"),
        lr=0.1,
    ),
)
simple(
    "layernorm mlp adam",
    lambda: fit(mlp(64, 10, depth=4, norm="layer"), "digits", opt="adam", lr=1e-3),
)
simple(
    "dropout half", lambda: fit(mlp(64, 10, width=128, dropout=0.5), "digits", opt="adam", lr=1e-3)
)
simple("cnn sgd", lambda: fit(Cnn(), "digits", opt="momentum", lr=0.05))
simple("cnn batchnorm adam", lambda: fit(Cnn(norm=True), "digits", opt="adam", lr=1e-3))
simple("cnn raw 0-16", lambda: fit(Cnn(), table("digits"), opt="adam", lr=1e-3))
simple("mlp raw digits 0-16 adam", lambda: fit(mlp(64, 10), table("digits"), opt="adam", lr=1e-3))
simple("residual pre norm", lambda: fit(Residual(64, 10), "digits", opt="adam", lr=1e-3))
simple(
    "residual zero branches",
    lambda: fit(Residual(64, 10, blocks=10, zero=True), "digits", opt="adam", lr=1e-3),
)
simple("lstm rows", lambda: fit(Recurrent("LSTM"), "digits", opt="adam", lr=3e-3))
simple("gru rows", lambda: fit(Recurrent("GRU"), "digits", opt="adam", lr=3e-3))
simple("rnn rows", lambda: fit(Recurrent("RNN"), "digits", opt="adam", lr=1e-3))
simple("wine sgd", lambda: fit(mlp(13, 3, width=32), "wine", batch=32, lr=0.05))
simple(
    "iris full batch",
    lambda: fit(mlp(4, 3, width=16, activation="tanh"), "iris", batch=150, opt="adam", lr=1e-2),
)
simple("cancer adam", lambda: fit(mlp(30, 2, width=32), "breast_cancer", opt="adam", lr=1e-3))
simple("circles narrow", lambda: fit(mlp(2, 2, width=16), "circles", opt="adam", lr=1e-2), 600)
simple(
    "moons tanh",
    lambda: fit(mlp(2, 2, width=32, activation="tanh"), "moons", opt="adam", lr=1e-2),
    600,
)
simple("moons sgd slow", lambda: fit(mlp(2, 2, width=32), "moons", lr=0.1), 800)
simple("blobs sgd 0.5 edge", lambda: fit(mlp(30, 4, width=64), "blobs", batch=256, lr=0.5))
simple("digits sgd 0.5 edge", lambda: fit(mlp(64, 10), "digits", batch=256, lr=0.5))
simple("digits adam 3e-2 edge", lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-2))
simple("batch of one thousand", lambda: fit(mlp(64, 10), "digits", batch=1000, lr=0.3))
simple("batch of four", lambda: fit(mlp(64, 10), "digits", batch=4, lr=0.02), 800)
simple("batch of two", lambda: fit(mlp(64, 10), "digits", batch=2, lr=0.01), 1000)
simple("batch of one", lambda: fit(mlp(64, 10), "digits", batch=1, lr=0.01), 1000)
simple("linear softmax regression", lambda: fit(nn.Linear(64, 10), "digits", lr=0.1))
simple("linear regression diabetes", lambda: fit(nn.Linear(10, 1), "diabetes", lr=0.05))
simple("diabetes mlp", lambda: fit(mlp(10, 1, width=32), "diabetes", opt="adam", lr=3e-3))
simple(
    "friedman mlp tanh",
    lambda: fit(mlp(10, 1, width=64, activation="tanh"), "friedman", opt="adam", lr=3e-3),
    600,
)
simple("transformer rows pre", lambda: fit(DigitTransformer(), "digits", opt="adam", lr=3e-3))
simple(
    "transformer rows post", lambda: fit(DigitTransformer(pre=False), "digits", opt="adam", lr=1e-3)
)
simple("torch encoder", lambda: fit(Library(), "digits", opt="adam", lr=1e-3))
simple("torch encoder post", lambda: fit(Library(norm_first=False), "digits", opt="adam", lr=1e-3))
simple("text gru", lambda: text_fit(CharRnn(text()[1]), opt="adam", lr=3e-3))
simple(
    "text lstm tied",
    lambda: text_fit(CharRnn(text()[1], cell="LSTM", tied=True), opt="adam", lr=3e-3),
)
simple("text transformer pre", lambda: text_fit(CharTransformer(text()[1]), opt="adam", lr=3e-3))
simple(
    "text transformer post",
    lambda: text_fit(CharTransformer(text()[1], pre=False), opt="adam", lr=1e-3),
)
simple(
    "text transformer tied deep",
    lambda: text_fit(CharTransformer(text()[1], layers=4, tied=True), opt="adamw", lr=2e-3),
)
simple(
    "text transformer sgd slow",
    lambda: text_fit(CharTransformer(text()[1]), opt="momentum", lr=0.05),
    600,
)
