"""Experiments made from earlier ones: forks, replays, warm starts; and comparisons of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from genesis_workbench.core.errors import InvalidInput, NotFound
from genesis_workbench.core.units import convert
from genesis_workbench.experiments import outcomes
from genesis_workbench.experiments import space as spaces
from genesis_workbench.experiments.executors._identity import find
from genesis_workbench.experiments.finding import decide
from genesis_workbench.experiments.spec import PERSON, ExperimentSpec
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.trial import MAIN
from genesis_workbench.experiments.writing import Entry

Look = Callable[[str], ExperimentState]
"""Returns the state of an experiment that one may see; NotFound otherwise."""

_ALSO = {"datasets": "dataset_references", "models": "model_references"}
"""What :class:`Experiment` calls fields of a description otherwise."""


def brought_along(spec: ExperimentSpec, look: Look) -> Iterator[Entry]:
    """Iterate over what an experiment takes with it from earlier ones: trials to learn from, and points to try again.

    It is written into the new experiment's own stream: what it does stays a function of its own events, and what
    it learned from can be read there whatever becomes of the earlier one.
    """
    for name in spec.warm_start:
        yield _imported(spec, look(name))
    if spec.origin is not None:
        earlier = look(spec.origin.experiment)
        if spec.origin.how == "replay":
            points: dict[int, dict[str, Any]] = {}
            for trial in earlier.trials:
                if trial.arm == MAIN:  # the arms' points come from the description itself
                    points.setdefault(trial.point, trial.parameters)
            if points:
                yield Entry("points.added", {"points": list(points.values()), "from": earlier.id})


def _imported(spec: ExperimentSpec, earlier: ExperimentState) -> Entry:
    """Return the entry with an earlier experiment's observed trials, as far as they lie in the new one's space."""
    names = {parameter.name: parameter for parameter in spec.space}
    units = {parameter.name: getattr(parameter, "unit", "") for parameter in earlier.spec.space}
    for name, parameter in names.items():
        if name in units and getattr(parameter, "unit", "") != units[name]:
            raise InvalidInput(
                f"{earlier.id} gives {name} in {units[name] or 'no unit'}, this experiment in "
                f"{getattr(parameter, 'unit', '') or 'no unit'}. Use the same unit to learn from it."
            )
    wanted = {each.name for each in spec.objectives}
    _same_dimensions(spec, earlier)
    trials = [
        {"parameters": trial.parameters, "values": trial.values}
        for trial in earlier.observed
        if wanted <= set(trial.values) and _inside(spec, trial.parameters)
    ]
    if not trials:
        raise InvalidInput(
            f"Nothing can be learned from {earlier.id}: none of its {len(earlier.observed)} observed trials has the "
            f"parameters {', '.join(names)} where they are active here, within their bounds, and the outcomes "
            f"{', '.join(sorted(wanted))}."
        )
    return Entry(
        "trials.imported",
        {
            "experiment": earlier.id,
            "title": earlier.spec.title,
            "version": earlier.version,
            "head": earlier.head,
            "simulated": earlier.simulated,
            "left_out": len(earlier.observed) - len(trials),
            "trials": trials,
        },
    )


def _same_dimensions(spec: ExperimentSpec, earlier: ExperimentState) -> None:
    """Refuse outcomes of one name that are other quantities; those in other units of the same are converted when read."""
    named = [(each.name, each.unit) for each in spec.objectives]
    named += [(each.metric, each.unit) for each in spec.outcome_constraints]
    seen = {(name, value["unit"]) for trial in earlier.observed for name, value in trial.values.items()}
    for name, unit in named:
        for of, other in sorted(seen):
            if of != name or other == unit:
                continue
            try:
                convert(1.0, other, unit)
            except InvalidInput as error:
                raise InvalidInput(
                    f"{earlier.id} observed {name} in {other or 'no unit'}, this experiment wants it in {unit or 'no unit'}: "
                    "that is another quantity, and nothing can be learned from it. Leave it out of warm_start, or give the "
                    "outcomes names of their own.",
                    where="warm_start",
                ) from error


def _inside(spec: ExperimentSpec, parameters: Mapping[str, Any]) -> bool:
    """Whether parameters are a point of the space: all that are active there and no other, each within its bounds."""
    try:
        spaces.encode(spec.space, parameters)
    except InvalidInput:
        return False
    return True


def forked(earlier: ExperimentState, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an earlier experiment with changes, as somebody would write it, and where it comes from."""
    changes = {_ALSO.get(name, name): value for name, value in changes.items()}
    odd = sorted(set(changes) - set(ExperimentSpec.model_fields))
    if odd:
        raise InvalidInput(
            f"An experiment has no {odd[0]!r}; what can be changed is {', '.join(ExperimentSpec.model_fields)}."
        )
    found = earlier.spec.model_dump(mode="json")
    found["hypothesis"]["analysis"] = ""
    found["origin"] = {"experiment": earlier.id, "how": "fork", "head": earlier.head}
    found |= changes
    if "executor_arguments" not in changes:
        found |= _executor(earlier, changes.get("executor"))
    return found


