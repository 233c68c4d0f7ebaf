"""ComfyUI workflow templates: graphs in API format, and where a picture's parameters go in them.

Under `workflows/`, `NAME.json` is what ComfyUI's editor exports and `NAME.yaml` names the places to set, by the titles
or the ids of the nodes. Values are set in the parsed graph, never replaced in its text, so no prompt can change its
shape.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from tabario.clients.comfyui.graph import Graph, Nodes
from tabario.errors import ConfigurationError
from tabario.formats import FrameSize

_DIRECTORY: Final = files(__package__) / "workflows"


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Declared):
    """An input of a node, which is named by its title (`node`) or, where titles are not unique, by its `id`."""

    node: str | None = None
    id: str | None = None
    input: str

    @model_validator(mode="after")
    def _names_one_node(self) -> Self:
        if (self.node is None) == (self.id is None):
            raise ValueError("name the node by its title (node) or by its id, not both")
        return self


class Parameters(_Declared):
    """The places of each parameter; one value may go to several."""

    prompt: tuple[Place, ...]
    negative_prompt: tuple[Place, ...]
    width: tuple[Place, ...]
    height: tuple[Place, ...]
    seed: tuple[Place, ...]
    filename_prefix: tuple[Place, ...]


class Declaration(_Declared):
    """What `NAME.yaml` says.

    `model` is where the graph names the model that it loads, `output` the title or id of the node that saves the
    picture.
    """

    inputs: Parameters
    model: Place
    output: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """A template whose every declared place exists."""

    name: str
    nodes: Nodes
    inputs: Mapping[str, tuple[tuple[str, str], ...]]
    """Parameter -> pairs of node id and input name."""
    model: str
    output_node: str

    @classmethod
    def assemble(cls, name: str, nodes: Nodes, declaration: Declaration) -> Workflow:
        """Raises ConfigurationError when a declared node or input is missing or a title is not unique.

        Also for a node without a class or without an `inputs` object: such a one kills ComfyUI's executor.
        """
        for node_id, node in nodes.items():
            if not isinstance(node.get("class_type"), str) or not isinstance(node.get("inputs"), dict):
                raise ConfigurationError(
                    f"Workflow {name}: its node {node_id} has no class_type or no inputs; export it in API format."
                )
        inputs = {
            parameter: tuple(_find_input(name, nodes, place) for place in places)
            for parameter, places in declaration.inputs
        }
        loader, loaded = _find_input(name, nodes, declaration.model)
        model = nodes[loader]["inputs"][loaded]
        output = declaration.output if declaration.output in nodes else _node_titled(name, nodes, declaration.output)
        return cls(name, nodes, inputs, str(model), output)


def title_of(node: Mapping[str, Any]) -> str:
    """The title of a node as its author sees it: ComfyUI shows the class where none was given."""
    title: str = node.get("_meta", {}).get("title") or node["class_type"]
    return title


def _find_input(workflow: str, nodes: Nodes, place: Place) -> tuple[str, str]:
    """The node's id and the input's name."""
    node_id = place.id if place.node is None else _node_titled(workflow, nodes, place.node)
    if node_id is None or node_id not in nodes:
        raise ConfigurationError(f"Workflow {workflow}: it has no node {node_id}.")
    if place.input not in nodes[node_id]["inputs"]:
        shown = title_of(nodes[node_id])
        raise ConfigurationError(f'Workflow {workflow}: its node "{shown}" has no input "{place.input}".')
    return node_id, place.input


def _node_titled(workflow: str, nodes: Nodes, title: str) -> str:
    found = [node_id for node_id, node in nodes.items() if title_of(node) == title]
    if len(found) != 1:
        raise ConfigurationError(f'Workflow {workflow}: {len(found)} nodes are titled "{title}"; there must be one.')
    return found[0]


@cache
def load_workflow(name: str) -> Workflow:
    """The template of that name. Raises ConfigurationError when it is missing or contradicts its declaration."""
    try:
        nodes: Nodes = json.loads((_DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
        declared = yaml.safe_load((_DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8"))
        return Workflow.assemble(name, nodes, Declaration.model_validate(declared))
    except FileNotFoundError:
        raise ConfigurationError(f"There is no workflow named {name}: it needs a JSON and a YAML file.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"Workflow {name} cannot be read: {error}") from error


def build_graph(  # noqa: PLR0913 - a picture's parameters, all by name
    workflow: str, *, prompt: str, negative_prompt: str, size: FrameSize, seed: int, filename_prefix: str
) -> Graph:
    """The graph of one picture.

    `filename_prefix` must be new for each attempt: ComfyUI answers a prompt that it ran before with the old file.
    Raises ConfigurationError.
    """
    template = load_workflow(workflow)
    values: dict[str, str | int] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "width": size.width,
        "height": size.height,
        "seed": seed,
        "filename_prefix": filename_prefix,
    }
    nodes = copy.deepcopy(template.nodes)
    for parameter, value in values.items():
        for node_id, input_name in template.inputs[parameter]:
            nodes[node_id]["inputs"][input_name] = value
    return Graph(nodes, template.output_node, template.model)


def missing_parts(workflow: str, object_info: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a server lacks to run the workflow, a sentence each, by its `/object_info`. Raises ConfigurationError."""
    template = load_workflow(workflow)
    return [sentence for node in template.nodes.values() for sentence in _lacks(template.name, node, object_info)]


def _lacks(workflow: str, node: Mapping[str, Any], object_info: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    kind = node["class_type"]
    if kind not in object_info:
        yield f'Workflow {workflow} needs the node class {kind} (its node "{title_of(node)}"): install it in ComfyUI.'
        return
    declared = object_info[kind].get("input", {})
    known = {**declared.get("required", {}), **declared.get("optional", {})}
    for name, value in node["inputs"].items():
        choices = _choices(known.get(name))
        if choices is not None and isinstance(value, str) and value not in choices:
            yield (
                f'Workflow {workflow} needs "{value}" as {name} of the node class {kind}, and ComfyUI offers '
                f"{_listing(choices)}: install it, or change the workflow."
            )


def _choices(declaration: object) -> list[str] | None:
    """The values that an input chooses from, in the older form `[[...], {}]` or the newer `["COMBO", {"options"}]`."""
    match declaration:
        case [list() as choices, *_] | ["COMBO", {"options": list() as choices}, *_]:
            return choices
        case _:
            return None


def _listing(choices: list[str]) -> str:
    shown = ", ".join(f'"{choice}"' for choice in choices[:5])
    return f"{shown}{' and more' if len(choices) > 5 else ''}" if choices else "none"  # noqa: PLR2004 - enough to see the kind
