"""Notes of a cache of tokens, in the form of earlier versions."""

import pytest

from unlearn_pl.data.streams.token_cache import TokenCache


@pytest.mark.parametrize(
    ("written", "is_whole"), [('["a note"]', True), ("[]", True), ('[1, "a"]', False), ("[[]]", False)]
)
def test_notes_are_texts(written, is_whole, tmp_path):
    (tmp_path / "notes.json").write_text(written)
    cache = TokenCache.__new__(TokenCache)
    cache.folder = tmp_path
    if is_whole:
        assert all(isinstance(note, str) for note in cache.notes)
    else:
        with pytest.raises(ValueError, match=r"notes\.json was changed"):
            _ = cache.notes
