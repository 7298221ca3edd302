from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from crl_core.errors import Cancelled, GridError, InputError
from crl_core.io.bids import SubjectFiles
from crl_core.io.timing import Timing
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters
from crl_viewer.controllers import choosing
from crl_viewer.settings import Recent
from crl_viewer.state.offers import Offer, Opened
from crl_viewer.views import bases
from crl_viewer.workers.finding import Dataset, Found
from crl_viewer.workers.tasks import Task
from tests.viewer.fakes import make_offer, make_scan
from tests.viewer.rig import Rig

STUDY = Path("study").absolute()
T1 = replace(make_scan("t1", SequenceParameters(600, 12)), series="3")
T2 = replace(make_scan("t2", SequenceParameters(4500, 90), top=400.0), series="4")
SAG = replace(
    make_scan("sag", SequenceParameters(500, 15), shape=(20, 24, 6), spacing=1.6), series="9"
)


def offer_of(scan: Scan, **changes) -> Offer:
    read = changes.pop("read", lambda: Opened(scan, chosen=STUDY))
    return make_offer(scan.name, scan, path=STUDY, series=scan.series, read=read, **changes)


SURVEY = make_offer(
    "survey", path=STUDY, series="1", refusal="a localiser", remedy="Choose another"
)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.shell.choose_scans.return_value = MagicMock(spec=bases.ChooserView)
    return rig


@pytest.fixture
def study(rig: Rig) -> Rig:
    rig.found = Found((SURVEY, offer_of(T1), offer_of(T2), offer_of(SAG)), choice=True)
    rig.opening.open_paths([STUDY])
    return rig


def chosen(rig: Rig, *numbers: int) -> None:
    """Choose in the chooser that was opened last, as the dialog would."""
    _, _, _, take, _, closed = rig.shell.choose_scans.call_args.args
    take(list(numbers))
    closed()


def names(rig: Rig) -> list[str]:
    return [scan.name for scan in rig.state.scans]


# choosing -------------------------------------------------------------------------------------


def test_a_study_is_offered_and_nothing_opens_by_itself(study: Rig) -> None:
    title, sentence, people, *_ = study.shell.choose_scans.call_args.args
    assert title == "Choose scans"
    assert sentence.startswith("study holds 4 scans. One cannot be opened;")
    assert list(people) == []
    offers, ticks = study.shell.choose_scans.return_value.set_offers.call_args.args
    assert [o.title for o in offers] == ["survey", "t1", "t2", "sag"]
    assert ticks == [1, 2]
    assert study.state.scans == ()


def test_what_was_chosen_opens_with_the_most_telling_as_source(study: Rig) -> None:
    chosen(study, 1, 2)
    assert names(study) == ["t1", "t2"]
    assert study.state.source is T2
    assert study.state.acquired is T1
    assert study.remembered == [Recent(str(STUDY), ("3", "4"))]


def test_leaving_the_chooser_changes_nothing(study: Rig) -> None:
    *_, closed = study.shell.choose_scans.call_args.args
    closed()
    assert study.state.scans == ()
    assert study.remembered == []


def test_scans_of_one_study_on_different_grids_are_source_and_reference(study: Rig) -> None:
    chosen(study, 2, 3)
    assert study.state.source is T2
    assert study.state.acquired is SAG
    reference = study.state.reference_on_grid
    assert reference is not None
    assert reference.same_grid(T2)


def test_a_single_scan_opens_without_a_question(rig: Rig) -> None:
    rig.found = Found((offer_of(T2),))
    rig.opening.open_paths([STUDY])
    rig.shell.choose_scans.assert_not_called()
    assert rig.state.source is T2


def test_with_nobody_to_ask_what_would_be_ticked_opens(rig: Rig) -> None:
    rig.shell.asks = False
    rig.found = Found((SURVEY, offer_of(T1), offer_of(T2), offer_of(SAG)), choice=True)
    rig.opening.open_paths([STUDY])
    rig.shell.choose_scans.assert_not_called()
    assert names(rig) == ["t1", "t2"]


