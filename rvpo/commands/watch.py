"""`rvpo watch`: the page of runs while they go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rvpo.runtime.extras import Need, require


def watch(runs: Sequence[Path], port: int, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigError: a folder holds no run, the port is taken, or the packages that draw are not
            installed.
    """
    require("rvpo watch", Need("report"))
    from rvpo.page.live import LivePage
    from rvpo.page.server import HOST, PageServer

    page = LivePage(runs)
    with PageServer(page.look, port) as server:
        number = server.server_port
        say(server.address)
        say(
            "Open it in a browser of this machine; of another one after `ssh -L "
            f"{number}:{HOST}:{number} THIS_MACHINE` there. Ctrl-C ends it."
        )
        server.serve_forever(poll_interval=0.2)
