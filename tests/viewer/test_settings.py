from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crl_viewer.settings import MAX_RECENT, Recent, Settings, load_settings, save_settings


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "viewer.json"
    settings = Settings(theme="light", error_limit=20, gain_matching=True, geometry="AA==")
    settings = replace(settings, chooser=(960, 700))
    settings = settings.with_recent(Recent(str(tmp_path / "a.nii")), Recent("b.zip", ("5", "7e2")))
    save_settings(settings, path)
    assert load_settings(path) == settings


def test_missing_file_gives_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.json") == Settings()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2]", "null", "\x00\xff", "[" * 100_000, '{"theme": 7, "recent": [1]}'],
    ids=["empty", "cut", "list", "null", "binary", "deep", "wrong types"],
)
def test_a_damaged_file_never_blocks_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "viewer.json"
    path.write_text(text, encoding="latin-1")
    assert load_settings(path) == Settings()


def test_one_bad_value_does_not_lose_the_others(tmp_path: Path) -> None:
    path = tmp_path / "viewer.json"
    path.write_text(json.dumps({"theme": "light", "error_limit": "ten", "unknown": 1}))
    assert load_settings(path) == Settings(theme="light")


def test_a_folder_in_the_way_is_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("not a folder")
    save_settings(Settings(), path / "viewer.json")
    assert load_settings(path / "viewer.json") == Settings()


def test_recent_files_are_unique_newest_first_and_few(tmp_path: Path) -> None:
    settings = Settings()
    for n in [*range(MAX_RECENT + 3), 5]:
        settings = settings.with_recent(Recent(str(tmp_path / f"{n}.nii")))
    assert len(settings.recent) == MAX_RECENT
    assert settings.recent[0].path.endswith("5.nii")
    assert len(set(settings.recent)) == MAX_RECENT
