"""What is refused before an experiment is created: descriptions that could never run, or that a person may not launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from genesis_workbench.core import plugins
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, PermissionRefused
from genesis_workbench.core.units import convert
from genesis_workbench.experiments.accounts import Accounts
from genesis_workbench.experiments.budget import UNITS
from genesis_workbench.experiments.constraints import Condition
from genesis_workbench.experiments.executors._base import Executor, Signature, signature
from genesis_workbench.experiments.proposers._base import check as check_proposer
from genesis_workbench.experiments.proposers._base import random_values
from genesis_workbench.experiments.reach import check_reach
from genesis_workbench.experiments.record import about
from genesis_workbench.experiments.spec import PERSON, ExperimentSpec
from genesis_workbench.experiments.steps import Step, before

APPROVE = "custom:experiments:approve"


class Executors(dict[str, Executor]):
    """Executors by name, each made with its place when it is first asked for."""

    def __init__(self, place: object) -> None:
        super().__init__()
        self._place = place

    def __missing__(self, name: str) -> Executor:
        made: Executor = plugins.load("executors", name)(self._place)
        self[name] = made
        return made


@dataclass(frozen=True)
class Checked:
    """What an experiment's executors say of it: whether all is simulated, and which steps touch the laboratory."""

    simulated: bool
    laboratory: tuple[str, ...]


def check(
    spec: ExperimentSpec,
    executors: Mapping[str, Executor],
    person: Person,
    *,
    max_trials: int,
    service: bool,
) -> Checked:
    """Refuse what could never run, or what this person may not launch here.

    Raises
    ------
    InvalidInput
        Naming what cannot be used.
    PermissionRefused
        Naming the group or the right that is missing.
    """
    for field in ("fall_back", *([] if spec.proposer == PERSON else ["proposer"])):
        with about(field):
            check_proposer(getattr(spec, field), spec)
    if spec.budget.trials > max_trials:
        raise InvalidInput(
            f"A budget of {spec.budget.trials} trials is more than the {max_trials} that this site allows.",
            where="budget.trials",
        )
    outside = set(spec.groups) - person.groups
    if outside:
        raise PermissionRefused(
            f"You are not in the group {sorted(outside)[0]!r}, so you cannot share the experiment with it.",
            where="groups",
        )
    signatures = {step.name: _signature(spec, step, executors) for step in spec.graph}
    _parameters(spec, signatures)
    for row, constraint in enumerate(spec.constraints):
        if isinstance(constraint, Condition):
            with about(f"constraints.{row}"):
                constraint.check_kinds(spec.space)
    with about("constraints"):
        random_values(spec, 0)  # InvalidInput where nothing fits the constraints
    check_reach(spec)
    _outcomes(spec, signatures)
    laboratory = tuple(name for name, takes in signatures.items() if takes.laboratory)
    if laboratory and service and spec.approval.policy == "never" and APPROVE not in person.scopes:
        raise PermissionRefused(
            f"The step {laboratory[0]!r} touches the laboratory. Only who may approve trials ({APPROVE}) can launch it "
            "without approvals; choose another policy.",
            where="approval.policy",
        )
    return Checked(all(takes.simulated for takes in signatures.values()), laboratory)


def _signature(spec: ExperimentSpec, step: Step, executors: Mapping[str, Executor]) -> Signature:
    """Return what the executor of a step takes and gives, once it has accepted the step's arguments."""
    place = "" if spec.executor else f"steps.{spec.steps.index(step)}."
    with about(f"{place}executor"):
        executor = executors[step.executor]
    with about(f"{place}arguments" if place else "executor_arguments"):
        executor.check(step.arguments)
        return signature(executor, step.arguments)


def check_account(spec: ExperimentSpec, accounts: Accounts, person: Person) -> None:
    """Refuse a shared budget that the person may not draw from, and trials of which it cannot know the cost."""
    if not spec.budget.account:
        return
    with about("budget.account"):
        account = accounts.seen_by(spec.budget.account, person)
    planned = {"trials", *(name for costs in (spec.cost, *(s.cost for s in spec.steps)) for name in costs)}
    missing = sorted(set(account.limits) - planned)
    if missing:
        raise InvalidInput(
            f"The shared budget {account.name!r} limits {missing[0]}, but nothing says how much one trial needs: say "
            f"how much {missing[0]} one costs.",
            where=f"cost.{missing[0]}",
        )
    if "money" in account.limits and account.currency != spec.budget.currency:
        raise InvalidInput(
            f"The shared budget {account.name!r} counts in {account.currency}, the experiment in "
            f"{spec.budget.currency}. Give the budget that currency.",
            where="budget.currency",
        )


