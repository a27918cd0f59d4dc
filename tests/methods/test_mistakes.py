"""Mistakes in a method's configuration, and in parts of one's own: a line that names the part."""

import pytest

from pipeline import train
from pipeline.config import load_config
from pipeline.methods.method import Share, method_of
from tests.methods import broken
from tests.methods.test_one_objective import batch

TERMS = ("identity", "intra", "cross")


def part(name):
    return f"losses.bug.type={broken.__name__}:{name}"


def build(tiny, *overrides):
    settings = load_config([*tiny, *overrides])
    return method_of(settings).build(settings, 5, Share(0, (4,)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("losses=[identity]", r"losses: expected parts by name, as \{NAME: \{\.\.\.\}\}; found \['identity'\]"),
        ("losses.crosss=null", "losses.crosss: null takes a part away, and there is none .*; the nearest is cross"),
        ("heads.globl=null", "heads.globl: null takes a part away, .*; the nearest is global"),
        ("inserts.x=null", "inserts.x: null takes a part away, .*; there are: none"),
        ("losses.identity={type: 5}", "losses.identity.type: expected a loss term among .*; found 5"),
        ("losses.identity=1.0", "losses.identity: expected the keys of a loss term; found 1.0"),
        ("method=mine", "method: expected the keys of a method; found 'mine'"),
        ("losses.x.type=pipeline.models.heads:BNNeckHead", "losses.x.type: expected a loss term, a class derived from"),
        (part("NoTerm"), "losses.bug.type: expected a loss term, a class derived from"),
        (part("Undeclared"), r"Options\.size: declare it by `pipeline\.settings_key\.key`"),
        (
            "losses.x.type=tests.methods.absent:X",
            r"be imported \(ModuleNotFoundError: .*; start where its",
        ),
    ],
)
def test_what_a_configuration_says_wrongly(override, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config([override])
    assert "\n" not in str(error.value)


def test_a_file_whose_losses_have_no_keys_is_told_from_one_that_takes_them_away(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("method: {name: mine}\nlosses:\n  identity:\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: losses\.identity: null takes a part away"):
        load_config([str(file)])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["losses.cross.pairs=[]"], r"losses\.cross\.pairs: expected one or more; found none"),
        (["losses.intra.modalities=[]"], r"losses\.intra\.modalities: expected one or more; found none"),
        (["heads.global=null"], "^heads: expected one or more; found none"),
        (["losses.step.type=intra"], r"losses\.step: choose another name: metrics\.csv has a column step already"),
        (
            ["losses.intra_visible.type=intra"],
            r"losses\.intra_visible: choose another name: intra_\.\.\. are the",
        ),
        (["losses.keys.type=intra"], r"losses\.keys: choose another name"),
        (["heads.forward.type=bnneck"], r"heads\.forward: choose another name"),
        (["inserts.non_local.at=layer2.7"], r"no module 'layer2\.7'; those in layer2 are 0"),
        (
            [
                "heads.parts.type=stripes",
                *(f"losses.{name}.features=[global]" for name in ("identity", "intra", "cross")),
            ],
            "losses: none looks at the feature parts_0",
        ),
    ],
)
def test_what_cannot_be_put_together(tiny, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build(tiny, *overrides)
    assert "\n" not in str(error.value)


def test_more_stripes_than_rows_name_their_head(tiny):
    method = build(tiny, "heads.parts.type=stripes", "heads.parts.count=9")
    with pytest.raises(ValueError, match=r"^heads\.parts\.count: expected at most the \d rows .*; found 9"):
        method(batch())


@pytest.mark.parametrize(
    ("what", "found"),
    [
        *(
            ("none", "NoneType"),
            ("float", "float"),
            ("rows", r"\(16,\) torch\.float32"),
            ("whole", r"\(\) torch\.int64"),
            ("nothing", "none"),
        ),
        *(("parts", "b float"), ("constant", "a constant")),
    ],
)
def test_a_loss_that_returns_no_scalar_of_the_features_is_named(tiny, what, found):
    method = build(tiny, part("Returns"), f"losses.bug.what={what}")
    with pytest.raises(ValueError, match=rf"^losses\.bug: expected .*; found {found}$"):
        method.train()(batch())


def test_a_loss_gets_what_it_reads_alone(tiny):
    with pytest.raises(LookupError, match="logits: expected among what the term reads; found pooled"):
        build(tiny, part("Unread")).train()(batch())
    with pytest.raises(TypeError, match=r"Misspelled\.reads: expected some of .*; found \('logit',\)") as error:
        build(tiny, part("Misspelled"))
    assert error.value.__notes__ == ["while losses.bug was built"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unused", "method: objective.terms.bug.weight got no gradient in the first step; every trained parameter"),
        ("Forgotten", "method: expected objective.terms.bug.weight in one optimizer; found it in 0"),
    ],
)
def test_a_parameter_that_would_not_be_trained_ends_the_training_with_its_name(
    tiny, people, tmp_path, capsys, name, message
):
    short = ["train.epochs=1", "train.steps_per_epoch=2", f"data.root={people}", f"output={tmp_path}", "name=run"]
    with pytest.raises(SystemExit):
        train.main(["configs/folder.yaml", *tiny, *short, part(name)])
    assert message in capsys.readouterr().err
    assert message in (tmp_path / "run" / "log.txt").read_text()
