"""Parts of a method in a configuration: found by name or by module, typed, checked, and reset by another method."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import describe, load_config, load_kept, to_yaml
from pipeline.parts import HEADS, INSERTS, LOSSES, METHODS, PartOptions, build_part
from pipeline.recipe import config_hash
from pipeline.settings_key import key


class Own:
    """A part that isn't of the project."""

    @dataclass(frozen=True)
    class Options(PartOptions):
        size: int = key(3, "of it", min=1)
        names: list[str] = key([], "some names")

    def __init__(self, options, *arguments):
        if options.size == 7:
            raise ValueError("size: 7 is taken")
        self.options, self.arguments = options, arguments


OWN = f"{__name__}:Own"


@pytest.mark.parametrize("table", [METHODS, LOSSES, HEADS, INSERTS], ids=lambda table: table.kind)
def test_every_name_of_a_table_is_a_part_whose_keys_are_explained(table):
    for name in table.places:
        options = table.options_of({"type": name})
        assert options.type == name and isinstance(options, PartOptions)
        assert all(len(field.metadata["help"]) > 3 for field in dataclasses.fields(options))


def test_a_part_of_another_project_is_named_by_its_module():
    options = INSERTS.options_of({"type": OWN, "size": 5, "names": "one"})
    assert options == Own.Options(OWN, 5, ["one"])
    assert build_part(INSERTS, options, "inserts.own", 1, 2).arguments == (1, 2)
    with pytest.raises(ValueError, match=r"^inserts\.own\.size: 7 is taken$"):
        build_part(INSERTS, Own.Options(OWN, 7), "inserts.own")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "losses.idenity.weight=1",
            r"losses\.idenity\.type: expected a loss term among .*; found 'idenity'; the nearest is id",
        ),
        (
            "losses.identity.wieght=1",
            r"losses\.identity\.wieght: no key of the loss term identity; the nearest is weight",
        ),
        ("losses.identity.weight=much", r"losses\.identity\.weight: Value 'much'"),
        ("losses.identity.weight=-1", r"losses\.identity\.weight: expected at least 0; found -1.0"),
        ("losses.identity.label_smoothing=2", r"losses\.identity\.label_smoothing: expected at most 1; found 2"),
        ("losses.intra.reduction=median", r"losses\.intra\.reduction: Invalid value 'median'"),
        ("losses.identity=3", r"losses\.identity: expected the keys of a loss term; found 3"),
        ("losses.x.type=no.module:Loss", r"losses\.x\.type: the loss term 'no.module:Loss' can't be imported"),
        ("losses.x.type=pathlib:Path", r"losses\.x\.type: expected a loss term, a class derived from"),
        ("heads.global.type=neck", r"heads\.global\.type: expected a head among bnneck, .*; found 'neck'"),
        ("method.type=none", r"method\.type: expected a method among one_objective"),
        ("method.minig=local", r"method\.minig: no key of the method one_objective; the nearest is mining"),
    ],
)
def test_a_wrong_part_is_one_line_that_names_its_key(override, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config([override])
    assert str(error.value).startswith(override.partition("=")[0]) and "\n" not in str(error.value)


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return {name: str(folder / f"{name}.yaml") for name in files}


def test_a_file_that_names_a_method_has_only_its_own_parts(tmp_path):
    files = write(
        tmp_path,
        first="method: {name: first}\nlosses: {identity: {}, triplet: {type: intra, margin: 1}}\n"
        "inserts: {non_local: {at: layer2.0}}\nheads: {parts: {type: stripes, count: 2}}\n",
        second="method: {name: second}\nlosses: {identity: {weight: 2}}\n",
        over="base: first.yaml\nlosses: {triplet: {margin: 2}}\n",
    )
    first = load_config([files["first"]])
    assert list(first.losses) == ["identity", "triplet"] and list(first.heads) == ["parts"]
    assert first.inserts["non_local"].at == ["layer2.0"]
    over = load_config([files["over"]])
    assert over.losses["triplet"].margin == 2 and over.heads == first.heads
    second = load_config([files["first"], files["second"], "losses.identity.label_smoothing=0.1"])
    assert list(second.losses) == ["identity"] and second.inserts == {}
    assert list(second.heads) == ["global"]
    assert (second.losses["identity"].weight, second.losses["identity"].label_smoothing) == (2, 0.1)


def test_without_another_method_parts_are_added_to_the_default():
    settings = load_config(["configs/demo.yaml", "losses.second.type=intra", "losses.cross=null", "method.name=mine"])
    assert list(settings.losses) == ["identity", "intra", "second"] and settings.method.name == "mine"


def test_what_a_run_keeps_is_read_as_it_was(tmp_path):
    arguments = ["losses.second.type=intra", "losses.cross=null", "heads.parts.type=stripes", "method.mining=local"]
    settings = load_config(["configs/demo.yaml", *arguments])
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    assert load_kept(tmp_path / "config.yaml") == settings == load_config([str(tmp_path / "config.yaml")])


def test_last_blocks_of_an_insert_are_kept_and_count(tmp_path):
    (tmp_path / "method.yaml").write_text(
        "method: {name: mine}\nlosses: {identity: {}}\n"
        "inserts: {non_local: {last_blocks: {layer2: 2, stages.3.blocks: 1}}}\n"
    )
    settings = load_config([str(tmp_path / "method.yaml")])
    assert settings.inserts["non_local"].last_blocks == {"layer2": 2, "stages.3.blocks": 1}
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    assert load_kept(tmp_path / "config.yaml") == settings
    more = [str(tmp_path / "method.yaml"), "inserts.non_local.last_blocks.layer2=3"]
    assert load_config(more).inserts["non_local"].last_blocks["layer2"] == 3
    assert config_hash(load_config(more)) != config_hash(settings)
    with pytest.raises(ValueError, match=r": inserts\.non_local\.last_blocks\.layer2: Value 'all'"):
        load_config([*more, "inserts.non_local.last_blocks.layer2=all"])


def test_what_versions_without_parts_kept_is_read_by_todays_names(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "name: old\nloss: {identity: 2.0, label_smoothing: 0.1, intra: 0.5, intra_modalities: [visible], cross: 3.0,\n"
        "  cross_pairs: [[infrared, visible]], margin: 0.7, reduction: sum, mining: local}\n"
    )
    losses = load_kept(tmp_path / "config.yaml").losses
    assert (losses["identity"].weight, losses["identity"].label_smoothing) == (2.0, 0.1)
    assert (losses["intra"].weight, losses["intra"].modalities) == (0.5, ["visible"])
    assert (losses["cross"].weight, losses["cross"].pairs) == (3.0, [["infrared", "visible"]])
    assert all((losses[name].margin, losses[name].reduction) == (0.7, "sum") for name in ("intra", "cross"))
    assert load_kept(tmp_path / "config.yaml").method.mining == "local"
    with pytest.raises(ValueError, match=r"unknown key loss; loss\.identity is losses\.identity\.weight now; "):
        load_config([str(tmp_path / "config.yaml")])
    with pytest.raises(ValueError, match=r"loss\.margin is losses\.intra\.margin and losses\.cross\.margin now"):
        load_config(["loss.margin=1"])


def test_the_hash_of_parts():
    base = config_hash(load_config([]))
    without = config_hash(load_config(["losses.cross=null"]))
    assert without == config_hash(load_config(["losses.cross.weight=0"])) != base
    added = config_hash(load_config(["losses.second.type=intra"]))
    assert added not in (base, config_hash(load_config(["losses.second.type=cross"])))
    assert config_hash(load_config(["method.name=other"])) == base
    both = config_hash(load_config(["losses.intra.margin=0.5", "losses.cross.margin=0.5"]))
    assert len({base, both, config_hash(load_config(["losses.intra.margin=0.5"]))}) == 3


def test_keys_of_parts_are_described():
    names = [name for name, _, _ in describe(load_config(["losses.second.type=intra"]))]
    assert {"losses.second.margin", "heads.global.type", "method.mining"} <= set(names)


METHODS = sorted(Path("configs/methods").glob("*.yaml"))


@pytest.mark.parametrize("second", METHODS, ids=lambda file: file.stem)
def test_a_method_behind_another_has_its_own_parts_alone(second):
    alone = load_config([str(second)])
    for first in METHODS:
        both = load_config([str(first), str(second)])
        assert (both.method, both.inserts, both.heads, both.losses) == (
            *(alone.method, alone.inserts, alone.heads),
            alone.losses,
        )


@pytest.mark.parametrize(
    ("changes", "claimed"),
    [
        ([], True),
        (["losses.weighted_triplet.released=true", "inserts.non_local.channels=4"], True),
        (["configs/small.yaml"], True),
        (["losses.adversary.weight=1"], False),
        (["losses.weighted_triplet=null"], False),
        (["losses.adversary.weight=1", "losses.views.weight=1"], False),
        (["heads.global.type=embedding"], False),
    ],
)
def test_a_method_of_other_parts_is_no_published_one(changes, claimed):
    method = load_config(["configs/methods/agw.yaml", *changes]).method
    claims = ("agw", "authors' code", "AGW") if claimed else ("agw, changed", None, None)
    assert (method.name, method.source, method.published) == claims


def test_other_parts_may_be_said_to_be_a_published_method():
    changed = ["losses.adversary.weight=1", "method.published=AGW"]
    assert load_config(["configs/methods/agw.yaml", *changed]).method.published == "AGW"


def test_the_default_follows_the_paper_unless_it_has_other_parts():
    assert load_config(["configs/sysu.yaml"]).method.source == "paper"
    assert load_config(["configs/ablation/b1.yaml"]).method.source == "paper"
    assert load_config(["configs/sysu.yaml", "losses.cross=null"]).method.source is None


def test_a_method_that_is_no_mapping_is_one_line(tmp_path):
    (tmp_path / "x.yaml").write_text("method: [name]")
    with pytest.raises(ValueError, match=r"method: expected the keys of a method; found \['name'\]"):
        load_config([str(tmp_path / "x.yaml")])
    (tmp_path / "y.yaml").write_text("inserts: {non_local: {last_blocks: [layer2]}}")
    with pytest.raises(ValueError, match=r"inserts\.non_local\.last_blocks: "):
        load_config([str(tmp_path / "y.yaml")])
