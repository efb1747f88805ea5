"""Checkpoints at addresses are never read."""

import http.server
import pickle
import threading
from pathlib import Path

import pytest

from tests import kit
from unlearn_pl.modules import NPO, PretrainedModule

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")


class Touch:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A pickle that runs code, served on this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = pickle.dumps(Touch())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/last.ckpt"
        server.shutdown()


def test_a_trainer_does_not_read_them(address):
    data = kit.Questions(batch_size=4, micro_batch_size=4)
    for run in (
        lambda: kit.trainer(max_steps=1).fit(NPO(kit.model()), data, ckpt_path=address),
        lambda: kit.trainer().test(PretrainedModule(kit.model()), data, ckpt_path=address, verbose=False),
        lambda: NPO.load_from_checkpoint(address),
    ):
        with pytest.raises(ValueError, match=r"is at an address, from which code could run\. Download it first"):
            run()
    assert not Path("ran").exists()
