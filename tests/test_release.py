"""An exported model: every way of opening it gives the same probabilities, and its card says what was measured."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import encode, plugins, teach
from agent.errors import ConfigError, DataError
from agent.release import card, facts, graph
from agent.release.parts import Parts, parts_of, write_modules
from agent.types import Context, Item, Layout, Part, Task
from tests.cli_room import LADDER, WORDS, call, good, with_pool

LAYOUT = Layout(("label",), (tuple(WORDS),))
TEXTS = [
    f"{a} and {b} number {i}"
    for i, (a, b) in enumerate(zip(WORDS["billing"] * 8, WORDS["technical"] * 10, strict=True))
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder of BERT's kind with random weights and a prompt of its own."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "and", "number", "task", *WORDS["billing"], *WORDS["technical"]]
    words += list("0123456789:") + [f"##{c}" for c in "0123456789"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=64, initializer_range=0.3,
        )
    )  # fmt: skip
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("tiny") / "encoder-tiny"
    bert.save_pretrained(raw)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(raw)
    model = SentenceTransformer(modules=[Transformer(str(raw), max_seq_length=32), Pooling(32)], device="cpu")
    model.save_pretrained(str(folder))
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "prompts": {"classification": "task: "}}))
    return folder


@pytest.fixture(scope="session")
def released(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, graph.Parity]]:
    """A taught student, saved and released with its ONNX files."""
    pytest.importorskip("onnxscript")
    module = plugins.load("students", "linear")
    student = module.build(
        module.Settings(encoder=str(tiny), l2=0.01, device="cpu"),
        Context(Task("t", "single", dict.fromkeys(WORDS, "")), LAYOUT),
    )
    rows = student.features([Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(TEXTS)])
    targets = np.eye(2, dtype=np.float32)[np.arange(len(TEXTS)) % 2]
    student.fit(rows, targets, np.ones(len(TEXTS), dtype=np.float32))
    folder = tmp_path_factory.mktemp("released") / "model"
    student.save(str(folder))
    opened = module.load_from(str(folder), "cpu")
    parts = parts_of(folder, opened)
    assert parts is not None
    write_modules(parts, folder)
    return folder, opened, graph.write(parts, folder, TEXTS, student.predict(rows))


def said(student: Any, texts: list[str]) -> Any:
    return student.predict(
        student.features([Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(texts)])
    )


# ---------------------------------------------------------------- the encoder


def test_without_padding_is_the_same_as_with_it(tiny: Path) -> None:
    encoder = encode.Encoder("tiny", tiny, "cpu")
    texts = [*TEXTS, "refund", "crash " * 60, ""]
    model = encoder.model
    theirs = model.encode(["task: " + text for text in texts], prompt="", normalize_embeddings=True)
    assert (encoder.embed(texts) * theirs).sum(axis=1).min() > 0.99999
    again = encode.Encoder("tiny", tiny, "cpu", precision="int8").embed(texts)
    assert (again * theirs).sum(axis=1).min() > 0.99
    assert np.array_equal(again[:3], encode.Encoder("tiny", tiny, "cpu", precision="int8").embed(texts[:3]))


def test_prompts_are_part_of_the_revision(tiny: Path) -> None:
    found = {p: encode.Encoder("tiny", tiny, "cpu", prompt=p) for p in ("auto", "none", "classification", "query: ")}
    assert [e.prompt for e in found.values()] == ["task: ", "", "task: ", "query: "]
    assert found["auto"].revision == found["classification"].revision
    assert len({e.revision for e in found.values()}) == 3
    eight = encode.Encoder("tiny", tiny, "cpu", precision="int8")
    assert eight.revision != found["auto"].revision == encode.Encoder("tiny", tiny, precision="float32").revision
    plain, asked = (found[p].embed(["crash"]) for p in ("none", "auto"))
    assert not np.allclose(plain, asked) and np.allclose(found["none"].embed(["task: crash"]), asked, atol=1e-6)
    with pytest.raises(ConfigError, match="precision = 'half' is none of"):
        encode.Encoder("tiny", tiny, precision="half")


def test_e5_gets_the_prompt_it_was_trained_with(tmp_path: Path) -> None:
    assert encode.Encoder("intfloat/multilingual-e5-small", tmp_path).prompt == "query: "
    assert encode.Encoder("BAAI/bge-small-en-v1.5", tmp_path).prompt == ""


# ---------------------------------------------------------------- the folder


def test_the_folder_opens_in_five_ways_and_all_say_the_same(released: Any, tiny: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    folder, student, _ = released
    texts = [*TEXTS[:9], "refund " * 50]
    ours = said(student, texts)
    logits = SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert np.allclose(LAYOUT.normalise(np.asarray(logits)), ours, atol=1e-4)
    vectors = SentenceTransformer(str(folder / "encoder"), device="cpu").encode(
        texts, prompt="task: ", normalize_embeddings=True
    )
    assert np.allclose(vectors, student.encoder.embed(texts), atol=1e-4)
    model, tokenizer = AutoModel.from_pretrained(folder / "encoder"), AutoTokenizer.from_pretrained(folder / "encoder")
    batch = tokenizer(["task: " + texts[0]], return_tensors="pt")
    mean = model(**batch).last_hidden_state.mean(dim=1).detach().numpy()
    assert np.allclose(mean / np.linalg.norm(mean), vectors[0], atol=1e-4)
    p = graph.run(folder / "onnx" / "model.onnx", folder / "onnx" / "tokenizer.json", texts, "task: ")
    assert np.allclose(p, ours, atol=1e-4)


def test_a_model_brings_its_encoder_along(released: Any, tiny: Path, tmp_path: Path) -> None:
    folder, student, _ = released
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    written = json.loads((moved / "student.json").read_text())["encoder"]
    opened = plugins.load("students", "linear").load_from(str(moved), "cpu")
    assert opened.encoder.folder == moved / "encoder" and opened.encoder.revision == written["revision"]
    assert np.allclose(said(opened, TEXTS), said(student, TEXTS), atol=1e-6)


def test_an_encoder_that_is_a_plain_folder_of_transformers_goes_along(tiny: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    plain, module = tmp_path / "plain", plugins.load("students", "linear")
    shutil.copytree(tiny, plain)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (plain / name).unlink()
    shutil.rmtree(plain / "1_Pooling")
    context = Context(Task("t", "single", dict.fromkeys(WORDS, "")), LAYOUT)
    student = module.build(module.Settings(encoder=str(plain), l2=0.01, device="cpu"), context)
    rows = student.features([Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(TEXTS)])
    student.fit(rows, np.eye(2, dtype=np.float32)[np.arange(len(TEXTS)) % 2], np.ones(len(TEXTS), dtype=np.float32))
    folder = tmp_path / "model"
    student.save(str(folder))
    parts = parts_of(folder, student)
    assert parts is not None
    write_modules(parts, folder)
    ours = student.predict(rows)
    shutil.rmtree(plain)
    assert np.allclose(said(module.load_from(str(folder), "cpu"), TEXTS), ours, atol=1e-5)
    logits = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert np.allclose(LAYOUT.normalise(np.asarray(logits)), ours, atol=1e-4)


def test_a_copy_of_an_encoder_that_is_not_whole_is_no_model(released: Any, tmp_path: Path) -> None:
    """An encoder one of whose files is of a kind that is not taken along."""
    folder, student, _ = released
    odd = tmp_path / "odd"
    shutil.copytree(folder / "encoder", odd)
    (odd / "openvino").mkdir()
    shutil.copyfile(odd / "model.safetensors", odd / "openvino" / "more.safetensors")
    parts = parts_of(folder, student)
    assert parts is not None
    with pytest.raises(DataError, match="does not work from a copy of its files"):
        write_modules(replace(parts, encoder=encode.Encoder("odd", odd, "cpu")), tmp_path / "target")


def test_a_list_of_modules_never_imports_code(released: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _, _ = released
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copytree(folder / "encoder", "handed")
    for place in (".", "handed"):
        Path(place, "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Step: pass\n")
    listed = Path("handed/modules.json")
    listed.write_text(json.dumps([*json.loads(listed.read_text()), {"path": "", "type": "evil.Step"}]))
    with pytest.raises(ConfigError, match=r"names 'evil\.Step', which is no part of sentence-transformers"):
        encode.Encoder("handed", "handed", "cpu").embed(["a text"])
    assert not Path("ran").exists()


def test_onnx_is_compared_on_every_row_and_left_out_when_it_differs(released: Any, tmp_path: Path) -> None:
    folder, student, found = released
    told = json.loads((folder / "onnx" / "parity.json").read_text())
    plain, small = found["model.onnx"], found["model_int8.onnx"]
    assert plain.rows == len(TEXTS) == plain.same and plain.kept and plain.furthest < 1e-4
    assert told["model.onnx"]["same"] == plain.same and small.bytes < plain.bytes
    assert (folder / "onnx" / "model_int8.onnx").exists() == small.kept
    parts = parts_of(folder, student)
    assert parts is not None
    # A head the other way round chooses otherwise on every row but ties.
    turned = replace(parts, weight=-parts.weight, bias=-parts.bias)
    found = graph.write(turned, tmp_path, TEXTS, said(student, TEXTS))
    assert not found["model.onnx"].kept and "model_int8.onnx" not in found
    assert not list((tmp_path / "onnx").glob("*.onnx"))


# ---------------------------------------------------------------- the verb and the card


def test_the_verb_writes_a_model_whose_card_holds_no_text(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_pool(tmp_path, monkeypatch)
    ladder = LADDER.replace('student = "tfidf"', f'student = "linear"\nencoder = "{tiny}"\ndevice = "cpu"')
    Path("tutelage.toml").write_text(ladder)
    good("run", "--people", "gold", "--budget", "1")
    done = good("export", "model", "model", "--no-onnx")
    assert done["onnx"] == {} and done["why_no_onnx"] == "none was asked for"
    good("certify", "--accuracy", "0.3", "--delta", "0.2", "--now")
    assert good("export", "model", "model", "--force", "--no-onnx")["wrote"] == "model"
    text = Path("model/README.md").read_text()
    assert "with 80 % confidence" in text and re.search(r"Expected calibration error: 0\.\d{3}", text)
    assert not re.search(r"number \d", text), "the text of an item stands in the card"
    assert str(tiny.parent) not in text
    assert "No bar is certified: above none of them 97 % right" in text and not Path("model/thresholds.json").exists()
    assert not Path("model/unseen.safetensors").exists()
    assert call("predict", "mail.csv", "--model", "model", "--text", "body").exit_code == 0
    assert not list(Path().glob(".model*"))


def test_a_bar_is_certified_by_the_audit_at_what_the_look_may_spend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_pool(tmp_path, monkeypatch)
    Path("tutelage.toml").write_text(LADDER.replace("accuracy = 0.97\ndelta = 0.1", "accuracy = 0.6\ndelta = 0.2"))
    good("run", "--people", "gold", "--budget", "1")
    if not list(Path("tutelage-run").glob("certificate.json")):
        good("certify", "--now")
    assert good("export", "model", "model")["wrote"] == "model"
    told = json.loads(Path("model/thresholds.json").read_text())["certified"]
    assert told["accuracy"] == 0.6 and told["delta"] <= 0.1 * 6 / np.pi**2, "the certificate has spent its part already"
    assert told["audited"] >= 10
    text, unseen = Path("model/README.md").read_text(), teach.unseen(Path("tutelage-run/model"))
    sure = np.stack(list(unseen.values())).max(axis=1)
    for bar in (0.5, 0.7, 0.8):  # of items that the twins were not taught: what the student says of its own is surer
        assert f"| {bar:.2f} | {np.floor(1000 * (sure >= bar).mean()) / 10:.1f} % |" in text
    assert f"Shares are of {len(unseen)} items" in text and "with about 93.9" in text
    Path("tutelage-run/model/unseen.safetensors").unlink()
    good("export", "model", "older")
    text = Path("older/README.md").read_text()
    assert "Not measured: of some audited items it is not known" in text and "by what the model itself says" in text
    done = call("predict", "mail.csv", "--model", "model", "--text", "body", "--abstain", "certified")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and all((row["label"] is None) == (row["probability"] < told["bar"]) for row in rows)


def test_false_bars_are_certified_no_more_often_than_delta() -> None:
    """2,000 audits of 200 items at delta = .1, right just under .9 of the time: at most .1 and 3 standard errors."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(2_000):
        sure = rng.uniform(0.5, 1, 200)
        right = rng.random(200) < 0.899
        bars = [
            facts.Bar(at, 1.0, int((sure >= at).sum()), int(right[sure >= at].sum())) for at in (0.0, 0.7, 0.9, 0.99)
        ]
        wrong += facts.certified(bars, 0.9, 0.1) is not None
    assert wrong / 2_000 <= 0.1 + 3 * (0.1 * 0.9 / 2_000) ** 0.5