def test_what_cannot_be_read_names_its_series_and_does_not_stop_the_others(rig: Rig) -> None:
    def broken() -> Opened:
        raise InputError("its pixels are damaged", path=STUDY, remedy="Export it again")

    rig.found = Found((offer_of(T1, read=broken), offer_of(T2)), choice=True)
    rig.opening.open_paths([STUDY])
    chosen(rig, 0, 1)
    assert names(rig) == ["t2"]
    assert rig.state.banner == f"{STUDY}: series 3 (t1): its pixels are damaged. Export it again."


def test_refusals_of_a_mix_stand_in_the_banner_while_the_rest_is_offered(rig: Rig) -> None:
    rig.found = Found((offer_of(T1), offer_of(T2)), refusals=("x.zip: is damaged.",), choice=True)
    rig.opening.open_paths([STUDY, Path("x.zip")])
    assert rig.state.banner == "x.zip: is damaged."
    chosen(rig, 0)
    assert rig.state.banner == "x.zip: is damaged."


def test_pictures_are_made_one_by_one_and_one_that_fails_is_left_out(rig: Rig, caplog) -> None:
    good = np.ones((4, 4), np.float32)

    def secret() -> np.ndarray:
        raise ValueError("Mustermann^Erika")

    rig.found = Found(
        (
            offer_of(T1, thumbnail=lambda: good), offer_of(T2, thumbnail=secret),
            replace(SURVEY, thumbnail=None),
        ),
        choice=True,
    )  # fmt: skip
    rig.opening.open_paths([STUDY])
    calls = rig.shell.choose_scans.return_value.set_picture.call_args_list
    assert [(c.args[0], c.args[1] is None) for c in calls] == [(0, False), (1, True), (2, True)]
    assert "ValueError" in caplog.text
    assert "Erika" not in caplog.text


# datasets -------------------------------------------------------------------------------------