def _executor(earlier: ExperimentState, executor: Any) -> dict[str, Any]:
    """Return executor and arguments of a fork that does not say the arguments, where a function is or was called."""
    arguments = earlier.spec.executor_arguments
    was = earlier.spec.executor == "function"
    if callable(executor):
        # What the executor before it was told means nothing to a function; that what it gives was measured stays.
        return {
            "executor_arguments": {"simulated": False} if was and not arguments.get("simulated", True) else {}
        }
    if executor is None and was:
        # The function itself, where it is here: what the changes ask of it besides is then found out.
        with suppress(NotFound):
            return {"executor": find(arguments["function"])}
    return {}


def replayed(earlier: ExperimentState) -> dict[str, Any]:
    """Return the description of an experiment that tries the same points again, as JSON values."""
    if not earlier.trials:
        raise InvalidInput(f"{earlier.id} has no trials that could be run again.")
    found = forked(earlier, {"proposer": PERSON, "warm_start": []})
    found["title"] = f"{earlier.spec.title} (again)"[:200]
    found["origin"]["how"] = "replay"
    found["budget"]["trials"] = len(earlier.trials)
    return found


def decided_again(state: ExperimentState) -> dict[str, Any]:
    """Compute the decision again from the recorded data, with the rule as it is here; nothing is written."""
    return decide(state)


def compared(states: list[ExperimentState]) -> list[dict[str, Any]]:
    """Return experiments side by side: what differs in their descriptions, their trials, costs, best points and decisions.

    Best values are given in the unit of the first experiment's first objective.
    """
    if not states:
        raise InvalidInput("Name at least one experiment to compare.")
    objective = states[0].spec.objective
    described = [state.spec.model_dump(mode="json") for state in states]
    apart = [name for name in described[0] if any(each[name] != described[0][name] for each in described)]
    rows = []
    for state, spec in zip(states, described, strict=True):
        best = state.best
        means = {each.name: each for each in state.spec.objectives}
        value = None
        if best is not None and objective.name in means:
            seen = best.mean(objective.name, objective.unit)
            value = seen if seen is None else float(seen)
        rows.append(
            {
                "experiment": state.id,
                "title": state.spec.title,
                "state": state.state,
                "simulated": state.simulated,
                "trials": len(state.trials),
                "observed": len(state.observed),
                "spent": dict(state.spending.spent),
                "best": {"value": value, "unit": objective.unit, "name": objective.name},
                "parameters": best.parameters if best else None,
                "decision": state.finding["decision"] if state.finding else None,
                "trials_to_best": _trials_to_best(state),
                "differs": {name: spec[name] for name in apart if name != "hypothesis"},
                "hypothesis": state.hypothesis_digest,
            }
        )
    return rows


def _trials_to_best(state: ExperimentState) -> int | None:
    """Return after how many proposals the best point so far was found."""
    best = outcomes.best(state.spec, state.decisive)
    return None if best is None else best.trials[0].number