def test_a_student_of_words_says_that_it_has_no_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pool(tmp_path, monkeypatch)
    Path("tutelage.toml").write_text(LADDER)
    good("run", "--people", "gold", "--budget", "1")
    done = call("export", "model", "model", "--onnx")
    assert (
        done.exit_code == 0 and "no ONNX file: a student of the kind tfidf is no encoder" in done.stderr + done.stdout
    )
    assert sorted(p.name for p in Path("model").iterdir()) == sorted(
        [*(p.name for p in Path("tutelage-run/model").iterdir() if p.name != "unseen.safetensors"), "README.md"]
    )
    for own in ("tutelage-run/model", "tutelage-run", "tutelage-run/model/x"):
        done = call("export", "model", own, "--force")
        assert done.exit_code == 2 and "belongs to the run itself" in done.stderr
    Path("model/mine.txt").write_text("a file of an older model")
    good("export", "model", "model", "--force")
    assert not Path("model/mine.txt").exists() and not list(Path().glob(".model*"))
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("evil.py").write_text("open('ran', 'w').close()\nplugin = None\n")
    card_of = Path("tutelage-run/model/student.json")
    card_of.write_text(json.dumps({**json.loads(card_of.read_text()), "student": "evil:plugin"}))
    done = call("export", "model", "other")
    assert done.exit_code == 2 and "none of students here" in done.stderr
    assert not Path("ran").exists() and not Path("other").exists()


