import pytest

from pipeline.figures.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "figure: expected one of batch, derivations, dataset, ranking; found 'nothing'"),
        (["rankings", "runs/demo"], "found 'rankings'; the nearest is ranking"),
        (["dataset", "configs/none.yaml"], "configs/none.yaml: no such configuration file"),
        (["dataset", "configs/demo.yaml", "--identities", "0"], "--identities: expected at least 1; found 0"),
        (["dataset", "configs/demo.yaml", "--images", "-3"], "--images: expected at least 1; found -3"),
        (["ranking", "configs/demo.yaml"], "configs/demo.yaml: expected the folder of a trained run"),
        (["ranking", "evaluation.flip=true"], "expected the folder of a trained run, e.g. runs/demo; found none"),
        (["ranking", "tests"], "tests: expected a trained run, with config.yaml and model.safetensors"),
        (["ranking", "tests", "--only", "cmc,tsne"], "--only: expected some of ranked_lists, cmc, distances, t_sne"),
        (["ranking", "tests", "--only", "tsne"], "found 'tsne'; the nearest is t_sne"),
        (["ranking", "tests", "--queries", "0"], "--queries: expected at least 1; found 0"),
        (["ranking", "tests", "--identities", "17"], "--identities: expected at most 16; found 17"),
        (["ranking", "tests", "--seed", "-1"], "--seed: expected 0 or more; found -1"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and len(error.splitlines()) == 1


def test_help_names_every_figure(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    found = capsys.readouterr().out
    assert all(f"\n{name} " in found for name in ("batch", "dataset", "ranking"))
