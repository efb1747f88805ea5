"""Secrets are recognized by the names of arguments and in addresses; what only looks like one is left alone."""

import pytest

from unlearn_pl.masking import MASKED, check_unmasked, is_secret, masked, masked_message, without_passwords
from unlearn_pl.objectives import CausalLMLoss
from unlearn_pl.recording import check_given_again, record

SECRETS = [
    "api_key",
    "comet_api_key",
    "API-KEY",
    "trainer.logger.init_args.api_key",
    "token",
    "neptune_api_token",
    "hf_token",
    "access_token",
    "use_auth_token",
    "password",
    "db_password",
    "passphrase",
    "secret",
    "client_secret",
    "secret_key",
    "aws_secret_access_key",
    "Authorization",
    "credentials",
    "cookie",
    "private_key",
]
HONEST = [
    "pad_token",
    "eos_token",
    "bos_token",
    "unk_token",
    "mask_token",
    "image_token",
    "tokenizer",
    "max_new_tokens",
    "token_count",
    "tokens",
    "keys",
    "key",
    "primary_key",
    "per_token",
    "token.path",
    "key_value",
    "author",
    "authors",
    "authorized",
    "passages",
    "secretary",
    "num_tokens",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets(name):
    assert is_secret(name)
    assert masked({"a": [{name: "s3cret"}]}) == {"a": [{name: MASKED}]}


@pytest.mark.parametrize("name", HONEST)
def test_no_secrets(name):
    assert not is_secret(name)
    assert masked({name: "<|end|>"}) == {name: "<|end|>"}


def test_what_cannot_be_a_secret_stays(tmp_path):
    (tmp_path / "passwords.jsonl").write_text("{}")
    streams = {"secret": str(tmp_path / "passwords.jsonl"), "token": None, "password": 1.0, "api_key": ""}
    assert masked(streams) == streams


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann:pa:ss@w@host:5432/db", f"postgresql://ann:{MASKED}@host:5432/db"),
        ("see https://ann:pw@host, then", f"see https://ann:{MASKED}@host, then"),
        ("https://ghp_0123456789abcdefghij@host/a", f"https://{MASKED}@host/a"),
        ("https://host/a?api_key=abc&x=1&token=d#e", f"https://host/a?api_key={MASKED}&x=1&token={MASKED}#e"),
        ("ssh://git@host/a", None),
        ("https://host:8080/a@b", None),
        ("https://host/a?max_tokens=5&q=a:b@c", None),
        ("Question: {question}\nAnswer@: {answer}", None),
    ],
)
def test_passwords_in_addresses(address, shown):
    assert without_passwords(address) == (shown or address)
    assert masked({"uri": address}) == {"uri": shown or address}


def test_messages_are_printed_without_secrets():
    shown = """Namespace(password='it\\'s', pad_token='x'), {"api_key": "a b"}, {'secret': None}, https://a:b@c"""
    told = f"Namespace(password={MASKED!r}, pad_token='x'), {{\"api_key\": {MASKED!r}}}, {{'secret': None}}, "
    assert masked_message(shown) == f"{told}https://a:{MASKED}@c"


class Remote(CausalLMLoss):
    """An objective that calls something with a key."""

    def __init__(self, api_key: str, uri: str = "", **options) -> None:
        super().__init__(**options)


def test_records_hold_no_secrets_and_name_what_is_missing():
    plain = record({"objectives": {"far": Remote("s3cret", "https://ann:s3cret@host", stream="retain")}})
    assert "s3cret" not in str(plain)
    names = r"\['objectives\.far\.api_key', 'objectives\.far\.uri'\] were live objects or secrets"
    with pytest.raises(ValueError, match=rf"{names}.*objectives=\.\.\."):
        check_given_again("a.ckpt", "Module", plain, ())
    check_given_again("a.ckpt", "Module", plain, ("objectives",))


def test_masks_are_found_wherever_they_stand():
    with pytest.raises(ValueError, match=r"^a\.0\.uri, b: masked when .*Give the value again.*environment variable"):
        check_unmasked({"a": [{"uri": f"https://ann:{MASKED}@host"}], "b": MASKED, "c": "d"})
    check_unmasked({"a": [{"uri": "https://ann@host"}], "b": None})
