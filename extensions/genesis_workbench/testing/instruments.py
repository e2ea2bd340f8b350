"""What every instrument must do, simulated or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.expression import Expression
from genesis_workbench.core.units import check_unit
from genesis_workbench.experiments.instruments._base import (
    Done,
    Failed,
    Instrument,
    NeverStarted,
    Outcome,
    Quantity,
    Running,
    Unknown,
)

_DEADLINE_S, _SWITCHED_ON_S = 60.0, 120.0


class InstrumentContract:
    """Subclass it for a device that is idle and may be used, and say what it may do.

    Attributes
    ----------
    action, arguments : str, mapping
        Something that works, with arguments in the action's units; each test has a device of its own.
    lasting : tuple of str and mapping
        Something that takes at least a second and can be stopped.
    """

    action: str
    arguments: Mapping[str, Any]
    lasting: tuple[str, Mapping[str, Any]]

    @pytest.fixture
    def instrument(self) -> Instrument:
        """Return the adapter of an idle device."""
        raise NotImplementedError

    def again(self, instrument: Instrument) -> Instrument:
        """Return a second adapter of the same device, as a gateway has after it was killed."""
        raise NotImplementedError

    def switch_off(self) -> None:
        """Make the device unreachable."""
        raise NotImplementedError

    def claiming(self, simulated: object) -> Instrument | None:
        """Return an adapter of the same device by a site that says so of `simulated`; None where a site has no say."""
        return None

    def exchange(self) -> bool:
        """Put a device in the place of this one that says the opposite of `simulated`; False where a site has no say."""
        return False

    def test_a_site_that_is_wrong_about_its_device_starts_nothing_on_it(self, instrument: Instrument) -> None:
        """Neither passes a simulation for an instrument, nor an instrument for a simulation; a stop gets through."""
        wrong = self.claiming(not instrument.simulated)
        if wrong is None:
            pytest.skip("this device is simulated or real whatever a site says")
        try:
            with pytest.raises(Conflict):
                wrong.state()
            with pytest.raises(Conflict):
                wrong.start("wrongly-described", self.action, self.arguments)
            assert isinstance(wrong.outcome("wrongly-described"), NeverStarted | Unknown)
            wrong.stop()
            wrong.release()
        finally:
            wrong.close()

    def test_a_device_that_took_the_place_of_another_is_not_used(self, instrument: Instrument) -> None:
        """A real one in the place of its twin, or the other way round, while the adapter lives: nobody approved that."""
        assert instrument.state().status == "idle"
        if not self.exchange():
            pytest.skip("this device is simulated or real whatever a site says")
        with pytest.raises(Conflict):
            _once_it_answers(instrument.state)
        with pytest.raises(Conflict):
            _once_it_answers(lambda: instrument.start("exchanged", self.action, self.arguments))
        assert isinstance(instrument.outcome("exchanged"), NeverStarted | Unknown)

    def test_a_site_says_true_or_false_and_no_text(self, instrument: Instrument) -> None:
        """The text "false" would count as true."""
        right = self.claiming(instrument.simulated)
        if right is None:
            pytest.skip("this device is simulated or real whatever a site says")
        right.close()
        for text in ("false", "true", 0, 1, ""):
            with pytest.raises(InvalidInput):
                self.claiming(text)

    def test_its_actions_are_described(self, instrument: Instrument) -> None:
        """Units are units, limits are in order, interlocks can be read, and it says whether it is simulated."""
        assert instrument.name
        assert isinstance(instrument.simulated, bool)
        assert instrument.actions
        for action in instrument.actions.values():
            assert action.description
            for kind in action.parameters.values():
                if isinstance(kind, Quantity):
                    check_unit(kind.unit)
                    assert kind.low <= kind.high
            for unit in action.outcomes.values():
                check_unit(unit)
            if action.interlock:
                Expression(action.interlock)

    def test_an_idle_device_says_so(self, instrument: Instrument) -> None:
        """Its state has readings that are numbers or words."""
        state = instrument.state()
        assert state.status == "idle"
        assert all(isinstance(value, int | float | str) for value in state.readings.values())

    def test_what_runs_ends_with_what_it_promises(self, instrument: Instrument) -> None:
        """Exactly the outcomes of the action, and the same answer each time afterwards."""
        instrument.start("a-run", self.action, self.arguments)
        first = _ended(instrument, "a-run")
        assert isinstance(first, Done), first
        assert set(first.values) == set(instrument.actions[self.action].outcomes)
        assert instrument.outcome("a-run") == first
        assert instrument.state().status == "idle"

    def test_what_it_never_heard_of_did_not_run(self, instrument: Instrument) -> None:
        """It is sure of that, or says that it cannot know."""
        assert isinstance(instrument.outcome("never-heard-of"), NeverStarted | Unknown)

    def test_a_key_runs_once_where_it_promises_so(self, instrument: Instrument) -> None:
        """`NeverStarted` is a promise about requests that arrive late, and twice."""
        if not isinstance(instrument.outcome("twice"), NeverStarted):
            pytest.skip("this device recognises no keys, and does not promise it")
        instrument.start("twice", self.action, self.arguments)
        instrument.start("twice", self.action, self.arguments)
        first = _ended(instrument, "twice")
        instrument.start("twice", self.action, self.arguments)
        assert instrument.outcome("twice") == first

    def test_a_gateway_that_was_killed_can_ask_again(self, instrument: Instrument) -> None:
        """Another adapter hears the same outcome, or that nobody knows; never that it did not run."""
        instrument.start("before-the-crash", self.action, self.arguments)
        outcome = _ended(instrument, "before-the-crash")
        after = self.again(instrument)
        try:
            seen = after.outcome("before-the-crash")
        finally:
            after.close()
        assert seen == outcome or isinstance(seen, Unknown)

    def test_a_busy_device_refuses(self, instrument: Instrument) -> None:
        """One thing at a time."""
        action, arguments = self.lasting
        instrument.start("first", action, arguments)
        with pytest.raises((Conflict, InvalidInput)):
            instrument.start("second", action, arguments)
        instrument.stop()

    def test_a_stop_ends_what_runs_and_holds(self, instrument: Instrument) -> None:
        """What was stopped is not done; nothing starts until it is released."""
        action, arguments = self.lasting
        instrument.start("stopped", action, arguments)
        assert instrument.state().status == "busy"
        instrument.stop()
        instrument.stop()
        assert isinstance(_ended(instrument, "stopped"), Failed | Unknown)
        assert instrument.state().status == "stopped"
        with pytest.raises((Conflict, InvalidInput)):
            instrument.start("while-stopped", self.action, self.arguments)
        instrument.release()
        assert instrument.state().status == "idle"

    def test_silence_is_told_as_silence(self, instrument: Instrument) -> None:
        """Neither an outcome nor a state is made up for a device that is off."""
        self.switch_off()
        for ask in (instrument.state, instrument.stop):
            with pytest.raises((Unavailable, DeadlineExceeded)):
                ask()
        try:
            outcome = instrument.outcome("x")
        except (Unavailable, DeadlineExceeded):
            return
        assert isinstance(outcome, NeverStarted | Unknown)


def _once_it_answers(ask: Callable[[], object]) -> None:
    """Call, again while the device is still being switched on."""
    deadline = time.monotonic() + _SWITCHED_ON_S
    while True:
        try:
            ask()
            return
        except (Unavailable, DeadlineExceeded):
            assert time.monotonic() < deadline, "the device that took its place does not answer"
            time.sleep(0.1)


def _ended(instrument: Instrument, key: str) -> Outcome:
    deadline = time.monotonic() + _DEADLINE_S
    while isinstance(outcome := instrument.outcome(key), Running):
        assert time.monotonic() < deadline, f"{key} is still running"
        time.sleep(0.02)
    return outcome
