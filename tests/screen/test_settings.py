"""The settings file: what it changes, and what is said where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import DARK, LARGE, PLAIN, SMALL, healthy, shown

from deadband_monitor.errors import BadSettings
from deadband_monitor.settings import Choices, Settings, read_choices, read_settings, remember
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Ink


def app_with(settings: Settings, ink: Ink = DARK, **more: object) -> DeadbandApp:
    return DeadbandApp(healthy(), settings=settings, ink=ink, threaded=False, **more)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("DEADBAND_SETTINGS", str(path))
    return path


def test_without_a_file_everything_is_as_it_comes(file: Path) -> None:
    assert not file.exists()
    assert read_settings() == Settings()


def test_a_file_sets_what_it_names(file: Path) -> None:
    file.write_text('theme = "light"\nfps = 10\n[keys]\npause = "f2"\n"zoom(1)" = "f3,f4"\n')
    assert read_settings() == Settings(
        theme="light", fps=10.0, keys={"pause": "f2", "zoom(1)": "f3,f4"}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = ", "settings.toml"),
        ("them = 'dark'", "them"),
        ("fps = 0", "fps"),
        ("fps = 'fast'", "fps"),
        ("sort = 'size'", "sort"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(BadSettings, match=said):
        read_settings()


def test_the_folder_of_settings_follows_the_desktops_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEADBAND_SETTINGS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "deadband").mkdir()
    (tmp_path / "deadband" / "settings.toml").write_text("bell = false")
    assert not read_settings().bell


async def test_a_key_can_be_another_one_and_the_screen_says_so() -> None:
    app = app_with(Settings(keys={"pause": "f2"}))
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        assert "f2 Freeze" in shown(app)
        await pilot.press("space")
        assert "FROZEN" not in shown(app)
        await pilot.press("f2")
        assert "FROZEN" in shown(app)
        await pilot.press("question_mark")
        assert "f2" in shown(app)


async def test_an_ability_that_is_none_is_named_with_those_there_are() -> None:
    app = app_with(Settings(keys={"explode": "f2"}))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        told = [str(toast.message) for toast in app._notifications]
        assert any("explode" in text and "pause" in text for text in told)


async def test_metric_order_and_fold_are_as_set_at_first() -> None:
    app = app_with(Settings(metric="grad_rms", sort="worst", fold=True))
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        assert app.view.metric.name == "grad_rms"
        assert app.view.worst_first
        assert app.view.folded


@pytest.mark.parametrize(
    ("settings", "choices", "theme"),
    [
        (Settings(), Choices(), "deadband-dark"),
        (Settings(), Choices(theme="deadband-light"), "deadband-light"),
        (Settings(theme="dark"), Choices(theme="deadband-light"), "deadband-dark"),
        (Settings(theme="nord"), Choices(), "nord"),
        (Settings(theme="none-such"), Choices(), "deadband-dark"),
    ],
)
async def test_the_theme_is_the_set_one_else_the_last_one(
    settings: Settings, choices: Choices, theme: str
) -> None:
    app = app_with(settings, choices=choices)
    async with app.run_test(size=SMALL):
        assert app.theme == theme


async def test_without_colours_no_theme_is_asked_for() -> None:
    app = app_with(Settings(theme="light"), ink=PLAIN)
    async with app.run_test(size=SMALL):
        assert app.theme == "deadband-plain"


async def test_a_theme_that_is_chosen_is_remembered() -> None:
    kept: list[Choices] = []
    app = app_with(Settings(), remember=kept.append)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("t")
        await pilot.pause()
    assert kept[-1].theme == "deadband-light"


def test_choices_survive_and_a_torn_file_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEADBAND_HOME", str(tmp_path))
    assert read_choices() == Choices()
    remember(Choices(theme="nord"))
    assert read_choices() == Choices(theme="nord")
    (tmp_path / "choices.json").write_text("{")
    assert read_choices() == Choices()


async def test_a_critical_flag_rings_and_notifies_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from pictures import collapsed

    source = collapsed(samples=50)
    app = DeadbandApp(source, settings=Settings(bell=False, notify=True), threaded=False)
    rung: list[int] = []
    written: list[str] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(1))
    monkeypatch.setattr(app, "write", written.append)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        source.advance(60)
        app.repaint()
    assert not rung
    assert any(text.startswith("\x1b]9;deadband: digits-mlp-7f3a1c") for text in written)