@pytest.fixture
def dataset(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    listed = {"sub-01": [offer_of(T1), offer_of(T2)], "sub-02_ses-b": [offer_of(SAG)]}
    monkeypatch.setattr(choosing, "offers_of_person", lambda person, task: listed[person.label])
    people = tuple(SubjectFiles(label, (Path("a.nii"),)) for label in listed)
    rig.found = Found(datasets=(Dataset(Path("bids"), people),))
    return rig


def test_the_first_person_is_listed_and_another_can_be_chosen(dataset: Rig) -> None:
    dataset.opening.open_paths([Path("bids")])
    _, sentence, people, _, person, _ = dataset.shell.choose_scans.call_args.args
    assert "2 visits" in sentence
    assert people == [("sub-01", 1), ("sub-02, ses-b", 1)]
    view = dataset.shell.choose_scans.return_value
    assert [o.title for o in view.set_offers.call_args.args[0]] == ["t1", "t2"]
    person(1)
    assert [o.title for o in view.set_offers.call_args.args[0]] == ["sag"]
    chosen(dataset, 0)
    assert names(dataset) == ["sag"]


def test_a_dataset_opens_with_nobody_to_ask(dataset: Rig) -> None:
    dataset.shell.asks = False
    dataset.opening.open_paths([Path("bids")])
    assert names(dataset) == ["t1", "t2"]


# series by key, recent ------------------------------------------------------------------------


def test_keys_open_their_series_without_a_question(rig: Rig) -> None:
    rig.found = Found((SURVEY, offer_of(T1), offer_of(T2)), choice=True)
    rig.opening.open_recent(Recent(str(STUDY), ("4",)))
    rig.shell.choose_scans.assert_not_called()
    assert names(rig) == ["t2"]
    assert rig.remembered == [Recent(str(STUDY), ("4",))]


def test_a_key_that_is_not_there_and_one_that_cannot_be_used_are_lines(rig: Rig) -> None:
    rig.found = Found((SURVEY, offer_of(T1)), choice=True)
    rig.opening.open_paths([STUDY], series=["7"])
    assert rig.state.banner == f"{STUDY}: there is no series 7. It holds 1 and 3."
    rig.opening.open_paths([STUDY], series=["1"])
    assert rig.state.banner == f"{STUDY}: series 1 (survey): a localiser. Choose another."
    assert rig.state.scans == ()


def test_given_parameters_go_to_the_scans_of_a_folder_in_order(rig: Rig) -> None:
    bare = [replace(make_scan(n, None), series=n) for n in ("5", "6")]
    given = [SequenceParameters(600, 12), SequenceParameters(4500, 90)]
    rig.found = Found(tuple(offer_of(scan) for scan in bare), choice=True)
    rig.opening.open_paths([STUDY], given, series=["5", "6"])
    assert [s.parameters for s in rig.state.scans] == given
    assert {s.origins["te"].certainty for s in rig.state.scans} == {"given"}


# asking ---------------------------------------------------------------------------------------


def timing(**values: float) -> Timing:
    made = Timing(extras={"echo_train_length": 16})
    for name, value in values.items():
        made.add(name, value, Origin(f"DICOM {name}"))
    return made


def partly(name: str, volumes: int = 1, **values: float) -> Opened:
    """Return a scan whose header states only some of the times."""
    known = timing(**values)
    scan = replace(make_scan(name, None), origins=dict(known.origins), series=name)

    def again(volume: int) -> Opened:
        fresh = replace(scan, data=scan.data + volume)
        return Opened(fresh, volumes, known, volume, again)

    return Opened(scan, volumes, known, again=again, chosen=STUDY)


def open_all(rig: Rig, *opened: Opened) -> None:
    rig.found = Found(tuple(offer_of(o.scan, read=partial(lambda o: o, o)) for o in opened))
    rig.opening.open_paths([STUDY])


def test_what_is_known_is_filled_in_and_keeps_its_origin(rig: Rig) -> None:
    open_all(rig, partly("flair", tr=9000.0, te=120.0))
    asked = rig.shell.ask_about.call_args.kwargs
    assert asked["known"] == {"tr": 9000.0, "te": 120.0}
    asked["answer"](SequenceParameters(9000, 110, 2500), None)
    source = rig.state.source
    assert source is not None
    assert source.parameters is not None
    assert source.parameters.triple == (9000, 110, 2500)
    assert source.parameters.echo_train_length == 16
    assert source.origins["tr"].where == "DICOM tr"
    assert source.origins["te"].certainty == source.origins["ti"].certainty == "given"


def test_one_question_at_a_time(rig: Rig) -> None:
    open_all(rig, partly("a", tr=600.0), partly("b"), partly("c", 3, tr=1.0, te=1.0, ti=0.0))
    assert [c.args[0] for c in rig.shell.ask_about.call_args_list] == ["a"]
    rig.shell.ask_about.call_args.kwargs["closed"]()
    assert [c.args[0] for c in rig.shell.ask_about.call_args_list] == ["a", "b"]
    rig.shell.ask_about.call_args.kwargs["closed"]()
    assert rig.shell.ask_about.call_args.kwargs["volumes"] == 3


def test_questions_about_scans_that_were_closed_are_dropped(rig: Rig) -> None:
    open_all(rig, partly("a"), partly("b"))
    rig.scans.close_all()
    rig.shell.ask_about.call_args.kwargs["closed"]()
    assert rig.shell.ask_about.call_count == 1


def test_another_volume_is_read_through_its_series(rig: Rig) -> None:
    open_all(rig, partly("a", 3))
    before = rig.state.source
    assert before is not None
    rig.shell.ask_about.call_args.kwargs["answer"](SequenceParameters(600, 12), 2)
    after = rig.state.source
    assert after is not None
    np.testing.assert_array_equal(after.data, before.data + 2)
    assert after.series == "a"
    rig.shell.ask_about.call_args.kwargs["closed"]()
    rig.opening.ask_again(0)
    asked = rig.shell.ask_about.call_args.kwargs
    assert asked["volume"] == 2
    assert asked["known"] == {"tr": 600, "te": 12, "ti": 0}


def test_times_can_be_corrected_later_and_keep_the_rest_of_the_sequence(rig: Rig) -> None:
    full = replace(T2, parameters=SequenceParameters(4500, 90, field_strength=3.0))
    open_all(rig, Opened(full, chosen=STUDY))
    rig.opening.ask_again(0)
    rig.shell.ask_about.call_args.kwargs["answer"](SequenceParameters(4500, 95), None)
    source = rig.state.source
    assert source is not None
    assert source.parameters == SequenceParameters(4500, 95, field_strength=3.0)
    assert source.origins["tr"] == full.origins["tr"]
    assert source.origins["te"].where == "typed in the window"


# stopping -------------------------------------------------------------------------------------


def test_stopping_a_search_leaves_everything_as_it_was(rig: Rig) -> None:
    def stopped(paths, task: Task) -> Found:
        rig.shell.activity.call_args.args[1]()
        assert task.cancelled()
        raise Cancelled("the search was given up")

    rig.opening._find = stopped
    rig.follow.tasks.hold = True
    rig.opening.open_paths([STUDY])
    rig.follow.tasks.go()
    rig.shell.activity.return_value.end.assert_called()
    assert rig.state.banner == ""
    assert rig.state.scans == ()


def test_stopping_the_reading_opens_nothing(rig: Rig) -> None:
    read: list[str] = []

    def second(scan: Scan) -> Opened:
        read.append(scan.name)
        rig.follow.tasks.newest.cancel()
        return Opened(scan, chosen=STUDY)

    rig.found = Found(
        tuple(offer_of(scan, read=partial(second, scan)) for scan in (T1, T2)), choice=True
    )
    rig.opening.open_paths([STUDY], series=["3", "4"])
    assert read == ["t1"]
    assert rig.state.scans == ()
    assert rig.remembered == []


def test_a_failure_nobody_foresaw_still_ends_its_line(rig: Rig) -> None:
    def broken(paths, task) -> Found:
        raise ZeroDivisionError

    rig.opening._find = broken
    with pytest.raises(ZeroDivisionError):
        rig.opening.open_paths([STUDY])
    rig.shell.activity.return_value.end.assert_called_once()


# registration ---------------------------------------------------------------------------------


@pytest.fixture
def pair(rig: Rig) -> Rig:
    """A source and a reference on another grid."""
    rig.found = Found((offer_of(T2), offer_of(SAG)))
    rig.opening.open_paths([STUDY])
    return rig


def test_registering_replaces_the_reference_and_says_so(pair: Rig) -> None:
    resampled = pair.state.reference_on_grid
    pair.alignment.register()
    assert pair.registered == [(SAG, T2)]
    assert pair.state.reference_on_grid is not resampled
    assert pair.state.registered == "rigid"
    assert pair.newest.reference is pair.state.reference_on_grid
    assert pair.acquired.set_words.call_args.kwargs["note"][0] == (
        "Registered to the source, rigid"
    )
    text = pair.shell.activity.call_args.args[0]
    assert text == "Registering sag to t2…"
    pair.shell.activity.return_value.end.assert_called()


def test_choosing_it_again_takes_it_back(pair: Rig) -> None:
    pair.alignment.register()
    pair.alignment.register()
    assert pair.state.registered == ""
    reference = pair.state.reference_on_grid
    assert reference is not None
    assert "Resampled" in reference.note
    assert len(pair.registered) == 1


def test_scans_on_one_grid_can_be_registered_too(rig: Rig) -> None:
    rig.found = Found((offer_of(T2), offer_of(T1)))
    rig.opening.open_paths([STUDY])
    assert rig.state.reference_on_grid is T1
    rig.alignment.register()
    assert rig.state.reference_on_grid is not T1
    assert rig.state.registered == "rigid"
    rig.alignment.register()
    assert rig.state.reference_on_grid is T1


def test_a_registration_stays_while_another_reference_shows(pair: Rig) -> None:
    pair.found = Found((offer_of(T1),))
    pair.opening.open_paths([STUDY])
    pair.scans.choose_reference(1)
    pair.alignment.register()
    moved = pair.state.reference_on_grid
    pair.scans.choose_reference(2)
    assert pair.state.registered == ""
    pair.scans.choose_reference(1)
    assert pair.state.reference_on_grid is moved


@pytest.fixture
def registered(pair: Rig) -> Rig:
    """A reference registered to the source, and another scan on the source's grid."""
    pair.found = Found((offer_of(T1),))
    pair.opening.open_paths([STUDY])
    pair.scans.choose_reference(1)
    pair.alignment.register()
    return pair


def test_a_registration_serves_every_source_on_the_grid(registered: Rig) -> None:
    moved = registered.state.reference_on_grid
    registered.scans.choose_source(2)
    assert registered.state.source is T1
    assert registered.state.registered == "rigid"
    assert registered.state.reference_on_grid is moved
    registered.scans.choose_source(0)
    assert registered.state.reference_on_grid is moved
    assert len(registered.registered) == 1


def test_a_registration_is_taken_back_for_every_source_on_the_grid(registered: Rig) -> None:
    registered.scans.choose_source(2)
    registered.alignment.register()
    assert registered.state.registered == ""
    assert len(registered.registered) == 1
    reference = registered.state.reference_on_grid
    assert reference is not None
    assert "Resampled" in reference.note
    registered.scans.choose_source(0)
    assert registered.state.registered == ""


def test_a_reference_is_aligned_anew_when_what_it_was_aligned_to_is_gone(registered: Rig) -> None:
    registered.scans.choose_source(2)
    registered.scans.replaced(T2, replace(T2, data=T2.data * 2))
    assert registered.state.registered == ""
    reference = registered.state.reference_on_grid
    assert reference is not None
    assert reference.same_grid(T1)


def test_typed_times_do_not_undo_a_registration(pair: Rig) -> None:
    pair.alignment.register()
    moved = pair.state.reference_on_grid
    assert moved is not None
    pair.opening.ask_again(1)
    pair.shell.ask_about.call_args.kwargs["answer"](SequenceParameters(520, 15), None)
    after = pair.state.reference_on_grid
    assert after is not None
    assert pair.state.registered == "rigid"
    assert after.data is moved.data
    assert after.parameters == SequenceParameters(520, 15)


def test_what_cannot_be_registered_is_a_line(pair: Rig) -> None:
    def refuses(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> None:
        raise GridError("'sag' cannot be registered to 't2'", remedy="Choose another scan")

    before = pair.state.reference_on_grid
    pair.alignment._register = refuses
    pair.alignment.register()
    assert pair.state.banner == "'sag' cannot be registered to 't2'. Choose another scan."
    assert pair.state.reference_on_grid is before
    assert pair.state.registering is None


@pytest.mark.parametrize("how", ["cancel", "another reference", "close"])
def test_a_registration_stops_when_told_or_no_longer_looked_at(pair: Rig, how: str) -> None:
    def slow(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> None:
        assert pair.state.registering == (1, 0)
        assert not cancelled()
        if how == "cancel":
            pair.shell.activity.call_args.args[1]()
        elif how == "close":
            pair.scans.close_all()
        else:
            pair.scans.choose_reference(None)
        assert cancelled()
        raise Cancelled("given up")

    pair.alignment._register = slow
    pair.follow.tasks.hold = True
    pair.alignment.register()
    pair.follow.tasks.go()
    assert pair.state.registering is None
    assert pair.state.registered == ""
    assert pair.state.banner == ""
    pair.shell.activity.return_value.end.assert_called()


def test_there_is_nothing_to_register_without_a_reference(rig: Rig) -> None:
    rig.alignment.register()
    rig.found = Found((offer_of(T2),))
    rig.opening.open_paths([STUDY])
    rig.alignment.register()
    assert rig.registered == []
