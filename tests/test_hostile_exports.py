"""Files that would run code where they are loaded, take all the memory, or name other files: refused before a runtime
sees them.
"""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
from exported import QUICK, file
from families import by_day
from torch import nn

from unrolling.export import export, load
from unrolling.export.formulas import check_condition, check_expression

MODEL = "archive/models/model.json"


class Scaled(nn.Module):
    """A weight, a buffer and sizes that are worked out."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1))
        self.register_buffer("shift", torch.ones(1))

    def forward(self, y):
        return (self.weight * y.unsqueeze(1) + self.shift).reshape(y.shape[0], 3 * y.shape[1])


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The parts of a program by name."""
    path = tmp_path_factory.mktemp("exports") / "network.pt2"
    export(Scaled(), path, torch.randn(4, 6))
    return parts_of(path)


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def written(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def changed(parts, name, change):
    """With a JSON part changed in place."""
    value = json.loads(parts[name])
    change(value)
    return {**parts, name: json.dumps(value).encode()}


def replaced(key, text):
    """Every text of a key by another one."""

    def walk(value):
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, item in list(items):
            if name == key:
                value[name] = [text] if isinstance(item, list) else text
            else:
                walk(item)

    return walk


def in_nodes(key, value):
    return lambda model: [node.update({key: value}) for node in model["graph_module"]["graph"]["nodes"]]


class Root(nn.Module):
    """y over the root of its number of entries."""

    def forward(self, y):
        return y * y.shape[-1] ** -0.5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "network.pt2"
    export(Root(), path, torch.randn(3, 8), format="torch")
    return path


def test_a_power_of_a_size_is_taken(root):
    y = torch.randn(2, 11)
    assert torch.equal(load(root)(y), y * 11**-0.5)


@pytest.mark.parametrize("exponent", [{"as_int": 9**9}, {"as_float": -1e9}, {"as_sym_int": {"as_name": "s0"}}])
def test_a_power_that_may_be_large_is_refused(exponent, root, tmp_path):
    parts = parts_of(root)

    def enlarged(model):
        for node in model["graph_module"]["graph"]["nodes"]:
            if node["target"] == "_operator.pow":
                node["inputs"][1]["arg"] = exponent

    with pytest.raises(ValueError, match="a power that may be large"):
        load(written(tmp_path / "a.pt2", changed(parts, MODEL, enlarged)))


def test_a_file_that_was_only_packed_again_is_taken(program, tmp_path):
    y = torch.randn(2, 6)
    assert torch.equal(load(written(tmp_path / "a.pt2", program))(y), Scaled()(y))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("expr_str", "__import__('os').mkdir('{mark}')"), "formula"),
        (replaced("expr_str", "Symbol('s0').__class__"), "formula"),
        (replaced("expr_str", "Pow(Integer(9), Pow(Integer(9), Integer(9)))"), "formula"),
        (replaced("expr_str", "(lambda: s0)()"), "formula"),
        (replaced("guards_code", "__import__('os').mkdir('{mark}') or True"), "formula"),
        (replaced("guards_code", "True)\n  import os"), "formula"),
        (replaced("guards_code", "L['data'].__class__.mro()[0] != 1"), "formula"),
        (replaced("target", "torch.os.mkdir"), "it calls 'torch.os.mkdir'"),
        (replaced("target", "torch.hub.load"), "it calls"),
        (replaced("target", "torch.ops.aten.from_file.default"), "it calls"),
        (replaced("target", "_operator.methodcaller"), "it calls"),
        (replaced("target", "#thing:other"), "it calls"),
        (
            replaced("in_spec", '[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'),
            "inputs",
        ),
        (replaced("name", "x=__import__('os').mkdir('{mark}')"), "its name is"),
        (in_nodes("metadata", {"source_fn_stack": "a,torch.os.mkdir"}), "metadata is not empty"),
        (in_nodes("inputs", [{"name": "x", "arg": {"as_operator": "torch.os.mkdir"}}]), "as_operator"),
        (in_nodes("inputs", [{"name": "x", "arg": {"as_graph": {}}}]), "as_graph"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_program_that_would_run_code_is_refused(change, words, program, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.export, "load", lambda *arguments, **options: pytest.fail("torch saw it"))
    parts = changed(program, MODEL, change)
    parts[MODEL] = parts[MODEL].replace(b"{mark}", str(tmp_path / "mark").encode())
    with pytest.raises(ValueError, match="was not written by unrolling, or it is damaged") as caught:
        load(written(tmp_path / "a.pt2", parts))
    assert words in str(caught.value)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["weights", "constants"])
