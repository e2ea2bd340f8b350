"""Check an experiment from its events alone: what was committed, in what order, and that the decision follows.

Anybody who has the events can do this; nothing is asked of the process that ran the experiment. What cannot be said is
called unknown, never passed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.identifiers import digest_file, digest_json
from genesis_workbench.core.ledger import Event, Ledger
from genesis_workbench.core.ledger.verification import Verification
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import accounts
from genesis_workbench.experiments.auditing import (
    Approvals,
    account_faults,
    budget_faults,
    overruns,
    trial_faults,
)
from genesis_workbench.experiments.finding import decide, early, verdict
from genesis_workbench.experiments.rules import source_digest
from genesis_workbench.experiments.state import PREFIX, ExperimentState, fold, stream
from genesis_workbench.experiments.trial import UNDONE, too_many_failures

_SAME = 1e-9  # relative: another machine's mathematics may differ in the last digits


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, whether it holds, and what was found."""

    name: str
    state: Literal["holds", "fails", "unknown"]
    says: str


@dataclass(frozen=True)
class Report:
    """All checks of one experiment."""

    experiment: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return all(check.state != "fails" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "experiment": self.experiment,
            "ok": self.ok,
            "checks": [dict(vars(each)) for each in self.checks],
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Report:
        """Return the report that :meth:`as_dict` wrote."""
        return cls(found["experiment"], tuple(Check(**check) for check in found["checks"]))

    def __repr__(self) -> str:
        return "\n".join(f"{each.state:8} {each.name:12} {each.says}" for each in self.checks)


def verify_in(ledger: Ledger, experiment: str, blobs: BlobStore | None = None, *, known: str = "") -> Report:
    """Check an experiment in a ledger, and the ledger's whole chain.

    Parameters
    ----------
    known : str
        Hash of an event that somebody wrote down earlier. A chain whose end was cut off is a whole chain; only what is known of
        it from elsewhere shows that.
    """
    events = list(ledger.all(stream=stream(experiment)))
    report = verify(events, chain=ledger.verify(), blobs=blobs)
    shared = guarded("account", lambda: _account(events, ledger))
    further = [check for check in (shared, known_check(known, ledger.has)) if check is not None]
    return Report(report.experiment, (*report.checks, *further))


def known_check(known: str, has: Callable[[str], bool]) -> Check | None:
    """Return whether an event that is known from elsewhere is there still; None where none is known."""
    if not known:
        return None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", known):
        raise InvalidInput(f"A whole hash is needed, 'sha256:' and 64 hexadecimal digits, not {known!r:.90}.")
    if has(known):
        return Check("known", "holds", f"The event {known} is there: what came before it is as it was then.")
    return Check(
        "known",
        "fails",
        f"There is no event {known}: the end was cut off, or all was written anew, since that hash was written down.",
    )


def verify(
    events: Sequence[Event], *, chain: Verification | None = None, blobs: BlobStore | None = None
) -> Report:
    """Check an experiment's events.

    Parameters
    ----------
    events : sequence of Event
        All events of one experiment, in order.
    chain : Verification, optional
        What a walk over the whole ledger found; without it, what lies between these events is unknown.
    blobs : BlobStore, optional
        Where attachments are.
    """
    name = events[0].stream.removeprefix(PREFIX) if events else ""
    checks = [_chain(chain, events), guarded("events", lambda: _events(events))]
    # What came after the finding, such as a command that crossed it on its way, had no part in it.
    end = next((place for place, event in enumerate(events) if event.kind == "finding.made"), len(events))
    try:
        state = fold(events[:end])
        checks += [
            guarded("hypothesis", lambda: _hypothesis(events)),
            guarded("analysis", lambda: _analysis(state)),
            guarded("trials", lambda: _trials(state, events)),
            guarded("approvals", lambda: _approvals(state, events[:end])),
            guarded("budget", lambda: _budget(state, events[:end])),
            guarded("attachments", lambda: _attachments(events, blobs)),
            guarded("stopping", lambda: _stopping(state, events)),
            guarded("deviations", lambda: _deviations(state)),
            guarded("decision", lambda: _decision(state, events)),
        ]
    except (GenesisError, ValueError, LookupError, TypeError, AttributeError) as error:
        checks.append(Check("events", "fails", f"They do not make an experiment: {_short(error)}."))
    return Report(name, tuple(checks))


T = TypeVar("T", Check, Check | None)


def guarded(name: str, check: Callable[[], T]) -> T | Check:
    """Run one check; events that somebody changed may break any assumption, and that is a finding, not a crash."""
    try:
        return check()
    except (GenesisError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        return Check(name, "fails", f"This cannot be read: {_short(error)}.")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].rstrip(".")


def _chain(chain: Verification | None, events: Sequence[Event]) -> Check:
    if chain is None:
        last = f" Its last event here is number {events[-1].seq}, {events[-1].hash}." if events else ""
        return Check(
            "chain", "unknown", "The rest of the ledger is not here, so its chain cannot be walked." + last
        )
    if not chain.ok:
        return Check(
            "chain", "fails", f"The ledger's chain breaks at event {chain.broken_at}: {chain.reason}."
        )
    return Check(
        "chain", "holds", f"All {chain.events} events of the ledger are chained, up to {chain.head}."
    )


def _events(events: Sequence[Event]) -> Check:
    last: Event | None = None
    for version, event in enumerate(events, start=1):
        where = f"Event {event.seq} ({event.kind})"
        if event.expected_hash() != event.hash:
            return Check("events", "fails", f"{where} was changed: its content does not give its hash.")
        if event.version != version or event.stream != events[0].stream:
            return Check(
                "events", "fails", f"{where} is version {event.version}; one is missing before it, or more."
            )
        if last is not None and (
            event.seq <= last.seq or (event.seq == last.seq + 1 and event.previous != last.hash)
        ):
            return Check("events", "fails", f"{where} does not follow the one before it.")
        last = event
    return Check(
        "events", "holds", f"{len(events)} events, each as its hash says, none missing between them."
    )


def _hypothesis(events: Sequence[Event]) -> Check:
    kinds = [event.kind for event in events]
    if kinds[:2] != ["hypothesis.committed", "experiment.created"] or kinds.count("hypothesis.committed") > 1:
        return Check("hypothesis", "fails", "It is not committed once, as the very first event.")
    committed, created = events[0].body, events[1].body
    digest = digest_json(committed["hypothesis"])
    if digest != committed["digest"]:
        return Check("hypothesis", "fails", f"Its hash is {digest}, but {committed['digest']} was committed.")
    if created["spec"]["hypothesis"] != committed["hypothesis"]:
        return Check("hypothesis", "fails", "The experiment was created with another one than was committed.")
    return Check("hypothesis", "holds", f"Committed as {digest} on {events[0].time}, before the first trial.")


def _analysis(state: ExperimentState) -> Check:
    committed, here = state.spec.hypothesis.analysis, source_digest(state.spec.hypothesis.rule)
    if not committed:
        return Check(
            "analysis", "unknown", "The rule's source was not committed; this experiment is older than that."
        )
    if committed != here:
        return Check("analysis", "unknown", f"The rule's source here is {here}; {committed} was committed.")
    return Check("analysis", "holds", f"The rule's source here is the committed one, {here}.")


def _trials(state: ExperimentState, events: Sequence[Event]) -> Check:
    for fault in trial_faults(state, events):
        return Check("trials", "fails", fault)
    failed = sum(trial.state == "failed" for trial in state.trials)
    refused = sum(trial.state == "refused" for trial in state.trials)
    others = f", {refused} refused" if refused else ""
    return Check(
        "trials",
        "holds",
        f"{len(state.trials)} of at most {state.spec.budget.trials}, each proposed within the space under its own key before it "
        f"started, each with at most one outcome; {len(state.observed)} observed, {failed} failed{others}.",
    )


def _approvals(state: ExperimentState, events: Sequence[Event]) -> Check:
    found = Approvals(state)
    for fault in found.faults(events):
        return Check("approvals", "fails", fault)
    if not found.by:
        return Check("approvals", "holds", "No trial that was started needed one.")
    who = ", ".join(f"{number} by {name}" for name, number in sorted(found.by.items()))
    own = f" {found.own} of them by the owner, who was alone." if found.own else ""
    return Check(
        "approvals",
        "holds",
        f"Each execution that needed one had it, for its exact arguments, once and in time: {who}.{own}",
    )


def _budget(state: ExperimentState, events: Sequence[Event]) -> Check:
    for fault in budget_faults(state, events):
        return Check("budget", "fails", fault)
    over = overruns(state)
    if over:
        return Check(
            "budget", "unknown", f"Trials cost more than was planned for them: {', '.join(over)} were used."
        )
    return Check("budget", "holds", "What was reserved and spent never passed a limit.")


def _account(events: Sequence[Event], ledger: Ledger) -> Check | None:
    state = fold(events)
    name = state.spec.budget.account
    if not name:
        return None
    for fault in account_faults(state, list(ledger.all(stream=accounts.stream(name)))):
        return Check("account", "fails", f"The shared budget {name!r}: {fault}")
    return Check(
        "account", "holds", f"The shared budget {name!r} was never overdrawn, and every trial drew from it."
    )


def _attachments(events: Sequence[Event], blobs: BlobStore | None) -> Check:
    named = [
        (event.body["trial"], name, digest)
        for event in events
        if event.kind == "trial.observed"
        for name, digest in event.body.get("attachments", {}).items()
    ]
    if not named:
        return Check("attachments", "holds", "No trial has any.")
    if blobs is None:
        return Check(
            "attachments", "unknown", f"{len(named)} are named, but there is no store of files here."
        )
    for trial, name, digest in named:
        if not blobs.has(digest):
            return Check("attachments", "fails", f"{name!r} of trial {trial} is missing: no file {digest}.")
        if digest_file(Path(blobs.path(digest))) != digest:
            return Check(
                "attachments", "fails", f"{name!r} of trial {trial} was changed: it is not {digest}."
            )
    return Check("attachments", "holds", f"All {len(named)} files are there and are what their hashes say.")


def _stopping(state: ExperimentState, events: Sequence[Event]) -> Check:
    if not any(event.kind == "finding.made" for event in events):
        return Check("stopping", "unknown", "It goes on.")
    count, planned = len(state.trials), state.spec.budget.trials
    if state.stopping:
        caution = early(state)
        says = (
            f"A person stopped it after {count} of {planned} trials: {state.reason or 'no reason was given'}."
        )
        return Check("stopping", "unknown" if caution else "holds", caution or says)
    if count >= planned or state.spent:
        return Check("stopping", "holds", f"It ran until its budget was spent, {count} trials.")
    if state.spec.hypothesis.stopping == "decided" and verdict(state).final:
        return Check(
            "stopping", "holds", f"It ended as committed, once the rule had decided, after {count} trials."
        )
    if too_many_failures([trial for trial in state.trials if trial.reason != UNDONE]):
        return Check("stopping", "holds", f"Too many trials in a row failed, after {count} trials.")
    return Check("stopping", "fails", f"It ended after {count} of {planned} trials, and no event says why.")


def _deviations(state: ExperimentState) -> Check:
    for change in state.deviations:
        if digest_json(change["hypothesis"]) != change["digest"]:
            return Check("deviations", "fails", f"The change of {change['time']} is not what its hash says.")
    if not state.deviations:
        return Check("deviations", "holds", "The hypothesis was never changed.")
    when = ", ".join(f"after {change['observed']} observations" for change in state.deviations)
    return Check(
        "deviations",
        "holds",
        f"It was changed {len(state.deviations)} times ({when}); the committed one decides.",
    )


def _decision(state: ExperimentState, events: Sequence[Event]) -> Check:
    recorded = [event.body for event in events if event.kind == "finding.made"]
    computed = decide(state)
    if not recorded:
        return Check(
            "decision", "unknown", f"There is no finding yet; now it would be: {computed['decision']}."
        )
    if len(recorded) > 1:
        return Check("decision", "fails", f"There are {len(recorded)} findings; an experiment has one.")
    given = {name: value for name, value in recorded[0].items() if name != "analysis"}
    here = source_digest(state.spec.hypothesis.rule)
    if state.spec.hypothesis.analysis != here or recorded[0].get("analysis", {}).get("used") != here:
        given.pop("says", None)  # another version of the rule may have put the same numbers into other words
    if "simulated" not in recorded[0].get("evidence", {}):
        given.pop("simulated", None)  # an older finding tells what it was launched on, not what it ran on
    odd = _difference(given, computed)
    if odd:
        return Check(
            "decision", "fails", f"The finding says {given.get('decision')!r}; computed again, {odd}."
        )
    return Check(
        "decision", "holds", f"Computed again from the events: {computed['decision']}. {computed['says']}"
    )


def _difference(recorded: Any, computed: Any, at: str = "") -> str:
    """Return where a recorded value differs from the computed one; what an older finding did not record is no matter."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        found = (_difference(value, computed.get(name), f"{at}.{name}") for name, value in recorded.items())
        return next((each for each in found if each), "")
    if isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        pairs = enumerate(zip(recorded, computed, strict=True))
        found = (_difference(one, other, f"{at}[{place}]") for place, (one, other) in pairs)
        return next((each for each in found if each), "")
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (recorded, computed)]
    if all(numbers) and math.isclose(recorded, computed, rel_tol=_SAME, abs_tol=1e-12):
        return ""
    if recorded == computed:
        return ""
    return f"{at.lstrip('.')} is {computed!r:.200}, not {recorded!r:.200}"