def _parameters(spec: ExperimentSpec, signatures: Mapping[str, Signature]) -> None:
    space = {parameter.name: parameter for parameter in spec.space}
    rows = {parameter.name: f"space.{row}" for row, parameter in enumerate(spec.space)}
    used = {step.when.parameter for step in spec.steps if step.when is not None}
    if spec.fidelity is not None:
        used.add(spec.fidelity.parameter)
    taken: list[tuple[Step, str, str, str]] = []  # step, its parameter, where in the space from, unit
    for step in spec.graph:
        takes = signatures[step.name]
        used |= {source for source in step.takes.values() if source in space}
        if takes.parameters is None:
            used |= set() if step.takes else set(space)
            continue
        for name in set(step.takes) - set(takes.parameters):
            raise InvalidInput(_has_no(step, takes, name))
        for name, unit in takes.parameters.items():
            source = step.takes.get(name, name)
            if not _given_by_a_step(step, name, space, signatures):
                used.add(source)
                taken.append((step, name, source, unit))
    for name in space:
        if name not in used:
            what = _has_no(spec.graph[-1], signatures[spec.graph[-1].name], name)
            raise InvalidInput(what, where=f"{rows[name]}.name")
    for step, name, source, unit in taken:
        optional = name in signatures[step.name].optional
        parameter = space.get(source)
        if parameter is None and not optional:
            raise InvalidInput(
                f"The space leaves out {source!r}, which {step.executor!r} needs.", where="space"
            )
        if parameter is None:
            continue
        with about(f"{rows[source]}.unit"):
            _same_unit(source, getattr(parameter, "unit", ""), unit)
        if parameter.when is not None and not optional and parameter.when != step.when:
            raise InvalidInput(
                f"The parameter {source!r} is not always active, but {step.executor!r} needs it in every trial.",
                where=f"{rows[source]}.when",
            )


def _has_no(step: Step, takes: Signature, name: str) -> str:
    known = ", ".join(takes.parameters or ()) or "what the steps before it gave"
    return f"The executor {step.executor!r} has no parameter {name!r}; it has {known}."


def _given_by_a_step(
    step: Step, name: str, space: Mapping[str, object], signatures: Mapping[str, Signature]
) -> bool:
    source = step.takes.get(name)
    if source is not None and "." in source:
        other, _, outcome = source.partition(".")
        if outcome not in signatures[other].outcomes:
            raise InvalidInput(f"The step {step.name!r} takes {source!r}, which {other!r} does not observe.")
        return True
    if source is not None or name in space:
        return False
    return any(name in signatures[other].outcomes for other in before(step))


def _outcomes(spec: ExperimentSpec, signatures: Mapping[str, Signature]) -> None:
    outcomes: dict[str, set[str]] = {}
    for takes in signatures.values():
        for name, unit in takes.outcomes.items():
            outcomes.setdefault(name, set()).add(unit)
    for name, unit, where, field in outcomes_named(spec):
        if name not in outcomes:
            who = f"executor {spec.executor!r} does" if spec.executor else "steps do"
            raise InvalidInput(
                f"The {who} not observe {name!r}; {'it observes' if spec.executor else 'they observe'} "
                f"{', '.join(outcomes)}.",
                where=f"{where}.{field}",
            )
        for each in outcomes[name]:
            try:
                convert(1.0, each, unit)
            except InvalidInput as error:
                raise InvalidInput(
                    f"The outcome {name!r} is observed in {each or 'no unit'}, which cannot be given in {unit or 'no unit'}. "
                    f"Give it in {each or 'no unit'} where the {_place(where)} names it.",
                    where=f"{where}.unit",
                ) from error


def outcomes_named(spec: ExperimentSpec) -> Iterator[tuple[str, str, str, str]]:
    """Iterate over the outcomes that a description names: name, the unit it wants them in, where, and in which field."""
    yield spec.objective.name, spec.objective.unit, "objective", "name"
    for row, objective in enumerate(spec.further_objectives):
        yield objective.name, objective.unit, f"further_objectives.{row}", "name"
    for row, limit in enumerate(spec.outcome_constraints):
        yield limit.metric, limit.unit, f"outcome_constraints.{row}", "metric"
    yield spec.hypothesis.rule.metric, spec.hypothesis.rule.unit, "hypothesis.rule", "metric"
    for costs in (spec.cost, *(step.cost for step in spec.steps)):
        for amount, cost in costs.items():
            if cost.actual is not None:
                yield cost.actual, UNITS[amount], f"cost.{amount}", "actual"


def _place(where: str) -> str:
    """Return where an outcome is named, in words: "further objective 2" for ``further_objectives.1``."""
    name, _, row = where.replace("_", " ").partition(".")
    return f"{name.removesuffix('s')} {int(row) + 1}" if row.isdigit() else f"{name} {row}".strip()


def _same_unit(name: str, unit: str, needed: str) -> None:
    if unit != needed and (not needed or not unit or convert(1.0, unit, needed) != 1.0):
        raise InvalidInput(
            f"The parameter {name!r} is given in {unit or 'no unit'}; the executor takes {needed or 'a pure number'}. "
            f"{f'Give it in {needed}' if needed else 'Leave the unit out'}."
        )
