import pytest

from pipeline.build import build_index, training_rows
from pipeline.config import load_config


def test_a_split_without_images_is_refused(people, tiny):
    settings = load_config([*tiny, f"data.root={people}", "data.train_splits=[val]"])
    with pytest.raises(ValueError, match="data.train_splits: no images in val of"):
        training_rows(build_index(settings.data), settings.data)
