from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.clients.comfyui import Nodes
from tabario.errors import ConfigurationError
from tabario.formats import FrameSize
from tabario.styles import STYLES
from tabario.styles.workflow import Declaration, Workflow, build_graph, load_workflow, missing_parts

HOSTILE = st.text() | st.sampled_from(
    [
        '"',
        "'}",
        '", "9": {"class_type": "SaveImage"}',
        "{{prompt}}",
        "%width%",
        "line\nline\r\n",
        "\\",
        "\x00",
        "['1', 0]",
    ]
)


def shape(nodes: Nodes) -> dict[str, Any]:
    """The nodes, their classes, titles, input names and links: all but the plain values."""
    return {
        node_id: {
            "class": node["class_type"],
            "title": node["_meta"]["title"],
            "inputs": {
                name: value if isinstance(value, list) else type(value) for name, value in node["inputs"].items()
            },
        }
        for node_id, node in nodes.items()
    }


def graph_inputs(**changes: str) -> dict[str, Any]:
    return {
        "prompt": "a lighthouse",
        "negative_prompt": "text",
        "size": FrameSize(720, 1280),
        "seed": 7,
        "filename_prefix": "tabario/1",
        **changes,
    }


@given(prompt=HOSTILE, negative_prompt=HOSTILE, prefix=HOSTILE)
def test_no_prompt_changes_the_shape_of_the_graph(prompt: str, negative_prompt: str, prefix: str) -> None:
    graph = build_graph(
        "text2image",
        **graph_inputs(prompt=prompt, negative_prompt=negative_prompt, filename_prefix=prefix),
    )
    assert shape(graph.nodes) == shape(load_workflow("text2image").nodes)
    texts = [node["inputs"]["text"] for node in graph.nodes.values() if node["class_type"] == "CLIPTextEncode"]
    assert texts == [prompt, negative_prompt]


def test_every_parameter_arrives_at_its_node() -> None:
    graph = build_graph("text2image", **graph_inputs())
    by_title = {node["_meta"]["title"]: node["inputs"] for node in graph.nodes.values()}
    assert by_title["Prompt"]["text"] == "a lighthouse"
    assert by_title["Negative prompt"]["text"] == "text"
    assert (by_title["Canvas"]["width"], by_title["Canvas"]["height"]) == (720, 1280)
    assert by_title["Sampler"]["seed"] == 7
    assert by_title["Picture"]["filename_prefix"] == "tabario/1"
    assert graph.nodes[graph.output_node]["class_type"] == "SaveImage"


def test_building_a_graph_leaves_the_template_alone() -> None:
    build_graph("text2image", **graph_inputs(prompt="first"))
    second = build_graph("text2image", **graph_inputs(prompt=""))
    assert second.nodes["2"]["inputs"]["text"] == ""


def test_places_can_be_declared_by_id() -> None:
    graph = build_graph("illustration", **graph_inputs())
    assert [graph.nodes[node]["inputs"]["text"] for node in ("6", "7")] == ["a lighthouse", "text"]
    assert graph.nodes["3"]["inputs"]["seed"] == 7
    assert graph.output_node == "9"
    assert graph.model == "sd_xl_base_1.0.safetensors"


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ({"id": "7", "input": "text"}, "it has no node 7"),
        ({"id": "1", "input": "words"}, 'no input "words"'),
        ({"input": "text"}, "by its title"),
        ({"id": "1", "node": "A", "input": "text"}, "not both"),
    ],
)
def test_place_that_names_no_input_is_refused(place: dict[str, str], complaint: str) -> None:
    nodes: Nodes = {"1": {"class_type": "A", "inputs": {"text": ""}}}
    with pytest.raises((ConfigurationError, ValueError), match=complaint):
        Workflow.assemble("mine", nodes, declaration(model=place))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_a_workflow_that_can_be_built(style: str) -> None:
    assert build_graph(STYLES[style].workflow, **graph_inputs()).nodes


def test_unknown_workflow_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no workflow named nosuch"):
        build_graph("nosuch", **graph_inputs())


def declaration(**changes: object) -> Declaration:
    place = [{"node": "A", "input": "text"}]
    inputs = dict.fromkeys(["prompt", "negative_prompt", "width", "height", "seed", "filename_prefix"], place)
    return Declaration.model_validate({"inputs": inputs, "model": place[0], "output": "A", **changes})


@pytest.mark.parametrize(
    ("titles", "changes", "complaint"),
    [
        (["A", "A"], {}, '2 nodes are titled "A"'),
        (["B"], {}, '0 nodes are titled "A"'),
        (["A"], {"output": "Z"}, '0 nodes are titled "Z"'),
    ],
)
def test_declaration_that_does_not_fit_its_graph_is_refused(
    titles: list[str], changes: dict[str, Any], complaint: str
) -> None:
    nodes: Nodes = {
        str(number): {"class_type": "X", "inputs": {"text": ""}, "_meta": {"title": title}}
        for number, title in enumerate(titles)
    }
    with pytest.raises(ConfigurationError, match=complaint):
        Workflow.assemble("mine", nodes, declaration(**changes))


def test_declared_input_that_the_node_lacks_is_refused() -> None:
    nodes: Nodes = {"1": {"class_type": "A", "inputs": {"words": ""}}}
    with pytest.raises(ConfigurationError, match='node "A" has no input "text"'):
        Workflow.assemble("mine", nodes, declaration())


@pytest.mark.parametrize("node", [{"class_type": "A"}, {"class_type": "A", "inputs": []}, {"inputs": {"text": ""}}])
def test_node_without_inputs_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="its node 7 has no class_type or no inputs"):
        Workflow.assemble("mine", {"1": {"class_type": "A", "inputs": {"text": ""}}, "7": node}, declaration())


def object_info(*, checkpoints: object) -> dict[str, dict[str, Any]]:
    info: dict[str, dict[str, Any]] = {
        node["class_type"]: {"input": {}} for node in load_workflow("text2image").nodes.values()
    }
    return {**info, "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": checkpoints}}}}


@pytest.mark.parametrize(
    "checkpoints",
    [[["sd_xl_base_1.0.safetensors"], {}], ["COMBO", {"options": ["sd_xl_base_1.0.safetensors"]}]],
    ids=["older form", "newer form"],
)
def test_server_that_has_everything_misses_nothing(checkpoints: object) -> None:
    assert missing_parts("text2image", object_info(checkpoints=checkpoints)) == []


@pytest.mark.parametrize("checkpoints", [[["tiny.safetensors"], {}], ["COMBO", {"options": ["tiny.safetensors"]}]])
def test_missing_model_is_named_with_what_there_is(checkpoints: object) -> None:
    [sentence] = missing_parts("text2image", object_info(checkpoints=checkpoints))
    assert '"sd_xl_base_1.0.safetensors"' in sentence
    assert '"tiny.safetensors"' in sentence


def test_missing_node_class_is_named() -> None:
    info = object_info(checkpoints=[["sd_xl_base_1.0.safetensors"], {}])
    del info["KSampler"]
    [sentence] = missing_parts("text2image", info)
    assert "node class KSampler" in sentence
    assert '"Sampler"' in sentence
