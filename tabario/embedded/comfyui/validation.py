"""Checks a prompt as the server does before it queues it: which outputs can run, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tabario.embedded.comfyui.bodies import Garbled
from tabario.embedded.comfyui.directories import Directories
from tabario.embedded.comfyui.nodes import NODE_CLASSES, Input, NodeClass
from tabario.embedded.comfyui.queue import Graph
from tabario.embedded.comfyui.versions import Version

Problem = dict[str, Any]

# A longer list of choices is not repeated in an error.
_SHOWN_CHOICES: Final = 20

_CONVERT: Final[dict[str, type]] = {"INT": int, "FLOAT": float, "STRING": str}


@dataclass(frozen=True)
class Refused(Exception):
    """No output of the prompt can run: the body of the 400."""

    error: Problem
    node_errors: dict[str, Any]

    @classmethod
    def because(cls, kind: str, message: str, details: str = "", extra: Problem | None = None) -> Refused:
        """A refusal that no single node explains."""
        return cls({"type": kind, "message": message, "details": details, "extra_info": extra or {}}, {})


@dataclass(frozen=True)
class Verdict:
    """The outputs that can run, and what is wrong with the other nodes."""

    output_nodes: list[str]
    node_errors: dict[str, Any]


class _BrokenLink(Exception):
    """A link to a node or a slot that is not there."""


class PromptCheck:
    """Checks one prompt. Values of simple inputs are converted in place, as the server does."""

    def __init__(self, graph: Graph, *, version: Version, directories: Directories) -> None:
        self._graph = graph
        self._version = version
        self._directories = directories
        self._problems: dict[str, list[Problem]] = {}
        self._is_valid: dict[str, bool] = {}

    def run(self, targets: list[str] | None = None) -> Verdict:
        """Checks the outputs, or those among `targets`.

        Raises Refused when no output can run, Garbled when the prompt is no prompt.
        """
        self._check_shape()
        outputs = [
            node_id
            for node_id, node in self._graph.items()
            if self._class_of(node_id, node).is_output and (targets is None or node_id in targets)
        ]
        if not outputs:
            raise Refused.because("prompt_no_outputs", "Prompt has no outputs")
        node_errors: dict[str, Any] = {}
        good = [output for output in outputs if self._check_output(output, node_errors)]
        if not good:
            own = [problem for output in outputs for problem in self._problems[output]]
            details = "\n".join(f"{problem['message']}: {problem['details']}" for problem in own)
            refusal = Refused.because("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
            raise Refused(refusal.error, node_errors)
        return Verdict(good, node_errors)

    def _check_shape(self) -> None:
        if not isinstance(self._graph, dict):
            if self._graph == [] and not self._version.is_strict:
                raise Refused.because("prompt_no_outputs", "Prompt has no outputs")
            raise Garbled
        for node in self._graph.values():
            has_shape = isinstance(node, dict) and not isinstance(node.get("inputs"), list)
            if self._version.is_strict and not has_shape:
                raise Garbled

    def _class_of(self, node_id: str, node: dict[str, Any]) -> NodeClass:
        name = node.get("class_type") if isinstance(node, dict) else None
        if name in NODE_CLASSES:
            return NODE_CLASSES[name]
        place = f"Node ID '#{node_id}'"
        if not self._version.is_strict:
            missing = "a node is missing the class_type property" if name is None else f"node {name} does not exist"
            raise Refused.because("invalid_prompt", f"Cannot execute because {missing}.", place)
        title = node.get("_meta", {}).get("title") or name or node_id
        if name is None:
            message = f"Node '{title}' has no class_type. The workflow may be corrupted or a custom node is missing."
        else:
            message = f"Node '{title}' not found. The custom node may not be installed."
        extra = {"node_id": node_id, "class_type": name, "node_title": title}
        raise Refused.because("missing_node_type", message, place, extra)

    def _check_output(self, output: str, node_errors: dict[str, Any]) -> bool:
        try:
            is_valid = self._check_node(output, ())
        except _BrokenLink as error:
            is_valid = self._note(
                output, _exception("exception_during_validation", "Exception when validating node", error)
            )
        if not is_valid:
            for node_id, problems in self._problems.items():
                if problems:
                    blame = {
                        "errors": problems,
                        "dependent_outputs": [],
                        "class_type": self._graph[node_id]["class_type"],
                    }
                    node_errors.setdefault(node_id, blame)["dependent_outputs"].append(output)
        return is_valid

    def _check_node(self, node_id: str, path: tuple[str, ...]) -> bool:
        """Checks a node and everything upstream of it. `path` leads from the output to this node."""
        if node_id in path:
            return self._note_cycle(path[path.index(node_id) :])
        if node_id in self._is_valid:
            return self._is_valid[node_id]
        node = self._graph[node_id]
        if not isinstance(node.get("inputs"), dict):
            raise _BrokenLink("'inputs'")
        self._problems.setdefault(node_id, [])
        checks = [
            self._check_input(node_id, name, given, (*path, node_id))
            for name, given in NODE_CLASSES[node["class_type"]].inputs.items()
        ]
        self._is_valid[node_id] = all(checks) and not self._problems[node_id]
        return self._is_valid[node_id]

    def _check_input(self, node_id: str, name: str, given: Input, path: tuple[str, ...]) -> bool:
        inputs = self._graph[node_id]["inputs"]
        if name not in inputs:
            return self._note(
                node_id, _problem("required_input_missing", "Required input is missing", name, {"input_name": name})
            )
        if isinstance(inputs[name], list):
            return self._check_link(node_id, name, given, path)
        problem = self._check_value(inputs, name, given)
        return problem is None or self._note(node_id, problem)

    def _check_link(self, node_id: str, name: str, given: Input, path: tuple[str, ...]) -> bool:
        link = self._graph[node_id]["inputs"][name]
        about = {"input_name": name, "input_config": given.describe()}
        if len(link) != 2:  # noqa: PLR2004 - a link is [node id, slot]
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return self._note(node_id, _problem("bad_linked_input", message, name, {**about, "received_value": link}))
        source, slot = link
        if source not in self._graph:
            raise _BrokenLink(repr(source))
        types = NODE_CLASSES[self._graph[source]["class_type"]].output_types
        if not 0 <= slot < len(types):
            raise _BrokenLink("tuple index out of range")
        if types[slot] != given.type_name:
            details = f"{name}, received_type({types[slot]}) mismatch input_type({given.type_name})"
            extra = {**about, "received_type": types[slot], "linked_node": link}
            return self._note(
                node_id,
                _problem("return_type_mismatch", "Return type mismatch between linked nodes", details, extra),
            )
        try:
            return self._check_node(source, path)
        except _BrokenLink as error:
            return self._note(
                source, _exception("exception_during_inner_validation", "Exception when validating inner node", error)
            )

    def _check_value(self, inputs: dict[str, Any], name: str, given: Input) -> Problem | None:
        about = {"input_name": name, "input_config": given.describe()}
        if given.options.get("image_upload"):
            if self._directories.find_input(str(inputs[name])) is not None:
                return None
            details = f"{name} - Invalid image file: {inputs[name]}"
            return _problem(
                "custom_validation_failed", "Custom validation failed for node", details, {"input_name": name}
            )
        convert = _CONVERT.get(given.type_name)
        value = inputs[name]
        if convert is not None:
            try:
                value = inputs[name] = convert(value)
            except (TypeError, ValueError) as error:
                message = f"Failed to convert an input value to a {given.type_name} value"
                extra = {**about, "received_value": value, "exception_message": str(error)}
                return _problem("invalid_input_type", message, f"{name}, {value}, {error}", extra)
        return _out_of_range(name, given, {**about, "received_value": value})

    def _note(self, node_id: str, problem: Problem) -> bool:
        """Remembers the problem. Always False, the node's verdict."""
        self._problems.setdefault(node_id, []).append(problem)
        self._is_valid[node_id] = False
        return False

    def _note_cycle(self, cycle: tuple[str, ...]) -> bool:
        chain = " -> ".join(f"{node} ({self._graph[node]['class_type']})" for node in (*cycle, cycle[0]))
        for node_id in cycle:
            extra = {"node_id": node_id, "cycle_nodes": list(cycle)}
            self._note(node_id, _problem("dependency_cycle", "Dependency cycle detected", chain, extra))
        return False


def _out_of_range(name: str, given: Input, extra: Problem) -> Problem | None:
    value = extra["received_value"]
    if not isinstance(given.kind, str):
        if value in given.kind:
            return None
        is_long = len(given.kind) > _SHOWN_CHOICES
        choices = f"(list of length {len(given.kind)})" if is_long else list(given.kind)
        shown = {**extra, "input_config": None} if is_long else extra
        return _problem("value_not_in_list", "Value not in list", f"{name}: {value!r} not in {choices}", shown)
    smallest, biggest = given.options.get("min"), given.options.get("max")
    if smallest is not None and value < smallest:
        return _problem("value_smaller_than_min", f"Value {value} smaller than min of {smallest}", name, extra)
    if biggest is not None and value > biggest:
        return _problem("value_bigger_than_max", f"Value {value} bigger than max of {biggest}", name, extra)
    return None


def _problem(kind: str, message: str, details: str, extra: Problem) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _exception(kind: str, message: str, error: _BrokenLink) -> Problem:
    return _problem(
        kind,
        message,
        str(error),
        {"exception_type": "KeyError", "traceback": ['  File "execution.py", in validate_inputs\n']},
    )
