from __future__ import annotations

import inspect

import pytest

from crl_core.sequence import PRESETS
from crl_viewer.actions import ACTIONS, MENUS, MOUSE, TOOLS, shortcut_sheet
from crl_viewer.commands import Commands


def test_no_two_actions_share_a_shortcut() -> None:
    keys = [a.shortcut for a in ACTIONS.values() if a.shortcut]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda a: a.id)
def test_every_action_has_a_handler_and_a_tip(action) -> None:
    assert inspect.isfunction(getattr(Commands, action.handler))
    assert action.tip


def test_every_menu_entry_is_an_action() -> None:
    named = [i for ids in MENUS.values() for i in ids if i != "-" and not i.startswith("@")]
    assert set(named) <= set(ACTIONS)
    assert {i for group in TOOLS for i in group} <= set(ACTIONS)


def test_every_action_can_be_reached_from_a_menu() -> None:
    reachable = {i for ids in MENUS.values() for i in ids} | {"clear_recent"}
    assert set(ACTIONS) <= reachable


def test_presets_have_the_keys_1_to_6_in_order() -> None:
    assert [ACTIONS[f"preset:{n}"].shortcut for n in PRESETS] == ["1", "2", "3", "4", "5", "6"]


def test_the_sheet_lists_every_key_once_and_the_mouse() -> None:
    sheet = dict(shortcut_sheet())
    keys = [k for heading, rows in sheet.items() if heading != "Mouse on an image" for k, _ in rows]
    assert sorted(keys) == sorted(a.shortcut for a in ACTIONS.values() if a.shortcut)
    assert sheet["Mouse on an image"] == list(MOUSE)


def test_every_tool_has_an_icon_that_exists() -> None:
    from crl_viewer import icons

    for group in TOOLS:
        for name in group:
            assert ACTIONS[name].icon in icons.names()
