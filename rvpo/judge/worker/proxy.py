"""The proxy that the environment names for an address."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from rvpo.config.judge import is_this_machine
from rvpo.config.secret import masked
from rvpo.errors import ConfigError


def proxy_of(url: URL) -> URL | None:
    """The proxy for an address; None for this machine's own and where none is named.

    Raises:
        ConfigError: what the environment names is no address of an HTTP proxy.
    """
    host = url.host or ""
    address = getproxies().get(url.scheme)
    if not address or is_this_machine(host) or proxy_bypass(host):
        return None
    try:
        proxy = URL(address)
        usable = proxy.scheme in ("http", "https") and bool(proxy.host)
    except ValueError:  # of brackets, or of a port
        usable = False
    if not usable:
        name = f"{url.scheme}_proxy"
        raise ConfigError(
            f"{name} in the environment is {masked(address)!r}, through which {host} cannot be "
            f"asked; write http://HOST:PORT there, unset it, or add {host} to no_proxy"
        )
    return proxy