def test_calibration_error_by_hand() -> None:
    """Two cells: .9 said and half right, .2 said and none: (2 · .4 + 1 · .2) / 3."""
    sure = np.array([0.9, 0.9, 0.2])
    assert facts.ece(sure, np.array([True, False, False])) == pytest.approx(1 / 3)


def test_the_interval_holds_what_it_must() -> None:
    assert card.interval(0, 0) == (0.0, 1.0)
    low, high = card.interval(19, 20)
    assert low == pytest.approx(0.7513, abs=1e-4) and high == pytest.approx(0.9987, abs=1e-4)


def test_a_card_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    about = facts.Facts("mail", "", "single", {"a|b": "one\ntwo", "c": ""}, 3)
    parts = Parts(encode.Encoder(encode.PACKAGE, tmp_path), "encoder", np.zeros((2, 2)), np.zeros(2), LAYOUT)
    text = card.write(about, "linear", parts, {}, "none was asked for")
    assert "There is none" in text and "Not measured" in text
    assert f'base_model: "{encode.HUB}"' in text and "| a\\|b | 0 | one two |" in text
    own = replace(parts, encoder=encode.Encoder(str(tmp_path / "x"), tmp_path))
    assert "base_model" not in card.write(about, "linear", own, {}, "") and str(tmp_path) not in text
