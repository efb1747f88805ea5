import pytest

from unlearn_pl.results.yaml_file import MOST, read_yaml, unfolded


def written(path, text):
    (path / "a.yaml").write_text(text)
    return path / "a.yaml"


def test_aliases_stand_for_what_they_name(tmp_path):
    content = read_yaml(written(tmp_path, "a: &a [1, 2]\nb: {c: *a, d: *a}\n"))
    assert content == {"a": [1, 2], "b": {"c": [1, 2], "d": [1, 2]}}
    assert unfolded(content) == 1 + 3 + (1 + 3 + 3)


def test_a_small_file_that_unfolds_to_millions_of_values_is_an_error(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ValueError, match=rf"a\.yaml' unfold to too many values; accepted are {MOST}"):
        read_yaml(written(tmp_path, "\n".join(lines)))
    with pytest.raises(ValueError, match="unfold to too many values"):
        read_yaml(written(tmp_path, "a: &a [*a]"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not a YAML file"),
        ("a: " + "[" * 20_000, "is not a YAML file"),
        ("- a", "must hold a YAML mapping; it holds a list"),
        ("", "it holds a NoneType"),
        ("a: !!python/object/apply:os.system [touch ran]", "is not a YAML file"),
    ],
)
def test_what_is_no_mapping_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_yaml(written(tmp_path, text))