@pytest.mark.parametrize("way", ["use_pickle", "custom_obj_0", "opaque_obj_0", "legacy", "absent", "huge", "outside"])
def test_what_would_be_unpickled_or_is_not_there_is_refused(way, kind, program, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.export, "load", lambda *arguments, **options: pytest.fail("torch saw it"))
    bomb = io.BytesIO()
    torch.save(Bomb(str(tmp_path / "mark")), bomb)
    weights = json.loads(program["archive/data/weights/model_weights_config.json"])["config"]
    (payload, *_) = json.loads(json.dumps(weights)).values()
    parts = dict(program)
    if way == "legacy":
        parts[f"archive/data/{kind}/model.pt"] = bomb.getvalue()
    else:
        payload["path_name"] = {"weights": "weight_0", "constants": "tensor_7"}[kind]
        parts[f"archive/data/{kind}/{payload['path_name']}"] = bytes(12)
        if way == "use_pickle":
            payload["use_pickle"] = True
        elif way == "absent":
            payload["path_name"] += "1"
        elif way == "huge":
            payload["tensor_meta"]["sizes"] = [{"as_int": 10**12}]
            payload["tensor_meta"]["strides"] = [{"as_int": 1}]
        elif way == "outside":
            payload["path_name"] = "../weights/weight_0"
        else:
            payload["path_name"] = way
            parts[f"archive/data/{kind}/{way}"] = pickle.dumps(Bomb(str(tmp_path / "mark")))
        name = f"archive/data/{kind}/model_{kind}_config.json"
        parts = changed(parts, name, lambda config: config["config"].update({"weight": payload}))
    with pytest.raises(ValueError, match="was not written by unrolling, or it is damaged"):
        load(written(tmp_path / "a.pt2", parts))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"archive/../../mark": b""},
        {"/mark": b""},
        {"other/models/model.json": b"{}"},
        {"archive/models/second.json": b"{}"},
        {"archive/data/executorch/x.pte": b""},
        {"archive/data/sample_inputs/model.pt": b"example"},
        {"serialized_exported_program.json": b"{}"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_an_archive_with_other_parts_is_refused(more, program, tmp_path):
    with pytest.raises(ValueError, match="was not written by unrolling, or it is damaged"):
        load(written(tmp_path / "a.pt2", {**program, **more}))


def test_a_bomb_of_an_archive_is_not_unpacked(program, tmp_path):
    parts = {**program, "archive/data/weights/weight_9": bytes(300_000_000)}
    path = written(tmp_path / "a.pt2", parts, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(ValueError, match="it is compressed"):
        load(path)


def test_native_code_is_loaded_only_where_it_is_asked_for(tmp_path, monkeypatch):
    loading = "torch._inductor.aoti_load_package"
    monkeypatch.setattr(loading, lambda *arguments, **options: pytest.fail("native code was loaded"))
    path = written(tmp_path / "a.pt2", {"a/data/aotinductor/model/x.so": b"", "a/models/model.json": b"{}"})
    with pytest.raises(ValueError, match=r'native code .* say so, load\(path, format="aoti"\)'):
        load(path)
    with pytest.raises(ValueError, match="was not written by unrolling"):
        load(path, "torch")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.update(card="1"), "its card is '1'"),
        (lambda card: card["inputs"][0].update(shape=[10**12]), "its inputs"),
        (lambda card: card["inputs"][0].update(dtype="load"), "its inputs"),
        (lambda card: card.update(inputs={}), "its inputs"),
        (lambda card: card.update(sizes={"batch": 3}), "its sizes"),
        (lambda card: card.update(state=[3]), "its state"),
    ],
    ids=["format", "shape", "dtype", "ports", "sizes", "state"],
)
def test_a_card_is_looked_at(change, words, program, tmp_path):
    path = written(tmp_path / "a.pt2", changed(program, "archive/extra/card.json", change))
    with pytest.raises(ValueError, match=r"a\.pt2 is damaged or was changed: the card") as caught:
        load(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("way", ["external", "operator", "garbage"])
def test_a_model_that_names_other_files_or_operators_is_refused(way, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = export(Scaled(), file(tmp_path, "onnx"), torch.randn(4, 6), format="onnx").path
    model = onnx.load(path)
    if way == "external":
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../../../etc/passwd")
    elif way == "operator":
        model.graph.node[0].domain = "com.microsoft"
    path.write_bytes(model.SerializeToString() if way != "garbage" else b"\x08\x01" * 50)
    with pytest.raises(ValueError, match="cannot be read as an ONNX model"):
        load(path)


GOOD = ["Integer(3)", "Add(Mul(Integer(-1), Symbol('s0', positive=True, integer=True)), Integer(1))", "s0*2 + 1"]
GOOD.append("FloatPow(ToFloat(Symbol('s0', positive=True, integer=True)), Float('-0.5', precision=53))")
CONDITIONS = ["L['data'].size()[0] != 2", "(2*L['y'].size()[1]) // 64 <= max(1, 3) and not (L['y'].size()[0] == 1)"]


def test_arithmetic_passes():
    for text in GOOD:
        check_expression(text)
    for text in CONDITIONS:
        check_condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "Symbol('x y')",
        "Symbol('s0', evaluate=True)",
        "Integer(3).real",
        "[s0]",
        "s0 if 1 else 2",
        "f'{s0}'",
        "(s0 := 3)",
        "Pow(Integer(2), s0)",
        "2**99",
        "2**2**99",
        "FloatPow(s0, Float('9e9', precision=53))",
        "FloatPow(s0, Float('1e999', precision=53))",
        "Float('0.5', precision=99999999)",
        "FloatPow(s0, s0)",
        f"Integer({10**30})",
        "(" * 300 + "1" + ")" * 300,
        "-" * 500 + "1",
        "Add(" * 300 + "1" + ")" * 300,
        "1" * 30_000,
        "s0\n",
        "",
        None,
        3,
    ],
)
def test_all_else_does_not(text):
    for check in (check_expression, check_condition):
        with pytest.raises(ValueError, match=r"formula|symbol"):
            check(text)


# Writing


PROGRAM = """
import resource, sys, torch
sys.path.insert(0, {tests!r})
from test_hostile_exports import Scaled
from unrolling.export import export
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
print("begun", flush=True)
try:
    export(Scaled(), sys.argv[1], torch.randn(4, 6), format={form!r})
except OSError as error:
    sys.exit("said: " + str(error))
"""


def running(path, form, limit=0, **options):
    program = PROGRAM.format(tests=os.path.dirname(__file__), form=form, limit=limit)
    return subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("form", by_day(*QUICK))
def test_a_full_disk_ends_with_words_and_the_old_file(form, tmp_path):
    path = file(tmp_path, form)
    path.write_bytes(b"old")
    process = running(path, form, limit=500)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "said: " in errors
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", by_day(signal.SIGTERM, signal.SIGINT))
def test_a_signal_leaves_nothing_behind(number, tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    process = running(tmp_path / "out" / "network.pt2", "torch", env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(6000):
        if list((tmp_path / "tmp").glob("unrolling-*")) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=120)
    # Python drops an interrupt that reaches it in a finaliser or while it shuts down: such a program ends as if it
    # had not been interrupted, and has to have written its file.
    assert process.returncode in ((0, 143) if number == signal.SIGTERM else (0, 1, 130, -signal.SIGINT))
    assert list((tmp_path / "tmp").glob("unrolling-*")) == []
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert written == ["network.pt2"] if process.returncode == 0 else written in ([], ["network.pt2"])
